//! What people read where a download ends.

use crate::cli::units::{show_bytes, show_duration};
use crate::fetch::{End, Outcome};
use crate::util::{defuse, escape};
use std::fmt::Write as _;

/// Adds the line for a download that ended well.
///
/// Writing to a string cannot fail, here and below.
pub(super) fn done(text: &mut String, outcome: &Outcome) {
    if matches!(outcome.end, End::Checked) {
        return checked(text, outcome);
    }
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

/// Adds the line for one that was only asked about.
fn checked(text: &mut String, outcome: &Outcome) {
    let _ = write!(text, "{}", outcome.url);
    if outcome.path.is_some() {
        let _ = write!(text, " -> {}", name(outcome));
    }
    match outcome.is_size_verified {
        true => text.extend([", ", &show_bytes(outcome.bytes)]),
        false => text.push_str(", of unknown size"),
    }
    if let Some(status) = outcome.status {
        let _ = write!(text, ", status {status}");
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
