//! Events as JSON lines, in the words of curl's `%{json}` where it has them.
//!
//! Written by hand: a run of many small files spends its time elsewhere, and the keys come
//! in the order of [`FIELDS`].

use crate::fetch::{Algorithm, End, Failure, Outcome, Report};
use std::fmt::{Display, Write as _};
use std::time::Duration;

/// Of what the lines consist now. Keys may be added without a new number.
pub(super) const VERSION: u32 = 1;

/// Every key: its name, the events that have it, what it says.
pub(super) const FIELDS: &[(&str, &str, &str)] = &[
    (
        "event",
        "all",
        "start, retry, waiting, done, failed, progress or summary",
    ),
    (
        "version",
        "all",
        "of this schema: 1; keys may be added to it",
    ),
    ("id", "S R W D F", "place in the input, from 1"),
    ("urlnum", "S R W D F", "the same from 0, as curl counts"),
    ("url", "S D F", "without name and password"),
    ("line", "D F", "line of the list it is from, or null"),
    (
        "end",
        "D F",
        "saved, skipped, checked (--dry-run) or failed",
    ),
    (
        "filename_effective",
        "D F",
        "path of the file, or of the part that stayed, or null",
    ),
    (
        "bytes",
        "D F",
        "size of that file, or of what came if nothing is saved",
    ),
    (
        "size_verified",
        "D F",
        "whether the server said where the file ends",
    ),
    (
        "verified",
        "D F",
        "list of the hashes that it was held against",
    ),
    (
        "content_type",
        "D F",
        "as the server says it, without parameters, or null",
    ),
    (
        "accept_ranges",
        "D F",
        "whether parts can be asked for, or null",
    ),
    ("response_code", "D F", "status of the last answer, or null"),
    (
        "size_download",
        "D F P E",
        "bytes received, failed attempts included",
    ),
    ("speed_download", "D F P E", "those per second"),
    (
        "time_total",
        "D F P E",
        "seconds since the first request; of the run",
    ),
    (
        "time_starttransfer",
        "D F",
        "seconds to the head of the last answer, or null",
    ),
    ("num_redirects", "D F", "that led to the last answer"),
    ("remote_ip", "D F", "whom its connection was with, or null"),
    ("http_version", "D F", "that it came in: 1.1, 2; or null"),
    ("tries", "D F", "requests made, redirects not counted"),
    ("num_retries", "D F", "those but the first"),
    ("after", "R", "seconds until the next attempt"),
    (
        "patience",
        "W",
        "seconds that a full disk is waited for at most",
    ),
    ("failure", "R W D F", "class of the failure, or null"),
    (
        "exitcode",
        "R W D F E",
        "its number, 0 for none; of the run",
    ),
    ("errormsg", "R W D F", "the failure in words, or null"),
    ("saved", "P E", "files saved"),
    ("skipped", "P E", "files that were there"),
    ("checked", "P E", "files that a dry run asked about"),
    ("failed", "P E", "URLs that failed"),
    ("running", "P", "downloads under way"),
    ("duplicates", "E", "URLs that were in the input before"),
    (
        "unverified",
        "E",
        "saved files of which nobody knows the size",
    ),
    (
        "hooks_failed",
        "E",
        "programs of --on-download-… that failed",
    ),
    ("stopped", "E", "whether the run was stopped before its end"),
    (
        "quota_reached",
        "E",
        "whether that was for the quota, with URLs left that had not begun",
    ),
    ("failures", "E", "how many failed of each class"),
];

/// A JSON object on a line of its own.
pub(super) struct Object<'a> {
    text: &'a mut String,
}

impl<'a> Object<'a> {
    pub(super) fn event(text: &'a mut String, name: &str) -> Self {
        text.push_str("{\"event\":");
        write_text(text, name);
        Self { text }.put("version", VERSION)
    }

    fn key(&mut self, key: &str) {
        self.text.push(',');
        write_text(self.text, key);
        self.text.push(':');
    }

    /// A number or a truth. Writing to a string cannot fail, here and below.
    pub(super) fn put(mut self, key: &str, value: impl Display) -> Self {
        self.key(key);
        let _ = write!(self.text, "{value}");
        self
    }

