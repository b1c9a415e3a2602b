//! Finds the width at which the most comes in: `--auto`. Pure: the clock is an argument.
//!
//! Time is cut into windows, and what came in each is compared with the one before:
//!
//! ```text
//!   Rising   doubles the width as long as a window brings clearly more than the last
//!     │ no more gain: back to the width before
//!     ▼
//!   Holding  for some windows ── then tries a little more ──► Trying ── clearly more ──┐
//!     ▲                                                        │ no gain              │
//!     └── holds longer each time ◄─────────────────────────────┘      Trying again ◄──┘
//! ```
//!
//! Windows in which the width was not used up tell nothing, and are skipped. What the
//! server complains about is not decided here but in `width.rs`; a cut there ends the
//! rise ([`Climb::cut`]).

use std::time::{Duration, Instant};

/// The search for one width, within `1..=cap`.
#[derive(Debug)]
pub(crate) struct Climb {
    cap: usize,
    width: usize,
    phase: Phase,
    /// What a second brought at the width that is held.
    best: f64,
    /// Windows to hold after the next attempt that brings nothing.
    patience: u32,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first window, with nothing to compare with.
    First,
    /// Twice the width before, which is to be gone back to.
    Rising {
        before: usize,
    },
    Holding {
        windows: u32,
    },
    Trying {
        before: usize,
    },
}

#[derive(Debug)]
struct Window {
    since: Instant,
    bytes: u64,
    /// The most that were under way.
    used: usize,
    answers: u32,
}

/// Where a search begins.
const START: usize = 4;

/// Shorter windows measure the accidents of single answers.
const WINDOW: Duration = Duration::from_millis(200);

/// An answer counts for so many bytes, so that small files count by number.
pub(crate) const ANSWER_BYTES: u64 = 1024;

/// A gain below this is noise.
const GAIN: f64 = 1.08;

const PATIENCE_FIRST: u32 = 8;
const PATIENCE_MAX: u32 = 64;

