//! Accepting: how many are let in, and what to do when accept fails.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::stop::Stop;
use crate::error::Error;
use crate::server::{Pause, Verdict, sort};

/// The listener of a model that never blocks in accept.
pub(super) struct Door {
    listener: TcpListener,
    open_max: usize,
    is_full: bool,
    trouble: Trouble,
    shut_until: Option<Instant>,
}

impl Door {
    pub(super) fn new(listener: TcpListener, open_max: usize) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            open_max,
            is_full: false,
            trouble: Trouble::default(),
            shut_until: None,
        })
    }

    /// Tells whether another one is let in while `open` are served. If not, its listener is
    /// not to be watched either: a client that waits there would end every wait at once.
    pub(super) fn is_open(&mut self, open: usize) -> bool {
        if self.shut_until.is_some_and(|until| until <= Instant::now()) {
            self.shut_until = None;
        }
        let (was_full, open_max) = (self.is_full, self.open_max);
        self.is_full = open >= open_max;
        if self.is_full && !was_full {
            self.trouble.warn(|| {
                format!("the limit of clients is reached ({open_max}): more have to wait")
            });
        }
        self.shut_until.is_none() && !self.is_full
    }

    /// How long it stays shut after an error; `None` if it is not.
    pub(super) fn shut_for(&self) -> Option<Duration> {
        let until = self.shut_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Takes the next client, if the door is open and one is there.
    ///
    /// # Errors
    /// Those that will not go away.
    pub(super) fn accept(&mut self, open: usize) -> io::Result<Option<TcpStream>> {
        while self.is_open(open) {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.trouble.pause.reset();
                    return Ok(Some(without_delay(stream)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => {
                    if let Some(pause) = self.trouble.pause_after(error)? {
                        self.shut(pause);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The client that was just accepted cannot be served for want of something: waits
    /// before the next one.
    pub(super) fn shut_after(&mut self, error: &dyn Display) {
        let pause = self.trouble.pause.next();
        self.trouble
            .warn(|| format!("a client is sent away: {error}; next try in {pause:?}"));
        self.shut(pause);
    }

    /// A client is sent away, and the next one may fare better.
    pub(super) fn warn(&mut self, text: impl FnOnce() -> String) {
        self.trouble.warn(text);
    }

    fn shut(&mut self, pause: Duration) {
        self.shut_until = Some(Instant::now() + pause);
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Blocks until a client comes, or until `stop` ends it; the listener is under its cut.
///
/// # Errors
/// As [`Door::accept`].
pub(super) fn accept_or_stop(
    listener: &TcpListener,
    stop: &Stop,
    trouble: &mut Trouble,
) -> io::Result<Option<TcpStream>> {
    while !stop.is_asked() {
        match listener.accept() {
            Ok((stream, _)) => {
                trouble.pause.reset();
                return Ok(Some(without_delay(stream)));
            }
            Err(_) if stop.is_asked() => break,
            Err(error) => {
                if let Some(pause) = trouble.pause_after(error)? {
                    stop.wait(pause)?;
                }
            }
        }
    }
    Ok(None)
}

/// An answer is sent at once, not kept until the one before has been acknowledged.
fn without_delay(stream: TcpStream) -> TcpStream {
    // It only makes it faster; and the peer may have reset it already.
    let _ = stream.set_nodelay(true);
    stream
}

/// What keeps clients out: how long to wait, and when it was last said.
#[derive(Default)]
pub(super) struct Trouble {
    pub(super) pause: Pause,
    said: Option<Instant>,
}

impl Trouble {
    /// How long to wait after an error of accept, if at all.
    fn pause_after(&mut self, error: io::Error) -> io::Result<Option<Duration>> {
        let pause = match sort(&error) {
            Verdict::GoOn => self.pause.tolerate(),
            Verdict::Wait => Some(self.pause.next()),
            Verdict::Stop => return Err(error),
        };
        if let Some(pause) = pause {
            let error = Error::from(error);
            self.warn(|| format!("accepting: {error}; next try in {pause:?}"));
        }
        Ok(pause)
    }

    /// Logs it, unless something was said within the last second.
    pub(super) fn warn(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.said.is_none_or(|said| now - said >= SAID_EVERY) {
            self.said = Some(now);
            log::warn!("{}", text());
        }
    }
}

/// Shortages come in thousands.
const SAID_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn errors_of_accept_end_the_model_or_are_waited_out() {
        let mut trouble = Trouble::default();
        let mut after = |errno: Errno| {
            let pause = trouble.pause_after(errno.into());
            pause.map(|pause| pause.map(|p| p.as_millis()))
        };
        assert_eq!(after(Errno::CONNABORTED).unwrap(), None);
        assert_eq!(after(Errno::MFILE).unwrap(), Some(10));
        assert_eq!(after(Errno::NFILE).unwrap(), Some(20));
        assert!(after(Errno::INVAL).is_err());
    }
}
