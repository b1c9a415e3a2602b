//! The formats that have lines: which one it is, and where an entry begins and ends.

use std::io::{self, BufRead};
use std::time::Duration;

use super::draft::{Draft, Pattern};
use super::lines::{LINE_BYTES_MAX, Lines, Next};
use super::{ListFormat, jsonl, sums};
use crate::fetch::entry::Entry;

/// Reads entries out of lines.
pub(super) struct Texts<R> {
    pub(super) lines: Lines<R>,
    format: ListFormat,
    globs: bool,
    /// The URLs of the entry before are not all told.
    pattern: Option<Pattern>,
    /// The line that was read last is still to be used.
    is_held: bool,
    /// An entry without options need not be waited for: none of this list has had any, and
    /// nobody said that one might.
    is_hasty: bool,
    /// The entry before was not waited for any longer.
    was_cut: bool,
}

impl<R: BufRead> Texts<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self {
            lines,
            format: ListFormat::Auto,
            globs: false,
            pattern: None,
            is_held: false,
            is_hasty: true,
            was_cut: false,
        }
    }

    pub(super) fn set(&mut self, format: ListFormat, globs: bool) {
        self.format = format;
        self.globs = globs;
        self.is_hasty = format == ListFormat::Auto;
    }

    /// The next entry; `None` at the end.
    pub(super) fn entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.pattern.as_mut().and_then(Iterator::next) {
                return Ok(Some(entry));
            }
            self.pattern = None;
            if !self.line()? {
                return Ok(None);
            }
            if let Some(entry) = self.of_line()? {
                return Ok(Some(entry));
            }
        }
    }

    /// Reads the next line that says something; false at the end.
    fn line(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_held) {
            return Ok(true);
        }
        while self.lines.read()? {
            if !is_nothing(self.lines.text()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entry that the line is or begins; `None` if its URLs are a pattern's.
    fn of_line(&mut self) -> io::Result<Option<Entry>> {
        let (line, number) = (self.lines.text(), self.lines.number());
        let at = Some(number);
        if !self.lines.is_whole() {
            let reason = format!("line is longer than {LINE_BYTES_MAX} bytes");
            return Ok(Some(Entry::bad(line, at, reason)));
        }
        if self.format == ListFormat::Auto {
            self.format = guess(line);
        }
        let Ok(text) = std::str::from_utf8(line) else {
            return Ok(Some(Entry::bad(line, at, "not UTF-8")));
        };
        let entry = match self.format {
            ListFormat::JsonLines => jsonl::entry(text, number),
            ListFormat::Checksums => sums::entry(text, number),
            ListFormat::Urls => return Ok(self.finish(Draft::of_url(text.trim(), number))),
            _ if text.starts_with(OBJECT) => jsonl::entry(text, number),
            _ if is_option(line) => Entry::bad(line.trim_ascii(), at, self.orphaned()),
            _ => {
                let mut draft = Draft::of_mirrors(text.trim(), number);
                self.add_options(&mut draft)?;
                return Ok(self.finish(draft));
            }
        };
        Ok(Some(entry))
    }

    fn finish(&mut self, draft: Draft) -> Option<Entry> {
        if !self.globs {
            return Some(draft.entry());
        }
        match draft.pattern() {
            Ok(pattern) => {
                self.pattern = Some(pattern);
                None
            }
            Err(entry) => Some(*entry),
        }
    }

    /// Takes the lines that belong to the entry of the line before.
    fn add_options(&mut self, draft: &mut Draft) -> io::Result<()> {
        self.was_cut = false;
        loop {
            let pause = self.is_hasty.then_some(PAUSE);
            match self.lines.peek(pause)? {
                Next::Inner => {}
                Next::Outer | Next::End => return Ok(()),
                Next::Quiet => {
                    self.was_cut = true;
                    return Ok(());
                }
            }
            self.lines.read()?;
            let line = self.lines.text();
            if is_nothing(line) {
                continue;
            }
            if !is_option(line) {
                self.is_held = true;
                return Ok(());
            }
            self.is_hasty = false;
            draft.option(
                line.trim_ascii(),
                self.lines.number(),
                self.lines.is_whole(),
            );
        }
    }

    /// Why an option is none of any entry.
    fn orphaned(&self) -> &'static str {
        if self.was_cut {
            "an option too late for its URL, which was not waited for any longer: the format \
             must be said to be aria2"
        } else {
            "begins with white space, so it is an option, and there is no URL before it"
        }
    }
}

/// The format that a line is in, the first one of a list.
fn guess(line: &[u8]) -> ListFormat {
    if line.trim_ascii().starts_with(b"{") {
        ListFormat::JsonLines
    } else if sums::is_one(line) {
        ListFormat::Checksums
    } else {
        ListFormat::Aria2
    }
}

fn is_nothing(line: &[u8]) -> bool {
    matches!(line.trim_ascii(), [] | [b'#', ..])
}

/// Tells whether a line is an option of the entry before. What is a URL is none, however
/// far from the margin: people indent.
fn is_option(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    let begins = |scheme: &[u8]| {
        text.get(..scheme.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(scheme))
    };
    text.len() < line.len() && !begins(b"http://") && !begins(b"https://")
}

/// How an object begins, and neither a URL nor a pattern of some.
const OBJECT: &str = "{\"";

/// How long an option may come after its URL, where it is not known that options come.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
