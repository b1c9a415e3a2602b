//! Listening for TCP connections.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, Result};
use crate::net::accept::{ListenSocket, listen};
use crate::net::addr::{Address, Host};
use crate::net::resolve::resolve_deadline;
use crate::net::tcp::{TcpStream, ip_of};
use crate::net::unix::{self, UnixAddr, UnixListener};
use crate::runtime::deadline::Deadline;

/// A socket that takes connections.
///
/// # Examples
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
///
/// let mut listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let client = greenloop::spawn(move || TcpStream::connect(address).map(drop));
/// let (_stream, peer) = listener.accept()?;
/// assert!(peer.ip().is_loopback());
/// client.join().unwrap()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: a listening `gevent.socket.socket`.
pub struct TcpListener(pub(super) ListenSocket);

/// How to listen: see each option.
///
/// ```
/// use greenloop::net::ListenOptions;
///
/// // Two processes could share the port so.
/// let options = ListenOptions::new().backlog(128).reuse_port(true).only_v6(false).unix_mode(0o660);
/// let first = options.bind("127.0.0.1:0")?;
/// let second = options.bind(first.local_addr()?)?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the `backlog` and `reuse_addr` arguments of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: Option<bool>,
    unix_mode: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            backlog: BACKLOG_DEFAULT,
            reuse_port: false,
            only_v6: None,
            unix_mode: None,
        }
    }

    /// How many connections the kernel completes while nobody accepts; default 1024.
    ///
    /// The kernel caps it at `net.core.somaxconn`. Clients past it wait and try again by
    /// themselves; they are not refused.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Whether other sockets may listen on the same port and share its connections
    /// (`SO_REUSEPORT`); default no, so that a second server is an error.
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
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

    /// The permissions of a Unix socket's file, such as `0o660`; who may write to it may
    /// connect (unix(7)). Default: what the process's umask leaves.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = Some(mode & 0o777);
        self
    }

    /// Listens on a Unix socket; see [`UnixListener::bind`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{ListenOptions, UnixAddr, UnixStream};
    ///
    /// let address: UnixAddr = "@greenloop-options-doc".parse()?;
    /// let listener = ListenOptions::new().backlog(16).bind_unix(address.clone())?;
    /// UnixStream::connect(address)?;
    /// # drop(listener);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn bind_unix(&self, address: impl Into<UnixAddr>) -> Result<UnixListener> {
        let address = address.into();
        let begin = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let file = unix::bind(&socket, &address, self.unix_mode, |socket| {
                listen(socket, self.backlog)
            })?;
            ListenSocket::listening(socket, file).map(UnixListener)
        };
        begin().map_err(|e| Error::from(e).context(format!("listening on unix:{address}")))
    }

    /// Listens on `address`; see [`TcpListener::bind`].
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::ListenOptions;
    ///
    /// let listener = ListenOptions::new().backlog(16).bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind(&self, address: impl ToString) -> Result<TcpListener> {
        let address: Address = address.to_string().parse()?;
        let fail = |error: io::Error, on: &dyn fmt::Display| {
            Error::from(error).context(format!("listening on {on}"))
        };
        let candidates = match &address.host {
            Host::All => return self.bind_all(address.port).map_err(|e| fail(e, &address)),
            Host::Numeric(ip) => vec![SocketAddr::new(*ip, address.port)],
            Host::Name(name) => resolve_deadline(name, address.port, Deadline::NEVER)?,
        };
        let mut failed = None;
        for candidate in candidates {
            match self.listen(candidate, self.only_v6.unwrap_or(true)) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = Some(fail(error, &candidate)),
            }
        }
        // A lookup never gives an empty list.
        Err(failed.unwrap_or_else(|| Error::message(format!("{address} has no address"))))
    }

    /// All addresses of both families; of IPv4 alone where the system has no IPv6.
    fn bind_all(&self, port: u16) -> io::Result<TcpListener> {
        let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        match self.listen(v6, self.only_v6.unwrap_or(false)) {
            Err(e) if lacks_v6(&e) && self.only_v6 != Some(true) => {
                self.listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false)
            }
            bound => bound,
        }
    }

    fn listen(&self, addr: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        // A restarted server gets its port although old connections linger on it.
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&addr.into())?;
        listen(&socket, self.backlog)?;
        ListenSocket::listening(socket, None).map(TcpListener)
    }
}

