//! One thread in `select`, with a message queue per client and a list of those who have
//! something to be sent.
//!
//! The tutorials' `inputs`, `outputs` and `message_queues`: what was read becomes a message
//! in its client's queue, and the client goes onto the write list until the queue is empty.
//! Unlike in the other models, a client is read while its answers wait, up to a limit. So the
//! end of its stream may come before its answers have left, and is noted until they have.
//!
//! `select`'s limit is the one of the model beside this one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::select::FdSet;

use super::BUFFER_BYTES;
use super::client::{read_some, write_some};
use super::door::Door;
use super::select::{accept, must_fit, select_for};
use super::stop::Stop;
use super::tally::{Served, Tally};

pub(super) fn serve(listener: TcpListener, stop: &Stop, clients_max: usize) -> io::Result<Served> {
    must_fit(&listener, "the listener")?;
    must_fit(stop, "the stop")?;
    let mut door = Door::new(listener, clients_max)?;
    let (mut server, mut tally) = (Server::default(), Tally::default());
    let mut buffer = vec![0; BUFFER_BYTES];
    while !stop.is_asked() {
        let (readable, writable) = server.wait(&mut door, stop)?;
        for fd in readable {
            server.step(fd, &mut tally, |client| client.read(&mut buffer));
        }
        for fd in writable {
            server.step(fd, &mut tally, Client::write);
        }
        while let Some(stream) = accept(&mut door, &mut tally)? {
            server.add(stream)?;
            tally.begin();
        }
    }
    Ok(tally.finish())
}

#[derive(Default)]
struct Server {
    clients: BTreeMap<RawFd, Client>,
    /// Who is read.
    inputs: BTreeSet<RawFd>,
    /// Who has messages to be sent.
    outputs: BTreeSet<RawFd>,
}

impl Server {
    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let fd = stream.as_raw_fd();
        self.clients.insert(fd, Client::new(stream));
        self.inputs.insert(fd);
        Ok(())
    }

    /// Waits until something can be done; who can be read, and who can be written to.
    fn wait(&self, door: &mut Door, stop: &Stop) -> io::Result<(Vec<RawFd>, Vec<RawFd>)> {
        let is_open = door.is_open(self.clients.len());
        let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
        readable.insert(stop.as_fd());
        if is_open {
            readable.insert(door.as_fd());
        }
        for (list, set) in [
            (&self.inputs, &mut readable),
            (&self.outputs, &mut writable),
        ] {
            list.iter()
                .filter_map(|fd| self.clients.get(fd))
                .for_each(|client| set.insert(client.stream.as_fd()));
        }
        select_for(&mut readable, &mut writable, door.shut_for())?;
        let ready = |list: &BTreeSet<RawFd>, set: &FdSet<'_>| {
            let is_ready = |fd: &&RawFd| {
                let client = self.clients.get(*fd);
                client.is_some_and(|client| set.contains(client.stream.as_fd()))
            };
            list.iter().filter(is_ready).copied().collect()
        };
        Ok((
            ready(&self.inputs, &readable),
            ready(&self.outputs, &writable),
        ))
    }

    /// Has a client do something, and puts it onto the lists where it belongs then.
    fn step(
        &mut self,
        fd: RawFd,
        tally: &mut Tally,
        what: impl FnOnce(&mut Client) -> io::Result<()>,
    ) {
        let Some(client) = self.clients.get_mut(&fd) else {
            return; // closed in this round
        };
        let done = what(client);
        let is_over = done.is_err() || client.is_over();
        set(&mut self.inputs, fd, !is_over && client.wants_input());
        set(&mut self.outputs, fd, !is_over && client.wants_output());
        if is_over {
            self.clients.remove(&fd);
            tally.end(done.is_ok());
        }
    }
}

fn set(list: &mut BTreeSet<RawFd>, fd: RawFd, is_in: bool) {
    if is_in {
        list.insert(fd);
    } else {
        list.remove(&fd);
    }
}

struct Client {
    stream: TcpStream,
    messages: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    /// The peer has ended its direction.
    has_ended: bool,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            messages: VecDeque::new(),
            queued_bytes: 0,
            has_ended: false,
        }
    }

    fn wants_input(&self) -> bool {
        !self.has_ended && self.queued_bytes < QUEUED_BYTES_MAX
    }

    fn wants_output(&self) -> bool {
        !self.messages.is_empty()
    }

    fn is_over(&self) -> bool {
        self.has_ended && self.messages.is_empty()
    }

    /// Makes a message of what is there.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match read_some(&self.stream, buffer)? {
            None => {}
            Some(0) => self.has_ended = true,
            Some(count) => {
                self.messages.push_back(buffer[..count].to_vec());
                self.queued_bytes += count;
            }
        }
        Ok(())
    }

    /// Sends the first message, or as much of it as there is room for.
    fn write(&mut self) -> io::Result<()> {
        if let Some(message) = self.messages.front_mut() {
            let sent = write_some(&self.stream, message)?;
            self.queued_bytes -= sent;
            message.drain(..sent);
            if message.is_empty() {
                self.messages.pop_front();
            }
        }
        Ok(())
    }
}

/// A client that does not read its answers is not read any more when so much waits for it.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::models::client::tests::narrow_pair;
    use std::io::{Read, Write};
    use std::net::Shutdown;

    #[test]
    fn queue_is_bounded_and_outlives_the_end_of_the_stream() {
        let (mut peer, ours) = narrow_pair();
        let mut client = Client::new(ours);
        assert!(client.wants_input() && !client.wants_output());
        let sent = vec![7; QUEUED_BYTES_MAX + BUFFER_BYTES];
        peer.write_all(&sent).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut buffer = vec![0; BUFFER_BYTES];
        while client.wants_input() {
            client.read(&mut buffer).unwrap();
        }
        assert!(client.queued_bytes < QUEUED_BYTES_MAX + BUFFER_BYTES);
        // The end is behind what was not read yet.
        assert!(client.wants_output() && !client.is_over());
        while !client.has_ended {
            client.read(&mut buffer).unwrap();
        }
        assert!(!client.wants_input() && !client.is_over());
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received)
        });
        while !client.is_over() {
            client.write().unwrap();
        }
        assert_eq!(client.queued_bytes, 0);
        drop(client);
        assert!(reader.join().unwrap().unwrap() == sent);
    }
}
