//! Who fetches which bytes of one file: claims that never overlap, and can be stolen from.
//! No I/O, no waiting.
//!
//! ```text
//!            from     at                 end
//!   claim A   ├─taken──┼─────on its way───┤
//!                               ├─stolen──┤   by B, who had nothing left: A ends there now
//!   done    ══╡
//! ```
//!
//! Invariants:
//! - no two claims hold the same byte, and none holds a byte that is done;
//! - what was taken is not stolen any more;
//! - a claim that is dropped gives back what is not done, for others to claim.

use std::sync::{Arc, Mutex};

use super::ranges::Ranges;
use crate::util::lock;

/// The bytes of a file of known size: done, claimed or neither.
#[derive(Debug)]
pub(crate) struct Claims {
    total: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: Ranges,
    held: Vec<Held>,
    next_id: u64,
}

/// One claim: `from..at` is taken and not yet done, `at..end` is on its way.
#[derive(Debug)]
struct Held {
    id: u64,
    from: u64,
    at: u64,
    end: u64,
}

/// The right to fetch a range, from [`Claims::next`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    id: u64,
}

impl Claims {
    /// For a file of `total` bytes of which `done` are there.
    pub(crate) fn new(total: u64, mut done: Ranges) -> Arc<Self> {
        done.cut(total);
        let state = Mutex::new(State {
            done,
            held: Vec::new(),
            next_id: 0,
        });
        Arc::new(Self { total, state })
    }

    /// Claims bytes that nobody fetches; if there are none, the tail of the largest claim,
    /// unless a piece would be shorter than `min`.
    ///
    /// `hungry` is how many claims are about to be made, this one included: each leaves
    /// their share to the others.
    pub(crate) fn next(self: &Arc<Self>, min: u64, hungry: u64) -> Option<Claim> {
        let mut state = lock(&self.state);
        let (start, end) = state
            .open(self.total, min, hungry)
            .or_else(|| state.steal(min, hungry))?;
        let id = state.next_id;
        state.next_id += 1;
        state.held.push(Held {
            id,
            from: start,
            at: start,
            end,
        });
        Some(Claim {
            claims: self.clone(),
            id,
        })
    }

    /// Tells whether [`Claims::next`] would find something.
    pub(crate) fn has_next(&self, min: u64) -> bool {
        let state = lock(&self.state);
        state.gap(0, self.total).is_some() || state.largest(min, 1).is_some()
    }

    pub(crate) fn is_finished(&self) -> bool {
        lock(&self.state).done.is_whole(self.total)
    }

    #[cfg(test)]
    fn done(&self) -> Ranges {
        lock(&self.state).done.clone()
    }

    /// How many bytes have come, done or not yet.
    pub(crate) fn there(&self) -> u64 {
        let state = lock(&self.state);
        let taken = state.held.iter().map(|held| held.at - held.from);
        state.done.bytes() + taken.sum::<u64>()
    }
}

impl Claim {
    /// The offset of the next byte to come.
    pub(crate) fn at(&self) -> u64 {
        self.with(|held| held.at)
    }

    /// The offset behind its last byte; a thief moves it to the front.
    pub(crate) fn end(&self) -> u64 {
        self.with(|held| held.end)
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.with(|held| held.end - held.at)
    }

    /// Takes up to `bytes` that have come; fewer if the rest is not ours any more.
    pub(crate) fn take(&mut self, bytes: u64) -> u64 {
        self.with(|held| {
            let taken = bytes.min(held.end - held.at);
            held.at += taken;
            taken
        })
    }

    /// What was taken before `end` is in the file; the others are lost.
    pub(crate) fn settle_to(&mut self, end: u64) {
        let mut state = lock(&self.claims.state);
        let (from, at) = {
            let held = state.held(self.id);
            held.at = end.clamp(held.from, held.at);
            (std::mem::replace(&mut held.from, held.at), held.at)
        };
        state.done.insert(from, at);
    }

    /// Goes on behind its end, if nobody fetches what is there; false if it cannot.
    ///
    /// For an answer that brings more than was left of the claim.
    pub(crate) fn extend(&mut self) -> bool {
        let mut state = lock(&self.claims.state);
        let end = state.held(self.id).end;
        match state.gap(end, self.claims.total) {
            Some((start, further)) if start == end => {
                state.held(self.id).end = further;
                true
            }
            _ => false,
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Held) -> R) -> R {
        f(lock(&self.claims.state).held(self.id))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.claims.state)
            .held
            .retain(|held| held.id != self.id);
    }
}

