//! UDP sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::error::Result;
use crate::net::datagram::{DatagramSocket, Destination, Received};
use crate::net::endpoint::Addr;
use crate::net::pktinfo;
use crate::net::udp_options::{self, UdpOptions};
use crate::runtime::deadline::Deadline;

/// A UDP socket.
///
/// One greenlet uses it at a time, which `&mut self` enforces; a second one that sends while
/// the first receives has a descriptor of its own, by [`UdpSocket::try_clone`]. IPv4 peers
/// have their IPv4 addresses on a socket of both families, too.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
///
/// let mut server = UdpSocket::bind("127.0.0.1:0")?;
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to("你是who?".as_bytes(), server.local_addr()?)?;
/// let mut buf = vec![0; 65_536];
/// let (len, peer) = server.recv_from(&mut buf)?;
/// server.send_to(&buf[..len], peer)?;
/// let len = client.recv(&mut buf)?;
/// assert_eq!(&buf[..len], "你是who?".as_bytes());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.socket.socket(AF_INET, SOCK_DGRAM)`.
pub struct UdpSocket(DatagramSocket);

impl UdpSocket {
    pub(super) fn new(socket: DatagramSocket) -> Self {
        Self(socket)
    }

    /// Binds `HOST:PORT`, or with `:PORT` all addresses of both families on one socket.
    ///
    /// Port 0 takes a free one; [`UdpSocket::local_addr`] says which. Of a name's addresses
    /// the first that can be bound is taken. Options: [`UdpOptions`].
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// The address makes no sense or is not this machine's, the port is in use or not
    /// permitted, the name is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let first = UdpSocket::bind(":0")?;
    /// let address = format!("127.0.0.1:{}", first.local_addr()?.port());
    /// let error = UdpSocket::bind(&address).unwrap_err();
    /// assert_eq!(error.to_string(), format!("listening on {address}: address already in use"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.bind(address)`, which resolves names, too.
    #[track_caller]
    pub fn bind(address: impl ToString) -> Result<Self> {
        UdpOptions::new().bind(address)
    }

    /// Takes over a socket that std made.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let library = socket.into_std()?; // to something that knows std's sockets only
    /// assert_eq!(UdpSocket::from_std(library)?.local_addr()?, address);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        DatagramSocket::new(socket.into()).map(Self)
    }

    /// Gives the socket to code that knows nothing of greenlets, in blocking mode.
    ///
    /// # Errors
    /// The process has no descriptor left: it takes a second one for a moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut server = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = server.local_addr()?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?.into_std()?;
    /// greenloop::blocking(move || client.send_to(b"hello", address))??;
    /// assert_eq!(server.recv(&mut [0; 16])?, 5);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        self.0.into_socket().map(Into::into)
    }

    /// A second descriptor of the same socket, for a second greenlet.
    ///
    /// What is received by one is gone for the other; both send from the same address. The
    /// port is free when both are dropped.
    ///
    /// # Errors
    /// The process has no descriptor left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let mut sender = socket.try_clone()?;
    /// let receiver = greenloop::spawn(move || socket.recv(&mut [0; 16]));
    /// sender.send_to(b"to myself", address)?;
    /// assert_eq!(receiver.join().unwrap()?, 9);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: one socket used by two greenlets.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Makes `HOST:PORT` the only peer: [`UdpSocket::send`] sends there, and what others send
    /// is not received.
    ///
    /// Nothing is sent. Of a name's addresses the first is taken that this socket can reach.
    /// That nobody is there is told by a later call, if at all.
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// The address makes no sense, the name is unknown, there is no way to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect("127.0.0.1:1")?;
    /// client.send(b"is anybody there?")?;
    /// let error = client.recv_timeout(&mut [0; 16], Duration::from_secs(5)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.connect(address)`.
    #[track_caller]
    pub fn connect(&mut self, address: impl ToString) -> Result<()> {
        udp_options::connect(&self.0, &address.to_string())
    }

    /// Whether datagrams may be sent to broadcast addresses; new sockets may not.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UdpOptions, UdpSocket};
    /// use std::io::ErrorKind;
    ///
    /// let mut everybody = UdpOptions::new().reuse_addr(true).bind("0.0.0.0:0")?;
    /// let port = everybody.local_addr()?.port();
    /// let mut socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let error = socket.send_to(b"Hi", ([127, 255, 255, 255], port)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    /// socket.set_broadcast(true)?;
    /// socket.send_to(b"Hi", ([127, 255, 255, 255], port))?;
    /// assert_eq!(everybody.recv(&mut [0; 16])?, 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)`.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.0.get_ref().set_broadcast(broadcast)
    }

    /// The address of this socket, with the port that was found for port 0.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.ip().ok_or_else(pktinfo::no_sender)
    }

    /// The address this socket is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()?.ip().ok_or_else(pktinfo::no_sender)
    }

    /// Limits each later call that receives and names no limit; `None`, the default, is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_read_timeout(Some(Duration::from_millis(2)));
    /// assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.settimeout(limit)`, which is for both directions.
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.0.read_timeout = limit;
    }

    /// Like [`UdpSocket::set_read_timeout`], for the calls that send.
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
impl UdpSocket {
    /// Waits for a datagram and says how long it is, which may be 0.
    ///
    /// What does not fit in `buf` is lost; [`UdpSocket::recv_msg`] tells.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports. On a connected socket that is also what became of datagrams
    /// sent before (`ConnectionRefused`: nobody is there); the next call works again.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut a = UdpSocket::bind("127.0.0.1:0")?;
    /// let mut b = UdpSocket::bind("127.0.0.1:0")?;
    /// a.connect(b.local_addr()?)?;
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