impl Climb {
    pub(crate) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self {
            cap,
            width: START.min(cap),
            phase: Phase::First,
            best: 0.0,
            patience: PATIENCE_FIRST,
            window: None,
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// `bytes` came, one of them the last of an answer if `ended`, while `under_way`
    /// requests were; returns the width to take if it changes.
    pub(crate) fn came(
        &mut self,
        bytes: u64,
        ended: bool,
        under_way: usize,
        now: Instant,
    ) -> Option<usize> {
        let window = self.window.get_or_insert(Window {
            since: now,
            bytes: 0,
            used: 0,
            answers: 0,
        });
        window.bytes += bytes;
        if ended {
            window.bytes += ANSWER_BYTES;
            window.answers += 1;
        }
        window.used = window.used.max(under_way);
        let time = now.saturating_duration_since(window.since);
        if time < WINDOW {
            return None;
        }
        let rate = window.bytes as f64 / time.as_secs_f64();
        let is_used_up = window.used >= self.width;
        self.window = None;
        if !is_used_up {
            return None;
        }
        let before = self.width;
        self.judge(rate);
        (self.width != before).then_some(self.width)
    }

    /// The host complained and has been cut to `width`.
    pub(crate) fn cut(&mut self, width: usize) {
        self.width = width.clamp(1, self.cap);
        self.best = 0.0;
        self.window = None;
        self.hold();
    }

    fn judge(&mut self, rate: f64) {
        let gained = rate > self.best * GAIN;
        match self.phase {
            Phase::First => {
                self.best = rate;
                self.rise();
            }
            Phase::Rising { .. } if gained => {
                self.best = rate;
                self.rise();
            }
            Phase::Trying { .. } if gained => {
                self.best = rate;
                self.patience = PATIENCE_FIRST;
                self.attempt();
            }
            Phase::Rising { before } | Phase::Trying { before } => {
                self.width = before;
                self.hold();
            }
            Phase::Holding { windows } => {
                // The way there may have changed: compare with how it is now.
                self.best = rate;
                match windows {
                    0 | 1 => self.attempt(),
                    _ => {
                        self.phase = Phase::Holding {
                            windows: windows - 1,
                        }
                    }
                }
            }
        }
    }

    fn rise(&mut self) {
        let before = self.width;
        self.width = before.saturating_mul(2).min(self.cap);
        if self.width == before {
            self.hold();
        } else {
            self.phase = Phase::Rising { before };
        }
    }

    /// Tries an eighth more, at least one.
    fn attempt(&mut self) {
        let before = self.width;
        self.width = (before + (before / 8).max(1)).min(self.cap);
        if self.width == before {
            self.hold();
        } else {
            self.phase = Phase::Trying { before };
        }
    }

    fn hold(&mut self) {
        self.phase = Phase::Holding {
            windows: self.patience,
        };
        self.patience = (self.patience * 2).min(PATIENCE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays windows against a server that brings `rate(width)` bytes a second; returns
    /// the width of each window.
    fn play(climb: &mut Climb, windows: usize, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut now = Instant::now();
        let step = WINDOW / 4;
        let mut widths = Vec::new();
        for _ in 0..windows {
            let width = climb.width();
            widths.push(width);
            climb.came(0, false, width, now);
            for _ in 0..4 {
                now += step;
                let bytes = rate(width) * step.as_secs_f64();
                climb.came(bytes as u64, false, width, now);
            }
        }
        widths
    }

    /// Each connection brings a megabyte a second; all together no more than `most`.
    fn capped(most: usize) -> impl Fn(usize) -> f64 {
        move |width| width.min(most) as f64 * 1e6
    }

    #[test]
    fn it_doubles_while_more_comes_and_stays_within_its_bounds() {
        let mut climb = Climb::new(64);
        assert_eq!(play(&mut climb, 6, capped(1000)), [4, 8, 16, 32, 64, 64]);
        let mut climb = Climb::new(3);
        assert_eq!(play(&mut climb, 100, capped(1000)), [3; 100]);
        assert_eq!(Climb::new(0).width(), 1);
    }

    #[test]
    fn it_settles_where_nothing_is_gained_any_more() {
        let mut climb = Climb::new(64);
        let widths = play(&mut climb, 40, capped(10));
        assert_eq!(widths[..5], [4, 8, 16, 32, 16]);
        let mut climb = Climb::new(64);
        let widths = play(&mut climb, 400, capped(100));
        let late = &widths[200..];
        assert!(late.iter().all(|width| *width == 64), "{late:?}");
        // A connection more does not help: it stays, and tries ever more seldom.
        let mut climb = Climb::new(64);
        let widths = play(&mut climb, 400, |_| 5e6);
        assert_eq!(widths[..3], [4, 8, 4]);
        let tried = widths.iter().filter(|width| **width > 4).count();
        assert!((2..=12).contains(&tried), "{tried}");
        assert!(widths.iter().all(|width| *width <= 8));
    }

    #[test]
    fn it_follows_a_server_that_has_more_to_give_later() {
        let mut climb = Climb::new(64);
        play(&mut climb, 40, |_| 5e6);
        let widths = play(&mut climb, 400, capped(24));
        assert!(*widths.last().unwrap() >= 12, "{widths:?}");
    }

    #[test]
    fn widths_that_are_not_used_up_tell_nothing() {
        let mut climb = Climb::new(64);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += WINDOW / 2;
            assert_eq!(climb.came(1_000_000, true, 3, now), None);
        }
        assert_eq!(climb.width(), 4);
    }

    #[test]
    fn a_cut_ends_the_rise() {
        let mut climb = Climb::new(64);
        play(&mut climb, 4, capped(1000));
        assert_eq!(climb.width(), 64);
        climb.cut(16);
        assert_eq!(play(&mut climb, 8, capped(1000)), [16; 8]);
        assert_eq!(play(&mut climb, 3, capped(1000)), [18, 20, 22]);
    }

    #[test]
    fn small_files_count_by_number() {
        let mut climb = Climb::new(64);
        let start = Instant::now();
        climb.came(0, true, 4, start);
        for n in 1..=20 {
            climb.came(0, true, 4, start + WINDOW * n / 20);
        }
        assert_eq!(climb.width(), 8);
    }
}
