//! The load generator: many connections that send, wait for the echo, compare and time it.
//!
//! Here: the exchange and its figures as data. Not here: how they are printed (`cli/`).

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::error::{Error, Result};
use crate::net::{Endpoint, Stream, StreamSocket, connect_stream};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::spawn::Builder;

/// A load on an echo server that is about to run.
///
/// Each connection is one greenlet that sends a message, reads the answer, compares every
/// byte and does it again: a closed loop, so the rate is what the server gives at this
/// number of connections.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server. A name is looked up once.
    pub address: Endpoint,
    /// Connections at once.
    pub connections: NonZeroUsize,
    /// The size of a message in bytes; at least one is sent.
    pub message_bytes: usize,
    /// How long to send, counted from when the last connection stands.
    pub duration: Duration,
    /// An answer, or a connection, that takes longer is an error. `None`: waits for ever.
    pub limit: Option<Duration>,
}

/// What a load measured.
#[derive(Debug)]
pub struct Measured {
    /// Connections that came about.
    pub connected: u64,
    /// Messages that came back whole and equal.
    pub messages: u64,
    /// Bytes sent in those messages (as many came back).
    pub bytes: u64,
    /// From the first message to the last answer.
    pub elapsed: Duration,
    /// How long each answer took, in nanoseconds.
    pub latency: Histogram<u64>,
    /// What went wrong, and how many connections ended with it.
    pub errors: BTreeMap<String, u64>,
}

impl Measured {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The time within which `percent` of the answers came.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_percentile(percent))
    }

    /// How many connections ended with an error.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Load {
    /// Runs it to its end.
    ///
    /// The first connection shows whether there is a server, and which of its addresses
    /// answers; the others follow it. One that fails later is counted and not replaced.
    ///
    /// # Switching
    /// May switch to other greenlets; blocks an OS thread.
    ///
    /// # Errors
    /// The server cannot be reached; no greenlet can be spawned; the caller was killed or
    /// timed out. What happens to one connection of many is in [`Measured::errors`].
    pub fn run(&self) -> Result<Measured> {
        let mut sum = Sum::new();
        let first = connect_stream(&self.address, Deadline::from(self.limit))?;
        let peer: Endpoint = first.peer_addr()?.into();
        let connecting: Vec<_> = (1..self.connections.get())
            .map(|n| self.spawn_connect(n, peer.clone()))
            .collect::<Result<_>>()?;
        let mut streams = vec![first];
        for greenlet in connecting {
            match greenlet.join().map_err(Error::message)? {
                Ok(stream) => streams.push(stream),
                Err(error) => sum.count_error(&error),
            }
        }
        sum.measured.connected = streams.len() as u64;
        let start = Instant::now();
        let exchanging: Vec<_> = streams
            .into_iter()
            .enumerate()
            .map(|(n, stream)| self.spawn_exchange(n, stream, start + self.duration))
            .collect::<Result<_>>()?;
        for greenlet in exchanging {
            sum.add(
                &greenlet.join().map_err(Error::message)?,
                self.message_bytes.max(1),
            );
        }
        sum.measured.elapsed = start.elapsed();
        Ok(sum.measured)
    }

    fn spawn_connect(&self, n: usize, peer: Endpoint) -> Result<Greenlet<Result<StreamSocket>>> {
        let limit = self.limit;
        let greenlet = Builder::new()
            .name(format!("load-connect-{n}"))
            .try_spawn(move || connect_stream(&peer, Deadline::from(limit)));
        Ok(greenlet?)
    }

    fn spawn_exchange(
        &self,
        n: usize,
        stream: StreamSocket,
        end: Instant,
    ) -> Result<Greenlet<Part>> {
        let (bytes, limit) = (self.message_bytes.max(1), self.limit);
        let greenlet = Builder::new()
            .name(format!("load-{n}"))
            .try_spawn(move || exchange(stream, &mut Pattern::new(n, bytes), limit, end));
        Ok(greenlet?)
    }
}

