//! Standard input that waits the greenlet's way.
//!
//! Descriptor 0 is shared with other processes: the shell, the rest of a pipeline. To set
//! `O_NONBLOCK` on it would change it for them all, so it stays as it is:
//!
//! | standard input is | it is read through |
//! |---|---|
//! | a pipe, a terminal | a second opening of `/proc/self/fd/0`, non-blocking, on the worker's epoll |
//! | a file, a disk, `/dev/null`, a socket | a thread of its own, one read at a time |
//! | a pipe or a terminal that may not be opened again | the same thread |
//! | closed | nothing: it is at its end |
//!
//! The thread reads only what somebody asked for. If that one leaves, the read goes on, and
//! its bytes are the next reader's.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::{Error, Result};
use crate::fs::begin;
use crate::fs::flight::Flights;
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::lane::Lane;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// The process's standard input; see [`stdin()`].
#[derive(Clone, Copy)]
pub struct Stdin(&'static Shared);

/// Standard input for one greenlet alone, until it is dropped; see [`Stdin::lock`].
pub struct StdinLock {
    shared: &'static Shared,
    /// `None` only while it is dropped.
    input: Option<Box<Input>>,
    timeout: Option<Duration>,
}

struct Shared(Mutex<Slot>);

enum State {
    Unopened,
    Free(Box<Input>),
    Taken,
}

struct Slot {
    state: State,
    waiters: WaitList,
}

struct Input {
    /// What was read, of which `given` bytes are given out.
    bytes: Vec<u8>,
    given: usize,
    from: Origin,
}

enum Origin {
    /// It was closed when it was first asked for.
    Nothing,
    Events(Source<OwnedFd>),
    Thread(Arc<OwnedFd>, Flights<io::Result<Vec<u8>>>),
}

static SHARED: Shared = Shared(Mutex::new(Slot {
    state: State::Unopened,
    waiters: WaitList::new(),
}));

/// One thread: there is one standard input.
static LANE: LazyLock<Lane> = LazyLock::new(|| Lane::built_in("greenloop-stdin", 1));

/// What one read asks for: a pipe's capacity.
const CHUNK: usize = 64 << 10;

/// The process's standard input, as a reader that waits the greenlet's way.
///
/// Terminal, pipe and file all work, also `/dev/null` and a closed one, and kills and
/// limits end every wait. What was read for somebody who left is the next reader's: no
/// byte is lost. The mode of the descriptor, which other processes share, is not
/// changed. It has a buffer of its own: a program uses this one or std's, not both.
///
/// # Examples
///
/// ```no_run
/// use std::io::BufRead;
///
/// for line in greenloop::stdin().lock()?.lines() {
///     let line = line?;
///     greenloop::spawn(move || format!("a greenlet for {line}"));
/// }
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.fileobject.FileObject(sys.stdin)`, which makes the shared descriptor
/// non-blocking.
pub fn stdin() -> Stdin {
    Stdin(&SHARED)
}

impl Stdin {
    /// Takes standard input for the caller alone, waiting while another greenlet has it.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out; the process has no descriptor left for it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::io::BufRead;
    /// use std::time::Duration;
    ///
    /// let mut input = greenloop::stdin().lock()?;
    /// input.set_read_timeout(Some(Duration::from_secs(5)));
    /// let mut answer = String::new();
    /// input.read_line(&mut answer)?;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn lock(&self) -> Result<StdinLock> {
        begin()?;
        let found = wait_for(
            &self.0.0,
            |slot| &mut slot.waiters,
            Wait::Read,
            Deadline::NEVER,
            |slot| match std::mem::replace(&mut slot.state, State::Taken) {
                State::Taken => None,
                State::Unopened => Some(None),
                State::Free(input) => Some(Some(input)),
            },
        )?;
        let input = match found {
            Some(input) => input,
            None => match Origin::open() {
                Ok(from) => Box::new(Input::new(from)),
                Err(error) => {
                    self.0.give_back(State::Unopened);
                    return Err(Error::from(error).context("opening standard input"));
                }
            },
        };
        Ok(StdinLock {
            shared: self.0,
            input: Some(input),
            timeout: None,
        })
    }

    /// Reads a line with its end, for the caller alone; 0 at the end of the input.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Stdin::lock`]; what the system reports; `InvalidData` if the line is not UTF-8.
    /// A caller that was killed or timed out has taken nothing of the line.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let mut name = String::new();
    /// if greenloop::stdin().read_line(&mut name)? == 0 {
    ///     name.push_str("nobody"); // the end of the input
    /// }
    /// assert!(!name.is_empty());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read_line(&self, line: &mut String) -> io::Result<usize> {
        self.lock()?.read_line(line)
    }
}

