//! The stream server: what is started.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::net::{Addr, ListenSocket};
use crate::server::accept::{self, Accept};
use crate::server::config::ServerConfig;
use crate::server::drain::{Core, Served};
use crate::server::handle::{Loop, ServerHandle, launch, serve_until_signal};
use crate::server::handler::Handler;
use crate::server::observe::{Counters, Report};
use crate::sync::Semaphore;

/// A server that is bound and not started.
///
/// # Examples
///
/// An echo server, asked once:
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::server::{Conn, StreamServer};
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
///     let mut buf = vec![0; 1024];
///     loop {
///         match conn.read_next(&mut buf)? {
///             0 => return Ok(()),
///             n => conn.write_all(&buf[..n])?,
///         }
///     }
/// })?;
///
/// let mut client = TcpStream::connect(server.addr())?;
/// client.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
///
/// // The idle connection is told, and ends at once.
/// let report = server.drain(Duration::from_secs(5))?;
/// assert_eq!((report.accepted, report.finished, report.killed), (1, 1, 0));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.server.StreamServer`.
pub struct StreamServer {
    listeners: Vec<ListenSocket>,
    addrs: Vec<Addr>,
    config: ServerConfig,
}

/// What the parts of a running server have in common.
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) handler: Box<dyn Handler>,
    pub(super) permits: Semaphore,
    pub(super) counters: Counters,
    pub(super) core: Core<Report>,
}

impl Served for Shared {
    type Report = Report;

    fn core(&self) -> &Core<Report> {
        &self.core
    }

    fn told(&self, count: usize) {
        self.counters.told.add(count as u64);
        self.config.observer.draining(count);
    }

    fn snapshot(&self) -> Report {
        let mut report = self.counters.report();
        report.open = self.core.conns.len() as u64;
        report.fatal = self.core.control.fatal();
        report
    }

    fn last_report(&self) -> Report {
        let mut report = self.snapshot();
        report.stuck = report.open;
        report
    }
}

impl StreamServer {
    /// Binds `HOST:PORT` or `unix:PATH` with the default [`ServerConfig`].
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`ServerConfig::bind`].
    #[track_caller]
    pub fn bind(address: impl ToString) -> Result<Self> {
        ServerConfig::new().bind(address)
    }

    pub(super) fn new(listeners: Vec<ListenSocket>, config: ServerConfig) -> Result<Self> {
        if listeners.is_empty() {
            return Err(Error::message("a server needs an address to listen on"));
        }
        let addrs = listeners
            .iter()
            .map(ListenSocket::local_addr)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            listeners,
            addrs,
            config,
        })
    }

    /// The address it listens on (the first, if there are several).
    ///
    /// gevent: `StreamServer.address`.
    pub fn addr(&self) -> Addr {
        self.addrs[0].clone()
    }

    /// The addresses it listens on.
    pub fn addrs(&self) -> &[Addr] {
        &self.addrs
    }

    /// Starts to accept, in greenlets of its own.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// No greenlet can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::io::{Read, Write};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?
    ///     .start(|conn: &mut Conn| Ok(conn.write_all(b"hello")?))?;
    /// let mut text = String::new();
    /// TcpStream::connect(server.addr())?.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// server.stop_now()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `StreamServer.start()`.
    pub fn start(self, handler: impl Handler) -> Result<ServerHandle> {
        self.start_on(handler, |listener| listener)
    }

    /// Starts like [`StreamServer::start`], with accept errors by a script; for tests.
    ///
    /// Several addresses share the script.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// No greenlet can be started.
    ///
    /// # Examples
    ///
    /// A server gets over a moment without descriptors:
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use greenloop::testkit::{AcceptScript, errno};
    /// use std::io::Read;
    /// use std::time::Duration;
    ///
    /// let script = AcceptScript::new().error(errno::EMFILE).error(errno::EMFILE);
    /// let server = StreamServer::bind("127.0.0.1:0")?
    ///     .start_scripted(|_: &mut Conn| Ok(()), &script)?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// assert_eq!(client.read(&mut [0])?, 0);
    /// let report = server.drain(Duration::from_secs(5))?;
    /// assert_eq!((report.accept_errors, report.accepted), (2, 1));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: none.
    #[cfg(any(test, feature = "testkit"))]
    pub fn start_scripted(
        self,
        handler: impl Handler,
        script: &crate::testkit::AcceptScript,
    ) -> Result<ServerHandle> {
        self.start_on(handler, |listener| {
            crate::testkit::ScriptedListener::over(listener, script.clone())
        })
    }

    /// Starts with what `wrap` makes of the listeners.
    fn start_on<A: Accept>(
        self,
        handler: impl Handler,
        mut wrap: impl FnMut(ListenSocket) -> A,
    ) -> Result<ServerHandle> {
        let shared = Arc::new(Shared {
            permits: Semaphore::new(self.config.max_connections),
            core: Core::new(self.addrs, self.config.drain_timeout),
            config: self.config,
            handler: Box::new(handler),
            counters: Counters::default(),
        });
        let mut loops = Vec::new();
        for (listener, addr) in self.listeners.into_iter().zip(&shared.core.addrs) {
            let (own, listener) = (shared.clone(), wrap(listener));
            loops.push(Loop::new(format!("accept {addr}"), move || {
                accept::run(&own, listener).map(|error| error.context("accepting"))
            }));
        }
        launch(shared, loops)
    }

    /// Serves until somebody stops the server, or an accept error does that will not go
    /// away.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// No greenlet can be started. Cancelled or timeout, if that ended the wait: the server
    /// is stopped then, its connections killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?;
    /// // It has no end of its own, so something ends the wait.
    /// let limit = greenloop::Timeout::start(Duration::from_millis(5));
    /// let error = server.serve(|_: &mut Conn| Ok(())).unwrap_err();
    /// assert!(limit.owns(&error));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `StreamServer.serve_forever()`.
    #[track_caller]
    pub fn serve(self, handler: impl Handler) -> Result<Report> {
        self.start(handler)?.outlast()
    }

    /// Serves until SIGTERM or SIGINT: the first drains within
    /// [`ServerConfig::drain_timeout`], a second one kills at once.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// As [`StreamServer::serve`]; signals cannot be watched.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Conn, StreamServer};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?;
    /// # let address = server.addr();
    /// # greenloop::spawn(move || {
    /// #     // Whoever is answered knows that the server watches its signals.
    /// #     while greenloop::net::TcpStream::connect(&address)
    /// #         .and_then(|mut s| Ok(std::io::Read::read(&mut s, &mut [0])?)).is_err() {}
    /// #     signal_hook::low_level::raise(greenloop::signal::SIGTERM)
    /// # });
    /// let report = server.serve_until_signal(|_: &mut Conn| Ok(()))?; // until `kill PID`
    /// assert!(report.is_clean());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: none; there a signal ends the process.
    #[track_caller]
    pub fn serve_until_signal(self, handler: impl Handler) -> Result<Report> {
        serve_until_signal(|| self.start(handler))
    }
}

impl fmt::Debug for StreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamServer")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}
