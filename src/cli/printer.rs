//! The one thread that prints for many greenlets.
//!
//! A reader of our output that has stopped reading must not stop a worker, so greenlets
//! hand their lines over and wait, if they must, as greenlets do.

use super::{Failure, out};
use crate::sync::Queue;
use std::thread;

/// A thread that prints what it is handed, in that order.
pub(super) struct Printer {
    lines: Lines,
    thread: thread::JoinHandle<()>,
}

/// Where greenlets leave their lines.
#[derive(Clone)]
pub(super) struct Lines(Queue<Line>);

enum Line {
    Out(String),
    Log(log::Level, String),
}

impl Printer {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, Failure> {
        let lines = Queue::bounded(PENDING_LINES_MAX);
        let pending = lines.clone();
        let print = move || {
            while let Ok(line) = pending.get() {
                match line {
                    Line::Out(text) => out::line_or_nothing(text),
                    Line::Log(level, text) => log::log!(level, "{text}"),
                }
            }
        };
        let thread = thread::Builder::new()
            .name("greenloop-print".into())
            .spawn(print);
        let thread = thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(Self {
            lines: Lines(lines),
            thread,
        })
    }

    /// Where to leave lines.
    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Lets it print what is left, and waits for that.
    pub(super) fn finish(self) {
        self.lines.0.close();
        let _ = self.thread.join();
    }
}

impl Lines {
    /// A line for standard output; waits the greenlet's way while the printer is behind.
    pub(super) fn say(&self, text: impl Into<String>) {
        let _ = self.0.put(Line::Out(text.into()));
    }

    /// A line for standard output, dropped while the printer is far behind: for who must
    /// not wait.
    pub(super) fn offer(&self, text: impl Into<String>) {
        let _ = self.0.try_put(Line::Out(text.into()));
    }

    /// A log line, dropped while the printer is far behind.
    pub(super) fn log(&self, level: log::Level, text: impl Into<String>) {
        let _ = self.0.try_put(Line::Log(level, text.into()));
    }
}

/// At the limit who says a line waits, and what is offered is dropped.
const PENDING_LINES_MAX: usize = 1024;
