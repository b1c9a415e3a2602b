//! The datagram server: what is started.
//!
//! ```text
//!  bind ─► receive loop: permit, then receive ─► filter ─► handler, here or in a greenlet
//!                 ▲                                             │
//!                 └──────────────── permit comes back ◄─────────┘
//! ```
//!
//! Invariants:
//! - a datagram is received only when there is a permit for it: what is too much waits in
//!   the kernel's bounded buffer, or is lost there, as datagrams are;
//! - no error of one datagram, received or sent, ends the loop, and one that repeats makes
//!   it pause;
//! - no datagram that claims to come from the server itself reaches a handler: two answers
//!   that answer each other would never end.

mod config;
mod filter;
mod message;
mod receive;
mod report;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::net::{Addr, DatagramSocket};
use crate::runtime::greenlet::Handle;
use crate::server::drain::{Core, Served};
use crate::server::handle::{Loop, ServerHandle, launch, serve_until_signal};
use crate::sync::Semaphore;

pub use config::DatagramConfig;
pub use filter::DropReason;
pub use message::{Datagram, DatagramHandler, Outlet};
pub use report::DatagramReport;

use filter::Own;
use message::Line;
use receive::Turn;
use report::DatagramCounters;

/// A server of datagrams that is bound and not started.
///
/// # Examples
///
/// An echo server, asked once:
///
/// ```
/// use greenloop::net::UdpSocket;
/// use greenloop::server::{Datagram, DatagramServer};
/// use std::time::Duration;
///
/// let server = DatagramServer::bind("127.0.0.1:0")?
///     .start(|datagram: &mut Datagram| datagram.reply(datagram.data()))?;
///
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(server.addr())?;
/// client.send(b"hello")?;
/// let mut buf = [0; 16];
/// assert_eq!(client.recv(&mut buf)?, 5);
///
/// let report = server.drain(Duration::from_secs(5))?;
/// assert_eq!((report.received, report.sent), (1, 1));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.server.DatagramServer`.
pub struct DatagramServer {
    sockets: Vec<DatagramSocket>,
    addrs: Vec<Addr>,
    config: DatagramConfig,
}

/// What the parts of a running server have in common.
struct Shared {
    config: DatagramConfig,
    handler: Box<dyn DatagramHandler>,
    permits: Semaphore,
    counters: DatagramCounters,
    own: Own,
    /// Whether each loop receives or handles just now.
    turns: Vec<Turn>,
    core: Core<DatagramReport>,
}

impl DatagramServer {
    /// Binds `HOST:PORT` (or `udp://HOST:PORT`), `:PORT`, or `unixgram:PATH` with the default
    /// [`DatagramConfig`].
    ///
    /// # Switching
    /// May switch to other greenlets, if a name has to be looked up.
    ///
    /// # Errors
    /// As [`DatagramConfig::bind`].
    #[track_caller]
    pub fn bind(address: impl ToString) -> Result<Self> {
        DatagramConfig::new().bind(address)
    }

