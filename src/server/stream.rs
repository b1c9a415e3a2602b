//! The stream server: what is started, and the handle on what runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{Addr, ListenSocket};
use crate::runtime::spawn::Builder;
use crate::runtime::{kill, signal};
use crate::server::accept::{self, Accept};
use crate::server::config::ServerConfig;
use crate::server::conns::Conns;
use crate::server::drain::{Control, supervise};
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

/// A server that runs. Dropping it changes nothing: the server runs until it is stopped.
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

/// What the parts of a running server have in common.
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) handler: Box<dyn Handler>,
    pub(super) permits: Semaphore,
    pub(super) conns: Arc<Conns>,
    pub(super) counters: Counters,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) control: Control,
    pub(super) addrs: Vec<Addr>,
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
            config: self.config,
            handler: Box::new(handler),
            conns: Arc::default(),
            counters: Counters::default(),
            draining: Arc::default(),
            control: Control::default(),
            addrs: self.addrs,
        });
        let mut acceptors = Vec::new();
        for (listener, addr) in self.listeners.into_iter().zip(&shared.addrs) {
            let (own, listener) = (shared.clone(), wrap(listener));
            let acceptor = Builder::new()
                .name(format!("accept {addr}"))
                .try_spawn(move || {
                    // Says that the server must end, also if an observer panics here.
                    let _stop = StopOnDrop(&own);
                    if let Some(error) = accept::run(&own, listener) {
                        own.control.fail(&own, &error.context("accepting"));
                    }
                });
            match acceptor {
                Ok(acceptor) => acceptors.push(acceptor),
                Err(error) => {
                    acceptors.iter().for_each(|acceptor| acceptor.kill());
                    return Err(error.into());
                }
            }
        }
        let own = shared.clone();
        let handles: Vec<_> = acceptors.iter().map(|acceptor| acceptor.handle()).collect();
        let supervisor = Builder::new()
            .name("server")
            .try_spawn(move || supervise(&own, acceptors));
        if let Err(error) = supervisor {
            handles.iter().for_each(|acceptor| acceptor.kill());
            return Err(error.into());
        }
        Ok(ServerHandle { shared })
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
    /// #     while greenloop::net::TcpStream::connect(address)
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
        // Before the first client: whoever is served may send the signal at once.
        let signals = stop_signals()?;
        let server = self.start(handler)?;
        let watcher = server.stop_on(signals);
        if watcher.is_err() {
            server.begin_drain(Duration::ZERO);
        }
        let report = server.outlast();
        watcher?.kill();
        report
    }
}

/// Lets the server end when an accept loop has.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.control.ask(self.0, self.0.config.drain_timeout);
    }
}

impl ServerHandle {
    /// The address it listens on (the first, if there are several).
    pub fn addr(&self) -> Addr {
        self.shared.addrs[0].clone()
    }

    /// The addresses it listens on.
    pub fn addrs(&self) -> &[Addr] {
        &self.shared.addrs
    }

    /// What it has done so far.
    pub fn stats(&self) -> Report {
        self.shared.snapshot()
    }

    /// Tells whether its end was asked for.
    pub fn is_draining(&self) -> bool {
        self.shared.control.is_asked()
    }

    /// Stops it and waits for the end: no more connections are taken, idle ones end at
    /// once, the others have `limit` to end, and are killed then.
    ///
    /// Of several calls the nearest limit holds; each gets the report.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the server has ended.
    ///
    /// # Errors
    /// Cancelled or timeout, if that ended the wait; the drain goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::io::{Read, Write};
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
    ///     while conn.wait_ready()? {
    ///         conn.read_exact(&mut [0; 5])?; // a message, to its end
    ///         conn.write_all(b"done")?;
    ///     }
    ///     Ok(())
    /// })?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// client.write_all(b"he")?;
    /// # while server.stats().accepted == 0 { greenloop::yield_now()? }
    /// server.begin_drain(Duration::from_secs(60));
    /// client.write_all(b"llo")?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "done"); // what was begun was served
    /// assert!(server.drain(Duration::from_secs(60))?.is_clean());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `StreamServer.stop(timeout=limit)`.
    #[track_caller]
    pub fn drain(&self, limit: Duration) -> Result<Report> {
        self.begin_drain(limit);
        self.wait()
    }

