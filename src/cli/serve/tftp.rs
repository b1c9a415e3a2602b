//! `greenloop serve tftp`.

use super::{CommonArgs, cut_off};
use crate::apps::tftp::{Counts, Direction, Ended, Handle, Server};
use crate::cli::args::tftp_wait;
use crate::cli::printer::{Lines, Printer};
use crate::cli::units::{self, show_bytes, show_count, show_duration};
use crate::cli::{Failure, Outcome, out, start_runtime};
use crate::error::Result;
use crate::net::Endpoint;
use crate::proto::tftp::{Limits, Retry};
use crate::signal::{SIGINT, SIGTERM, Signals};
use clap::{Args, ValueHint};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(mut_arg("listen", |arg| arg.default_value("127.0.0.1:6969").value_parser(listen).help(
    "Address to listen on: HOST:PORT or udp://HOST:PORT; port 0 lets the system choose, an empty \
     host means every address; may be given more than once"
)))]
pub(crate) struct TftpArgs {
    #[command(flatten)]
    common: CommonArgs,

    /// The folder whose files are served; nothing outside it is, nor what is hidden in it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: PathBuf,

    /// Let clients write files that are not there
    #[arg(long)]
    writable: bool,

    /// Let what clients write replace files that are there
    #[arg(long, requires = "writable")]
    overwrite: bool,

    /// The largest file that clients may write
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = units::size)]
    max_size: u64,

    /// Transfers at once; further requests are told to come later
    #[arg(long, value_name = "N", default_value = "64")]
    max_transfers: NonZeroUsize,

    /// End a transfer that takes longer
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration)]
    max_time: Duration,

    /// Send again what was not answered for so long, then after twice that, up to eight times,
    /// unless the client asks for another wait
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = tftp_wait)]
    timeout: Duration,

    /// End a transfer whose client is silent after so many tries more, or after a minute
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,

    /// The largest block that is agreed on, in bytes
    #[arg(long, value_name = "BYTES", default_value = "65464", value_parser = clap::value_parser!(u16).range(8..=65464))]
    max_blksize: u16,

    /// The largest window that is agreed on, in blocks; 512 KiB at most
    #[arg(long, value_name = "BLOCKS", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=32767))]
    max_windowsize: u16,
}

/// Serves files until a signal.
///
/// Succeeds if the drain cut nobody off.
pub(super) fn run(args: &TftpArgs) -> Outcome {
    start_runtime(args.common.workers)?;
    let printer = Printer::start()?;
    let lines = printer.lines().clone();
    let CommonArgs { listen, drain, .. } = args.common.clone();
    let server = server(args, &lines);
    let counts = crate::run(move || {
        // Before the line that others wait for: who reads it may send a signal at once.
        let signals = Signals::new(&[SIGTERM, SIGINT])?;
        let server = server.start_all(listen)?;
        for addr in server.addrs() {
            out::line_or_nothing(format_args!("listening on {addr}"));
        }
        until_signal(&server, signals, drain, &lines)
    });
    printer.finish();
    let counts = counts?;
    out::line_or_nothing(summary(&counts));
    match counts.killed {
        0 => Ok(()),
        killed => Err(Failure::Failed(cut_off(killed, "transfer"))),
    }
}

fn until_signal(
    server: &Handle,
    signals: Signals,
    drain: Duration,
    lines: &Lines,
) -> Result<Counts> {
    signals.wait()?;
    let running = server.counts().running;
    let many = if running == 1 { "" } else { "s" };
    lines.offer(format!(
        "draining {running} transfer{many}, at most {drain:?}"
    ));
    let hurried = server.clone();
    let second = crate::try_spawn(move || {
        signals.wait()?;
        hurried.drain(Duration::ZERO)
    })?;
    let counts = server.drain(drain);
    second.kill();
    counts
}

fn server(args: &TftpArgs, lines: &Lines) -> Server {
    let limits = Limits {
        block_size_max: args.max_blksize,
        window_max: args.max_windowsize,
        ..Limits::default()
    };
    let lines = lines.clone();
    Server::new(&args.root)
        .writable(args.writable)
        .overwrite(args.overwrite)
        .file_bytes_max(args.max_size)
        .transfers_max(args.max_transfers.get())
        .transfer_time_max(args.max_time)
        .retry(Retry::new(args.timeout, args.retries).within(SILENCE_MAX))
        .limits(limits)
        // Never waits: a line that nobody reads is dropped.
        .observer(move |ended| lines.offer(line(ended)))
}

/// `127.0.0.1:4242 read motd: 1.2 KiB in 3 ms, complete`
fn line(ended: &Ended) -> String {
    let verb = match ended.direction {
        Direction::Read => "read",
        Direction::Write => "write",
    };
    format!(
        "{} {verb} {}: {} in {}, {}",
        ended.peer,
        ended.file,
        show_bytes(ended.bytes),
        show_duration(ended.elapsed),
        ended.outcome
    )
}

fn summary(counts: &Counts) -> String {
    let mut text = format!(
        "served {} transfers: {} finished, {} refused, {} failed, {} killed; {} in, {} out",
        show_count(counts.begun),
        show_count(counts.succeeded),
        show_count(counts.refused),
        show_count(counts.failed),
        show_count(counts.killed),
        show_bytes(counts.bytes_in),
        show_bytes(counts.bytes_out),
    );
    if counts.surplus > 0 {
        text.push_str(&format!("; {} turned away", show_count(counts.surplus)));
    }
    text
}

/// An address of datagrams, also without a scheme.
fn listen(text: &str) -> Result<Endpoint, String> {
    match Endpoint::parse_udp(text).map_err(|error| error.to_string())? {
        udp @ Endpoint::Udp(_) => Ok(udp),
        other => Err(format!("TFTP is spoken over UDP, not on {other}")),
    }
}

const SILENCE_MAX: Duration = Duration::from_secs(60);
