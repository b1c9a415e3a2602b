//! Servers of datagrams, alone or beside one of connections: one command may listen on
//! `tcp://` and `udp://` at once.

use super::{config, events, finish, show_bytes, show_count};
use crate::cli::args::{CommonArgs, ServerArgs};
use crate::cli::printer::{Lines, Printer};
use crate::cli::{Failure, Outcome, out, start_runtime};
use crate::error::{Error, Result};
use crate::net::{Addr, Endpoint};
use crate::runtime::spawn::spawn;
use crate::server::{
    Conn, DatagramConfig, DatagramHandler, DatagramReport, Handler, ServerConfig, ServerHandle,
};
use std::time::Duration;

/// The help of `--listen`, of a server that speaks both.
pub(super) const LISTEN_ANY: &str = "Address to listen on: HOST:PORT, tcp://HOST:PORT, \
    udp://HOST:PORT, unix:PATH, unixgram:PATH, or a name @NAME instead of PATH; port 0 lets the \
    system choose, an empty host means every address; may be given more than once";

/// What a command serves, and how many datagrams at a time.
pub(super) struct Program<H, D> {
    pub(super) stream: H,
    pub(super) datagram: D,
    pub(super) handlers: usize,
}

/// Serves connections and datagrams until a signal, each where it was asked to listen.
pub(super) fn run_both<H: Handler, D: DatagramHandler>(
    args: &ServerArgs,
    program: impl FnOnce(&Lines) -> Result<Program<H, D>> + Send + 'static,
) -> Outcome {
    let streams = |lines: &Lines| config(args, events(&args.common, lines));
    serve(&args.common, streams, program)
}

fn serve<H: Handler, D: DatagramHandler>(
    args: &CommonArgs,
    streams: impl FnOnce(&Lines) -> ServerConfig,
    program: impl FnOnce(&Lines) -> Result<Program<H, D>> + Send + 'static,
) -> Outcome {
    start_runtime(args.workers)?;
    let printer = Printer::start()?;
    let lines = printer.lines();
    let config = streams(lines);
    let datagrams = datagram_config(args, lines);
    let (listen, lines, drain) = (args.listen.clone(), lines.clone(), args.drain);
    let ended = crate::run(move || {
        let (messages, streams): (Vec<_>, Vec<_>) =
            listen.iter().partition(|endpoint| endpoint.is_datagram());
        let program = program(&lines)?;
        // All are bound before one serves: a port in use is said before anybody is served.
        let streams = (!streams.is_empty())
            .then(|| config.bind_all(streams))
            .transpose()?;
        let messages = (!messages.is_empty())
            .then(|| datagrams.handlers(program.handlers).bind_all(messages))
            .transpose()?;
        let streams = streams.map(|s| s.start(program.stream)).transpose()?;
        let messages = messages.map(|s| s.start(program.datagram)).transpose()?;
        // Before the lines that others wait for: who reads them may send a signal at once.
        if let Some(server) = &streams {
            server.stop_on_signals()?;
        }
        if let Some(server) = &messages {
            server.stop_on_signals()?;
        }
        say_where(&listen, streams.as_ref(), messages.as_ref());
        wait_for_all(streams.as_ref(), messages.as_ref(), drain)?;
        Ok::<_, Error>((streams, messages))
    });
    printer.finish();
    let (streams, messages) = ended?;
    let streams = streams.map_or(Ok(()), |server| finish(&server.wait()?));
    messages.map_or(Ok(()), |server| finish_datagrams(&server.wait()?))?;
    streams
}

/// Serves datagrams alone, in the order in which they come, until a signal.
pub(super) fn run_datagrams<D: DatagramHandler>(
    args: &CommonArgs,
    handler: impl FnOnce(&Lines) -> Result<D> + Send + 'static,
) -> Outcome {
    if let Some(wrong) = args.listen.iter().find(|e| !e.is_datagram()) {
        return Err(Failure::usage(format_args!(
            "{wrong} is for connections, and this server is one of datagrams: \
             expected udp:// or unixgram:"
        )));
    }
    let no_streams = |_: &Lines| ServerConfig::new();
    serve(args, no_streams, move |lines| {
        Ok(Program {
            stream: |_: &mut Conn| Ok(()),
            datagram: handler(lines)?,
            handlers: 1,
        })
    })
}

fn datagram_config(args: &CommonArgs, lines: &Lines) -> DatagramConfig {
    DatagramConfig::new()
        .drain_timeout(args.drain)
        .observer(events(args, lines))
}

/// The addresses in the order in which they were asked for, as a client may write them.
fn say_where(
    listen: &[Endpoint],
    streams: Option<&ServerHandle>,
    messages: Option<&ServerHandle<DatagramReport>>,
) {
    let mut streams = streams.map_or(&[][..], ServerHandle::addrs).iter();
    let mut messages = messages.map_or(&[][..], ServerHandle::addrs).iter();
    for endpoint in listen {
        let line = if endpoint.is_datagram() {
            messages.next().map(datagram_endpoint)
        } else {
            streams.next().map(ToString::to_string)
        };
        if let Some(line) = line {
            out::line_or_nothing(format_args!("listening on {line}"));
        }
    }
}

fn datagram_endpoint(addr: &Addr) -> String {
    match addr {
        Addr::Ip(addr) => format!("udp://{addr}"),
        Addr::Unix(addr) => format!("unixgram:{addr}"),
    }
}

/// Waits until all servers have ended; when one ends, the other is stopped.
fn wait_for_all(
    streams: Option<&ServerHandle>,
    messages: Option<&ServerHandle<DatagramReport>>,
    drain: Duration,
) -> Result<()> {
    let (Some(streams), Some(messages)) = (streams, messages) else {
        streams.map(ServerHandle::wait).transpose()?;
        return messages.map(ServerHandle::wait).transpose().map(drop);
    };
    let (first, second) = (streams.clone(), messages.clone());
    let first = spawn(move || {
        let ended = first.wait().map(drop);
        second.begin_drain(drain);
        ended
    });
    messages.wait()?;
    streams.begin_drain(drain);
    first.join().map_err(Error::message)?
}

fn finish_datagrams(report: &DatagramReport) -> Outcome {
    out::line_or_nothing(datagram_summary(report));
    if report.is_clean() {
        return Ok(());
    }
    Err(Failure::Failed(match &report.fatal {
        Some(error) => error.clone(),
        None => format!("{} datagrams were not handled to the end", report.killed),
    }))
}

fn datagram_summary(report: &DatagramReport) -> String {
    let mut text = format!(
        "received {} datagrams: {} sent, {} failed, {} dropped; {} in, {} out",
        show_count(report.received),
        show_count(report.sent),
        show_count(report.failed + report.timed_out + report.panicked + report.killed),
        show_count(report.dropped()),
        show_bytes(report.bytes_received),
        show_bytes(report.bytes_sent),
    );
    for (count, what) in [
        (report.truncated, "truncated"),
        (report.receive_errors, "receive errors"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {} {what}", show_count(count)));
        }
    }
    text
}
