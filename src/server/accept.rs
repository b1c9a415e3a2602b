//! The accept loop: permit, accept, hand over; and what to do when accept fails.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::net::{Addr, ListenSocket, StreamSocket};
use crate::runtime::deadline::Deadline;
use crate::runtime::spawn::Builder;
use crate::server::conns::Seat;
use crate::server::handler::{Conn, serve_with};
use crate::server::observe::{ConnInfo, Outcome};
use crate::server::stream::Shared;
use crate::sync::Permit;
use crate::util::lock;

/// Where connections come from; tests script one.
pub(super) trait Accept: Send + 'static {
    /// Waits for a connection without taking it.
    fn wait_ready(&mut self) -> io::Result<()>;

    fn accept(&mut self) -> io::Result<(StreamSocket, Addr)>;

    /// Takes one connection that is there already, if the descriptor can be had.
    fn try_accept(&mut self) -> io::Result<(StreamSocket, Addr)>;

    /// Stops listening at once.
    fn close(self);
}

impl Accept for ListenSocket {
    fn wait_ready(&mut self) -> io::Result<()> {
        self.wait_ready()
    }

    fn accept(&mut self) -> io::Result<(StreamSocket, Addr)> {
        self.accept(Deadline::NEVER)
    }

    fn try_accept(&mut self) -> io::Result<(StreamSocket, Addr)> {
        // Long enough to be a try at all.
        self.accept(Deadline::after(Duration::from_millis(1)))
    }

    fn close(self) {
        self.close();
    }
}

#[cfg(any(test, feature = "testkit"))]
impl Accept for crate::testkit::ScriptedListener {
    fn wait_ready(&mut self) -> io::Result<()> {
        self.wait_ready()
    }

    fn accept(&mut self) -> io::Result<(StreamSocket, Addr)> {
        self.accept_socket(Deadline::NEVER)
    }

    fn try_accept(&mut self) -> io::Result<(StreamSocket, Addr)> {
        self.try_accept()
    }

    fn close(self) {
        self.close();
    }
}

/// Accepts until the greenlet is killed, or until an error that will not go away. When it
/// returns, the listener is closed.
pub(super) fn run(shared: &Arc<Shared>, mut listener: impl Accept) -> Option<Error> {
    let error = accept_all(shared, &mut listener);
    listener.close();
    error
}

fn accept_all(shared: &Arc<Shared>, listener: &mut impl Accept) -> Option<Error> {
    let mut pause = Pause::default();
    let mut reserve = Reserve::new();
    loop {
        let handed_over = match next(shared, listener)? {
            Ok((stream, peer, permit)) => {
                pause.reset();
                reserve.refill();
                hand_over(shared, stream, peer, permit, &mut pause)
            }
            Err(error) => recover(shared, listener, error, &mut pause, &mut reserve),
        };
        match handed_over {
            Ok(()) => {}
            Err(error) if error.is_cancelled() => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Takes a permit, then a connection; `None` when the loop was killed.
fn next(
    shared: &Shared,
    listener: &mut impl Accept,
) -> Option<io::Result<(StreamSocket, Addr, Permit)>> {
    // One of several listeners must not hold a permit while it has no use for it: the
    // others may.
    if shared.core.addrs.len() > 1
        && let Err(error) = listener.wait_ready()
    {
        return Some(Err(error));
    }
    let permit = permit(shared).ok()?;
    Some(
        listener
            .accept()
            .map(|(stream, peer)| (stream, peer, permit)),
    )
}

fn permit(shared: &Shared) -> Result<Permit> {
    if let Some(permit) = shared.permits.try_acquire() {
        return Ok(permit);
    }
    shared.counters.full.add(1);
    shared.config.observer.full(shared.config.max_connections);
    shared.permits.acquire()
}

/// What an accept error says about the next accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It concerned one connection, which is gone.
    GoOn,
    /// The process or the system is out of something: wait.
    Wait,
    /// The listener is no listener any more.
    Stop,
}

/// Sorts an accept error by what it means (accept(2), "Error handling" and "Errors").
pub(crate) fn sort(error: &io::Error) -> Verdict {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The peer left while it was in the queue, or a signal came.
        Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN | Errno::PROTO) => Verdict::GoOn,
        // Linux passes pending network errors of the new socket to accept.
        Some(
            Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            // A firewall rule forbids this one.
            | Errno::PERM,
        ) => Verdict::GoOn,
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => Verdict::Stop,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC (no watches left), and what nobody knows.
        _ => Verdict::Wait,
    }
}

