//! The one place where a greenlet (or an OS thread) stops and waits.
//!
//! [`Parker`] is a one-shot rendezvous: the waiter parks, somebody unparks. Wake-up, kill
//! and deadline are decided against each other by one atomic: an [`Unparker`] learns
//! whether its wake-up was taken, so a permit or an item that it carries is never lost to
//! a waiter that has left.
//!
//! ```text
//!              unpark() ─► Woken      park() returns Ok, unpark() returned true
//!   Waiting ──┤
//!              kill, deadline ─► Left park() returns Err, every later unpark() returns false
//! ```
//!
//! Below it lies the engine's `Blocker`, a binary token that parks coroutines and OS
//! threads alike. Tokens may be left over from an earlier wake-up, so every wait is a loop
//! around its own condition. The engine's own timeouts and cancellation are never used.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;

use may::sync::Blocker;

use crate::error::{Error, Result};
use crate::runtime::context::Local;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::{Wait, Whom};
use crate::runtime::task::{Birth, Task};
use crate::runtime::{procfs, registry, relay, timer, watchdog, workers};
use crate::util::lock;
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicU8, Ordering, fence};

/// Where a task is woken. Empty until the task first runs and after it has ended; a
/// coroutine of the engine that is not ours sits only while it waits ([`Sitting`]).
#[derive(Default)]
pub(crate) struct Seat(Mutex<Option<Place>>);

#[derive(Clone)]
struct Place {
    blocker: Arc<Blocker>,
    /// A coroutine's wake-up has to come from a worker; an OS thread's from anywhere.
    is_coroutine: bool,
}

impl Seat {
    /// A seat for the context that calls this.
    fn here() -> Self {
        let seat = Self::default();
        seat.occupy();
        seat
    }

    /// Makes the current coroutine or OS thread the one that is woken here.
    pub(crate) fn occupy(&self) {
        let place = Place {
            blocker: Arc::new(Blocker::new(true)),
            is_coroutine: may::coroutine::is_coroutine(),
        };
        *lock(&self.0) = Some(place);
    }

    /// Gives the seat up, from inside the coroutine that holds it, just before it ends.
    ///
    /// The drop is what makes the end safe: it waits until the worker on which this
    /// coroutine last stopped has finished stopping it. Without that, a coroutine that was
    /// woken elsewhere at once could end, and its memory be reused, under the hands of the
    /// worker that is still filing it away. Wakers only use the `Blocker` under the lock,
    /// so the reference dropped here is the last.
    pub(crate) fn vacate(&self) {
        let place = lock(&self.0).take();
        drop(place);
    }

    /// Stops the owner until a token arrives; one that is there already is taken at once.
    pub(crate) fn block(&self) {
        let place = lock(&self.0).clone();
        if let Some(place) = place {
            // Without a limit and with cancellation ignored there is nothing it could
            // report; a stray return is caught by the caller's loop.
            let _ = place.blocker.park(None);
            // The engine takes a token by a load and a plain store. A waker that comes
            // between the two finds the token still there and leaves none, so what it
            // made true must be seen by the caller's next look: the look may not be done
            // before the store is visible, which only full fences on both sides forbid.
            fence(Ordering::SeqCst);
        }
    }

    /// Leaves a token, from a worker or for an OS thread. False if it has to come from a
    /// worker and this is none.
    // Never inlined: the engine asks its thread-local for the worker's queue. In a loop
    // that switches, an inlined lookup could push to the queue of the worker before.
    #[inline(never)]
    fn wake_here(&self) -> bool {
        let place = lock(&self.0);
        match place.as_ref() {
            Some(place) if place.is_coroutine && !workers::is_worker() => false,
            Some(place) => {
                // The other half of the pair in `block`: if the engine finds an old token
                // here and leaves none, what the caller made true is seen over there.
                fence(Ordering::SeqCst);
                place.blocker.unpark();
                true
            }
            None => true,
        }
    }
}

impl Task {
    /// Makes the owner look at its condition again, wherever it waits.
    pub(crate) fn wake(self: &Arc<Self>) {
        if !self.seat.wake_here() {
            relay::wake(self.clone());
        }
    }

