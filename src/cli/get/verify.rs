//! `greenloop get --verify`: the files that are there against their checksums, told as
//! `sha256sum --check` tells it; and the list of checksums that a run leaves.

use super::exit;
use super::given::Given;
use super::interrupt::Interrupt;
use super::json::VERSION;
use super::sources::Sources;
use crate::cli::args::GetArgs;
use crate::cli::{Failure, Outcome, out};
use crate::fetch::{CheckReport, FailureKind, FileCheck};
use crate::util::{escape, lock};
use serde_json::json;
use std::collections::BTreeMap;

/// Looks at the files of the URLs, or where there are none at all that the lists name.
pub(super) fn run(args: &GetArgs, given: Given) -> Outcome {
    let by_urls = !args.input.urls.is_empty() || !args.input.input_file.is_empty();
    let sources = Sources::open(given, &args.input)?;
    crate::cli::start_runtime(None)?;
    let downloader = super::downloader(args);
    let stop = Interrupt::watch(&downloader.stop_handle(), &sources.queue, None)?;
    let mut printed = Ok(());
    let each = |file: &FileCheck| {
        if printed.is_ok() {
            printed = tell(args, file);
            if printed.is_err() {
                downloader.stop_handle().stop();
            }
        }
    };
    let report = match by_urls {
        true => downloader.verify(sources.entries(), each),
        false => downloader.verify_listed(each),
    };
    printed?;
    let report = report.map_err(|error| exit::not_run(&error))?;
    summarize(args, &report)?;
    if let Some(error) = lock(&sources.error).take() {
        return Err(Failure::Failed(error));
    }
    match stop.signal() {
        Some(signal) if report.is_stopped => Err(Failure::Signal(signal)),
        _ if report.is_success() => Ok(()),
        _ if report.ok == 0 && report.failures.is_empty() => {
            Err(Failure::failed("no file was verified"))
        }
        _ => Err(exit::of_kind(report.failure_kind())),
    }
}

fn tell(args: &GetArgs, file: &FileCheck) -> Outcome {
    let name = escape(file.name.as_os_str().as_encoded_bytes());
    let failure = file.failure.as_ref();
    if args.watch.json {
        let verified: Vec<_> = file.verified.iter().map(|a| a.name()).collect();
        return out::line(json!({
            "event": "file",
            "version": VERSION,
            "name": file.name.to_string_lossy(),
            "path": file.path.to_string_lossy(),
            "verified": verified,
            "failure": failure.map(|f| f.kind().name()),
            "exitcode": failure.map_or(0, |f| f.kind().code()),
            "errormsg": failure.map(ToString::to_string),
        }));
    }
    let Some(failure) = failure else {
        return out::line(format_args!("{name}: OK"));
    };
    out::note(format_args!("error: {name}: {failure}"));
    match failure.kind() {
        FailureKind::Checksum => out::line(format_args!("{name}: FAILED")),
        _ => out::line(format_args!("{name}: FAILED open or read")),
    }
}

fn summarize(args: &GetArgs, report: &CheckReport) -> Outcome {
    if !args.watch.json {
        return Ok(());
    }
    let failures: BTreeMap<_, _> = report.failures.iter().map(|(k, n)| (k.name(), n)).collect();
    let failed: u64 = report.failures.values().sum();
    out::line(json!({
        "event": "summary",
        "version": VERSION,
        "verified": report.ok,
        "failed": failed,
        "stopped": report.is_stopped,
        "failures": failures,
    }))
}
