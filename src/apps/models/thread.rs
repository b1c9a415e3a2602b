//! An OS thread per client, each in blocking calls: the tutorials' `ThreadingTCPServer`.
//!
//! Each is as plain as the blocking model, and the kernel lets them take turns. A thread
//! costs a stack, of which a few pages are touched, and a switch through the kernel for
//! every message.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, Scope, scope};

use super::client::echo;
use super::door::{Trouble, accept_or_stop};
use super::stop::Stop;
use super::tally::{Served, Tally};
use crate::util::lock;

pub(super) fn serve(listener: TcpListener, stop: &Stop, threads_max: usize) -> io::Result<Served> {
    let hall = Hall::default();
    scope(|scope| {
        let accepted = accept_all(listener, stop, threads_max, &hall, scope);
        // The scope waits for the threads, and they for their clients.
        stop.ask();
        accepted
    })?;
    let tally = hall.tally.into_inner();
    Ok(tally.unwrap_or_else(PoisonError::into_inner).finish())
}

fn accept_all<'scope>(
    listener: TcpListener,
    stop: &'scope Stop,
    threads_max: usize,
    hall: &'scope Hall,
    scope: &'scope Scope<'scope, '_>,
) -> io::Result<()> {
    listener.set_nonblocking(false)?;
    let listener = Arc::new(listener);
    let _cut = stop.cuts(listener.clone());
    let mut trouble = Trouble::default();
    loop {
        hall.wait_for_room(threads_max, &mut trouble);
        let Some(stream) = accept_or_stop(&listener, stop, &mut trouble)? else {
            return Ok(());
        };
        lock(&hall.tally).begin();
        let started = Builder::new()
            .name("echo-client".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, move || hall.serve(stream, stop));
        if let Err(error) = started {
            let pause = trouble.pause.next();
            trouble.warn(|| format!("a client is sent away: {error}; next try in {pause:?}"));
            hall.refuse();
            stop.wait(pause)?;
        }
    }
}

/// What the threads share.
#[derive(Default)]
struct Hall {
    tally: Mutex<Tally>,
    left: Condvar,
}

impl Hall {
    fn wait_for_room(&self, threads_max: usize, trouble: &mut Trouble) {
        let mut tally = lock(&self.tally);
        while tally.open() >= threads_max {
            trouble.warn(|| {
                format!("the limit of clients is reached ({threads_max}): more have to wait")
            });
            let left = self.left.wait(tally);
            tally = left.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn serve(&self, stream: TcpStream, stop: &Stop) {
        let stream = Arc::new(stream);
        let cut = stop.cuts(stream.clone());
        let ended = echo(&stream);
        // Asked before the client can see the end, which may be why it comes to ask.
        let is_stopped = stop.is_asked();
        // Closed before it is counted: who waits for room wants its descriptor, too.
        drop((cut, stream));
        let mut tally = lock(&self.tally);
        if is_stopped {
            tally.cut();
        } else {
            tally.end(ended.is_ok());
        }
        self.left.notify_one();
    }

    /// Its thread could not be started, and has dropped the connection.
    fn refuse(&self) {
        lock(&self.tally).take_back();
    }
}

/// The buffer is on the heap, and a read and a write need little.
const STACK_BYTES: usize = 128 * 1024;
/// More would be served, and would show nothing that these do not.
pub(super) const THREADS_MAX: usize = 2048;
