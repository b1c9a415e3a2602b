//! The framing demo: what a stream does to messages, and what a length before each one helps.
//!
//! Here: the program and what it prints. Not here: options and standard output (`cli/`).

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::error::Result;
use crate::net::{TcpListener, TcpStream};
use crate::proto::frame::{Decoder, PREFIX_BYTES, encode};
use crate::runtime::sleep::sleep;
use crate::util::escape;

/// Sends two messages over a loopback connection, without and with a length before each, and
/// writes to `out` what arrives.
///
/// The output is the same on every run: the reader begins when all that was sent is there.
///
/// # Switching
/// May switch: it waits for a connection of its own, on loopback.
///
/// # Errors
/// What writing to `out` gives, and what the system says of the connection.
///
/// # Examples
///
/// ```
/// let mut out = Vec::new();
/// greenloop::apps::demo_framing::framing_demo(&mut out)?;
/// let text = String::from_utf8_lossy(&out);
/// assert!(text.contains("read: \"hellodear world\" (15 bytes)\n"), "{text}");
/// assert!(text.contains("message: \"hello\"\n  message: \"dear world\"\n"), "{text}");
/// # Ok::<(), greenloop::Error>(())
/// ```
pub fn framing_demo(out: &mut dyn Write) -> Result<()> {
    let mut pair = Pair::connect()?;
    sticky(out, &mut pair)?;
    let mut decoder = Decoder::new(LIMIT_BYTES);
    writeln!(out, "with a length: two sends, one read, two messages")?;
    kept_apart(out, &mut pair, &mut decoder, 1024)?;
    writeln!(
        out,
        "with a length: reads of {PIECE_BYTES} bytes, two messages"
    )?;
    kept_apart(out, &mut pair, &mut decoder, PIECE_BYTES)?;

    writeln!(out, "a length over the limit of {LIMIT_BYTES} bytes")?;
    let claim = [0xff; PREFIX_BYTES];
    writeln!(out, "  read: {}", hex(&claim))?;
    give(out, &mut decoder, &claim)
}

fn sticky(out: &mut dyn Write, pair: &mut Pair) -> Result<()> {
    writeln!(out, "without a length: two sends, one read")?;
    for message in MESSAGES {
        pair.send(out, message)?;
    }
    let read = pair.read(1024)?;
    let size = read.len();
    Ok(writeln!(out, "  read: {} ({size} bytes)", quoted(&read))?)
}

/// Sends frames, and takes messages out of reads of at most `room` bytes.
fn kept_apart(
    out: &mut dyn Write,
    pair: &mut Pair,
    decoder: &mut Decoder,
    room: usize,
) -> Result<()> {
    for message in MESSAGES {
        pair.send_frame(out, message)?;
    }
    while pair.unread > 0 {
        let read = pair.read(room)?;
        writeln!(out, "  read: {} bytes", read.len())?;
        give(out, decoder, &read)?;
    }
    Ok(())
}

/// Gives the decoder what was read, and shows the messages that are whole now.
fn give(out: &mut dyn Write, decoder: &mut Decoder, read: &[u8]) -> Result<()> {
    decoder.give(read);
    loop {
        match decoder.take() {
            Ok(Some(message)) => writeln!(out, "  message: {}", quoted(message))?,
            Ok(None) => return Ok(()),
            Err(error) => return Ok(writeln!(out, "  refused: {error}")?),
        }
    }
}

/// Both ends of a connection, and how much of what one sent the other has not read.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    unread: usize,
}

impl Pair {
    fn connect() -> Result<Self> {
        let mut listener = TcpListener::bind("127.0.0.1:0")?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        let unread = 0;
        Ok(Self { near, far, unread })
    }

    fn send(&mut self, out: &mut dyn Write, message: &str) -> Result<()> {
        self.near.write_all(message.as_bytes())?;
        self.unread += message.len();
        let size = message.len();
        Ok(writeln!(
            out,
            "  sent: {} ({size} bytes)",
            quoted(message.as_bytes())
        )?)
    }

    fn send_frame(&mut self, out: &mut dyn Write, message: &str) -> Result<()> {
        let mut frame = Vec::new();
        encode(message.as_bytes(), &mut frame).map_err(io::Error::other)?;
        self.near.write_all(&frame)?;
        self.unread += frame.len();
        let (length, message) = frame.split_at(PREFIX_BYTES);
        let size = frame.len();
        Ok(writeln!(
            out,
            "  sent: {} {} ({size} bytes)",
            hex(length),
            quoted(message)
        )?)
    }

    /// Reads once, into a buffer of so many bytes, when all that was sent has arrived.
    fn read(&mut self, room: usize) -> Result<Vec<u8>> {
        let mut buf = vec![0; room.max(self.unread)];
        while self.far.peek(&mut buf)? < self.unread {
            sleep(Duration::from_millis(1))?;
        }
        buf.truncate(room);
        let count = self.far.read(&mut buf)?;
        self.unread -= count;
        buf.truncate(count);
        Ok(buf)
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", escape(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    digits.join(" ")
}

const MESSAGES: [&str; 2] = ["hello", "dear world"];

/// The first message ends inside a piece, and the length of the second is torn in two.
const PIECE_BYTES: usize = 10;

const LIMIT_BYTES: usize = 1024;
