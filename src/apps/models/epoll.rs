//! One thread in `epoll`, edge-triggered.
//!
//! The kernel keeps the list of descriptors, and tells of each once when it *becomes* ready:
//! what a wait costs grows with the events, not with the clients. The price is a rule. Who
//! was told must go on until the call would block; what is left before that is never told
//! again. So whoever is not done within its turn stays on a list of our own: the ready ones,
//! a listener that has clients while none can be let in.
//!
//! Each client is registered once, for both directions. Changing the registration for every
//! partial write would be a system call more, and an edge costs nothing while it does not
//! come.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::BUFFER_BYTES;
use super::client::{Client, Turn};
use super::door::Door;
use super::stop::{Stop, timespec};
use super::tally::{Served, Tally};

pub(super) fn serve(listener: TcpListener, stop: &Stop, clients_max: usize) -> io::Result<Served> {
    let door = Door::new(listener, clients_max)?;
    let mut server = Server::new(door, stop)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    while !stop.is_asked() {
        server.wait(&mut events)?;
        server.serve_ready();
        // Last: those who have just left make room, and nothing would tell of it again.
        server.accept_all()?;
    }
    Ok(server.tally.finish())
}

struct Server {
    epoll: OwnedFd,
    door: Door,
    /// The listener had an edge and was not emptied since.
    is_knocked: bool,
    /// By a number that is never used again: an event of a client that has gone must not
    /// reach the one that got its descriptor.
    clients: HashMap<u64, Client>,
    next: u64,
    /// Who had an edge and has not been served until it would block.
    ready: VecDeque<u64>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl Server {
    fn new(door: Door, stop: &Stop) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64;
        epoll::add(&epoll, stop, data(STOP), EventFlags::IN)?;
        epoll::add(&epoll, &door, data(DOOR), EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            epoll,
            door,
            is_knocked: false,
            clients: HashMap::new(),
            next: CLIENTS,
            ready: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES],
            tally: Tally::default(),
        })
    }

    /// Waits for edges, and notes them.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let limit = if self.ready.is_empty() {
            self.door.shut_for().filter(|_| self.is_knocked)
        } else {
            Some(Duration::ZERO)
        };
        let limit = limit.map(timespec);
        match epoll::wait(&self.epoll, spare_capacity(events), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            match event.data.u64() {
                STOP => {} // asked for by name
                DOOR => self.is_knocked = true,
                number => self.ready.push_back(number),
            }
        }
        Ok(())
    }

    fn accept_all(&mut self) -> io::Result<()> {
        while self.is_knocked && self.door.is_open(self.clients.len()) {
            match self.door.accept(self.clients.len())? {
                Some(stream) => self.add(stream)?,
                // Nobody is left, or there is an error to be waited out.
                None => self.is_knocked = self.door.shut_for().is_some(),
            }
        }
        Ok(())
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        let client = Client::new(stream)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        // What is there already counts as an edge.
        match epoll::add(&self.epoll, &client, EventData::new_u64(self.next), flags) {
            Ok(()) => {
                self.clients.insert(self.next, client);
                self.next += 1;
                self.tally.begin();
            }
            // The user's limit of watches: fs.epoll.max_user_watches.
            Err(error @ (Errno::NOSPC | Errno::NOMEM)) => {
                self.tally.refuse();
                self.door.shut_after(&error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Serves each that is ready, once; those that are not done stay ready.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else {
                return;
            };
            let Some(client) = self.clients.get_mut(&number) else {
                continue; // it had two events, and ended at the first
            };
            let turn = turns(client, &mut self.buffer);
            if matches!(turn, Ok(Turn::Moved)) {
                self.ready.push_back(number);
            }
            if !self.tally.goes_on(&turn) {
                self.clients.remove(&number); // closed, and so out of the epoll
            }
        }
    }
}

/// Goes on until the client would block, or has had its share: one that sends without end
/// must not keep the others from their turns.
fn turns(client: &mut Client, buffer: &mut [u8]) -> io::Result<Turn> {
    for _ in 0..TURNS_MAX {
        match client.turn(buffer)? {
            Turn::Moved => {}
            other => return Ok(other),
        }
    }
    Ok(Turn::Moved)
}

const STOP: u64 = 0;
const DOOR: u64 = 1;
/// The first client's number.
const CLIENTS: u64 = 2;
/// Events taken at once.
const EVENTS_MAX: usize = 256;
/// A quarter of a MiB of one client before the next one's turn.
const TURNS_MAX: usize = 16;
