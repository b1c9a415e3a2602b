//! What is remembered beside a partial file, for a later run. Pure.
//!
//! A text of JSON lines that only grows: the first names the file, each further one says
//! which of its bytes are there, and the last of them counts. A line is written after the
//! bytes that it speaks of. A line that was cut off is as if it had not been written.

use std::ops::Range;

use reqwest::Url;
use serde_json::{Value, json};

use super::plan::without_password;
use super::ranges::Ranges;
use super::resume::Pin;

/// The facts about one partial file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Where it comes from, without user name and password.
    pub(crate) url: String,
    pub(crate) pin: Pin,
    /// What is there of it.
    pub(crate) done: Ranges,
}

/// A text of facts is never longer than this: before it would be, it is begun anew with the
/// line that counts. A longer one is not ours.
pub(crate) const FACTS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Raised when the meaning of a line changes; others are not understood.
const FACTS_VERSION: u64 = 2;

impl Facts {
    pub(crate) fn new(url: &Url, pin: Pin) -> Self {
        Self {
            url: without_password(url),
            pin,
            done: Ranges::default(),
        }
    }

    /// Tells whether they are about what `url` names.
    pub(crate) fn is_about(&self, url: &Url) -> bool {
        self.url == without_password(url)
    }

    /// The first line.
    pub(crate) fn to_line(&self) -> String {
        let Pin {
            etag,
            last_modified,
            total,
        } = &self.pin;
        let value = json!({
            "greenloop": FACTS_VERSION,
            "url": self.url,
            "etag": etag,
            "last_modified": last_modified,
            "total": total,
        });
        format!("{value}\n")
    }

    /// Reads them back, with the ends of their first line and of the last that counts;
    /// `None` if the text is of another program or version.
    pub(crate) fn from_text(text: &[u8]) -> Option<(Self, Range<usize>)> {
        // The line end is written last: without it a line may be cut.
        let mut lines = text
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"));
        let head = lines.next()?;
        let value: Value = serde_json::from_slice(head).ok()?;
        if value.get("greenloop")?.as_u64()? != FACTS_VERSION {
            return None;
        }
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut facts = Self {
            url: text("url")?,
            pin: Pin {
                etag: text("etag"),
                last_modified: text("last_modified"),
                total: value.get("total").and_then(Value::as_u64),
            },
            done: Ranges::default(),
        };
        let start = head.len() + 1;
        let mut end = start;
        // Nothing counts after a line that is none.
        for (line, done) in lines.map_while(|line| Some((line, done_from_line(line)?))) {
            facts.done = done;
            end += line.len() + 1;
        }
        Some((facts, start..end))
    }
}

/// Tells whether a text of which nothing can be read may be the beginning of ours.
pub(crate) fn is_torn(text: &[u8]) -> bool {
    if text.iter().all(|byte| *byte == 0) {
        return true;
    }
    if text.contains(&b'\n') {
        return false;
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => value.get("greenloop").is_some_and(Value::is_u64),
        Err(error) => error.is_eof(),
    }
}

/// What is there, as a line of facts.
pub(crate) fn done_line(done: &Ranges) -> String {
    format!("{}\n", json!({ "done": done.to_json() }))
}

fn done_from_line(line: &[u8]) -> Option<Ranges> {
    let value: Value = serde_json::from_slice(line).ok()?;
    Ranges::from_json(value.get("done")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::resume::Fields;

    fn facts() -> Facts {
        let url = Url::parse("http://user:secret@h/a?b=\"c\"").unwrap();
        let pin = Pin::of(&Fields {
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            etag: Some("\"a\""),
            content_length: Some(100),
            ..Fields::default()
        });
        Facts::new(&url, pin)
    }

    #[test]
    fn facts_come_back_as_they_were_written_or_not_at_all() {
        let facts = facts();
        let line = facts.to_line();
        assert!(!line.contains("secret"));
        assert_eq!(line.matches('\n').count(), 1);
        let found = Facts::from_text(line.as_bytes());
        assert_eq!(found, Some((facts.clone(), line.len()..line.len())));
        assert!(facts.is_about(&Url::parse("http://h/a?b=\"c\"").unwrap()));
        assert!(!facts.is_about(&Url::parse("http://h/b").unwrap()));
        for cut in 0..line.len() {
            assert_eq!(
                Facts::from_text(&line.as_bytes()[..cut]),
                None,
                "cut at {cut}"
            );
        }
        for bad in ["{}\n", "null\n", "{\"greenloop\":1,\"url\":\"x\"}\n", "\n"] {
            assert_eq!(Facts::from_text(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_known_for_one_of_ours() {
        let line = facts().to_line();
        for cut in 0..line.len() {
            assert!(is_torn(&line.as_bytes()[..cut]), "cut at {cut}");
        }
        assert!(is_torn(&[0; 300]));
        for other in [
            "\n",
            "{}",
            "{\"some\":1}",
            "some text",
            "\0x",
            "{\"greenloop\":1}\n",
        ] {
            assert!(!is_torn(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn the_last_whole_line_says_what_is_there() {
        let mut text = facts().to_line();
        text += &done_line(&Ranges::before(10));
        let before = text.len();
        text += &done_line(&Ranges::before(20));
        for end in before..=text.len() {
            let (found, lines) = Facts::from_text(&text.as_bytes()[..end]).unwrap();
            let (expected, counts) = match end == text.len() {
                true => (20, end),
                false => (10, before),
            };
            assert_eq!((found.done.prefix(), lines.end), (expected, counts));
        }
        let whole = text.len();
        text += "{\"done\":[[0\n";
        text += &done_line(&Ranges::before(30));
        let (found, lines) = Facts::from_text(text.as_bytes()).unwrap();
        assert_eq!(
            (found.done.prefix(), lines.end),
            (20, whole),
            "nothing counts after a line that is none"
        );
    }
}
