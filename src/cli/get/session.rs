//! The list of `--save-session`: what failed, as `--input-file` reads it with the same
//! meaning.

use super::lines::failed;
use crate::fetch::{ListFormat, Outcome};
use std::sync::atomic::{AtomicBool, Ordering};

/// What is remembered from one entry to the next.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// An entry for which aria2's form has no words was written as JSON. The ones after it
    /// are, too: a list whose first entry is JSON is JSON.
    is_json: AtomicBool,
}

impl Session {
    /// Adds the lines of a download that failed; `place` is where its list has it. False
    /// if there are none that would say the same, which leaves a comment.
    ///
    /// To be called by one thread at a time, as lines are to be in their order.
    pub(super) fn add(&self, text: &mut String, outcome: &Outcome, place: Option<&str>) -> bool {
        let Some(entry) = &outcome.again else {
            // No URL, or a bad option without which it must not be fetched: told already.
            text.push_str("# ");
            failed(text, outcome, place);
            return true;
        };
        let mut lines = None;
        if !self.is_json.load(Ordering::Relaxed) {
            lines = entry.to_lines(ListFormat::Aria2);
        }
        if lines.is_none() {
            lines = entry.to_lines(ListFormat::JsonLines);
            if lines.is_some() {
                self.is_json.store(true, Ordering::Relaxed);
            }
        }
        match lines {
            Some(lines) => text.push_str(&lines),
            None => {
                text.push_str("# not to be written as a list, with its options: ");
                text.push_str(&outcome.url);
                text.push('\n');
                return false;
            }
        }
        true
    }
}
