//! A conversation: an input goes to a peer while the peer's words go to an output.
//!
//! ```text
//!   input ──► greenlet "to the peer" ──► peer ──► greenlet "from the peer" ──► output
//!                         └────────► caller: when is it over? ◄────────┘
//! ```
//!
//! Here: streams and datagrams alike, and the rules of the end. Not here: standard input
//! and output, signals (`cli/`).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
#[cfg(feature = "tls")]
use crate::net::tls::{ClientSide, TlsConnector, TlsReadHalf, TlsWriteHalf};
use crate::net::{
    Endpoint, ReadHalf, UdpSocket, UnixAddr, UnixDatagram, WriteHalf, connect_stream,
};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Greenlet, Handle};
use crate::runtime::spawn::Builder;
use crate::runtime::watch::Waitable;
use crate::sync::wait_any_timeout;

/// Somebody to talk to.
pub struct Peer {
    name: String,
    from: Box<dyn Receiver>,
    to: Box<dyn Sender>,
    is_datagram: bool,
}

/// When a conversation ends that neither side ends.
///
/// # Examples
///
/// ```
/// use greenloop::Deadline;
/// use greenloop::apps::connect::{Conversation, Peer};
/// use greenloop::apps::echo::Echo;
/// use greenloop::server::StreamServer;
/// use std::sync::mpsc;
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(Echo::new())?;
/// let peer = Peer::connect(&server.addr().into(), Deadline::NEVER)?;
/// let mut input = &b"hello"[..];
/// let (output, heard) = mpsc::channel();
/// Conversation::new().hold(
///     peer,
///     move |buf, _limit| std::io::Read::read(&mut input, buf),
///     move |bytes| Ok(output.send(bytes.to_vec()).unwrap()),
/// )?;
/// assert_eq!(heard.iter().flatten().collect::<Vec<_>>(), b"hello");
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Conversation {
    wait: Duration,
    idle: Option<Duration>,
    ends_with_peer: bool,
}

impl Conversation {
    /// One that waits a second for more, and has no idle timeout.
    pub fn new() -> Self {
        Self {
            wait: Duration::from_secs(1),
            idle: None,
            ends_with_peer: false,
        }
    }