impl Read for Stdin {
    /// Takes the input, reads, and gives it back.
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock()?.read(buf)
    }

    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.lock()?.read_to_end(buf)
    }

    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.lock()?.read_to_string(buf)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdin")
    }
}

impl Shared {
    fn give_back(&self, state: State) {
        let mut slot = lock(&self.0);
        slot.state = state;
        slot.waiters.wake_one();
    }
}

impl StdinLock {
    /// Limits the wait of each later read for more bytes; `None`, the default, is no
    /// limit.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::io::{BufRead, ErrorKind};
    /// use std::time::Duration;
    ///
    /// let mut input = greenloop::stdin().lock()?;
    /// input.set_read_timeout(Some(Duration::from_secs(5)));
    /// let mut answer = String::new();
    /// match input.read_line(&mut answer) {
    ///     Err(error) if error.kind() == ErrorKind::TimedOut => answer.push('y'),
    ///     read => assert_eq!(read?, answer.len()),
    /// }
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.timeout = limit;
    }

    /// Reads what is there into `buf`, waiting until `limit` for the first byte; 0 at the
    /// end.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// `TimedOut` when `limit` passed; a kill; what the system reports. No byte is lost.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use greenloop::Deadline;
    /// use std::time::Duration;
    ///
    /// let mut buf = [0; 4096];
    /// let soon = Deadline::after(Duration::from_secs(5));
    /// let bytes = greenloop::stdin().lock()?.read_deadline(&mut buf, soon)?;
    /// assert!(bytes <= buf.len());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        begin()?;
        if buf.is_empty() {
            return Ok(0);
        }
        let input = self.input();
        if input.left().is_empty() {
            input.fill(limit)?;
        }
        let n = input.left().len().min(buf.len());
        buf[..n].copy_from_slice(&input.left()[..n]);
        input.give(n);
        Ok(n)
    }

    /// Makes everything up to and with `delimiter`, or up to the end of the input if there
    /// is none, be in the buffer, and says how much that is. Takes nothing.
    #[track_caller]
    fn seek_delimiter(&mut self, delimiter: Option<u8>) -> io::Result<usize> {
        begin()?;
        let timeout = self.timeout;
        let input = self.input();
        let mut searched = 0;
        loop {
            let left = &input.left()[searched..];
            let found = delimiter.and_then(|d| left.iter().position(|byte| *byte == d));
            if let Some(at) = found {
                return Ok(searched + at + 1);
            }
            searched = input.left().len();
            if input.fill(timeout.into())? == 0 {
                return Ok(searched);
            }
        }
    }

    #[track_caller]
    fn take_bytes(&mut self, delimiter: Option<u8>, buf: &mut Vec<u8>) -> io::Result<usize> {
        let n = self.seek_delimiter(delimiter)?;
        let input = self.input();
        buf.extend_from_slice(&input.left()[..n]);
        input.give(n);
        Ok(n)
    }

    #[track_caller]
    fn take_text(&mut self, delimiter: Option<u8>, buf: &mut String) -> io::Result<usize> {
        let n = self.seek_delimiter(delimiter)?;
        let input = self.input();
        let text = str::from_utf8(&input.left()[..n]).map(|text| buf.push_str(text));
        // Taken also if it is no text: the next call gives what follows.
        input.give(n);
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        text.map(|()| n).map_err(invalid)
    }

    fn input(&mut self) -> &mut Input {
        self.input.as_mut().expect("present until the drop")
    }
}