    pub(super) fn maybe(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self.put(key, "null"),
        }
    }

    pub(super) fn text(mut self, key: &str, value: Option<&str>) -> Self {
        let Some(value) = value else {
            return self.put(key, "null");
        };
        self.key(key);
        write_text(self.text, value);
        self
    }

    pub(super) fn seconds(self, key: &str, value: Duration) -> Self {
        self.put(key, value.as_secs_f64())
    }

    pub(super) fn end(self) {
        self.text.push_str("}\n");
    }
}

/// Adds a string with its quotes.
fn write_text(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

fn object<'a>(text: &'a mut String, event: &str, id: u64) -> Object<'a> {
    let object = Object::event(text, event).put("id", id);
    object.put("urlnum", id.saturating_sub(1))
}

/// Adds a line for a download that begins.
pub(super) fn start(text: &mut String, id: u64, url: &str) {
    object(text, "start", id).text("url", Some(url)).end();
}

/// Adds a line for an attempt that failed.
pub(super) fn retry(text: &mut String, id: u64, after: Duration, failure: &Failure) {
    let object = object(text, "retry", id).seconds("after", after);
    with_failure(object, Some(failure)).end();
}

/// Adds a line for a disk that is full.
pub(super) fn waiting(text: &mut String, id: u64, patience: Duration, failure: &Failure) {
    let object = object(text, "waiting", id).seconds("patience", patience);
    with_failure(object, Some(failure)).end();
}

/// Adds a line for a download that ended.
pub(super) fn ended(text: &mut String, outcome: &Outcome) {
    let (event, end) = match outcome.end {
        End::Saved => ("done", "saved"),
        End::Skipped => ("done", "skipped"),
        End::Checked => ("done", "checked"),
        End::Failed(_) => ("failed", "failed"),
    };
    let path = outcome.path.as_ref().map(|path| path.to_string_lossy());
    let object = object(text, event, outcome.id)
        .text("url", Some(&outcome.url))
        .maybe("line", outcome.line)
        .text("end", Some(end))
        .text("filename_effective", path.as_deref())
        .put("bytes", outcome.bytes)
        .put("size_verified", outcome.is_size_verified)
        .put("verified", names(&outcome.verified))
        .text("content_type", outcome.content_type.as_deref())
        .maybe("accept_ranges", outcome.accepts_ranges)
        .maybe("response_code", outcome.status);
    let object = with_speed(object, outcome.received, outcome.elapsed);
    let first_byte = outcome.first_byte.map(|time| time.as_secs_f64());
    let remote = outcome.remote.map(|address| address.ip().to_string());
    let object = object
        .maybe("time_starttransfer", first_byte)
        .put("num_redirects", outcome.redirects)
        .text("remote_ip", remote.as_deref())
        .text("http_version", outcome.http_version)
        .put("tries", outcome.tries)
        .put("num_retries", outcome.tries.saturating_sub(1));
    with_failure(object, outcome.failure()).end();
}

/// A list of algorithms, whose names need no escapes.
fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms.iter().map(|a| format!("\"{a}\"")).collect();
    format!("[{}]", names.join(","))
}

/// Adds the line for the whole.
pub(super) fn summary(text: &mut String, report: &Report, sums: &Sums) {
    let object = Object::event(text, "summary")
        .put("saved", report.saved)
        .put("skipped", report.skipped)
        .put("checked", report.checked)
        .put("failed", report.failed)
        .put("duplicates", report.duplicates)
        .put("unverified", sums.unverified)
        .put("hooks_failed", sums.hooks_failed)
        .put("stopped", report.is_stopped)
        .put("quota_reached", report.is_over_quota)
        .put("exitcode", sums.code);
    let mut object = with_speed(object, report.received, report.elapsed);
    object.key("failures");
    for (n, (kind, count)) in report.failures.iter().enumerate() {
        object.text.push_str(if n == 0 { "{" } else { "," });
        write_text(object.text, kind.name());
        let _ = write!(object.text, ":{count}");
    }
    if report.failures.is_empty() {
        object.text.push('{');
    }
    object.text.push('}');
    object.end();
}