/// What one connection measured.
struct Part {
    latency: Histogram<u32>,
    error: Option<Error>,
}

fn exchange(
    mut stream: StreamSocket,
    pattern: &mut Pattern,
    limit: Option<Duration>,
    end: Instant,
) -> Part {
    let mut part = Part {
        latency: histogram(),
        error: None,
    };
    let mut begun = Instant::now();
    while begun < end {
        if let Err(error) = pattern.echo(&mut stream, Deadline::from(limit)) {
            part.error = Some(error);
            break;
        }
        let now = Instant::now();
        let nanos = u64::try_from((now - begun).as_nanos()).unwrap_or(LATENCY_NANOS_MAX);
        part.latency.saturating_record(nanos);
        begun = now;
    }
    part
}

/// The messages of one connection: no two of them, on any connection, are the same, so
/// that an answer to somebody else is noticed.
struct Pattern {
    sent: Vec<u8>,
    received: Vec<u8>,
    stamp: u64,
}

impl Pattern {
    fn new(connection: usize, bytes: usize) -> Self {
        // Any sequence with a long period that is not the same everywhere.
        let start = (connection as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let sent = (0..bytes as u64)
            .map(|i| (start.wrapping_add(i * 167) >> 3) as u8)
            .collect();
        Self {
            sent,
            received: vec![0; bytes.min(WINDOW_BYTES)],
            stamp: start,
        }
    }

    /// Sends the next message and checks that it comes back before `limit`.
    fn echo(&mut self, stream: &mut StreamSocket, limit: Deadline) -> Result<()> {
        self.stamp = self.stamp.wrapping_add(1);
        let stamp = self.stamp.to_le_bytes();
        let stamped = stamp.len().min(self.sent.len());
        self.sent[..stamped].copy_from_slice(&stamp[..stamped]);
        for window in self.sent.chunks(WINDOW_BYTES) {
            stream.write_all_deadline(window, limit)?;
            let answer = &mut self.received[..window.len()];
            stream.read_exact_deadline(answer, limit)?;
            if answer != window {
                return Err(Error::message("the answer differs from what was sent"));
            }
        }
        Ok(())
    }
}

struct Sum {
    measured: Measured,
}

impl Sum {
    fn new() -> Self {
        let measured = Measured {
            connected: 0,
            messages: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
            latency: histogram(),
            errors: BTreeMap::new(),
        };
        Self { measured }
    }

    fn add(&mut self, part: &Part, message_bytes: usize) {
        let messages = part.latency.len();
        self.measured.messages += messages;
        self.measured.bytes += messages * message_bytes as u64;
        for step in part.latency.iter_recorded() {
            let count = step.count_at_value().into();
            self.measured
                .latency
                .saturating_record_n(step.value_iterated_to(), count);
        }
        if let Some(error) = &part.error {
            self.count_error(error);
        }
    }

    fn count_error(&mut self, error: &Error) {
        *self.measured.errors.entry(error.to_string()).or_default() += 1;
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("messages", &self.latency.len())
            .finish_non_exhaustive()
    }
}

fn histogram<C: hdrhistogram::Counter>() -> Histogram<C> {
    Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, LATENCY_DIGITS)
        .expect("the bounds are in order and the digits in range")
}

/// What may be on its way at once. A server that stops reading while its answer is not
/// taken must not meet a client that does the same: this much fits into the kernel's
/// smallest default buffers.
const WINDOW_BYTES: usize = 64 * 1024;
/// Below a microsecond nothing comes back over a socket.
const LATENCY_NANOS_MIN: u64 = 1_000;
/// Ten minutes; longer waits count as this.
const LATENCY_NANOS_MAX: u64 = 600_000_000_000;
/// Two significant digits: an error below 1 %, and 15 KiB per connection instead of 120.
const LATENCY_DIGITS: u8 = 2;
