//! Descriptors that a greenlet can wait on.
//!
//! [`Source`] registers a non-blocking descriptor with the engine's epoll (edge-triggered,
//! both directions) and runs system calls on it, waiting where they would block. It has
//! one waiter at a time, because the engine keeps one coroutine per descriptor: two
//! directions at once take two sources on two descriptors of the same socket.
//!
//! The order of a wait loses no event: clear the flag, try the call, wait. An event that
//! comes after the clearing sets the flag again, and the wait returns at once.
//!
//! On an OS thread the same calls wait with poll(2).
//!
//! # Two traps of the engine that this file steps over
//!
//! `CoIo` drops the descriptor before its registration. Another thread may open the same
//! number in between, and then loses *its* registration. So the descriptor is taken out
//! first ([`Closing`]), which unregisters while it is still open.
//!
//! A worker that stops a coroutine on a descriptor looks at the `CoIo` once more after the
//! coroutine can already run elsewhere. If the coroutine has moved or freed it by then, the
//! worker reads freed memory. So the `CoIo` is boxed and stays where it is until every
//! worker on which the owner stopped has gone on to something else ([`Moment`]). Nearly
//! always that is true long before the source is dropped; if not, coroutines sent to all
//! workers hold the box, and the last of them closes it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use may::io::{CoIo, WaitIo, WaitIoWaker};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::runtime::clock;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::current;
use crate::runtime::reason::Wait;
use crate::runtime::task::Task;
use crate::runtime::workers::{self, Moment};
use crate::runtime::{registry, relay, spawn};
use crate::util::lock;

/// Where a task is woken while it waits on a descriptor.
///
/// It keeps the last source's waker: the next wait is likely on the same one, and a
/// wake-up of a source that nobody waits on does no harm.
#[derive(Default)]
pub(crate) struct IoSeat {
    source: AtomicU64,
    waker: Mutex<Option<WaitIoWaker>>,
    /// What an OS thread's poll(2) watches beside the descriptor.
    event: OnceLock<OwnedFd>,
}

impl IoSeat {
    fn occupy(&self, source: u64, waker: impl FnOnce() -> WaitIoWaker) {
        // Only the owner changes it.
        if self.source.load(Ordering::Relaxed) != source {
            *lock(&self.waker) = Some(waker());
            self.source.store(source, Ordering::Relaxed);
        }
    }

    // Never inlined, for the reason given at `Seat::wake_here`.
    #[inline(never)]
    pub(crate) fn wake(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker.wakeup();
        }
        if let Some(event) = self.event.get() {
            // It fails only where it is rung already.
            let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
        }
    }

    /// What wakes the owner, an OS thread, out of poll(2).
    fn event(&self) -> io::Result<&OwnedFd> {
        if let Some(event) = self.event.get() {
            return Ok(event);
        }
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(self.event.get_or_init(|| event))
    }

    /// Tells whether the owner ever waited on a descriptor.
    pub(crate) fn is_used(&self) -> bool {
        lock(&self.waker).is_some()
    }
}

/// A descriptor that the current greenlet can wait on; see the module.
pub(crate) struct Source<T: Descriptor> {
    /// `None` only while it is dropped.
    registered: Option<Box<CoIo<T>>>,
    id: u64,
    /// Where the owner stopped and then went on elsewhere, as far as those workers may
    /// still look at the registration.
    stops: Vec<Moment>,
}

/// What can be a [`Source`].
pub(crate) trait Descriptor: AsFd + AsRawFd + Send + 'static {}

