//! The places that have a file, and which of them is asked next. Pure: the clock and the
//! dice are arguments.
//!
//! Every place has tries of its own. After a failure the one is asked that may be asked
//! soonest, which is another one, if there is one left; but a place that has just sent a
//! part goes on with it. A failure that no place can help with, as a full disk, is final.

use std::time::{Duration, Instant};

use super::failure::{Failure, FailureKind};
use super::retry::{RetryPolicy, Tries, Verdict};

/// The places of one download; the first one is the entry's URL.
#[derive(Debug)]
pub(crate) struct Mirrors {
    places: Vec<Place>,
    at: usize,
    /// Bytes kept after the attempt before.
    kept: u64,
}

#[derive(Debug, Default)]
struct Place {
    tries: Tries,
    /// Not to be asked before.
    ready: Option<Instant>,
    /// How it failed last.
    failure: Option<Failure>,
    is_given_up: bool,
}

/// The next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) place: usize,
    pub(crate) pause: Duration,
    /// It is one more of those that use up the host's patience: not the first one to a
    /// place, and none that is free or that the server itself put off.
    pub(crate) is_retry: bool,
}

impl Mirrors {
    /// `count` places, at least one.
    pub(crate) fn new(count: usize) -> Self {
        let places = (0..count.max(1)).map(|_| Place::default()).collect();
        Self {
            places,
            at: 0,
            kept: 0,
        }
    }

    /// Decides after an attempt failed; `kept` is how much of the file the next one to
    /// the same place builds on.
    pub(crate) fn judge(
        &mut self,
        policy: &RetryPolicy,
        failure: Failure,
        kept: u64,
        dice: f64,
        now: Instant,
    ) -> Result<Next, Failure> {
        if !is_a_matter_of_place(&failure) {
            return Err(failure);
        }
        let advanced = kept > self.kept;
        let asked_to_wait = failure.retry_after().is_some();
        let place = &mut self.places[self.at];
        let mut is_free = false;
        match place.tries.judge(policy, &failure, kept, dice) {
            Verdict::Again(pause) => {
                is_free = pause.is_zero() && failure.is_lost_connection();
                place.ready = Some(now + pause);
            }
            Verdict::GiveUp => place.is_given_up = true,
        }
        place.failure = Some(failure);
        let stays = advanced && !place.is_given_up;
        let next = if stays { Some(self.at) } else { self.soonest() };
        let Some(next) = next else {
            return Err(self.verdict());
        };
        let same = next == self.at;
        self.kept = if same { kept } else { 0 };
        self.at = next;
        let place = &self.places[next];
        let ready = place.ready.unwrap_or(now);
        Ok(Next {
            place: next,
            pause: ready.saturating_duration_since(now),
            is_retry: place.failure.is_some() && !(same && (is_free || asked_to_wait)),
        })
    }

    /// The place that may be asked soonest; of several, the next one in the list.
    fn soonest(&self) -> Option<usize> {
        let count = self.places.len();
        let in_turn = (1..=count).map(|step| (self.at + step) % count);
        let left = in_turn.filter(|n| !self.places[*n].is_given_up);
        left.min_by_key(|n| self.places[*n].ready)
    }

    /// Of the failures of all places, the one that says most.
    fn verdict(&mut self) -> Failure {
        let places = self.places.len();
        let failures = self
            .places
            .iter_mut()
            .filter_map(|place| place.failure.take());
        let most = failures.reduce(|most, other| match weight(&other) > weight(&most) {
            true => other,
            false => most,
        });
        let failure = most
            .unwrap_or_else(|| Failure::new(FailureKind::Internal, "given up before it was tried"));
        match places {
            1 => failure,
            _ => failure.noting(format_args!("none of its {places} places has it")),
        }
    }
}

/// Another place may do better.
fn is_a_matter_of_place(failure: &Failure) -> bool {
    !matches!(
        failure.kind(),
        FailureKind::DiskFull
            | FailureKind::CannotCreate
            | FailureKind::Io
            | FailureKind::BadUrl
            | FailureKind::Stopped
            | FailureKind::Internal
    )
}