    /// Like [`Task::wake`], also out of a wait on a descriptor: for kills and deadlines.
    pub(crate) fn wake_anywhere(self: &Arc<Self>) {
        if self.io_seat.is_used() && !workers::is_worker() {
            relay::wake(self.clone());
        } else {
            self.io_seat.wake();
            self.wake();
        }
    }

    /// Waits until `ready` holds.
    ///
    /// # Errors
    /// The kill or the limit that came first. If `ready` holds as well, it wins: what a
    /// waker gave is never dropped.
    #[track_caller]
    pub(crate) fn wait_until(
        self: &Arc<Self>,
        wait: Wait,
        limit: Deadline,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let _sitting = self.sit();
        loop {
            if ready() {
                return Ok(());
            }
            if let Some(error) = self.interruption(limit.nanos()) {
                return Err(error);
            }
            self.stop(wait, self.ends_at(limit.nanos()), || self.seat.block());
        }
    }

    /// Waits until `ready` holds, whatever happens: not a cancellation point.
    ///
    /// For waits that memory safety or a lock's order depends on. While the owner unwinds
    /// from a panic it blocks its worker's thread instead of switching.
    #[track_caller]
    pub(crate) fn wait_surely(self: &Arc<Self>, wait: Wait, mut ready: impl FnMut() -> bool) {
        let _sitting = self.sit();
        while !ready() {
            if std::thread::panicking() {
                workers::block_thread_briefly();
            } else {
                self.stop(wait, crate::runtime::clock::NEVER, || self.seat.block());
            }
        }
    }

    /// Comes before the first look at what a wait on the seat is for.
    pub(crate) fn sit(&self) -> Sitting<'_> {
        let is_guest = self.on_worker && !self.is_greenlet();
        if is_guest {
            self.seat.occupy();
        }
        Sitting(is_guest.then_some(&self.seat))
    }

    /// Does the bookkeeping around `switch`, which stops the owner until something happens.
    #[track_caller]
    pub(crate) fn stop(self: &Arc<Self>, wait: Wait, until: u64, switch: impl FnOnce()) {
        self.note_wait(wait);
        self.stop_noted(until, switch);
    }

    /// Like [`Task::stop`], when what is waited on is noted already.
    pub(crate) fn stop_noted(self: &Arc<Self>, until: u64, switch: impl FnOnce()) {
        timer::arm(self, until);
        self.meter.stop();
        if self.on_worker {
            workers::leave();
        } else {
            self.show_thread();
        }
        switch();
        if self.on_worker {
            workers::enter(self);
        } else {
            registry::remove_thread(self);
        }
        timer::disarm(self);
        self.meter.go_on();
        self.note_running();
    }

    /// Makes an OS thread known to others, until `registry::remove_thread`: while it waits.
    #[cold]
    pub(crate) fn show_thread(self: &Arc<Self>) {
        registry::add_thread(self);
        watchdog::stir();
    }
}

/// A foreign coroutine's stay on its seat.
///
/// We are not there when such a coroutine ends. If its `Blocker` went with it, the engine
/// would drop that outside of the coroutine: a worker would wait there for ever for itself
/// to finish stopping the coroutine, or write into one that is gone. See [`Seat::vacate`].
pub(crate) struct Sitting<'a>(Option<&'a Seat>);

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.0 {
            seat.vacate();
        }
    }
}

/// One wait; see the module.
///
/// It costs nothing until somebody is given an [`Unparker`]: most calls that might wait
/// find what they want.
pub(crate) struct Parker(OnceCell<Arc<Node>>);

/// The other end of a [`Parker`].
#[derive(Clone)]
pub(crate) struct Unparker(Arc<Node>);

struct Node {
    state: AtomicU8,
    task: Arc<Task>,
}

const WAITING: u8 = 0;
const WOKEN: u8 = 1;
const LEFT: u8 = 2;

impl Parker {
    /// A parker for the greenlet or OS thread that uses it.
    pub(crate) const fn new() -> Self {
        Self(OnceCell::new())
    }

    pub(crate) fn unparker(&self) -> Unparker {
        Unparker(self.node().clone())
    }

