//! Connections over Unix sockets.

use std::io;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::net::connect::is_in_progress;
use crate::net::socket::{StreamSocket, stream_socket};
use crate::net::split::{ReadHalf, WriteHalf};
use crate::net::unix::addr::UnixAddr;
use crate::net::unix::listener::unix_of;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::check;
use crate::runtime::sleep::sleep;

/// A connection over a Unix socket.
///
/// Dropping it closes it. As with TCP, one greenlet uses it at a time;
/// [`UnixStream::split`] gives one half for each direction.
///
/// # Examples
///
/// ```
/// use greenloop::net::UnixStream;
/// use std::io::{Read, Write};
///
/// let (mut one, mut other) = UnixStream::pair()?;
/// one.write_all(b"hello")?;
/// let mut buf = [0; 5];
/// other.read_exact(&mut buf)?;
/// assert_eq!(&buf, b"hello");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.socket.socket(AF_UNIX)`, connected.
pub struct UnixStream(pub(in crate::net) StreamSocket);

impl UnixStream {
    /// Connects to the socket that listens on `address`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// There is no such file, nobody is behind it, or it does not permit it. Cancelled,
    /// when the greenlet was killed; timeout, when a [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixStream};
    ///
    /// let nobody: UnixAddr = "@greenloop-nobody-doc".parse()?;
    /// let error = UnixStream::connect(nobody).unwrap_err();
    /// assert!(error.is_refused());
    /// assert_eq!(
    ///     error.to_string(),
    ///     "connecting to unix:@greenloop-nobody-doc: connection refused"
    /// );
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.connect(path)`.
    #[track_caller]
    pub fn connect(address: impl Into<UnixAddr>) -> Result<Self> {
        Self::connect_deadline(address, Deadline::NEVER)
    }

    /// Connects like [`UnixStream::connect`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixStream::connect`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn connect_timeout(address: impl Into<UnixAddr>, limit: Duration) -> Result<Self> {
        Self::connect_deadline(address, Deadline::after(limit))
    }

    /// Connects like [`UnixStream::connect`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixStream::connect`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn connect_deadline(address: impl Into<UnixAddr>, limit: Deadline) -> Result<Self> {
        let address = address.into();
        connect(&address, limit)
            .map_err(|error| Error::from(error).context(format!("connecting to unix:{address}")))
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// The process has no descriptors left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixStream;
    /// use std::io::{Read, Write};
    ///
    /// let (mut parent, mut child) = UnixStream::pair()?;
    /// let answer = greenloop::spawn(move || child.write_all(b"done"));
    /// let mut text = String::new();
    /// parent.read_to_string(&mut text)?;
    /// assert_eq!(text, "done");
    /// answer.join().unwrap()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `gevent.socket.socketpair()`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        let wrap = |socket| StreamSocket::new(socket).map(Self);
        Ok((wrap(one)?, wrap(other)?))
    }

    /// Takes over a connection that std made.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixStream;
    /// use std::io::{Read, Write};
    ///
    /// let (one, mut other) = std::os::unix::net::UnixStream::pair()?;
    /// UnixStream::from_std(one)?.write_all(b"hello")?;
    /// let mut text = String::new();
    /// other.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        StreamSocket::new(stream.into()).map(Self)
    }

    /// Gives the connection to code that knows nothing of greenlets, in blocking mode.
    ///
    /// # Errors
    /// The process has no descriptor left: it takes a second one for a moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixStream;
    ///
    /// let (one, other) = UnixStream::pair()?;
    /// let plain = one.into_std()?;
    /// assert!(plain.peer_addr()?.is_unnamed());
    /// # drop(other);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixStream> {
        Ok(self.0.into_blocking()?.into())
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// gevent: `socket.getpeername()`.
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        unix_of(self.0.peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// gevent: `socket.getsockname()`.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix_of(self.0.local_addr()?)
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
    /// use greenloop::net::UnixStream;
    /// use std::io::{Read, Write};
    ///
    /// let (mut one, mut other) = UnixStream::pair()?;
    /// one.write_all(b"hi")?;
    /// let mut buf = [0; 2];
    /// assert_eq!((other.peek(&mut buf)?, other.read(&mut buf)?), (2, 2));
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
    /// See [`TcpStream::split`](crate::net::TcpStream::split).
    ///
    /// # Errors
    /// The process has no descriptor left; the connection is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixStream;
    /// use std::io::{Read, Write};
    ///
    /// let (one, mut other) = UnixStream::pair()?;
    /// let (mut reader, mut writer) = one.split()?;
    /// let answer = greenloop::spawn(move || {
    ///     let mut text = String::new();
    ///     reader.read_to_string(&mut text).map(|_| text)
    /// });
    /// writer.write_all(b"?")?;
    /// drop(writer); // the peer reads the end
    /// let mut question = String::new();
    /// other.read_to_string(&mut question)?;
    /// other.write_all(b"!")?;
    /// drop(other);
    /// assert_eq!((question.as_str(), answer.join().unwrap()?.as_str()), ("?", "!"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: one socket shared by two greenlets.
    pub fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
        self.0.split()
    }
}

#[track_caller]
fn connect(address: &UnixAddr, limit: Deadline) -> io::Result<UnixStream> {
    let socket = connect_socket(Type::STREAM, address, limit)?;
    let mut stream = StreamSocket::new(socket)?;
    stream.wait_connected(limit)?;
    Ok(UnixStream(stream))
}

/// A socket of the type `kind` that is connected, or about to be.
#[track_caller]
pub(super) fn connect_socket(
    kind: Type,
    address: &UnixAddr,
    limit: Deadline,
) -> io::Result<Socket> {
    let name = address.to_sockaddr()?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    let mut pause = PAUSE_MIN;
    loop {
        match socket.connect(&name) {
            // The server's queue is full. The system tells nobody when there is room, so a
            // connect that would block is tried again.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                check(limit)?;
                sleep(limit.remaining().map_or(pause, |left| left.min(pause)))?;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(e) if !is_in_progress(&e) => return Err(e),
            Ok(()) | Err(_) => return Ok(socket),
        }
    }
}

stream_socket!(UnixStream);

/// Far below what a person notices, and no load even where thousands wait.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);
