//! What a server of datagrams is told before it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{DatagramSocket, Endpoint, UdpOptions, bind_datagram};
use crate::server::datagram::DatagramServer;
use crate::server::observe::{NoObserver, Observer};

/// The limits of a server of datagrams, and who watches it.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpOptions;
/// use greenloop::server::{DatagramConfig, NoObserver};
/// use std::time::Duration;
///
/// let server = DatagramConfig::new()
///     .handlers(64)
///     .datagram_bytes_max(2048)
///     .write_timeout(Some(Duration::from_secs(5)))
///     .drain_timeout(Duration::from_secs(30))
///     .stack_bytes(1 << 20)
///     .options(UdpOptions::new().recv_buffer_bytes(1 << 20))
///     .observer(NoObserver)
///     .bind("127.0.0.1:0")?;
/// assert_ne!(server.addr().ip().unwrap().port(), 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the arguments of `DatagramServer`.
#[derive(Clone)]
#[must_use]
pub struct DatagramConfig {
    pub(super) handlers: usize,
    pub(super) datagram_bytes_max: usize,
    pub(super) write_timeout: Option<Duration>,
    pub(super) drain_timeout: Duration,
    pub(super) stack_bytes: Option<usize>,
    pub(super) options: UdpOptions,
    pub(super) observer: Arc<dyn Observer>,
}

impl Default for DatagramConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl DatagramConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            handlers: 1,
            datagram_bytes_max: 65_536,
            // In order, everybody waits for one who does not receive: long enough for who does.
            write_timeout: Some(Duration::from_millis(100)),
            drain_timeout: Duration::from_secs(10),
            stack_bytes: None,
            options: UdpOptions::new(),
            observer: Arc::new(NoObserver),
        }
    }

    /// How many handlers run at a time.
    ///
    /// Default 1: datagrams are handled where they are received, in the order in which they
    /// came. More run each in a greenlet of its own, in any order. While all of them run,
    /// datagrams wait in the kernel's buffer, and are lost when that is full. At least 1.
    ///
    /// gevent: the `spawn=` argument of a server: a number is the size of its pool.
    pub fn handlers(mut self, count: usize) -> Self {
        self.handlers = count.max(1);
        self
    }

    /// How many bytes of a datagram are received; default 65,536, which is more than UDP has.
    ///
    /// The rest of a longer one is lost, and [`Datagram::is_truncated`] says so. The server
    /// has one such buffer for each socket, and a copy for each handler that runs.
    ///
    /// [`Datagram::is_truncated`]: crate::server::Datagram::is_truncated
    pub fn datagram_bytes_max(mut self, bytes: usize) -> Self {
        self.datagram_bytes_max = bytes;
        self
    }

    /// How long an answer may wait for room in the kernel's buffer, or at a Unix peer that
    /// does not receive; default 100 ms, `None` is for ever.
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.write_timeout = limit;
        self
    }

    /// How long handlers may take to end when a signal or a fatal error stops the server;
    /// default 10 s. Then they are killed.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// The stack of a handler's greenlet; default [`Config::stack_bytes`](crate::Config).
    /// A handler that runs where it is received has the default.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// The options of the UDP sockets: buffers, broadcast, shared ports.
    pub fn options(mut self, options: UdpOptions) -> Self {
        self.options = options;
        self
    }

    /// Who is told what happens; default nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Binds `HOST:PORT` or `udp://HOST:PORT`, `:PORT` for all addresses, port 0 for a free
    /// one; `unixgram:PATH` or `unixgram:@NAME` for a Unix socket.
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`](crate::net::UdpSocket::bind) and
    /// [`UnixDatagram::bind`](crate::net::UnixDatagram::bind); the address is one of
    /// connections.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::DatagramConfig;
    ///
    /// let server = DatagramConfig::new().handlers(8).bind("udp://127.0.0.1:0")?;
    /// assert!(server.addr().ip().is_some());
    ///
    /// let error = DatagramConfig::new().bind("tcp://127.0.0.1:80").unwrap_err();
    /// assert_eq!(error.to_string(), "a server of datagrams cannot listen on 127.0.0.1:80");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind(self, address: impl ToString) -> Result<DatagramServer> {
        let socket = self.socket_on(address)?;
        DatagramServer::new(vec![socket], self)
    }

    /// Binds several addresses for one server: limits and counts are common.
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`DatagramConfig::bind`], for the first address that fails, or if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::DatagramConfig;
    ///
    /// let name = format!("unixgram:@greenloop-bind-all-{}", std::process::id());
    /// let server = DatagramConfig::new().bind_all(["127.0.0.1:0", &name])?;
    /// assert_eq!(server.addrs().len(), 2);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn bind_all<A: ToString>(
        self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<DatagramServer> {
        let bind = |address: A| self.socket_on(address);
        let sockets = addresses.into_iter().map(bind).collect::<Result<_>>()?;
        DatagramServer::new(sockets, self)
    }

    #[track_caller]
    fn socket_on(&self, address: impl ToString) -> Result<DatagramSocket> {
        match Endpoint::parse_udp(&address.to_string())? {
            Endpoint::Udp(address) => self.options.bind_socket(&address),
            Endpoint::Unixgram(addr) => bind_datagram(&addr),
            stream => Err(Error::message(format!(
                "a server of datagrams cannot listen on {stream}"
            ))),
        }
    }
}

impl fmt::Debug for DatagramConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramConfig")
            .field("handlers", &self.handlers)
            .field("datagram_bytes_max", &self.datagram_bytes_max)
            .field("write_timeout", &self.write_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .field("stack_bytes", &self.stack_bytes)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
