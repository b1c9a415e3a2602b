//! The backlog experiment: a server that accepts slowly, clients that connect all at once, and
//! why they wait as long as they do on Linux.
//!
//! Here: both sides, and the explanation as text. Not here: options and standard output
//! (`cli/`).

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::net::{Addr, Endpoint, ListenOptions, ListenSocket, StreamSocket, connect_stream};
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::sleep::sleep;
use crate::runtime::spawn::Builder;

/// A listener with a given backlog, of which somebody takes a connection now and then.
///
/// # Examples
///
/// ```
/// use greenloop::apps::backlog::{Kernel, Probe, SlowServer};
/// use std::time::Duration;
///
/// // Nobody accepts: the queue takes so many, and the others wait in vain.
/// let server = SlowServer::bind("127.0.0.1:0", 2)?;
/// let probe = Probe {
///     address: server.addr()?.into(),
///     connections: 3,
///     limit: Some(Duration::from_secs(5)),
/// };
/// let attempts = probe.run()?;
/// assert!(attempts.iter().all(|attempt| attempt.is_at_once()));
/// assert_eq!(Kernel::read()?.queue(2), 3);
/// # Ok::<(), greenloop::Error>(())
/// ```
pub struct SlowServer(ListenSocket);

impl fmt::Debug for SlowServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("SlowServer", f)
    }
}

impl SlowServer {
    /// Listens on `HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// As [`TcpListener::bind`](crate::net::TcpListener::bind).
    pub fn bind(address: impl ToString, backlog: u32) -> Result<Self> {
        let options = ListenOptions::new().backlog(backlog);
        Ok(Self(match address.to_string().parse()? {
            Endpoint::Tcp(address) => options.bind(address)?.into(),
            Endpoint::Unix(address) => options.bind_unix(address)?.into(),
            other => {
                let text = format!("{other} has no queue of connections");
                return Err(Error::message(text));
            }
        }))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system reports.
    pub fn addr(&self) -> Result<Addr> {
        Ok(self.0.local_addr()?)
    }

    /// Takes one connection at the end of each `pause`, closes it and tells `accepted` whose it
    /// was; until it is killed.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// Cancelled; what `accept` reports.
    #[track_caller]
    pub fn serve(&mut self, pause: Duration, mut accepted: impl FnMut(&Addr)) -> Result<()> {
        loop {
            sleep(pause)?;
            let (_stream, peer) = self.0.accept(Deadline::NEVER)?;
            accepted(&peer);
        }
    }
}

/// So many connections at once.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where to.
    pub address: Endpoint,
    /// How many.
    pub connections: usize,
    /// How long each is tried. `None`: as long as the kernel does, two minutes and more.
    pub limit: Option<Duration>,
}

/// How one of them went.
#[derive(Debug)]
pub struct Attempt {
    /// Until it was connected, or failed.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<Error>,
}

impl Attempt {
    /// Tells whether it was connected without waiting: far before anything is sent again.
    pub fn is_at_once(&self) -> bool {
        self.error.is_none() && self.took < Duration::from_millis(500)
    }
}

impl Probe {
    /// Connects, and closes all when the last one is connected or has failed.
    ///
    /// With one worker the connections begin one after the other, in their order, and exactly
    /// as many get in as the queue takes. With more, two handshakes at the same moment may
    /// both find the last place free.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// No greenlet can be spawned; the caller was killed or timed out. What happens to one
    /// connection is in its [`Attempt`].
    #[track_caller]
    pub fn run(&self) -> Result<Vec<Attempt>> {
        let connecting = Connecting(
            (1..=self.connections)
                .map(|n| self.spawn_connect(n))
                .collect::<Result<_>>()?,
        );
        let mut open = Vec::new();
        let mut attempts = Vec::new();
        for greenlet in &connecting.0 {
            greenlet.wait()?;
        }
        for greenlet in connecting.into_greenlets() {
            let (attempt, stream) = greenlet.join().map_err(Error::message)?;
            attempts.push(attempt);
            open.extend(stream);
        }
        Ok(attempts)
    }

