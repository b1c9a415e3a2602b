//! The bars of a terminal: a line per file that takes its time, and one for all.

use super::rate::{Rate, clock, eta};
use super::screen::Size;
use super::tally::{Counts, Running, Tally};
use crate::cli::units::{show_bytes, show_count};
use crate::util::escape;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What the bars remember from one frame to the next.
pub(super) struct Bars {
    rates: HashMap<u64, Rate>,
    all: Rate,
}

/// A bar that may be shown.
struct Bar {
    id: u64,
    name: String,
    total: Option<u64>,
    bytes: u64,
    again: Option<Instant>,
}

impl Bars {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rates: HashMap::new(),
            all: Rate::new(now, 0),
        }
    }

    /// The lines of a frame, from the top: those that run longest, and the whole.
    ///
    /// What is done within [`PATIENCE`] is never shown: names that nobody can read only
    /// flicker.
    pub(super) fn lines(&mut self, tally: &Tally, size: Size, now: Instant) -> Vec<String> {
        let mut bars = Vec::new();
        let counts = tally.look(|id, running| {
            if now.saturating_duration_since(running.since) >= PATIENCE {
                bars.push(Bar::new(id, running));
            }
        });
        self.rates
            .retain(|id, _| bars.iter().any(|bar| bar.id == *id));
        // In the order of their beginning, so that a line stays where it is.
        bars.sort_unstable_by_key(|bar| bar.id);
        let room = size.rows.saturating_sub(2);
        let hidden = bars.len().saturating_sub(room);
        let shown = match hidden {
            0 => bars.len(),
            _ => room.saturating_sub(1),
        };
        let mut lines = Vec::with_capacity(shown + 2);
        for (n, bar) in bars.iter().enumerate() {
            let rate = self.rates.entry(bar.id);
            let rate = rate.or_insert_with(|| Rate::new(now, bar.bytes));
            let per_second = rate.update(now, bar.bytes);
            if n < shown {
                lines.push(bar.line(per_second, size.columns, now));
            }
        }
        if hidden > 0 && room > 0 {
            lines.push(format!("… and {} more", bars.len() - shown));
        }
        let per_second = self.all.update(now, counts.received);
        lines.push(total_line(&counts, per_second));
        lines
    }
}

/// The whole in a line, on a terminal and elsewhere.
pub(super) fn total_line(counts: &Counts, per_second: f64) -> String {
    let mut line = format!(
        "{} done",
        show_count(counts.saved + counts.skipped + counts.checked)
    );
    if counts.failed > 0 {
        line.push_str(&format!(", {} failed", show_count(counts.failed)));
    }
    line.push_str(&format!(
        ", {} running  {}  {}/s",
        show_count(counts.running),
        show_bytes(counts.received),
        show_bytes(per_second as u64)
    ));
    let left = counts.missing.filter(|missing| *missing > 0);
    if let Some(left) = left.and_then(|missing| eta(missing, per_second)) {
        line.push_str(&format!("  {} for these", clock(left)));
    }
    line
}

impl Bar {
    fn new(id: u64, running: &Running) -> Self {
        Self {
            id,
            name: running.name.clone(),
            total: running.total,
            bytes: running.bytes,
            again: running.again,
        }
    }

    /// `[======>     ]  45%   12.3 MiB/s    1:05  name`; narrow terminals get no bar, and
    /// very narrow ones the name and how far it is.
    fn line(&self, per_second: f64, columns: usize, now: Instant) -> String {
        let name = escape(self.name.as_bytes());
        let part = self.part();
        let far = match part {
            Some(part) => format!("{:>3.0}%", (part * 100.0).floor()),
            None => show_bytes(self.bytes),
        };
        if columns < NARROW {
            return format!("{far:>10}  {name}");
        }
        let speed = match self.again {
            Some(again) => {
                let pause = again.saturating_duration_since(now);
                format!("again in {}", clock(pause))
            }
            None => format!("{}/s", show_bytes(per_second as u64)),
        };
        let left = self
            .total
            .filter(|_| self.again.is_none())
            .and_then(|total| eta(total.saturating_sub(self.bytes), per_second))
            .map_or_else(String::new, clock);
        let bar = match (part, columns >= WIDE) {
            (_, false) => String::new(),
            (Some(part), true) => bar(part),
            (None, true) => " ".repeat(BAR + 2),
        };
        format!("{bar}{far:>10}{speed:>15}{left:>9}  {name}")
    }

