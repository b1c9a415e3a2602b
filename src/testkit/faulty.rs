//! A stream that fails where a test wants it to.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::net::Stream;
use crate::runtime::deadline::{Deadline, elapsed};
use crate::runtime::sleep::{sleep, yield_now};

/// One thing that goes wrong in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// At most so many bytes pass in this call (at least one).
    Short(usize),
    /// Others get a turn before the call, as if it had not been ready.
    Turn,
    /// The call begins so much later, or fails at its limit.
    Delay(Duration),
    /// The call fails and does nothing. The next one is as usual.
    Error(io::ErrorKind),
    /// The peer is silent from now on: reads give the end. Writing goes on.
    End,
    /// At most so many bytes pass, then the connection is gone: both directions of the
    /// stream below are shut down, and this call, unless bytes passed, and every later one
    /// fails with `ConnectionReset`.
    Cut(usize),
}

/// Which calls of a [`Faulty`] stream get which [`Fault`].
///
/// Reads and writes are counted apart, from 0. Calls at random are the same ones again for
/// the same seed and the same calls.
///
/// ```
/// use greenloop::testkit::{Fault, Faults, Faulty, stream_pair};
/// use std::io::{ErrorKind, Read, Write};
///
/// let (client, mut server) = stream_pair(64);
/// server.write_all(b"answer")?;
/// let faults = Faults::none()
///     .on_read(0, Fault::Error(ErrorKind::WouldBlock))
///     .on_read(1, Fault::Short(3));
/// let mut client = Faulty::new(client, faults);
/// let mut buf = [0; 16];
/// assert_eq!(client.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
/// assert_eq!(client.read(&mut buf)?, 3);
/// assert_eq!(client.read(&mut buf)?, 3); // as usual
/// assert_eq!(client.injected()[1].fault, Fault::Short(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Faults {
    reads: BTreeMap<u64, Fault>,
    writes: BTreeMap<u64, Fault>,
    seed: Option<u64>,
    /// One call in so many is cut, if not zero.
    cut_one_in: u64,
}

impl Faults {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Harmless ones at random: nearly every call is short, late or lets others run first.
    /// No byte is lost, so whatever a protocol does over a good stream it has to do over
    /// this one.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..Self::default()
        }
    }

    /// Also cuts the connection, in one call of `count` on average.
    ///
    /// Without a seed it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testkit::{Faults, Faulty, stream_pair};
    /// use std::io::Write;
    ///
    /// let (client, _server) = stream_pair(4096);
    /// let mut client = Faulty::new(client, Faults::seeded(1).cut_one_in(1));
    /// assert!((0..10).any(|_| client.write_all(b"hello").is_err()));
    /// ```
    pub fn cut_one_in(mut self, count: u64) -> Self {
        self.cut_one_in = count;
        self
    }

    /// Gives the read of this number `fault`, whatever chance would.
    pub fn on_read(mut self, number: u64, fault: Fault) -> Self {
        self.reads.insert(number, fault);
        self
    }

    /// Gives the write of this number `fault`, whatever chance would.
    pub fn on_write(mut self, number: u64, fault: Fault) -> Self {
        self.writes.insert(number, fault);
        self
    }
}

/// A fault that a [`Faulty`] stream has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// Whether a read or a write had it.
    pub is_read: bool,
    /// The number of the read or the write, from 0.
    pub number: u64,
    /// What it was.
    pub fault: Fault,
}

