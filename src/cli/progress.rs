//! What a run of downloads shows while it goes on: bars, plain lines or JSON.
//!
//! Downloads only note what happened; one thread prints. So a terminal or a reader that is
//! slow stops no worker, and there are at most ten redraws a second, however many files.

use super::units::{show_bytes, show_duration};
use super::{Failure, Outcome, out};
use crate::Deadline;
use crate::fetch::{End, Event, Observer, Outcome as Fetched};
use crate::sync::Queue;
use crate::util::{escape, lock};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A bar per running file and one for all, on standard error.
    Bars,
    /// A line per finished URL.
    Lines,
    /// A line where one begins and one where it has ended, in the words of the tutorials.
    Brief,
    /// A JSON object per finished URL.
    Json,
}

/// What is running and what has ended.
pub(crate) struct Progress {
    state: Mutex<State>,
    /// From which id on the entries come from which list.
    lists: Arc<Mutex<Vec<(u64, String)>>>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<u64, Running>,
    done: u64,
    failed: u64,
    done_bytes: u64,
}

#[derive(Clone, Default)]
struct Running {
    name: String,
    total: Option<u64>,
    bytes: u64,
}

enum Line {
    Out(String),
    Error(String),
}

impl Progress {
    pub(crate) fn new(lists: Arc<Mutex<Vec<(u64, String)>>>) -> Self {
        Self {
            state: Mutex::default(),
            lists,
        }
    }

    /// Takes an event; returns what ended, if something did.
    fn note<'a>(&self, id: u64, event: &Event<'a>) -> Option<&'a Fetched> {
        let mut state = lock(&self.state);
        match event {
            Event::Started { url } => {
                let name = escape(url.as_bytes());
                state.running.insert(
                    id,
                    Running {
                        name,
                        ..Running::default()
                    },
                );
            }
            Event::Head { name, total, kept } => {
                let running = state.running.entry(id).or_default();
                (running.total, running.bytes) = (*total, *kept);
                if !name.is_empty() {
                    running.name = (*name).to_owned();
                }
            }
            Event::Progress { bytes } => state.running.entry(id).or_default().bytes = *bytes,
            // Told by the log; bars stand still meanwhile.
            Event::Retrying { .. } => {}
            Event::DiskFull { failure, patience } => {
                log::warn!("{failure}: waiting for room, {patience:?} at most");
            }
            Event::Done(outcome) | Event::Failed(outcome) => {
                state.running.remove(&id);
                state.done += 1;
                state.failed += u64::from(outcome.failure().is_some());
                state.done_bytes += outcome.received;
                return Some(outcome);
            }
        }
        None
    }

    /// `list.txt:3` for an entry that came from there.
    fn place(&self, outcome: &Fetched) -> Option<String> {
        let line = outcome.line?;
        let lists = lock(&self.lists);
        let list = lists.iter().rev().find(|(first, _)| *first <= outcome.id);
        Some(format!("{}:{line}", list.map_or("list", |(_, name)| name)))
    }

    fn show(&self, style: Style, outcome: &Fetched) -> Line {
        match (style, &outcome.end) {
            (Style::Json, _) => Line::Out(as_json(outcome).to_string()),
            (Style::Brief, End::Saved) => Line::Out(format!(
                "{} bytes received from {}.",
                outcome.bytes, outcome.url
            )),
            (Style::Brief | Style::Bars | Style::Lines, _) => self.as_line(outcome),
        }
    }

    fn as_line(&self, outcome: &Fetched) -> Line {
        let name = match &outcome.path {
            Some(path) => escape(path.as_os_str().as_encoded_bytes()),
            None => outcome.url.clone(),
        };
        match &outcome.end {
            End::Saved => Line::Out(format!(
                "{name}  {} in {}{}",
                show_bytes(outcome.bytes),
                show_duration(outcome.elapsed),
                if outcome.is_size_verified {
                    ""
                } else {
                    " (the server gave no size)"
                },
            )),
            End::Skipped => Line::Out(format!("{name}  is there, skipped")),
            End::Failed(failure) => {
                let place = self
                    .place(outcome)
                    .map(|place| place + ": ")
                    .unwrap_or_default();
                let tries = if outcome.tries > 1 {
                    format!(" (after {} tries)", outcome.tries)
                } else {
                    String::new()
                };
                Line::Error(format!("error: {place}{}: {failure}{tries}", outcome.url))
            }
        }
    }
}

/// Times in seconds; the text of a failure is for people, its kind for programs.
fn as_json(outcome: &Fetched) -> Value {
    let (end, failure) = match &outcome.end {
        End::Saved => ("saved", None),
        End::Skipped => ("skipped", None),
        End::Failed(failure) => ("failed", Some(failure)),
    };
    json!({
        "id": outcome.id,
        "line": outcome.line,
        "url": outcome.url,
        "end": end,
        "path": outcome.path.as_ref().map(|path| path.to_string_lossy()),
        "bytes": outcome.bytes,
        "received_bytes": outcome.received,
        "size_verified": outcome.is_size_verified,
        "status": outcome.status,
        "tries": outcome.tries,
        "elapsed_seconds": outcome.elapsed.as_secs_f64(),
        "failure": failure.map(|f| json!({"kind": f.kind().name(), "text": f.to_string()})),
    })
}

