//! A greenlet's end: who is told of it, and in what order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::runtime::club::Clubs;
use crate::runtime::drain;
use crate::runtime::greenlet::{Exit, Handle};
use crate::runtime::kill::shield;
use crate::runtime::park::WaitList;
use crate::runtime::spawn::Admitted;
use crate::runtime::task::Task;
use crate::runtime::watch::Watchers;
use crate::util::{discard, lock};

/// Names a link, to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(u64);

impl Handle {
    /// Runs `f` when it ends, in the order of the calls; at once if it has ended.
    ///
    /// Links run in the greenlet that ends, after its value is there, and may wait (a kill
    /// is not seen). A panic in one is reported and does not stop the next.
    ///
    /// # Switching
    /// Never switches (where it has ended: as `f` does).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Exit;
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let greenlet = greenloop::spawn(|| ());
    /// greenlet.on_exit(move |exit| tell.send(exit.clone()).unwrap());
    /// assert_eq!(told.recv().unwrap(), Exit::Returned);
    /// ```
    ///
    /// gevent: `Greenlet.link(callback)`, which spawns a greenlet for each.
    pub fn on_exit(&self, f: impl FnOnce(&Exit) + Send + 'static) -> LinkId {
        let mut state = lock(&self.task().completion.state);
        state.next_link += 1;
        let id = state.next_link;
        match state.exit.clone() {
            Some(exit) if !state.running_links => {
                drop(state);
                f(&exit);
            }
            _ => state.links.push_back((id, Box::new(f))),
        }
        LinkId(id)
    }

    /// Runs `f` when it has returned; see [`Handle::on_exit`]. What it returned makes no
    /// difference: an `Err` is a value.
    ///
    /// # Switching
    /// As [`Handle::on_exit`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// greenloop::spawn(|| ()).on_ok(move || tell.send("returned").unwrap());
    /// assert_eq!(told.recv().unwrap(), "returned");
    /// ```
    ///
    /// gevent: `Greenlet.link_value(callback)`, which a killed one calls as well.
    pub fn on_ok(&self, f: impl FnOnce() + Send + 'static) -> LinkId {
        self.on_exit(move |exit| {
            if *exit == Exit::Returned {
                f();
            }
        })
    }

    /// Runs `f` when it has panicked, with the panic's text; see [`Handle::on_exit`].
    ///
    /// # Switching
    /// As [`Handle::on_exit`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let greenlet = greenloop::spawn(|| panic!("oops"));
    /// greenlet.on_err(move |text| tell.send(text.to_owned()).unwrap());
    /// assert_eq!(told.recv().unwrap(), "oops");
    /// ```
    ///
    /// gevent: `Greenlet.link_exception(callback)`.
    pub fn on_err(&self, f: impl FnOnce(&str) + Send + 'static) -> LinkId {
        self.on_exit(move |exit| {
            if let Exit::Panicked(text) = exit {
                f(text);
            }
        })
    }

    /// Runs `f` when it has ended because it was killed; see [`Handle::on_exit`].
    ///
    /// # Switching
    /// As [`Handle::on_exit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// greenlet.on_killed(move || tell.send(()).unwrap());
    /// greenlet.kill();
    /// told.recv().unwrap();
    /// ```
    ///
    /// gevent: none; a killed greenlet counts as successful there.
    pub fn on_killed(&self, f: impl FnOnce() + Send + 'static) -> LinkId {
        self.on_exit(move |exit| {
            if *exit == Exit::Killed {
                f();
            }
        })
    }

    /// Takes a link back; false if it has run or is running.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let greenlet = greenloop::spawn(|| greenloop::sleep(Duration::MAX));
    /// let link = greenlet.on_exit(|_| panic!("it was taken back"));
    /// assert!(greenlet.unlink(link));
    /// assert!(!greenlet.unlink(link), "it is gone");
    /// greenlet.kill_and_wait(None)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Greenlet.unlink(callback)`.
    pub fn unlink(&self, link: LinkId) -> bool {
        let mut state = lock(&self.task().completion.state);
        let place = state.links.iter().position(|(id, _)| *id == link.0);
        let taken = place.and_then(|place| state.links.remove(place));
        // What the link owns is dropped after the lock is released.
        drop(state);
        taken.is_some()
    }
}

/// A greenlet's end, shared by all who watch it.
#[derive(Default)]
pub(crate) struct Completion {
    pub(crate) state: Mutex<State>,
    /// Whether somebody has been told of the panic, or certainly will be.
    seen: AtomicBool,
}

/// See [`Completion`].
#[derive(Default)]
pub(crate) struct State {
    pub(crate) exit: Option<Exit>,
    pub(crate) clubs: Clubs,
    pub(crate) waiters: WaitList,
    pub(crate) watchers: Watchers,
    links: VecDeque<(u64, Link)>,
    next_link: u64,
    running_links: bool,
}

type Link = Box<dyn FnOnce(&Exit) + Send>;

impl Completion {
    /// Notes that a panic is no secret; false if it was none before.
    pub(crate) fn note_seen(&self) -> bool {
        !self.seen.swap(true, Ordering::Relaxed)
    }

    /// Tells everybody; called once, by the greenlet itself.
    ///
    /// Room is made before anybody can know of the end: who joins the last greenlet that
    /// is allowed may start the next. Only links still need their greenlet's stack.
    pub(crate) fn complete(&self, task: &Arc<Task>, exit: Exit, admitted: Option<Admitted>) {
        let mut admitted = admitted;
        let (_clubs, mut waiters) = {
            let mut state = lock(&self.state);
            if state.links.is_empty() {
                drop(admitted.take());
            }
            state.exit = Some(exit.clone());
            state.running_links = true;
            let clubs = state.clubs.tell_all(task.id, &exit);
            state.watchers.tell_all();
            (clubs, std::mem::take(&mut state.waiters))
        };
        waiters.wake_all();
        loop {
            let link = {
                let mut state = lock(&self.state);
                let Some((_, link)) = state.links.pop_front() else {
                    state.running_links = false;
                    break;
                };
                link
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| shield(|| link(&exit)))) {
                discard(panic);
                log::error!("a link of greenlet {} panicked", task.title());
            }
        }
        drop(admitted);
        if task.is_waited_for() {
            drain::leave();
        }
    }
}
