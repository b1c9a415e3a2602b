//! What handles a datagram, and the datagram as it sees it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::net::{Addr, Arrival, DatagramSender, DatagramSocket, Destination, Received, UnixAddr};
use crate::runtime::deadline::Deadline;
use crate::server::datagram::Shared;
use crate::sync::Mutex;

/// Handles the datagrams of a server, one call each.
///
/// Closures are handlers, too. An error or a panic concerns this datagram alone, and is
/// counted.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
/// use greenloop::server::{Datagram, DatagramHandler, DatagramServer};
///
/// struct Greeting(&'static str);
///
/// impl DatagramHandler for Greeting {
///     fn handle(&self, datagram: &mut Datagram) -> greenloop::Result<()> {
///         datagram.reply(self.0.as_bytes())
///     }
/// }
///
/// let server = DatagramServer::bind("127.0.0.1:0")?.start(Greeting("hello"))?;
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(server.addr())?;
/// client.send(b"")?;
/// assert_eq!(client.recv(&mut [0; 16])?, 5);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the `handle` argument of `DatagramServer`. Python's `socketserver`: a
/// `DatagramRequestHandler`.
pub trait DatagramHandler: Send + Sync + 'static {
    /// Handles one datagram.
    ///
    /// # Errors
    /// Whatever the handler likes; it is counted and told to the observer.
    fn handle(&self, datagram: &mut Datagram) -> Result<()>;
}

impl<F> DatagramHandler for F
where
    F: Fn(&mut Datagram) -> Result<()> + Send + Sync + 'static,
{
    fn handle(&self, datagram: &mut Datagram) -> Result<()> {
        self(datagram)
    }
}

/// A datagram that a server has received, and the way back.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
/// use greenloop::server::{Datagram, DatagramServer};
///
/// let server = DatagramServer::bind(":0")?.start(|datagram: &mut Datagram| {
///     assert!(!datagram.is_truncated());
///     assert_eq!(datagram.size(), datagram.data().len());
///     // Which of this machine's addresses was asked? The answer leaves from there.
///     let asked = datagram.arrival().map(|arrival| arrival.sent_to);
///     datagram.reply(format!("{} asked {}", datagram.peer(), asked.unwrap()).as_bytes())
/// })?;
/// let port = server.addr().ip().unwrap().port();
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(format!("127.0.0.2:{port}"))?;
/// client.send(b"?")?;
/// let mut buf = [0; 64];
/// let len = client.recv(&mut buf)?;
/// let expected = format!("{} asked 127.0.0.2", client.local_addr()?);
/// assert_eq!(String::from_utf8_lossy(&buf[..len]), expected);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the `data` and `address` arguments of a `DatagramServer`'s handler.
pub struct Datagram {
    /// Perhaps longer than what was received.
    pub(super) buf: Vec<u8>,
    got: Received<Addr>,
    line: Arc<Line>,
    shared: Arc<Shared>,
}

