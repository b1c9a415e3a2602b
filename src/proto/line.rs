//! Lines out of bytes that come in pieces, of bounded length.

use std::fmt;

/// Cuts a stream of bytes into lines.
///
/// A line ends with `\n` or `\r\n`, which are not part of it. One of more than `max` bytes
/// is dropped: it is reported once, as soon as that is known, and what follows it is read
/// as usual. So it holds at most `max` bytes and what was fed last, whatever a peer sends.
///
/// # Examples
///
/// ```
/// use greenloop::proto::line::{LineSplitter, TooLong};
///
/// let mut lines = LineSplitter::new(5);
/// lines.feed(b"one\r\ntw");
/// assert_eq!(lines.next_line(), Some(Ok(&b"one"[..])));
/// assert_eq!(lines.next_line(), None); // not whole yet
/// lines.feed(b"o\nendless");
/// assert_eq!(lines.next_line(), Some(Ok(&b"two"[..])));
/// assert_eq!(lines.next_line(), Some(Err(TooLong)));
/// lines.feed(b" and more\nlast");
/// assert_eq!(lines.next_line(), None);
/// assert_eq!(lines.rest(), Some(Ok(&b"last"[..])));
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no end of line.
    searched: usize,
    max: usize,
    /// Inside of a line that was reported as too long.
    skips: bool,
}

/// A line had more bytes than allowed, and was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl LineSplitter {
    /// A splitter for lines of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            max,
            skips: false,
        }
    }

    /// Takes in what has arrived. Take out all lines before the next call.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line that is whole.
    pub fn next_line(&mut self) -> Option<Result<&[u8], TooLong>> {
        loop {
            let begin = self.start;
            let end = self.bytes[self.searched..].iter().position(|b| *b == b'\n');
            let Some(end) = end.map(|at| self.searched + at) else {
                self.searched = self.bytes.len();
                return self.is_too_long_already().then_some(Err(TooLong));
            };
            self.start = end + 1;
            self.searched = self.start;
            if !std::mem::take(&mut self.skips) {
                return Some(self.bounded(begin, end));
            }
        }
    }

    /// What is left without an end of line, when no more will come.
    pub fn rest(&mut self) -> Option<Result<&[u8], TooLong>> {
        let (begin, end) = (self.start, self.bytes.len());
        self.start = end;
        self.searched = end;
        let is_nothing = std::mem::take(&mut self.skips) || begin == end;
        (!is_nothing).then(|| self.bounded(begin, end))
    }

    fn bounded(&self, begin: usize, end: usize) -> Result<&[u8], TooLong> {
        let line = &self.bytes[begin..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.max {
            return Err(TooLong);
        }
        Ok(line)
    }

    /// Lets go of a line whose end cannot come in time any more; true the first time.
    fn is_too_long_already(&mut self) -> bool {
        // One more byte may be the `\r` of its end.
        let is_over = self.bytes.len() - self.start > self.max + 1;
        let is_news = is_over && !self.skips;
        if is_over || self.skips {
            self.skips = true;
            self.start = self.bytes.len();
        }
        is_news
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("line too long")
    }
}

impl std::error::Error for TooLong {}

#[cfg(test)]
mod tests {
    use super::{LineSplitter, TooLong};

    /// The lines of `pieces`, `!` for one that is too long, and the rest after a `|`.
    fn split(max: usize, pieces: &[&[u8]]) -> String {
        let mut lines = LineSplitter::new(max);
        let show = |line: Result<&[u8], TooLong>| match line {
            Ok(line) => String::from_utf8_lossy(line).into_owned(),
            Err(TooLong) => "!".into(),
        };
        let mut seen = Vec::new();
        for piece in pieces {
            lines.feed(piece);
            while let Some(line) = lines.next_line() {
                seen.push(show(line));
            }
            assert!(lines.bytes.len() - lines.start <= max + 1);
        }
        let rest = lines.rest().map(show).unwrap_or_default();
        format!("{}|{rest}", seen.join(","))
    }

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        let table: &[(&[u8], &str)] = &[
            (b"", "|"),
            (b"a", "|a"),
            (b"a\n", "a|"),
            (b"a\r\n", "a|"),
            (b"\n\r\n\n", ",,|"),
            (b"a\rb\n", "a\rb|"),
            (b"a\r\r\n", "a\r|"),
            (b"one\ntwo\r\nthree", "one,two|three"),
            (b"12345\n12345\r\n12345", "12345,12345|12345"),
            (b"123456\nab\n", "!,ab|"),
            (b"12345678\nab", "!|ab"),
            (b"12345678", "!|"),
            (b"123456", "|!"),
            (b"x\n1234567890\n\n", "x,!,|"),
        ];
        for (bytes, expected) in table {
            assert_eq!(split(5, &[bytes]), *expected, "{bytes:?} at once");
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(split(5, &single), *expected, "{bytes:?} byte by byte");
        }
    }

    #[test]
    fn endless_line_is_told_once_and_takes_no_memory() {
        let piece = vec![b'x'; 1000];
        let mut lines = LineSplitter::new(10);
        let mut told = 0;
        for _ in 0..1000 {
            lines.feed(&piece);
            while let Some(line) = lines.next_line() {
                assert_eq!(line, Err(TooLong));
                told += 1;
            }
        }
        lines.feed(b"\nshort\n");
        assert_eq!(lines.next_line(), Some(Ok(&b"short"[..])));
        assert_eq!((told, lines.next_line()), (1, None));
        assert!(lines.bytes.capacity() <= 4096);
    }
}
