//! One thread that asks every socket in turn whether there is something to do.
//!
//! The simplest program without blocking calls, and the most expensive: it makes a system
//! call per client and round, ready or not. With nothing to do it naps for a millisecond,
//! which is how long a message may wait; and 1,000 idle clients still cost it a quarter of a
//! core, where the models in which the kernel says who is ready take none.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use super::BUFFER_BYTES;
use super::client::{Client, Turn};
use super::door::Door;
use super::stop::Stop;
use super::tally::{Served, Tally};

pub(super) fn serve(listener: TcpListener, stop: &Stop, clients_max: usize) -> io::Result<Served> {
    let mut door = Door::new(listener, clients_max)?;
    let mut clients: Vec<Client> = Vec::new();
    let (mut buffer, mut tally) = (vec![0; BUFFER_BYTES], Tally::default());
    while !stop.is_asked() {
        let mut has_moved = false;
        while let Some(stream) = door.accept(clients.len())? {
            clients.push(Client::new(stream)?);
            tally.begin();
            has_moved = true;
        }
        clients.retain_mut(|client| {
            let turn = client.turn(&mut buffer);
            has_moved |= matches!(turn, Ok(Turn::Moved));
            tally.goes_on(&turn)
        });
        if !has_moved {
            stop.wait(NAP)?;
        }
    }
    Ok(tally.finish())
}

/// Short against what people notice, long against a round of system calls.
const NAP: Duration = Duration::from_millis(1);
