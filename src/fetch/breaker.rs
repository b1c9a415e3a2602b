//! The circuit breaker of a host. Pure: the clock is an argument.
//!
//! ```text
//!             so many failures in a row              its time has passed
//!   Closed ───────────────────────────────► Open ───────────────────────► one probe
//!     ▲                                      ▲  └── twice as long ◄── fails ──┤
//!     └───────── any answer ─────────────────┼────────────────────────────────┘
//!                                            │ too many probes failed
//!                     silent host: Dead ◄────┴────► answering host: Worn
//! ```
//!
//! A dead host's URLs fail unasked; now and then one more is let through to see. A worn host does answer, only never with a file (5xx):
//! each of its URLs is asked for, since another one may be there; nothing is spaced out
//! any more, for that would take for ever.

use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    /// Failures in a row that open it.
    pub(crate) failures: u32,
    /// Probes that may fail before the host counts as dead.
    pub(crate) probes: u32,
    /// Open for so long at first; then twice as long, …
    pub(crate) open_first: Duration,
    /// … up to this. A dead host is probed after this long, too.
    pub(crate) open_max: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 5,
            probes: 3,
            open_first: Duration::from_secs(1),
            open_max: Duration::from_secs(30),
        }
    }
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No answer: refused, unreachable, unresolvable, timed out before its head.
    Silent,
    /// An answer that says that the server cannot (5xx).
    Answered,
}

/// What a host lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everybody.
    Open,
    /// The one who asks, and nobody else until it is known how that went.
    Probe,
    /// Nobody before this moment.
    Until(Instant),
    /// Nobody, until the probe that is under way has ended.
    Probing,
    /// Nobody: after so many failures in a row, nothing more is to be hoped for.
    Dead(u32),
}

/// The state of one host.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    /// Failures in a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    /// Tells how many probes have failed.
    Open {
        until: Instant,
        probes: u32,
    },
    HalfOpen {
        probes: u32,
    },
    Dead {
        until: Instant,
    },
    Worn,
}

impl Breaker {
    /// Whom the host lets through. [`Door::Probe`] takes effect with [`Breaker::probe`].
    pub(crate) fn door(&self, now: Instant) -> Door {
        match self.state {
            State::Closed | State::Worn => Door::Open,
            State::Open { until, .. } if now < until => Door::Until(until),
            State::Dead { until } if now < until => Door::Dead(self.failures),
            State::Open { .. } | State::Dead { .. } => Door::Probe,
            State::HalfOpen { .. } => Door::Probing,
        }
    }

    /// A probe sets out.
    pub(crate) fn probe(&mut self, policy: &BreakerPolicy) {
        self.state = match self.state {
            State::Open { probes, .. } => State::HalfOpen { probes },
            // One more, then dead again.
            State::Dead { .. } => State::HalfOpen {
                probes: policy.probes,
            },
            other => other,
        };
    }

    /// The probe ended without telling anything: stopped, or failed here.
    pub(crate) fn probe_lost(&mut self, now: Instant) {
        if let State::HalfOpen { probes } = self.state {
            self.state = State::Open { until: now, probes };
        }
    }

    /// The host answered as it should: all is well. Tells whether that is news.
    pub(crate) fn succeed(&mut self) -> bool {
        self.failures = 0;
        std::mem::take(&mut self.state) != State::Closed
    }

    /// An attempt failed; one that `was_probe` decides. Tells whether the door changed.
    pub(crate) fn fail(
        &mut self,
        policy: &BreakerPolicy,
        fault: Fault,
        was_probe: bool,
        now: Instant,
    ) -> bool {
        self.failures = self.failures.saturating_add(1);
        let next = match self.state {
            State::Closed if self.failures >= policy.failures => self.open(policy, 0, now),
            State::HalfOpen { probes } if was_probe => {
                let probes = probes.saturating_add(1);
                match fault {
                    _ if probes <= policy.probes => self.open(policy, probes, now),
                    Fault::Silent => State::Dead {
                        until: now + policy.open_max,
                    },
                    Fault::Answered => State::Worn,
                }
            }
            // What set out before the breaker opened tells nothing new.
            same => same,
        };
        std::mem::replace(&mut self.state, next) != next
    }

