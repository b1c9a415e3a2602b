//! `greenloop get`: downloads, with bars on a terminal, plain lines or JSON elsewhere.

use super::args::GetArgs;
use super::progress::{Progress, Reporter, Style};
use super::units::{show_bytes, show_count, show_duration};
use super::{EXIT_FAILURE, EXIT_INTERRUPTED, Failure, Outcome, out};
use crate::error::{Error, Result};
use crate::fetch::{Downloader, Entry, FailureKind, Report, Stop, UrlList};
use crate::signal::{SIGINT, SIGTERM, Signals};
use crate::sync::Queue;
use crate::util::lock;
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

/// Downloads what `args` name; succeeds only if everything arrived.
pub(crate) fn run(args: &GetArgs) -> Outcome {
    let given = check(args)?;
    let sources = Sources::open(given, &args.input.input_file)?;
    super::start_runtime(None)?;
    let progress = Arc::new(Progress::new(sources.names.clone()));
    let reporter = Reporter::start(style(args), progress.clone())?;
    let downloader = downloader(args).observer(reporter.observer());
    let stop = Interrupt::watch(&downloader.stop_handle(), &sources)?;
    let report = downloader.run(sources.entries());
    let broken = reporter.finish();
    let report = report?;
    finish(args, &report)?;
    broken?;
    if let Some(error) = lock(&sources.error).take() {
        return Err(Failure::Failed(error));
    }
    match stop.signal() {
        Some(signal) if report.is_stopped => {
            out::note(resume_hint(&args.input.input_file));
            // 128 and the number, as a shell reports a process that a signal ended.
            Err(Failure::Silent(
                u8::try_from(128 + signal).unwrap_or(EXIT_INTERRUPTED),
            ))
        }
        _ if report.is_success() => Ok(()),
        _ => Err(Failure::Silent(EXIT_FAILURE)),
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

/// The last words: what became of the whole.
fn finish(args: &GetArgs, report: &Report) -> Outcome {
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

fn resume_hint(lists: &[PathBuf]) -> String {
    let list = if lists.iter().any(|path| path == Path::new("-")) {
        " and list"
    } else {
        ""
    };
    format!(
        "interrupted: partial files are kept; the same command{list} with --existing skip goes on"
    )
}

/// Where the URLs come from: the command line, then each list.
struct Sources {
    /// What a thread has read ahead. A list may be a pipe that blocks.
    queue: Queue<Entry>,
    /// Which lists the entries are from, for messages.
    names: Arc<Mutex<Vec<(u64, String)>>>,
    /// Why the reading ended early.
    error: Arc<Mutex<Option<String>>>,
}

impl Sources {
    /// Opens all lists, so that a missing one is told before anything is downloaded.
    fn open(given: Vec<Entry>, lists: &[PathBuf]) -> Result<Self, Failure> {
        let mut readers: Vec<(String, Box<dyn Read + Send>)> = Vec::new();
        for path in lists {
            if path == Path::new("-") {
                readers.push(("standard input".into(), Box::new(io::stdin())));
                continue;
            }
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|e| Failure::from(Error::from(e).context(format!("reading {name}"))))?;
            readers.push((name, Box::new(file)));
        }
        let sources = Self {
            queue: Queue::bounded(READ_AHEAD),
            names: Arc::default(),
            error: Arc::default(),
        };
        let (queue, names, error) = (
            sources.queue.clone(),
            sources.names.clone(),
            sources.error.clone(),
        );
        let read = move || {
            if let Err(failed) = read_all(given, readers, &queue, &names) {
                *lock(&error) = Some(failed.to_string());
            }
            queue.close();
        };
        let thread = std::thread::Builder::new()
            .name("greenloop-list".into())
            .spawn(read);
        thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(sources)
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        let queue = self.queue.clone();
        std::iter::from_fn(move || queue.get().ok())
    }
}

fn read_all(
    given: Vec<Entry>,
    readers: Vec<(String, Box<dyn Read + Send>)>,
    queue: &Queue<Entry>,
    names: &Mutex<Vec<(u64, String)>>,
) -> Result<()> {
    let mut next_id = 1;
    for entry in given {
        next_id += 1;
        if queue.put(entry).is_err() {
            return Ok(()); // stopped
        }
    }
    for (name, reader) in readers {
        lock(names).push((next_id, name.clone()));
        for entry in UrlList::new(BufReader::new(reader)) {
            let entry = entry.map_err(|e| Error::from(e).context(format!("reading {name}")))?;
            next_id += 1;
            if queue.put(entry).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a signal does: the first stops the run, the second ends the process.
struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    fn watch(stop: &Stop, sources: &Sources) -> Result<Self> {
        let signals = Signals::new(&[SIGINT, SIGTERM])?;
        let seen = Arc::new(AtomicI32::new(0));
        let (mine, stop, queue) = (seen.clone(), stop.clone(), sources.queue.clone());
        crate::try_spawn(move || {
            while let Ok(signal) = signals.wait() {
                if mine.swap(signal, Ordering::SeqCst) != 0 {
                    end_at_once(signal);
                }
                out::note("stopping; once more ends at once");
                stop.stop();
                queue.close();
            }
        })?;
        Ok(Self(seen))
    }

    fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

#[expect(clippy::exit, reason = "the user asks for it a second time")]
fn end_at_once(signal: i32) -> ! {
    std::process::exit(128 + signal)
}

/// A list is read this far ahead of the downloads, so that it may be endless.
const READ_AHEAD: usize = 256;
