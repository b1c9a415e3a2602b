//! How a UDP socket is bound and connected.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, Result};
use crate::net::addr::{Address, Host};
use crate::net::datagram::{DatagramSocket, Destination};
use crate::net::endpoint::Endpoint;
use crate::net::resolve::{resolve_address, resolve_deadline};
use crate::net::udp::UdpSocket;
use crate::runtime::deadline::Deadline;

/// How to bind a UDP socket: see each option.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpOptions;
///
/// // Two programs that both hear what is broadcast.
/// let options = UdpOptions::new()
///     .reuse_addr(true)
///     .broadcast(true)
///     .recv_buffer_bytes(1 << 20)
///     .send_buffer_bytes(1 << 20);
/// let first = options.bind("0.0.0.0:0")?;
/// let second = options.bind(first.local_addr()?)?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// // Two that share what comes, and the families apart.
/// let options = UdpOptions::new().reuse_port(true).only_v6(true);
/// assert!(options.bind("127.0.0.1:0").is_ok());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `socket.setsockopt` before `bind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct UdpOptions {
    reuse_addr: bool,
    reuse_port: bool,
    broadcast: bool,
    only_v6: Option<bool>,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl UdpOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether other sockets may have the same port (`SO_REUSEADDR`); default no.
    ///
    /// All of them receive what is broadcast. What is sent to this machine alone goes to
    /// the last one that was bound, so a server must not set this: anybody could take its
    /// datagrams.
    pub fn reuse_addr(mut self, reuse_addr: bool) -> Self {
        self.reuse_addr = reuse_addr;
        self
    }

    /// Whether other sockets of the same user may have the same port, each with a share of
    /// the peers (`SO_REUSEPORT`); default no, so that a second server is an error.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Whether it may send to broadcast addresses (`SO_BROADCAST`); default no.
    pub fn broadcast(mut self, broadcast: bool) -> Self {
        self.broadcast = broadcast;
        self
    }

    /// Whether an IPv6 socket leaves IPv4 alone.
    ///
    /// Default: `:PORT` takes both families on one socket, a written IPv6 address takes
    /// IPv6 alone. Whichever it is, it is set, whatever the system's default.
    pub fn only_v6(mut self, only_v6: bool) -> Self {
        self.only_v6 = Some(only_v6);
        self
    }

    /// How many bytes of datagrams the kernel keeps for the socket until they are received
    /// (`SO_RCVBUF`); default the system's, at most `net.core.rmem_max`. What comes when it
    /// is full is lost.
    pub fn recv_buffer_bytes(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// How many bytes the kernel keeps until they are sent (`SO_SNDBUF`); default the
    /// system's, at most `net.core.wmem_max`.
    pub fn send_buffer_bytes(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Binds `address`; see [`UdpSocket::bind`].
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpOptions;
    ///
    /// let socket = UdpOptions::new().recv_buffer_bytes(1 << 20).bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind(&self, address: impl ToString) -> Result<UdpSocket> {
        let address = parse(&address.to_string())?;
        self.bind_socket(&address).map(UdpSocket::new)
    }

    #[track_caller]
    pub(crate) fn bind_socket(&self, address: &Address) -> Result<DatagramSocket> {
        let fail = |error: io::Error, on: &dyn fmt::Display| {
            Error::from(error).context(format!("listening on {on}"))
        };
        let candidates = match &address.host {
            Host::All => return self.bind_all(address.port).map_err(|e| fail(e, address)),
            Host::Numeric(ip) => vec![SocketAddr::new(*ip, address.port)],
            Host::Name(name) => resolve_deadline(name, address.port, Deadline::NEVER)?,
        };
        let mut failed = None;
        for candidate in candidates {
            match self.bind_one(candidate, self.only_v6.unwrap_or(true)) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = Some(fail(error, &candidate)),
            }
        }
        // A lookup never gives an empty list.
        Err(failed.unwrap_or_else(|| Error::message(format!("{address} has no address"))))
    }

    /// All addresses of both families; of IPv4 alone where the system has no IPv6.
    fn bind_all(&self, port: u16) -> io::Result<DatagramSocket> {
        let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        match self.bind_one(v6, self.only_v6.unwrap_or(false)) {
            Err(e) if lacks_v6(&e) && self.only_v6 != Some(true) => {
                self.bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false)
            }
            bound => bound,
        }
    }

    fn bind_one(&self, addr: SocketAddr, only_v6: bool) -> io::Result<DatagramSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        if self.reuse_addr {
            socket.set_reuse_address(true)?;
        }
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if self.broadcast {
            socket.set_broadcast(true)?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.bind(&addr.into())?;
        DatagramSocket::new(socket)
    }
}

/// The systems without IPv6: not compiled in, or turned off.
fn lacks_v6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Reads `HOST:PORT`, perhaps with `udp://` before it.
fn parse(text: &str) -> Result<Address> {
    match Endpoint::parse_udp(text)? {
        Endpoint::Udp(address) => Ok(address),
        other => Err(Error::message(format!("{other} is no address of UDP"))),
    }
}

/// Makes the first address of `text` that `socket` can reach its only peer.
#[track_caller]
pub(super) fn connect(socket: &DatagramSocket, text: &str) -> Result<()> {
    let address = parse(text)?;
    let mut failed = None;
    for addr in resolve_address(&address, Deadline::NEVER)? {
        let Destination::Peer(peer) = socket.ip_destination(addr) else {
            continue;
        };
        match socket.get_ref().connect(&peer) {
            Ok(()) => return Ok(()),
            Err(error) => {
                failed = Some(Error::from(error).context(format!("connecting to {addr}")));
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::message(format!("{address} has no address"))))
}
