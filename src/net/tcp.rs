//! TCP connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockAddr;

use crate::error::Result;
use crate::net::addr::Address;
use crate::net::connect;
use crate::net::socket::{StreamSocket, stream_socket};
use crate::net::split::{ReadHalf, WriteHalf};
use crate::runtime::deadline::Deadline;

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
pub struct TcpStream(pub(super) StreamSocket);

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
        StreamSocket::new(stream.into()).map(Self)
    }

    pub(crate) fn from_socket(socket: StreamSocket) -> Self {
        Self(socket)
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
        Ok(self.0.into_blocking()?.into())
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// The connection was reset.
    ///
    /// gevent: `socket.getpeername()`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip_of(&self.0.get_ref().peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// gevent: `socket.getsockname()`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_of(&self.0.get_ref().local_addr()?)
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
        self.0.get_ref().set_tcp_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// What the system reports.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.get_ref().tcp_nodelay()
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
        self.0.get_ref().set_linger(linger)
    }

    /// The limit on each `read`.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.read_timeout()
    }

    /// The limit on each `write`, and on each `write_all` as a whole.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.0.write_timeout()
    }

    /// Reads like `read` without taking the bytes away.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stream::read_deadline`](crate::net::Stream::read_deadline).
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
        self.0.peek(buf)
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
        self.0.split()
    }
}

/// The address of a TCP socket, which has no other.
pub(super) fn ip_of(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

stream_socket!(TcpStream);
