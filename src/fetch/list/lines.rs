//! The lines of a list: each within bounds, gzip undone, and what can be known of the next
//! one before it has come.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;

/// The longest line of a URL list, in bytes. A longer one is an error of that line, so
/// that a wrong file does not fill the memory; servers refuse URLs far shorter.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Waits until a reader has something or has ended, at most so long (`None`: any time);
/// false if nothing came.
pub(super) type Wait<R> = fn(&R, Option<Duration>) -> io::Result<bool>;

/// Reads lines, one at a time, into a buffer of its own.
pub(super) struct Lines<R> {
    input: Input<R>,
    wait: Option<Wait<R>>,
    /// What looked like the front of a byte order mark and is none: it comes first.
    lead: &'static [u8],
    /// Bytes that `input` has for the taking: while there are some, nothing waits.
    buffered: usize,
    ended: bool,
    number: u64,
    text: Vec<u8>,
    is_whole: bool,
}

enum Input<R> {
    Plain(R),
    Gzip(Box<BufReader<MultiGzDecoder<R>>>),
    /// Between the two.
    Moving,
}

/// What a list begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// `<`, after blanks.
    Markup,
    Text,
    Empty,
}

/// What is known of the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It begins with white space or `#`, or is empty.
    Inner,
    /// It begins with anything else.
    Outer,
    /// There is none.
    End,
    /// Nothing of it has come for a while.
    Quiet,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, wait: Option<Wait<R>>) -> Self {
        Self {
            input: Input::Plain(input),
            wait,
            lead: &[],
            buffered: 0,
            ended: false,
            number: 0,
            text: Vec::new(),
            is_whole: true,
        }
    }

    /// Lines begun so far: the number of the last one.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The last line that was read, without its end; cut at [`LINE_BYTES_MAX`].
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Looks at the first bytes: undoes gzip from here on, and skips a byte order mark and
    /// empty lines.
    pub(super) fn start(&mut self) -> io::Result<Start> {
        // No text begins with this control character.
        if self.fill()?.first() == Some(&GZIP_BEGINS) {
            self.gunzip();
        }
        // They may come one at a time, and cannot be looked at together.
        let mut seen = 0;
        while seen < BYTE_ORDER_MARK.len() && self.fill()?.first() == Some(&BYTE_ORDER_MARK[seen]) {
            self.consume(1);
            seen += 1;
        }
        if seen < BYTE_ORDER_MARK.len() {
            self.lead = &BYTE_ORDER_MARK[..seen];
        }
        loop {
            match self.fill()?.first() {
                None => return Ok(Start::Empty),
                Some(b'<') => return Ok(Start::Markup),
                Some(b'\n') => self.number += 1,
                Some(b'\r') => {}
                Some(_) => return Ok(Start::Text),
            }
            self.consume(1);
        }
    }

    fn gunzip(&mut self) {
        if let Input::Plain(input) = std::mem::replace(&mut self.input, Input::Moving) {
            let input = BufReader::new(MultiGzDecoder::new(input));
            self.input = Input::Gzip(Box::new(input));
        }
        self.buffered = 0;
    }

    /// False if the last line that was read is longer than what [`Lines::text`] has of it.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Reads a line; false at the end of the list.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let read = self.read_into(&mut text);
        self.text = text;
        read
    }

    fn read_into(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let mut whole = true;
        let mut begun = false;
        loop {
            let buffer = self.fill()?;
            if buffer.is_empty() && !begun {
                return Ok(false);
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            let room = LINE_BYTES_MAX - text.len();
            whole &= piece.len() <= room;
            text.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.consume(used);
            begun = true;
            if end.is_some() || used == 0 {
                self.number += 1;
                self.is_whole = whole;
                return Ok(true);
            }
        }
    }

    /// Looks at the first byte of the next line, waiting for it at most `pause`, where that
    /// can be told; without one, as long as it takes.
    pub(super) fn peek(&mut self, pause: Option<Duration>) -> io::Result<Next> {
        if self.buffered == 0
            && self.lead.is_empty()
            && let (Some(pause), Some(wait), Input::Plain(input)) = (pause, self.wait, &self.input)
            && !wait(input, Some(pause))?
        {
            return Ok(Next::Quiet);
        }
        Ok(match self.fill()?.first() {
            None => Next::End,
            Some(b' ' | b'\t' | b'\r' | b'\n' | b'#') => Next::Inner,
            Some(_) => Next::Outer,
        })
    }

    /// What is there for the taking; waits for more if it is nothing. Empty at the end.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if !self.lead.is_empty() {
            return Ok(self.lead);
        }
        if self.ended {
            return Ok(&[]);
        }
        while self.buffered == 0 {
            let failed = match self.input.fill_buf() {
                Ok([]) => {
                    // A terminal or a file that grows would go on.
                    self.ended = true;
                    return Ok(&[]);
                }
                Ok(buffer) => {
                    self.buffered = buffer.len();
                    break;
                }
                Err(failed) => failed,
            };
            match (failed.kind(), self.wait, &self.input) {
                (ErrorKind::Interrupted, ..) => {}
                // Somebody else has made the descriptor non-blocking.
                (ErrorKind::WouldBlock, Some(wait), Input::Plain(input)) => {
                    wait(input, None)?;
                }
                _ => return Err(failed),
            }
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if !self.lead.is_empty() {
            self.lead = &self.lead[count..];
            return;
        }
        self.buffered -= count;
        self.input.consume(count);
    }
}