    fn open(&self, policy: &BreakerPolicy, probes: u32, now: Instant) -> State {
        let time = policy
            .open_first
            .saturating_mul(2_u32.saturating_pow(probes))
            .min(policy.open_max);
        State::Open {
            until: now + time,
            probes,
        }
    }

    /// Nothing is known about the host that would be a loss to forget.
    pub(crate) fn is_untouched(&self) -> bool {
        self.state == State::Closed && self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        probes: 2,
        open_first: Duration::from_secs(1),
        open_max: Duration::from_secs(60),
    };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A breaker that has just opened, and when.
    fn open(fault: Fault) -> (Breaker, Instant) {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for n in 1..=POLICY.failures {
            assert_eq!(breaker.door(now), Door::Open);
            assert_eq!(
                breaker.fail(&POLICY, fault, false, now),
                n == POLICY.failures
            );
        }
        (breaker, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_answers_do_not_count_as_such() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            breaker.fail(&POLICY, Fault::Silent, false, now);
            breaker.fail(&POLICY, Fault::Answered, false, now);
            assert!(!breaker.succeed());
        }
        assert_eq!(breaker.door(now), Door::Open);
        assert!(breaker.is_untouched());
        let (breaker, now) = open(Fault::Silent);
        assert_eq!(breaker.door(now), Door::Until(now + seconds(1)));
        assert!(!breaker.is_untouched());
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let (mut breaker, now) = open(Fault::Silent);
        let now = now + seconds(1);
        assert_eq!(breaker.door(now), Door::Probe);
        breaker.probe(&POLICY);
        assert_eq!(breaker.door(now), Door::Probing);
        // One that set out long ago has its time-out only now.
        assert!(!breaker.fail(&POLICY, Fault::Silent, false, now));
        assert_eq!(breaker.door(now), Door::Probing);
        assert!(breaker.succeed());
        assert_eq!(breaker.door(now), Door::Open);
    }

    #[test]
    fn a_silent_host_is_dead_after_its_probes_and_may_rise_again() {
        let (mut breaker, mut now) = open(Fault::Silent);
        for wait in [1, 2, 4] {
            assert_eq!(breaker.door(now), Door::Until(now + seconds(wait)));
            now += seconds(wait);
            breaker.probe(&POLICY);
            assert!(breaker.fail(&POLICY, Fault::Silent, true, now));
        }
        assert_eq!(breaker.door(now), Door::Dead(6));
        now += POLICY.open_max;
        assert_eq!(breaker.door(now), Door::Probe);
        breaker.probe(&POLICY);
        breaker.fail(&POLICY, Fault::Silent, true, now);
        assert_eq!(breaker.door(now), Door::Dead(7));
        now += POLICY.open_max;
        breaker.probe(&POLICY);
        breaker.succeed();
        assert_eq!(breaker.door(now), Door::Open);
    }

    #[test]
    fn a_host_that_answers_is_asked_for_every_url_in_the_end() {
        let (mut breaker, mut now) = open(Fault::Answered);
        for wait in [1, 2, 4] {
            now += seconds(wait);
            breaker.probe(&POLICY);
            breaker.fail(&POLICY, Fault::Answered, true, now);
        }
        for _ in 0..10 {
            assert_eq!(breaker.door(now), Door::Open);
            breaker.fail(&POLICY, Fault::Answered, false, now);
        }
        breaker.succeed();
        for _ in 0..POLICY.failures {
            breaker.fail(&POLICY, Fault::Answered, false, now);
        }
        assert_eq!(breaker.door(now), Door::Until(now + seconds(1)), "as new");
    }

    #[test]
    fn a_probe_that_tells_nothing_is_sent_again() {
        let (mut breaker, now) = open(Fault::Silent);
        let now = now + seconds(1);
        breaker.probe(&POLICY);
        breaker.probe_lost(now);
        assert_eq!(breaker.door(now), Door::Probe);
    }

    #[test]
    fn the_wait_grows_to_its_bound() {
        let policy = BreakerPolicy {
            probes: u32::MAX,
            ..POLICY
        };
        let (mut breaker, mut now) = open(Fault::Silent);
        for _ in 0..100 {
            now += policy.open_max;
            breaker.probe(&policy);
            breaker.fail(&policy, Fault::Silent, true, now);
        }
        assert_eq!(breaker.door(now), Door::Until(now + policy.open_max));
    }
}