/// The thread that prints.
pub(crate) struct Reporter {
    style: Style,
    progress: Arc<Progress>,
    lines: Queue<Line>,
    thread: JoinHandle<Outcome>,
}

impl Reporter {
    pub(crate) fn start(style: Style, progress: Arc<Progress>) -> Result<Self, Failure> {
        let lines = Queue::unbounded();
        let (pending, shown) = (lines.clone(), progress.clone());
        let bars = (style == Style::Bars).then(Bars::new);
        let print = move || print(&pending, &shown, bars);
        let thread = std::thread::Builder::new()
            .name("greenloop-print".into())
            .spawn(print);
        let thread = thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(Self {
            style,
            progress,
            lines,
            thread,
        })
    }

    /// What the downloads tell.
    pub(crate) fn observer(&self) -> impl Observer + use<> {
        let (style, progress, lines) = (self.style, self.progress.clone(), self.lines.clone());
        move |id: u64, event: &Event<'_>| {
            let line = match (progress.note(id, event), event) {
                (Some(outcome), _) => progress.show(style, outcome),
                (None, Event::Started { url }) if style == Style::Brief => {
                    Line::Out(format!("GET: {}", escape(url.as_bytes())))
                }
                (None, _) => return,
            };
            // Unbounded, so it never waits; closed only after the run.
            let _ = lines.try_put(line);
        }
    }

    /// Lets it print what is left, and takes the bars away.
    pub(crate) fn finish(self) -> Outcome {
        self.lines.close();
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Failure::failed("the printing thread panicked")))
    }
}

/// Prints until the queue is closed: lines as they come, or with the next redraw where
/// there are bars, which each interruption draws anew.
fn print(lines: &Queue<Line>, progress: &Progress, bars: Option<Bars>) -> Outcome {
    let Some(mut bars) = bars else {
        let each = std::iter::from_fn(|| lines.get().ok());
        return print_all(each);
    };
    let mut outcome = Ok(());
    let mut next = Instant::now() + REDRAW_PAUSE;
    let mut waiting = Vec::new();
    loop {
        match lines.get_deadline(Deadline::at(next)) {
            Ok(line) => waiting.push(line),
            Err(error) if error.is_timeout() => {
                next = Instant::now() + REDRAW_PAUSE;
                if !waiting.is_empty() {
                    let now = waiting.drain(..);
                    let printed = bars.multi.suspend(|| print_all(now));
                    outcome = outcome.and(printed);
                }
                bars.redraw(progress);
            }
            Err(_) => break,
        }
    }
    let _ = bars.multi.clear();
    let printed = print_all(waiting.into_iter());
    outcome.and(printed)
}

/// Prints all of them, also after a failure: where nobody reads one output, somebody may
/// read the other. The downloads go on, and the exit code tells.
fn print_all(lines: impl Iterator<Item = Line>) -> Outcome {
    lines.map(Line::print).fold(Ok(()), Result::and)
}

impl Line {
    fn print(self) -> Outcome {
        match self {
            Self::Out(text) => out::line(text),
            Self::Error(text) => {
                out::note(text);
                Ok(())
            }
        }
    }
}

/// The bars on the terminal.
struct Bars {
    multi: MultiProgress,
    all: ProgressBar,
    running: HashMap<u64, ProgressBar>,
    begun: Instant,
}

impl Bars {
    fn new() -> Self {
        let multi =
            MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        let all = multi.add(ProgressBar::no_length().with_style(template("{wide_msg}")));
        Self {
            multi,
            all,
            running: HashMap::new(),
            begun: Instant::now(),
        }
    }

    fn redraw(&mut self, progress: &Progress) {
        let state = lock(&progress.state);
        self.running.retain(|id, bar| {
            let runs = state.running.contains_key(id);
            if !runs {
                self.multi.remove(bar);
            }
            runs
        });
        let mut bytes = state.done_bytes;
        for (id, running) in &state.running {
            bytes += running.bytes;
            let bar = self.running.entry(*id).or_insert_with(|| {
                self.multi.insert_before(
                    &self.all,
                    ProgressBar::no_length().with_style(template(UNSIZED)),
                )
            });
            if let Some(total) = running.total.filter(|total| bar.length() != Some(*total)) {
                bar.set_length(total);
                bar.set_style(template(SIZED));
            }
            bar.set_message(running.name.clone());
            bar.set_position(running.bytes);
        }
        let speed = bytes as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        self.all.set_message(format!(
            "{} done, {} failed, {} running  {}  {}/s",
            state.done - state.failed,
            state.failed,
            state.running.len(),
            show_bytes(bytes),
            show_bytes(speed as u64),
        ));
        self.all.tick();
    }
}

pub(super) fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("the templates are constants that are well formed")
}

/// Cut to the terminal's width by the library.
pub(super) const SIZED: &str =
    "{bar:20} {percent:>3}% {binary_bytes_per_sec:>12} {eta:>4} {wide_msg}";
pub(super) const UNSIZED: &str = "{binary_bytes:>20} {binary_bytes_per_sec:>17}      {wide_msg}";
/// Half of the ten a second that a terminal over a slow line can take: printing lines
/// between the bars draws them once more.
pub(super) const REDRAWS_PER_SECOND: u8 = 5;
pub(super) const REDRAW_PAUSE: Duration = Duration::from_millis(1000 / REDRAWS_PER_SECOND as u64);
