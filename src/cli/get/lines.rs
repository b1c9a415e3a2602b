//! What people read where a download ends.

use crate::cli::units::{show_bytes, show_duration};
use crate::fetch::{End, Outcome};
use crate::util::{defuse, escape};
use std::fmt::Write as _;

/// Adds the line for a download that ended well.
///
/// Writing to a string cannot fail, here and below.
pub(super) fn done(text: &mut String, outcome: &Outcome) {
    let _ = write!(text, "{}  ", name(outcome));
    if matches!(outcome.end, End::Skipped) {
        text.push_str("is there, skipped\n");
        return;
    }
    let (bytes, took) = (show_bytes(outcome.bytes), show_duration(outcome.elapsed));
    let _ = write!(text, "{bytes} in {took}");
    if !outcome.is_size_verified {
        text.push_str(" (the server gave no size)");
    }
    text.push('\n');
}

/// Adds the line for one that failed; `place` is where the list has it.
pub(super) fn failed(text: &mut String, outcome: &Outcome, place: Option<&str>) {
    let Some(failure) = outcome.failure() else {
        return;
    };
    text.push_str("error: ");
    if let Some(place) = place {
        let _ = write!(text, "{}: ", defuse(place));
    }
    let _ = write!(text, "{}: {failure}", outcome.url);
    if outcome.tries > 1 {
        let _ = write!(text, " (after {} tries)", outcome.tries);
    }
    text.push('\n');
}

/// Adds the line of the tutorials for one that came.
pub(super) fn brief(text: &mut String, outcome: &Outcome) {
    let (bytes, url) = (outcome.bytes, &outcome.url);
    let _ = writeln!(text, "{bytes} bytes received from {url}.");
}

/// The file's path, or the URL where there is none; fit for a terminal.
pub(super) fn name(outcome: &Outcome) -> String {
    match &outcome.path {
        Some(path) => escape(path.as_os_str().as_encoded_bytes()),
        None => outcome.url.clone(),
    }
}