    fn node(&self) -> &Arc<Node> {
        self.0.get_or_init(|| {
            Arc::new(Node {
                state: AtomicU8::new(WAITING),
                task: current(),
            })
        })
    }

    /// Waits to be unparked.
    ///
    /// # Errors
    /// A kill or a limit came first; no [`Unparker`] of this parker will succeed any more.
    #[track_caller]
    pub(crate) fn park(self, wait: Wait, limit: Deadline) -> Result<()> {
        let node = self.node();
        let waited = node.task.wait_until(wait, limit, || node.is(WOKEN));
        match waited {
            Ok(()) => Ok(()),
            Err(_) if !node.settle(LEFT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Like [`Parker::park`], for a wait that `whom` is known to be able to end.
    ///
    /// # Errors
    /// As [`Parker::park`].
    #[track_caller]
    pub(crate) fn park_for(self, wait: Wait, limit: Deadline, whom: Whom) -> Result<()> {
        let task = self.node().task.clone();
        task.note_whom(whom);
        let parked = self.park(wait, limit);
        task.note_whom(Whom::Anyone);
        parked
    }

    /// Waits to be unparked, whatever else happens.
    #[track_caller]
    pub(crate) fn park_surely(self, wait: Wait) {
        let node = self.node();
        node.task.wait_surely(wait, || node.is(WOKEN));
    }
}

impl Unparker {
    /// Wakes the waiter. True if it takes the wake-up, false if it has left or was woken
    /// before: what should have gone to it goes to the next one.
    ///
    /// Never blocks or switches; callable from anywhere.
    pub(crate) fn unpark(&self) -> bool {
        let taken = self.0.settle(WOKEN);
        if taken {
            self.0.task.wake();
        }
        taken
    }

    /// Tells whether nobody waits here any more.
    pub(crate) fn is_settled(&self) -> bool {
        !self.0.is(WAITING)
    }
}

impl Node {
    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::Acquire) == state
    }

    fn settle(&self, state: u8) -> bool {
        self.state
            .compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Waiters in order of arrival, each with something of the list's user. Lives under its
/// user's lock.
///
/// Who leaves out of turn leaves a gap, so that nobody has to move and a wait in a line
/// that was used before allocates nothing. The first and the last place are never gaps,
/// and the gaps never outnumber the waiters by more than a few.
pub(crate) struct WaitList<S = ()> {
    /// By ticket.
    places: VecDeque<(u64, Option<(Unparker, S)>)>,
    gaps: usize,
    next: u64,
}

/// A place in a [`WaitList`].
#[derive(Clone, Copy)]
pub(crate) struct Ticket(u64);

impl<S> WaitList<S> {
    pub(crate) const fn new() -> Self {
        Self {
            places: VecDeque::new(),
            gaps: 0,
            next: 0,
        }
    }

    /// Puts a waiter at the end of the line.
    pub(crate) fn push(&mut self, waiter: Unparker, own: S) -> Ticket {
        self.next += 1;
        self.places.push_back((self.next, Some((waiter, own))));
        Ticket(self.next)
    }

    /// Takes a waiter off the list: one that gave up, or to wake it.
    pub(crate) fn remove(&mut self, ticket: Ticket) {
        let found = self.places.binary_search_by_key(&ticket.0, |place| place.0);
        let waiter = found.ok().and_then(|index| self.places[index].1.take());
        if waiter.is_some() {
            self.gaps += 1;
            self.close_gaps();
        }
    }

    /// Takes the first one off the list.
    pub(crate) fn pop(&mut self) -> Option<(Unparker, S)> {
        let (_, waiter) = self.places.pop_front()?;
        self.close_gaps();
        waiter
    }

    /// Keeps what the type says of gaps. Costs a place's move for every gap at most.
    fn close_gaps(&mut self) {
        while self.places.front().is_some_and(|place| place.1.is_none()) {
            self.places.pop_front();
            self.gaps -= 1;
        }
        while self.places.back().is_some_and(|place| place.1.is_none()) {
            self.places.pop_back();
            self.gaps -= 1;
        }
        if self.gaps > GAPS_MIN && self.gaps > self.places.len() / 2 {
            self.places.retain(|place| place.1.is_some());
            self.gaps = 0;
        }
    }

    /// What is the first one's own; it may have left already.
    pub(crate) fn first(&self) -> Option<&S> {
        let (_, waiter) = self.places.front()?;
        waiter.as_ref().map(|(_, own)| own)
    }

    /// Wakes the first one that still waits and gives what is its own; `None` if nobody
    /// waits.
    pub(crate) fn wake_one(&mut self) -> Option<S> {
        while let Some((waiter, own)) = self.pop() {
            if waiter.unpark() {
                return Some(own);
            }
        }
        None
    }

    /// Wakes all, in order.
    pub(crate) fn wake_all(&mut self) {
        self.gaps = 0;
        for (waiter, _) in self.places.drain(..).filter_map(|place| place.1) {
            waiter.unpark();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }
}

/// Fewer gaps are not worth a look at the whole line.
const GAPS_MIN: usize = 8;

impl<S> Default for WaitList<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until `look` finds an answer in `state`; stands in `line` between two looks.
///
/// Who changes `state` so that an answer may be there wakes the line under the same lock.
///
/// # Errors
/// The kill or the limit that came first. An answer that is there at the first look wins.
#[track_caller]
pub(crate) fn wait_for<S, R>(
    state: &Mutex<S>,
    line: impl Fn(&mut S) -> &mut WaitList,
    wait: Wait,
    limit: Deadline,
    mut look: impl FnMut(&mut S) -> Option<R>,
) -> Result<R> {
    loop {
        let (parker, ticket) = {
            let mut state = lock(state);
            if let Some(answer) = look(&mut state) {
                return Ok(answer);
            }
            let parker = Parker::new();
            let ticket = line(&mut state).push(parker.unparker(), ());
            (parker, ticket)
        };
        if let Err(error) = parker.park(wait, limit) {
            line(&mut lock(state)).remove(ticket);
            return Err(error);
        }
    }
}

/// What the engine keeps for every coroutine and OS thread of ours.
#[derive(Default)]
struct Own {
    task: RefCell<Option<Arc<Task>>>,
    local: Local,
}

may::coroutine_local!(static OWN: Own = Own::default());

/// The task that calls this. An OS thread (or a coroutine of the engine that is not ours)
/// gets one at its first call.
// Never inlined: the lookup goes through a thread-local, and an inlined one could keep the
// old thread's address across a switch.
#[inline(never)]
pub(crate) fn current() -> Arc<Task> {
    OWN.with(|own| own.task.borrow_mut().get_or_insert_with(adopt).clone())
}

/// Like [`current`], for the panic hook: gives up where the lookup itself panicked.
#[inline(never)]
pub(crate) fn try_current() -> Option<Arc<Task>> {
    OWN.with(|own| own.task.try_borrow().ok()?.clone())
}

/// Makes `task` the one that runs here.
#[inline(never)]
pub(crate) fn set_current(task: Arc<Task>) {
    OWN.with(|own| *own.task.borrow_mut() = Some(task));
}

/// Gives `f` what belongs to the current greenlet alone. `f` must not switch.
#[inline(never)]
pub(crate) fn with_local<R>(f: impl FnOnce(&Local) -> R) -> R {
    OWN.with(|own| f(&own.local))
}

#[track_caller]
fn adopt() -> Arc<Task> {
    let on_worker = may::coroutine::is_coroutine();
    Task::new(Birth {
        name: std::thread::current().name().map(Into::into),
        parent: 0,
        site: Location::caller(),
        ancestors: None,
        stack_bytes: 0,
        on_worker,
        background: true,
        tid: if on_worker { 0 } else { procfs::own_tid() },
        seat: if on_worker {
            Seat::default()
        } else {
            Seat::here()
        },
        ticks: 0,
    })
}

/// Puts the current coroutine at the end of its worker's queue; an OS thread yields.
pub(crate) fn requeue() {
    may::coroutine::yield_now();
}

/// The error of a wait that must not even begin, if there is one.
pub(crate) fn check(limit: Deadline) -> Result<()> {
    current()
        .interruption(limit.nanos())
        .map_or(Ok(()), Err::<(), Error>)
}
