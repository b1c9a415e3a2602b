//! `greenloop get`: downloads, with bars on a terminal, plain lines or JSON elsewhere.

mod exit;
mod interrupt;
mod sources;
mod summary;

use super::args::GetArgs;
use super::progress::{Progress, Reporter, Style};
use super::{Failure, Outcome, out};
use crate::fetch::{Downloader, Entry};
use crate::util::lock;
use interrupt::{Interrupt, resume_hint};
use sources::Sources;
use std::io::{self, IsTerminal};
use std::sync::Arc;

/// Downloads what `args` name; succeeds only if everything arrived.
pub(crate) fn run(args: &GetArgs) -> Outcome {
    let given = check(args)?;
    let sources = Sources::open(given, &args.input.input_file)?;
    super::start_runtime(None)?;
    let progress = Arc::new(Progress::new(sources.names.clone()));
    let reporter = Reporter::start(style(args), progress.clone())?;
    let downloader = downloader(args).observer(reporter.observer());
    let stop = Interrupt::watch(&downloader.stop_handle(), &sources.queue)?;
    let report = downloader.run(sources.entries());
    let broken = reporter.finish();
    let report = report?;
    summary::print(args, &report)?;
    broken?;
    if let Some(error) = lock(&sources.error).take() {
        return Err(Failure::Failed(error));
    }
    match stop.signal() {
        Some(signal) if report.is_stopped => {
            out::note(resume_hint(&args.input.input_file));
            Err(Failure::Signal(signal))
        }
        _ => exit::outcome(&report),
    }
}

/// What only the whole command line can tell; returns the URLs on it.
fn check(args: &GetArgs) -> Result<Vec<Entry>, Failure> {
    if args.input.urls.is_empty() && args.input.input_file.is_empty() {
        return Err(Failure::usage(
            "no URL: give one, or a list with --input-file FILE",
        ));
    }
    if args.naming.out.is_some()
        && (args.input.urls.len() != 1 || !args.input.input_file.is_empty())
    {
        return Err(Failure::usage(
            "--out names one file, and there is not exactly one URL",
        ));
    }
    let given: Vec<_> = args
        .input
        .urls
        .iter()
        .map(|url| Entry::parse(url, None))
        .collect();
    for entry in &given {
        if let Err(reason) = entry.url() {
            return Err(Failure::usage(format_args!("\"{entry}\": {reason}")));
        }
    }
    Ok(given)
}

#[expect(
    clippy::large_stack_frames,
    reason = "a long chain on the OS thread's stack"
)]
fn downloader(args: &GetArgs) -> Downloader {
    let downloader = Downloader::new().keep_outcomes(false);
    let downloader = args.naming.apply(downloader);
    let downloader = args.disk.apply(downloader);
    let downloader = args.pace.apply(downloader);
    let downloader = args.split.apply(downloader);
    args.network.apply(downloader)
}

fn style(args: &GetArgs) -> Style {
    if args.watch.json {
        Style::Json
    } else if args.watch.brief {
        Style::Brief
    } else if io::stderr().is_terminal() {
        Style::Bars
    } else {
        Style::Lines
    }
}
