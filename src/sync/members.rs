//! The members of a group or pool: who is in, who may come in, who waits for what.
//!
//! ```text
//!   reserve ──► place (a token) ──► arrive: a member ──► left, discard ──► the place is
//!      ▲                └── dropped, the spawn failed ──────────┐          free, or goes
//!   line of spawners ◄──────────────────────────────────────────┴───────── to the first
//!                                                                          in line
//! ```
//!
//! Invariants:
//! - places taken (`list` and `coming`) never exceed `capacity`, and nobody stands in line
//!   while one is free;
//! - no greenlet is asked anything while the lock is held: its end is told to
//!   [`Members::left`] under a lock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::runtime::club::Club;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Exit, Greenlet, Handle, JoinError, current_handle};
use crate::runtime::park::{Parker, WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::spawn::{Builder, SpawnError};
use crate::runtime::watch::Watchers;
use crate::sync::waiters::{Waiters, begin};
use crate::util::lock;

/// See the module.
pub(super) struct Members {
    state: Mutex<State>,
    /// The words for who waits here: a group or a pool.
    wait: Wait,
}

pub(super) struct State {
    /// By number of the greenlet.
    list: BTreeMap<u64, Member>,
    /// Places taken for greenlets that are about to start.
    coming: BTreeSet<u64>,
    next_token: u64,
    capacity: usize,
    /// Those in line for a place; it comes as a token.
    spawners: Waiters<u64>,
    /// Calls that kill until nobody is left: who arrives meanwhile is killed as well.
    kills: usize,
    /// How often the last member left: who waits for that sees it, even if others came.
    emptied: u64,
    /// The first failure of a member that nobody was told of.
    failure: Option<JoinError>,
    /// Waiting for nobody to be left, or for a failure.
    joiners: WaitList,
    /// Waiting for room, without taking it.
    lookers: WaitList,
    pub(super) when_empty: Watchers,
    pub(super) when_room: Watchers,
}

struct Member {
    handle: Handle,
    /// Whether it got its kill from here.
    killed: bool,
}

/// A place for one greenlet; it is free again with the drop, unless somebody has arrived.
pub(super) struct Place {
    members: Arc<Members>,
    token: u64,
}

impl Members {
    pub(super) fn new(capacity: usize, wait: Wait) -> Arc<Self> {
        let state = State {
            list: BTreeMap::new(),
            coming: BTreeSet::new(),
            next_token: 0,
            capacity,
            spawners: Waiters::new(),
            kills: 0,
            emptied: 0,
            failure: None,
            joiners: WaitList::new(),
            lookers: WaitList::new(),
            when_empty: Watchers::new(),
            when_room: Watchers::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            wait,
        })
    }

    /// Gives `look` the state; it must run no user code.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut lock(&self.state))
    }

    // ---- coming in ----

    /// Takes a place if one is free.
    pub(super) fn try_reserve(self: &Arc<Self>) -> Option<Place> {
        let token = lock(&self.state).take_place()?;
        Some(self.place(token))
    }

    /// Takes a place, in line with all who want one.
    #[track_caller]
    pub(super) fn reserve(self: &Arc<Self>, limit: Deadline) -> Result<Place> {
        begin()?;
        let parker = Parker::new();
        let stand = {
            let mut state = lock(&self.state);
            if let Some(token) = state.take_place() {
                return Ok(self.place(token));
            }
            state.spawners.join(&parker, None)
        };
        let waited = parker.park(self.wait, limit);
        let granted = lock(&self.state).spawners.leave(&stand);
        match (granted, waited) {
            (Some(token), _) => Ok(self.place(token)),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => unreachable!("who is woken in line was given a place"),
        }
    }

    fn place(self: &Arc<Self>, token: u64) -> Place {
        Place {
            members: self.clone(),
            token,
        }
    }

    /// Makes `handle` a member in `place`, if the place is still to be taken.
    fn arrive(&self, token: u64, handle: &Handle) {
        let kill = {
            let mut state = lock(&self.state);
            if !state.coming.remove(&token) {
                return;
            }
            let killed = state.kills > 0;
            let member = Member {
                handle: handle.clone(),
                killed,
            };
            if state.list.insert(handle.id(), member).is_some() {
                // Added twice at once: it needs one place.
                state.release();
            }
            killed
        };
        if kill {
            handle.kill();
        }
    }

    // ---- leaving ----

    /// Lets a member go, if it is one.
    pub(super) fn discard(self: &Arc<Self>, handle: &Handle) -> bool {
        let member = {
            let mut state = lock(&self.state);
            let member = state.list.remove(&handle.id());
            if member.is_some() {
                state.release();
            }
            member
        };
        if member.is_some() {
            let club: Arc<dyn Club> = self.clone();
            handle.resign(&club);
            if self.contains(handle) {
                // Added anew in between, and it is that one that has resigned.
                handle.enrol(club);
            }
        }
        member.is_some()
    }

    /// Kills every member and all who arrive, until nobody is left; false if `limit` came
    /// first.
    #[track_caller]
    pub(super) fn kill(&self, limit: Deadline) -> Result<bool> {
        let _killing = Killing::new(self);
        let handles: Vec<_> = {
            let mut state = lock(&self.state);
            let alive = state.list.values_mut().filter(|member| !member.killed);
            alive
                .map(|member| {
                    member.killed = true;
                    member.handle.clone()
                })
                .collect()
        };
        handles.iter().for_each(Handle::kill);
        self.wait_empty(limit)
    }

    // ---- waiting ----

    /// Waits until nobody is left at some moment; false if `limit` came first.
    #[track_caller]
    pub(super) fn wait_empty(&self, limit: Deadline) -> Result<bool> {
        let mut seen = None;
        self.wait_for(Line::Joiners, limit, |state| {
            let emptied = *seen.get_or_insert(state.emptied);
            (state.taken() == 0 || state.emptied != emptied).then_some(())
        })
        .map(|answer| answer.is_some())
    }

    /// Waits until nobody is left, or for the first failure of a member.
    #[track_caller]
    pub(super) fn wait_empty_or_failed(&self) -> Result<(), JoinError> {
        let ended = self.wait_for(Line::Joiners, Deadline::NEVER, |state| {
            let failure = state.failure.take().map(Err);
            failure.or_else(|| (state.taken() == 0).then_some(Ok(())))
        })?;
        ended.unwrap_or(Ok(()))
    }

    /// Waits until a place is free and says how many are; none if `limit` came first.
    #[track_caller]
    pub(super) fn wait_room(&self, limit: Deadline) -> Result<usize> {
        self.wait_for(Line::Lookers, limit, |state| {
            Some(state.free()).filter(|free| *free > 0)
        })
        .map(|free| free.unwrap_or(0))
    }

    #[track_caller]
    fn wait_for<R>(
        &self,
        line: Line,
        limit: Deadline,
        look: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<Option<R>> {
        begin()?;
        if line == Line::Joiners && self.contains(&current_handle()) {
            return Err(Error::message(
                "a member cannot wait for the end of all members",
            ));
        }
        let waited = match line {
            Line::Joiners => wait_for(&self.state, |s| &mut s.joiners, self.wait, limit, look),
            Line::Lookers => wait_for(&self.state, |s| &mut s.lookers, self.wait, limit, look),
        };
        match waited {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_own_limit() => Ok(None),
            Err(error) => Err(error),
        }
    }

    // ---- asking ----

    pub(super) fn contains(&self, handle: &Handle) -> bool {
        lock(&self.state).list.contains_key(&handle.id())
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        let state = lock(&self.state);
        state.list.values().map(|m| m.handle.clone()).collect()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Line {
    Joiners,
    Lookers,
}

impl State {
    /// How many are in or about to be.
    pub(super) fn taken(&self) -> usize {
        self.list.len() + self.coming.len()
    }

    pub(super) fn free(&self) -> usize {
        self.capacity - self.taken()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many stand in line for a place.
    pub(super) fn waiting(&self) -> usize {
        self.spawners.len()
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn take_place(&mut self) -> Option<u64> {
        (self.free() > 0).then(|| {
            let token = self.token();
            self.coming.insert(token);
            token
        })
    }

    /// A place has come free: it goes to the first in line.
    fn release(&mut self) {
        let token = self.token();
        if self.spawners.give(token).is_ok() {
            self.coming.insert(token);
            return;
        }
        self.lookers.wake_all();
        self.when_room.tell_all();
        if self.taken() == 0 {
            self.emptied += 1;
            self.joiners.wake_all();
            self.when_empty.tell_all();
        }
    }
}

impl Club for Members {
    fn left(&self, id: u64, exit: &Exit) {
        let mut state = lock(&self.state);
        let Some(member) = state.list.remove(&id) else {
            return;
        };
        if !member.killed && state.failure.is_none() {
            state.failure = JoinError::of(exit);
            if state.failure.is_some() {
                state.joiners.wake_all();
            }
        }
        state.release();
    }
}

impl Place {
    /// Starts `f` in a new greenlet that takes the place.
    #[track_caller]
    pub(super) fn start<T, F>(self, f: F) -> Result<Greenlet<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // Whichever comes first: the new greenlet, so that it finds itself a member, or
        // this one, because it may be killed before it begins.
        let gate = {
            let (members, token) = (self.members.clone(), self.token);
            move || {
                members.arrive(token, &current_handle());
                Ok(())
            }
        };
        let greenlet = Builder::new().try_spawn_behind(gate, f)?;
        self.take(&greenlet);
        Ok(greenlet)
    }

    /// Lets `handle` take the place, until its end.
    pub(super) fn take(self, handle: &Handle) {
        self.members.arrive(self.token, handle);
        handle.enrol(self.members.clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.members.state);
        if state.coming.remove(&self.token) {
            state.release();
        }
    }
}

/// While it lives, who arrives is killed.
struct Killing<'a>(&'a Members);

impl<'a> Killing<'a> {
    fn new(members: &'a Members) -> Self {
        lock(&members.state).kills += 1;
        Self(members)
    }
}

impl Drop for Killing<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).kills -= 1;
    }
}
