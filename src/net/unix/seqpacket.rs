//! Unix sockets of connections that keep messages apart (`SOCK_SEQPACKET` in unix(7)).

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::net::accept::{ListenSocket, listen};
use crate::net::datagram::{DatagramSocket, Destination, Received};
use crate::net::listener::BACKLOG_DEFAULT;
use crate::net::unix::addr::UnixAddr;
use crate::net::unix::file;
use crate::net::unix::listener::unix_of;
use crate::net::unix::stream::connect_socket;
use crate::runtime::deadline::Deadline;

/// Listens for connections whose messages stay apart.
///
/// Bound to a path, its file is removed at the drop, if it is still this listener's.
///
/// # Examples
///
/// ```
/// use greenloop::net::{SeqpacketListener, SeqpacketStream, UnixAddr};
///
/// let name: UnixAddr = format!("@greenloop-seqpacket-{}", std::process::id()).parse()?;
/// let mut listener = SeqpacketListener::bind(&name)?;
/// let mut client = SeqpacketStream::connect(&name)?;
/// let mut server = listener.accept()?;
/// client.send(b"one")?;
/// client.send(b"two, longer")?;
/// drop(client);
/// let mut buf = [0; 16];
/// assert_eq!(server.recv(&mut buf)?.len, 3);
/// assert_eq!(server.recv(&mut buf)?.len, 11);
/// assert_eq!(server.recv(&mut buf)?.len, 0); // the end
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: a listening `gevent.socket.socket(AF_UNIX, SOCK_SEQPACKET)`.
pub struct SeqpacketListener(ListenSocket);

impl SeqpacketListener {
    /// Listens at a path, or at a name in the abstract namespace. A file that a socket has
    /// left behind is replaced.
    ///
    /// # Errors
    /// Somebody is behind the file, or it is no socket; it cannot be made; the name is longer
    /// than 107 bytes.
    pub fn bind(address: impl Into<UnixAddr>) -> Result<Self> {
        let addr = address.into();
        let bind = || {
            let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
            let file = file::bind(&socket, &addr, None, |s| listen(s, BACKLOG_DEFAULT))?;
            ListenSocket::listening(socket, file)
        };
        let listening = |e: io::Error| Error::from(e).context(format!("listening on unix:{addr}"));
        bind().map(Self).map_err(listening)
    }

    /// Waits for a connection.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixListener::accept`](crate::net::UnixListener::accept).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{SeqpacketListener, SeqpacketStream, UnixAddr};
    ///
    /// let name: UnixAddr = format!("@greenloop-accept-{}", std::process::id()).parse()?;
    /// let mut listener = SeqpacketListener::bind(&name)?;
    /// let client = greenloop::spawn(move || SeqpacketStream::connect(name)?.recv(&mut [0; 8]));
    /// listener.accept()?.send(b"hello")?;
    /// assert_eq!(client.join().unwrap()?.len, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn accept(&mut self) -> io::Result<SeqpacketStream> {
        self.accept_deadline(Deadline::NEVER)
    }

    /// Like [`SeqpacketListener::accept`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`SeqpacketListener::accept`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn accept_deadline(&mut self, limit: Deadline) -> io::Result<SeqpacketStream> {
        let (socket, _) = self.0.accept_socket(limit)?;
        DatagramSocket::new(socket).map(SeqpacketStream)
    }

    /// The name it listens at.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        unix_of(self.0.local_addr()?)
    }
}

/// A connection whose messages stay apart: each comes whole, in order, and is told from the
/// next.
///
/// See [`SeqpacketListener`]. For both directions at once there is
/// [`SeqpacketStream::try_clone`].
pub struct SeqpacketStream(DatagramSocket);

