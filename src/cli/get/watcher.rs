//! Sees what happens to the downloads, and says it the way that was asked for.

use super::again::Again;
use super::bars::total_line;
use super::ends::Ends;
use super::hooks::{Hooks, Wanted};
use super::printer::{Drawn, Printer, Standing, To, Voice};
use super::rate::Rate;
use super::record::{Readers, Record};
use super::session::Session;
use super::tally::Tally;
use super::{json, lines};
use crate::cli::args::WatchArgs;
use crate::cli::logging::STORY;
use crate::cli::{Failure, Outcome};
use crate::fetch::{End, Entry, Event, FailureKind, Observer, Outcome as Fetched, Report, Stop};
use crate::util::escape;
use log::info;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A bar per running file and one for all, on standard error.
    Bars,
    /// A line per finished URL.
    Lines,
    /// A line where one begins and one where it has ended, in the words of the tutorials.
    Brief,
    /// A JSON object per event.
    Json,
    /// Errors only.
    Quiet,
}

/// Everything that watches a run.
pub(super) struct Watcher {
    pub(super) style: Style,
    tally: Arc<Tally>,
    pub(super) printer: Arc<Printer>,
    pub(super) ends: Ends,
    pub(super) hooks: Hooks,
    has_report: bool,
    session: Option<Session>,
    begun: Instant,
}

impl Watcher {
    pub(super) fn start(
        args: &WatchArgs,
        again: Again<'_>,
        wanted: Wanted,
        on_pipe_closed: Box<dyn FnOnce() + Send>,
    ) -> Result<Arc<Self>, Failure> {
        let style = style(args);
        let tally = Arc::new(Tally::new(style == Style::Bars));
        let begun = Instant::now();
        let printer = Arc::new(Printer::start(Drawn {
            tally: tally.clone(),
            has_bars: style == Style::Bars,
            standing: standing(style, args.summary_interval.0, &tally, begun),
            records: records(args, again)?,
            on_pipe_closed,
        })?);
        Ok(Arc::new(Self {
            style,
            tally,
            hooks: Hooks::start(wanted, &printer)?,
            printer,
            ends: Ends::new(args.slowest.unwrap_or(SLOWEST)),
            has_report: args.report.is_some(),
            session: args.save_session.as_ref().map(|_| Session::default()),
            begun,
        }))
    }

    /// What the downloads tell.
    pub(super) fn observer(self: &Arc<Self>) -> impl Observer + use<> {
        let watcher = self.clone();
        move |id: u64, event: &Event<'_>| watcher.event(id, event)
    }

    /// `entries`, no faster than what they lead to can be printed and hooked.
    pub(super) fn paced<I: Iterator<Item = Entry>>(
        self: &Arc<Self>,
        entries: I,
        stop: Stop,
    ) -> impl Iterator<Item = Entry> + use<I> {
        let watcher = self.clone();
        entries.inspect(move |_| {
            while watcher.is_full() && !stop.is_stopped() {
                if crate::sleep(FULL_PAUSE).is_err() {
                    return; // the run notices it, too
                }
            }
        })
    }

    fn is_full(&self) -> bool {
        self.printer.is_full() || self.hooks.is_full()
    }

    fn event(&self, id: u64, event: &Event<'_>) {
        self.tally.note(id, event);
        chronicle(id, event);
        match event {
            Event::Started { url } => match self.style {
                Style::Brief => self.say(To::Out, |text| {
                    text.push_str("GET: ");
                    text.push_str(&escape(url.as_bytes()));
                    text.push('\n');
                }),
                Style::Json => self.say(To::Out, |text| json::start(text, id, url)),
                Style::Bars | Style::Lines | Style::Quiet => {}
            },
            Event::Retrying { after, failure } if self.style == Style::Json => {
                self.say(To::Out, |text| json::retry(text, id, *after, failure));
            }
            Event::DiskFull { failure, patience } if self.style == Style::Json => {
                self.say(To::Out, |text| json::waiting(text, id, *patience, failure));
            }
            Event::DiskFull { failure, patience } => self.say(To::Error, |text| {
                text.push_str(&format!(
                    "{failure}: waiting for room, {patience:?} at most\n"
                ));
            }),
            Event::Done(outcome) | Event::Failed(outcome) => self.ended(outcome),
            _ => {}
        }
    }

    fn ended(&self, outcome: &Fetched) {
        self.ends.add(outcome);
        self.printer.say(|voice| {
            self.say_end(voice, outcome);
            if self.has_report {
                json::ended(voice.to(To::Report), outcome);
            }
            if outcome.failure().is_some() {
                self.keep(voice, outcome);
            }
        });
        self.hooks.ended(outcome);
    }

    /// Writes down what failed, to be tried again.
    fn keep(&self, voice: &mut Voice<'_>, outcome: &Fetched) {
        let Some(session) = &self.session else {
            return;
        };
        let place = place(outcome);
        if !session.add(voice.to(To::Session), outcome, place.as_deref()) {
            let text = voice.to(To::Error);
            text.push_str("error: --save-session: no list can say what ");
            text.push_str(&outcome.url);
            text.push_str(" has for options\n");
        }
    }

