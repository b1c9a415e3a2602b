//! What all byte streams have in common: TCP, TLS, and others to come.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::runtime::deadline::Deadline;

/// A two-way stream of bytes whose calls wait the greenlet's way.
///
/// `read` and `write` take as long as the timeouts of the stream allow; the `_deadline`
/// variants take their own limit instead. Kills and [`Timeout`](crate::Timeout)s end all
/// of them. After a call that failed so, a read has consumed nothing, and a write of a
/// whole buffer has sent an unknown part of it: only closing is safe then.
///
/// Code over any stream, here one in memory:
///
/// ```
/// # #[cfg(feature = "testkit")] {
/// use greenloop::Deadline;
/// use greenloop::net::Stream;
/// use greenloop::testkit::stream_pair;
/// use std::io::ErrorKind;
/// use std::time::Duration;
///
/// fn ask<S: Stream>(stream: &mut S, limit: Duration) -> std::io::Result<[u8; 3]> {
///     let limit = Deadline::from(limit); // for question and answer together
///     let mut answer = [0; 3];
///     stream.write_all_deadline(b"name?", limit)?;
///     stream.read_exact_deadline(&mut answer, limit)?;
///     Ok(answer)
/// }
///
/// let (mut client, mut server) = stream_pair(64);
/// let late = ask(&mut client, Duration::from_millis(2)).unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::TimedOut);
/// server.write_all_deadline(b"Bob", Deadline::NEVER)?;
/// assert_eq!(&ask(&mut client, Duration::from_secs(60))?, b"Bob");
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Stream: Read + Write + Send {
    /// Reads what is there into `buf`, waiting until `limit` for the first byte.
    ///
    /// Zero means that the peer has ended its direction (or that `buf` is empty).
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `TimedOut` when `limit` passed; what the system reports. Whether a kill or which
    /// timeout it was, [`Error::from`](crate::Error) of it knows.
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize>;

    /// Writes as much of `buf` as there is room for, waiting until `limit` for some.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stream::read_deadline`].
    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize>;

    /// Writes all of `buf`, under one limit for the whole of it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stream::read_deadline`]; an unknown part of `buf` was sent.
    ///
    /// gevent: `socket.sendall` with a timeout.
    #[track_caller]
    fn write_all_deadline(&mut self, mut buf: &[u8], limit: Deadline) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_deadline(buf, limit)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => buf = &buf[n..],
            }
        }
        Ok(())
    }

    /// Fills all of `buf`, under one limit for the whole of it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stream::read_deadline`], with an unknown part of `buf` filled; `UnexpectedEof`
    /// when the peer ended before.
    #[track_caller]
    fn read_exact_deadline(&mut self, mut buf: &mut [u8], limit: Deadline) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_deadline(buf, limit)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => buf = &mut buf[n..],
            }
        }
        Ok(())
    }

    /// Limits each later `read` to `limit`; `None`, the default, is no limit.
    fn set_read_timeout(&mut self, limit: Option<Duration>);

    /// Limits each later `write`, and each `write_all` as a whole, to `limit`; `None`, the
    /// default, is no limit.
    fn set_write_timeout(&mut self, limit: Option<Duration>);

    /// Ends one direction or both. Ended writing reaches the peer as the end of the stream,
    /// after all that was written.
    ///
    /// # Errors
    /// What the system reports; `NotConnected` if the peer has reset the connection.
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()>;
}
