//! `greenloop chat`: a member of a chat room.

use super::args::ChatArgs;
use super::connect::until_signal;
use super::terminal::{Output, Writer};
use super::{Failure, Outcome};
use crate::apps::connect::{Conversation, Peer};
use crate::error::{Error, Result};
use crate::fs::stdin;
use crate::runtime::deadline::Deadline;
use std::io::{self, IsTerminal, Read};

/// Sends the lines of the input and prints those of the room, until one of both has ended.
pub(crate) fn run(args: &ChatArgs) -> Outcome {
    if args.endpoint.is_datagram() {
        return Err(Failure::usage(format_args!(
            "{} is for datagrams, and a chat room is talked to over connections: expected \
             tcp:// or unix:",
            args.endpoint
        )));
    }
    super::start_runtime(None)?;
    let writer = Writer::new();
    let output = Output::new(&writer);
    let (endpoint, limit) = (args.endpoint.clone(), args.connect_timeout.0);
    let name = args.name.as_ref().map(|name| format!("{name}\n"));
    let ended = until_signal(move || {
        let peer = Peer::connect(&endpoint, limit.into())?;
        talk(peer, name.unwrap_or_default(), output)
    });
    match writer.failure() {
        Some(failure) => Err(failure),
        None => ended,
    }
}

fn talk(peer: Peer, name: String, output: Output) -> Result<()> {
    let mut input = stdin().lock()?;
    let mut name = io::Cursor::new(name);
    let read = move |buf: &mut [u8], limit: Deadline| match name.read(buf)? {
        0 => input
            .read_deadline(buf, limit)
            .map_err(|error| Error::from(error).context("reading standard input").into()),
        count => Ok(count),
    };
    let is_typed = io::stdin().is_terminal();
    let mut above = Above::new(output, is_typed && io::stdout().is_terminal());
    Conversation::new()
        .ends_with_peer(is_typed)
        .hold(peer, read, move |bytes| above.write(bytes))
}

/// Where lines come in while another one is being typed: they take its place, and what was
/// typed is still in the terminal's line (Ctrl-R shows it again).
struct Above {
    output: Output,
    clears: bool,
    begins_line: bool,
}

impl Above {
    fn new(output: Output, clears: bool) -> Self {
        Self {
            output,
            clears,
            begins_line: true,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            if self.clears && self.begins_line {
                self.output.write_raw(CLEAR_LINE)?;
            }
            self.begins_line = *last == b'\n';
        }
        self.output.write(bytes)
    }
}

/// To the first column, and erase to the end (ECMA-48: CR, EL).
const CLEAR_LINE: &[u8] = b"\r\x1b[K";