    fn say_end(&self, voice: &mut Voice<'_>, outcome: &Fetched) {
        match (self.style, outcome.failure()) {
            (Style::Json, _) => json::ended(voice.to(To::Out), outcome),
            // There may be thousands, and none of them is at fault: the last words count them.
            (_, Some(failure)) if failure.kind() == FailureKind::Stopped => {}
            (_, Some(_)) => {
                let place = place(outcome);
                lines::failed(voice.to(To::Error), outcome, place.as_deref());
            }
            (Style::Brief, None) if !matches!(outcome.end, End::Checked) => {
                lines::brief(voice.to(To::Out), outcome);
            }
            (Style::Brief | Style::Bars | Style::Lines, None) => {
                lines::done(voice.to(To::Out), outcome);
            }
            (Style::Quiet, None) => {}
        }
    }

    /// Adds whole lines to what goes `to` somewhere.
    pub(super) fn say(&self, to: To, say: impl FnOnce(&mut String)) {
        self.printer.say(|voice| say(voice.to(to)));
    }

    /// Says on standard error how things stand.
    pub(super) fn say_standing(&self) {
        let counts = self.tally.look(|_, _| {});
        let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
        let line = total_line(&counts, counts.received as f64 / seconds);
        self.say(To::Error, |text| {
            text.push_str(&line);
            text.push('\n');
        });
    }

    /// Says the last words, of which `sums` are a part, and lets all of it be printed.
    pub(super) fn finish(&self, report: &Report, sums: &json::Sums, words: &str) -> Outcome {
        self.printer.say(|voice| {
            match self.style {
                Style::Json => json::summary(voice.to(To::Out), report, sums),
                Style::Bars | Style::Lines => voice.to(To::Out).push_str(words),
                Style::Brief | Style::Quiet => {}
            }
            if self.has_report {
                json::summary(voice.to(To::Report), report, sums);
            }
        });
        self.printer.finish()
    }
}

fn style(args: &WatchArgs) -> Style {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if args.json {
        Style::Json
    } else if args.quiet {
        Style::Quiet
    } else if args.brief {
        Style::Brief
    } else if io::stderr().is_terminal() && !is_dumb {
        Style::Bars
    } else {
        Style::Lines
    }
}

/// Tells the log. Nothing is put into words where there is none.
fn chronicle(id: u64, event: &Event<'_>) {
    match event {
        Event::Started { url } => info!(target: STORY, "{id}: begins: {url}"),
        Event::Head { name, total, kept } => match total {
            Some(total) => info!(target: STORY, "{id}: {name}: {kept} of {total} bytes are here"),
            None => {
                info!(target: STORY, "{id}: {name}: {kept} bytes are here, of how many is not said");
            }
        },
        Event::Retrying { after, failure } => {
            info!(target: STORY, "{id}: again in {after:?}: {failure}");
        }
        Event::DiskFull { failure, patience } => {
            info!(target: STORY, "{id}: waits for room for {patience:?} at most: {failure}");
        }
        Event::Done(outcome) => info!(target: STORY, "{id}: done: {}", told(lines::done, outcome)),
        Event::Failed(outcome) => {
            let place = place(outcome);
            let failed = |text: &mut String, outcome: &Fetched| {
                lines::failed(text, outcome, place.as_deref());
            };
            info!(target: STORY, "{id}: {}", told(failed, outcome));
        }
        _ => {}
    }
}

/// One of the lines for people, without its end.
fn told(line: impl FnOnce(&mut String, &Fetched), outcome: &Fetched) -> String {
    let mut text = String::new();
    line(&mut text, outcome);
    text.truncate(text.trim_end().len());
    text
}

/// `list.txt:3` for an entry from there.
fn place(outcome: &Fetched) -> Option<String> {
    let (list, line) = (outcome.list.as_ref()?, outcome.line?);
    Some(format!("{list}:{line}"))
}

fn records(args: &WatchArgs, again: Again<'_>) -> Result<Vec<(To, Record)>, Failure> {
    let mut records = Vec::new();
    if let Some(path) = &args.report {
        records.push((To::Report, Record::create(path, Readers::All)?));
    }
    if let Some(path) = &args.save_session {
        let mut record = Record::create(path, Readers::Owner)?;
        record.write(format!("# {}\n", again.with_list(path)).as_bytes());
        records.push((To::Session, record));
    }
    Ok(records)
}

/// What is said at intervals where no bars say it.
fn standing(
    style: Style,
    period: Option<Duration>,
    tally: &Arc<Tally>,
    begun: Instant,
) -> Option<Standing> {
    let (period, tally) = (period?, tally.clone());
    match style {
        Style::Bars | Style::Brief | Style::Quiet => None,
        Style::Json => {
            let say = move |voice: &mut Voice<'_>| {
                let counts = tally.look(|_, _| {});
                json::progress(voice.to(To::Out), &counts, begun.elapsed());
            };
            Some((period, Box::new(say)))
        }
        Style::Lines => {
            let mut rate = Rate::new(begun, 0);
            let say = move |voice: &mut Voice<'_>| {
                let counts = tally.look(|_, _| {});
                let line = total_line(&counts, rate.update(Instant::now(), counts.received));
                let text = voice.to(To::Error);
                text.push_str(&line);
                text.push('\n');
            };
            Some((period, Box::new(say)))
        }
    }
}

/// How many of the slowest are shown if nobody says.
pub(super) const SLOWEST: usize = 3;
const FULL_PAUSE: Duration = Duration::from_millis(20);
