//! What is remembered beside a partial file, for a later run. Pure.
//!
//! A text of JSON lines that only grows: the first names the file, each further one says
//! which of its bytes are there, and the last of them counts. A line is written after the
//! bytes that it speaks of. A line that was cut off is as if it had not been written.

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

/// A text of facts is never longer than this; a longer one is not ours.
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

    /// Reads them back; `None` if the text is of another program or version.
    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        // The line end is written last: without it a line may be cut.
        let mut lines = text
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"));
        let value: Value = serde_json::from_slice(lines.next()?).ok()?;
        if value.get("greenloop")?.as_u64()? != FACTS_VERSION {
            return None;
        }
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let pin = Pin {
            etag: text("etag"),
            last_modified: text("last_modified"),
            total: value.get("total").and_then(Value::as_u64),
        };
        Some(Self {
            url: text("url")?,
            pin,
            done: lines.map_while(done_from_line).last().unwrap_or_default(),
        })
    }
}

/// The length of the front of a text of facts that counts.
pub(crate) fn whole_bytes(text: &[u8]) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines
        .take_while(|(n, line)| {
            let line = line.strip_suffix(b"\n");
            line.is_some_and(|line| *n == 0 || done_from_line(line).is_some())
        })
        .map(|(_, line)| line.len())
        .sum()
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
        assert_eq!(Facts::from_text(line.as_bytes()), Some(facts.clone()));
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
    fn the_last_whole_line_says_what_is_there() {
        let mut text = facts().to_line();
        text += &done_line(&Ranges::before(10));
        let before = text.len();
        text += &done_line(&Ranges::before(20));
        for end in before..=text.len() {
            let found = Facts::from_text(&text.as_bytes()[..end]).unwrap();
            let expected = if end == text.len() { 20 } else { 10 };
            assert_eq!(found.done.prefix(), expected, "{end}");
        }
        text += "{\"done\":[[0\n";
        text += &done_line(&Ranges::before(30));
        let found = Facts::from_text(text.as_bytes()).unwrap();
        assert_eq!(
            found.done.prefix(),
            20,
            "nothing counts after a line that is none"
        );
        // So the next line goes where that one is.
        text.truncate(whole_bytes(text.as_bytes()));
        text += &done_line(&Ranges::before(40));
        assert_eq!(whole_bytes(text.as_bytes()), text.len());
        let found = Facts::from_text(text.as_bytes()).unwrap();
        assert_eq!(found.done.prefix(), 40);
        assert_eq!(whole_bytes(b"cut off"), 0);
    }
}
