//! `greenloop serve`: servers that print where they listen, what they get if asked, and a
//! summary at the end.
//!
//! What they share is here: limits, the printer, events, the summary, exit codes. A server
//! is a file with its arguments, in which [`ServerArgs`] is flattened, and a call of [`run`]
//! that makes its handler; `echo.rs` is the model.

pub(super) mod chat;
pub(super) mod chatroom;
mod datagrams;
pub(super) mod echo;
pub(super) mod hello;
pub(super) mod models;
pub(super) mod tftp;
pub(super) mod upload;

use super::args::{CommonArgs, ServeCommand, ServerArgs};
use super::printer::Lines;
use super::units::{show_bytes, show_count};
use super::{Failure, Outcome, out};
use crate::error::{Error, Result};
use crate::net::Addr;
use crate::server::{
    self, ConnEnd, ConnInfo, Datagram, DropReason, Handler, Observer, Report, ServerConfig,
};
use crate::util::{and_more, escape};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs the server that was asked for.
pub(crate) fn dispatch(command: &ServeCommand) -> Outcome {
    match command {
        ServeCommand::Chatroom(args) => chatroom::run(args),
        ServeCommand::Chat(args) => chat::run(args),
        ServeCommand::Echo(args) => echo::run(args),
        ServeCommand::Hello(args) => hello::run(args),
        ServeCommand::Tftp(args) => tftp::run(args),
        ServeCommand::Upload(args) => upload::run(args),
    }
}

/// Serves what `handler` makes, until a signal.
///
/// Succeeds if the drain cut nobody off.
fn run<H: Handler>(
    args: &ServerArgs,
    handler: impl FnOnce(&Lines) -> Result<H> + Send + 'static,
) -> Outcome {
    if let Some(wrong) = args.common.listen.iter().find(|at| at.is_datagram()) {
        return Err(Failure::usage(format_args!(
            "{wrong} is for datagrams, and this server is one of connections: \
             expected tcp:// or unix:"
        )));
    }
    datagrams::run_both(args, move |lines| {
        Ok(datagrams::Program {
            stream: handler(lines)?,
            datagram: |_: &mut Datagram| Ok(()),
            handlers: 1,
        })
    })
}

/// Tells what a server has done.
fn finish(report: &Report) -> Outcome {
    out::line_or_nothing(summary(report));
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::Failed(match &report.fatal {
        Some(error) => error.clone(),
        None => cut_off(report.killed, "connection"),
    }))
}

/// `1 connection was cut off`.
fn cut_off(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what} was cut off"),
        _ => format!("{} {what}s were cut off", show_count(count)),
    }
}

fn events(args: &CommonArgs, lines: &Lines) -> Events {
    Events {
        lines: lines.clone(),
        drain: args.drain,
        begun: Instant::now(),
        next_warning_ms: AtomicU64::new(0),
    }
}

fn config(args: &ServerArgs, events: Events) -> ServerConfig {
    let config = ServerConfig::new()
        .idle_timeout(args.idle_timeout.0)
        .write_timeout(args.write_timeout.0)
        .drain_timeout(args.common.drain)
        .observer(events);
    match args.max_connections.map(NonZeroUsize::get) {
        Some(count) => config.max_connections(count),
        None => config,
    }
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "served {} connections: {} finished, {} timed out, {} failed, {} killed; {} in, {} out",
        show_count(report.accepted),
        show_count(report.finished),
        show_count(report.timed_out),
        show_count(report.failed + report.panicked),
        show_count(report.killed),
        show_bytes(report.bytes_read),
        show_bytes(report.bytes_written),
    );
    if report.accept_errors > 0 {
        text.push_str(&format!(
            "; {} accept errors",
            show_count(report.accept_errors)
        ));
    }
    text
}

/// Prints `recv: …` for what arrives, escaped and cut to what a person can read.
fn data_logger(lines: &Lines) -> impl Fn(&Addr, &[u8]) + Send + Sync + 'static {
    let lines = lines.clone();
    move |_peer, data| {
        let shown = escape(&data[..data.len().min(LOGGED_BYTES_MAX)]);
        let rest = match data.len().saturating_sub(LOGGED_BYTES_MAX) {
            0 => String::new(),
            more => and_more(more),
        };
        lines.say(format!("recv: {shown}{rest}"));
    }
}

/// Hands the server's events to the printer, and never waits for it.
struct Events {
    lines: Lines,
    drain: Duration,
    begun: Instant,
    /// Shortages come in thousands: one line a second is enough.
    next_warning_ms: AtomicU64,
}

impl Events {
    fn warn(&self, text: impl FnOnce() -> String) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next_warning_ms.load(Ordering::Relaxed);
        let free = now >= next
            && self
                .next_warning_ms
                .compare_exchange(next, now + 1000, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if free {
            self.lines.log(log::Level::Warn, text());
        }
    }
}

impl Observer for Events {
    fn closed(&self, conn: &ConnInfo, end: &ConnEnd) {
        if log::log_enabled!(log::Level::Info) {
            let text = format!("{} closed: {end:?}", conn.peer);
            self.lines.log(log::Level::Info, text);
        }
    }

    fn full(&self, limit: usize) {
        self.warn(|| format!("{limit} connections are open, more wait (--max-connections)"));
    }

    fn accept_error(&self, error: &Error, pause: Option<Duration>) {
        let pause = pause.unwrap_or_default();
        self.warn(|| format!("accepting: {error}; next try in {pause:?}"));
    }

    fn handled(&self, datagram: &Datagram, outcome: &server::Outcome) {
        match outcome {
            server::Outcome::Finished => {}
            server::Outcome::Panicked(text) => {
                self.warn(|| format!("the handler of a datagram panicked: {text}"));
            }
            outcome if log::log_enabled!(log::Level::Info) => {
                let text = format!("datagram of {}: {outcome:?}", datagram.peer());
                self.lines.log(log::Level::Info, text);
            }
            _ => {}
        }
    }

    fn dropped(&self, peer: &Addr, reason: DropReason) {
        self.warn(|| format!("dropped a datagram of {peer}: {reason}"));
    }

    fn receive_error(&self, error: &Error, pause: Option<Duration>) {
        let pause = pause.unwrap_or_default();
        self.warn(|| format!("receiving: {error}; next try in {pause:?}"));
    }

    fn draining(&self, open: usize) {
        let (many, drain) = (if open == 1 { "" } else { "s" }, self.drain);
        let text = format!("draining {open} connection{many}, at most {drain:?}");
        self.lines.offer(text);
    }
}

/// A screenful; a terminal is for reading.
const LOGGED_BYTES_MAX: usize = 1024;
