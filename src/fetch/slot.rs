//! Leave to send a request, and what its end tells about the host.

use std::sync::Arc;
use std::time::Instant;

use super::breaker::Fault;
use super::failure::{Failure, FailureKind};
use super::gate::Place;
use super::hosts::{Host, Total};
use crate::util::lock;

/// Leave to send a request; given back when dropped.
///
/// [`Slot::succeeded`] or [`Slot::failed`] end it with what the host is to be judged by;
/// a slot that is only dropped (stopped, failed on our side) tells nothing.
#[derive(Debug)]
pub(crate) struct Slot {
    all: Arc<Total>,
    host: Arc<Host>,
    is_probe: bool,
    sent: Instant,
    /// Answers that had come from the host when this request was sent.
    served: u64,
    answered: bool,
    received: u64,
    /// None for a further request for the same file.
    _total: Option<Place>,
    place: Option<Place>,
}

impl Slot {
    pub(crate) fn new(
        all: Arc<Total>,
        host: Arc<Host>,
        place: Option<Place>,
        total: Option<Place>,
        is_probe: bool,
        served: u64,
    ) -> Self {
        Self {
            all,
            host,
            is_probe,
            sent: Instant::now(),
            served,
            answered: false,
            received: 0,
            _total: total,
            place,
        }
    }

    /// The head of an answer with content has come: the host lives.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            lock(&self.host.state).answering += 1;
            self.lives();
        }
    }

    /// Bytes of the body have come.
    pub(crate) fn came(&mut self, bytes: u64) {
        self.received += bytes;
        self.measure(bytes, false);
    }

    /// The attempt brought the rest of the file.
    pub(crate) fn succeeded(mut self) {
        self.lives();
        let mut state = lock(&self.host.state);
        state.served += 1;
        state.budget.earn();
        state.width.answered();
        self.host.fit_gate(&state);
        drop(state);
        self.measure(0, true);
        self.place = None;
    }

    /// The attempt failed; the failure may come back with a mark that says more.
    pub(crate) fn failed(self, failure: Failure) -> Failure {
        let now = Instant::now();
        if self.received > 0 {
            lock(&self.host.state).budget.earn();
        }
        let complains = match judge(&failure, self.answered) {
            Word::Nothing => return failure,
            Word::Lives => {
                self.lives();
                self.measure(0, true);
                false
            }
            Word::Complains => {
                self.lives();
                true
            }
            Word::Cannot => {
                self.blame(&failure, Fault::Answered, now);
                is_overload(&failure)
            }
            Word::Silent => {
                self.blame(&failure, Fault::Silent, now);
                true
            }
        };
        if complains {
            self.narrow(now);
        }
        let state = lock(&self.host.state);
        let serves_others = state.served > self.served || state.answering > 0;
        drop(state);
        match is_overload(&failure) && failure.retry_after().is_none() && serves_others {
            true => failure.shed(),
            false => failure,
        }
    }

    fn lives(&self) {
        let rules = &self.host.rules;
        let mut state = lock(&self.host.state);
        if state.breaker.succeed() {
            state.wake();
        }
        if state.is_proven {
            return;
        }
        state.prove(rules);
        self.host.fit_gate(&state);
    }

    fn blame(&self, failure: &Failure, fault: Fault, now: Instant) {
        let rules = &self.host.rules;
        let mut state = lock(&self.host.state);
        state.last = Some(failure.clone());
        if fault == Fault::Answered {
            state.prove(rules);
            self.host.fit_gate(&state);
        }
        if state
            .breaker
            .fail(&rules.breaker, fault, self.is_probe, now)
        {
            state.wake();
        }
    }

    /// The host has too much to do.
    fn narrow(&self, now: Instant) {
        let under_way = self.host.gate.taken();
        let mut state = lock(&self.host.state);
        if !state.width.complained(self.sent, under_way, now) {
            return;
        }
        let wide = state.width.get();
        if let Some(climb) = &mut state.climb {
            climb.cut(wide);
        }
        self.host.fit_gate(&state);
    }

    /// Tells those who search for the best width what has come.
    fn measure(&self, bytes: u64, ended: bool) {
        let Some(total) = &self.all.climb else {
            return;
        };
        let now = Instant::now();
        let under_way = self.all.gate.taken();
        if let Some(wide) = lock(total).came(bytes, ended, under_way, now) {
            self.all.gate.set_width(wide);
        }
        let under_way = self.host.gate.taken();
        let mut state = lock(&self.host.state);
        let climb = state.climb.as_mut();
        let Some(wide) = climb.and_then(|climb| climb.came(bytes, ended, under_way, now)) else {
            return;
        };
        state.width.set(wide);
        self.host.fit_gate(&state);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = lock(&self.host.state);
        if self.answered {
            state.answering -= 1;
        }
        if self.is_probe {
            // Does nothing if the probe has been judged.
            state.breaker.probe_lost(Instant::now());
            state.wake();
        }
    }
}