impl Read for StdinLock {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.timeout.into())
    }

    /// Takes nothing before the end of the input is there.
    #[track_caller]
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.take_bytes(None, buf)
    }

    /// Takes nothing before the end of the input is there.
    #[track_caller]
    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        self.take_text(None, buf)
    }
}

impl BufRead for StdinLock {
    #[track_caller]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        begin()?;
        let limit = self.timeout.into();
        let input = self.input();
        if input.left().is_empty() {
            input.fill(limit)?;
        }
        Ok(input.left())
    }

    fn consume(&mut self, amount: usize) {
        let input = self.input();
        input.give(amount.min(input.left().len()));
    }

    /// Takes nothing before the whole piece is there.
    #[track_caller]
    fn read_until(&mut self, delimiter: u8, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.take_bytes(Some(delimiter), buf)
    }

    /// Takes nothing before the whole line is there.
    #[track_caller]
    fn read_line(&mut self, buf: &mut String) -> io::Result<usize> {
        self.take_text(Some(b'\n'), buf)
    }
}

impl Drop for StdinLock {
    fn drop(&mut self) {
        if let Some(input) = self.input.take() {
            self.shared.give_back(State::Free(input));
        }
    }
}

impl fmt::Debug for StdinLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdinLock").finish_non_exhaustive()
    }
}

impl Input {
    fn new(from: Origin) -> Self {
        Self {
            bytes: Vec::new(),
            given: 0,
            from,
        }
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.given..]
    }

    fn give(&mut self, n: usize) {
        self.given += n;
        if self.given == self.bytes.len() {
            self.bytes.clear();
            self.given = 0;
        }
    }

    /// Reads more, behind what is there; 0 at the end.
    #[track_caller]
    fn fill(&mut self, limit: Deadline) -> io::Result<usize> {
        // Room by moving, once most of the buffer is given out: each byte moves rarely.
        if self.given > self.bytes.len() / 2 {
            self.bytes.drain(..self.given);
            self.given = 0;
        }
        match &mut self.from {
            Origin::Nothing => Ok(0),
            Origin::Events(source) => {
                let bytes = &mut self.bytes;
                bytes.reserve(CHUNK);
                source.read_with(Wait::Read, limit, |fd| {
                    Ok(rustix::io::read(fd, spare_capacity(bytes))?)
                })
            }
            Origin::Thread(fd, flights) => {
                let read = match flights.landed(Wait::Read, limit)? {
                    Some(read) => read,
                    None => {
                        let fd = fd.clone();
                        flights.run(&LANE, Wait::Read, limit, move || read_blocking(&fd))?
                    }
                };
                let mut read = read?;
                let n = read.len();
                self.bytes.append(&mut read);
                Ok(n)
            }
        }
    }
}

impl Origin {
    fn open() -> io::Result<Self> {
        let own = match rustix::io::fcntl_dupfd_cloexec(io::stdin(), 0) {
            Ok(own) => own,
            Err(rustix::io::Errno::BADF) => return Ok(Self::Nothing),
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&own)?.st_mode);
        if matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            let again = rustix::fs::open("/proc/self/fd/0", flags, Mode::empty());
            // Another user's terminal, no /proc, or a device that gives no events: a thread
            // does it. A runtime that cannot start is an error, which a thread would hide.
            if let Ok(again) = again {
                match Source::new(again) {
                    Ok(source) => return Ok(Self::Events(source)),
                    Err(error) if error.raw_os_error().is_some() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self::Thread(Arc::new(own), Flights::new()))
    }
}

/// One read, on the thread. Somebody else may have made the descriptor non-blocking.
fn read_blocking(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        match rustix::io::read(fd, spare_capacity(&mut bytes)) {
            Ok(_) => return Ok(bytes),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                match poll(&mut [PollFd::new(fd, PollFlags::IN)], None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
