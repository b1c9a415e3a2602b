//! `greenloop connect`: standard input goes to a peer, and its words to standard output.

use super::args::ConnectArgs;
use super::terminal::{Output, Writer};
use super::{EXIT_INTERRUPTED, Failure, Outcome};
use crate::apps::connect::{Conversation, Peer};
use crate::error::{Error, Result};
use crate::fs::stdin;
use crate::net::Endpoint;
use crate::net::tls::TlsConnector;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::spawn::spawn;
use crate::signal::{SIGINT, SIGTERM, Signals};
use crate::sync::wait_any;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// Talks to the peer until one of both has ended and nothing more is to come.
pub(crate) fn run(args: &ConnectArgs) -> Outcome {
    let tls = tls(args)?;
    super::start_runtime(None)?;
    let writer = Writer::new();
    let (endpoint, limit) = (args.endpoint.clone(), args.connect_timeout.0);
    let conversation = Conversation::new()
        .wait(args.wait)
        .idle_timeout(args.idle_timeout.0)
        .ends_with_peer(io::stdin().is_terminal());
    let output = Output::new(&writer);
    let ended = until_signal(move || {
        let peer = match tls {
            None => Peer::connect(&endpoint, limit.into())?,
            Some((connector, name)) => {
                Peer::connect_tls(&endpoint, &connector, &name, limit.into())?
            }
        };
        talk(&conversation, peer, output)
    });
    match writer.failure() {
        Some(failure) => Err(failure),
        None => ended,
    }
}

/// Whom to trust, and as whom, if TLS was asked for.
fn tls(args: &ConnectArgs) -> Result<Option<(TlsConnector, String)>, Failure> {
    if !args.tls {
        return Ok(None);
    }
    let host = match &args.endpoint {
        Endpoint::Tcp(address) => address.host(),
        Endpoint::Unix(_) => None,
        Endpoint::Udp(_) | Endpoint::Unixgram(_) => {
            return Err(Failure::usage(
                "--tls is for streams, and these are datagrams",
            ));
        }
    };
    let name = args.server_name.clone().or(host);
    let name = name.ok_or_else(|| Failure::usage("--tls needs a --server-name here"))?;
    let connector = match &args.ca {
        _ if args.insecure => TlsConnector::trusting_anybody()?,
        None => TlsConnector::new()?,
        Some(path) => {
            let trusting = || TlsConnector::trusting(&std::fs::read(path)?);
            trusting().map_err(|error| error.context(path.display()))?
        }
    };
    Ok(Some((connector, name)))
}

fn talk(conversation: &Conversation, peer: Peer, mut output: Output) -> Result<()> {
    let mut input = stdin().lock()?;
    let read = move |buf: &mut [u8], limit: Deadline| {
        input
            .read_deadline(buf, limit)
            .map_err(|error| Error::from(error).context("reading standard input").into())
    };
    conversation.hold(peer, read, move |bytes| output.write(bytes))
}

/// Runs `body` in a greenlet; SIGINT and SIGTERM end the wait for it.
pub(super) fn until_signal(body: impl FnOnce() -> Result<()> + Send + 'static) -> Outcome {
    crate::run(move || {
        let signals = Signals::new(&[SIGINT, SIGTERM])?;
        let running: Greenlet<Result<()>> = spawn(body);
        if wait_any(&[&running, &signals])? == 0 {
            return Ok(running.join().map_err(Error::message)??);
        }
        let signal = signals.wait()?;
        // What it holds is given back: a socket's file is removed.
        running.kill_and_wait(Some(GRACE))?;
        // 128 and the number, as a shell reports a process that a signal ended.
        Err(Failure::Silent(
            u8::try_from(128 + signal).unwrap_or(EXIT_INTERRUPTED),
        ))
    })
}

/// Longer than any clean-up takes; a reader of our output may hold it up for ever.
const GRACE: Duration = Duration::from_millis(200);
