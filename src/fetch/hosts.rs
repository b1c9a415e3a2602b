//! Who may send a request, and when: how many are under way in all and per host, which
//! hosts want a pause, and which do not answer at all.
//!
//! A host is a name and a port. What is known about one (`Host`) is learned from every
//! attempt (see `slot.rs`), whichever URL it was for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::auto::Climb;
use super::breaker::{Breaker, BreakerPolicy, Door};
use super::budget::Budget;
use super::failure::{Failure, FailureKind};
use super::flow::Flow;
use super::gate::{Gate, Place};
use super::options::Pace;
use super::slot::Slot;
use super::width::Width;
use crate::error::Error;
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep_until;
use crate::sync::{Event, Semaphore};
use crate::util::lock;

/// The hosts of a run and the slots for all of them.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) total: Arc<Total>,
    rules: Arc<Rules>,
    hosts: Mutex<Known>,
}

/// What holds for every host of a run.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) breaker: BreakerPolicy,
    /// A server that asks for a longer pause is given up.
    pause_max: Duration,
    width: usize,
    /// The width was given, and is not only as much as there are downloads.
    is_bounded: bool,
    /// The width of a host that has not answered yet.
    width_unproven: usize,
    auto: bool,
    /// The time between two requests.
    spacing: Option<Duration>,
}

/// All requests under way.
#[derive(Debug)]
pub(crate) struct Total {
    pub(crate) gate: Arc<Gate>,
    /// Searches for the best width, if it is to be found.
    pub(crate) climb: Option<Mutex<Climb>>,
}

#[derive(Debug)]
struct Known {
    hosts: HashMap<String, Arc<Host>>,
    /// When to look for those to be forgotten.
    sweep_at: usize,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) gate: Arc<Gate>,
    pub(crate) rules: Arc<Rules>,
    /// Those who wait for the moment of their request, where requests are spaced.
    turnstile: Semaphore,
    pub(crate) state: Mutex<HostState>,
}

/// What is known about a host.
#[derive(Debug)]
pub(crate) struct HostState {
    /// Until when it is to be left alone.
    paused_until: Option<Instant>,
    pub(crate) breaker: Breaker,
    pub(crate) budget: Budget,
    pub(crate) width: Width,
    pub(crate) climb: Option<Box<Climb>>,
    /// It has answered something.
    pub(crate) is_proven: bool,
    /// Requests whose answer has begun and not ended.
    pub(crate) answering: usize,
    /// Answers that have ended well.
    pub(crate) served: u64,
    /// How it failed last.
    pub(crate) last: Option<Failure>,
    /// Before when no request is sent.
    next_at: Option<Instant>,
    /// Wakes those who wait at the door.
    door: Event,
}

/// How long one waits for a host before others are taken from the input instead.
const ASIDE_AFTER: Duration = Duration::from_millis(100);

/// Hosts remembered before those that nobody uses are forgotten: first those of whom
/// nothing is known.
const HOSTS_KEPT: usize = 1024;

/// Hosts in use or with something known about them; beyond, only use counts.
const HOSTS_KEPT_MAX: usize = 16 * HOSTS_KEPT;

impl Hosts {
    pub(crate) fn new(pace: &Pace) -> Self {
        let is_bounded = pace.per_host < usize::MAX;
        // A file in segments makes more requests than there are files.
        let width = if is_bounded { pace.per_host } else { pace.jobs }.max(1);
        // A host that takes connections and does not answer holds its slots for as long
        // as the time limits allow. Not all of them, then, until it has answered.
        let width_unproven = width.min(pace.jobs.div_ceil(2)).max(1);
        let tries = pace.retry.tries;
        let breaker = BreakerPolicy {
            // One URL alone uses up its tries before the breaker has a say.
            failures: pace
                .breaker
                .failures
                .max(if tries == u32::MAX { 0 } else { tries }),
            probes: if tries == u32::MAX {
                u32::MAX
            } else {
                pace.breaker.probes
            },
            ..pace.breaker
        };
        let climb = pace.auto.then(|| Climb::new(pace.jobs));
        let total_width = climb.as_ref().map_or(pace.jobs, Climb::width);
        Self {
            total: Arc::new(Total {
                gate: Gate::new(total_width),
                climb: climb.map(Mutex::new),
            }),
            rules: Arc::new(Rules {
                breaker,
                pause_max: pace.retry.pause_max,
                width,
                is_bounded,
                width_unproven,
                auto: pace.auto,
                spacing: pace.rate.map(|(requests, time)| {
                    time / u32::try_from(requests).unwrap_or(u32::MAX).max(1)
                }),
            }),
            hosts: Mutex::new(Known {
                hosts: HashMap::new(),
                sweep_at: HOSTS_KEPT,
            }),
        }
    }