impl Datagram {
    pub(super) fn new(
        buf: Vec<u8>,
        got: Received<Addr>,
        line: Arc<Line>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            buf,
            got,
            line,
            shared,
        }
    }

    /// What was received; empty for an empty datagram.
    pub fn data(&self) -> &[u8] {
        &self.buf[..self.got.len]
    }

    /// The sender.
    pub fn peer(&self) -> &Addr {
        &self.got.peer
    }

    /// The address of the server's socket, which may stand for many (`0.0.0.0`).
    pub fn server_addr(&self) -> &Addr {
        &self.line.addr
    }

    /// The way it came in, of UDP: which address was asked, through which interface.
    pub fn arrival(&self) -> Option<&Arrival> {
        self.got.local.as_ref()
    }

    /// How many bytes were sent.
    pub fn size(&self) -> usize {
        self.got.size
    }

    /// Tells whether it was longer than what is received, and the rest is lost.
    pub fn is_truncated(&self) -> bool {
        self.got.is_truncated()
    }

    /// Tells whether the server is about to end.
    pub fn is_draining(&self) -> bool {
        self.shared.core.draining.load(Ordering::SeqCst)
    }

    /// Sends a datagram to the sender, from the address that was asked.
    ///
    /// Waits only while there is no room, at most the server's write timeout.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports: too many bytes, no way there, nobody there. The sender has
    /// no name (a Unix socket that is not bound). Cancelled, when the greenlet was killed;
    /// timeout, when a [`Timeout`](crate::Timeout) or the write timeout passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::server::{Datagram, DatagramServer};
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?.start(|datagram: &mut Datagram| {
    ///     datagram.reply(b"first")?;
    ///     datagram.reply(b"second")
    /// })?;
    /// let mut client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.addr())?;
    /// client.send(b"twice")?;
    /// assert_eq!((client.recv(&mut [0; 9])?, client.recv(&mut [0; 9])?), (5, 6));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `DatagramServer.sendto(data, address)`.
    #[track_caller]
    pub fn reply(&self, data: &[u8]) -> Result<()> {
        self.send_to(data, &self.got.peer)
    }

    /// Sends a datagram to `to`, like [`Datagram::reply`].
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Datagram::reply`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{Addr, UdpSocket};
    /// use greenloop::server::{Datagram, DatagramServer};
    ///
    /// let mut third = UdpSocket::bind("127.0.0.1:0")?;
    /// let to = Addr::from(third.local_addr()?);
    /// let server = DatagramServer::bind("127.0.0.1:0")?
    ///     .start(move |datagram: &mut Datagram| datagram.send_to(datagram.data(), &to))?;
    /// UdpSocket::bind("127.0.0.1:0")?.send_to(b"pass it on", server.addr().ip().unwrap())?;
    /// assert_eq!(third.recv(&mut [0; 16])?, 10);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `DatagramServer.sendto(data, address)`.
    #[track_caller]
    pub fn send_to(&self, data: &[u8], to: &Addr) -> Result<()> {
        send(&self.shared, &self.line, data, to, self.from())
    }

    /// The way out for later: what is sent there leaves like an answer to this datagram.
    ///
    /// It may be kept: when the server has ended, sending fails.
    ///
    /// # Examples
    ///
    /// Each is told who came after:
    ///
    /// ```
    /// use greenloop::net::{Addr, UdpSocket};
    /// use greenloop::server::{Datagram, DatagramServer, Outlet};
    /// use greenloop::sync::Mutex;
    ///
    /// let last: Mutex<Option<(Outlet, Addr)>> = Mutex::new(None);
    /// let server = DatagramServer::bind("127.0.0.1:0")?.start(move |datagram: &mut Datagram| {
    ///     let now = (datagram.outlet(), datagram.peer().clone());
    ///     match last.lock()?.replace(now) {
    ///         Some((outlet, peer)) => outlet.send_to(datagram.data(), &peer),
    ///         None => Ok(()),
    ///     }
    /// })?;
    /// let mut first = UdpSocket::bind("127.0.0.1:0")?;
    /// first.connect(server.addr())?;
    /// first.send(b"first")?;
    /// # while server.stats().finished == 0 { greenloop::yield_now()? }
    /// UdpSocket::bind("127.0.0.1:0")?.send_to(b"next", server.addr().ip().unwrap())?;
    /// assert_eq!(first.recv(&mut [0; 16])?, 4);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn outlet(&self) -> Outlet {
        Outlet {
            line: Arc::downgrade(&self.line),
            shared: Arc::downgrade(&self.shared),
            from: self.from(),
        }
    }

    /// The address that was asked, where the system would have to guess it.
    fn from(&self) -> Option<IpAddr> {
        let is_many = |addr: &Addr| addr.ip().is_some_and(|ip| ip.ip().is_unspecified());
        let arrival = self.got.local.filter(|_| is_many(&self.line.addr))?;
        Some(arrival.answer_from)
    }
}

/// The way out of a server's socket, for later; see [`Datagram::outlet`].
#[derive(Clone)]
pub struct Outlet {
    line: Weak<Line>,
    shared: Weak<Shared>,
    from: Option<IpAddr>,
}

impl Outlet {
    /// Like [`Datagram::send_to`], as long as the server receives on that socket.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Datagram::reply`]; closed, when the server has ended.
    #[track_caller]
    pub fn send_to(&self, data: &[u8], to: &Addr) -> Result<()> {
        match (self.shared.upgrade(), self.line.upgrade()) {
            (Some(shared), Some(line)) => send(&shared, &line, data, to, self.from),
            _ => Err(Error::new(ErrorKind::Closed("the server"))),
        }
    }

