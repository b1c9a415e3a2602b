//! Connecting to one of a host's addresses, whichever answers first (RFC 8305).
//!
//! The attempts run in greenlets of their own; the caller starts them, a quarter second
//! apart or as soon as the one before has failed, and waits for the first connection.
//! Whatever ends the wait, the guard [`Attempts`] kills those that still run, and a killed
//! attempt closes its socket.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::{Error, Result};
use crate::net::addr::Address;
use crate::net::endpoint::Endpoint;
use crate::net::resolve::resolve_address;
use crate::net::socket::StreamSocket;
use crate::net::tcp::TcpStream;
use crate::net::unix::UnixStream;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::park::{Parker, Unparker};
use crate::runtime::reason::Wait;
use crate::runtime::spawn::Builder;
use crate::util::lock;

/// See [`TcpStream::connect`].
#[track_caller]
pub(super) fn connect(address: &Address, limit: Deadline) -> Result<TcpStream> {
    let context = |error: Error| error.context(format!("connecting to {address}"));
    if let Some(numeric) = address.numeric() {
        return connect_one(numeric, limit).map_err(|e| context(e.into()));
    }
    let addresses = interleave(resolve_address(address, limit).map_err(context)?);
    match addresses[..] {
        [only] => connect_one(only, limit)
            .map_err(|e| Error::from(e).context(format!("{only}")))
            .map_err(context),
        _ => race(&addresses, limit).map_err(context),
    }
}

/// Connects to a stream of any family.
#[track_caller]
pub(crate) fn connect_stream(endpoint: &Endpoint, limit: Deadline) -> Result<StreamSocket> {
    match endpoint {
        Endpoint::Tcp(address) => Ok(connect(address, limit)?.into()),
        Endpoint::Unix(address) => Ok(UnixStream::connect_deadline(address.clone(), limit)?.into()),
        Endpoint::Udp(_) | Endpoint::Unixgram(_) => Err(Error::message(format!(
            "no stream can be had from {endpoint}"
        ))),
    }
}

/// Lets the families take turns, beginning with that of the first address, each in the
/// order given (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|a| a.is_ipv6() == v6_first);
    let (mut first, mut second) = (VecDeque::from(first), VecDeque::from(second));
    let mut mixed = Vec::with_capacity(first.len() + second.len());
    while !first.is_empty() || !second.is_empty() {
        mixed.extend(first.pop_front());
        mixed.extend(second.pop_front());
    }
    mixed
}

/// Makes one connection.
#[track_caller]
fn connect_one(addr: SocketAddr, limit: Deadline) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Not worth failing for.
    let _ = socket.set_tcp_nodelay(true);
    match socket.connect(&SockAddr::from(addr)) {
        Ok(()) => {}
        Err(e) if is_in_progress(&e) => {}
        Err(e) => return Err(e),
    }
    let mut stream = TcpStream(StreamSocket::new(socket)?);
    stream.0.wait_connected(limit)?;
    if stream.local_addr()? == stream.peer_addr()? {
        // Connecting to a free port of this machine's dynamic range can meet itself.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

pub(super) fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::Interrupted
}

/// Tries all addresses; the first connection wins.
#[track_caller]
fn race(addresses: &[SocketAddr], limit: Deadline) -> Result<TcpStream> {
    let results = Arc::new(Results::default());
    let mut attempts = Attempts(Vec::new());
    let mut failed = Failed(Vec::new());
    let mut waiting = addresses.iter();
    loop {
        let next = waiting.next();
        if let Some(&addr) = next {
            attempts.start(addr, limit, &results)?;
        }
        // The next attempt begins after the stagger, or as soon as this one has failed.
        let stagger = if waiting.len() > 0 {
            Deadline::after(STAGGER)
        } else {
            Deadline::NEVER
        };
        match results.wait(limit.earlier(stagger)) {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((addr, Err(error))) => {
                failed.0.push((addr, error));
                if failed.0.len() == addresses.len() {
                    return Err(failed.into_error());
                }
            }
            Err(e) if e.is_own_limit() && !limit.is_passed() => {}
            Err(e) => return Err(failed.with(e)),
        }
    }
}

/// The attempts that may still run; dropping it ends them.
struct Attempts(Vec<Greenlet<()>>);

impl Attempts {
    fn start(&mut self, addr: SocketAddr, limit: Deadline, results: &Arc<Results>) -> Result<()> {
        let results = results.clone();
        let attempt = Builder::new()
            .name(format!("connect {addr}"))
            .try_spawn(move || {
                let result = connect_one(addr, limit);
                results.put(addr, result);
            })?;
        self.0.push(attempt);
        Ok(())
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        for attempt in &self.0 {
            attempt.kill();
        }
    }
}