    pub(crate) fn host(&self, key: &str) -> Arc<Host> {
        let mut known = lock(&self.hosts);
        if let Some(host) = known.hosts.get(key) {
            return host.clone();
        }
        if known.hosts.len() >= known.sweep_at {
            known.sweep();
        }
        let host = Arc::new(Host::new(self.rules.clone()));
        known.hosts.insert(key.to_owned(), host.clone());
        host
    }

    /// Waits until a request to `host` may be sent.
    ///
    /// The host's slot is taken first: those who wait for a slow host hold none of the
    /// slots for all, and nobody who holds one of those waits for a host.
    ///
    /// Who waits for a host while there is room for another one stands aside in `flow`, so
    /// that the run goes on with its input.
    pub(crate) fn admit(
        &self,
        host: &Arc<Host>,
        limit: Deadline,
        flow: &Flow,
    ) -> Result<Slot, Failure> {
        loop {
            host.wait_at_door(limit, flow)?;
            let place = self.enter(host, limit, flow)?;
            // Somebody may have been told to wait while we stood in the queue.
            if !host.is_open() {
                continue;
            }
            let turn = host.wait_for_turn(limit)?;
            let total = self.total.gate.enter(limit).map_err(|e| ended(&e))?;
            if let Some(slot) = self.begin(host, place, total) {
                drop(turn);
                return Ok(slot);
            }
        }
    }

    fn enter(&self, host: &Host, limit: Deadline, flow: &Flow) -> Result<Place, Failure> {
        if let Some(place) = host.gate.try_enter() {
            return Ok(place);
        }
        // A host that has not answered yet is narrow, and most answer soon: the input is
        // not read far ahead for that.
        match host.gate.enter(limit.earlier(Deadline::after(ASIDE_AFTER))) {
            Ok(place) => return Ok(place),
            Err(error) if error.is_timeout() && !limit.is_passed() => {}
            Err(error) => return Err(ended(&error)),
        }
        let aside = self.total.gate.has_room().then(|| flow.aside());
        let place = host.gate.enter(limit).map_err(|e| ended(&e));
        drop(aside);
        place
    }

    /// The last look before the request; none if the door has closed meanwhile.
    fn begin(&self, host: &Arc<Host>, place: Place, total: Place) -> Option<Slot> {
        let now = Instant::now();
        let mut state = lock(&host.state);
        let is_probe = match state.door(now) {
            Door::Open => false,
            Door::Probe => {
                state.breaker.probe(&host.rules.breaker);
                true
            }
            Door::Until(_) | Door::Probing | Door::Dead(_) => return None,
        };
        if let Some(spacing) = host.rules.spacing {
            state.next_at = Some(now + spacing);
        }
        let served = state.served;
        drop(state);
        Some(Slot::new(
            self.total.clone(),
            host.clone(),
            Some(place),
            Some(total),
            is_probe,
            served,
        ))
    }

    /// Leave for one more request to a host that has begun to send the same file; `None`
    /// if there is none at once.
    ///
    /// It counts against what the user or the host itself allows per host, but not
    /// against the number of files under way: so it is asked for without waiting, and
    /// nobody waits for whom it keeps away.
    pub(crate) fn try_admit(&self, host: &Arc<Host>) -> Option<Slot> {
        let now = Instant::now();
        let mut place = None;
        if host.rules.is_bounded || !lock(&host.state).width.is_whole() {
            place = Some(host.gate.try_enter()?);
        }
        let mut state = lock(&host.state);
        let is_early = state.next_at.is_some_and(|at| at > now);
        if is_early || !matches!(state.door(now), Door::Open) {
            return None;
        }
        if let Some(spacing) = host.rules.spacing {
            state.next_at = Some(now + spacing);
        }
        let served = state.served;
        drop(state);
        let all = self.total.clone();
        Some(Slot::new(all, host.clone(), place, None, false, served))
    }
}

