//! What sockets that send messages do alike, whatever their family: wait, send, receive.
//!
//! One socket has one user at a time. Two directions at once take two descriptors of the
//! socket, see [`DatagramSocket::try_clone`].

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix};
use socket2::{Domain, SockAddr, Socket};

use crate::error::Error;
use crate::net::endpoint::Addr;
use crate::net::pktinfo::{self, Arrival};
use crate::net::unix::{SocketFile, UnixAddr};
use crate::runtime::deadline::Deadline;
use crate::runtime::io::{Source, at_once};
use crate::runtime::kill;
use crate::runtime::park::check;
use crate::runtime::reason::Wait;
use crate::runtime::sleep::sleep;

/// A datagram that has come: how long, from whom, and where it came in.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
///
/// let mut server = UdpSocket::bind("127.0.0.1:0")?;
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"too long", server.local_addr()?)?;
/// let mut buf = [0; 3];
/// let got = server.recv_msg(&mut buf)?;
/// assert_eq!((got.len, got.size, got.is_truncated()), (3, 8, true));
/// assert_eq!(got.peer, client.local_addr()?);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: what `socket.recvmsg()` gives, a tuple with flags in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<A> {
    /// How many bytes are in the buffer; 0 for an empty datagram, which is one, too.
    pub len: usize,
    /// How many bytes were sent.
    pub size: usize,
    /// The sender.
    pub peer: A,
    /// Where it came in, of UDP.
    pub local: Option<Arrival>,
}

impl<A> Received<A> {
    /// Tells whether the buffer was too small, and the rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.len < self.size
    }

    /// The same with another kind of address.
    pub(super) fn map_peer<B>(self, change: impl FnOnce(A) -> B) -> Received<B> {
        Received {
            len: self.len,
            size: self.size,
            peer: change(self.peer),
            local: self.local,
        }
    }
}

/// A socket of messages; the public types wrap one, a server has several.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    /// Of a bound Unix socket: removed before it is closed, while its inode is still taken.
    file: Option<SocketFile>,
    source: Source<Tracked>,
    family: Family,
    pub(super) read_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    /// Room for what the system says beside a UDP datagram.
    control: Vec<u8>,
}

/// A socket, and what is gone when it is closed.
#[derive(Debug)]
struct Tracked {
    socket: Socket,
    alive: Arc<()>,
}

impl AsFd for Tracked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Tracked {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Unix,
}

