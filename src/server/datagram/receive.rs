//! The receive loop: permit, receive, hand over; and what to do when receiving fails.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::net::{Addr, DatagramSocket, Received};
use crate::runtime::deadline::Deadline;
use crate::runtime::spawn::Builder;
use crate::server::accept::{Pause, Verdict};
use crate::server::conns::Seat;
use crate::server::datagram::Shared;
use crate::server::datagram::filter::DropReason;
use crate::server::datagram::message::{Datagram, Line};
use crate::server::observe::Outcome;
use crate::sync::Permit;
use crate::util::lock;

/// What a loop is at: receiving can be ended at once, a handler only by a kill.
#[derive(Default)]
pub(super) struct Turn(Mutex<State>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Receiving,
    Handling,
    Stopped,
}

impl Turn {
    /// Asks the loop to end; false if it handles just now, and ends after that.
    pub(super) fn stop(&self) -> bool {
        let before = std::mem::replace(&mut *lock(&self.0), State::Stopped);
        before != State::Handling
    }

    /// Goes from one state to the other; false if the loop is to end.
    fn pass(&self, to: State) -> bool {
        let mut state = lock(&self.0);
        if *state == State::Stopped {
            return false;
        }
        *state = to;
        true
    }
}

/// Receives until the server stops, or until an error that will not go away. When it
/// returns, the socket is closed.
pub(super) fn run(
    shared: &Arc<Shared>,
    number: usize,
    mut socket: DatagramSocket,
    line: Arc<Line>,
) -> Option<Error> {
    let error = receive_all(shared, number, &mut socket, &line);
    drop(line);
    socket.close();
    error
}

fn receive_all(
    shared: &Arc<Shared>,
    number: usize,
    socket: &mut DatagramSocket,
    line: &Arc<Line>,
) -> Option<Error> {
    let mut buf = vec![0; shared.config.datagram_bytes_max];
    let mut pause = Pause::default();
    loop {
        let went = match next(shared, socket, &mut buf) {
            Ok(None) => Ok(()),
            Ok(Some((got, permit))) => {
                pause.reset();
                match admit(shared, &got) {
                    None => Ok(()),
                    Some(seat) if shared.config.handlers == 1 => {
                        let turn = &shared.turns[number];
                        if !turn.pass(State::Handling) {
                            return None;
                        }
                        buf = handle_here(shared, line, buf, got, seat);
                        drop(permit);
                        if !turn.pass(State::Receiving) {
                            return None;
                        }
                        Ok(())
                    }
                    Some(seat) => {
                        let datagram = copy(shared, line, &buf, got);
                        hand_over(shared, datagram, permit, seat, &mut pause)
                    }
                }
            }
            Err(error) => recover(shared, error, &mut pause),
        };
        match went {
            Ok(()) => {}
            Err(error) if error.is_cancelled() => return None,
            Err(error) => return Some(error),
        }
    }
}