    /// Stops it without waiting for the end; see [`ServerHandle::drain`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::time::Duration;
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|_: &mut Conn| Ok(()))?;
    /// server.begin_drain(Duration::from_secs(60));
    /// assert!(server.is_draining());
    /// assert_eq!(server.wait()?.accepted, 0);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn begin_drain(&self, limit: Duration) {
        self.shared.control.ask(&self.shared, limit);
    }

    /// Stops it at once: all connections are killed.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the server has ended.
    ///
    /// # Errors
    /// As [`ServerHandle::drain`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpStream;
    /// use greenloop::server::{Conn, StreamServer};
    /// use std::io::{Read, Write};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|conn: &mut Conn| {
    ///     conn.write_all(b"!")?;
    ///     Ok(greenloop::sleep(std::time::Duration::MAX)?)
    /// })?;
    /// let mut client = TcpStream::connect(server.addr())?;
    /// client.read_exact(&mut [0])?;
    /// assert_eq!(server.stop_now()?.killed, 1);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `StreamServer.stop(timeout=0)`.
    #[track_caller]
    pub fn stop_now(&self) -> Result<Report> {
        self.drain(Duration::ZERO)
    }

    /// Waits until it has ended.
    ///
    /// # Switching
    /// May switch to other greenlets, unless the server has ended.
    ///
    /// # Errors
    /// Cancelled or timeout, if that ended the wait; the server runs on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Conn, StreamServer};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|_: &mut Conn| Ok(()))?;
    /// greenloop::sync::scope(|s| {
    ///     let waiter = s.spawn(|| server.wait());
    ///     server.stop_now()?;
    ///     assert!(waiter.join().unwrap()?.is_clean());
    ///     Ok::<_, greenloop::Error>(())
    /// })??;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<Report> {
        self.shared.control.ended.wait()?;
        Ok(self.shared.control.report().unwrap_or_default())
    }

    /// Waits for the end, and brings it about if the wait is ended.
    #[track_caller]
    fn outlast(&self) -> Result<Report> {
        self.wait().inspect_err(|_| {
            // The report goes to nobody; the error says why.
            let _ = kill::shield(|| self.stop_now());
        })
    }

    /// Has SIGTERM and SIGINT stop the server: the first drains, the second kills.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The signals cannot be watched, or no greenlet started.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Conn, StreamServer};
    ///
    /// let server = StreamServer::bind("127.0.0.1:0")?.start(|_: &mut Conn| Ok(()))?;
    /// server.stop_on_signals()?;
    /// # signal_hook::low_level::raise(greenloop::signal::SIGTERM)?;
    /// assert!(server.wait()?.is_clean()); // after `kill PID`
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn stop_on_signals(&self) -> Result<crate::Handle> {
        self.stop_on(stop_signals()?)
    }

    fn stop_on(&self, signals: signal::Signals) -> Result<crate::Handle> {
        let server = self.clone();
        let watcher = Builder::new().name("signals").try_spawn(move || {
            let mut limit = server.shared.config.drain_timeout;
            while signals.wait().is_ok() {
                server.begin_drain(limit);
                limit = Duration::ZERO;
            }
        })?;
        Ok(watcher.handle())
    }
}

fn stop_signals() -> Result<signal::Signals> {
    signal::Signals::new(&[signal::SIGTERM, signal::SIGINT])
}

impl Shared {
    /// The counts at this moment.
    pub(super) fn snapshot(&self) -> Report {
        let mut report = self.counters.report();
        report.open = self.conns.len() as u64;
        report.fatal = self.control.fatal();
        report
    }
}

impl fmt::Debug for StreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamServer")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("addrs", &self.shared.addrs)
            .finish_non_exhaustive()
    }
}