/// Where attempts report and the caller waits.
#[derive(Default)]
struct Results(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    arrived: VecDeque<(SocketAddr, io::Result<TcpStream>)>,
    waiter: Option<Unparker>,
}

impl Results {
    fn put(&self, addr: SocketAddr, result: io::Result<TcpStream>) {
        let mut inbox = lock(&self.0);
        inbox.arrived.push_back((addr, result));
        if let Some(waiter) = inbox.waiter.take() {
            waiter.unpark();
        }
    }

    #[track_caller]
    fn wait(&self, limit: Deadline) -> Result<(SocketAddr, io::Result<TcpStream>)> {
        loop {
            let parker = Parker::new();
            {
                let mut inbox = lock(&self.0);
                if let Some(result) = inbox.arrived.pop_front() {
                    return Ok(result);
                }
                inbox.waiter = Some(parker.unparker());
            }
            parker.park(Wait::Connect, limit)?;
        }
    }
}

/// The attempts that did not succeed.
struct Failed(Vec<(SocketAddr, io::Error)>);

impl Failed {
    /// One error that lists all, of their common kind if they have one.
    fn into_error(self) -> Error {
        let kind = self
            .0
            .first()
            .map_or(io::ErrorKind::Other, |(_, e)| e.kind());
        let is_common = self.0.iter().all(|(_, e)| e.kind() == kind);
        let kind = if is_common {
            kind
        } else {
            io::ErrorKind::Other
        };
        io::Error::new(kind, self.list()).into()
    }

    /// What ended the wait, and what had failed by then.
    fn with(self, error: Error) -> Error {
        if self.0.is_empty() {
            error
        } else {
            error.context(self.list())
        }
    }

    fn list(self) -> String {
        let mut list = String::from("no address answered");
        for (number, (addr, error)) in self.0.into_iter().enumerate() {
            let separator = if number == 0 { ": " } else { "; " };
            let error = Error::from(error);
            // Writing to a string cannot fail.
            let _ = write!(list, "{separator}{addr}: {error}");
        }
        list
    }
}

/// RFC 8305, section 5: the recommended delay between attempts.
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace()
            .map(|a| a.parse().unwrap())
            .collect()
    }

    #[test]
    fn families_take_turns() {
        assert_eq!(
            interleave(addrs("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1")),
            addrs("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1")
        );
        assert_eq!(
            interleave(addrs("1.1.1.1:1 [::1]:1")),
            addrs("1.1.1.1:1 [::1]:1")
        );
        assert!(interleave(Vec::new()).is_empty());
    }

    /// Addresses that are taken and where nobody listens, while the sockets live.
    fn refused(count: usize) -> (Vec<Socket>, Vec<SocketAddr>) {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets: Vec<_> = (0..count)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&any.into()).unwrap();
                socket
            })
            .collect();
        let addr = |s: &Socket| s.local_addr().unwrap().as_socket().unwrap();
        let addrs = sockets.iter().map(addr).collect();
        (sockets, addrs)
    }

    #[test]
    fn refused_addresses_are_passed_over() {
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (_sockets, mut addrs) = refused(2);
        addrs.push(listener.local_addr().unwrap());
        let start = std::time::Instant::now();
        let stream = race(&addrs, Deadline::NEVER).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addrs[2]);
        // Two staggers would be 500 ms: a refusal starts the next attempt at once.
        assert!(start.elapsed() < STAGGER);
    }

    #[test]
    fn error_lists_every_attempt() {
        let (_sockets, addrs) = refused(2);
        let error = race(&addrs, Deadline::NEVER).unwrap_err();
        assert!(error.is_refused());
        let (first, second) = (addrs[0], addrs[1]);
        let either = [(first, second), (second, first)].map(|(a, b)| {
            format!("no address answered: {a}: connection refused; {b}: connection refused")
        });
        assert!(either.contains(&error.to_string()), "{error}");
    }

    #[test]
    fn silent_address_is_overtaken_after_the_stagger_and_closed() {
        let silent = crate::net::ListenOptions::new()
            .backlog(0)
            .bind("127.0.0.1:0")
            .unwrap();
        let silent_addr = silent.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(stream) = connect_one(silent_addr, Deadline::after(STAGGER / 2)) {
            queue.push(stream);
        }
        let listener = crate::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addrs = [silent_addr, listener.local_addr().unwrap()];
        let start = std::time::Instant::now();
        let stream = race(&addrs, Deadline::NEVER).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addrs[1]);
        assert!(start.elapsed() >= STAGGER);

        let error = race(&[silent_addr, silent_addr], Deadline::after(STAGGER / 5)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
}