    fn new(sockets: Vec<DatagramSocket>, config: DatagramConfig) -> Result<Self> {
        if sockets.is_empty() {
            return Err(Error::message("a server needs an address to listen on"));
        }
        let addrs = sockets
            .iter()
            .map(DatagramSocket::local_addr)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            sockets,
            addrs,
            config,
        })
    }

    /// The address it listens on (the first, if there are several).
    pub fn addr(&self) -> Addr {
        self.addrs[0].clone()
    }

    /// The addresses it listens on.
    pub fn addrs(&self) -> &[Addr] {
        &self.addrs
    }

    /// Starts to receive, in a greenlet for each socket.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// No greenlet can be started, or the process has no descriptors left.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::server::{Datagram, DatagramServer};
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?.start(|datagram: &mut Datagram| {
    ///     let name = String::from_utf8_lossy(datagram.data());
    ///     datagram.reply(format!("Hello, {name}").as_bytes())
    /// })?;
    /// let mut client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.addr())?;
    /// client.send(b"client1")?;
    /// let mut buf = [0; 64];
    /// let len = client.recv(&mut buf)?;
    /// assert_eq!(&buf[..len], b"Hello, client1");
    /// server.stop_now()?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `DatagramServer.start()`.
    pub fn start(self, handler: impl DatagramHandler) -> Result<ServerHandle<DatagramReport>> {
        let limit = self.config.write_timeout;
        let line = |(socket, addr): (&DatagramSocket, &Addr)| {
            Line::new(socket, addr.clone(), limit).map(Arc::new)
        };
        let lines = self.sockets.iter().zip(&self.addrs).map(line);
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::new(Shared {
            permits: Semaphore::new(self.config.handlers),
            own: Own::new(self.addrs.clone()),
            turns: self.sockets.iter().map(|_| Turn::default()).collect(),
            core: Core::new(self.addrs, self.config.drain_timeout),
            config: self.config,
            handler: Box::new(handler),
            counters: DatagramCounters::default(),
        });
        let mut loops = Vec::new();
        for (number, (socket, line)) in self.sockets.into_iter().zip(lines).enumerate() {
            let own = shared.clone();
            loops.push(Loop::new(format!("receive {}", line.addr), move || {
                receive::run(&own, number, socket, line).map(|e| e.context("receiving"))
            }));
        }
        launch(shared, loops)
    }

    /// Serves until somebody stops the server.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// No greenlet can be started. Cancelled or timeout, if that ended the wait: the server
    /// is stopped then, its handlers killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::server::{Datagram, DatagramServer};
    /// use std::time::Duration;
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?;
    /// // It has no end of its own, so something ends the wait.
    /// let limit = greenloop::Timeout::start(Duration::from_millis(5));
    /// let error = server.serve(|_: &mut Datagram| Ok(())).unwrap_err();
    /// assert!(limit.owns(&error));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `DatagramServer.serve_forever()`.
    #[track_caller]
    pub fn serve(self, handler: impl DatagramHandler) -> Result<DatagramReport> {
        self.start(handler)?.outlast()
    }

    /// Serves until SIGTERM or SIGINT: the first drains within
    /// [`DatagramConfig::drain_timeout`], a second one kills at once.
    ///
    /// # Switching
    /// May switch to other greenlets.
    ///
    /// # Errors
    /// As [`DatagramServer::serve`]; signals cannot be watched.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::UdpSocket;
    /// use greenloop::server::{Datagram, DatagramServer};
    ///
    /// let server = DatagramServer::bind("127.0.0.1:0")?;
    /// let address = server.addr();
    /// # let client = greenloop::spawn(move || {
    /// UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", address.ip().unwrap())?;
    /// # Ok::<(), greenloop::Error>(())
    /// # });
    /// let report = server.serve_until_signal(|_: &mut Datagram| {
    /// #   signal_hook::low_level::raise(greenloop::signal::SIGTERM)?;
    ///     Ok(())
    /// })?; // until `kill PID`
    /// # client.join().unwrap()?;
    /// assert!(report.is_clean());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: none; there a signal ends the process.
    #[track_caller]
    pub fn serve_until_signal(self, handler: impl DatagramHandler) -> Result<DatagramReport> {
        serve_until_signal(|| self.start(handler))
    }
}

impl Served for Shared {
    type Report = DatagramReport;

    fn core(&self) -> &Core<DatagramReport> {
        &self.core
    }

    fn told(&self, count: usize) {
        self.counters.told.add(count as u64);
        self.config.observer.draining(count);
    }

    fn snapshot(&self) -> DatagramReport {
        let mut report = self.counters.report();
        report.running = self.core.conns.len() as u64;
        report.fatal = self.core.control.fatal();
        report
    }

    fn last_report(&self) -> DatagramReport {
        let mut report = self.snapshot();
        report.stuck = report.running;
        report
    }

    fn stop_loop(&self, number: usize, handle: &Handle) -> bool {
        let is_idle = self.turns[number].stop();
        if is_idle {
            handle.kill();
        }
        is_idle
    }
}

impl fmt::Debug for DatagramServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramServer")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}