    fn spawn_connect(&self, n: usize) -> Result<Connect> {
        let (address, limit) = (self.address.clone(), self.limit);
        let greenlet = Builder::new()
            .name(format!("probe-{n}"))
            .try_spawn(move || {
                let begun = Instant::now();
                let connected = connect_stream(&address, Deadline::from(limit));
                let took = begun.elapsed();
                match connected {
                    Ok(stream) => (Attempt { took, error: None }, Some(stream)),
                    Err(error) => {
                        let error = Some(error);
                        (Attempt { took, error }, None)
                    }
                }
            });
        Ok(greenlet?)
    }
}

type Connect = Greenlet<(Attempt, Option<StreamSocket>)>;

/// Those on their way; the drop ends them.
struct Connecting(Vec<Connect>);

impl Connecting {
    fn into_greenlets(mut self) -> Vec<Connect> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        for greenlet in &self.0 {
            greenlet.kill();
        }
    }
}

/// What this machine's kernel does with queues, by `/proc/sys/net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `core/somaxconn`: no backlog is larger.
    pub somaxconn: u32,
    /// `ipv4/tcp_abort_on_overflow`: whether a full queue resets connections.
    pub aborts: bool,
    /// `ipv4/tcp_syn_linear_timeouts`: so many retries of a SYN are a second apart, before the
    /// pauses double. 0 before Linux 6.5.
    pub linear_retries: u32,
}

impl Kernel {
    /// Reads what it says.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn read() -> Result<Self> {
        let read = |name: &str| -> Result<u32> {
            let text = crate::fs::read_to_string(format!("/proc/sys/net/{name}"))?;
            text.trim()
                .parse()
                .map_err(|e| Error::message(e).context(format!("/proc/sys/net/{name}")))
        };
        Ok(Self {
            somaxconn: read("core/somaxconn")?,
            aborts: read("ipv4/tcp_abort_on_overflow")? != 0,
            linear_retries: read("ipv4/tcp_syn_linear_timeouts").unwrap_or(0),
        })
    }

    /// How many connections wait to be accepted at a listener with this backlog.
    ///
    /// One more than was asked for: Linux calls a queue full when it holds *more* than the
    /// backlog (`sk_acceptq_is_full`). So with a backlog of 0 one connection fits.
    pub fn queue(&self, backlog: u32) -> u64 {
        u64::from(backlog.min(self.somaxconn)) + 1
    }

    /// When a SYN that nobody answers is sent again, in seconds from the first.
    pub fn retries(&self) -> impl Iterator<Item = u64> + use<> {
        let linear = self.linear_retries;
        (0..RETRIES_MAX).scan((0, 1), move |(at, pause), n| {
            *at += *pause;
            if n >= linear {
                *pause *= 2;
            }
            Some(*at)
        })
    }
}

/// Says what was seen, and why: a line each. `backlog` is `None` for a server of others.
pub fn explain(
    kernel: &Kernel,
    address: &Endpoint,
    backlog: Option<u32>,
    attempts: &[Attempt],
) -> Vec<String> {
    let at_once = attempts.iter().filter(|a| a.is_at_once()).count();
    let all = attempts.len();
    let mut lines = vec![format!("{at_once} of {all} connected at once.")];
    match backlog {
        Some(backlog) => lines.push(format!(
            "The queue of a listener with backlog {backlog} takes min({backlog}, somaxconn {}) + 1 \
             = {} that nobody has accepted yet.",
            kernel.somaxconn,
            kernel.queue(backlog)
        )),
        None if at_once > 0 => lines.push(format!(
            "Linux queues min(backlog, somaxconn) + 1: if nobody was accepted meanwhile, and the \
             queue is full, the backlog is {}. (somaxconn is {} here.)",
            at_once - 1,
            kernel.somaxconn
        )),
        None => {}
    }
    if backlog == Some(0) {
        lines.push("So a backlog of 0 refuses nobody: one connection waits.".into());
    }
    let has_waited =
        |a: &Attempt| !a.is_at_once() && a.error.as_ref().is_none_or(Error::is_timeout);
    if attempts.iter().any(has_waited) {
        if matches!(address, Endpoint::Unix(_)) {
            let text = "The others wait until there is room: a Unix socket sends nothing.";
            lines.push(text.into());
        } else {
            lines.extend(explain_retries(kernel, attempts));
        }
    }
    let errors: Vec<_> = attempts.iter().filter_map(|a| a.error.as_ref()).collect();
    if let Some(error) = errors.first() {
        lines.push(format!("{} failed; the first: {error}.", errors.len()));
    }
    lines
}

