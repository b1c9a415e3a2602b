//! The crate's one error type.
//!
//! [`Error`] is opaque: callers ask it questions ([`Error::is_timeout`],
//! [`Error::is_cancelled`], …) and print it. It is one pointer wide, so a `Result` of a
//! small value stays small on a coroutine's stack. `std::io::Error` converts both ways
//! without nesting: an [`Error`] that travelled through a `Read` or `Write` comes out as
//! it went in.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The identity of one [`Timeout`](crate::Timeout), so that nested ones tell each
/// other's expiry apart.
///
/// gevent: the identity of the `Timeout` instance that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeoutId(pub(crate) u64);

/// Why an operation of this crate failed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let slow = greenloop::timeout(Duration::from_millis(5), || {
///     greenloop::sleep(Duration::from_secs(60))
/// });
/// assert!(slow.unwrap_err().is_timeout());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What was going on, outermost last.
    context: Vec<String>,
}

/// What happened; private, so that kinds can be added.
pub(crate) enum ErrorKind {
    /// A limit passed: the call's own one, or that of the `Timeout` named by `owner`.
    Elapsed {
        owner: Option<TimeoutId>,
        limit: Option<Duration>,
    },
    /// The greenlet was killed, for the reason that was given.
    Cancelled(Option<Arc<str>>),
    /// A blocking call was made while the greenlet unwinds from a panic.
    Unwinding,
    /// The other side is gone: a closed queue, a stopped server.
    Closed(&'static str),
    /// Somebody whom all the others needed has left: a barrier.
    Broken(&'static str),
    /// A configured or system limit was reached.
    Limit(String),
    /// So many messages were lost before this call.
    Lagged(u64),
    /// The operating system's answer.
    Io(io::Error),
    /// Anything else, in words.
    Message(String),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            context: Vec::new(),
        }))
    }

    /// An error that consists of its text.
    pub(crate) fn message(text: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Message(text.to_string()))
    }

    pub(crate) fn cancelled(reason: Option<Arc<str>>) -> Self {
        Self::new(ErrorKind::Cancelled(reason))
    }

    /// Adds what was going on, as in `connecting to 127.0.0.1:80: connection refused`.
    ///
    /// # Examples
    ///
    /// ```
    /// let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// let error = greenloop::Error::from(cause).context("connecting to 127.0.0.1:80");
    /// assert_eq!(error.to_string(), "connecting to 127.0.0.1:80: connection refused");
    /// assert!(error.is_refused());
    /// ```
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.context.push(what.to_string());
        self
    }

    /// Tells whether a limit passed: a [`Timeout`](crate::Timeout)'s or the call's own.
    pub fn is_timeout(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Elapsed { .. } => true,
            ErrorKind::Io(e) => e.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// Names the [`Timeout`](crate::Timeout) that fired; `None` if it was the limit
    /// given to the call itself, or no limit at all.
    pub fn timeout_id(&self) -> Option<TimeoutId> {
        match self.0.kind {
            ErrorKind::Elapsed { owner, .. } => owner,
            _ => None,
        }
    }

    /// Tells whether the limit given to the call itself passed, and no `Timeout`.
    pub(crate) fn is_own_limit(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Elapsed { owner: None, .. })
    }

    /// Tells whether the greenlet was killed (or is unwinding from a panic, where no
    /// blocking call is made any more).
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Cancelled(_) | ErrorKind::Unwinding)
    }

    /// Why the greenlet was killed, if [`Handle::kill_with`](crate::Handle::kill_with) said so.
    pub fn kill_reason(&self) -> Option<&str> {
        match &self.0.kind {
            ErrorKind::Cancelled(reason) => reason.as_deref(),
            _ => None,
        }
    }

    /// Tells whether the other side is gone.
    pub fn is_closed(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Closed(_) => true,
            ErrorKind::Io(e) => matches!(
                e.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }

    /// Tells whether others can no longer be waited for, because one of them left: see
    /// [`Barrier`](crate::sync::Barrier).
    pub fn is_broken(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Broken(_))
    }

    /// Tells whether a configured or system limit was reached.
    pub fn is_limit(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Limit(_))
    }

    /// How many messages a [`Subscriber`](crate::sync::Subscriber) that was too slow has
    /// lost; `None` for any other error.
    pub fn lagged(&self) -> Option<u64> {
        match self.0.kind {
            ErrorKind::Lagged(lost) => Some(lost),
            _ => None,
        }
    }

    /// Tells whether the peer refused the connection.
    pub fn is_refused(&self) -> bool {
        matches!(&self.0.kind, ErrorKind::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// The operating system's error kind, or the nearest one for the crate's own kinds.
    ///
    /// Never `Interrupted`: std's `read_exact` and `write_all` would try again.
    pub fn io_kind(&self) -> io::ErrorKind {
        match &self.0.kind {
            ErrorKind::Elapsed { .. } => io::ErrorKind::TimedOut,
            ErrorKind::Closed(_) => io::ErrorKind::BrokenPipe,
            ErrorKind::Io(e) => e.kind(),
            _ => io::ErrorKind::Other,
        }
    }

    /// The number the operating system gave (errno), if the error is one of its own.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.kind {
            ErrorKind::Io(e) => e.raw_os_error(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in self.0.context.iter().rev() {
            write!(f, "{what}: ")?;
        }
        self.0.kind.fmt(f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elapsed {
                limit: Some(limit), ..
            } => write!(f, "timed out after {limit:?}"),
            Self::Elapsed { limit: None, .. } => f.write_str("timed out"),
            Self::Cancelled(None) => f.write_str("greenlet was killed"),
            Self::Cancelled(Some(reason)) => write!(f, "greenlet was killed: {reason}"),
            Self::Unwinding => f.write_str("blocking call during a panic"),
            Self::Closed(what) => write!(f, "{what} is closed"),
            Self::Broken(what) => write!(f, "{what} is broken"),
            Self::Limit(text) | Self::Message(text) => f.write_str(text),
            Self::Lagged(1) => f.write_str("too slow: 1 message was lost"),
            Self::Lagged(lost) => write!(f, "too slow: {lost} messages were lost"),
            Self::Io(e) => IoText(e).fmt(f),
        }
    }
}

/// An I/O error as the rest of the crate writes: lower case, no errno.
pub(crate) struct IoText<'a>(pub(crate) &'a io::Error);