    fn part(&self) -> Option<f64> {
        let total = self.total?;
        let part = match total {
            0 => 1.0,
            total => self.bytes as f64 / total as f64,
        };
        // A server may send more than it says.
        Some(part.min(1.0))
    }
}

fn bar(part: f64) -> String {
    let full = (part * BAR as f64) as usize;
    let (head, rest) = match full {
        BAR => ("", 0),
        full => (">", BAR - full - 1),
    };
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(rest))
}

/// A download that takes longer than this gets a bar.
const PATIENCE: Duration = Duration::from_millis(400);
const BAR: usize = 18;
/// Below, no bar is drawn.
const WIDE: usize = 76;
/// Below, there is room for one figure.
const NARROW: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Event;

    fn tally(count: u64) -> Tally {
        let tally = Tally::new(true);
        for id in 1..=count {
            let url = format!("http://h/{id}");
            tally.note(id, &Event::Started { url: &url });
            tally.note(
                id,
                &Event::Head {
                    name: &format!("file-{id}"),
                    total: Some(1000 * id),
                    kept: 0,
                },
            );
            tally.note(id, &Event::Progress { bytes: 500 });
        }
        tally
    }

    const SIZE: Size = Size {
        rows: 24,
        columns: 80,
    };

    #[test]
    fn each_file_has_its_line_and_all_have_one() {
        let tally = tally(2);
        let later = Instant::now() + Duration::from_secs(1);
        let mut bars = Bars::new(later);
        bars.lines(&tally, SIZE, later);
        tally.note(2, &Event::Progress { bytes: 1500 });
        let lines = bars.lines(&tally, SIZE, later + Duration::from_secs(1));
        assert_eq!(
            lines,
            [
                "[=========>        ]       50%          0 B/s           file-1",
                "[=============>    ]       75%       1000 B/s     0:01  file-2",
                "0 done, 2 running  2.0 KiB  2.0 KiB/s  0:01 for these",
            ]
        );
    }

    #[test]
    fn quick_files_get_no_line() {
        let tally = tally(3);
        let now = Instant::now();
        let lines = Bars::new(now).lines(&tally, SIZE, now);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("0 done, 3 running"), "{lines:?}");
    }

    #[test]
    fn more_files_than_rows_are_counted() {
        let tally = tally(64);
        let later = Instant::now() + Duration::from_secs(1);
        for rows in 1..30 {
            let size = Size { rows, ..SIZE };
            let lines = Bars::new(later).lines(&tally, size, later);
            assert!(lines.len() < rows.max(2), "{rows}: {}", lines.len());
            if rows > 2 {
                let hidden = 64 - (lines.len() - 2);
                assert!(lines.contains(&format!("… and {hidden} more")), "{lines:?}");
            }
        }
    }

    #[test]
    fn narrow_terminals_get_less_and_waiting_files_say_so() {
        let tally = tally(1);
        let failure = crate::fetch::Failure::status(503, "busy");
        let event = Event::Retrying {
            after: Duration::from_secs(70),
            failure: &failure,
        };
        tally.note(1, &event);
        let later = Instant::now() + Duration::from_secs(1);
        let line = |columns| {
            let size = Size { rows: 9, columns };
            Bars::new(later).lines(&tally, size, later).remove(0)
        };
        assert!(line(80).contains(" again in 1:0"), "{}", line(80));
        assert!(!line(60).contains('['), "{}", line(60));
        assert_eq!(line(30), "       50%  file-1");
    }

    #[test]
    fn bars_are_as_long_as_ever() {
        for percent in 0..=100 {
            assert_eq!(bar(f64::from(percent) / 100.0).len(), BAR + 2, "{percent}");
        }
    }
}
