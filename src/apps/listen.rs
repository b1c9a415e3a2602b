//! Listen: what clients send is given to an output, and each is answered once.
//!
//! Here: what a client is told, and when it is done with. Not here: how its bytes are
//! printed (`cli/`).

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{
    Addr, Endpoint, ListenSocket, Shutdown, Stream, StreamSocket, TcpListener, UnixListener,
};
use crate::runtime::deadline::Deadline;
use crate::runtime::kill::shield;
use crate::runtime::spawn::Builder;
use crate::server::{
    Conn, Datagram, DatagramHandler, DatagramServer, Handler, Pause, Verdict, sort,
};
use crate::sync::Event;
use crate::util::lock;

/// Takes what one client sends, or what is in one datagram, and 0 bytes at the end of it.
pub type Sink = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// What a [`Sink`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All that one client sends.
    Stream,
    /// One datagram.
    Datagram,
}

/// Takes what clients send, and may answer it.
///
/// A client of a stream is answered once, when its first bytes or its end have come; with
/// the answer our direction ends, and what the client still sends is taken as long as it
/// keeps coming, for 60 times [`Listen::wait`] at most. Without an answer it is listened to
/// until it ends. A datagram is answered by one.
///
/// # Examples
///
/// ```
/// use greenloop::apps::listen::Listen;
/// use greenloop::net::TcpStream;
/// use greenloop::server::StreamServer;
/// use std::io::{Read, Write};
/// use std::sync::mpsc;
///
/// let (heard, bytes) = mpsc::channel();
/// let listen = Listen::new(move |_sender, _kind| {
///     let heard = heard.clone();
///     Box::new(move |bytes| Ok(heard.send(bytes.to_vec()).unwrap()))
/// });
/// let server = StreamServer::bind("127.0.0.1:0")?.start(listen.reply("thank you !"))?;
/// let mut client = TcpStream::connect(server.addr())?;
/// client.write_all("我爱Python".as_bytes())?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "thank you !");
/// assert_eq!(bytes.recv().unwrap(), "我爱Python".as_bytes());
/// server.stop_now()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Listen {
    reply: Option<Vec<u8>>,
    wait: Duration,
    sinks: Arc<Sinks>,
}

type Sinks = dyn Fn(&Addr, Kind) -> Sink + Send + Sync;

/// A socket on which one client is waited for.
pub struct OneShot(ListenSocket);

impl Listen {
    /// Gives what each client sends, and each datagram, to a sink of its own.
    pub fn new(sinks: impl Fn(&Addr, Kind) -> Sink + Send + Sync + 'static) -> Self {
        Self {
            reply: None,
            wait: Duration::from_secs(1),
            sinks: Arc::new(sinks),
        }
    }

    /// Answers so.
    #[must_use]
    pub fn reply(mut self, reply: impl Into<Vec<u8>>) -> Self {
        self.reply = Some(reply.into());
        self
    }

    /// How long a client that was answered may be silent; a second, if nobody says.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Serves the first client of `socket`, and refuses all others.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What accepting, the client and the sink report; the caller was killed or timed out.
    pub fn serve_one(&self, socket: OneShot, idle: Option<Duration>) -> Result<()> {
        let OneShot(mut socket) = socket;
        let mut pause = Pause::default();
        let (mut stream, peer) = loop {
            match socket.accept(Deadline::NEVER) {
                // It has gone before it was served: the next one, then.
                Err(error) if sort(&error) == Verdict::GoOn => {
                    // No pause is a turn for the others all the same.
                    crate::sleep(pause.tolerate().unwrap_or_default())?;
                }
                accepted => break accepted?,
            }
        };
        socket.close();
        stream.set_read_timeout(idle);
        self.attend(&mut stream, &peer, |stream: &mut StreamSocket, buf| {
            Ok(io::Read::read(stream, buf)?)
        })
        .map_err(|error| error.context(format!("serving {peer}")))
    }

    /// Takes the first datagram that comes to `server`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the server, the sink and the answer report; the caller was killed or timed out.
    pub fn take_one(&self, server: DatagramServer) -> Result<()> {
        let (listen, first) = (self.clone(), Arc::new(First::default()));
        let (taken, done) = (first.clone(), first.done.clone());
        // However it ends, nobody waits for it any more.
        let _ended = SetOnDrop(done.clone());
        let server = server.start(move |datagram: &mut Datagram| {
            if !taken.has_begun.swap(true, Ordering::SeqCst) {
                let _done = SetOnDrop(taken.done.clone());
                let outcome = DatagramHandler::handle(&listen, datagram);
                *lock(&taken.outcome) = Some(outcome);
            }
            Ok(())
        })?;
        let stopped = server.clone();
        let stopper = Builder::new().try_spawn(move || {
            if done.wait().is_ok() {
                stopped.begin_drain(Duration::ZERO);
            }
        });
        let report = stopper.map_err(Error::from).and_then(|_| server.wait());
        let report = report.inspect_err(|_| {
            // Its sockets are to be closed; the error says why.
            let _ = shield(|| server.stop_now());
        })?;
        let outcome = lock(&first.outcome).take();
        let why = || {
            report
                .fatal
                .unwrap_or_else(|| "taking a datagram panicked".into())
        };
        outcome.unwrap_or_else(|| Err(Error::message(why())))
    }