impl DatagramSocket {
    /// Takes over a socket.
    ///
    /// # Errors
    /// It cannot be registered, or is of another family.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let family = match socket.domain()? {
            Domain::IPV4 => Family::V4,
            Domain::IPV6 => Family::V6,
            Domain::UNIX => Family::Unix,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let mut control = Vec::new();
        if family != Family::Unix {
            pktinfo::enable(&socket, family == Family::V6)?;
            control = pktinfo::control_room();
        }
        Ok(Self {
            source: Source::new(Tracked {
                socket,
                alive: Arc::default(),
            })?,
            family,
            read_timeout: None,
            write_timeout: None,
            control,
            file: None,
        })
    }

    /// Like [`DatagramSocket::new`], for a Unix socket that was bound to a file here.
    pub(super) fn with_file(socket: Socket, file: Option<SocketFile>) -> io::Result<Self> {
        let mut new = Self::new(socket)?;
        new.file = file;
        Ok(new)
    }

    /// A second descriptor of the socket, for the other direction.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let mut other = Self::new(self.get_ref().try_clone()?)?;
        other.read_timeout = self.read_timeout;
        other.write_timeout = self.write_timeout;
        Ok(other)
    }

    pub(crate) fn get_ref(&self) -> &Socket {
        &self.source.get_ref().socket
    }

    /// Closes it and waits until the address is free, also in a killed greenlet.
    ///
    /// The drop does so too, but perhaps a moment later: the descriptor may have to wait
    /// for a worker to look away, and a restarted server wants its port now.
    pub(crate) fn close(self) {
        let alive = Arc::downgrade(&self.source.get_ref().alive);
        drop(self);
        kill::shield(|| {
            for _ in 0..CLOSING_LOOKS_MAX {
                if alive.strong_count() == 0 || sleep(CLOSING_LOOK).is_err() {
                    return;
                }
            }
        });
    }

    /// The socket for code that knows nothing of greenlets, in blocking mode. Its file stays.
    pub(super) fn into_socket(mut self) -> io::Result<Socket> {
        let socket = self.get_ref().try_clone()?;
        if let Some(file) = self.file.take() {
            file.keep();
        }
        drop(self);
        socket.set_nonblocking(false)?;
        Ok(socket)
    }

    pub(crate) fn local_addr(&self) -> io::Result<Addr> {
        Ok(Addr::from_sockaddr(&self.get_ref().local_addr()?))
    }

    pub(super) fn peer_addr(&self) -> io::Result<Addr> {
        Ok(shown(Addr::from_sockaddr(&self.get_ref().peer_addr()?)))
    }

    /// The limit of a read that names none.
    pub(super) fn read_limit(&self) -> Deadline {
        self.read_timeout.into()
    }

    pub(super) fn write_limit(&self) -> Deadline {
        self.write_timeout.into()
    }

    /// Waits for a datagram until `limit`.
    #[track_caller]
    pub(crate) fn recv_msg(
        &mut self,
        buf: &mut [u8],
        limit: Deadline,
    ) -> io::Result<Received<Addr>> {
        let Self {
            source,
            family,
            control,
            ..
        } = self;
        source.read_with(Wait::Read, limit, |tracked| {
            receive(&tracked.socket, *family, buf, control)
        })
    }

    /// Takes a datagram that is there.
    pub(crate) fn try_recv_msg(&mut self, buf: &mut [u8]) -> io::Result<Received<Addr>> {
        receive(
            &self.source.get_ref().socket,
            self.family,
            buf,
            &mut self.control,
        )
    }

    /// Waits until a datagram can be taken, without taking it.
    #[track_caller]
    pub(crate) fn wait_readable(&mut self, limit: Deadline) -> io::Result<()> {
        self.source.read_with(Wait::Read, limit, |socket| {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            rustix::net::recv(socket, &mut [0_u8; 1], flags)?;
            Ok(())
        })
    }

    /// Sends a datagram, to the connected peer or to another.
    #[track_caller]
    pub(crate) fn send(
        &mut self,
        buf: &[u8],
        destination: &Destination,
        limit: Deadline,
    ) -> io::Result<usize> {
        let (is_v6, is_unix) = (self.family == Family::V6, self.family == Family::Unix);
        let mut call = |tracked: &Tracked| transmit(&tracked.socket, is_v6, buf, destination);
        if !is_unix || matches!(destination, Destination::Connected) {
            return self.source.write_with(Wait::Write, limit, call);
        }
        // The system tells a sender of room at the peer it is connected to, and of no other:
        // this one has to look again. It waits for the time alone: events there are on this
        // socket, of all that comes in, and they would wake it for nothing.
        let now = Deadline::after(Duration::ZERO);
        let mut pause = LOOK_AGAIN_MIN;
        loop {
            let sent = self.source.write_with(Wait::Write, now, &mut call);
            match sent.map_err(Error::from) {
                Err(error) if error.is_own_limit() => {
                    check(limit)?;
                    sleep(limit.remaining().map_or(pause, |left| left.min(pause)))?;
                    pause = (pause * 2).min(LOOK_AGAIN_MAX);
                }
                sent => return Ok(sent?),
            }
        }
    }

    /// Sends a datagram, unless it would have to wait.
    pub(super) fn try_send(&self, buf: &[u8], destination: &Destination) -> io::Result<usize> {
        transmit(self.get_ref(), self.family == Family::V6, buf, destination)
    }

    /// Where `addr` is for this socket.
    pub(super) fn destination(&self, addr: &Addr) -> io::Result<Destination> {
        destination(addr, self.family)
    }

    pub(super) fn ip_destination(&self, addr: SocketAddr) -> Destination {
        ip_destination(addr, self.family)
    }

    /// A descriptor of the socket that many may send by.
    pub(crate) fn sender(&self) -> io::Result<DatagramSender> {
        Ok(DatagramSender {
            socket: self.get_ref().try_clone()?,
            family: self.family,
        })
    }
}

