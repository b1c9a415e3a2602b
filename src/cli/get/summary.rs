//! The last words of a run: what became of the whole.

use crate::cli::args::GetArgs;
use crate::cli::units::{show_bytes, show_count, show_duration};
use crate::cli::{Outcome, out};
use crate::fetch::{FailureKind, Report};
use serde_json::json;

/// Prints the last words that `args` ask for.
pub(super) fn print(args: &GetArgs, report: &Report) -> Outcome {
    if args.watch.brief {
        return Ok(());
    }
    if !args.watch.json {
        let done = if args.disk.no_save {
            "received"
        } else {
            "saved"
        };
        return out::line(summary(done, report));
    }
    let failures: serde_json::Map<_, _> = report
        .failures
        .iter()
        .map(|(kind, count)| (kind.name().into(), (*count).into()))
        .collect();
    out::line(json!({
        "summary": {
            "saved": report.saved,
            "skipped": report.skipped,
            "failed": report.failed,
            "duplicates": report.duplicates,
            "received_bytes": report.received,
            "elapsed_seconds": report.elapsed.as_secs_f64(),
            "stopped": report.is_stopped,
            "failures": failures,
        }
    }))
}

fn summary(done: &str, report: &Report) -> String {
    let mut text = format!(
        "{done} {} of {} files, {} in {}",
        show_count(report.saved),
        show_count(report.saved + report.skipped + report.failed),
        show_bytes(report.received),
        show_duration(report.elapsed),
    );
    for (count, what) in [
        (report.skipped, "skipped"),
        (report.duplicates, "duplicate"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {} {what}", show_count(count)));
        }
    }
    if report.failed > 0 {
        let kind = |(kind, count): (&FailureKind, &u64)| format!("{} {kind}", show_count(*count));
        let kinds: Vec<_> = report.failures.iter().map(kind).collect();
        text.push_str(&format!(
            "; {} failed ({})",
            show_count(report.failed),
            kinds.join(", ")
        ));
    }
    text
}
