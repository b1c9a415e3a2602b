//! What every server that runs has: its start, and the handle on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::Addr;
use crate::runtime::spawn::Builder;
use crate::runtime::{kill, signal};
use crate::server::drain::{Core, Served, supervise};
use crate::server::observe::Report;
use crate::sync::wait_any;

/// A server that runs. Dropping it changes nothing: the server runs until it is stopped.
///
/// `R` is what it reports at its end.
pub struct ServerHandle<R = Report> {
    shared: Arc<dyn Served<Report = R>>,
}

impl<R: Clone + Default + 'static> ServerHandle<R> {
    /// The address it listens on (the first, if there are several).
    pub fn addr(&self) -> Addr {
        self.core().addrs[0].clone()
    }

    /// The addresses it listens on.
    pub fn addrs(&self) -> &[Addr] {
        &self.core().addrs
    }

    /// What it has done so far.
    pub fn stats(&self) -> R {
        self.shared.snapshot()
    }

    /// Tells whether its end was asked for.
    pub fn is_draining(&self) -> bool {
        self.core().control.is_asked()
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
    pub fn drain(&self, limit: Duration) -> Result<R> {
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
        self.core().ask(limit);
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
    pub fn stop_now(&self) -> Result<R> {
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
    pub fn wait(&self) -> Result<R> {
        self.core().control.ended.wait()?;
        Ok(self.core().control.report().unwrap_or_default())
    }

    /// Waits for the end, and brings it about if the wait is ended.
    #[track_caller]
    pub(super) fn outlast(&self) -> Result<R> {
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
            let core = server.core();
            let mut limit = core.drain_timeout;
            // It leaves with the server: what a signal does is the program's again then.
            while let Ok(0) = wait_any(&[&signals, &core.control.ended]) {
                if signals.try_wait().is_some() {
                    server.begin_drain(limit);
                    limit = Duration::ZERO;
                }
            }
        })?;
        Ok(watcher.handle())
    }

    fn core(&self) -> &Core<R> {
        self.shared.core()
    }
}

impl<R> Clone for ServerHandle<R> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<R: 'static> fmt::Debug for ServerHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("addrs", &self.shared.core().addrs)
            .finish_non_exhaustive()
    }
}

/// A greenlet that takes what comes in on one socket.
pub(super) struct Loop {
    name: String,
    /// Gives the error that ended it, if it was not told to end.
    body: Box<dyn FnOnce() -> Option<Error> + Send>,
}

impl Loop {
    pub(super) fn new(name: String, body: impl FnOnce() -> Option<Error> + Send + 'static) -> Self {
        let body = Box::new(body);
        Self { name, body }
    }
}

/// Starts the loops of a server, and what ends it.
pub(super) fn launch<S: Served>(
    shared: Arc<S>,
    loops: Vec<Loop>,
) -> Result<ServerHandle<S::Report>> {
    let mut running = Vec::new();
    for Loop { name, body } in loops {
        let own = shared.clone();
        let started = Builder::new().name(name).try_spawn(move || {
            // Says that the server must end, also if an observer panics here.
            let _stop = StopOnDrop(own.core());
            if let Some(error) = body() {
                own.core().fail(&error);
            }
        });
        match started {
            Ok(greenlet) => running.push(greenlet),
            Err(error) => {
                running.iter().for_each(|greenlet| greenlet.kill());
                return Err(error.into());
            }
        }
    }
    let own = shared.clone();
    let handles: Vec<_> = running.iter().map(|greenlet| greenlet.handle()).collect();
    let supervisor = Builder::new()
        .name("server")
        .try_spawn(move || supervise(&*own, running));
    if let Err(error) = supervisor {
        handles.iter().for_each(|greenlet| greenlet.kill());
        return Err(error.into());
    }
    Ok(ServerHandle { shared })
}

/// Lets the server end when one of its loops has.
struct StopOnDrop<'a, R>(&'a Core<R>);

impl<R> Drop for StopOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.ask_once();
    }
}

/// Serves until SIGTERM or SIGINT: the first drains, the second kills.
#[track_caller]
pub(super) fn serve_until_signal<R: Clone + Default + 'static>(
    start: impl FnOnce() -> Result<ServerHandle<R>>,
) -> Result<R> {
    // Before the first client: whoever is served may send the signal at once.
    let signals = stop_signals()?;
    let server = start()?;
    let watcher = server.stop_on(signals);
    if watcher.is_err() {
        server.begin_drain(Duration::ZERO);
    }
    let report = server.outlast();
    watcher?.kill();
    report
}

fn stop_signals() -> Result<signal::Signals> {
    signal::Signals::new(&[signal::SIGTERM, signal::SIGINT])
}
