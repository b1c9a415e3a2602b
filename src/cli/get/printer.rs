//! The one thread that prints.
//!
//! Downloads add to buffers; the thread takes them some twenty times a second and writes
//! them at once. So neither a slow terminal nor a slow reader stops a worker, 5,000 files
//! in a quarter of a second cost a few writes, and a terminal is drawn at most ten times a
//! second.

use super::bars::Bars;
use super::record::Record;
use super::screen::{Screen, Size};
use super::tally::Tally;
use crate::cli::{Failure, Outcome, out};
use crate::util::lock;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Out,
    Error,
    /// The file of `--report`.
    Report,
    /// The file of `--save-session`.
    Session,
}

/// How many there are of [`To`].
const PLACES: usize = 4;
type Texts = [String; PLACES];

/// Takes text from everywhere.
pub(super) struct Printer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Outcome>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Both outputs are the terminal with the bars: one stream, in order.
    is_joined: bool,
}

#[derive(Default)]
struct State {
    /// By [`To`].
    texts: Texts,
    is_closing: bool,
    /// There was no run for the records to tell of.
    is_given_up: bool,
    /// The thread waits for text.
    is_idle: bool,
}

/// How often to say how things stand, and how.
pub(super) type Standing = (Duration, Box<dyn FnMut(&mut Voice<'_>) + Send>);

/// What is drawn besides the text.
pub(super) struct Drawn {
    pub(super) tally: Arc<Tally>,
    /// Bars on standard error.
    pub(super) has_bars: bool,
    pub(super) standing: Option<Standing>,
    pub(super) records: Vec<(To, Record)>,
    /// What to do when nobody reads standard output any more.
    pub(super) on_pipe_closed: Box<dyn FnOnce() + Send>,
}

/// Says something while the buffers are held.
pub(super) struct Voice<'a> {
    state: &'a mut State,
    is_joined: bool,
}

impl Voice<'_> {
    /// The buffer of an output.
    pub(super) fn to(&mut self, to: To) -> &mut String {
        let to = match to {
            To::Out if self.is_joined => To::Error,
            to => to,
        };
        &mut self.state.texts[to as usize]
    }
}

impl Printer {
    pub(super) fn start(drawn: Drawn) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            is_joined: drawn.has_bars && is_one_terminal(),
        });
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .name("greenloop-print".into())
            .spawn(move || Writer::new(own, drawn).write_all());
        let thread = thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `say` add whole lines. Never waits for an output.
    pub(super) fn say(&self, say: impl FnOnce(&mut Voice<'_>)) {
        let mut state = lock(&self.shared.state);
        say(&mut Voice {
            state: &mut state,
            is_joined: self.shared.is_joined,
        });
        if std::mem::take(&mut state.is_idle) {
            self.shared.changed.notify_one();
        }
    }

    /// Tells whether more waits to be printed than is good; who adds to it may wait.
    pub(super) fn is_full(&self) -> bool {
        let bytes: usize = lock(&self.shared.state).texts.iter().map(String::len).sum();
        bytes > FULL_BYTES
    }

    /// Prints what is left and takes the bars away; the records get their names.
    pub(super) fn finish(&self) -> Outcome {
        self.close(false)
    }

    /// The same without records: nothing has been run.
    pub(super) fn give_up(&self) -> Outcome {
        self.close(true)
    }

    fn close(&self, is_given_up: bool) -> Outcome {
        {
            let mut state = lock(&self.shared.state);
            (state.is_closing, state.is_given_up) = (true, is_given_up);
        }
        self.shared.changed.notify_one();
        match lock(&self.thread).take() {
            None => Ok(()),
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(Failure::failed("the printing thread panicked"))),
        }
    }
}

/// The thread's side.
struct Writer {
    shared: Arc<Shared>,
    drawn: Drawn,
    bars: Option<(Bars, Screen)>,
    outcome: Outcome,
}

impl Writer {
    fn new(shared: Arc<Shared>, drawn: Drawn) -> Self {
        let bars = || (Bars::new(Instant::now()), Screen::default());
        Self {
            shared,
            bars: drawn.has_bars.then(bars),
            drawn,
            outcome: Ok(()),
        }
    }