/// What a failure says about the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing: it failed on our side, or was ended from outside.
    Nothing,
    /// It answers, if not with the file.
    Lives,
    /// It has too much to do.
    Complains,
    /// It answers that it cannot.
    Cannot,
    /// It does not answer.
    Silent,
}

fn judge(failure: &Failure, answered: bool) -> Word {
    if let Some(status) = failure.http_status() {
        return match status {
            429 | 408 => Word::Complains,
            _ if failure.retry_after().is_some() => Word::Complains,
            500..=599 if failure.kind() == FailureKind::Busy => Word::Cannot,
            _ => Word::Lives,
        };
    }
    match failure.kind() {
        // It has answered, with a redirect.
        _ if failure.is_elsewhere() => Word::Lives,
        // Closing an idle connection is a server's right.
        _ if failure.is_lost_connection() => Word::Nothing,
        // Our own limit on the whole.
        _ if failure.is_final_word() => Word::Nothing,
        FailureKind::Timeout | FailureKind::Network if answered => Word::Complains,
        FailureKind::Timeout | FailureKind::Network | FailureKind::Dns => Word::Silent,
        FailureKind::BadResponse | FailureKind::Redirects => Word::Lives,
        _ => Word::Nothing,
    }
}

/// The statuses of a server that would rather be asked less.
fn is_overload(failure: &Failure) -> bool {
    matches!(failure.http_status(), Some(429 | 502 | 503 | 504))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_failure_is_put_down_to_whom_it_belongs() {
        let new = |kind| Failure::new(kind, "x");
        let network = || new(FailureKind::Network);
        for (failure, before, after) in [
            (network(), Word::Silent, Word::Complains),
            (network().refused(), Word::Silent, Word::Complains),
            (network().lost_connection(), Word::Nothing, Word::Nothing),
            (new(FailureKind::Timeout), Word::Silent, Word::Complains),
            (
                new(FailureKind::Timeout).final_word(),
                Word::Nothing,
                Word::Nothing,
            ),
            (new(FailureKind::Dns), Word::Silent, Word::Silent),
            (network().elsewhere(), Word::Lives, Word::Lives),
            (new(FailureKind::BadResponse), Word::Lives, Word::Lives),
            (new(FailureKind::Redirects), Word::Lives, Word::Lives),
            (new(FailureKind::Tls), Word::Nothing, Word::Nothing),
            (new(FailureKind::Stopped), Word::Nothing, Word::Nothing),
            (new(FailureKind::DiskFull), Word::Nothing, Word::Nothing),
        ] {
            assert_eq!(judge(&failure, false), before, "{failure:?}");
            assert_eq!(judge(&failure, true), after, "{failure:?}");
        }
        for (status, word) in [
            (404, Word::Lives),
            (403, Word::Lives),
            (408, Word::Complains),
            (429, Word::Complains),
            (500, Word::Cannot),
            (501, Word::Lives),
            (503, Word::Cannot),
        ] {
            assert_eq!(
                judge(&Failure::status(status, "x"), false),
                word,
                "{status}"
            );
        }
        let asked = Failure::status(503, "x").after(Some(Duration::ZERO));
        assert_eq!(judge(&asked, false), Word::Complains);
    }
}