impl SeqpacketStream {
    /// Connects to the listener at `address`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// There is no such file, nobody is behind it, or it is of another type. Cancelled, when
    /// the greenlet was killed; timeout, when a [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{SeqpacketStream, UnixAddr};
    ///
    /// let nobody: UnixAddr = "@greenloop-nobody-seqpacket".parse()?;
    /// assert!(SeqpacketStream::connect(nobody).unwrap_err().is_refused());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn connect(address: impl Into<UnixAddr>) -> Result<Self> {
        let address = address.into();
        let connect = || {
            let socket = connect_socket(Type::SEQPACKET, &address, Deadline::NEVER)?;
            DatagramSocket::new(socket).map(Self)
        };
        connect().map_err(|e| Error::from(e).context(format!("connecting to unix:{address}")))
    }

    /// Two ends of a connection.
    ///
    /// # Errors
    /// The process has no descriptors left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::SeqpacketStream;
    ///
    /// let (mut a, mut b) = SeqpacketStream::pair()?;
    /// a.send(b"too long")?;
    /// let mut buf = [0; 3];
    /// let got = b.recv(&mut buf)?;
    /// assert_eq!((got.len, got.size, got.is_truncated()), (3, 8, true));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        Ok((Self(DatagramSocket::new(a)?), Self(DatagramSocket::new(b)?)))
    }

    /// Sends one message.
    ///
    /// Waits while the peer has too many that it has not received.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `InvalidInput` for an empty message: the peer could not tell it from the end;
    /// `BrokenPipe` when the peer is gone; more bytes than the send buffer has room for
    /// (`EMSGSIZE`). Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::SeqpacketStream;
    /// use std::io::ErrorKind;
    ///
    /// let (mut a, b) = SeqpacketStream::pair()?;
    /// assert_eq!(a.send(b"").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// drop(b);
    /// assert_eq!(a.send(b"hello").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.send_deadline(message, Deadline::NEVER)
    }

    /// Like [`SeqpacketStream::send`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`SeqpacketStream::send`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_deadline(&mut self, message: &[u8], limit: Deadline) -> io::Result<()> {
        if message.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.send(message, &Destination::Connected, limit)?;
        Ok(())
    }

    /// Waits for a message; 0 bytes are the end.
    ///
    /// What does not fit in `buf` is lost; the answer tells.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports. Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed. No message is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::SeqpacketStream;
    ///
    /// let (mut a, mut b) = SeqpacketStream::pair()?;
    /// a.send(b"hello")?;
    /// drop(a);
    /// let mut buf = [0; 16];
    /// assert_eq!(b.recv(&mut buf)?.len, 5);
    /// assert_eq!(b.recv(&mut buf)?.len, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn recv(&mut self, buf: &mut [u8]) -> io::Result<Received<()>> {
        self.recv_deadline(buf, Deadline::NEVER)
    }

    /// Like [`SeqpacketStream::recv`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`SeqpacketStream::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_timeout(&mut self, buf: &mut [u8], limit: Duration) -> io::Result<Received<()>> {
        self.recv_deadline(buf, Deadline::after(limit))
    }

    /// Like [`SeqpacketStream::recv`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`SeqpacketStream::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<Received<()>> {
        Ok(self.0.recv_msg(buf, limit)?.map_peer(drop))
    }

    /// A second descriptor of the same connection, for a second greenlet.
    ///
    /// # Errors
    /// The process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::SeqpacketStream;
    ///
    /// let (mut near, mut far) = SeqpacketStream::pair()?;
    /// let mut sender = near.try_clone()?;
    /// let receiver = greenloop::spawn(move || near.recv(&mut [0; 16]));
    /// sender.send(b"question")?;
    /// far.recv(&mut [0; 16])?;
    /// far.send(b"answer")?;
    /// assert_eq!(receiver.join().unwrap()?.len, 6);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for SeqpacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl AsFd for SeqpacketStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl fmt::Debug for SeqpacketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("SeqpacketListener", f)
    }
}

impl fmt::Debug for SeqpacketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeqpacketStream").finish_non_exhaustive()
    }
}
