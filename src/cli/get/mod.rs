//! `greenloop get`: downloads, with bars on a terminal, plain lines or JSON elsewhere.

mod exit;
mod given;
mod interrupt;
mod sources;
mod summary;
mod verify;

use super::args::GetArgs;
use super::progress::{Progress, Reporter, Style};
use super::{Failure, Outcome, out};
use crate::fetch::Downloader;
use crate::util::lock;
use given::Given;
use interrupt::{Interrupt, resume_hint};
use sources::Sources;
use std::io::{self, IsTerminal};
use std::sync::Arc;

/// Downloads what `args` name; succeeds only if everything arrived.
pub(crate) fn run(args: &GetArgs) -> Outcome {
    let given = Given::check(args)?;
    if args.verify.verify {
        return verify::run(args, given);
    }
    let sources = Sources::open(given, &args.input)?;
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
    let downloader = args.verify.apply(downloader);
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