    /// How long to wait for more once one side has ended: for input, where the peer of a
    /// stream has ended; for answers, where the input for datagrams has.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Fails when nothing came or went for so long.
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle = limit;
        self
    }

    /// Ends at once when the peer of a stream ends: nobody is to type into the void.
    pub fn ends_with_peer(mut self, ends: bool) -> Self {
        self.ends_with_peer = ends;
        self
    }

    /// Talks to `peer` until it is over.
    ///
    /// What `input` gives (0 bytes is its end) is sent; over a stream as it comes, in
    /// datagrams by lines, with their line ends. The end of the input ends our direction of
    /// a stream, and the conversation goes on until the peer ends its own. What the peer
    /// sends is given to `output`; after the last of a stream, and after each datagram, so
    /// are 0 bytes.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What input, output and peer report; the idle timeout; the caller was killed or
    /// timed out.
    pub fn hold(
        &self,
        peer: Peer,
        input: impl FnMut(&mut [u8], Deadline) -> io::Result<usize> + Send + 'static,
        output: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let Peer {
            name,
            from,
            to,
            is_datagram,
        } = peer;
        let progress = Arc::new(Progress::new());
        let seen = progress.clone();
        let to = Named(format!("sending to {name}"), to);
        let sending = Builder::new().name("to the peer").try_spawn(move || {
            let sent = if is_datagram {
                send_datagrams(input, to, &seen)
            } else {
                send_stream(input, to, &seen)
            };
            seen.note();
            sent
        })?;
        let _sending = KillOnDrop(sending.handle());
        let seen = progress.clone();
        let from = Named(format!("receiving from {name}"), from);
        let receiving = Builder::new().name("from the peer").try_spawn(move || {
            let received = receive(from, output, is_datagram, &seen);
            seen.note();
            received
        })?;
        let _receiving = KillOnDrop(receiving.handle());
        self.watch(sending, receiving, is_datagram, &progress)
    }

    /// Waits until both directions have ended, or one alone for long enough.
    fn watch(
        &self,
        sending: Greenlet<Result<()>>,
        receiving: Greenlet<Result<()>>,
        is_datagram: bool,
        progress: &Progress,
    ) -> Result<()> {
        let (mut sending, mut receiving) = (Some(sending), Some(receiving));
        // Of a stream, what the peer still says comes first.
        let mut sent = Ok(());
        loop {
            if let Some(greenlet) = receiving.take_if(|greenlet| greenlet.is_ready()) {
                greenlet.join().map_err(Error::message)??;
            }
            if let Some(greenlet) = sending.take_if(|greenlet| greenlet.is_ready()) {
                sent = greenlet.join().map_err(Error::message)?;
                if is_datagram && sent.is_err() {
                    return sent;
                }
            }
            let quiet = progress.quiet();
            let patience = match (&sending, &receiving) {
                (None, None) => return sent,
                (Some(_), None) if self.ends_with_peer => return sent,
                // Nothing can be typed, but what is under way still goes out.
                (Some(_), None) if progress.is_hungry() => Some(self.wait),
                (None, Some(_)) if is_datagram => Some(self.wait),
                _ => None,
            };
            if patience.is_some_and(|patience| quiet >= patience) {
                return sent;
            }
            if let Some(idle) = self.idle.filter(|idle| quiet >= *idle) {
                return Err(Error::message(format!("nothing came or went for {idle:?}")));
            }
            let until = |limit: Duration| limit.saturating_sub(quiet).max(TICK);
            let look_again = match (patience, &receiving) {
                (Some(patience), _) => until(patience),
                // The last input is under way, and nobody tells when it has gone.
                (None, None) => self.wait.max(TICK),
                (None, Some(_)) => Duration::MAX,
            };
            let look_again = self
                .idle
                .map_or(look_again, |idle| look_again.min(until(idle)));
            let running: Vec<&dyn Waitable> = [&sending, &receiving]
                .into_iter()
                .flatten()
                .map(|greenlet| greenlet as &dyn Waitable)
                .collect();
            wait_any_timeout(&running, look_again)?;
        }
    }
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer {
    /// Connects to a peer of any kind.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As connecting of its kind.
    pub fn connect(endpoint: &Endpoint, limit: Deadline) -> Result<Self> {
        match endpoint {
            Endpoint::Tcp(_) | Endpoint::Unix(_) => {
                let (from, to) = connect_stream(endpoint, limit)?.split()?;
                Ok(Self::new(endpoint, from, to, false))
            }
            Endpoint::Udp(_) => {
                let mut socket = UdpSocket::bind(":0")?;
                socket.connect(endpoint)?;
                let other = socket.try_clone()?;
                Ok(Self::new(endpoint, socket, other, true))
            }
            Endpoint::Unixgram(address) => unixgram(endpoint, address),
        }
    }

    /// Connects to a peer of streams, and begins TLS with it as `name`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As connecting of its kind; what TLS says.
    #[cfg(feature = "tls")]
    pub fn connect_tls(
        endpoint: &Endpoint,
        connector: &TlsConnector,
        name: &str,
        limit: Deadline,
    ) -> Result<Self> {
        let stream = connect_stream(endpoint, limit)?;
        let (from, to) = connector.connect(name, stream, limit)?.into_halves()?;
        Ok(Self::new(endpoint, from, to, false))
    }

    fn new(
        name: &Endpoint,
        from: impl Receiver + 'static,
        to: impl Sender + 'static,
        is_datagram: bool,
    ) -> Self {
        Self {
            name: name.to_string(),
            from: Box::new(from),
            to: Box::new(to),
            is_datagram,
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// Its own function, and never inlined: sockets are large on a greenlet's stack.
#[inline(never)]
fn unixgram(endpoint: &Endpoint, address: &UnixAddr) -> Result<Peer> {
    // With a name of its own, or it could not be answered.
    let mut socket = UnixDatagram::bind(own_name())?;
    socket.connect(address)?;
    let other = socket.try_clone()?;
    Ok(Peer::new(endpoint, socket, other, true))
}

/// A name in the abstract namespace that nobody else has.
fn own_name() -> UnixAddr {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    let name = format!("greenloop-{}-{count}-{now}", std::process::id());
    UnixAddr::Abstract(name.into())
}

/// What comes from a peer.
trait Receiver: Send {
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize>;
}

/// What goes to a peer.
trait Sender: Send {
    fn send_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

impl Receiver for ReadHalf {
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buf)
    }
}

impl Sender for WriteHalf {
    fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        unless_gone(self.shutdown())
    }
}

/// The end of a direction, which a peer that has gone after it had all need not hear of.
fn unless_gone(ended: io::Result<()>) -> io::Result<()> {
    match ended {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        ended => ended,
    }
}

#[cfg(feature = "tls")]
impl Receiver for TlsReadHalf<ClientSide> {
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buf)
    }
}

#[cfg(feature = "tls")]
impl Sender for TlsWriteHalf<ClientSide> {
    fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        unless_gone(self.shutdown())
    }
}

macro_rules! datagrams {
    ($($socket:ty),+) => {$(
        impl Receiver for $socket {
            fn receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.recv(buf)
            }
        }

        impl Sender for $socket {
            fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                self.send(bytes).map(drop)
            }

            fn end(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )+};
}

datagrams!(UdpSocket, UnixDatagram);

/// Gives all that comes to `output`, up to the end of a stream.
fn receive(
    mut from: Named<dyn Receiver>,
    mut output: impl FnMut(&[u8]) -> io::Result<()>,
    is_datagram: bool,
    progress: &Progress,
) -> Result<()> {
    let mut buf = vec![0; CHUNK_BYTES];
    loop {
        let count = from.call(|from| from.receive(&mut buf))?;
        if count > 0 {
            progress.note();
            output(&buf[..count])?;
        }
        if count == 0 || is_datagram {
            output(&[])?;
        }
        if count == 0 && !is_datagram {
            return Ok(());
        }
    }
}

