//! Unix sockets of messages.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};
use crate::net::datagram::{DatagramSocket, Destination, Received};
use crate::net::endpoint::Addr;
use crate::net::unix::addr::UnixAddr;
use crate::net::unix::file;
use crate::runtime::deadline::Deadline;

/// A Unix datagram socket: messages to another process of this machine, none of which is
/// lost or overtakes another.
///
/// Bound to a path, its file is removed at the drop, if it is still this socket's. A second
/// greenlet that sends while the first receives has a descriptor of its own, by
/// [`UnixDatagram::try_clone`].
///
/// # Examples
///
/// ```
/// use greenloop::net::UnixDatagram;
///
/// let (mut near, mut far) = UnixDatagram::pair()?;
/// near.send(b"first")?;
/// near.send(b"second")?;
/// let mut buf = [0; 16];
/// assert_eq!((far.recv(&mut buf)?, far.recv(&mut buf)?), (5, 6));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.socket.socket(AF_UNIX, SOCK_DGRAM)`.
pub struct UnixDatagram(DatagramSocket);

impl UnixDatagram {
    /// Binds to a path, or to a name in the abstract namespace.
    ///
    /// A file that a socket has left behind is replaced.
    ///
    /// # Errors
    /// Somebody is behind the file (`address already in use`), or it is no socket; it cannot
    /// be made; the name is longer than 107 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("greenloop-bind-{}", std::process::id()));
    /// let first = UnixDatagram::bind(path.as_path())?;
    /// let error = UnixDatagram::bind(path.as_path()).unwrap_err();
    /// assert!(error.to_string().ends_with("address already in use"));
    /// drop(first);
    /// assert!(!path.exists());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.bind(path)`, which leaves its file behind and fails where one is.
    pub fn bind(address: impl Into<UnixAddr>) -> Result<Self> {
        bind_datagram(&address.into()).map(Self)
    }

    /// A socket without a name, which can be answered only if it is connected.
    ///
    /// # Errors
    /// The process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixDatagram};
    ///
    /// assert_eq!(UnixDatagram::unbound()?.local_addr()?, UnixAddr::Unnamed);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn unbound() -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        DatagramSocket::new(socket).map(Self)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// The process has no descriptors left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (mut a, mut b) = UnixDatagram::pair()?;
    /// a.send(b"hello")?;
    /// assert_eq!(b.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `gevent.socket.socketpair(AF_UNIX, SOCK_DGRAM)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
        Ok((Self(DatagramSocket::new(a)?), Self(DatagramSocket::new(b)?)))
    }

    /// Makes the socket at `address` the only peer: [`UnixDatagram::send`] sends there, and
    /// what others send is refused.
    ///
    /// # Errors
    /// Nobody is there: `ConnectionRefused`, `NotFound`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixDatagram};
    ///
    /// let name: UnixAddr = format!("@greenloop-connect-{}", std::process::id()).parse()?;
    /// let mut client = UnixDatagram::unbound()?;
    /// let error = client.connect(&name).unwrap_err();
    /// assert_eq!(error.to_string(), format!("connecting to unixgram:{name}: connection refused"));
    /// let mut server = UnixDatagram::bind(&name)?;
    /// client.connect(&name)?;
    /// client.send(b"hello")?;
    /// assert_eq!(server.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.connect(path)`.
    pub fn connect(&mut self, address: impl Into<UnixAddr>) -> Result<()> {
        let addr = address.into();
        let connect = || self.0.get_ref().connect(&addr.to_sockaddr()?);
        connect().map_err(|e| Error::from(e).context(format!("connecting to unixgram:{addr}")))
    }

    /// Takes over a socket that std made; its file, if it has one, stays.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (a, b) = std::os::unix::net::UnixDatagram::pair()?;
    /// a.send(b"hello")?;
    /// assert_eq!(UnixDatagram::from_std(b)?.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        DatagramSocket::new(socket.into()).map(Self)
    }

    /// Gives the socket to code that knows nothing of greenlets, in blocking mode; its
    /// file, if it has one, stays.
    ///
    /// # Errors
    /// The process has no descriptor left: it takes a second one for a moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (a, mut b) = UnixDatagram::pair()?;
    /// let library = a.into_std()?;
    /// greenloop::blocking(move || library.send(b"hello"))??;
    /// assert_eq!(b.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixDatagram> {
        self.0.into_socket().map(Into::into)
    }

    /// A second descriptor of the same socket, for a second greenlet.
    ///
    /// What is received by one is gone for the other. The file, if it has one, is removed
    /// with the first.
    ///
    /// # Errors
    /// The process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (mut near, mut far) = UnixDatagram::pair()?;
    /// let mut sender = near.try_clone()?;
    /// let receiver = greenloop::spawn(move || near.recv(&mut [0; 16]));
    /// sender.send(b"question")?;
    /// assert_eq!(far.recv(&mut [0; 16])?, 8);
    /// far.send(b"answer")?;
    /// assert_eq!(receiver.join().unwrap()?, 6);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: one socket used by two greenlets.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The name of this socket.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        self.0.local_addr().map(unix_peer)
    }

    /// The name of the socket this one is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        self.0.peer_addr().map(unix_peer)
    }

    /// Limits each later call that receives and names no limit; `None`, the default, is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut socket = UnixDatagram::unbound()?;
    /// socket.set_read_timeout(Some(Duration::from_millis(2)));
    /// assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.settimeout(limit)`, which is for both directions.
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.0.read_timeout = limit;
    }

    /// Like [`UnixDatagram::set_read_timeout`], for the calls that send.
    pub fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.0.write_timeout = limit;
    }

    /// The limit on each call that receives.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.0.read_timeout
    }

    /// The limit on each call that sends.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.0.write_timeout
    }
}

