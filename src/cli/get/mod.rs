//! `greenloop get`: downloads, with bars on a terminal, plain lines or JSON elsewhere.

mod again;
mod bars;
mod ends;
pub(super) mod exit;
mod given;
pub(crate) mod help;
mod hooks;
mod interrupt;
mod json;
mod lines;
mod manifest;
mod printer;
mod rate;
mod record;
mod screen;
mod session;
mod sources;
mod summary;
mod tally;
mod verify;
mod watcher;

use super::args::GetArgs;
use super::{Failure, Outcome};
use crate::error::{Error, Result};
use crate::fetch::{Downloader, Entry, Report};
use crate::util::lock;
use again::Again;
use clap::ArgMatches;
use given::Given;
use interrupt::{Interrupt, resume_hint};
use json::Sums;
use manifest::{Manifest, Noting};
use printer::To;
use sources::Sources;
use std::sync::Arc;
use std::time::Duration;
use watcher::Watcher;

/// Stacks that are kept, at least and at most, of downloads that have ended, for the next.
const STACKS_KEPT_MIN: usize = 8;
const STACKS_KEPT_MAX: usize = 512;

/// How long a write may take without a word about it.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Downloads what `args` name; succeeds only if everything arrived.
pub(crate) fn run(args: &GetArgs, matches: &ArgMatches) -> Outcome {
    let given = Given::check(args)?;
    if args.verify.verify {
        return verify::run(args, given);
    }
    let hooks = hooks(args)?;
    let sources = Sources::open(given, &args.input)?;
    start_runtime(args.pace.jobs)?;
    download(args, Again(matches), hooks, &sources)
}

/// Files are written where they are received: a disk that has much to do holds a worker up,
/// which is no fault of the program's. Where it was then is for those who look for one: to
/// name the calls takes 60 MiB, three times what the downloads themselves take.
///
/// Each download has a stack. As many are kept as run at once: to map, touch and unmap one
/// for each small file takes a quarter of all time on the processor. No more, as they are
/// handed out in turn, so that each comes to hold all the memory of a deep one.
fn start_runtime(jobs: usize) -> Result<()> {
    crate::Config::new()
        .pool_capacity(jobs.clamp(STACKS_KEPT_MIN, STACKS_KEPT_MAX))
        .max_blocking(DISK_PAUSE)
        .stall_backtrace(log::log_enabled!(log::Level::Debug))
        .start()
}

/// Sees to it that what happens is told, and runs the downloads.
fn download(args: &GetArgs, again: Again<'_>, hooks: hooks::Wanted, sources: &Sources) -> Outcome {
    let manifest = Manifest::of(args)?;
    let downloader = downloader(args);
    let stop = downloader.stop_handle();
    let on_pipe_closed = {
        let (stop, entries) = (stop.clone(), sources.queue.clone());
        Box::new(move || {
            stop.stop();
            entries.close();
        })
    };
    let watcher = Watcher::start(&args.watch, again, hooks, on_pipe_closed)?;
    let interrupt = Interrupt::watch(&stop, &sources.queue, Some(&watcher))?;
    let entries = watcher.paced(sources.entries(), stop);
    let downloader = {
        let queue = sources.queue.clone();
        downloader.on_stop(move || queue.close())
    };
    let observer = Noting {
        manifest: manifest.clone(),
        inner: watcher.observer(),
    };
    let report = match run_downloads(downloader.observer(observer), entries) {
        Ok(report) => report,
        Err(error) => {
            watcher.printer.give_up()?;
            return Err(exit::not_run(&error));
        }
    };
    let listed = manifest.map_or(Ok(()), |manifest| manifest.finish());
    let end = End {
        report,
        list_error: lock(&sources.error).take(),
        listed,
    };
    finish(args, again, end, &watcher, &interrupt)
}

/// How a run ended, so far.
struct End {
    report: Report,
    list_error: Option<String>,
    /// Whether its checksums could be written.
    listed: Outcome,
}

/// Runs on a greenlet, which hands others to its worker without waking anybody.
fn run_downloads(
    downloader: Downloader,
    entries: impl Iterator<Item = Entry> + Send + 'static,
) -> Result<Report> {
    let run = crate::try_spawn(move || downloader.run(entries))?;
    run.join().map_err(Error::message)?
}

/// Waits for the hooks, says the last words, and chooses the exit code.
fn finish(
    args: &GetArgs,
    again: Again<'_>,
    end: End,
    watcher: &Arc<Watcher>,
    interrupt: &Interrupt,
) -> Outcome {
    let report = &end.report;
    let (hooks_failed, hooks_dropped) = watcher.hooks.finish();
    let gathered = watcher.ends.take();
    let signal = interrupt
        .signal()
        .filter(|_| report.is_stopped || hooks_dropped);
    let outcome = match signal {
        Some(signal) => Err(Failure::Signal(signal)),
        None => exit::outcome(report, hooks_failed, end.list_error),
    };
    let outcome = outcome.and(end.listed);
    let sums = Sums {
        unverified: gathered.unverified,
        hooks_failed,
        code: exit::code(&outcome),
    };
    let words = summary::words(args, again, report, &gathered);
    if let Some(failure) = &report.cookies_failure {
        watcher.say(To::Error, |text| {
            text.push_str(&format!("error: {failure}\n"));
        });
    }
    if signal.is_some() {
        watcher.say(To::Error, |text| {
            text.push_str(&resume_hint(args));
            text.push('\n');
        });
    }
    match watcher.finish(report, &sums, &words) {
        Err(Failure::PipeClosed) => Err(Failure::PipeClosed),
        // Its own failures have been told; the code is of what came first.
        finished => outcome.and(finished),
    }
}

fn hooks(args: &GetArgs) -> Result<hooks::Wanted, Failure> {
    let watch = &args.watch;
    let complete = watch.on_download_complete.as_deref();
    let error = watch.on_download_error.as_deref();
    let complete = hooks::template(complete, "--on-download-complete")?;
    let error = hooks::template(error, "--on-download-error")?;
    // Nothing has happened that others could go on from.
    let is_real = !args.disk.dry_run;
    Ok(hooks::Wanted {
        complete: complete.filter(|_| is_real),
        error: error.filter(|_| is_real),
        limit: watch.hook_timeout.0,
    })
}

fn downloader(args: &GetArgs) -> Downloader {
    let downloader = Downloader::new().keep_outcomes(false);
    let downloader = args.naming.apply(downloader);
    let downloader = args.disk.apply(downloader);
    let downloader = args.pace.apply(downloader);
    let downloader = args.split.apply(downloader);
    let downloader = args.verify.apply(downloader);
    args.network.apply(downloader)
}