/// Sends the input as it comes, and ends with it.
fn send_stream(
    mut input: impl FnMut(&mut [u8], Deadline) -> io::Result<usize>,
    mut to: Named<dyn Sender>,
    progress: &Progress,
) -> Result<()> {
    let mut buf = vec![0; CHUNK_BYTES];
    loop {
        let count = progress.hungry(|| input(&mut buf, Deadline::NEVER))?;
        if count == 0 {
            return to.call(|to| to.end());
        }
        to.call(|to| to.send_all(&buf[..count]))?;
        progress.note();
    }
}

/// Sends each line of the input as a datagram; also what is none, if nothing follows.
fn send_datagrams(
    mut input: impl FnMut(&mut [u8], Deadline) -> io::Result<usize>,
    mut to: Named<dyn Sender>,
    progress: &Progress,
) -> Result<()> {
    let mut send = |messages: Vec<Vec<u8>>| {
        for message in messages {
            to.call(|to| to.send_all(&message))?;
            progress.note();
        }
        Ok::<_, Error>(())
    };
    let mut buf = vec![0; CHUNK_BYTES];
    let mut pending = Vec::new();
    loop {
        let limit = match pending.is_empty() {
            true => Deadline::NEVER,
            false => Deadline::after(LINE_PAUSE),
        };
        let count = match progress
            .hungry(|| input(&mut buf, limit))
            .map_err(Error::from)
        {
            Err(error) if error.is_own_limit() => {
                send(vec![std::mem::take(&mut pending)])?;
                continue;
            }
            read => read?,
        };
        pending.extend_from_slice(&buf[..count]);
        send(cut(&mut pending))?;
        if count == 0 {
            return match pending.is_empty() {
                true => Ok(()),
                false => send(vec![pending]),
            };
        }
    }
}

/// Takes the whole lines out of `pending`, and of a long one what a datagram holds.
fn cut(pending: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut rest = &pending[..];
    loop {
        let window = &rest[..rest.len().min(DATAGRAM_BYTES_MAX)];
        let end = match window.iter().position(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if window.len() == DATAGRAM_BYTES_MAX => DATAGRAM_BYTES_MAX,
            None => break,
        };
        messages.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
    *pending = rest.to_vec();
    messages
}

/// A direction, and what it is called where it fails.
struct Named<T: ?Sized>(String, Box<T>);

impl<T: ?Sized> Named<T> {
    fn call<R>(&mut self, call: impl FnOnce(&mut T) -> io::Result<R>) -> Result<R> {
        call(&mut self.1).map_err(|error| Error::from(error).context(&self.0))
    }
}

/// When something last came or went.
struct Progress {
    begun: Instant,
    last_ms: AtomicU64,
    hungry: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            last_ms: AtomicU64::new(0),
            hungry: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.last_ms.store(self.now_ms(), Ordering::SeqCst);
    }

    fn quiet(&self) -> Duration {
        let last = self.last_ms.load(Ordering::SeqCst);
        Duration::from_millis(self.now_ms().saturating_sub(last))
    }

    /// Runs what waits for input.
    fn hungry<R>(&self, read: impl FnOnce() -> R) -> R {
        self.hungry.store(true, Ordering::SeqCst);
        let read = read();
        self.hungry.store(false, Ordering::SeqCst);
        read
    }

    fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::SeqCst)
    }
}

struct KillOnDrop(Handle);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// A pipe's size: more comes in one read from nowhere.
const CHUNK_BYTES: usize = 64 * 1024;

/// The most that UDP over IPv4 carries: 65,535 less both headers (RFC 768, RFC 791).
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// What is typed without a line end is sent at once, as far as a person can tell; what a
/// program writes in two pieces has long come together.
const LINE_PAUSE: Duration = Duration::from_millis(50);

/// No watch is closer than that.
const TICK: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_datagrams_and_long_ones_several() {
        let cut_all = |bytes: &[u8]| {
            let mut pending = bytes.to_vec();
            let sizes: Vec<_> = cut(&mut pending).iter().map(Vec::len).collect();
            (sizes, pending.len())
        };
        assert_eq!(cut_all(b""), (vec![], 0));
        assert_eq!(cut_all(b"ab\n\ncd"), (vec![3, 1], 2));
        let max = DATAGRAM_BYTES_MAX;
        assert_eq!(cut_all(&vec![b'x'; max - 1]), (vec![], max - 1));
        assert_eq!(cut_all(&vec![b'x'; 2 * max + 1]), (vec![max, max], 1));
        let mut line = vec![b'x'; max];
        line.extend(b"\n");
        assert_eq!(cut_all(&line), (vec![max, 1], 0));
    }
}