impl State {
    fn held(&mut self, id: u64) -> &mut Held {
        self.held
            .iter_mut()
            .find(|held| held.id == id)
            .expect("a claim is on the list until it is dropped")
    }

    /// The first bytes at or after `at` that are neither done nor claimed.
    fn gap(&self, mut at: u64, total: u64) -> Option<(u64, u64)> {
        loop {
            let (start, end) = self.done.hole(at, total)?;
            let claimed = |byte| {
                self.held
                    .iter()
                    .find(|held| held.from <= byte && byte < held.end)
            };
            match claimed(start) {
                Some(held) => at = held.end,
                None => {
                    let next = self.held.iter().filter(|held| held.from > start);
                    let end = next
                        .filter(|held| held.from < held.end)
                        .fold(end, |end, held| end.min(held.from));
                    return Some((start, end));
                }
            }
        }
    }

    /// A share of what nobody fetches.
    fn open(&self, total: u64, min: u64, hungry: u64) -> Option<(u64, u64)> {
        let first = self.gap(0, total)?;
        let (mut open, mut at) = (0, 0);
        while let Some((start, end)) = self.gap(at, total) {
            open += end - start;
            at = end;
        }
        let share = open.div_ceil(hungry.max(1)).max(min).max(1);
        let (start, end) = first;
        // A crumb at the end is not worth a request of its own.
        let is_cut = (end - start)
            .checked_sub(share)
            .is_some_and(|rest| rest >= min.max(1));
        Some((start, if is_cut { start + share } else { end }))
    }

    /// The claim with the most to come, and how much of it is a share.
    fn largest(&self, min: u64, hungry: u64) -> Option<(usize, u64)> {
        let left = |held: &Held| held.end - held.at;
        let (place, held) = self
            .held
            .iter()
            .enumerate()
            .max_by_key(|(_, held)| left(held))?;
        let min = min.max(1);
        let share = (left(held) / hungry.saturating_add(1)).max(min);
        let kept = left(held).checked_sub(share)?;
        (kept >= min).then_some((place, share))
    }

