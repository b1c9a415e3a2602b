//! TCP connections.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use socket2::SockRef;

use crate::error::Result;
use crate::net::addr::Address;
use crate::net::connect;
use crate::net::split::{ReadHalf, WriteHalf};
use crate::net::stream::Stream;
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::reason::Wait;

/// A TCP connection.
///
/// Dropping it closes it. It is used by one greenlet at a time (a second one cannot even
/// be written down: all calls take `&mut self`); [`TcpStream::split`] gives one half for
/// each direction. `TCP_NODELAY` is on unless it is turned off.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let mut listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _peer) = listener.accept()?;
/// client.write_all(b"hello")?;
/// let mut buf = [0; 5];
/// server.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"hello");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.socket.socket`, connected.
pub struct TcpStream {
    source: Source<std::net::TcpStream>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl TcpStream {
    /// Connects to `HOST:PORT`.
    ///
    /// All addresses of the host are tried, families taking turns, each a quarter second
    /// after the one before or as soon as that one has failed (RFC 8305); the first to
    /// answer wins, and the others are closed.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The address makes no sense, the name is unknown, or no address answered: then the
    /// error lists every attempt. Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. Nothing stays open.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// listener.close();
    /// let error = TcpStream::connect(address).unwrap_err();
    /// assert!(error.is_refused());
    /// assert_eq!(error.to_string(), format!("connecting to {address}: connection refused"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `gevent.socket.create_connection(address)`, which tries one after another.
    #[track_caller]
    pub fn connect(address: impl ToString) -> Result<Self> {
        Self::connect_deadline(address, Deadline::NEVER)
    }

    /// Connects like [`TcpStream::connect`], names and all attempts included within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpStream::connect`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn connect_timeout(address: impl ToString, limit: Duration) -> Result<Self> {
        Self::connect_deadline(address, Deadline::after(limit))
    }

    /// Connects like [`TcpStream::connect`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpStream::connect`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn connect_deadline(address: impl ToString, limit: Deadline) -> Result<Self> {
        let address: Address = address.to_string().parse()?;
        connect::connect(&address, limit)
    }

    /// Takes over a connection that std made.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let client = greenloop::blocking(move || std::net::TcpStream::connect(address))??;
    /// TcpStream::from_std(client)?.write_all(b"hello")?;
    /// let mut text = String::new();
    /// listener.accept()?.0.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        Ok(Self {
            source: Source::new(stream)?,
            read_timeout: None,
            write_timeout: None,
        })
    }

    /// Gives the connection to code that knows nothing of greenlets, in blocking mode.
    ///
    /// # Errors
    /// The process has no descriptor left: it takes a second one for a moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?.into_std()?;
    /// let library = greenloop::spawn(move || {
    ///     // Something that knows std's streams only, on a thread where it may block.
    ///     greenloop::blocking(move || (&client).write_all(b"hello"))
    /// });
    /// let mut text = String::new();
    /// listener.accept()?.0.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// library.join().unwrap()??;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        let stream = self.get_ref().try_clone()?;
        drop(self);
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// The connection was reset.
    ///
    /// gevent: `socket.getpeername()`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// gevent: `socket.getsockname()`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// Sends small writes at once (true, as new connections do) or gathers them.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.nodelay()?);
    /// stream.set_nodelay(false)?; // many small writes, and nobody waits for one
    /// assert!(!stream.nodelay()?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.get_ref().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// What the system reports.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.get_ref().nodelay()
    }

    /// How long a close with unsent data holds on; `Some(ZERO)` resets the connection.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.set_linger(Some(Duration::ZERO))?;
    /// drop(client);
    /// let error = server.read(&mut [0]).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self.get_ref()).set_linger(linger)
    }

    /// The limit on each `read`.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    /// The limit on each `write`, and on each `write_all` as a whole.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// Reads like `read` without taking the bytes away.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stream::read_deadline`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut server, _) = listener.accept()?;
    /// client.write_all(b"GET /")?;
    /// let mut first = [0; 1];
    /// server.peek(&mut first)?; // which protocol is it?
    /// assert_eq!(&first, b"G");
    /// let mut all = [0; 5];
    /// server.read_exact(&mut all)?;
    /// assert_eq!(&all, b"GET /");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recv(n, MSG_PEEK)`.
    #[track_caller]
    pub fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let limit = Deadline::from(self.read_timeout);
        self.source.read_with(Wait::Read, limit, |s| s.peek(buf))
    }

    /// Makes two halves, for two greenlets: one reads while the other writes.
    ///
    /// They share the connection on two descriptors. It is closed when both are dropped;
    /// dropping the [`WriteHalf`] alone ends the writing, which the peer sees.
    ///
    /// # Errors
    /// The process has no descriptor left; the connection is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let (mut reader, mut writer) = TcpStream::connect(listener.local_addr()?)?.split()?;
    /// let (mut server, _) = listener.accept()?;
    /// let answer = greenloop::spawn(move || {
    ///     let mut text = String::new();
    ///     reader.read_to_string(&mut text).map(|_| text)
    /// });
    /// writer.write_all(b"question")?;
    /// drop(writer);
    /// let mut question = String::new();
    /// server.read_to_string(&mut question)?;
    /// server.write_all(b"answer")?;
    /// drop(server);
    /// assert_eq!((question.as_str(), answer.join().unwrap()?.as_str()), ("question", "answer"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: one socket shared by two greenlets.
    pub fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
        let mut other = Self::from_std(self.get_ref().try_clone()?)?;
        other.read_timeout = self.read_timeout;
        other.write_timeout = self.write_timeout;
        Ok((ReadHalf(self), WriteHalf(other)))
    }

    /// Reads into `buf`; `None` if `stop` is set and nothing can be read.
    ///
    /// Whoever sets `stop` nudges the greenlet that reads.
    #[track_caller]
    pub(crate) fn read_or_stop(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
        stop: &AtomicBool,
    ) -> io::Result<Option<usize>> {
        self.source.read_unless(stop, limit, |mut s| s.read(buf))
    }

    /// Like [`TcpStream::read_or_stop`] without taking the bytes away.
    #[track_caller]
    pub(crate) fn peek_or_stop(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
        stop: &AtomicBool,
    ) -> io::Result<Option<usize>> {
        self.source.read_unless(stop, limit, |s| s.peek(buf))
    }

    pub(crate) fn source_mut(&mut self) -> &mut Source<std::net::TcpStream> {
        &mut self.source
    }

    pub(crate) fn get_ref(&self) -> &std::net::TcpStream {
        self.source.get_ref()
    }
}

impl Stream for TcpStream {
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        if buf.is_empty() {
            // The system would wait for a byte all the same.
            return Ok(0);
        }
        self.source
            .read_with(Wait::Read, limit, |mut s| s.read(buf))
    }

    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.source
            .write_with(Wait::Write, limit, |mut s| s.write(buf))
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

impl Read for TcpStream {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.read_timeout.into())
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let limit = self.read_timeout.into();
        self.source
            .read_with(Wait::Read, limit, |mut s| s.read_vectored(bufs))
    }
}

impl Write for TcpStream {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let limit = self.write_timeout.into();
        self.source
            .write_with(Wait::Write, limit, |mut s| s.write_vectored(bufs))
    }

    /// One limit for the whole, as gevent's `sendall`.
    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.write_timeout.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}
