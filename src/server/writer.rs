//! The writing side of a connection, for a second greenlet.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::net::{Stream, StreamSocket};
use crate::runtime::deadline::Deadline;

/// Writes to a connection while its handler reads; see [`Conn::writer`].
///
/// It is a second descriptor of the same socket, with the server's write timeout; what it
/// writes counts as written by the connection. Dropping it changes nothing: the
/// connection ends with its handler, and after that a write is a broken pipe.
///
/// # Examples
///
/// A clock that can be stopped:
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::server::{Conn, ConnWriter, StreamServer};
/// use greenloop::sync::scope;
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// fn tick(mut writer: ConnWriter) -> greenloop::Result<()> {
///     loop {
///         writer.write_all(b"tick\n")?;
///         greenloop::sleep(Duration::from_millis(1))?;
///     }
/// }
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
///     let writer = conn.writer()?;
///     scope(|s| {
///         let ticking = s.spawn(|| tick(writer));
///         let stop = conn.wait_ready(); // the client says something, or the server drains
///         ticking.handle().kill();
///         stop.map(drop)
///     })?
/// })?;
/// let mut client = TcpStream::connect(server.addr())?;
/// client.read_exact(&mut [0; 10])?; // two ticks
/// client.write_all(b"stop")?;
/// client.read_to_end(&mut Vec::new())?;
/// assert!(server.drain(Duration::from_secs(5))?.is_clean());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; there two greenlets use one socket, one direction each.
///
/// [`Conn::writer`]: crate::server::Conn::writer
pub struct ConnWriter {
    stream: StreamSocket,
    written: Arc<AtomicU64>,
}

impl ConnWriter {
    pub(super) fn new(stream: StreamSocket, written: Arc<AtomicU64>) -> Self {
        Self { stream, written }
    }

    /// Like [`Stream::write_deadline`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        let count = self.stream.write_deadline(buf, limit)?;
        Ok(self.count(count))
    }

    /// Like [`Stream::write_all_deadline`].
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn write_all_deadline(&mut self, mut buf: &[u8], limit: Deadline) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_deadline(buf, limit)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => buf = &buf[count..],
            }
        }
        Ok(())
    }

    /// Like [`Stream::set_write_timeout`].
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.stream.set_write_timeout(limit);
    }

    /// Like [`Stream::shutdown`]; `Shutdown::Read` ends the reading of the handler, which
    /// finds the end of the stream after what has arrived.
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    fn count(&self, count: usize) -> usize {
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        count
    }
}

impl Write for ConnWriter {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buf)?;
        Ok(self.count(count))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.stream.write_vectored(bufs)?;
        Ok(self.count(count))
    }

    /// One limit for the whole, as gevent's `sendall`.
    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.stream.write_timeout().into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ConnWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnWriter").finish_non_exhaustive()
    }
}