fn explain_retries(kernel: &Kernel, attempts: &[Attempt]) -> Vec<String> {
    let mut times = String::new();
    for at in kernel.retries().take(6) {
        // Writing to a string cannot fail.
        let _ = write!(times, "{at} s, ");
    }
    let overflow = if kernel.aborts {
        "A full queue resets the others (tcp_abort_on_overflow is 1)"
    } else {
        "A full queue is no refusal: the kernel drops the SYN of the others \
         (tcp_abort_on_overflow is 0)"
    };
    let mut lines = vec![format!(
        "{overflow}; theirs sends it again after {times}..."
    )];
    let mut is_crowded = false;
    for retry in kernel.retries() {
        let at = Duration::from_secs(retry);
        let is_its = |a: &&Attempt| {
            // Timers of the kernel are late, never early: half a second in both directions.
            let near = a.took + NEAR >= at && a.took < at + NEAR;
            a.error.is_none() && !a.is_at_once() && near
        };
        match attempts.iter().filter(is_its).count() {
            0 => {}
            count => {
                is_crowded |= count > 1;
                let text = format!("{count} got in when it was sent again after {retry} s.");
                lines.push(text);
            }
        }
    }
    if is_crowded {
        // The queue is looked at when the SYN comes, and filled when the last ACK does. An ACK
        // that finds it full is dropped, and the server sends its SYN-ACK again.
        let text = "Retries of one moment find the same places free: more clients may be \
                    connected in their own eyes than the queue has taken by then.";
        lines.push(text.into());
    }
    lines
}

/// Half of the shortest pause between two retries.
const NEAR: Duration = Duration::from_millis(500);

/// More than Linux makes (`tcp_syn_retries` is 6).
const RETRIES_MAX: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(linear_retries: u32) -> Kernel {
        Kernel {
            somaxconn: 4096,
            aborts: false,
            linear_retries,
        }
    }

    fn attempt(millis: u64, error: Option<&str>) -> Attempt {
        Attempt {
            took: Duration::from_millis(millis),
            error: error.map(Error::message),
        }
    }

    #[test]
    fn queue_takes_one_more_than_the_backlog_up_to_somaxconn() {
        for (backlog, queue) in [(0, 1), (1, 2), (5, 6), (128, 129), (5000, 4097)] {
            assert_eq!(kernel(0).queue(backlog), queue);
        }
        assert_eq!(kernel(0).queue(u32::MAX), 4097);
    }

    #[test]
    fn retries_are_a_second_apart_and_then_double() {
        let times = |linear| kernel(linear).retries().take(7).collect::<Vec<_>>();
        assert_eq!(times(0), [1, 3, 7, 15, 31, 63, 127]);
        assert_eq!(times(1), [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!(times(4), [1, 2, 3, 4, 5, 7, 11]);
    }

    #[test]
    fn explanation_names_the_numbers() {
        let attempts = [
            attempt(0, None),
            attempt(1, None),
            attempt(1020, None),
            attempt(3050, None),
            attempt(4000, Some("timed out after 4s")),
        ];
        let address: Endpoint = "127.0.0.1:1".parse().unwrap();
        let lines = explain(&kernel(0), &address, Some(1), &attempts);
        let expected = [
            "2 of 5 connected at once.",
            "The queue of a listener with backlog 1 takes min(1, somaxconn 4096) + 1 = 2 that \
             nobody has accepted yet.",
            "A full queue is no refusal: the kernel drops the SYN of the others \
             (tcp_abort_on_overflow is 0); theirs sends it again after 1 s, 3 s, 7 s, 15 s, 31 s, \
             63 s, ...",
            "1 got in when it was sent again after 1 s.",
            "1 got in when it was sent again after 3 s.",
            "1 failed; the first: timed out after 4s.",
        ];
        assert_eq!(lines, expected);
        let lines = explain(&kernel(0), &address, None, &attempts[..2]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("the backlog is 1."), "{lines:?}");
        let address: Endpoint = "unix:/run/x".parse().unwrap();
        let lines = explain(&kernel(0), &address, Some(1), &attempts);
        assert!(lines[2].contains("Unix socket"), "{lines:?}");
    }
}