/// Deals with an accept error.
///
/// # Errors
/// The error itself, if it will not go away; cancelled, if the pause was ended by a kill.
fn recover(
    shared: &Shared,
    listener: &mut impl Accept,
    error: io::Error,
    pause: &mut Pause,
    reserve: &mut Reserve,
) -> Result<()> {
    let verdict = sort(&error);
    let error = Error::from(error);
    if error.is_cancelled() {
        return Err(error);
    }
    shared.counters.accept_errors.add(1);
    let length = match verdict {
        Verdict::GoOn => pause.tolerate(),
        Verdict::Wait => {
            if reserve.shed(listener) {
                shared.counters.shed.add(1);
            }
            Some(pause.next())
        }
        Verdict::Stop => None,
    };
    shared.config.observer.accept_error(&error, length);
    match (verdict, length) {
        (Verdict::Stop, _) => Err(error),
        (_, Some(length)) => crate::sleep(length),
        (_, None) => Ok(()),
    }
}

/// How long to leave the clients to the kernel: gevent's 10 ms, doubling to 1 s.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    last: Duration,
    tolerated: u32,
}

impl Pause {
    const MIN: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(1);
    /// Errors of single connections in a row that need no pause: a burst of clients that
    /// leave early has them. More look like an error that does not know its name.
    const TOLERATED_MAX: u32 = 64;

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(Self::MIN, Self::MAX);
        self.last
    }

    pub(crate) fn tolerate(&mut self) -> Option<Duration> {
        self.tolerated += 1;
        (self.tolerated > Self::TOLERATED_MAX).then(|| self.next())
    }
}

/// A descriptor kept for the moment when there are no others.
///
/// Without it a process at its limit cannot even refuse: clients stay connected to nobody.
/// Given up for one accept, it lets one client learn that it is not served.
struct Reserve(Option<OwnedFd>);

impl Reserve {
    fn new() -> Self {
        let mut reserve = Self(None);
        reserve.refill();
        reserve
    }

    fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = eventfd(0, EventfdFlags::CLOEXEC).ok();
        }
    }

    /// Accepts and closes one connection; false if it could not.
    fn shed(&mut self, listener: &mut impl Accept) -> bool {
        self.0 = None;
        let shed = listener.try_accept().map(drop).is_ok();
        self.refill();
        shed
    }
}

/// What a connection's greenlet is given.
struct Parcel {
    stream: StreamSocket,
    info: ConnInfo,
    /// Last: the limit and the count must not see it gone before it is.
    permit: Permit,
    seat: Seat,
}

/// Starts a greenlet for the connection, however long it takes to get one.
///
/// # Errors
/// Cancelled.
fn hand_over(
    shared: &Arc<Shared>,
    stream: StreamSocket,
    peer: Addr,
    permit: Permit,
    pause: &mut Pause,
) -> Result<()> {
    shared.counters.accepted.add(1);
    let seat = shared.core.conns.admit();
    let info = ConnInfo::new(seat.id, peer);
    let name = format!("conn {} {}", info.id, info.peer);
    // A failed spawn drops its closure: the parcel must not be in it.
    let parcel = Arc::new(Mutex::new(Some(Parcel {
        stream,
        info,
        permit,
        seat,
    })));
    loop {
        let body = {
            let (shared, parcel) = (shared.clone(), parcel.clone());
            move || {
                let parcel = lock(&parcel).take();
                if let Some(parcel) = parcel {
                    serve(&shared, parcel);
                }
            }
        };
        let mut builder = Builder::new().name(name.clone());
        if let Some(bytes) = shared.config.stack_bytes {
            builder = builder.stack_bytes(bytes);
        }
        match builder.try_spawn(body) {
            Ok(_) => return Ok(()),
            Err(error) => {
                shared.counters.spawn_errors.add(1);
                let length = pause.next();
                shared
                    .config
                    .observer
                    .accept_error(&error.into(), Some(length));
                if let Err(killed) = crate::sleep(length) {
                    shared.counters.killed.add(1);
                    return Err(killed);
                }
            }
        }
    }
}