    fn steal(&mut self, min: u64, hungry: u64) -> Option<(u64, u64)> {
        let (place, share) = self.largest(min, hungry)?;
        let held = &mut self.held[place];
        let end = held.end;
        held.end -= share;
        Some((held.end, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::retry::Dice;

    fn span(claim: &Claim) -> (u64, u64) {
        (claim.at(), claim.end())
    }

    #[test]
    fn the_first_claim_is_all_and_the_others_share_it_evenly() {
        let claims = Claims::new(800, Ranges::default());
        let first = claims.next(10, 1).unwrap();
        assert_eq!(span(&first), (0, 800));
        let others: Vec<_> = (1..=7)
            .rev()
            .map(|hungry| claims.next(10, hungry).unwrap())
            .collect();
        let spans: Vec<_> = others.iter().map(span).collect();
        assert_eq!(span(&first), (0, 100));
        assert_eq!(spans[0], (700, 800));
        assert_eq!(spans[6], (100, 200));
    }

    #[test]
    fn a_thief_takes_the_second_half_of_the_largest() {
        let claims = Claims::new(100, Ranges::default());
        let mut a = claims.next(10, 1).unwrap();
        let mut b = claims.next(10, 1).unwrap();
        assert_eq!((span(&a), span(&b)), ((0, 50), (50, 100)));
        assert_eq!(b.take(40), 40);
        let mut c = claims.next(10, 1).unwrap();
        assert_eq!((span(&a), span(&c)), ((0, 25), (25, 50)));
        // What came for the thief's part is not ours to write.
        assert_eq!(a.take(30), 25);
        assert_eq!(a.take(30), 0);
        assert_eq!(c.take(6), 6);
        // 19 are left: two pieces of 10 are not in them.
        assert!(!claims.has_next(10));
        assert!(claims.next(10, 1).is_none());
        assert!(claims.has_next(9));
    }

    #[test]
    fn what_is_dropped_is_claimed_anew_except_what_is_done() {
        let claims = Claims::new(100, Ranges::default());
        let mut a = claims.next(10, 1).unwrap();
        let b = claims.next(10, 1).unwrap();
        a.take(20);
        a.settle_to(u64::MAX);
        a.take(5);
        assert_eq!(claims.there(), 25);
        drop(a);
        assert_eq!(claims.done(), Ranges::before(20));
        let mut a = claims.next(10, 1).unwrap();
        assert_eq!(span(&a), (20, 50));
        assert!(!a.extend(), "the rest is another's");
        drop(b);
        assert!(a.extend());
        assert_eq!(span(&a), (20, 100));
        assert!(!a.extend(), "the file ends there");
        assert_eq!(a.take(1000), 80);
        assert!(!claims.is_finished());
        a.settle_to(u64::MAX);
        assert!(claims.is_finished());
        assert_eq!(claims.there(), 100);
    }

    #[test]
    fn what_the_file_did_not_take_is_not_done() {
        let claims = Claims::new(100, Ranges::default());
        let mut a = claims.next(10, 1).unwrap();
        a.take(100);
        a.settle_to(70);
        assert!(!claims.is_finished());
        assert_eq!((claims.there(), span(&a)), (70, (70, 100)));
        a.take(10);
        // Nothing of it.
        a.settle_to(70);
        drop(a);
        assert_eq!(claims.done(), Ranges::before(70));
        assert_eq!(span(&claims.next(10, 1).unwrap()), (70, 100));
    }

    #[test]
    fn holes_of_an_earlier_run_are_shared() {
        let mut done = Ranges::default();
        done.insert(10, 20);
        done.insert(50, 60);
        done.insert(90, 500);
        let claims = Claims::new(100, done);
        let spans: Vec<_> = (0..3)
            .map(|n| claims.next(5, 3 - n).unwrap())
            .collect::<Vec<_>>()
            .iter()
            .map(span)
            .collect();
        assert_eq!(spans, [(0, 10), (20, 50), (60, 90)]);

        let claims = Claims::new(100, Ranges::before(20));
        let a = claims.next(5, 4).unwrap();
        let b = claims.next(5, 3).unwrap();
        assert_eq!((span(&a), span(&b)), ((20, 40), (40, 60)));
    }

    #[test]
    fn an_empty_or_whole_file_has_nothing_to_claim() {
        for (total, done) in [(0, Ranges::default()), (5, Ranges::before(5))] {
            let claims = Claims::new(total, done);
            assert!(claims.is_finished() && !claims.has_next(1));
            assert!(claims.next(1, 1).is_none());
        }
        let claims = Claims::new(u64::MAX, Ranges::default());
        let a = claims.next(1, 1).unwrap();
        let b = claims.next(u64::MAX, u64::MAX);
        assert!(b.is_none());
        assert_eq!(span(&a), (0, u64::MAX));
    }

    /// Random schedules: claims are made, fed, settled, extended and dropped in any order.
    /// No byte is settled twice, and the file gets whole.
    #[test]
    fn every_byte_is_done_exactly_once() {
        for seed in 0..300 {
            schedule(seed);
        }
    }

    fn schedule(seed: u64) {
        let mut dice = Dice::new(seed);
        let mut roll = |n: usize| (dice.roll() * n as f64) as usize;
        let (total, min) = (1 + roll(400), 1 + roll(20) as u64);
        let claims = Claims::new(total as u64, Ranges::default());
        let mut done = vec![0_u8; total];
        let mut workers: Vec<(Claim, std::ops::Range<usize>)> = Vec::new();
        let mut steps = 0;
        while !claims.is_finished() {
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: no end");
            let action = roll(10);
            if workers.is_empty() || (action == 0 && workers.len() < 8) {
                let hungry = 1 + roll(4) as u64;
                if let Some(claim) = claims.next(min, hungry) {
                    let at = claim.at() as usize;
                    workers.push((claim, at..at));
                } else {
                    assert!(!workers.is_empty(), "seed {seed}: nothing to claim");
                }
                continue;
            }
            let place = roll(workers.len());
            let (claim, taken) = &mut workers[place];
            match action {
                1..=6 => {
                    assert_eq!(claim.at() as usize, taken.end);
                    taken.end += claim.take(1 + roll(30) as u64) as usize;
                    assert_eq!(claim.at() as usize, taken.end);
                }
                7 => {
                    // The file may not have taken all of it.
                    taken.end -= roll(2).min(taken.len());
                    claim.settle_to(taken.end as u64);
                    done[taken.clone()].iter_mut().for_each(|n| *n += 1);
                    taken.start = taken.end;
                }
                8 => {
                    claim.extend();
                }
                // Ends at its end, or is killed on the way: what is not settled is lost.
                _ => drop(workers.swap_remove(place)),
            }
            let mut at = 0;
            let ranges = claims.done();
            while let Some((start, end)) = ranges.hole(at, total as u64) {
                assert!(done[at as usize..start as usize].iter().all(|n| *n == 1));
                assert!(done[start as usize..end as usize].iter().all(|n| *n == 0));
                at = end;
            }
        }
        assert!(done.iter().all(|n| *n == 1), "seed {seed}");
    }
}
