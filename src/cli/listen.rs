//! `greenloop listen`: prints what clients send, with the sender or as it is.

use super::args::ListenArgs;
use super::connect::until_signal;
use super::terminal::{Output, SafeText, Writer};
use super::{Failure, Outcome, out};
use crate::apps::listen::{Kind, Listen, OneShot, Sink};
use crate::error::Result;
use crate::net::{Addr, Endpoint};
use crate::runtime::spawn::Builder;
use crate::server::{DatagramConfig, ServerConfig, ServerHandle};
use std::time::Duration;

/// Listens until one client has been served, or until a signal.
pub(crate) fn run(args: &ListenArgs) -> Outcome {
    super::start_runtime(None)?;
    let writer = Writer::new();
    let listen = listen(args, &writer);
    let ended = if args.once {
        once(args, listen)
    } else {
        for_ever(args, listen, &writer)
    };
    match writer.failure() {
        Some(failure) => Err(failure),
        None => ended,
    }
}

fn listen(args: &ListenArgs, writer: &Writer) -> Listen {
    let (is_raw, writer) = (args.raw, writer.clone());
    let listen = Listen::new(move |peer, kind| -> Sink {
        if is_raw {
            let mut output = Output::new(&writer);
            return Box::new(move |bytes| output.write(bytes));
        }
        let (mut lines, writer) = (Lines::of(peer, kind), writer.clone());
        Box::new(move |bytes| writer.write(lines.add(bytes).into_bytes()))
    });
    match &args.reply {
        Some(reply) => listen.reply(reply.as_bytes()),
        None => listen,
    }
}

fn once(args: &ListenArgs, listen: Listen) -> Outcome {
    let (endpoint, is_raw, idle) = (args.endpoint.clone(), args.raw, args.idle_timeout.0);
    until_signal(move || {
        if endpoint.is_datagram() {
            let server = datagrams().bind(endpoint)?;
            announce(&datagram_endpoint(server.addr()), is_raw);
            return listen.take_one(server);
        }
        let socket = OneShot::bind(&endpoint)?;
        announce(&socket.local_addr()?.into(), is_raw);
        listen.serve_one(socket, idle)
    })
}

fn for_ever(args: &ListenArgs, listen: Listen, writer: &Writer) -> Outcome {
    let (endpoint, is_raw, writer) = (args.endpoint.clone(), args.raw, writer.clone());
    let idle = args.idle_timeout.0;
    let fatal = crate::run(move || {
        if endpoint.is_datagram() {
            take_datagrams(endpoint, listen, writer, is_raw)
        } else {
            take_clients(endpoint, listen, writer, (is_raw, idle))
        }
    })?;
    match fatal {
        Some(error) => Err(Failure::Failed(error)),
        None => Ok(()),
    }
}

/// Serves clients until it is stopped; why, if it stopped by itself.
fn take_clients(
    endpoint: Endpoint,
    listen: Listen,
    writer: Writer,
    (is_raw, idle): (bool, Option<Duration>),
) -> Result<Option<String>> {
    let config = ServerConfig::new().idle_timeout(idle).drain_timeout(DRAIN);
    let server = config.bind(endpoint)?.start(listen)?;
    watch(&server, writer)?;
    announce(&server.addr().into(), is_raw);
    Ok(server.wait()?.fatal)
}

/// The same for datagrams.
fn take_datagrams(
    endpoint: Endpoint,
    listen: Listen,
    writer: Writer,
    is_raw: bool,
) -> Result<Option<String>> {
    let server = datagrams().bind(endpoint)?;
    let addr = datagram_endpoint(server.addr());
    let server = server.start(listen)?;
    watch(&server, writer)?;
    announce(&addr, is_raw);
    Ok(server.wait()?.fatal)
}

/// Signals stop the server, and so does a reader of the output that has left.
fn watch<R: Clone + Default + 'static>(server: &ServerHandle<R>, writer: Writer) -> Result<()> {
    // Before the line that others wait for: who reads it may send a signal at once.
    server.stop_on_signals()?;
    let server = server.clone();
    Builder::new().try_spawn(move || {
        if writer.wait_failed().is_ok() {
            server.begin_drain(Duration::ZERO);
        }
    })?;
    Ok(())
}

/// In order, and whole: a Unix socket may carry more than UDP.
fn datagrams() -> DatagramConfig {
    DatagramConfig::new()
        .drain_timeout(DRAIN)
        .datagram_bytes_max(DATAGRAM_BYTES_MAX)
}

fn datagram_endpoint(addr: Addr) -> Endpoint {
    match addr {
        Addr::Ip(addr) => Endpoint::Udp(addr.into()),
        Addr::Unix(addr) => Endpoint::Unixgram(addr),
    }
}

/// Says where it listens. Raw output is for the clients' bytes alone.
fn announce(endpoint: &Endpoint, is_raw: bool) {
    let text = format!("listening on {endpoint}");
    if is_raw {
        out::note(text);
    } else {
        out::line_or_nothing(text);
    }
}

/// What one sender says, in lines that begin with its address.
struct Lines {
    peer: String,
    text: SafeText,
    /// The last line had no end, which may still come.
    is_open: bool,
    /// Nothing was shown yet of what is shown even if it is empty.
    is_due: bool,
}

impl Lines {
    fn of(peer: &Addr, kind: Kind) -> Self {
        Self {
            peer: peer.to_string(),
            text: SafeText::default(),
            is_open: false,
            is_due: kind == Kind::Datagram,
        }
    }

    /// The lines that can be shown now; 0 bytes end it. What has no line end is a line, too.
    fn add(&mut self, bytes: &[u8]) -> String {
        let text = match bytes {
            [] => self.text.finish(),
            bytes => self.text.add(bytes),
        };
        if std::mem::take(&mut self.is_due) && text.is_empty() && bytes.is_empty() {
            return format!("{}: \n", self.peer);
        }
        let text = match text.strip_prefix('\n') {
            Some(rest) if self.is_open => rest,
            _ => &text,
        };
        self.is_open = !text.is_empty() && !text.ends_with('\n');
        let lines = text.split_inclusive('\n');
        let shown = |line: &str| format!("{}: {}\n", self.peer, line.trim_end_matches('\n'));
        lines.map(shown).collect()
    }
}

/// More than a Unix socket sends unless it is told to (`net.core.wmem_default`).
const DATAGRAM_BYTES_MAX: usize = 256 * 1024;

/// Clients in the middle of something are few, and have nothing to wait for.
const DRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_with_their_sender() {
        let peer = Addr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 5000)));
        let mut lines = Lines::of(&peer, Kind::Stream);
        let mut add = |bytes: &[u8]| lines.add(bytes);
        assert_eq!(
            add(b"one\r\ntwo"),
            "127.0.0.1:5000: one\n127.0.0.1:5000: two\n"
        );
        assert_eq!(add(b"\n\xe6\x88"), "");
        assert_eq!(add(b"\x91\x1b"), "127.0.0.1:5000: 我\\u{1b}\n");
        assert_eq!(add(b"\n\n\r"), "127.0.0.1:5000: \n");
        assert_eq!(add(b""), "127.0.0.1:5000: \\r\n");
        assert_eq!(Lines::of(&peer, Kind::Stream).add(b""), "");
        let mut empty = Lines::of(&peer, Kind::Datagram);
        assert_eq!(empty.add(b""), "127.0.0.1:5000: \n");
    }
}