impl Known {
    /// Forgets hosts that nobody uses.
    fn sweep(&mut self) {
        let now = Instant::now();
        let is_used = |host: &Arc<Host>| Arc::strong_count(host) > 1;
        self.hosts
            .retain(|_, host| is_used(host) || !lock(&host.state).is_untouched(now));
        if self.hosts.len() > HOSTS_KEPT_MAX / 2 {
            self.hosts.retain(|_, host| is_used(host));
        }
        // So many new ones have to come before the next sweep that it costs each little.
        let left = self.hosts.len();
        self.sweep_at = (left * 2).clamp(HOSTS_KEPT, HOSTS_KEPT_MAX.max(left + HOSTS_KEPT));
    }
}

impl Host {
    fn new(rules: Arc<Rules>) -> Self {
        let climb = rules.auto.then(|| Box::new(Climb::new(rules.width)));
        let wide = climb.as_ref().map_or(rules.width, |climb| climb.width());
        let wide = wide.min(rules.width_unproven);
        Self {
            gate: Gate::new(wide),
            turnstile: Semaphore::new(1),
            state: Mutex::new(HostState {
                paused_until: None,
                breaker: Breaker::default(),
                budget: Budget::default(),
                width: Width::new(wide, rules.width),
                climb,
                is_proven: false,
                answering: 0,
                served: 0,
                last: None,
                next_at: None,
                door: Event::new(),
            }),
            rules,
        }
    }

    /// Makes the gate as wide as `state`, which is this host's, says.
    ///
    /// Under its lock: of two who find different widths at once the later one would else
    /// not always have the last word, and a gate too narrow stays so until an answer ends.
    /// The gate's own lock is taken inside this one, never the other way round, and whom it
    /// lets in is only woken here.
    pub(crate) fn fit_gate(&self, state: &HostState) {
        self.gate.set_width(state.width_wanted(&self.rules));
    }

    fn is_open(&self) -> bool {
        matches!(
            lock(&self.state).door(Instant::now()),
            Door::Open | Door::Probe
        )
    }

    /// Waits until the host may be asked, or fails if that takes too long.
    fn wait_at_door(&self, limit: Deadline, flow: &Flow) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            let (until, door) = {
                let state = lock(&self.state);
                let until = match state.door(now) {
                    Door::Open | Door::Probe => return Ok(()),
                    Door::Dead(failures) => return Err(state.dead(failures)),
                    Door::Until(until) => {
                        self.check_wait(&state, until, now, limit)?;
                        Deadline::at(until)
                    }
                    Door::Probing => Deadline::NEVER,
                };
                (until, state.door.clone())
            };
            let aside = flow.aside();
            let waited = door.wait_deadline(until.earlier(limit));
            drop(aside);
            waited.map_err(|e| ended(&e))?;
            if limit.is_passed() {
                return Err(out_of_time());
            }
        }
    }

    fn check_wait(
        &self,
        state: &HostState,
        until: Instant,
        now: Instant,
        limit: Deadline,
    ) -> Result<(), Failure> {
        let left = until.saturating_duration_since(now);
        let asked = state.paused_until.is_some_and(|paused| paused >= until);
        if asked && left > self.rules.pause_max {
            let text = "the server asked to be left alone for longer than is waited";
            return Err(Failure::new(FailureKind::Busy, text).after(Some(left)));
        }
        if Deadline::at(until) > limit {
            let text = "total time limit is too short for the pause that the host is given";
            return Err(Failure::new(FailureKind::Timeout, text));
        }
        Ok(())
    }

    /// Waits until the next request may be sent, where requests are spaced. Who holds the
    /// result is the next one.
    fn wait_for_turn(&self, limit: Deadline) -> Result<Option<crate::sync::Permit>, Failure> {
        if self.rules.spacing.is_none() {
            return Ok(None);
        }
        let turn = self
            .turnstile
            .acquire_deadline(limit)
            .map_err(|e| ended(&e))?;
        let next_at = lock(&self.state).next_at;
        if let Some(at) = next_at {
            if Deadline::at(at) > limit {
                return Err(out_of_time());
            }
            sleep_until(at).map_err(|e| ended(&e))?;
        }
        Ok(Some(turn))
    }

    /// Leaves the host alone for `pause`, or longer if that was settled before.
    pub(crate) fn leave_alone(&self, pause: Duration) {
        // What is too far to count is as good as a year.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let until = Instant::now() + pause.min(YEAR);
        let mut state = lock(&self.state);
        let paused = state.paused_until;
        state.paused_until = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }

    /// Takes one retry from the host's budget; returns after how long it may be made, or
    /// `None` if there is none.
    pub(crate) fn spend_retry(&self) -> Option<Duration> {
        lock(&self.state).budget.spend(Instant::now())
    }
}