/// The bytes, for formats that have no lines. Lines are counted all the same.
impl<R: BufRead> io::Read for Lines<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill()?.read(into)?;
        BufRead::consume(self, count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Lines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()
    }

    fn consume(&mut self, count: usize) {
        if count > 0
            && let Ok(buffer) = self.fill()
        {
            let ends = buffer[..count].iter().filter(|b| **b == b'\n').count();
            self.number += ends as u64;
            Self::consume(self, count);
        }
    }
}

impl<R: BufRead> Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(input) => input.fill_buf(),
            Self::Gzip(input) => input.fill_buf(),
            Self::Moving => Ok(&[]),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(input) => input.consume(count),
            Self::Gzip(input) => input.consume(count),
            Self::Moving => {}
        }
    }
}

impl<R> fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The first byte of RFC 1952's two.
const GZIP_BEGINS: u8 = 0x1f;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// The lines with their numbers; an overlong one as its length.
    fn read(list: &[u8], at_once: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(BufReader::with_capacity(at_once, list), None);
        lines.start().unwrap();
        let mut all = Vec::new();
        while lines.read().unwrap() {
            let text = String::from_utf8_lossy(lines.text()).into_owned();
            let text = match lines.is_whole() {
                true => text,
                false => text.len().to_string(),
            };
            all.push((lines.number(), text));
        }
        all
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let mut list = b"\xef\xbb\xbf\r\n\na\n\n  b\r\n".to_vec();
        list.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        list.extend(b"\nlast");
        let expected = [(3, "a"), (4, ""), (5, "  b\r"), (6, "65536"), (7, "last")]
            .map(|(line, text)| (line, text.to_owned()));
        let packed = gzip(&list);
        let mut twice = gzip(&list[..20]);
        twice.extend(gzip(&list[20..]));
        for at_once in [1, 2, 3, 8192] {
            assert_eq!(read(&list, at_once), expected, "{at_once}");
            assert_eq!(read(&packed, at_once), expected, "{at_once}");
            assert_eq!(read(&twice, at_once), expected, "{at_once}");
        }
        assert!(read(b"", 8).is_empty());
        assert!(read(b"\xef\xbb\xbf", 1).is_empty());
        // Those that only begin as the mark does lose nothing.
        for text in ["\u{ff1a}a", "\u{feff}\u{feff}", "\u{feff}\u{ff1a}"] {
            let expected = text.strip_prefix('\u{feff}').unwrap_or(text);
            for at_once in [1, 100] {
                let list = format!("{text}\nb");
                let expected = [(1, expected.to_owned()), (2, "b".to_owned())];
                assert_eq!(read(list.as_bytes(), at_once), expected);
            }
        }
        assert_eq!(read(b"\xef\xbb", 1), [(1, "\u{fffd}".to_owned())]);
    }

    #[test]
    fn a_broken_archive_is_an_error_after_what_was_whole() {
        let packed = gzip(b"a\nb\n");
        let mut lines = Lines::new(&packed[..packed.len() - 4], None);
        lines.start().unwrap();
        assert!(lines.read().unwrap());
        let last = std::iter::repeat_with(|| lines.read()).find(|read| !matches!(read, Ok(true)));
        assert!(last.unwrap().is_err());
    }

    #[test]
    fn a_bomb_of_one_line_is_cut() {
        let packed = gzip(&vec![b'x'; 8 << 20]);
        assert!(packed.len() < 100_000);
        assert_eq!(read(&packed, 8192), [(1, "65536".to_owned())]);
    }

    #[test]
    fn the_next_line_is_looked_at_and_stays() {
        let mut lines = Lines::new(&b"a\n b\n#\n\nc"[..], None);
        let mut seen = Vec::new();
        loop {
            seen.push(lines.peek(None).unwrap());
            if !lines.read().unwrap() {
                break;
            }
        }
        use Next::{End, Inner, Outer};
        assert_eq!(seen, [Outer, Inner, Inner, Inner, Outer, End]);
        assert_eq!(lines.number(), 5);
    }

    #[test]
    fn quiet_is_asked_for_only_where_nothing_is_buffered() {
        let mut lines = Lines::new(&b"a\nb\n"[..], Some(|_, _| Ok(false)));
        assert_eq!(lines.peek(Some(Duration::ZERO)).unwrap(), Next::Quiet);
        lines.read().unwrap();
        assert_eq!(lines.peek(Some(Duration::ZERO)).unwrap(), Next::Outer);
        lines.read().unwrap();
        assert_eq!(lines.peek(Some(Duration::ZERO)).unwrap(), Next::Quiet);
        assert_eq!(lines.peek(None).unwrap(), Next::End);
    }
}