/// A connection's life.
fn serve(shared: &Shared, parcel: Parcel) {
    let Parcel {
        stream,
        info,
        permit,
        seat,
    } = parcel;
    let mut conn = Conn::new(
        stream,
        info.clone(),
        &shared.config,
        shared.core.draining.clone(),
    );
    let outcome = if seat.occupy(crate::current()) {
        shared.config.observer.accepted(&info);
        Outcome::of(catch_unwind(AssertUnwindSafe(|| {
            serve_with(&*shared.handler, &mut conn)
        })))
    } else {
        Outcome::Killed
    };
    let end = conn.close(outcome);
    shared.counters.count(&end);
    drop(permit);
    shared.config.observer.closed(&info, &end);
    drop(seat);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::TcpStream;
    use crate::server::{Observer, ServerConfig, ServerHandle};
    use crate::testkit::AcceptScript;

    #[derive(Clone, Default)]
    struct Pauses(Arc<Mutex<Vec<Line>>>);

    /// The error's text and the milliseconds of the pause.
    type Line = (String, Option<u64>);

    impl Observer for Pauses {
        fn accept_error(&self, error: &Error, pause: Option<Duration>) {
            let pause = pause.map(|p| u64::try_from(p.as_millis()).unwrap());
            lock(&self.0).push((error.to_string(), pause));
        }
    }

    /// A server whose accept has `errors` to give before its first connection.
    fn start(errors: &[Errno], pauses: &Pauses) -> ServerHandle {
        let script = errors.iter().fold(AcceptScript::new(), |script, errno| {
            script.error(errno.raw_os_error())
        });
        ServerConfig::new()
            .observer(pauses.clone())
            .bind("127.0.0.1:0")
            .unwrap()
            .start_scripted(|_: &mut Conn| Ok(()), &script)
            .unwrap()
    }

    fn line(errno: Errno, pause: Option<u64>) -> Line {
        (Error::from(io::Error::from(errno)).to_string(), pause)
    }

    #[test]
    fn accept_goes_on_after_every_error_that_goes_away() {
        let pauses = Pauses::default();
        let server = start(
            &[
                Errno::CONNABORTED,
                Errno::MFILE,
                Errno::NFILE,
                Errno::PROTO,
                Errno::NOMEM,
            ],
            &pauses,
        );
        let mut client = TcpStream::connect(server.addr()).unwrap();
        assert_eq!(io::Read::read(&mut client, &mut [0]).unwrap(), 0);
        let report = server.drain(Duration::from_secs(5)).unwrap();
        assert_eq!(
            (report.accepted, report.accept_errors, report.shed),
            (1, 5, 0)
        );
        assert!(report.is_clean());
        let expected = [
            line(Errno::CONNABORTED, None),
            line(Errno::MFILE, Some(10)),
            line(Errno::NFILE, Some(20)),
            line(Errno::PROTO, None),
            line(Errno::NOMEM, Some(40)),
        ];
        assert_eq!(*lock(&pauses.0), expected);
    }

    #[test]
    fn accept_error_that_stays_drains_and_is_reported() {
        let pauses = Pauses::default();
        let server = start(&[Errno::CONNABORTED, Errno::INVAL], &pauses);
        let report = server.wait().unwrap();
        assert_eq!(report.fatal.as_deref(), Some("accepting: invalid argument"));
        assert!(!report.is_clean());
    }

    #[test]
    fn errors_are_sorted() {
        let table = [
            (Errno::CONNABORTED, Verdict::GoOn),
            (Errno::PROTO, Verdict::GoOn),
            (Errno::HOSTUNREACH, Verdict::GoOn),
            (Errno::MFILE, Verdict::Wait),
            (Errno::NFILE, Verdict::Wait),
            (Errno::NOBUFS, Verdict::Wait),
            (Errno::NOMEM, Verdict::Wait),
            (Errno::IO, Verdict::Wait),
            (Errno::BADF, Verdict::Stop),
            (Errno::INVAL, Verdict::Stop),
            (Errno::NOTSOCK, Verdict::Stop),
        ];
        for (errno, verdict) in table {
            assert_eq!(sort(&errno.into()), verdict, "{errno}");
        }
    }

    #[test]
    fn pauses_double_to_a_second_and_start_anew() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = (0..9).map(|_| pause.next().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        pause.reset();
        assert_eq!(pause.next(), Pause::MIN);
        let tolerated = (0..1000).take_while(|_| pause.tolerate().is_none()).count();
        assert_eq!(tolerated, Pause::TOLERATED_MAX as usize);
    }
}
