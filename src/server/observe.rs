//! What a server tells: events while it runs, counts at any time, a report at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::net::Addr;
use crate::server::datagram::{Datagram, DropReason};

/// Is told what happens in a server. Every method does nothing by default.
///
/// [`Observer::accept_error`], [`Observer::full`] and [`Observer::draining`] are called by
/// the loops that everybody waits for: do no I/O in them and take no time; count, or hand
/// the event to a greenlet through [`Queue::try_put`](crate::sync::Queue::try_put). The
/// others are called by the connection's own greenlet. A panic in one ends the greenlet
/// that called: of a connection, that connection; of the accept loop, the server (it
/// drains and reports it).
///
/// ```
/// use greenloop::net::TcpStream;
/// use greenloop::server::{Conn, ConnEnd, ConnInfo, Observer, Outcome, ServerConfig};
/// use std::io::Write;
/// use std::sync::mpsc::{Sender, channel};
///
/// struct AccessLog(Sender<(u64, u64, bool)>);
///
/// impl Observer for AccessLog {
///     fn closed(&self, conn: &ConnInfo, end: &ConnEnd) {
///         let is_well = matches!(end.outcome, Outcome::Finished);
///         let _ = self.0.send((conn.id, end.bytes_written, is_well));
///     }
/// }
///
/// let (tell, told) = channel();
/// let server = ServerConfig::new()
///     .observer(AccessLog(tell))
///     .bind("127.0.0.1:0")?
///     .start(|conn: &mut Conn| Ok(conn.write_all(b"hello")?))?;
/// let _client = TcpStream::connect(server.addr())?;
/// assert_eq!(told.recv().unwrap(), (1, 5, true));
/// server.stop_now()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// A connection was accepted; its handler runs next.
    fn accepted(&self, conn: &ConnInfo) {
        let _ = conn;
    }

    /// A connection is about to be closed, and why.
    fn closed(&self, conn: &ConnInfo, end: &ConnEnd) {
        let _ = (conn, end);
    }

    /// `limit` connections are open: the server accepts no more until one ends.
    fn full(&self, limit: usize) {
        let _ = limit;
    }

    /// A connection could not be accepted, or no greenlet started for it. `pause` is how
    /// long the server now leaves the clients to the kernel.
    fn accept_error(&self, error: &Error, pause: Option<Duration>) {
        let _ = (error, pause);
    }

    /// The listeners are closed, and `open` connections were told.
    fn draining(&self, open: usize) {
        let _ = open;
    }

    /// A datagram was handled, and how that ended. Its greenlet, which may be the one that
    /// receives the next, runs on after this.
    fn handled(&self, datagram: &Datagram, outcome: &Outcome) {
        let _ = (datagram, outcome);
    }

    /// A datagram was not handled, for this reason.
    fn dropped(&self, peer: &Addr, reason: DropReason) {
        let _ = (peer, reason);
    }

    /// A datagram could not be received, or no greenlet started for it. `pause` is how long
    /// the server now leaves those that come to the kernel.
    fn receive_error(&self, error: &Error, pause: Option<Duration>) {
        let _ = (error, pause);
    }
}

/// The observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

impl<T: Observer + ?Sized> Observer for std::sync::Arc<T> {
    fn accepted(&self, conn: &ConnInfo) {
        (**self).accepted(conn);
    }

    fn closed(&self, conn: &ConnInfo, end: &ConnEnd) {
        (**self).closed(conn, end);
    }

    fn full(&self, limit: usize) {
        (**self).full(limit);
    }

    fn accept_error(&self, error: &Error, pause: Option<Duration>) {
        (**self).accept_error(error, pause);
    }

    fn draining(&self, open: usize) {
        (**self).draining(open);
    }

    fn handled(&self, datagram: &Datagram, outcome: &Outcome) {
        (**self).handled(datagram, outcome);
    }

    fn dropped(&self, peer: &Addr, reason: DropReason) {
        (**self).dropped(peer, reason);
    }

    fn receive_error(&self, error: &Error, pause: Option<Duration>) {
        (**self).receive_error(error, pause);
    }
}

/// Which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnInfo {
    /// Its number in this server, from 1.
    pub id: u64,
    /// The address of the other side.
    pub peer: Addr,
}

impl ConnInfo {
    pub(super) fn new(id: u64, peer: Addr) -> Self {
        Self { id, peer }
    }
}

