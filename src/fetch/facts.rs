//! What is remembered beside a partial file, for a later run. Pure.
//!
//! A text of JSON lines that only grows: the first names the file, each further one says
//! which of its bytes are there, and the last of them counts. A line is written after the
//! bytes that it speaks of. A line that was cut off is as if it had not been written.

use reqwest::Url;
use serde_json::{Value, json};

use super::plan::without_password;
use super::resume::Pin;

/// The facts about one partial file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Where it comes from, without user name and password.
    pub(crate) url: String,
    pub(crate) pin: Pin,
    /// What is there of it.
    pub(crate) done: Done,
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
            done: Done::default(),
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
            done: lines.map_while(Done::from_line).last().unwrap_or_default(),
        })
    }
}

/// Which bytes of a file are there: ranges from a first byte to the one after the last,
/// in order and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done(Vec<(u64, u64)>);

impl Done {
    /// The first `length` bytes.
    pub(crate) fn up_to(length: u64) -> Self {
        let mut done = Self::default();
        done.add(0, length);
        done
    }

    /// Adds the bytes from `start` to before `end`.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Those that it touches or overlaps become one with it.
        let first = self.0.partition_point(|(_, to)| *to < start);
        let last = self.0.partition_point(|(from, _)| *from <= end);
        let touched = &self.0[first..last];
        let from = touched.first().map_or(start, |(from, _)| start.min(*from));
        let to = touched.last().map_or(end, |(_, to)| end.max(*to));
        self.0.splice(first..last, [(from, to)]);
    }

    /// How many bytes are there from the first one on without a gap.
    pub(crate) fn front(&self) -> u64 {
        match self.0.first() {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// As a line of facts.
    pub(crate) fn to_line(&self) -> String {
        format!("{}\n", json!({ "done": self.0 }))
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let mut done = Self::default();
        for range in value.get("done")?.as_array()? {
            let [start, end] = range.as_array()?.as_slice() else {
                return None;
            };
            done.add(start.as_u64()?, end.as_u64()?);
        }
        Some(done)
    }
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
        text += &Done::up_to(10).to_line();
        let before = text.len();
        text += &Done::up_to(20).to_line();
        for end in before..=text.len() {
            let found = Facts::from_text(&text.as_bytes()[..end]).unwrap();
            let expected = if end == text.len() { 20 } else { 10 };
            assert_eq!(found.done.front(), expected, "{end}");
        }
        text += "{\"done\":[[0\n";
        text += &Done::up_to(30).to_line();
        let found = Facts::from_text(text.as_bytes()).unwrap();
        assert_eq!(
            found.done.front(),
            20,
            "nothing counts after a line that is none"
        );
    }

    #[test]
    fn ranges_are_joined_where_they_meet() {
        let mut done = Done::default();
        for (range, expected) in [
            ((10, 20), vec![(10, 20)]),
            ((30, 40), vec![(10, 20), (30, 40)]),
            ((5, 5), vec![(10, 20), (30, 40)]),
            ((20, 25), vec![(10, 25), (30, 40)]),
            ((26, 30), vec![(10, 25), (26, 40)]),
            ((0, 3), vec![(0, 3), (10, 25), (26, 40)]),
            ((2, 50), vec![(0, 50)]),
        ] {
            done.add(range.0, range.1);
            assert_eq!(done.ranges(), expected, "{range:?}");
        }
        assert_eq!(done.front(), 50);
        let line = done.to_line();
        assert_eq!(Done::from_line(line.trim_end().as_bytes()), Some(done));
    }
}