impl<T: AsFd + AsRawFd + Send + 'static> Descriptor for T {}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl<T: Descriptor> Source<T> {
    /// Registers `descriptor` and makes it non-blocking.
    pub(crate) fn new(descriptor: T) -> io::Result<Self> {
        spawn::start_if_needed()?;
        Self::register(descriptor)
    }

    /// Like [`Source::new`], for the start itself.
    pub(crate) fn register(descriptor: T) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let registered = CoIo::new(descriptor).map_err(io::Error::from)?;
        Ok(Self {
            registered: Some(Box::new(registered)),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            stops: Vec::new(),
        })
    }

    pub(crate) fn get_ref(&self) -> &T {
        self.registration().inner()
    }

    /// Runs `call`, which reads, as often as it takes to get an answer other than
    /// "would block".
    #[track_caller]
    pub(crate) fn read_with<R>(
        &mut self,
        wait: Wait,
        limit: Deadline,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.run(wait, Direction::Read, limit, call)
    }

    /// Like [`Source::read_with`], for a call that writes.
    #[track_caller]
    pub(crate) fn write_with<R>(
        &mut self,
        wait: Wait,
        limit: Deadline,
        call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.run(wait, Direction::Write, limit, call)
    }

    /// Like [`Source::read_with`], but `None` once `stop` is set and `call` would block.
    ///
    /// Who sets `stop` then wakes the caller with `Handle::nudge`.
    #[track_caller]
    pub(crate) fn read_unless<R>(
        &mut self,
        stop: &AtomicBool,
        limit: Deadline,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<Option<R>> {
        let task = current();
        if task.on_worker {
            // Before the first look at `stop`, so that a nudge after it finds the waker.
            let registration = self.registration();
            task.io_seat.occupy(self.id, || registration.waker());
        } else {
            task.io_seat.event()?;
        }
        self.run(
            Wait::Read,
            Direction::Read,
            limit,
            |descriptor| match call(descriptor) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && stop.load(Ordering::SeqCst) => {
                    Ok(None)
                }
                answer => answer.map(Some),
            },
        )
    }

    #[track_caller]
    fn run<R>(
        &mut self,
        wait: Wait,
        direction: Direction,
        limit: Deadline,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let task = current();
        loop {
            // The call's own limit is looked at only before a wait: what can be done at
            // once is done, and the clock stays out of the fast path.
            if let Some(error) = task.interruption(clock::NEVER) {
                return Err(error.into());
            }
            clear_flag(self.registration());
            match call(self.get_ref()) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                answer => {
                    relay::tick(&task);
                    return answer;
                }
            }
            self.wait(&task, wait, direction, limit)?;
        }
    }

    #[track_caller]
    fn wait(
        &mut self,
        task: &Arc<Task>,
        wait: Wait,
        direction: Direction,
        limit: Deadline,
    ) -> io::Result<()> {
        if !task.on_worker {
            return self.wait_on_thread(task, wait, direction, limit);
        }
        let limit = limit.nanos();
        let registration = self.registration();
        task.io_seat.occupy(self.id, || registration.waker());
        // After the seat is taken: a kill from here on finds the waker in it.
        // One look at the clock for the limit and for the dump.
        let now = clock::now();
        if let Some(error) = task.interruption_at(limit, || now) {
            return Err(error.into());
        }
        task.note_wait_at(wait, now);
        let stopped = workers::moment();
        task.stop_noted(task.ends_at(limit), || {
            registration.wait_io();
        });
        task.reset_ticks();
        if !stopped.is_same_worker(workers::moment()) {
            self.stops.retain(|stop| !stop.has_passed());
            self.stops.push(stopped);
        }
        Ok(())
    }

    #[track_caller]
    fn wait_on_thread(
        &self,
        task: &Arc<Task>,
        wait: Wait,
        direction: Direction,
        limit: Deadline,
    ) -> io::Result<()> {
        let flags = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        let event = task.io_seat.event()?;
        // After there is an event: a kill from here on rings it.
        if let Some(error) = task.interruption(limit.nanos()) {
            return Err(error.into());
        }
        let until = task.ends_at(limit.nanos());
        let left = (until != clock::NEVER).then(|| clock::until(until));
        let left = left.map(|left| Timespec::try_from(left).unwrap_or(FOREVER));
        task.note_wait(wait);
        task.meter.stop();
        let mut watched = [
            PollFd::new(self.get_ref(), flags),
            PollFd::new(event, PollFlags::IN),
        ];
        task.show_thread();
        let polled = poll(&mut watched, left.as_ref());
        task.meter.go_on();
        registry::remove_thread(task);
        task.note_running();
        if watched[1].revents().contains(PollFlags::IN) {
            // Answered; the caller looks at what it may have been about.
            let _ = rustix::io::read(event, &mut [0; 8]);
        }
        match polled {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn registration(&self) -> &CoIo<T> {
        self.registered.as_deref().expect("present until the drop")
    }
}

/// Runs a call that never blocks, as a kill and the others' turns ask of one that might.
pub(crate) fn at_once<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    let task = current();
    if let Some(error) = task.interruption(clock::NEVER) {
        return Err(error.into());
    }
    let answer = call();
    relay::tick(&task);
    answer
}

const FOREVER: Timespec = Timespec {
    tv_sec: i64::MAX,
    tv_nsec: 0,
};

#[expect(
    deprecated,
    reason = "it costs one extra system call a message to leave it out"
)]
fn clear_flag<T: AsRawFd>(registration: &CoIo<T>) {
    registration.reset_io();
}

impl<T: Descriptor> Drop for Source<T> {
    /// Closes the descriptor as soon as no worker looks at its registration: nearly always
    /// now, otherwise when every worker has had a turn.
    fn drop(&mut self) {
        let closing = Closing(Mutex::new(self.registered.take()));
        self.stops.retain(|stop| !stop.has_passed());
        if self.stops.is_empty() {
            drop(closing);
        } else {
            spawn::after_every_worker(closing);
        }
    }
}

impl<T: Descriptor> std::fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.get_ref().as_raw_fd())
    }
}

/// A registration that a worker may still look at. Its drop unregisters, then closes.
struct Closing<T: Descriptor>(Mutex<Option<Box<CoIo<T>>>>);

impl<T: Descriptor> Drop for Closing<T> {
    fn drop(&mut self) {
        if let Some(registered) = lock(&self.0).take() {
            drop((*registered).into_inner());
        }
    }
}
