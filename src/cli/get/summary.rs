//! The last words of a run: what became of the whole.

use super::again::Again;
use super::ends::{AGAIN_MAX, Gathered};
use super::interrupt::how_to_go_on;
use crate::cli::args::GetArgs;
use crate::cli::units::{show_bytes, show_count, show_duration};
use crate::fetch::{FailureKind, Report};
use crate::util::escape;
use std::fmt::Write as _;
use std::time::Duration;

/// Some lines, as `args` ask for them.
///
/// Writing to a string cannot fail, here and below.
pub(super) fn words(
    args: &GetArgs,
    again: Again<'_>,
    report: &Report,
    gathered: &Gathered,
) -> String {
    if report.saved + report.skipped + report.checked + report.failed == 0 && !report.is_stopped {
        return "nothing to do: no URL was in the input\n".to_owned();
    }
    let mut text = match (args.disk.dry_run, args.disk.no_save) {
        (true, _) => counts("checked", report.checked, gathered.bytes_ahead, report),
        (false, true) => counts("received", report.saved, report.received, report),
        (false, false) => counts("saved", report.saved, report.received, report),
    };
    text.push('\n');
    if report.is_over_quota {
        let _ = write!(
            text,
            "the quota of {} is used up",
            show_bytes(args.pace.quota)
        );
        if let Some(how) = how_to_go_on(args) {
            let _ = write!(text, ": {how}");
        }
        text.push('\n');
    }
    if args.watch.slowest.is_some() || report.elapsed >= LONG {
        add_slowest(&mut text, gathered);
    }
    if report.failed > 1 && !gathered.groups.is_empty() {
        add_failed(&mut text, gathered);
    }
    let unverified = gathered.unverified;
    if unverified > 0 {
        let files = if unverified == 1 { "file" } else { "files" };
        let count = show_count(unverified);
        let _ = writeln!(text, "{count} {files} came without a size to check against");
    }
    if !report.is_stopped
        && let Some(command) = try_again(args, again, gathered)
    {
        let _ = writeln!(text, "to try again what failed: {command}");
    }
    text
}

fn counts(done: &str, files: u64, bytes: u64, report: &Report) -> String {
    let mut text = format!(
        "{done} {} of {} files, {} in {}",
        show_count(files),
        show_count(files + report.skipped + report.failed),
        show_bytes(bytes),
        show_duration(report.elapsed),
    );
    if report.received > 0 {
        let speed = report.received as f64 / report.elapsed.as_secs_f64().max(1e-6);
        let _ = write!(text, ", {}/s", show_bytes(speed as u64));
    }
    for (count, what) in [
        (report.skipped, "skipped"),
        (report.duplicates, "duplicate"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {} {what}", show_count(count));
        }
    }
    if report.failed > 0 {
        let kind = |(kind, count): (&FailureKind, &u64)| format!("{} {kind}", show_count(*count));
        let kinds: Vec<_> = report.failures.iter().map(kind).collect();
        let failed = show_count(report.failed);
        let _ = write!(text, "; {failed} failed ({})", kinds.join(", "));
    }
    text
}

fn add_slowest(text: &mut String, gathered: &Gathered) {
    if gathered.slowest.is_empty() {
        return;
    }
    text.push_str("slowest:\n");
    for slow in &gathered.slowest {
        let speed = slow.bytes as f64 / slow.elapsed.as_secs_f64().max(1e-6);
        let _ = writeln!(
            text,
            "{:>12}{:>12}{:>14}  {}",
            show_duration(slow.elapsed),
            show_bytes(slow.bytes),
            show_bytes(speed as u64) + "/s",
            slow.name
        );
    }
}

/// The causes with the most failures first.
fn add_failed(text: &mut String, gathered: &Gathered) {
    text.push_str("failed:\n");
    let mut groups: Vec<_> = gathered.groups.iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    let mut others = gathered.others;
    for (n, ((kind, host), group)) in groups.into_iter().enumerate() {
        if n >= GROUPS_SHOWN {
            others += group.count;
            continue;
        }
        let at = match host.is_empty() {
            true => String::new(),
            false => format!(" at {}", escape(host.as_bytes())),
        };
        let (count, url) = (show_count(group.count), &group.url);
        let _ = writeln!(text, "{count:>12} x {kind}{at}, as {url}: {}", group.text);
    }
    if others > 0 {
        let _ = writeln!(text, "{:>12} others", show_count(others));
    }
}

/// The command that downloads what failed, if something would change.
fn try_again(args: &GetArgs, again: Again<'_>, gathered: &Gathered) -> Option<String> {
    if gathered.again.is_empty() {
        return None;
    }
    if let Some(session) = &args.watch.save_session {
        return Some(again.with_list(session));
    }
    // A name that a pattern has filled stands in no option.
    let is_filled = args.input.glob && args.naming.out.is_some();
    if gathered.again.len() > AGAIN_MAX || gathered.needs_list || is_filled {
        return Some("--save-session FILE lists it for -i FILE".into());
    }
    Some(again.with_urls(&gathered.again))
}

/// Who waits that long may ask why.
const LONG: Duration = Duration::from_secs(10);
const GROUPS_SHOWN: usize = 10;