    fn attend<S: Stream>(
        &self,
        stream: &mut S,
        peer: &Addr,
        mut read: impl FnMut(&mut S, &mut [u8]) -> Result<usize>,
    ) -> Result<()> {
        let mut sink = (self.sinks)(peer, Kind::Stream);
        // On the heap: a greenlet's stack is small.
        let mut buf = vec![0; CHUNK_BYTES];
        let mut count = read(stream, &mut buf)?;
        if let Some(reply) = &self.reply {
            sink_if_any(&mut sink, &buf[..count])?;
            stream.write_all(reply)?;
            return self.take_rest(stream, sink, buf, count == 0);
        }
        while count > 0 {
            sink(&buf[..count])?;
            count = read(stream, &mut buf)?;
        }
        Ok(sink(&[])?)
    }

    /// Takes what a client that was answered still sends.
    fn take_rest(
        &self,
        stream: &mut impl Stream,
        mut sink: Sink,
        mut buf: Vec<u8>,
        mut has_ended: bool,
    ) -> Result<()> {
        // It fails if the client has gone, which the answer need not have reached.
        let _ = stream.shutdown(Shutdown::Write);
        let end = Deadline::after(self.wait.saturating_mul(WAITS_MAX));
        while !has_ended {
            let limit = Deadline::after(self.wait);
            match stream.read_deadline(&mut buf, limit).map_err(Error::from) {
                Ok(0) => has_ended = true,
                Ok(count) => {
                    sink(&buf[..count])?;
                    if end.is_passed() {
                        return Err(Error::message("it still sends, long after the answer"));
                    }
                }
                Err(error) if error.is_own_limit() || error.is_closed() => has_ended = true,
                Err(error) => return Err(error),
            }
        }
        Ok(sink(&[])?)
    }
}

/// What became of the first datagram.
#[derive(Default)]
struct First {
    has_begun: AtomicBool,
    outcome: Mutex<Option<Result<()>>>,
    done: Event,
}

/// Sets an event also when the one who was to set it panics.
struct SetOnDrop(Event);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

fn sink_if_any(sink: &mut Sink, bytes: &[u8]) -> io::Result<()> {
    match bytes {
        [] => Ok(()),
        bytes => sink(bytes),
    }
}

impl OneShot {
    /// Listens for streams at `endpoint`.
    ///
    /// # Errors
    /// As the listeners; it is an address of datagrams.
    pub fn bind(endpoint: &Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => Ok(Self(TcpListener::bind(address)?.into())),
            Endpoint::Unix(address) => Ok(Self(UnixListener::bind(address.clone())?.into())),
            Endpoint::Udp(_) | Endpoint::Unixgram(_) => Err(Error::message(format!(
                "no connections can be had on {endpoint}"
            ))),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Addr> {
        self.0.local_addr()
    }
}

impl Handler for Listen {
    fn handle(&self, conn: &mut Conn) -> Result<()> {
        let peer = conn.peer_addr().clone();
        self.attend(conn, &peer, |conn: &mut Conn, buf| conn.read_next(buf))
    }
}

impl DatagramHandler for Listen {
    fn handle(&self, datagram: &mut Datagram) -> Result<()> {
        let mut sink = (self.sinks)(datagram.peer(), Kind::Datagram);
        sink_if_any(&mut sink, datagram.data())?;
        sink(&[])?;
        let lost = datagram.size() - datagram.data().len();
        if lost > 0 {
            log::warn!("{}: {lost} bytes of a datagram are lost", datagram.peer());
        }
        match &self.reply {
            Some(reply) => datagram.reply(reply),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("reply", &self.reply)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.0.local_addr();
        f.debug_tuple("OneShot").field(&addr).finish()
    }
}

/// How long a client may send after the answer, as a multiple of how long it may be silent.
const WAITS_MAX: u32 = 60;

/// A pipe's size: more comes in one read from nowhere.
const CHUNK_BYTES: usize = 64 * 1024;
