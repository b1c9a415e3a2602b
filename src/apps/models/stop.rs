//! How a model is told to end: a descriptor for those that wait for several, and a cut of
//! the sockets for those that sit in a blocking call.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::util::lock;

/// Ends a model from another thread, once and for all its clones.
#[derive(Clone)]
pub struct Stop(Arc<Shared>);

struct Shared {
    /// An eventfd that nobody reads: readable from the moment of the stop on.
    event: OwnedFd,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    is_asked: bool,
    next: u64,
    open: BTreeMap<u64, Socket>,
}

type Socket = Arc<dyn AsFd + Send + Sync>;

impl Stop {
    /// A stop that nobody has asked for.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            sockets: Mutex::default(),
        })))
    }

    /// Asks for it. Does not wait until it has happened.
    pub fn ask(&self) {
        // It fails only when it was asked for 2^64 times.
        let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
        let mut sockets = lock(&self.0.sockets);
        sockets.is_asked = true;
        sockets.open.values().for_each(cut);
    }

    /// Tells whether it was asked for.
    pub fn is_asked(&self) -> bool {
        lock(&self.0.sockets).is_asked
    }

    /// Waits for it at most so long, and tells whether it has come.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let mut events = [PollFd::new(&self.0.event, PollFlags::IN)];
        match poll(&mut events, Some(&timespec(limit))) {
            Ok(_) | Err(Errno::INTR) => Ok(self.is_asked()),
            Err(error) => Err(error.into()),
        }
    }

    /// Has the stop shut `socket` down, which ends every call that is blocked in it; for as
    /// long as the guard lives.
    ///
    /// The socket is not closed behind the caller's back: its descriptor stays its own.
    pub(super) fn cuts(&self, socket: Socket) -> Cut<'_> {
        let mut sockets = lock(&self.0.sockets);
        if sockets.is_asked {
            cut(&socket);
        }
        let number = sockets.next;
        sockets.next += 1;
        sockets.open.insert(number, socket);
        Cut { stop: self, number }
    }
}

/// A listener ends its accept, too: Linux does not ask what kind of socket it is.
fn cut(socket: &Socket) {
    // Not connected any more is as good.
    let _ = shutdown(socket, Shutdown::Both);
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_asked()).finish()
    }
}

/// See [`Stop::cuts`].
pub(super) struct Cut<'a> {
    stop: &'a Stop,
    number: u64,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        let socket = lock(&self.stop.0.sockets).open.remove(&self.number);
        // Perhaps the last handle: closed outside the lock.
        drop(socket);
    }
}

/// A limit as the system calls take it; what is too long for them is as good as none.
pub(super) fn timespec(limit: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    }
}
