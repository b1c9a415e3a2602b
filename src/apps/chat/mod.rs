//! A chat room: members by name, each of whom sees what the others say.
//!
//! ```text
//!   peer ─► reader (the handler's greenlet) ─► room, one lock ─► outbox ─► writer ─► peer
//!                                                           └──► outbox ─► writer ─► peer
//! ```
//!
//! The protocol is lines of UTF-8, for `nc` as for `greenloop chat`: the first one is a
//! name, each further one is said, or is a command if it begins with `/`. What the server
//! itself says begins with `* `, what a member says with `[HH:MM:SS] NAME: `, the time in
//! UTC.
//!
//! - A line is handed to a member's outbox and never waited for: whoever does not read is
//!   out when its outbox is full, and nobody else notices but by a notice.
//! - Who speaks too fast is read more slowly: 50 lines or KiB at once, then 10 a second.
//! - A line of more than 8 KiB is dropped and its sender told; bytes that are not UTF-8
//!   become U+FFFD; what could move a cursor, hide text or turn it round is escaped.

mod command;
mod name;
mod outbox;
mod room;
mod visit;

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use crate::apps::chat::outbox::Outbox;
use crate::apps::chat::room::Room;
use crate::apps::chat::visit::Visit;
use crate::error::{Error, Result};
use crate::server::{Conn, Handler};
use crate::sync::scope;
use crate::util::lock;

/// A room; see the [module](self).
///
/// A connection takes two greenlets and two descriptors.
///
/// # Examples
///
/// ```
/// use greenloop::apps::chat::Chat;
/// use greenloop::net::TcpStream;
/// use greenloop::server::StreamServer;
/// use std::io::{BufRead, BufReader, Write};
/// use std::time::Duration;
///
/// let server = StreamServer::bind("127.0.0.1:0")?.start(Chat::new())?;
/// let join = |name: &str| -> greenloop::Result<_> {
///     let (reader, mut writer) = TcpStream::connect(server.addr())?.split()?;
///     writer.write_all(format!("{name}\n").as_bytes())?;
///     let mut lines = BufReader::new(reader).lines();
///     assert_eq!(lines.next().unwrap()?, "* welcome; what is your name?");
///     assert!(lines.next().unwrap()?.starts_with(&format!("* you are {name}")));
///     Ok((lines, writer))
/// };
/// let (mut ann, _writer) = join("ann")?;
/// let (_lines, mut bob) = join("bob")?;
/// bob.write_all("你是who?\n".as_bytes())?;
/// assert_eq!(ann.next().unwrap()?, "* bob has joined, 2 here");
/// assert!(ann.next().unwrap()?.ends_with("] bob: 你是who?"));
/// assert!(server.drain(Duration::from_secs(5))?.is_clean());
/// # Ok::<(), greenloop::Error>(())
/// ```
pub struct Chat {
    room: Mutex<Room<Outbox>>,
    logger: Option<Box<Logger>>,
    name_limit: Duration,
}

type Logger = dyn Fn(&str) + Send + Sync;

/// Says why `name` is none that a room takes, if so.
#[cfg(feature = "cli")]
pub(crate) fn check_name(name: &str) -> Result<()> {
    name::Name::new(name).map(drop).map_err(Error::message)
}

impl Default for Chat {
    fn default() -> Self {
        Self::new()
    }
}

impl Chat {
    /// A room for a thousand members that keeps nothing of what is said.
    pub fn new() -> Self {
        Self::with_limits(1000, 0)
    }

    /// A room for so many members, where newcomers see the last `history` lines that were
    /// said: at most 500, and 64 KiB of them.
    pub fn with_limits(members: usize, history: usize) -> Self {
        Self {
            room: Mutex::new(Room::new(members, history.min(500))),
            logger: None,
            name_limit: Duration::from_secs(60),
        }
    }

    /// Shows `logger` every line that the room hears.
    ///
    /// It is called by whoever says something, and must not wait.
    #[must_use]
    pub fn with_logger(mut self, logger: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.logger = Some(Box::new(logger));
        self
    }

    /// Gives newcomers so long to say their name; default 60 s.
    #[must_use]
    pub fn name_limit(mut self, limit: Duration) -> Self {
        self.name_limit = limit;
        self
    }

    /// Does something under the room's lock, and logs what everybody heard of it.
    fn with_room<R>(&self, act: impl FnOnce(&mut Room<Outbox>) -> R) -> R {
        let mut room = lock(&self.room);
        let answer = act(&mut room);
        for line in room.take_told() {
            if let Some(logger) = &self.logger {
                logger(line.trim_end());
            }
        }
        answer
    }
}

impl Handler for Chat {
    fn handle(&self, conn: &mut Conn) -> Result<()> {
        let writer = conn.writer()?;
        let outbox = Outbox::new();
        scope(|s| {
            let own = outbox.clone();
            let writing = s.try_spawn(move || own.write_to(writer))?;
            let read = Visit::new(self, conn, outbox.clone()).run();
            outbox.close();
            let written = writing.join().map_err(Error::message)?;
            read.and(written)
        })?
    }

    fn finish(&self, conn: &mut Conn) {
        // For a handler that panicked.
        self.with_room(|room| room.leave(conn.id()));
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("logs", &self.logger.is_some())
            .field("name_limit", &self.name_limit)
            .finish_non_exhaustive()
    }
}