/// Takes a permit, then a datagram; `None` if there was none after all.
fn next(
    shared: &Shared,
    socket: &mut DatagramSocket,
    buf: &mut [u8],
) -> io::Result<Option<(Received<Addr>, Permit)>> {
    let is_one_of_several = shared.core.addrs.len() > 1;
    if is_one_of_several {
        // One of several sockets must not hold a permit while it has no use for it: the
        // others may.
        socket.wait_readable(Deadline::NEVER)?;
    }
    let permit = match shared.permits.try_acquire() {
        Some(permit) => permit,
        None => shared.permits.acquire()?,
    };
    let received = if is_one_of_several {
        socket.try_recv_msg(buf)
    } else {
        socket.recv_msg(buf, Deadline::NEVER)
    };
    match received {
        Ok(got) => Ok(Some((got, permit))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts a datagram, and gives it a place unless it is dropped.
fn admit(shared: &Shared, got: &Received<Addr>) -> Option<Seat> {
    shared.counters.received.add(1);
    shared.counters.bytes_received.add(got.size as u64);
    if got.is_truncated() {
        shared.counters.truncated.add(1);
    }
    if let Some(reason) = shared.own.refusal(&got.peer, got.local.as_ref()) {
        shared.counters.count_drop(reason);
        shared.config.observer.dropped(&got.peer, reason);
        return None;
    }
    Some(shared.core.conns.admit())
}

/// Runs the handler in the loop itself, and gives the buffer back.
fn handle_here(
    shared: &Arc<Shared>,
    line: &Arc<Line>,
    buf: Vec<u8>,
    got: Received<Addr>,
    seat: Seat,
) -> Vec<u8> {
    let mut datagram = Datagram::new(buf, got, line.clone(), shared.clone());
    serve(shared, &mut datagram, &seat);
    datagram.buf
}

fn copy(shared: &Arc<Shared>, line: &Arc<Line>, buf: &[u8], got: Received<Addr>) -> Datagram {
    let exact = buf[..got.len].to_vec();
    Datagram::new(exact, got, line.clone(), shared.clone())
}

/// Starts a greenlet for the datagram, or drops it.
///
/// # Errors
/// Cancelled.
fn hand_over(
    shared: &Arc<Shared>,
    mut datagram: Datagram,
    permit: Permit,
    seat: Seat,
    pause: &mut Pause,
) -> Result<()> {
    let peer = datagram.peer().clone();
    let mut builder = Builder::new().name(format!("datagram of {peer}"));
    if let Some(bytes) = shared.config.stack_bytes {
        builder = builder.stack_bytes(bytes);
    }
    let body = {
        let shared = shared.clone();
        move || {
            serve(&shared, &mut datagram, &seat);
            // The limit must not see it gone before it is.
            drop((datagram, permit, seat));
        }
    };
    let Err(error) = builder.try_spawn(body) else {
        return Ok(());
    };
    shared.counters.count_drop(DropReason::NoGreenlet);
    shared
        .config
        .observer
        .dropped(&peer, DropReason::NoGreenlet);
    let length = pause.next();
    let observer = &shared.config.observer;
    observer.receive_error(&error.into(), Some(length));
    crate::sleep(length)
}

/// A datagram's life.
fn serve(shared: &Shared, datagram: &mut Datagram, seat: &Seat) {
    let outcome = if seat.occupy(crate::current()) {
        Outcome::of(catch_unwind(AssertUnwindSafe(|| {
            shared.handler.handle(datagram)
        })))
    } else {
        Outcome::Killed
    };
    shared.counters.count(&outcome);
    shared.config.observer.handled(datagram, &outcome);
}

/// Deals with an error of receiving.
///
/// # Errors
/// The error itself, if it will not go away; cancelled, if the loop was killed.
fn recover(shared: &Shared, error: io::Error, pause: &mut Pause) -> Result<()> {
    let verdict = sort(&error);
    let error = Error::from(error);
    if error.is_cancelled() {
        return Err(error);
    }
    shared.counters.receive_errors.add(1);
    let length = match verdict {
        Verdict::GoOn => pause.tolerate(),
        Verdict::Wait => Some(pause.next()),
        Verdict::Stop => None,
    };
    shared.config.observer.receive_error(&error, length);
    match (verdict, length) {
        (Verdict::Stop, _) => Err(error),
        (_, Some(length)) => crate::sleep(length),
        (_, None) => Ok(()),
    }
}

/// Sorts an error of receiving by what it means (udp(7), ip(7), "Errors").
fn sort(error: &io::Error) -> Verdict {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // It is about a datagram that was sent before, or about this one alone.
        Some(
            Errno::CONNREFUSED
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::MSGSIZE
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::INVAL
            | Errno::ACCESS
            | Errno::PERM
            | Errno::INTR
            | Errno::AGAIN,
        ) => Verdict::GoOn,
        Some(Errno::BADF | Errno::NOTSOCK) => Verdict::Stop,
        // ENOBUFS, ENOMEM, and what nobody knows.
        _ => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_a_datagram_ends_the_loop() {
        let about_one = [
            Errno::INVAL,
            Errno::ACCESS,
            Errno::NETUNREACH,
            Errno::PERM,
            Errno::CONNREFUSED,
            Errno::MSGSIZE,
        ];
        for errno in about_one {
            assert_eq!(sort(&errno.into()), Verdict::GoOn, "{errno}");
        }
        for errno in [Errno::NOBUFS, Errno::NOMEM, Errno::IO] {
            assert_eq!(sort(&errno.into()), Verdict::Wait, "{errno}");
        }
        for errno in [Errno::BADF, Errno::NOTSOCK] {
            assert_eq!(sort(&errno.into()), Verdict::Stop, "{errno}");
        }
    }

    #[test]
    fn loop_that_handles_ends_after_it() {
        let turn = Turn::default();
        assert!(turn.pass(State::Handling));
        assert!(!turn.stop());
        assert!(!turn.pass(State::Receiving));
        let turn = Turn::default();
        assert!(turn.stop());
        assert!(!turn.pass(State::Handling));
    }
}