/// A stream over `S` some of whose calls go wrong, by a plan.
///
/// Every call of `read` or `write` is one call, and so is every step of `write_all`. An
/// empty buffer is none.
///
/// # Examples
///
/// A peer that dies in the middle of its second message:
///
/// ```
/// use greenloop::testkit::{Fault, Faults, Faulty, stream_pair};
/// use std::io::{ErrorKind, Read, Write};
///
/// let (client, mut server) = stream_pair(64);
/// let mut client = Faulty::new(client, Faults::none().on_write(1, Fault::Cut(3)));
/// client.write_all(b"first ")?;
/// let error = client.write_all(b"second").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
///
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// assert_eq!(text, "first sec");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Short and late calls by a seed, which a failing test prints:
///
/// ```
/// use greenloop::testkit::{Faults, Faulty, stream_pair};
/// use std::io::{Read, Write};
///
/// let run = |seed| {
///     let (client, mut server) = stream_pair(16);
///     let mut client = Faulty::new(client, Faults::seeded(seed));
///     let reading = greenloop::spawn(move || {
///         let mut text = String::new();
///         server.read_to_string(&mut text).map(|_| text)
///     });
///     client.write_all(b"all of it, whatever happens")?;
///     let injected = client.injected().to_vec();
///     drop(client);
///     assert_eq!(reading.join().unwrap()?, "all of it, whatever happens");
///     Ok::<_, std::io::Error>(injected)
/// };
/// assert!(!run(7)?.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// gevent: none.
#[derive(Debug)]
pub struct Faulty<S> {
    stream: S,
    faults: Faults,
    chance: Chance,
    reads: u64,
    writes: u64,
    injected: Vec<Injected>,
    /// Reads give the end from now on.
    is_silent: bool,
    /// All calls fail from now on.
    is_cut: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl<S> Faulty<S> {
    /// Gives the calls of `stream` their `faults`. Timeouts are set on the whole.
    pub fn new(stream: S, faults: Faults) -> Self {
        Self {
            stream,
            chance: Chance(faults.seed.unwrap_or_default()),
            faults,
            reads: 0,
            writes: 0,
            injected: Vec::new(),
            is_silent: false,
            is_cut: false,
            read_timeout: None,
            write_timeout: None,
        }
    }

    /// The faults so far, in order, for the message of a failing test.
    pub fn injected(&self) -> &[Injected] {
        &self.injected
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream below, without faults from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::testkit::{Fault, Faults, Faulty, stream_pair};
    /// use std::io::{ErrorKind, Write};
    ///
    /// let (client, _server) = stream_pair(64);
    /// let faults = Faults::none().on_write(0, Fault::Error(ErrorKind::BrokenPipe));
    /// let mut client = Faulty::new(client, faults);
    /// assert!(client.write_all(b"lost").is_err());
    /// let mut client = client.into_inner();
    /// client.write_all(b"sent")?;
    /// assert_eq!(client.unread(), 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Counts a call and says what goes wrong in it.
    fn next_fault(&mut self, is_read: bool) -> Option<Fault> {
        let (planned, count) = if is_read {
            (&self.faults.reads, &mut self.reads)
        } else {
            (&self.faults.writes, &mut self.writes)
        };
        let number = *count;
        *count += 1;
        // Chance is asked every time: a fault put into a plan does not move the others.
        let by_chance = self
            .faults
            .seed
            .and_then(|_| self.chance.fault(self.faults.cut_one_in));
        let fault = planned.get(&number).copied().or(by_chance)?;
        self.injected.push(Injected {
            is_read,
            number,
            fault,
        });
        Some(fault)
    }
}

impl<S: Stream> Faulty<S> {
    /// Runs one call: what goes wrong before it, then `step` with the bytes that may pass.
    #[track_caller]
    fn call(
        &mut self,
        is_read: bool,
        len: usize,
        limit: Deadline,
        step: impl FnOnce(&mut S, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.is_cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let fault = if len > 0 {
            self.next_fault(is_read)
        } else {
            None
        };
        match fault {
            Some(Fault::Turn) => yield_now()?,
            Some(Fault::Delay(delay)) => wait(delay, limit)?,
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::End) => self.is_silent = true,
            Some(Fault::Cut(count)) => return self.cut(count.min(len), step),
            Some(Fault::Short(count)) => return step(&mut self.stream, len.min(count.max(1))),
            None => {}
        }
        if is_read && self.is_silent {
            return Ok(0);
        }
        step(&mut self.stream, len)
    }

    fn cut(
        &mut self,
        count: usize,
        step: impl FnOnce(&mut S, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.is_cut = true;
        let passed = if count > 0 {
            step(&mut self.stream, count)
        } else {
            Ok(0)
        };
        // It fails if the peer has gone as well.
        let _ = self.stream.shutdown(Shutdown::Both);
        match passed {
            Ok(0) => Err(io::ErrorKind::ConnectionReset.into()),
            passed => passed,
        }
    }
}

/// Waits for `delay`, or until `limit`, which is an error.
#[track_caller]
fn wait(delay: Duration, limit: Deadline) -> io::Result<()> {
    let end = Deadline::after(delay);
    let left = end.earlier(limit).remaining().unwrap_or(Duration::MAX);
    sleep(left)?;
    if limit < end {
        return Err(elapsed(None, None).into());
    }
    Ok(())
}

impl<S: Stream> Stream for Faulty<S> {
    #[track_caller]
    fn read_deadline(&mut self, buf: &mut [u8], limit: Deadline) -> io::Result<usize> {
        self.call(true, buf.len(), limit, |stream, len| {
            stream.read_deadline(&mut buf[..len], limit)
        })
    }

    #[track_caller]
    fn write_deadline(&mut self, buf: &[u8], limit: Deadline) -> io::Result<usize> {
        self.call(false, buf.len(), limit, |stream, len| {
            stream.write_deadline(&buf[..len], limit)
        })
    }

    fn set_read_timeout(&mut self, limit: Option<Duration>) {
        self.read_timeout = limit;
    }

    fn set_write_timeout(&mut self, limit: Option<Duration>) {
        self.write_timeout = limit;
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }
}

impl<S: Stream> Read for Faulty<S> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_deadline(buf, self.read_timeout.into())
    }
}

impl<S: Stream> Write for Faulty<S> {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_deadline(buf, self.write_timeout.into())
    }

    /// One limit for the whole, as gevent's `sendall`.
    #[track_caller]
    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.write_all_deadline(buf, self.write_timeout.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Chance that can be had again: SplitMix64 (Steele, Lea, Flood 2014), which has one word
/// of state and no bad seeds.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fault(&mut self, cut_one_in: u64) -> Option<Fault> {
        let (kind, size, cut) = (self.next(), self.next(), self.next());
        if cut_one_in > 0 && cut.is_multiple_of(cut_one_in) {
            return Some(Fault::Cut(Self::bytes(size)));
        }
        match kind % 8 {
            // Short ones most of all: they find the most, and cost nothing.
            0..=4 => Some(Fault::Short(Self::bytes(size).max(1))),
            5 => Some(Fault::Turn),
            6 => Some(Fault::Delay(Duration::from_micros(size % 500))),
            _ => None,
        }
    }

    /// Small mostly: 0 to 2, 12 or 512 bytes.
    fn bytes(size: u64) -> usize {
        let most = [3, 13, 513][usize::from(size.to_le_bytes()[7]) % 3];
        usize::try_from(size % most).unwrap_or_default()
    }
}