impl HostState {
    /// Whom the host lets through now: the later of pause and breaker.
    pub(crate) fn door(&self, now: Instant) -> Door {
        let door = self.breaker.door(now);
        match (self.paused_until.filter(|until| *until > now), door) {
            (None, door) | (Some(_), door @ (Door::Dead(_) | Door::Probing)) => door,
            (Some(paused), Door::Until(until)) => Door::Until(paused.max(until)),
            (Some(paused), Door::Open | Door::Probe) => Door::Until(paused),
        }
    }

    /// The width that goes with what is known.
    fn width_wanted(&self, rules: &Rules) -> usize {
        match self.is_proven {
            true => self.width.get(),
            false => self.width.get().min(rules.width_unproven),
        }
    }

    /// The host has answered for the first time: it is trusted with its whole width.
    pub(crate) fn prove(&mut self, rules: &Rules) {
        if std::mem::replace(&mut self.is_proven, true) {
            return;
        }
        if self.climb.is_none() && self.width.is_whole() {
            self.width.set(rules.width);
        }
    }

    /// Lets those at the door look again.
    pub(crate) fn wake(&mut self) {
        std::mem::take(&mut self.door).set();
    }

    /// The failure of a URL that is not asked for any more.
    fn dead(&self, failures: u32) -> Failure {
        let kind = self
            .last
            .as_ref()
            .map_or(FailureKind::Network, Failure::kind);
        let last = match &self.last {
            Some(last) => format!(", at last: {last}"),
            None => String::new(),
        };
        let text = format!("not asked: the host did not answer {failures} times in a row{last}");
        Failure::new(kind, text).final_word()
    }

    fn is_untouched(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now)
            && self.breaker.is_untouched()
            && self.budget.is_full()
            && self.width.is_whole()
            && self.next_at.is_none_or(|at| at <= now)
    }
}

/// The failure of a wait that was ended from outside.
pub(crate) fn ended(error: &Error) -> Failure {
    if error.is_timeout() {
        return out_of_time();
    }
    Failure::new(FailureKind::Stopped, "stopped")
}

/// The failure of a download whose own time is up.
pub(crate) fn out_of_time() -> Failure {
    Failure::new(FailureKind::Timeout, "total time limit passed").final_word()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::breaker::Fault;

    #[test]
    fn of_many_hosts_few_are_remembered_and_those_in_use_are() {
        let hosts = Hosts::new(&Pace::default());
        let used = hosts.host("used:80");
        let mut most = 0;
        for n in 0..40_000 {
            let host = hosts.host(&format!("host-{n}:80"));
            if n % 2 == 0 {
                let mut state = lock(&host.state);
                let policy = &host.rules.breaker;
                state
                    .breaker
                    .fail(policy, Fault::Silent, false, Instant::now());
            }
            most = most.max(lock(&hosts.hosts).hosts.len());
        }
        assert!(most <= HOSTS_KEPT_MAX, "{most}");
        assert!(Arc::ptr_eq(&used, &hosts.host("used:80")));
        // Something is known about the last one.
        assert!(lock(&hosts.hosts).hosts.contains_key("host-39998:80"));
    }

    #[test]
    fn a_silent_host_gets_half_and_the_whole_when_it_answers() {
        let pace = Pace {
            jobs: 5,
            ..Pace::default()
        };
        let hosts = Hosts::new(&pace);
        let host = hosts.host("a:80");
        let flow = Flow::new(9);
        let admit = || {
            flow.enter().unwrap();
            hosts.admit(&host, Deadline::after(Duration::ZERO), &flow)
        };
        let mut slots: Vec<_> = (0..3).map(|_| admit().unwrap()).collect();
        assert_eq!(admit().unwrap_err().kind(), FailureKind::Timeout);
        slots[0].answered();
        slots.extend((0..2).map(|_| admit().unwrap()));
        assert!(admit().is_err());
    }
}
