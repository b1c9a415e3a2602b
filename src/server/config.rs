//! What a server is told before it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{Endpoint, ListenOptions, ListenSocket, Listener};
use crate::server::observe::{NoObserver, Observer};
use crate::server::stream::StreamServer;

/// The limits of a server, and who watches it.
///
/// # Examples
///
/// ```
/// use greenloop::net::ListenOptions;
/// use greenloop::server::{NoObserver, ServerConfig};
/// use std::time::Duration;
///
/// let server = ServerConfig::new()
///     .max_connections(100)
///     .idle_timeout(Some(Duration::from_secs(5)))
///     .write_timeout(Some(Duration::from_secs(5)))
///     .drain_timeout(Duration::from_secs(30))
///     .stack_bytes(1 << 20)
///     .listen(ListenOptions::new().backlog(4096))
///     .observer(NoObserver)
///     .bind("127.0.0.1:0")?;
/// assert_ne!(server.addr().ip().unwrap().port(), 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the arguments of `StreamServer`.
#[derive(Clone)]
#[must_use]
pub struct ServerConfig {
    pub(super) max_connections: usize,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    pub(super) drain_timeout: Duration,
    pub(super) stack_bytes: Option<usize>,
    pub(super) listen: ListenOptions,
    pub(super) observer: Arc<dyn Observer>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            max_connections: max_connections_default(),
            idle_timeout: Some(Duration::from_secs(60)),
            write_timeout: Some(Duration::from_secs(30)),
            drain_timeout: Duration::from_secs(10),
            stack_bytes: None,
            listen: ListenOptions::new(),
            observer: Arc::new(NoObserver),
        }
    }

    /// How many connections are served at a time.
    ///
    /// Default: 10,000, or 64 less than the process may have descriptors. At the limit the
    /// server stops accepting; clients wait in the kernel's queue. At least 1.
    ///
    /// gevent: the `spawn=` argument of a server: a number is the size of its pool.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// How long a read of a connection may wait; default 60 s, `None` is for ever.
    ///
    /// The read then fails with a timeout, and the connection is closed unless the handler
    /// wants otherwise.
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// How long a write of a connection may wait for a peer that does not read; default
    /// 30 s, `None` is for ever. A `write_all` has this time as a whole.
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.write_timeout = limit;
        self
    }

    /// How long connections may take to end when a signal or a fatal accept error stops
    /// the server; default 10 s. Then they are killed.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// The stack of a connection's greenlet; default [`Config::stack_bytes`](crate::Config).
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// The options of the listening sockets: backlog, shared ports.
    pub fn listen(mut self, options: ListenOptions) -> Self {
        self.listen = options;
        self
    }

    /// Who is told what happens; default nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Binds `HOST:PORT`, `:PORT` for all addresses, port 0 for a free one; `unix:PATH` for
    /// a Unix socket.
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`TcpListener::bind`](crate::net::TcpListener::bind) and
    /// [`UnixListener::bind`](crate::net::UnixListener::bind); the address is one of datagrams.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::ServerConfig;
    ///
    /// let server = ServerConfig::new().max_connections(100).bind("127.0.0.1:0")?;
    /// assert!(server.addr().ip().unwrap().ip().is_loopback());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind(self, address: impl ToString) -> Result<StreamServer> {
        let listener = self.listen_on(address)?;
        StreamServer::new(vec![listener], self)
    }

    /// Binds several addresses for one server: limits and counts are common.
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`ServerConfig::bind`], for the first address that fails, or if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::ServerConfig;
    ///
    /// let server = ServerConfig::new().bind_all(["127.0.0.1:0", "127.0.0.1:0"])?;
    /// assert_eq!(server.addrs().len(), 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind_all<A: ToString>(
        self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<StreamServer> {
        let bind = |address: A| self.listen_on(address);
        let listeners = addresses.into_iter().map(bind).collect::<Result<_>>()?;
        StreamServer::new(listeners, self)
    }

    /// Serves sockets that listen already.
    ///
    /// # Errors
    /// There is none, or one has no address.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::server::ServerConfig;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?; // or one that was inherited
    /// let address = listener.local_addr()?;
    /// let server = ServerConfig::new().on(vec![listener])?;
    /// assert_eq!(server.addr(), address);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: a socket as the `listener` of `StreamServer`.
    pub fn on<L: Into<Listener>>(
        self,
        listeners: impl IntoIterator<Item = L>,
    ) -> Result<StreamServer> {
        let sockets = listeners.into_iter().map(|listener| listener.into().into());
        StreamServer::new(sockets.collect(), self)
    }

    fn listen_on(&self, address: impl ToString) -> Result<ListenSocket> {
        let endpoint: Endpoint = address.to_string().parse()?;
        match endpoint {
            Endpoint::Tcp(address) => Ok(self.listen.bind(address)?.into()),
            Endpoint::Unix(address) => Ok(self.listen.bind_unix(address)?.into()),
            Endpoint::Udp(_) | Endpoint::Unixgram(_) => Err(Error::message(format!(
                "a server of connections cannot listen on {endpoint}"
            ))),
        }
    }
}

/// 10,000, but never so many that the process has no descriptors for anything else.
pub(crate) fn max_connections_default() -> usize {
    let nofile = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let nofile = nofile
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX);
    nofile.saturating_sub(64).clamp(1, 10_000)
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("max_connections", &self.max_connections)
            .field("idle_timeout", &self.idle_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .field("stack_bytes", &self.stack_bytes)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
