//! Hello: a welcome, and a greeting for each name.
//!
//! What one message is, a stream does not say. The tutorials' clients send a name without
//! a line end and wait for the answer, so what arrives at once is a name; people with a
//! terminal send lines, and so may programs that send several at once. Both are served:
//! from the first line end on, a client is read by lines.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::net::{Addr, Stream};
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep;
use crate::server::{Conn, ConnInfo, Datagram, DatagramHandler, Handler};

/// Welcomes a client, and answers each name it sends, until it sends `exit`, ends its
/// direction, or the server drains.
///
/// Texts go out as they are, without line ends of their own. A name that is no UTF-8 comes
/// back with U+FFFD in place of what is none. A client that sends 8 KiB without a line end
/// is cut off.
///
/// # Examples
///
/// ```
/// use greenloop::apps::hello::Hello;
/// use greenloop::net::TcpStream;
/// use greenloop::server::StreamServer;
/// use std::io::{Read, Write};
/// use std::time::Duration;
///
/// let hello = Hello::new().welcome("Hello, I am server. ").reply("{} 是的呢. ").bye("bye");
/// let server = StreamServer::bind("127.0.0.1:0")?.start(hello)?;
/// let mut client = TcpStream::connect(server.addr())?;
/// client.write_all("你是who?\nexit\n".as_bytes())?;
/// let mut text = String::new();
/// client.read_to_string(&mut text)?;
/// assert_eq!(text, "Hello, I am server. 你是who? 是的呢. bye");
/// assert!(server.drain(Duration::from_secs(1))?.is_clean());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Hello {
    welcome: String,
    reply: String,
    bye: String,
    delay: Duration,
    watcher: Arc<Watcher>,
    name_watcher: Arc<NameWatcher>,
}

/// What a [`Hello`] tells of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It is there.
    Opened,
    /// It has sent this name.
    Name(&'a [u8]),
    /// It is gone, however that came.
    Closed,
}

type Watcher = dyn Fn(&ConnInfo, Event<'_>) + Send + Sync;
type NameWatcher = dyn Fn(&Addr, &[u8]) + Send + Sync;

impl Hello {
    /// The tutorials' texts: `hello!` at first, `Hello, NAME!` to each name at once, and
    /// nothing at the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says this first.
    #[must_use]
    pub fn welcome(mut self, text: impl Into<String>) -> Self {
        self.welcome = text.into();
        self
    }

    /// Answers so, with the name where `{}` stands.
    #[must_use]
    pub fn reply(mut self, template: impl Into<String>) -> Self {
        self.reply = template.into();
        self
    }

    /// Says this before it closes.
    #[must_use]
    pub fn bye(mut self, text: impl Into<String>) -> Self {
        self.bye = text.into();
        self
    }

    /// Waits so long before each answer. Clients wait for their own answers alone.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Tells `watcher` who comes, says what and goes.
    ///
    /// It runs in the connection's greenlet. On [`Event::Closed`] it must not wait.
    #[must_use]
    pub fn watcher(
        mut self,
        watcher: impl Fn(&ConnInfo, Event<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.watcher = Arc::new(watcher);
        self
    }

    /// Tells `watcher` who has sent which name in a datagram.
    #[must_use]
    pub fn name_watcher(mut self, watcher: impl Fn(&Addr, &[u8]) + Send + Sync + 'static) -> Self {
        self.name_watcher = Arc::new(watcher);
        self
    }

    /// What is answered to `name`.
    pub fn answer(&self, name: &[u8]) -> String {
        self.reply.replace("{}", &String::from_utf8_lossy(name))
    }

    /// Answers one name; false if it was the last.
    fn serve(&self, conn: &mut Conn, name: &[u8]) -> Result<bool> {
        (self.watcher)(conn.info(), Event::Name(name));
        if name == b"exit" {
            return Ok(false);
        }
        if !self.delay.is_zero() {
            sleep(self.delay)?;
        }
        conn.write_all(self.answer(name).as_bytes())?;
        Ok(true)
    }

    /// Answers all names up to the last.
    fn converse(&self, conn: &mut Conn) -> Result<()> {
        // On the heap: a greenlet's stack is small.
        let mut buf = vec![0; NAME_BYTES_MAX];
        let mut names = Names::default();
        loop {
            let more = read(conn, &mut buf, names.has_begun())?;
            match more {
                More::Bytes(count) => names.add(&buf[..count])?,
                More::Pause | More::End => names.end_line(),
            }
            while let Some(name) = names.next() {
                if !self.serve(conn, &name)? {
                    return Ok(());
                }
            }
            if matches!(more, More::End) {
                return Ok(());
            }
        }
    }
}

impl Handler for Hello {
    fn setup(&self, conn: &mut Conn) -> Result<()> {
        (self.watcher)(conn.info(), Event::Opened);
        Ok(())
    }

    fn handle(&self, conn: &mut Conn) -> Result<()> {
        conn.write_all(self.welcome.as_bytes())?;
        self.converse(conn)?;
        Ok(conn.write_all(self.bye.as_bytes())?)
    }

    fn finish(&self, conn: &mut Conn) {
        (self.watcher)(conn.info(), Event::Closed);
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            welcome: "hello!".into(),
            reply: "Hello, {}!".into(),
            bye: String::new(),
            delay: Duration::ZERO,
            watcher: Arc::new(|_, _| {}),
            name_watcher: Arc::new(|_, _| {}),
        }
    }
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("welcome", &self.welcome)
            .field("reply", &self.reply)
            .field("bye", &self.bye)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

/// Of datagrams, each is a name, with or without a line end, and gets the answer alone:
/// there is no welcome and no end.
///
/// The delay of one is everybody's where the server has one handler only.
impl DatagramHandler for Hello {
    fn handle(&self, datagram: &mut Datagram) -> Result<()> {
        let name = datagram.data();
        let name = name.strip_suffix(b"\n").unwrap_or(name);
        let name = name.strip_suffix(b"\r").unwrap_or(name);
        (self.name_watcher)(datagram.peer(), name);
        if !self.delay.is_zero() {
            sleep(self.delay)?;
        }
        datagram.reply(self.answer(name).as_bytes())
    }
}

/// What a read has brought.
enum More {
    Bytes(usize),
    /// Nothing, while a line was unfinished.
    Pause,
    /// The client has ended its direction, or the server drains.
    End,
}

fn read(conn: &mut Conn, buf: &mut [u8], is_inside_line: bool) -> Result<More> {
    if !is_inside_line {
        return Ok(match conn.read_next(buf)? {
            0 => More::End,
            count => More::Bytes(count),
        });
    }
    match conn.read_deadline(buf, Deadline::after(LINE_PATIENCE)) {
        Ok(0) => Ok(More::End),
        Ok(count) => Ok(More::Bytes(count)),
        Err(error) => match Error::from(error) {
            error if error.is_own_limit() => Ok(More::Pause),
            error => Err(error),
        },
    }
}

/// What a client sends, cut into names.
#[derive(Default)]
struct Names {
    pending: Vec<u8>,
    by_lines: bool,
}

impl Names {
    /// Takes what has arrived.
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        let last_line = self.pending.rsplit(|byte| *byte == b'\n').next();
        if last_line.is_some_and(|line| line.len() >= NAME_BYTES_MAX) {
            return Err(Error::message(format!(
                "a name has more than {} bytes",
                NAME_BYTES_MAX - 1
            )));
        }
        Ok(())
    }

    /// Tells whether a line has begun that has no end yet.
    fn has_begun(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes the line that has begun for a whole one.
    fn end_line(&mut self) {
        if self.has_begun() {
            self.pending.push(b'\n');
        }
    }

    /// The next name that is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') else {
            let is_whole = !self.by_lines && self.has_begun();
            return is_whole.then(|| std::mem::take(&mut self.pending));
        };
        self.by_lines = true;
        let line: Vec<u8> = self.pending.drain(..=end).collect();
        let name = &line[..end];
        Some(name.strip_suffix(b"\r").unwrap_or(name).to_vec())
    }
}