/// How a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnEnd {
    /// Why.
    pub outcome: Outcome,
    /// Bytes that the handler read.
    pub bytes_read: u64,
    /// Bytes that the handler wrote.
    pub bytes_written: u64,
    /// How long it was open.
    pub duration: Duration,
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler returned `Ok`.
    Finished,
    /// A limit passed: nothing came for the idle timeout, or the peer did not read for the
    /// write timeout.
    TimedOut(Error),
    /// The handler returned another error, such as a connection that the peer reset.
    Failed(Error),
    /// The handler panicked, with this message.
    Panicked(String),
    /// It was killed: it had not ended when the drain's deadline came.
    Killed,
}

/// What a server has done.
///
/// Bytes are those of connections that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Connections taken.
    pub accepted: u64,
    /// Of these, those still open.
    pub open: u64,
    /// Connections whose handler returned `Ok`.
    pub finished: u64,
    /// Connections whose handler returned an error that is no timeout.
    pub failed: u64,
    /// Connections that ended because a limit passed.
    pub timed_out: u64,
    /// Connections whose handler panicked.
    pub panicked: u64,
    /// Connections that were open when the drain began, and were told.
    pub told: u64,
    /// Connections killed at the drain's deadline.
    pub killed: u64,
    /// Killed connections whose handler still ran when the report was written: it makes no
    /// blocking call that could fail.
    pub stuck: u64,
    /// Errors of accept, shortages included.
    pub accept_errors: u64,
    /// Connections accepted and closed at once because the process had no descriptor left.
    pub shed: u64,
    /// Times that no greenlet could be started for a connection; it waited and was served.
    pub spawn_errors: u64,
    /// Times that the connection limit stopped the accepting.
    pub full: u64,
    /// Bytes that handlers read.
    pub bytes_read: u64,
    /// Bytes that handlers wrote.
    pub bytes_written: u64,
    /// The accept error that stopped the server, if one did.
    pub fatal: Option<String>,
}

impl Report {
    /// Tells whether nobody was cut off: no connection was killed, and no error stopped the
    /// server.
    pub fn is_clean(&self) -> bool {
        self.killed == 0 && self.stuck == 0 && self.fatal.is_none()
    }
}

/// The counts behind a report.
macro_rules! counters {
    ($counters:ident, $report:ident: $($name:ident),+ $(,)?) => {
        /// The counts behind the report.
        #[derive(Debug, Default)]
        pub(in crate::server) struct $counters {
            $(pub(in crate::server) $name: $crate::server::observe::Counter,)+
        }

        impl $counters {
            /// The counts at this moment.
            pub(in crate::server) fn report(&self) -> $report {
                $report { $($name: self.$name.get(),)+ ..$report::default() }
            }
        }
    };
}
pub(super) use counters;

counters!(
    Counters, Report:
    accepted,
    finished,
    failed,
    timed_out,
    panicked,
    told,
    killed,
    accept_errors,
    shed,
    spawn_errors,
    full,
    bytes_read,
    bytes_written,
);

/// One count. Counts are not ordered against each other.
#[derive(Debug, Default)]
pub(in crate::server) struct Counter(AtomicU64);

impl Counter {
    pub(in crate::server) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(in crate::server) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Counts a connection's end.
    pub(super) fn count(&self, end: &ConnEnd) {
        self.bytes_read.add(end.bytes_read);
        self.bytes_written.add(end.bytes_written);
        let counter = match end.outcome {
            Outcome::Finished => &self.finished,
            Outcome::TimedOut(_) => &self.timed_out,
            Outcome::Failed(_) => &self.failed,
            Outcome::Panicked(_) => &self.panicked,
            Outcome::Killed => &self.killed,
        };
        counter.add(1);
    }
}

impl Outcome {
    /// What a handler's answer means.
    pub(super) fn of(answer: std::thread::Result<crate::Result<()>>) -> Self {
        match answer {
            Err(panic) => {
                Self::Panicked(crate::runtime::greenlet::panic_message(panic.as_ref()).to_owned())
            }
            // Also for a handler that swallowed the error that the kill was.
            Ok(_) if crate::is_killed() => Self::Killed,
            Ok(Ok(())) => Self::Finished,
            Ok(Err(e)) if e.is_timeout() => Self::TimedOut(e),
            Ok(Err(e)) => Self::Failed(e),
        }
    }
}