/// Sending and receiving.
impl UnixDatagram {
    /// Waits for a datagram and says how long it is, which may be 0.
    ///
    /// What does not fit in `buf` is lost; [`UnixDatagram::recv_msg`] tells.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports: the socket goes on all the same.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (mut a, mut b) = UnixDatagram::pair()?;
    /// a.send(b"")?; // an empty one is one, too
    /// a.send(b"hello")?;
    /// let mut buf = [0; 2048];
    /// assert_eq!(b.recv(&mut buf)?, 0);
    /// assert_eq!(b.recv(&mut buf)?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recv(n)`.
    #[track_caller]
    pub fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.recv_msg(buf, self.0.read_limit())?.len)
    }

    /// Like [`UnixDatagram::recv`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_timeout(&mut self, buf: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.recv_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UnixDatagram::recv`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        Ok(self.0.recv_msg(buf, limit)?.len)
    }

    /// Like [`UnixDatagram::recv`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UnixDatagram::recv`] would wait; otherwise as that.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.try_recv_msg(buf)?.len)
    }

    /// Waits for a datagram and says how long it is and who sent it.
    ///
    /// What does not fit in `buf` is lost; [`UnixDatagram::recv_msg`] tells.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports: the socket goes on all the same.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixDatagram};
    ///
    /// let name: UnixAddr = format!("@greenloop-recv-from-{}", std::process::id()).parse()?;
    /// let mut server = UnixDatagram::bind(&name)?;
    /// let mut client = UnixDatagram::unbound()?;
    /// client.send_to(b"hello", &server.local_addr()?)?;
    /// let (len, peer) = server.recv_from(&mut [0; 2048])?;
    /// assert_eq!((len, peer.to_string().as_str()), (5, "")); // it has no name
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recvfrom(n)`.
    #[track_caller]
    pub fn recv_from(&mut self, buf: &mut [u8]) -> io::Result<(usize, UnixAddr)> {
        let got = self.recv_msg_deadline(buf, self.0.read_limit())?;
        Ok((got.len, got.peer))
    }

    /// Like [`UnixDatagram::recv_from`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv_from`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_from_timeout(
        &mut self,
        buf: &mut [u8],
        limit: Duration,
    ) -> io::Result<(usize, UnixAddr)> {
        self.recv_from_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UnixDatagram::recv_from`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv_from`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_from_deadline(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
    ) -> io::Result<(usize, UnixAddr)> {
        let got = self.recv_msg_deadline(buf, limit)?;
        Ok((got.len, got.peer))
    }

    /// Like [`UnixDatagram::recv_from`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UnixDatagram::recv_from`] would wait; otherwise as that.
    pub fn try_recv_from(&mut self, buf: &mut [u8]) -> io::Result<(usize, UnixAddr)> {
        let got = self.try_recv_msg(buf)?;
        Ok((got.len, got.peer))
    }

    /// Waits for a datagram, and tells its true size and its sender.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports: the socket goes on all the same.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (mut a, mut b) = UnixDatagram::pair()?;
    /// a.send(b"too long")?;
    /// let mut buf = [0; 3];
    /// let got = b.recv_msg(&mut buf)?;
    /// assert!(got.is_truncated());
    /// assert_eq!((&buf, got.size), (b"too", 8));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recvmsg(n, ancillary_size)`.
    #[track_caller]
    pub fn recv_msg(&mut self, buf: &mut [u8]) -> io::Result<Received<UnixAddr>> {
        let got = self.0.recv_msg(buf, self.0.read_limit())?;
        Ok(got.map_peer(unix_peer))
    }

    /// Like [`UnixDatagram::recv_msg`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_msg_timeout(
        &mut self,
        buf: &mut [u8],
        limit: Duration,
    ) -> io::Result<Received<UnixAddr>> {
        self.recv_msg_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UnixDatagram::recv_msg`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::recv_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_msg_deadline(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
    ) -> io::Result<Received<UnixAddr>> {
        let got = self.0.recv_msg(buf, limit)?;
        Ok(got.map_peer(unix_peer))
    }

    /// Like [`UnixDatagram::recv_msg`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UnixDatagram::recv_msg`] would wait; otherwise as that.
    pub fn try_recv_msg(&mut self, buf: &mut [u8]) -> io::Result<Received<UnixAddr>> {
        let got = self.0.try_recv_msg(buf)?;
        Ok(got.map_peer(unix_peer))
    }

    /// Sends a datagram to the connected peer.
    ///
    /// Waits while the peer has too many that it has not received.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `NotConnected`; `ConnectionRefused` if the peer is gone; more bytes than the send buffer
    /// has room for (`EMSGSIZE`); what else the system reports.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the write timeout passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UnixDatagram;
    ///
    /// let (mut a, mut b) = UnixDatagram::pair()?;
    /// assert_eq!(a.send(b"hello")?, 5);
    /// assert_eq!(b.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.send(data)`.
    #[track_caller]
    pub fn send(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0
            .send(buf, &Destination::Connected, self.0.write_limit())
    }

    /// Like [`UnixDatagram::send`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::send`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_timeout(&mut self, buf: &[u8], limit: Duration) -> io::Result<usize> {
        self.send_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UnixDatagram::send`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::send`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.0.send(buf, &Destination::Connected, limit)
    }

    /// Like [`UnixDatagram::send`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UnixDatagram::send`] would wait; otherwise as that.
    pub fn try_send(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_send(buf, &Destination::Connected)
    }

    /// Sends a datagram to `to`.
    ///
    /// Waits while that socket has too many it has not received.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Nobody is there (`ConnectionRefused`, `NotFound`); more bytes than the send buffer has
    /// room for (`EMSGSIZE`); what else the system reports.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the write timeout passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixDatagram};
    ///
    /// let name: UnixAddr = format!("@greenloop-send-to-{}", std::process::id()).parse()?;
    /// let mut server = UnixDatagram::bind(&name)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &name)?;
    /// assert_eq!(server.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.sendto(data, address)`.
    #[track_caller]
    pub fn send_to(&mut self, buf: &[u8], to: &UnixAddr) -> io::Result<usize> {
        let to = self.0.destination(&Addr::Unix(to.clone()))?;
        self.0.send(buf, &to, self.0.write_limit())
    }

    /// Like [`UnixDatagram::send_to`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::send_to`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_to_timeout(
        &mut self,
        buf: &[u8],
        to: &UnixAddr,
        limit: Duration,
    ) -> io::Result<usize> {
        self.send_to_deadline(buf, to, Deadline::after(limit))
    }

    /// Like [`UnixDatagram::send_to`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UnixDatagram::send_to`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_to_deadline(
        &mut self,
        buf: &[u8],
        to: &UnixAddr,
        limit: Deadline,
    ) -> io::Result<usize> {
        let to = self.0.destination(&Addr::Unix(to.clone()))?;
        self.0.send(buf, &to, limit)
    }

    /// Like [`UnixDatagram::send_to`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UnixDatagram::send_to`] would wait; otherwise as that.
    pub fn try_send_to(&mut self, buf: &[u8], to: &UnixAddr) -> io::Result<usize> {
        let to = self.0.destination(&Addr::Unix(to.clone()))?;
        self.0.try_send(buf, &to)
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UnixDatagram");
        if let Ok(addr) = self.local_addr() {
            shown.field("addr", &addr);
        }
        shown.finish_non_exhaustive()
    }
}

/// A socket that is bound to `addr`.
pub(crate) fn bind_datagram(addr: &UnixAddr) -> Result<DatagramSocket> {
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        let file = file::bind(&socket, addr, None, |_| Ok(()))?;
        DatagramSocket::with_file(socket, file)
    };
    bind().map_err(|e| Error::from(e).context(format!("listening on unixgram:{addr}")))
}

/// A Unix socket hears from Unix sockets only.
fn unix_peer(addr: Addr) -> UnixAddr {
    match addr {
        Addr::Unix(addr) => addr,
        Addr::Ip(_) => UnixAddr::Unnamed,
    }
}