/// Sends without waiting, and so from many greenlets at once.
#[derive(Debug)]
pub(crate) struct DatagramSender {
    socket: Socket,
    family: Family,
}

impl DatagramSender {
    /// Sends a datagram, unless it would have to wait (`WouldBlock`).
    pub(crate) fn try_send(&self, buf: &[u8], destination: &Destination) -> io::Result<usize> {
        at_once(|| transmit(&self.socket, self.family == Family::V6, buf, destination))
    }

    /// Where `addr` is for this socket.
    pub(crate) fn destination(&self, addr: &Addr) -> io::Result<Destination> {
        destination(addr, self.family)
    }

    /// One more descriptor, that waits.
    pub(crate) fn waiting(&self) -> io::Result<DatagramSocket> {
        DatagramSocket::new(self.socket.try_clone()?)
    }
}

fn destination(addr: &Addr, family: Family) -> io::Result<Destination> {
    match (addr, family) {
        (Addr::Ip(addr), Family::V4 | Family::V6) => Ok(ip_destination(*addr, family)),
        (Addr::Unix(_), Family::Unix) => Ok(Destination::Peer(addr.to_sockaddr()?)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{addr} is no address for this socket"),
        )),
    }
}

fn ip_destination(addr: SocketAddr, family: Family) -> Destination {
    Destination::Peer(pktinfo::for_system(addr, family == Family::V6).into())
}

/// Where a datagram goes, and where it claims to come from.
#[derive(Debug)]
pub(crate) enum Destination {
    /// The peer that the socket is connected to.
    Connected,
    Peer(SockAddr),
    /// Of UDP, with the address of this machine's that the peer is to see.
    PeerFrom(SocketAddr, IpAddr),
}

fn transmit(
    socket: &Socket,
    is_v6: bool,
    buf: &[u8],
    destination: &Destination,
) -> io::Result<usize> {
    match destination {
        Destination::Connected => Ok(rustix::net::send(socket, buf, SEND_FLAGS)?),
        Destination::Peer(addr) => {
            socket.send_to_with_flags(buf, addr, SEND_FLAGS.bits().cast_signed())
        }
        Destination::PeerFrom(to, from) => pktinfo::send(socket, is_v6, buf, *to, *from),
    }
}

fn receive(
    socket: &Socket,
    family: Family,
    buf: &mut [u8],
    control: &mut [u8],
) -> io::Result<Received<Addr>> {
    if family != Family::Unix {
        return Ok(pktinfo::receive(socket, buf, control)?.map_peer(Addr::Ip));
    }
    let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let (len, size, peer) = rustix::net::recvfrom(socket, buf, flags)?;
    Ok(Received {
        len,
        size,
        peer: Addr::Unix(unix_addr(peer)),
        local: None,
    })
}

fn unix_addr(peer: Option<SocketAddrAny>) -> UnixAddr {
    let Some(peer) = peer.and_then(|peer| SocketAddrUnix::try_from(peer).ok()) else {
        return UnixAddr::Unnamed;
    };
    if let Some(path) = peer.path_bytes() {
        let path = Path::new(OsStr::from_bytes(path));
        return path.into();
    }
    match peer.abstract_name() {
        Some(name) => UnixAddr::Abstract(name.to_owned()),
        None => UnixAddr::Unnamed,
    }
}

/// An address of the socket's peer as people know it.
fn shown(addr: Addr) -> Addr {
    match addr {
        Addr::Ip(addr) => Addr::Ip(pktinfo::canonical(addr)),
        unix => unix,
    }
}

/// No call may block, whatever another process does with the flags of a shared socket; and
/// a peer that is gone is an error, no signal.
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// How soon to look whether a Unix peer has room again, at first and at last.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(50);

/// It takes a turn of each worker; a second says that one does not give it.
const CLOSING_LOOK: Duration = Duration::from_micros(100);
const CLOSING_LOOKS_MAX: usize = 10_000;
