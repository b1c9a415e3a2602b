//! One connection to the room, from its side that reads.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::apps::chat::Chat;
use crate::apps::chat::command::{self, Command};
use crate::apps::chat::name::Name;
use crate::apps::chat::outbox::Outbox;
use crate::apps::chat::room::{Outbox as _, Refusal};
use crate::error::Result;
use crate::proto::line::{LineSplitter, TooLong};
use crate::proto::rate::TokenBucket;
use crate::runtime::deadline::Timeout;
use crate::server::Conn;
use crate::util::defuse;

/// See the module.
pub(super) struct Visit<'a> {
    chat: &'a Chat,
    conn: &'a mut Conn,
    outbox: Outbox,
    bucket: TokenBucket,
    /// Runs while it has no name.
    naming: Option<Timeout>,
}

/// What comes after a line.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl<'a> Visit<'a> {
    pub(super) fn new(chat: &'a Chat, conn: &'a mut Conn, outbox: Outbox) -> Self {
        Self {
            chat,
            conn,
            outbox,
            bucket: TokenBucket::new(LINES_AT_ONCE, LINE_INTERVAL),
            naming: Some(Timeout::start(chat.name_limit)),
        }
    }

    /// Reads to the end. The room has forgotten the visitor then.
    pub(super) fn run(mut self) -> Result<()> {
        self.tell("* welcome; what is your name?");
        let read = self.read();
        let (id, is_draining) = (self.conn.id(), self.conn.is_draining());
        let is_killed = read.as_ref().is_err_and(|error| error.is_cancelled());
        self.chat.with_room(|room| {
            // All leave now: to tell everybody of everybody would be in the way of the end.
            if is_draining || is_killed {
                room.leave_quietly(id);
            } else {
                room.leave(id);
            }
        });
        match &read {
            Err(error) if error.is_timeout() => self.tell("* nothing came from you for too long"),
            _ if is_draining => self.tell("* the server ends; goodbye"),
            _ => Then::End,
        };
        read
    }

    fn read(&mut self) -> Result<()> {
        let mut lines = LineSplitter::new(LINE_BYTES_MAX);
        // On the heap: a greenlet's stack is small.
        let mut buf = vec![0; READ_BYTES];
        loop {
            let count = self.conn.read_next(&mut buf)?;
            lines.feed(&buf[..count]);
            while let Some(line) = lines.next_line() {
                if self.take(line)? == Then::End {
                    return Ok(());
                }
            }
            if count == 0 {
                // What a peer has sent before its end counts, with or without a line end.
                return lines
                    .rest()
                    .map_or(Ok(()), |rest| self.take(rest).map(drop));
            }
        }
    }

    /// Takes a line, not before it is its turn.
    fn take(&mut self, line: Result<&[u8], TooLong>) -> Result<Then> {
        while let Err(wait) = self.bucket.take(Instant::now()) {
            if self.conn.is_draining() {
                return Ok(Then::End);
            }
            // A long line is paid for in seconds, and a drain ends no sleep.
            crate::sleep(wait.min(LINE_INTERVAL))?;
        }
        if self.outbox.is_given_up() {
            return Ok(Then::End);
        }
        Ok(match line {
            Ok(line) => self.obey(Command::parse(&String::from_utf8_lossy(line)))?,
            Err(TooLong) => self.tell(format!(
                "* that line is lost: one has at most {LINE_BYTES_MAX} bytes"
            )),
        })
    }

    fn obey(&mut self, command: Command<'_>) -> Result<Then> {
        Ok(match command {
            Command::Nothing => Then::GoOn,
            Command::Help => self.tell(command::HELP),
            Command::Unknown(word) => {
                let word: String = word.chars().take(32).collect();
                let word = defuse(&word);
                self.tell(format!("* there is no /{word}; /help tells what there is"))
            }
            Command::Quit => {
                self.tell("* goodbye");
                Then::End
            }
            Command::Nick(name) => self.take_name(name),
            Command::Say(name) if self.naming.is_some() => self.take_name(name),
            Command::Who if self.naming.is_some() => self.tell("* what is your name?"),
            Command::Who => {
                let who = self.chat.with_room(|room| room.who());
                self.tell(who)
            }
            Command::Say(text) => self.say(text)?,
        })
    }

    fn say(&mut self, text: &str) -> Result<Then> {
        let (id, clock) = (self.conn.id(), command::clock(seconds_now()));
        let size = self.chat.with_room(|room| room.say(id, &clock, text));
        let kibibytes = u32::try_from(size / 1024).unwrap_or(u32::MAX);
        self.bucket.charge(Instant::now(), kibibytes);
        // The writers come before our next line, or it would be them who are too slow.
        crate::yield_now()?;
        Ok(Then::GoOn)
    }

    /// Comes in, or is called otherwise from now on.
    fn take_name(&mut self, text: &str) -> Then {
        let name = match Name::new(text) {
            Ok(name) => name,
            Err(bad) => return self.tell(format!("* {bad}")),
        };
        let (id, outbox) = (self.conn.id(), &self.outbox);
        let is_new = self.naming.is_some();
        let taken = self.chat.with_room(|room| {
            if is_new {
                room.join(id, name, outbox.clone())
            } else {
                room.rename(id, name)
            }
        });
        match taken {
            Ok(()) => {
                self.naming = None;
                Then::GoOn
            }
            Err(refusal @ Refusal::Taken(_)) if is_new => {
                self.tell(format!("* {refusal}; what is your name?"))
            }
            Err(refusal @ Refusal::Taken(_)) => self.tell(format!("* {refusal}")),
            Err(refusal @ Refusal::Full(_)) => {
                self.tell(format!("* {refusal}"));
                Then::End
            }
        }
    }

    /// Tells the visitor alone. Who does not read even that is out.
    fn tell(&self, text: impl Into<String>) -> Then {
        let mut text: String = text.into();
        text.push('\n');
        if self.outbox.offer(&Arc::from(text)) {
            return Then::GoOn;
        }
        self.chat.with_room(|room| room.give_up(self.conn.id()));
        self.outbox.give_up();
        Then::End
    }
}

/// Seconds since the beginning of 1970; of a clock before that, none.
fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a person may well paste, and no program takes for endless.
const LINE_BYTES_MAX: usize = 8 * 1024;
const READ_BYTES: usize = 4 * 1024;

/// A pasted page passes at once, and takes a twentieth of an outbox. Short lines count by
/// themselves, long ones by KiB of what the others get, which escapes can make longer.
const LINES_AT_ONCE: u32 = 50;
/// Faster than anybody types; what it costs is this times the number of members.
const LINE_INTERVAL: Duration = Duration::from_millis(100);
