//! What serves one connection, and the connection as it sees it.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::net::{Addr, Stream, StreamSocket};
use crate::runtime::deadline::Deadline;
use crate::server::config::ServerConfig;
use crate::server::observe::{ConnEnd, ConnInfo, Outcome};
use crate::server::writer::ConnWriter;

/// Serves connections, each in a greenlet of its own.
///
/// Functions and closures from `&mut Conn` to `Result<()>` are handlers. When the handler
/// returns, the connection is closed; after `Ok`, such that the peer still gets all that
/// was written. A panic closes that connection and is counted; no other is touched.
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::server::{Conn, Handler, StreamServer};
/// use std::io::{Read, Write};
///
/// /// Says the same thing to everybody.
/// struct Greeter(&'static str);
///
/// impl Handler for Greeter {
///     fn handle(&self, conn: &mut Conn) -> greenloop::Result<()> {
///         Ok(conn.write_all(self.0.as_bytes())?)
///     }
/// }
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(Greeter("hello\n"))?;
/// let mut text = String::new();
/// TcpStream::connect(server.addr())?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello\n");
/// server.stop_now()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the `handle` argument of `StreamServer`. Python's `socketserver`: a
/// `StreamRequestHandler`, whose three methods these are.
pub trait Handler: Send + Sync + 'static {
    /// Prepares a connection: counts it, greets, sets timeouts.
    ///
    /// # Errors
    /// Ends the connection like an error of [`Handler::handle`], which is not called then,
    /// and [`Handler::finish`] neither.
    fn setup(&self, conn: &mut Conn) -> Result<()> {
        let _ = conn;
        Ok(())
    }

    /// Serves one connection to its end.
    ///
    /// # Errors
    /// Counted and reported by the server, which closes the connection without ceremony.
    fn handle(&self, conn: &mut Conn) -> Result<()>;

    /// Cleans up after a connection that was set up: also when `handle` failed, panicked or
    /// was killed, where nothing can be written or waited for any more.
    fn finish(&self, conn: &mut Conn) {
        let _ = conn;
    }
}

/// Serves a connection in the three steps of its handler.
pub(super) fn serve_with(handler: &dyn Handler, conn: &mut Conn) -> Result<()> {
    handler.setup(conn)?;
    let served = catch_unwind(AssertUnwindSafe(|| handler.handle(conn)));
    handler.finish(conn);
    served.unwrap_or_else(|panic| resume_unwind(panic))
}

impl<F> Handler for F
where
    F: Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
{
    fn handle(&self, conn: &mut Conn) -> Result<()> {
        self(conn)
    }
}

/// A connection that a server has accepted.
///
/// It reads and writes under the server's idle and write timeouts. The peer's end of its
/// direction (a read of zero bytes) leaves ours open: what has to be answered still is.
///
/// Between two messages, wait with [`Conn::read_next`] or [`Conn::wait_ready`]: they tell
/// an idle connection of a server that drains to end, and only them. A plain `read` is in
/// the middle of something, and goes on.
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::server::{Conn, StreamServer};
/// use std::io::{Read, Write};
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
///     let greeting = format!("you are number {}, from {}", conn.id(), conn.peer_addr());
///     Ok(conn.write_all(greeting.as_bytes())?)
/// })?;
/// let mut client = TcpStream::connect(server.addr())?;
/// let mut text = String::new();
/// client.read_to_string(&mut text)?;
/// assert_eq!(text, format!("you are number 1, from {}", client.local_addr()?));
/// server.stop_now()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
pub struct Conn {
    stream: StreamSocket,
    info: ConnInfo,
    draining: Arc<AtomicBool>,
    bytes_read: u64,
    bytes_written: u64,
    /// What writers of other greenlets wrote.
    written_by_others: Option<Arc<AtomicU64>>,
    since: Instant,
}

impl Conn {
    pub(super) fn new(
        mut stream: StreamSocket,
        info: ConnInfo,
        config: &ServerConfig,
        draining: Arc<AtomicBool>,
    ) -> Self {
        stream.set_read_timeout(config.idle_timeout);
        stream.set_write_timeout(config.write_timeout);
        let since = Instant::now();
        Self {
            stream,
            info,
            draining,
            bytes_read: 0,
            bytes_written: 0,
            written_by_others: None,
            since,
        }
    }

    /// Its number in this server, from 1.
    pub fn id(&self) -> u64 {
        self.info.id
    }