/// What the report does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) unverified: u64,
    pub(super) hooks_failed: u64,
    pub(super) code: u8,
}

/// Adds a line for how things stand.
pub(super) fn progress(text: &mut String, counts: &super::tally::Counts, elapsed: Duration) {
    let object = Object::event(text, "progress")
        .put("saved", counts.saved)
        .put("skipped", counts.skipped)
        .put("checked", counts.checked)
        .put("failed", counts.failed)
        .put("running", counts.running);
    with_speed(object, counts.received, elapsed).end();
}

fn with_speed<'a>(object: Object<'a>, bytes: u64, time: Duration) -> Object<'a> {
    let speed = bytes as f64 / time.as_secs_f64().max(1e-6);
    object
        .put("size_download", bytes)
        .put("speed_download", speed as u64)
        .seconds("time_total", time)
}

fn with_failure<'a>(object: Object<'a>, failure: Option<&Failure>) -> Object<'a> {
    let words = failure.map(ToString::to_string);
    object
        .text("failure", failure.map(|failure| failure.kind().name()))
        .put(
            "exitcode",
            failure.map_or(0, |failure| failure.kind().code()),
        )
        .text("errormsg", words.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{Downloader, FailureKind};
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    /// The letters in [`FIELDS`].
    const EVENTS: &[(&str, &str)] = &[
        ("S", "start"),
        ("R", "retry"),
        ("W", "waiting"),
        ("D", "done"),
        ("F", "failed"),
        ("P", "progress"),
        ("E", "summary"),
    ];

    fn everything() -> BTreeMap<String, Value> {
        let report = Downloader::new().discard().run(["no url \"\u{1}"]);
        let report = report.unwrap();
        let failed = &report.outcomes[0];
        let mut saved = failed.clone();
        saved.end = End::Saved;
        let mut text = String::new();
        start(&mut text, 1, "http://h/x");
        let failure = Failure::status(503, "no\nluck");
        retry(&mut text, 1, Duration::from_millis(1500), &failure);
        waiting(&mut text, 1, Duration::from_secs(60), &failure);
        ended(&mut text, failed);
        ended(&mut text, &saved);
        progress(
            &mut text,
            &super::super::tally::Counts::default(),
            Duration::ZERO,
        );
        summary(&mut text, &report, &Sums::default());
        let objects = text.lines().map(|line| {
            let object: Value = serde_json::from_str(line).unwrap();
            (object["event"].as_str().unwrap().to_owned(), object)
        });
        objects.collect()
    }

    #[test]
    fn every_key_is_documented_with_its_events() {
        let all = everything();
        for (letter, event) in EVENTS {
            let told: BTreeSet<_> = all[*event].as_object().unwrap().keys().collect();
            let known = FIELDS.iter().filter(|(_, events, _)| {
                *events == "all" || events.split(' ').any(|known| known == *letter)
            });
            let known: BTreeSet<_> = known.map(|(name, _, _)| (*name).to_owned()).collect();
            assert_eq!(told, known.iter().collect(), "{event}");
        }
    }

    #[test]
    fn values_are_what_they_say() {
        let all = everything();
        let retry = &all["retry"];
        assert_eq!(
            (&retry["after"], &retry["urlnum"]),
            (&1.5.into(), &0.into())
        );
        assert_eq!(retry["errormsg"], "status 503: no\\nluck");
        assert_eq!(retry["exitcode"], 29);
        let failed = &all["failed"];
        assert_eq!(failed["failure"], FailureKind::BadUrl.name());
        assert_eq!(failed["exitcode"], 2);
        assert_eq!(failed["response_code"], Value::Null);
        assert_eq!(all["done"]["errormsg"], Value::Null);
        assert_eq!(all["summary"]["failures"]["bad url"], 1);
        let mut text = String::new();
        write_text(&mut text, "a\"\\\n\u{1f}我");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value, "a\"\\\n\u{1f}我");
    }
}
