//! A relay between a client and a server, with faults: it stands where the client looks
//! for its server, and gives each transfer a port of its own on both sides.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Dice;

/// How bad the way is, in percent for each packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Arrives up to 30 ms later, and so after others.
    pub(crate) delayed: u64,
    /// Ends somewhere; not a packet with options, of which one might be lost so.
    pub(crate) cut: u64,
}

pub(crate) const NO_FAULTS: Faults = Faults {
    lost: 0,
    doubled: 0,
    delayed: 0,
    cut: 0,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What a test does with a packet: what it returns goes on, each through the faults.
pub(crate) type Hook = Box<dyn FnMut(Way, Vec<u8>, &Ends) -> Vec<Vec<u8>> + Send>;

/// Both ends of a transfer, for packets from elsewhere.
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

/// A running relay; dropped, it ends.
pub(crate) struct Relay {
    addr: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn new(server: SocketAddr, seed: u64, faults: Faults) -> Self {
        Self::with_hook(server, seed, faults, Box::new(|_, packet, _| vec![packet]))
    }

    pub(crate) fn with_hook(server: SocketAddr, seed: u64, faults: Faults, hook: Hook) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        let addr = front.local_addr().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let mut state = State {
            front,
            server,
            sessions: Vec::new(),
            late: BTreeMap::new(),
            number: 0,
            dice: Dice(seed),
            faults,
            hook,
        };
        let ended = end.clone();
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                state.turn();
            }
        });
        Self {
            addr,
            end,
            thread: Some(thread),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// One client's transfer (the next one from the same port is the same session).
struct Session {
    ends: Ends,
    /// Where the client sees its server, and the server its client.
    near: UdpSocket,
    far: UdpSocket,
}

struct State {
    front: UdpSocket,
    server: SocketAddr,
    sessions: Vec<Session>,
    late: BTreeMap<(Instant, u64), (usize, Way, Vec<u8>)>,
    number: u64,
    dice: Dice,
    faults: Faults,
    hook: Hook,
}

impl State {
    fn turn(&mut self) {
        let now = Instant::now();
        while let Some((&(at, number), _)) = self.late.first_key_value()
            && at <= now
        {
            let (session, way, packet) = self.late.remove(&(at, number)).unwrap();
            self.deliver(session, way, &packet);
        }
        let wait = match self.late.first_key_value() {
            Some(((at, _), _)) => at.saturating_duration_since(now),
            None => Duration::from_millis(20),
        };
        self.wait(wait);
        let mut buffer = vec![0; 65_536];
        while let Ok((length, client)) = self.front.recv_from(&mut buffer) {
            let session = self.session(client);
            // A request goes to the server's own port again.
            self.sessions[session].ends.server = self.server;
            self.pass(session, Way::ToServer, &buffer[..length]);
        }
        for number in 0..self.sessions.len() {
            while let Ok((length, from)) = self.sessions[number].far.recv_from(&mut buffer) {
                if from != self.server {
                    self.sessions[number].ends.server = from;
                }
                self.pass(number, Way::ToClient, &buffer[..length]);
            }
            while let Ok((length, _)) = self.sessions[number].near.recv_from(&mut buffer) {
                self.pass(number, Way::ToServer, &buffer[..length]);
            }
        }
    }

    fn wait(&self, wait: Duration) {
        let sockets = self.sessions.iter().flat_map(|s| [&s.near, &s.far]);
        let mut fds: Vec<_> = sockets
            .chain([&self.front])
            .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
            .collect();
        let limit = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        };
        let _ = poll(&mut fds, Some(&limit));
    }

    fn session(&mut self, client: SocketAddr) -> usize {
        if let Some(known) = self.sessions.iter().position(|s| s.ends.client == client) {
            return known;
        }
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        self.sessions.push(Session {
            ends: Ends {
                client,
                server: self.server,
            },
            near: socket(),
            far: socket(),
        });
        self.sessions.len() - 1
    }

    fn pass(&mut self, session: usize, way: Way, packet: &[u8]) {
        let packets = (self.hook)(way, packet.to_vec(), &self.sessions[session].ends);
        for mut packet in packets {
            if self.dice.percent(self.faults.lost) {
                continue;
            }
            let is_option = !matches!(packet.get(1), Some(3 | 4));
            if !is_option && self.dice.percent(self.faults.cut) {
                packet.truncate(self.dice.roll() as usize % packet.len().max(1));
            }
            let copies = 1 + u32::from(self.dice.percent(self.faults.doubled));
            for _ in 0..copies {
                if self.dice.percent(self.faults.delayed) {
                    let late = Duration::from_micros(self.dice.roll() % 30_000);
                    self.number += 1;
                    let key = (Instant::now() + late, self.number);
                    self.late.insert(key, (session, way, packet.clone()));
                } else {
                    self.deliver(session, way, &packet);
                }
            }
        }
    }

    fn deliver(&self, session: usize, way: Way, packet: &[u8]) {
        let session = &self.sessions[session];
        // Nobody may be there any more.
        let _ = match way {
            Way::ToServer => session.far.send_to(packet, session.ends.server),
            Way::ToClient => session.near.send_to(packet, session.ends.client),
        };
    }
}