    /// Like [`UdpSocket::recv`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_timeout(&mut self, buf: &mut [u8], limit: Duration) -> io::Result<usize> {
        self.recv_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UdpSocket::recv`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        Ok(self.0.recv_msg(buf, limit)?.len)
    }

    /// Like [`UdpSocket::recv`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::recv`] would wait; otherwise as that.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.try_recv_msg(buf)?.len)
    }

    /// Waits for a datagram and says how long it is and who sent it.
    ///
    /// What does not fit in `buf` is lost; [`UdpSocket::recv_msg`] tells.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports. On a connected socket that is also what became of datagrams
    /// sent before (`ConnectionRefused`: nobody is there); the next call works again.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut a = UdpSocket::bind("127.0.0.1:0")?;
    /// let mut b = UdpSocket::bind("127.0.0.1:0")?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// let mut buf = [0; 2048];
    /// assert_eq!(b.recv_from(&mut buf)?, (5, a.local_addr()?));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recvfrom(n)`.
    #[track_caller]
    pub fn recv_from(&mut self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let got = self.recv_msg_deadline(buf, self.0.read_limit())?;
        Ok((got.len, got.peer))
    }

    /// Like [`UdpSocket::recv_from`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_from_timeout(
        &mut self,
        buf: &mut [u8],
        limit: Duration,
    ) -> io::Result<(usize, SocketAddr)> {
        self.recv_from_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UdpSocket::recv_from`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_from_deadline(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
    ) -> io::Result<(usize, SocketAddr)> {
        let got = self.recv_msg_deadline(buf, limit)?;
        Ok((got.len, got.peer))
    }

    /// Like [`UdpSocket::recv_from`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::recv_from`] would wait; otherwise as that.
    pub fn try_recv_from(&mut self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let got = self.try_recv_msg(buf)?;
        Ok((got.len, got.peer))
    }

    /// Waits for a datagram, and tells its true size, its sender, and the address of this machine
    /// that it was sent to.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports. On a connected socket that is also what became of datagrams
    /// sent before (`ConnectionRefused`: nobody is there); the next call works again.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the read timeout passed. No datagram is lost by that.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut server = UdpSocket::bind(":0")?; // all addresses
    /// let port = server.local_addr()?.port();
    /// let mut client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"who is 127.0.0.2?", ([127, 0, 0, 2], port))?;
    /// let mut buf = [0; 6];
    /// let got = server.recv_msg(&mut buf)?;
    /// assert_eq!((got.len, got.size, got.is_truncated()), (6, 17, true));
    /// let arrival = got.local.unwrap();
    /// assert_eq!(arrival.sent_to.to_string(), "127.0.0.2");
    /// // The answer is to come from the address that was asked.
    /// server.send_msg(b"I am", got.peer, arrival.answer_from)?;
    /// let (_, peer) = client.recv_from(&mut buf)?;
    /// assert_eq!(peer, ([127, 0, 0, 2], port).into());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.recvmsg(n, ancillary_size)`.
    #[track_caller]
    pub fn recv_msg(&mut self, buf: &mut [u8]) -> io::Result<Received<SocketAddr>> {
        ip_peer(self.0.recv_msg(buf, self.0.read_limit())?)
    }

    /// Like [`UdpSocket::recv_msg`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_msg_timeout(
        &mut self,
        buf: &mut [u8],
        limit: Duration,
    ) -> io::Result<Received<SocketAddr>> {
        self.recv_msg_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UdpSocket::recv_msg`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn recv_msg_deadline(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
    ) -> io::Result<Received<SocketAddr>> {
        ip_peer(self.0.recv_msg(buf, limit)?)
    }

    /// Like [`UdpSocket::recv_msg`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::recv_msg`] would wait; otherwise as that.
    pub fn try_recv_msg(&mut self, buf: &mut [u8]) -> io::Result<Received<SocketAddr>> {
        ip_peer(self.0.try_recv_msg(buf)?)
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `NotConnected` (as `EDESTADDRREQ`); more than 65,507 bytes (`EMSGSIZE`), which concern no
    /// later call; `ConnectionRefused` about a datagram sent before; what else the system reports.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the write timeout passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut a = UdpSocket::bind("127.0.0.1:0")?;
    /// let mut b = UdpSocket::bind("127.0.0.1:0")?;
    /// a.connect(b.local_addr()?)?;
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

    /// Like [`UdpSocket::send`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_timeout(&mut self, buf: &[u8], limit: Duration) -> io::Result<usize> {
        self.send_deadline(buf, Deadline::after(limit))
    }

    /// Like [`UdpSocket::send`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.0.send(buf, &Destination::Connected, limit)
    }

    /// Like [`UdpSocket::send`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::send`] would wait; otherwise as that.
    pub fn try_send(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_send(buf, &Destination::Connected)
    }

    /// Sends a datagram to `to`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// More than 65,507 bytes (`EMSGSIZE`), port 0, a broadcast address without
    /// [`UdpSocket::set_broadcast`], no way there: none of them concerns a later call.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the write timeout passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut a = UdpSocket::bind("127.0.0.1:0")?;
    /// let mut b = UdpSocket::bind("127.0.0.1:0")?;
    /// a.send_to(b"hello", b.local_addr()?)?;
    /// assert_eq!(b.recv(&mut [0; 16])?, 5);
    /// let error = a.send_to(&[0; 65_508], b.local_addr()?).unwrap_err();
    /// assert!(error.to_string().contains("too long"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.sendto(data, address)`.
    #[track_caller]
    pub fn send_to(&mut self, buf: &[u8], to: impl Into<SocketAddr>) -> io::Result<usize> {
        let to = self.0.ip_destination(to.into());
        self.0.send(buf, &to, self.0.write_limit())
    }

    /// Like [`UdpSocket::send_to`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_to_timeout(
        &mut self,
        buf: &[u8],
        to: impl Into<SocketAddr>,
        limit: Duration,
    ) -> io::Result<usize> {
        self.send_to_deadline(buf, to, Deadline::after(limit))
    }

    /// Like [`UdpSocket::send_to`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_to_deadline(
        &mut self,
        buf: &[u8],
        to: impl Into<SocketAddr>,
        limit: Deadline,
    ) -> io::Result<usize> {
        let to = self.0.ip_destination(to.into());
        self.0.send(buf, &to, limit)
    }

    /// Like [`UdpSocket::send_to`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::send_to`] would wait; otherwise as that.
    pub fn try_send_to(&mut self, buf: &[u8], to: impl Into<SocketAddr>) -> io::Result<usize> {
        let to = self.0.ip_destination(to.into());
        self.0.try_send(buf, &to)
    }

    /// Sends a datagram to `to` with the source address `from`.
    ///
    /// A server answers so from the address that it was asked at (see [`UdpSocket::recv_msg`]).
    /// An unspecified `from` leaves the choice to the system.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send_to`]; `InvalidInput` or `NetworkUnreachable` (kernels differ) if
    /// `from` is no address of this machine.
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) or the write timeout passed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    ///
    /// let mut server = UdpSocket::bind("0.0.0.0:0")?;
    /// let mut client = UdpSocket::bind("127.0.0.1:0")?;
    /// let from = "127.0.0.3".parse().unwrap();
    /// server.send_msg(b"hello", client.local_addr()?, from)?;
    /// let (_, peer) = client.recv_from(&mut [0; 16])?;
    /// assert_eq!(peer.ip(), from);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.sendmsg(buffers, ancillary, flags, address)`.
    #[track_caller]
    pub fn send_msg(&mut self, buf: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<usize> {
        self.0
            .send(buf, &Destination::PeerFrom(to, from), self.0.write_limit())
    }

    /// Like [`UdpSocket::send_msg`], within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_msg_timeout(
        &mut self,
        buf: &[u8],
        to: SocketAddr,
        from: IpAddr,
        limit: Duration,
    ) -> io::Result<usize> {
        self.send_msg_deadline(buf, to, from, Deadline::after(limit))
    }

    /// Like [`UdpSocket::send_msg`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`UdpSocket::send_msg`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn send_msg_deadline(
        &mut self,
        buf: &[u8],
        to: SocketAddr,
        from: IpAddr,
        limit: Deadline,
    ) -> io::Result<usize> {
        self.0.send(buf, &Destination::PeerFrom(to, from), limit)
    }

    /// Like [`UdpSocket::send_msg`], without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where [`UdpSocket::send_msg`] would wait; otherwise as that.
    pub fn try_send_msg(&mut self, buf: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<usize> {
        self.0.try_send(buf, &Destination::PeerFrom(to, from))
    }
}

fn ip_peer(got: Received<Addr>) -> io::Result<Received<SocketAddr>> {
    let peer = got.peer.ip().ok_or_else(pktinfo::no_sender)?;
    Ok(got.map_peer(|_| peer))
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            shown.field("addr", &addr);
        }
        shown.finish_non_exhaustive()
    }
}