/// The line a server should take (cowboy's request line has as much); it bounds what a
/// client can make us keep.
const NAME_BYTES_MAX: usize = 8 * 1024;

/// A client that sends its last name without the line end that the others had does not
/// wait for ever. Longer than a lost segment takes to come again.
const LINE_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that come of these reads, and of the pause after them.
    fn names(reads: &[&str]) -> Vec<String> {
        let mut names = Names::default();
        let mut found = Vec::new();
        for read in reads {
            names.add(read.as_bytes()).unwrap();
            found.extend(std::iter::from_fn(|| names.next()));
        }
        names.end_line();
        found.extend(std::iter::from_fn(|| names.next()));
        let text = |name| String::from_utf8(name).unwrap();
        found.into_iter().map(text).collect()
    }

    #[test]
    fn one_read_is_a_name_until_there_are_lines() {
        for (reads, expected) in [
            (&["Michael", "Tracy"][..], &["Michael", "Tracy"][..]),
            (&["MichaelTracy"], &["MichaelTracy"]),
            (&["Michael\nTracy\r\n"], &["Michael", "Tracy"]),
            (
                &["Michael\nTra", "cy\nSa", "rah"],
                &["Michael", "Tracy", "Sarah"],
            ),
            (&["Michael\n", "exit"], &["Michael", "exit"]),
            (&["Michael", "Tra\ncy", "\n"], &["Michael", "Tra", "cy"]),
            (&["\n\r\n"], &["", ""]),
            (&["exiting"], &["exiting"]),
            (&[], &[]),
        ] {
            assert_eq!(names(reads), expected, "{reads:?}");
        }
    }

    #[test]
    fn name_is_bounded() {
        let most = vec![b'x'; NAME_BYTES_MAX - 1];
        let mut names = Names::default();
        names.add(b"first\n").unwrap();
        names.add(&most).unwrap();
        assert_eq!(names.next().unwrap(), b"first");
        let error = names.add(b"x").unwrap_err();
        assert_eq!(error.to_string(), "a name has more than 8191 bytes");
    }

    #[test]
    fn answer_holds_the_name_wherever_it_is_asked_for() {
        let hello = Hello::new();
        assert_eq!(hello.answer("我爱Python".as_bytes()), "Hello, 我爱Python!");
        assert_eq!(hello.answer(b"a\xffb"), "Hello, a\u{fffd}b!");
        assert_eq!(hello.answer(b"{}"), "Hello, {}!");
        assert_eq!(hello.clone().reply("{} and {}").answer(b"x"), "x and x");
        assert_eq!(hello.reply("Hello WorldAAA").answer(b"x"), "Hello WorldAAA");
    }
}