impl fmt::Display for IoText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        let mut chars = text.chars();
        match (chars.next(), chars.clone().next()) {
            // "Connection refused" becomes lower case, "EOF" and the like stay.
            (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
                write!(f, "{}{}", first.to_lowercase(), chars.as_str())
            }
            _ => f.write_str(text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Io(e) => e.get_ref().map(|e| e as &(dyn std::error::Error + 'static)),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::new(ErrorKind::Io(error)),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match *error.0 {
            Inner {
                kind: ErrorKind::Io(e),
                context,
            } if context.is_empty() => e,
            inner => {
                let error = Error(Box::new(inner));
                Self::new(error.io_kind(), error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn io_errors_convert_both_ways_without_nesting() {
        let id = TimeoutId(7);
        let ours = Error::new(ErrorKind::Elapsed {
            owner: Some(id),
            limit: None,
        });
        let io: io::Error = ours.context("reading").into();
        assert_eq!(io.kind(), io::ErrorKind::TimedOut);
        let back = Error::from(io);
        assert_eq!(back.timeout_id(), Some(id));
        assert_eq!(back.to_string(), "reading: timed out");

        let os = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let back: io::Error = Error::from(os).into();
        assert_eq!(back.raw_os_error(), Some(libc::ECONNREFUSED));
    }

    #[test]
    fn cancelled_is_never_a_kind_that_std_retries() {
        let io: io::Error = Error::cancelled(None).into();
        assert_ne!(io.kind(), io::ErrorKind::Interrupted);
        assert!(Error::from(io).is_cancelled());
    }
}
