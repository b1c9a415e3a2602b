//! When a failed attempt is tried again, and after how long. Pure: the clock and the dice
//! are arguments.
//!
//! `retries.md` beside this file is the table for people; a test holds it against the
//! code. What a *host* is worth, over all its URLs, is not decided here: see `budget.rs`
//! and `breaker.rs`.

use std::time::Duration;

use super::failure::{Failure, FailureKind};
use super::statuses::Statuses;

/// How often and how patiently a URL is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Attempts in a row without progress, the first one included; at least 1.
    /// `u32::MAX`: no limit.
    pub(crate) tries: u32,
    /// The first delay is at most this, the next one twice as much, …
    pub(crate) delay_first: Duration,
    /// … up to this.
    pub(crate) delay_max: Duration,
    /// A server that asks for a longer pause than this is given up.
    pub(crate) pause_max: Duration,
    /// No further attempt begins when a URL has been at work for so long.
    pub(crate) time_max: Option<Duration>,
    /// A refused connection is tried as often as anything else.
    pub(crate) refused: bool,
    /// Statuses of which the user knows better.
    pub(crate) statuses: Statuses,
}

impl RetryPolicy {
    /// Tells whether a URL that has been at work for `elapsed` may still begin an attempt
    /// after `pause`.
    pub(crate) fn has_time(&self, elapsed: Duration, pause: Duration) -> bool {
        self.time_max
            .is_none_or(|most| elapsed.saturating_add(pause) <= most)
    }
}

/// Tries of a refused connection: a server that is being restarted gets its moment, one
/// that is not there is not waited for.
const REFUSED_TRIES: u32 = 3;

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            delay_first: Duration::from_millis(500),
            delay_max: Duration::from_secs(30),
            pause_max: Duration::from_secs(60),
            time_max: None,
            refused: false,
            statuses: Statuses::default(),
        }
    }
}

/// Pauses that a server may ask for in a row, per try allowed.
///
/// A server that says when to come back has not failed, so its answers are counted apart;
/// but one that says `Retry-After: 0` for ever is left in the end.
const PAUSES_PER_TRY: u32 = 4;

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after this long.
    Again(Duration),
    /// The failure stands.
    GiveUp,
}

/// The attempts made for one URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tries {
    /// Attempts since the last progress.
    fruitless: u32,
    /// Pauses asked for since the last progress.
    pauses: u32,
    /// A connection that closed before its answer has had its free attempt.
    reconnected: bool,
    /// What came was not what its checksum says.
    mismatched: bool,
    /// Bytes kept after the best attempt so far.
    kept: u64,
}

