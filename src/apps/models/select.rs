//! One thread in `select`, with a buffer per client.
//!
//! A client is watched for one thing at a time: for room to write while something is unsent,
//! for something to read otherwise. Watching for room all the time would end every wait at
//! once, and reading on would fill the memory.
//!
//! `select` takes its descriptors as bits of a fixed array. A descriptor from 1024 on has no
//! bit, and C programs that set it all the same write beside the array. So a client that gets
//! such a descriptor is sent away. All of them are copied and looked through on every call:
//! what it costs grows with the clients, not with the messages.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};

use super::BUFFER_BYTES;
use super::client::Client;
use super::door::Door;
use super::stop::Stop;
use super::tally::{Served, Tally};

pub(super) fn serve(listener: TcpListener, stop: &Stop, clients_max: usize) -> io::Result<Served> {
    must_fit(&listener, "the listener")?;
    must_fit(stop, "the stop")?;
    let mut door = Door::new(listener, clients_max)?;
    let mut clients: Vec<Client> = Vec::new();
    let (mut buffer, mut tally) = (vec![0; BUFFER_BYTES], Tally::default());
    while !stop.is_asked() {
        let mut ready = wait(&mut door, stop, &clients)?.into_iter();
        clients.retain_mut(|client| {
            let is_ready = ready.next().unwrap_or(false);
            !is_ready || tally.goes_on(&client.turn(&mut buffer))
        });
        while let Some(stream) = accept(&mut door, &mut tally)? {
            clients.push(Client::new(stream)?);
            tally.begin();
        }
    }
    Ok(tally.finish())
}

/// Waits until something can be done, and tells for each client whether it is ready.
fn wait(door: &mut Door, stop: &Stop, clients: &[Client]) -> io::Result<Vec<bool>> {
    let is_open = door.is_open(clients.len());
    let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
    readable.insert(stop.as_fd());
    if is_open {
        readable.insert(door.as_fd());
    }
    for client in clients {
        let wanted = if client.has_unsent() {
            &mut writable
        } else {
            &mut readable
        };
        wanted.insert(client.as_fd());
    }
    select_for(&mut readable, &mut writable, door.shut_for())?;
    let is_ready = |client: &Client| {
        let fd = client.as_fd();
        readable.contains(fd) || writable.contains(fd)
    };
    Ok(clients.iter().map(is_ready).collect())
}

/// Leaves in the sets what is ready: nothing, if `limit` passed or a signal came.
pub(super) fn select_for<'fd>(
    readable: &mut FdSet<'fd>,
    writable: &mut FdSet<'fd>,
    limit: Option<Duration>,
) -> io::Result<()> {
    // Rounded up: a limit of less than a microsecond would be none.
    let limit = limit.map(|l| i64::try_from(l.as_micros() + 1).unwrap_or(i64::MAX));
    let mut limit = limit.map(TimeVal::microseconds);
    match select(None, &mut *readable, &mut *writable, None, limit.as_mut()) {
        Ok(_) => Ok(()),
        Err(Errno::EINTR) => {
            readable.clear();
            writable.clear();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Accepts the next client, if `select` can watch it. One that is sent away ends the round:
/// a crowd of them must not keep the others from their turns.
pub(super) fn accept(door: &mut Door, tally: &mut Tally) -> io::Result<Option<TcpStream>> {
    let accepted = door.accept(tally.open())?;
    if let Some(stream) = accepted.as_ref().filter(|stream| !fits(*stream)) {
        let fd = stream.as_raw_fd();
        door.warn(|| {
            format!(
                "a client is sent away: select watches descriptors below {FD_SETSIZE}, \
                 and it would be {fd}"
            )
        });
        tally.refuse();
        return Ok(None);
    }
    Ok(accepted)
}

pub(super) fn must_fit(socket: &impl AsFd, what: &str) -> io::Result<()> {
    let fd = socket.as_fd();
    if fits(&fd) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "select watches descriptors below {FD_SETSIZE}, and {what} has {}",
        fd.as_raw_fd()
    )))
}

fn fits(socket: &impl AsRawFd) -> bool {
    usize::try_from(socket.as_raw_fd()).is_ok_and(|fd| fd < FD_SETSIZE)
}

/// The size of `fd_set`, which is a part of the system's interface.
pub(super) const DESCRIPTORS_MAX: usize = FD_SETSIZE;
