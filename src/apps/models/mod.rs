//! The tutorials' ways to serve many clients, side by side: the same echo, seven times.
//!
//! Here: plain, short programs on std's sockets and on OS threads of their own, for study
//! and comparison. The eighth way, a greenlet per connection, is [`Echo`](super::echo::Echo)
//! behind a [`StreamServer`](crate::server::StreamServer), which is what real programs
//! want: these have no time limits, no drain, no log of who came.
//!
//! | model | threads | processes | waits in | limit of clients |
//! |---|---|---|---|---|
//! | [`blocking`](Model::Blocking) | 1 | 1 | `accept`, `recv`, `send` | one at a time |
//! | [`process`](Model::Process) | 1 | 1 per client | `poll`; children in `recv` | 256 |
//! | [`thread`](Model::Thread) | 1 per client | 1 | `accept`; threads in `recv` | 2048 |
//! | [`nonblocking`](Model::Nonblocking) | 1 | 1 | nothing: it asks everybody in turn | 10,000 |
//! | [`select`](Model::Select) | 1 | 1 | `select` | descriptors below 1024 |
//! | [`select-queue`](Model::SelectQueue) | 1 | 1 | `select` | descriptors below 1024 |
//! | [`epoll`](Model::Epoll) | 1 | 1 | `epoll_wait`, edges | 10,000 |
//!
//! At the limit a model stops accepting, and the kernel's queue holds the clients. Where
//! `accept` finds no descriptor (EMFILE), it rests 10 ms, doubling to a second. Both are
//! logged, once a second at most. A peer that ends its direction still gets what it is owed;
//! one that resets is counted as failed.

mod blocking;
mod client;
mod door;
mod epoll;
mod nonblocking;
mod process;
mod select;
mod select_queue;
mod stop;
mod tally;
mod thread;

pub use process::serve_standard_input;
pub use stop::Stop;
pub use tally::Served;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::TcpListener;

/// A way to serve many clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// One client after the other.
    Blocking,
    /// A process per client: `socketserver.ForkingTCPServer`.
    Process,
    /// An OS thread per client: `socketserver.ThreadingTCPServer`.
    Thread,
    /// One thread that asks every socket in turn.
    Nonblocking,
    /// One thread in `select`, a buffer per client.
    Select,
    /// One thread in `select`, a message queue per client and a write list.
    SelectQueue,
    /// One thread in `epoll`, edge-triggered.
    Epoll,
}

/// What a model is told beside its listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ends it.
    pub stop: Stop,
    /// Clients served at once; `None` is the model's own limit. [`Model::Blocking`] does not
    /// ask.
    pub max_connections: Option<usize>,
    /// [`Model::Process`] starts this command for each client, as inetd did: the connection
    /// is its standard input and output. (`cat` is an echo server then; our own command
    /// starts itself and calls [`serve_standard_input`].)
    pub child: Vec<OsString>,
}

impl Settings {
    /// The model's own limit, and no command.
    pub fn new(stop: &Stop) -> Self {
        Self {
            stop: stop.clone(),
            max_connections: None,
            child: Vec::new(),
        }
    }
}

impl Model {
    /// All of them, in the order of the tutorials.
    pub const ALL: [Self; 7] = [
        Self::Blocking,
        Self::Process,
        Self::Thread,
        Self::Nonblocking,
        Self::Select,
        Self::SelectQueue,
        Self::Epoll,
    ];

    /// How the command line calls it: `select-queue`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Nonblocking => "nonblocking",
            Self::Select => "select",
            Self::SelectQueue => "select-queue",
            Self::Epoll => "epoll",
        }
    }

    /// How many clients it serves at once if nobody says otherwise, in a process that may
    /// have so many descriptors.
    pub fn max_connections(self) -> usize {
        let own = match self {
            Self::Blocking => 1,
            Self::Process => process::CHILDREN_MAX,
            Self::Thread => thread::THREADS_MAX,
            // Their descriptors are the limit, and only accept tells their numbers.
            Self::Select | Self::SelectQueue => select::DESCRIPTORS_MAX,
            Self::Nonblocking | Self::Epoll => usize::MAX,
        };
        own.min(crate::server::max_connections_default())
    }

    /// Serves on `listener` until [`Stop::ask`], then closes what is open and tells what was.
    ///
    /// # Switching
    /// Blocks the calling OS thread for all that time; it is not for greenlets. It starts no
    /// part of the runtime.
    ///
    /// # Errors
    /// A call from a greenlet; a listener that cannot be accepted from; what the model needs
    /// cannot be had (its epoll, its first descriptors, the command to start). Everything is
    /// closed then, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::apps::models::{Model, Settings, Stop};
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// let stop = Stop::new()?;
    /// let settings = Settings::new(&stop);
    /// let server = std::thread::spawn(move || Model::Epoll.serve(listener, &settings));
    /// client.write_all("我爱Python".as_bytes())?;
    /// let mut answer = [0; "我爱Python".len()];
    /// client.read_exact(&mut answer)?;
    /// stop.ask();
    /// assert_eq!(server.join().unwrap()?.accepted, 1);
    /// assert_eq!(answer, "我爱Python".as_bytes());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serve(self, listener: TcpListener, settings: &Settings) -> io::Result<Served> {
        if crate::runtime::workers::is_worker() {
            return Err(io::Error::other(
                "the models block: call them from an OS thread",
            ));
        }
        let stop = &settings.stop;
        let max = settings
            .max_connections
            .unwrap_or_else(|| self.max_connections());
        let max = max.max(1);
        match self {
            Self::Blocking => blocking::serve(listener, stop),
            Self::Process => process::serve(listener, stop, max, &settings.child),
            Self::Thread => thread::serve(listener, stop, max),
            Self::Nonblocking => nonblocking::serve(listener, stop, max),
            Self::Select => select::serve(listener, stop, max),
            Self::SelectQueue => select_queue::serve(listener, stop, max),
            Self::Epoll => epoll::serve(listener, stop, max),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is read at once, as by the coroutine server.
const BUFFER_BYTES: usize = 16 * 1024;