    fn write_all(mut self) -> Outcome {
        let mut standing = self.drawn.standing.take();
        let period = standing.as_ref().map(|(period, _)| *period);
        let mut next = period.map(|period| Instant::now() + period);
        loop {
            let (texts, is_last) = self.take(next);
            if let (Some(period), Some(at)) = (period, next)
                && at <= Instant::now()
                && let Some((_, say)) = &mut standing
            {
                next = Some(Instant::now() + period);
                let mut state = lock(&self.shared.state);
                say(&mut Voice {
                    state: &mut state,
                    is_joined: self.shared.is_joined,
                });
            }
            self.write(&texts, is_last);
            if is_last {
                return self.end();
            }
        }
    }

    /// Waits until there is something to do, and long enough after the last time.
    fn take(&self, next: Option<Instant>) -> (Texts, bool) {
        let state = lock(&self.shared.state);
        // A pause that only the end cuts short.
        let pause = match self.bars {
            Some(_) => REDRAW_PAUSE,
            None => LINES_PAUSE,
        };
        let wait = self
            .shared
            .changed
            .wait_timeout_while(state, pause, |state| !state.is_closing);
        let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        let is_empty = |state: &State| state.texts.iter().all(String::is_empty);
        if self.bars.is_none() && is_empty(&state) && !state.is_closing {
            state.is_idle = true;
            let waits = |state: &mut State| !state.is_closing && state.is_idle;
            state = match next {
                None => self.shared.changed.wait_while(state, waits),
                Some(at) => {
                    let limit = at.saturating_duration_since(Instant::now());
                    let waited = self.shared.changed.wait_timeout_while(state, limit, waits);
                    Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
                }
            }
            .unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
        // At the end too everything is in it: nobody speaks after that.
        (std::mem::take(&mut state.texts), state.is_closing)
    }

    fn write(&mut self, texts: &Texts, is_last: bool) {
        let (out, error) = (&texts[To::Out as usize], &texts[To::Error as usize]);
        for (to, record) in &mut self.drawn.records {
            record.write(texts[*to as usize].as_bytes());
        }
        let Some((bars, screen)) = &mut self.bars else {
            let _ = io::stderr().write_all(error.as_bytes());
            self.write_out(out);
            return;
        };
        let size = terminal_size();
        let lines = match is_last {
            true => Vec::new(),
            false => bars.lines(&self.drawn.tally, size, Instant::now()),
        };
        // Standard output goes elsewhere, or is in `error`.
        let frame = match is_last {
            true => screen.clear(size) + error,
            false => screen.draw(size, error, &lines),
        };
        // A terminal that is gone has nobody to complain to.
        let _ = io::stderr().write_all(frame.as_bytes());
        self.write_out(out);
    }

    /// Gives the files their names; tells the first thing that went wrong.
    fn end(self) -> Outcome {
        if lock(&self.shared.state).is_given_up {
            return self.outcome;
        }
        let records = self.drawn.records.into_iter();
        let kept = records.map(|(_, record)| record.finish());
        let kept = kept.fold(Ok(()), Result::and);
        self.outcome.and(kept)
    }

    /// Goes on after a failure: the downloads do, and the exit code tells.
    fn write_out(&mut self, text: &str) {
        if text.is_empty() || self.outcome.is_err() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        if let Err(error) = written {
            self.outcome = Err(out::write_failure(error));
            if matches!(self.outcome, Err(Failure::PipeClosed)) {
                let nothing = Box::new(|| ());
                std::mem::replace(&mut self.drawn.on_pipe_closed, nothing)();
            }
        }
    }
}

/// Tells whether standard output is the terminal that standard error is.
fn is_one_terminal() -> bool {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    if !stdout.is_terminal() {
        return false;
    }
    let same = |a: rustix::fs::Stat, b: rustix::fs::Stat| a.st_rdev == b.st_rdev;
    match (rustix::fs::fstat(&stdout), rustix::fs::fstat(&stderr)) {
        (Ok(a), Ok(b)) => same(a, b),
        _ => false,
    }
}

fn terminal_size() -> Size {
    let told = |name: &str| std::env::var(name).ok()?.parse().ok();
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    let or = |count: Option<u16>, name, otherwise| match count {
        None | Some(0) => told(name).unwrap_or(otherwise),
        Some(count) => usize::from(count),
    };
    Size {
        rows: or(size.map(|size| size.ws_row), "LINES", 24),
        columns: or(size.map(|size| size.ws_col), "COLUMNS", 80),
    }
}

/// Half of the ten a second that a terminal over a slow line can take.
const REDRAW_PAUSE: Duration = Duration::from_millis(200);
/// Lines come late by at most this, so that many share a write.
const LINES_PAUSE: Duration = Duration::from_millis(50);
/// Some 10,000 lines.
const FULL_BYTES: usize = 1 << 20;