impl Tries {
    /// Judges a failed attempt. `kept` is how much of the file the next one builds on;
    /// `dice` is evenly distributed in `0.0..1.0`.
    pub(crate) fn judge(
        &mut self,
        policy: &RetryPolicy,
        failure: &Failure,
        kept: u64,
        dice: f64,
    ) -> Verdict {
        // Only bytes that the next attempt keeps are progress: a server that cuts every
        // transfer at the same place, and cannot resume, must not hold us for ever.
        if kept > self.kept {
            *self = Self {
                kept,
                mismatched: self.mismatched,
                ..Self::default()
            };
        }
        if !is_retried(policy, failure) {
            return Verdict::GiveUp;
        }
        if let Some(pause) = failure.retry_after() {
            return self.pause(policy, pause);
        }
        if failure.is_shed() {
            // The host is only full: our turn comes when others have had theirs.
            let pause = backoff(policy, self.pauses.saturating_add(1), dice);
            return self.pause(policy, pause.min(policy.pause_max));
        }
        if failure.is_lost_connection() && !self.reconnected {
            // An idle connection that the server closed while the request was on its way:
            // nobody's fault, so not a try.
            self.reconnected = true;
            return Verdict::Again(Duration::ZERO);
        }
        if failure.kind() == FailureKind::Checksum && std::mem::replace(&mut self.mismatched, true)
        {
            // Damage on the way is rare; twice in a row, the file itself is another one.
            return Verdict::GiveUp;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        let tries = match failure.is_refused() && !policy.refused {
            true => policy.tries.min(REFUSED_TRIES),
            false => policy.tries,
        };
        if self.fruitless >= tries {
            return Verdict::GiveUp;
        }
        Verdict::Again(backoff(policy, self.fruitless, dice))
    }

    fn pause(&mut self, policy: &RetryPolicy, pause: Duration) -> Verdict {
        self.pauses = self.pauses.saturating_add(1);
        let patience = policy.tries.saturating_mul(PAUSES_PER_TRY);
        if pause > policy.pause_max || self.pauses >= patience || policy.tries <= 1 {
            return Verdict::GiveUp;
        }
        Verdict::Again(pause)
    }
}

/// Tells whether trying again can help.
fn is_retried(policy: &RetryPolicy, failure: &Failure) -> bool {
    if failure.is_final_word() {
        return false;
    }
    let listed = failure
        .http_status()
        .and_then(|status| policy.statuses.again(status));
    if let Some(again) = listed {
        return again;
    }
    match failure.kind() {
        FailureKind::Timeout | FailureKind::Network | FailureKind::Dns | FailureKind::Busy => true,
        // A framing error or a truncated answer may be a bad moment; a wrong status is not.
        FailureKind::BadResponse | FailureKind::Checksum => failure.is_transient(),
        FailureKind::NotFound
        | FailureKind::Auth
        | FailureKind::Redirects
        | FailureKind::Tls
        | FailureKind::DiskFull
        | FailureKind::Exists
        | FailureKind::CannotCreate
        | FailureKind::Io
        | FailureKind::TooLarge
        | FailureKind::BadUrl
        | FailureKind::BadOption
        | FailureKind::Stopped
        | FailureKind::Internal => false,
    }
}

/// The delay before attempt `n + 1`: anywhere between nothing and the exponential step
/// ("full jitter"), so that clients that failed together do not come back together.
pub(crate) fn backoff(policy: &RetryPolicy, n: u32, dice: f64) -> Duration {
    let factor = 2_u32.saturating_pow(n.saturating_sub(1));
    policy
        .delay_first
        .saturating_mul(factor)
        .min(policy.delay_max)
        .mul_f64(dice.clamp(0.0, 1.0))
}

/// A small random number generator (splitmix64), seeded by the caller.
///
/// Spreads delays; nothing secret depends on it.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number in `0.0..1.0`.
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits are what an f64 holds exactly.
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            tries: 3,
            delay_first: Duration::from_secs(1),
            delay_max: Duration::from_secs(3),
            pause_max: Duration::from_secs(10),
            ..RetryPolicy::default()
        }
    }

    fn network() -> Failure {
        Failure::new(FailureKind::Network, "connection reset")
    }

    #[test]
    fn delays_double_up_to_the_cap_with_full_jitter() {
        let policy = RetryPolicy {
            tries: 9,
            ..policy()
        };
        let mut tries = Tries::default();
        let mut next = |dice| tries.judge(&policy, &network(), 0, dice);
        assert_eq!(next(1.0), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(next(1.0), Verdict::Again(Duration::from_secs(2)));
        assert_eq!(next(1.0), Verdict::Again(Duration::from_secs(3)));
        assert_eq!(next(0.5), Verdict::Again(Duration::from_millis(1500)));
        assert_eq!(next(0.0), Verdict::Again(Duration::ZERO));
        for n in [1, 40, u32::MAX] {
            assert!(backoff(&policy, n, 1.0) <= policy.delay_max);
        }
    }

    #[test]
    fn tries_are_counted_and_progress_resets_them() {
        let mut tries = Tries::default();
        let mut next = |kept| tries.judge(&policy(), &network(), kept, 0.0);
        let again = Verdict::Again(Duration::ZERO);
        assert_eq!(next(0), again);
        assert_eq!(next(0), again);
        for kept in 1..100 {
            assert_eq!(next(kept), again, "progress at {kept}");
        }
        // Stuck, also when what is kept shrinks and grows again.
        assert_eq!(next(50), again);
        assert_eq!(next(99), Verdict::GiveUp);
        let one = RetryPolicy {
            tries: 1,
            ..policy()
        };
        assert_eq!(
            Tries::default().judge(&one, &network(), 0, 0.0),
            Verdict::GiveUp
        );
    }

    /// The failures that a row of the table is about.
    fn failures_of(row: &str) -> Vec<Failure> {
        let new = |kind| Failure::new(kind, "x");
        let broken = || new(FailureKind::BadResponse);
        let statuses = row.split(|c: char| !c.is_ascii_digit());
        let statuses: Vec<u16> = statuses.filter_map(|text| text.parse().ok()).collect();
        if !statuses.is_empty() {
            return statuses.iter().map(|s| Failure::status(*s, "x")).collect();
        }
        let busy = || Failure::status(503, "x");
        match row {
            "no answer in time, too slow, stalled" => vec![new(FailureKind::Timeout)],
            "connection reset or closed in the middle of a transfer" => vec![network()],
            "idle connection closed before its answer" => vec![network().lost_connection()],
            "connection refused" => vec![network().refused()],
            "name not resolved" => vec![new(FailureKind::Dns)],
            "one of these with `Retry-After`" => vec![busy().after(Some(Duration::from_secs(1)))],
            "the same from a host that serves others meanwhile" => vec![busy().shed()],
            "truncated answer, broken chunks, changed in the middle" => vec![broken().transient()],
            "answer that is no HTTP" => vec![broken()],
            "too many redirects, or one that is refused" => vec![new(FailureKind::Redirects)],
            "certificate or protocol of TLS" => vec![new(FailureKind::Tls)],
            "other bytes than a checksum says" => {
                vec![new(FailureKind::Checksum).transient()]
            }
            "no checksum where one must be" => vec![new(FailureKind::Checksum)],
            "larger than is allowed, decompression bomb" => vec![new(FailureKind::TooLarge)],
            "disk full, file that cannot be made or written" => vec![
                new(FailureKind::DiskFull),
                new(FailureKind::Exists),
                new(FailureKind::CannotCreate),
                new(FailureKind::Io),
            ],
            _ => panic!("a row that is not checked: {row}"),
        }
    }

    /// How often a lasting failure is tried, and whether the second try is free.
    fn tries_of(failure: &Failure) -> (u32, bool) {
        let policy = RetryPolicy {
            tries: 5,
            ..policy()
        };
        let mut tries = Tries::default();
        let mut count = 1;
        let mut free = false;
        while let Verdict::Again(after) = tries.judge(&policy, failure, 0, 1.0) {
            free |= count == 1 && after.is_zero();
            count += 1;
        }
        (count, free)
    }

    #[test]
    fn the_table_for_people_says_what_is_done() {
        let table = include_str!("retries.md").lines();
        let mut rows = 0;
        for line in table.filter(|line| line.starts_with("| ")).skip(1) {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let expected = match cells[1] {
                "yes" => (5, false),
                "no" => (1, false),
                "at most 3 tries, unless asked for" => (3, false),
                "once, from the start" => (2, false),
                "at once and free, the first time" => (6, true),
                "when it says; not counted as a try, up to a bound"
                | "not counted as a try, up to a bound" => (5 * PAUSES_PER_TRY, false),
                other => panic!("an answer that is not checked: {other}"),
            };
            for failure in failures_of(cells[0]) {
                assert_eq!(tries_of(&failure), expected, "{line}: {failure:?}");
                rows += 1;
            }
        }
        assert!(rows > 40, "{rows}");
        for kind in [
            FailureKind::Stopped,
            FailureKind::BadUrl,
            FailureKind::Internal,
        ] {
            assert_eq!(tries_of(&Failure::new(kind, "x")), (1, false), "{kind}");
        }
    }

    #[test]
    fn the_user_knows_better_about_statuses_and_refusals() {
        let policy = RetryPolicy {
            statuses: "404,!503".parse().unwrap(),
            refused: true,
            tries: 7,
            ..policy()
        };
        for (failure, retried) in [
            (Failure::status(404, "x"), true),
            (Failure::status(410, "x"), false),
            (Failure::status(503, "x"), false),
            (Failure::status(500, "x"), true),
        ] {
            assert_eq!(is_retried(&policy, &failure), retried, "{failure}");
        }
        let mut tries = Tries::default();
        let refused = network().refused();
        let again = (0..20).filter(|_| tries.judge(&policy, &refused, 0, 0.0) != Verdict::GiveUp);
        assert_eq!(again.count(), 6);
    }

    #[test]
    fn the_time_for_retries_ends() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let policy = RetryPolicy {
            time_max: Some(minute),
            ..policy()
        };
        assert!(policy.has_time(minute - second, second));
        assert!(!policy.has_time(minute, second));
        assert!(!policy.has_time(second, Duration::MAX));
        assert!(RetryPolicy::default().has_time(Duration::MAX, Duration::MAX));
    }

    #[test]
    fn a_pause_the_server_asks_for_is_kept_and_does_not_use_up_tries() {
        let busy = |seconds| {
            Failure::new(FailureKind::Busy, "503").after(Some(Duration::from_secs(seconds)))
        };
        let mut tries = Tries::default();
        for _ in 0..policy().tries * PAUSES_PER_TRY - 1 {
            let verdict = tries.judge(&policy(), &busy(2), 0, 0.0);
            assert_eq!(verdict, Verdict::Again(Duration::from_secs(2)));
        }
        assert_eq!(tries.judge(&policy(), &busy(2), 0, 0.0), Verdict::GiveUp);
        // Longer than we wait for.
        let verdict = Tries::default().judge(&policy(), &busy(86_400), 0, 0.0);
        assert_eq!(verdict, Verdict::GiveUp);
        // Without a time the own delay counts, and the try too.
        let unsaid = Failure::new(FailureKind::Busy, "503");
        let verdict = Tries::default().judge(&policy(), &unsaid, 0, 1.0);
        assert_eq!(verdict, Verdict::Again(Duration::from_secs(1)));
    }

    #[test]
    fn a_connection_closed_before_its_answer_is_replaced_once_for_free() {
        let lost = Failure::new(FailureKind::Network, "closed").lost_connection();
        let mut tries = Tries::default();
        let mut next = || tries.judge(&policy(), &lost, 0, 1.0);
        assert_eq!(next(), Verdict::Again(Duration::ZERO));
        assert_eq!(next(), Verdict::Again(Duration::from_secs(1)));
        assert_eq!(next(), Verdict::Again(Duration::from_secs(2)));
        assert_eq!(next(), Verdict::GiveUp);
    }

    #[test]
    fn dice_are_even_and_repeatable() {
        let mut dice = Dice::new(7);
        let rolls: Vec<_> = (0..1000).map(|_| dice.roll()).collect();
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        let mean = rolls.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_eq!(Dice::new(7).roll(), rolls[0]);
    }
}