    /// Like [`Outlet::send_to`], unless there is no room: it never waits for any.
    ///
    /// Room may be lacking at a Unix socket that does not read, and that only it can make.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Outlet::send_to`]; one with the [`io_kind`](Error::io_kind) `WouldBlock`, when
    /// there is no room.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{UnixAddr, UnixDatagram};
    /// use greenloop::server::{Datagram, DatagramServer};
    /// use std::io::ErrorKind;
    ///
    /// let name: UnixAddr = format!("@greenloop-full-{}", std::process::id()).parse()?;
    /// let server = DatagramServer::bind(format!("unixgram:{name}"))?;
    /// let server = server.start(|datagram: &mut Datagram| {
    ///     let (outlet, peer) = (datagram.outlet(), datagram.peer());
    ///     let no_room = loop {
    ///         if let Err(error) = outlet.try_send_to(b"more", peer) {
    ///             break error;
    ///         }
    ///     };
    ///     assert_eq!(no_room.io_kind(), ErrorKind::WouldBlock);
    ///     Ok(())
    /// })?;
    /// // It asks, and does not read.
    /// let deaf: UnixAddr = format!("@greenloop-deaf-{}", std::process::id()).parse()?;
    /// let mut deaf = UnixDatagram::bind(deaf)?;
    /// deaf.send_to(b"more", &name)?;
    /// # while server.stats().received == 0 { greenloop::yield_now()? }
    /// assert_eq!(server.drain(std::time::Duration::from_secs(5))?.finished, 1);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn try_send_to(&self, data: &[u8], to: &Addr) -> Result<()> {
        match (self.shared.upgrade(), self.line.upgrade()) {
            (Some(shared), Some(line)) => {
                let sent = line.destination(to, self.from);
                let sent = sent.and_then(|to| Ok(line.sender.try_send(data, &to)?));
                count_sent(&shared, to, sent)
            }
            _ => Err(Error::new(ErrorKind::Closed("the server"))),
        }
    }
}

#[track_caller]
fn send(shared: &Shared, line: &Line, data: &[u8], to: &Addr, from: Option<IpAddr>) -> Result<()> {
    count_sent(shared, to, line.send(data, to, from))
}

fn count_sent(shared: &Shared, to: &Addr, sent: Result<usize>) -> Result<()> {
    let size = sent.map_err(|error| error.context(format!("sending to {to}")))?;
    shared.counters.sent.add(1);
    shared.counters.bytes_sent.add(size as u64);
    Ok(())
}

/// The way out of one socket, for all handlers at once.
///
/// A descriptor has one waiter. So a send is tried on one that nobody waits on, and whoever
/// has to wait does so on another, one after the other.
pub(super) struct Line {
    pub(super) addr: Addr,
    sender: DatagramSender,
    /// Made when somebody has to wait for the first time.
    waiting: Mutex<Option<DatagramSocket>>,
    limit: Option<Duration>,
}

impl Line {
    pub(super) fn new(
        socket: &DatagramSocket,
        addr: Addr,
        limit: Option<Duration>,
    ) -> io::Result<Self> {
        Ok(Self {
            addr,
            sender: socket.sender()?,
            waiting: Mutex::new(None),
            limit,
        })
    }

    #[track_caller]
    fn send(&self, data: &[u8], to: &Addr, from: Option<IpAddr>) -> Result<usize> {
        let destination = self.destination(to, from)?;
        match self.sender.try_send(data, &destination) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.wait(data, &destination)
            }
            sent => Ok(sent?),
        }
    }

    fn destination(&self, to: &Addr, from: Option<IpAddr>) -> Result<Destination> {
        match (to, from) {
            (Addr::Unix(UnixAddr::Unnamed), _) => Err(Error::message("it has no name")),
            (Addr::Ip(to), Some(from)) if is_way(from, to.ip()) => {
                Ok(Destination::PeerFrom(*to, from))
            }
            _ => Ok(self.sender.destination(to)?),
        }
    }

    #[track_caller]
    fn wait(&self, data: &[u8], destination: &Destination) -> Result<usize> {
        let limit = Deadline::from(self.limit);
        let mut waiting = self.waiting.lock_deadline(limit)?;
        let socket = match &mut *waiting {
            Some(socket) => socket,
            none => none.insert(self.sender.waiting()?),
        };
        Ok(socket.send(data, destination, limit)?)
    }
}

/// Tells whether a datagram to `to` can leave from `from`: to another than the one that
/// asked there, it may be the wrong side of the machine.
fn is_way(from: IpAddr, to: IpAddr) -> bool {
    from.is_ipv4() == to.is_ipv4() && from.is_loopback() == to.is_loopback()
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagram")
            .field("peer", self.peer())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
