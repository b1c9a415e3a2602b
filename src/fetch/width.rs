//! How many requests a host bears at once: cut when it says so, regained step by step.
//! Pure: the clock is an argument.
//!
//! Additive increase, multiplicative decrease, as TCP does with packets: a 429, a 503, a
//! time-out or a reset halves the width, and only answers widen it again, by one per round.
//! Two things are added. Requests that were on their way before a cut are no reason for
//! another one. And the width at which the host complained is remembered and approached
//! slowly, so that a server that takes two at a time is not asked for a third in every
//! round.

use std::time::Instant;

/// The width of one host, within `1..=cap`.
#[derive(Debug)]
pub(crate) struct Width {
    now: usize,
    cap: usize,
    /// The width at which the host last complained.
    too_much: Option<usize>,
    /// Answers since the last change.
    answers: usize,
    cut_at: Option<Instant>,
}

/// Rounds without a complaint before the width that was too much is tried again.
const CAREFUL_ROUNDS: usize = 8;

impl Width {
    pub(crate) fn new(width: usize, cap: usize) -> Self {
        Self {
            now: width.clamp(1, cap.max(1)),
            cap: cap.max(1),
            too_much: None,
            answers: 0,
            cut_at: None,
        }
    }

    pub(crate) fn get(&self) -> usize {
        self.now
    }

    /// Nothing has been cut.
    pub(crate) fn is_whole(&self) -> bool {
        self.too_much.is_none()
    }

    /// Sets the width, within the bounds, as whoever searches for a good one wants it.
    pub(crate) fn set(&mut self, width: usize) {
        self.now = width.clamp(1, self.cap);
        self.answers = 0;
    }

    /// An answer came, and no complaint.
    pub(crate) fn answered(&mut self) {
        // What was never cut is not regained: it stands where it was set.
        let Some(too_much) = self.too_much else {
            return;
        };
        self.answers += 1;
        let careful = self.now + 1 >= too_much;
        let rounds = if careful { CAREFUL_ROUNDS } else { 1 };
        if self.answers < self.now * rounds {
            return;
        }
        self.answers = 0;
        if careful {
            // It goes again by now; whatever is beyond may go as well.
            self.too_much = Some(too_much.saturating_mul(2));
        }
        if self.now < self.cap {
            self.now += 1;
        } else {
            self.too_much = None;
        }
    }

    /// The host complained about a request sent at `sent`, one of `under_way`; tells
    /// whether the width was cut.
    pub(crate) fn complained(&mut self, sent: Instant, under_way: usize, now: Instant) -> bool {
        if self.cut_at.is_some_and(|cut_at| sent <= cut_at) {
            return false;
        }
        let used = self.now.min(under_way.max(1));
        self.too_much = Some(used.max(2));
        self.now = used.div_ceil(2).min(used.saturating_sub(1)).max(1);
        self.answers = 0;
        self.cut_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_complaint_halves_what_is_in_use_and_answers_regain_it() {
        let start = Instant::now();
        let at = |n: u64| start + Duration::from_millis(n);
        let mut width = Width::new(16, 16);
        assert!(width.complained(at(0), 8, at(1)));
        assert_eq!(width.get(), 4);
        // These were sent before the cut.
        assert!(!width.complained(at(0), 8, at(2)));
        assert!(!width.complained(at(1), 8, at(2)));
        assert_eq!(width.get(), 4);
        assert!(width.complained(at(3), 3, at(4)));
        assert_eq!(width.get(), 2);
        assert!(width.complained(at(5), 2, at(6)));
        assert!(width.complained(at(7), 1, at(8)));
        assert_eq!(width.get(), 1, "never none");
        for _ in 0..2000 {
            width.answered();
            assert!(width.get() <= 16);
        }
        assert_eq!(width.get(), 16);
        assert!(width.is_whole());
    }

    #[test]
    fn what_was_never_cut_stays() {
        let mut width = Width::new(8, 64);
        (0..100).for_each(|_| width.answered());
        assert_eq!(width.get(), 8);
        assert_eq!(Width::new(0, 0).get(), 1);
    }

    /// A server that takes `bears` at a time: refuses the rest at once, answers in rounds.
    fn play(bears: usize, cap: usize, rounds: u64) -> (usize, usize, usize) {
        let start = Instant::now();
        let mut width = Width::new(cap, cap);
        let (mut served, mut refused) = (0, 0);
        for round in 0..rounds {
            let sent = start + Duration::from_millis(10 * round + 1);
            let wide = width.get();
            for n in 0..wide {
                if n < bears {
                    served += 1;
                    width.answered();
                } else {
                    refused += 1;
                    width.complained(sent, wide, sent + Duration::from_millis(1));
                }
            }
        }
        (served, refused, width.get())
    }

    #[test]
    fn a_server_that_takes_two_is_seldom_asked_for_more() {
        let (served, refused, _) = play(2, 16, 100);
        assert!(served >= 150, "{served}");
        // 14 + 6 + 2 on the way down; then a few attempts to widen.
        assert!(refused <= 14 + 6 + 2 + 30, "{refused}");
        let (served, refused, width) = play(10, 64, 200);
        assert!(
            served >= 1400 && refused <= 150,
            "{served} {refused} {width}"
        );
    }
}
