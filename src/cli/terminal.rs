//! Standard output for what peers say: as it is into a pipe or a file, made safe on a
//! terminal.
//!
//! A reader that has stopped reading must not stop a worker, so an OS thread writes, and
//! the greenlet waits for it. Nothing is buffered: a prompt without a line end is seen.

use super::{Failure, out};
use crate::error::Result;
use crate::runtime::lane::Lane;
use crate::sync::Event;
use crate::util::{is_unsafe_on_a_terminal, lock};
use rustix::event::{PollFd, PollFlags, poll};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex};

/// Where a peer's bytes go.
pub(super) struct Output {
    writer: Writer,
    terminal: Option<SafeText>,
}

/// Writes to standard output, and remembers why it could not.
#[derive(Clone)]
pub(super) struct Writer {
    lane: Lane,
    failure: Arc<Mutex<Option<Failure>>>,
    has_failed: Event,
}

impl Output {
    /// Standard output, whatever it is.
    pub(super) fn new(writer: &Writer) -> Self {
        Self {
            writer: writer.clone(),
            terminal: io::stdout().is_terminal().then(SafeText::default),
        }
    }

    /// Writes all of it, but for the beginning of a character on a terminal; with 0 bytes
    /// that, too.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(match &mut self.terminal {
            None => bytes.to_vec(),
            Some(text) if bytes.is_empty() => text.finish().into_bytes(),
            Some(text) => text.add(bytes).into_bytes(),
        })
    }

    /// Writes what is ours and may move the cursor.
    pub(super) fn write_raw(&self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(bytes.to_vec())
    }
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            lane: Lane::new("greenloop-print").threads_max(1),
            failure: Arc::default(),
            has_failed: Event::new(),
        }
    }

    /// Writes all of it; waits the greenlet's way while nobody reads.
    pub(super) fn write(&self, bytes: Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.lane.run(move || write_all(&bytes))?;
        written.map_err(|error| {
            let told = io::Error::from(error.kind());
            lock(&self.failure).get_or_insert(out::write_failure(error));
            self.has_failed.set();
            told
        })
    }

    /// Waits until a write fails.
    pub(super) fn wait_failed(&self) -> Result<()> {
        self.has_failed.wait()
    }

    /// Why a write has failed, if one has.
    pub(super) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).take()
    }
}

/// Without the buffer of std's, which looks for lines. Another process may have made what
/// we share with it non-blocking.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&stdout, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                match poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Text that comes in pieces, made safe for a terminal: lines and tabs stay, what else
/// controls it is escaped, and so is what is no UTF-8.
#[derive(Default)]
pub(super) struct SafeText {
    /// The beginning of a character, or of a line end.
    held: Vec<u8>,
}

impl SafeText {
    /// What can be shown once `bytes` are there too.
    pub(super) fn add(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let rest = self
            .held
            .split_off(self.held.len() - unfinished(&self.held));
        shown(&std::mem::replace(&mut self.held, rest))
    }

    /// What is left when nothing follows.
    pub(super) fn finish(&mut self) -> String {
        shown(&std::mem::take(&mut self.held))
    }
}

/// How many bytes at the end have a meaning only with what follows.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    let tail = bytes.iter().rev().take(3).enumerate();
    for (after, byte) in tail {
        let length = match byte {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 0,
        };
        return if length > after + 1 { after + 1 } else { 0 };
    }
    0
}

fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\n' | '\t' => text.push(c),
                // Alone it would let what follows hide what stands there.
                '\r' if chars.peek() == Some(&'\n') => {}
                c if is_unsafe_on_a_terminal(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: &[&[u8]]) -> Vec<String> {
        let mut text = SafeText::default();
        let mut all: Vec<_> = pieces.iter().map(|piece| text.add(piece)).collect();
        all.push(text.finish());
        all
    }

    #[test]
    fn text_is_shown_and_what_controls_a_terminal_is_escaped() {
        let safe = |bytes: &[u8]| pieces(&[bytes]).concat();
        assert_eq!(safe("你是who?\t\\ok\n".as_bytes()), "你是who?\t\\ok\n");
        assert_eq!(safe(b"a\x1b[2J\x07\x7f"), "a\\u{1b}[2J\\u{7}\\u{7f}");
        assert_eq!(safe(b"one\r\ntwo\rtwo"), "one\ntwo\\rtwo");
        assert_eq!(safe("a\u{9b}\u{202e}b".as_bytes()), "a\\u{9b}\\u{202e}b");
        assert_eq!(safe(b"\xff\xc0\x80"), "\\xff\\xc0\\x80");
    }

    #[test]
    fn characters_may_come_in_pieces() {
        let cut = pieces(&[b"\xe6", b"\x88\x91\xe7", b"\x88", b"\xb1!"]);
        assert_eq!(cut, ["", "我", "", "爱!", ""]);
        assert_eq!(pieces(&[b"a\r", b"\nb\r", b"c"]), ["a", "\nb", "\\rc", ""]);
        assert_eq!(pieces(&[b"\xf0\x9f\x98"]), ["", "\\xf0\\x9f\\x98"]);
        assert_eq!(pieces(&[b"\xe6", b"x"]), ["", "\\xe6x", ""]);
        assert_eq!(pieces(&[b"\x80\x80\x80\x80"]), ["\\x80\\x80\\x80\\x80", ""]);
    }
}