    /// Its number and the address of the other side.
    pub fn info(&self) -> &ConnInfo {
        &self.info
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> &Addr {
        &self.info.peer
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Addr> {
        self.stream.local_addr()
    }

    /// How long each of its reads waits.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.stream.read_timeout()
    }

    /// Tells whether the server drains: end after what is in hand.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Waits for the first byte of the next message. False if there is none to come: the
    /// peer has ended its direction, or the server drains and nothing has arrived.
    ///
    /// What has arrived is served, whether the server drains or not.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Timeout, when nothing came for the idle timeout; cancelled, when the drain's
    /// deadline came; what the system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::io::{BufRead, BufReader, Read, Write};
    /// use std::time::Duration;
    ///
    /// // A line protocol, read through a buffer: between two lines it waits here.
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
    ///     while conn.wait_ready()? {
    ///         let mut line = String::new();
    ///         BufReader::with_capacity(1, &mut *conn).read_line(&mut line)?;
    ///         conn.write_all(line.to_uppercase().as_bytes())?;
    ///     }
    ///     Ok(())
    /// })?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// client.write_all(b"hello\n")?;
    /// let mut answer = [0; 6];
    /// client.read_exact(&mut answer)?;
    /// assert_eq!(&answer, b"HELLO\n");
    /// assert!(server.drain(Duration::from_secs(60))?.is_clean()); // it was idle
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_ready(&mut self) -> Result<bool> {
        let limit = self.stream.read_timeout().into();
        let peeked = self.stream.peek_or_stop(&mut [0], limit, &self.draining)?;
        Ok(peeked.is_some_and(|count| count > 0))
    }

    /// Reads the first part of the next message: [`Conn::wait_ready`] and `read` in one
    /// system call. Zero where the former gives false.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Conn::wait_ready`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
    ///     let mut buf = vec![0; 1024];
    ///     loop {
    ///         match conn.read_next(&mut buf)? {
    ///             0 => return Ok(()), // the client has ended, or the server drains
    ///             n => conn.write_all(&buf[..n])?,
    ///         }
    ///     }
    /// })?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// client.write_all(b"hello")?;
    /// client.read_exact(&mut [0; 5])?;
    /// assert!(server.drain(Duration::from_secs(60))?.is_clean());
    /// assert_eq!(client.read(&mut [0])?, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read_next(&mut self, buf: &mut [u8]) -> Result<usize> {
        let limit = self.stream.read_timeout().into();
        let count = self.stream.read_or_stop(buf, limit, &self.draining)?;
        Ok(self.count_read(count.unwrap_or(0)))
    }

    /// A writer for a second greenlet, which writes while this one reads.
    ///
    /// Start that greenlet in a [`scope`](crate::sync::scope()): then it ends with the handler,
    /// also if that one is killed. A drain tells the handler's greenlet alone, which tells
    /// the other one by closing the queue between them. Several writers at once, or one
    /// beside a handler that writes, mix their bytes.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The process has no descriptor left: a writer takes one.
    ///
    /// # Examples
    ///
    /// Answers through a queue, so that reading does not wait for the writing:
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use greenloop::sync::{Queue, scope};
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
    ///     let answers = Queue::bounded(64);
    ///     let mut writer = conn.writer()?;
    ///     scope(|s| {
    ///         s.spawn(|| {
    ///             let written = answers.iter().try_for_each(|a: Vec<u8>| writer.write_all(&a));
    ///             answers.close_now(); // if that failed, the reader's next put does
    ///             written
    ///         });
    ///         let mut buf = vec![0; 1024];
    ///         let mut read = || loop {
    ///             match conn.read_next(&mut buf)? {
    ///                 0 => return Ok(()),
    ///                 n => answers.put(buf[..n].to_vec())?,
    ///             }
    ///         };
    ///         let ended = read();
    ///         answers.close(); // whatever the reason: the writer writes what is left
    ///         ended
    ///     })?
    /// })?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// client.write_all(b"hello")?;
    /// greenloop::net::Stream::shutdown(&mut client, Shutdown::Write)?;
    /// let mut text = String::new();
    /// client.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// assert_eq!(server.stop_now()?.bytes_written, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn writer(&mut self) -> io::Result<ConnWriter> {
        let stream = self.stream.second()?;
        let written = self.written_by_others.get_or_insert_default();
        Ok(ConnWriter::new(stream, written.clone()))
    }

    /// Closes it as `outcome` demands, and says how it ended.
    pub(super) fn close(mut self, outcome: Outcome) -> ConnEnd {
        if matches!(outcome, Outcome::Finished) {
            self.close_gently();
        } else {
            // The drop closes it, but perhaps only when a busy worker has its next turn
            // (see `runtime::io`); the peer is to know now.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        let others = self.written_by_others.as_deref();
        let by_others = others.map_or(0, |count| count.load(Ordering::Relaxed));
        ConnEnd {
            outcome,
            bytes_read: self.bytes_read,
            bytes_written: self.bytes_written + by_others,
            duration: self.since.elapsed(),
        }
    }

    /// Ends the writing; and if the peer is still sending, takes that in for a moment.
    ///
    /// A close with unread input makes the kernel send a reset, and a reset can destroy
    /// what the peer has not read yet (RFC 1122, 4.2.2.13; nginx calls it lingering).
    fn close_gently(&mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let now = AtomicBool::new(true);
        let limit = Deadline::after(LINGER_MAX);
        let pending = self.stream.peek_or_stop(&mut [0], limit, &now);
        if !matches!(pending, Ok(Some(1))) {
            return;
        }
        let mut sink = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(count @ 1..) = self.stream.read_deadline(&mut sink, limit)
            && count < left
        {
            left -= count;
        }
    }

    fn count_read(&mut self, count: usize) -> usize {
        self.bytes_read += count as u64;
        count
    }

    fn count_written(&mut self, count: usize) -> usize {
        self.bytes_written += count as u64;
        count
    }
}

impl Stream for Conn {
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        let count = self.stream.read_deadline(buf, limit)?;
        Ok(self.count_read(count))
    }

    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        let count = self.stream.write_deadline(buf, limit)?;
        Ok(self.count_written(count))
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.stream.set_read_timeout(limit);
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.stream.set_write_timeout(limit);
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}

impl Read for Conn {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buf)?;
        Ok(self.count_read(count))
    }
}

impl Write for Conn {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buf)?;
        Ok(self.count_written(count))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.stream.write_vectored(bufs)?;
        Ok(self.count_written(count))
    }

    /// One limit for the whole, as gevent's `sendall`.
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.stream.write_timeout().into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Two round trips on a bad line (Go's `rstAvoidanceDelay`).
const LINGER_MAX: Duration = Duration::from_millis(500);

/// A peer that sends more than this after our end will not read the answer either; Go
/// gives up a body after as much.
const LINGER_BYTES_MAX: usize = 256 * 1024;