/// The systems without IPv6: not compiled in, or turned off.
fn lacks_v6(error: &io::Error) -> bool {
    let no_family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    let no_address = rustix::io::Errno::ADDRNOTAVAIL.raw_os_error();
    error
        .raw_os_error()
        .is_some_and(|n| n == no_family || n == no_address)
}

impl TcpListener {
    /// Listens on `HOST:PORT`, or with `:PORT` on all addresses of both families.
    ///
    /// Port 0 takes a free one; [`TcpListener::local_addr`] says which. Of a name's
    /// addresses the first that can be bound is taken. Options: [`ListenOptions`].
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
    /// use greenloop::net::TcpListener;
    ///
    /// let first = TcpListener::bind("127.0.0.1:0")?;
    /// let address = first.local_addr()?;
    /// let error = TcpListener::bind(address).unwrap_err();
    /// assert_eq!(error.to_string(), format!("listening on {address}: address already in use"));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: the `listener` argument of `StreamServer`.
    #[track_caller]
    pub fn bind(address: impl ToString) -> Result<Self> {
        ListenOptions::new().bind(address)
    }

    /// Takes over a listening socket that std or another process made.
    ///
    /// # Errors
    /// The descriptor cannot be registered: out of memory or of watches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let listener = greenloop::blocking(|| std::net::TcpListener::bind("127.0.0.1:0"))??;
    /// let mut listener = TcpListener::from_std(listener)?;
    /// let _client = TcpStream::connect(listener.local_addr()?)?;
    /// let (_stream, peer) = listener.accept()?;
    /// assert!(peer.ip().is_loopback());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        ListenSocket::inherit(listener.into()).map(Self)
    }

    /// Waits for a connection.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports: some of it concerns one connection only
    /// (`ConnectionAborted`), some the whole process (no descriptors left, which wants a
    /// pause before the next call). Cancelled, when the greenlet was killed; timeout, when
    /// a [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (_stream, peer) = listener.accept()?;
    /// assert_eq!(peer, client.local_addr()?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.accept()`.
    #[track_caller]
    pub fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_deadline(Deadline::NEVER)
    }

    /// Waits for a connection, at most `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpListener::accept`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    ///
    /// let mut listener = TcpListener::bind("127.0.0.1:0")?;
    /// let nobody = listener.accept_timeout(Duration::from_millis(2));
    /// assert_eq!(nobody.unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.settimeout(limit)` and `accept()`.
    #[track_caller]
    pub fn accept_timeout(&mut self, limit: Duration) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_deadline(Deadline::after(limit))
    }

    /// Waits for a connection until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`TcpListener::accept`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn accept_deadline(&mut self, limit: Deadline) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept(limit)?;
        let peer = peer.ip().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((TcpStream::from_socket(stream), peer))
    }

    /// Stops listening at once and frees the port.
    ///
    /// The drop does so too, but perhaps a moment later: the descriptor may have to wait
    /// for a worker to look away, and a restarted server wants its port now. A
    /// socket that came from elsewhere is only dropped, as others may listen on it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// listener.close();
    /// TcpListener::bind(address)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `socket.close()`.
    pub fn close(self) {
        self.0.close();
    }

    /// The address it listens on, with the port that was found for port 0.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_of(&self.0.get_ref().local_addr()?)
    }
}

impl From<TcpListener> for ListenSocket {
    fn from(listener: TcpListener) -> Self {
        listener.0
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("TcpListener", f)
    }
}

/// Enough for a burst of a busy server's clients while its acceptor waits for a turn, and
/// far below the usual `somaxconn` of 4096.
pub(super) const BACKLOG_DEFAULT: u32 = 1024;