/// How much a failure says about the file, rather than about the moment.
fn weight(failure: &Failure) -> u32 {
    match failure.kind() {
        FailureKind::Timeout | FailureKind::Network => 0,
        FailureKind::Dns => 1,
        FailureKind::Busy => 2,
        FailureKind::Redirects | FailureKind::BadResponse => 3,
        FailureKind::Tls => 4,
        FailureKind::NotFound => 5,
        FailureKind::Auth => 6,
        // What was sent, and is wrong.
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            tries: 3,
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            ..RetryPolicy::default()
        }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "x")
    }

    /// Fails until the end in the same way at each place; tells the places asked.
    fn play(kinds: &[FailureKind]) -> (Vec<usize>, Failure) {
        let mut mirrors = Mirrors::new(kinds.len());
        let mut now = Instant::now();
        let mut asked = vec![0];
        loop {
            let at = *asked.last().unwrap();
            match mirrors.judge(&policy(), failure(kinds[at]), 0, 1.0, now) {
                Ok(next) => {
                    now += next.pause;
                    asked.push(next.place);
                }
                Err(failure) => return (asked, failure),
            }
        }
    }

    #[test]
    fn one_place_is_tried_as_often_as_it_may() {
        let (asked, failure) = play(&[FailureKind::Timeout]);
        assert_eq!(asked, [0, 0, 0]);
        assert_eq!(failure.to_string(), "x");
        assert_eq!(play(&[FailureKind::NotFound]).0, [0]);
    }

    #[test]
    fn others_are_asked_first_and_each_has_its_own_tries() {
        let (asked, last) = play(&[FailureKind::Timeout, FailureKind::NotFound]);
        assert_eq!(asked, [0, 1, 0, 0]);
        assert_eq!(last.kind(), FailureKind::NotFound);
        assert!(last.to_string().contains("none of its 2 places"), "{last}");
        let (asked, last) = play(&[
            FailureKind::Network,
            FailureKind::Busy,
            FailureKind::Timeout,
        ]);
        assert_eq!(asked, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(last.kind(), FailureKind::Busy);
    }

    #[test]
    fn a_full_disk_is_full_for_every_place() {
        let (asked, last) = play(&[FailureKind::DiskFull, FailureKind::Timeout]);
        assert_eq!(asked, [0]);
        assert_eq!(last.kind(), FailureKind::DiskFull);
    }

    #[test]
    fn a_place_that_sends_something_goes_on_with_it() {
        let mut mirrors = Mirrors::new(2);
        let now = Instant::now();
        let mut fail = |kept| {
            let cut = failure(FailureKind::Network);
            mirrors.judge(&policy(), cut, kept, 1.0, now).unwrap().place
        };
        assert_eq!(fail(10), 0);
        assert_eq!(fail(20), 0);
        assert_eq!(fail(20), 1, "stuck");
        assert_eq!(fail(5), 1, "counted anew");
        assert_eq!(fail(5), 0);
    }

    #[test]
    fn only_own_retries_are_charged_to_the_host() {
        let now = Instant::now();
        let mut mirrors = Mirrors::new(1);
        let lost = failure(FailureKind::Network).lost_connection();
        let next = mirrors.judge(&policy(), lost, 0, 1.0, now).unwrap();
        assert_eq!((next.pause, next.is_retry), (Duration::ZERO, false));
        let busy = failure(FailureKind::Busy).after(Some(Duration::from_secs(2)));
        let next = mirrors.judge(&policy(), busy, 0, 1.0, now).unwrap();
        assert_eq!((next.pause.as_secs(), next.is_retry), (2, false));
        let next = mirrors.judge(&policy(), failure(FailureKind::Dns), 0, 1.0, now);
        assert!(next.unwrap().is_retry);
        // The first request to a mirror is no retry.
        let mut mirrors = Mirrors::new(2);
        let next = mirrors.judge(&policy(), failure(FailureKind::Dns), 0, 1.0, now);
        assert!(!next.unwrap().is_retry);
        let next = mirrors.judge(&policy(), failure(FailureKind::Dns), 0, 1.0, now);
        assert!(next.unwrap().is_retry);
    }
}
