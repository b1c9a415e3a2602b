//! A large file in segments: when, and by how many at once.
//!
//! Nothing is asked beforehand. The first answer is that to a plain request, and goes on
//! from the first byte for as long as nobody else is ahead of it:
//!
//! ```text
//!   GET ──► 200 ══════════════════►│                      the download's own greenlet
//!            └─► helpers:          │═════════►│═════════►│  bytes=…, If-Range
//!                                                ◄── half of what is left, stolen
//! ```
//!
//! Promises:
//! - every byte is of the version that the first answer was: each range is checked against
//!   it, and another version starts the file over, in one piece;
//! - a server that does not keep to ranges loses the helpers, not the first answer: that is
//!   not let go before a range has come as asked;
//! - helpers wait for no slot, so nobody who holds one waits for another;
//! - none outlives the attempt that it is part of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::header::CONTENT_ENCODING;

use super::claims::{Claim, Claims};
use super::client::{Answer, Ask, Rest};
use super::crew::{Crew, End};
use super::failure::Failure;
use super::hosts::{Host, ended};
use super::intake::Intake;
use super::meter::FileLimit;
use super::part_file::{PartFile, Writer};
use super::plan::{Entry, without_password};
use super::ranges::Ranges;
use super::report::Event;
use super::resume::Pin;
use super::retry::{Dice, backoff};
use super::run::Run;
use super::slot::Slot;
use super::worker::{Finish, Worker};
use crate::runtime::deadline::Deadline;
use crate::sync::{Scope, scope};

/// Between two looks for slots that have become free.
const HIRE_EVERY: Duration = Duration::from_millis(100);

/// What all requests of one download have in common.
#[derive(Clone)]
pub(crate) struct Job<'a> {
    pub(crate) run: &'a Run,
    id: u64,
    url: &'a Url,
    entry: &'a Entry,
    host: Arc<Host>,
    limit: FileLimit,
    deadline: Deadline,
}

impl Job<'_> {
    pub(crate) fn get(&self, rest: Rest<'_>) -> Result<Answer, Failure> {
        let ask = Ask {
            rest: Some(rest),
            ..Ask::whole(self.url, self.entry.own())
        };
        self.run.client.get(&ask, self.deadline)
    }

    /// What takes an answer that has begun.
    pub(crate) fn intake(&self) -> Intake<'_> {
        Intake::new(self.run, &self.limit, self.deadline)
    }

    /// The failure that an answer without a file stands for.
    pub(crate) fn refusal(&self, answer: &Answer) -> Failure {
        let failure = answer.refusal();
        if let Some(pause) = failure.retry_after() {
            self.host.leave_alone(pause);
        }
        failure
    }

    pub(crate) fn writer(&self, file: &Arc<PartFile>, at: u64) -> Writer {
        Writer::new(file.clone(), at, self.run.committer.clone())
    }

    pub(crate) fn piece_min(&self) -> u64 {
        self.run.settings.split.piece_min
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.run.tell(self.id, event);
    }

    pub(crate) fn name(&self) -> String {
        without_password(self.url)
    }
}

impl<'a> Worker<'a> {
    fn job(&self) -> Job<'a> {
        Job {
            run: self.run,
            id: self.id,
            url: self.place_url(),
            entry: self.entry,
            limit: self.file_limit.clone(),
            host: self.host.clone(),
            deadline: self.deadline,
        }
    }

    /// The claims on a file whose whole answer has begun, if others are to help with it.
    pub(crate) fn claims(&self, answer: &Answer) -> Option<Arc<Claims>> {
        let pin = Pin::of(&answer.fields());
        let total = pin.total()?;
        // What is small enough for memory is not split.
        let is_in_file = self.run.folders.is_none() || self.file().is_some();
        // Of what has to be decoded, the bytes in the middle mean nothing by themselves.
        let is_plain = answer.text(CONTENT_ENCODING).is_none();
        let splits = is_in_file && is_plain && self.splits(&pin, total);
        splits.then(|| Claims::new(total, Ranges::default()))
    }

    /// The claims on what is missing of the partial file, if there is more than its end or
    /// others are to help with it.
    pub(crate) fn holes(&self) -> Option<Arc<Claims>> {
        let pin = self.part.as_ref()?.pin();
        let total = pin.total().filter(|_| pin.validator().is_some())?;
        let done = self.file()?.done();
        if self.is_single || done.bytes() == 0 || done.bytes() >= total {
            return None;
        }
        let has_islands = done.bytes() > done.prefix();
        let splits = has_islands || self.splits(pin, total - done.bytes());
        splits.then(|| Claims::new(total, done))
    }

    fn file(&self) -> Option<&Arc<PartFile>> {
        self.part.as_ref()?.file()
    }

    fn splits(&self, pin: &Pin, missing: u64) -> bool {
        let split = &self.run.settings.split;
        let is_large = missing / 2 >= split.piece_min;
        is_large && split.segments > 1 && pin.validator().is_some() && !self.is_single
    }

    /// Fetches what `claims` say, several segments at once; `answer` is a whole one that
    /// has begun.
    ///
    /// `None`: it is not to be done so, and the next attempt is one piece again.
    pub(crate) fn in_segments(
        &mut self,
        answer: Option<Answer>,
        claims: Arc<Claims>,
        slot: Slot,
    ) -> Result<Option<Finish>, Failure> {
        let pin = match (&self.part, &answer) {
            (Some(part), _) => part.pin().clone(),
            (None, Some(answer)) => Pin::of(&answer.fields()),
            (None, None) => return Ok(None),
        };
        self.tell(&Event::Head {
            name: self.part.as_ref().map_or("", |part| part.name()),
            total: pin.total(),
            kept: claims.there(),
        });
        let crew = Crew::new(self.job(), pin, claims, self.file().cloned());
        let mut led = Ok(());
        let waited = scope(|scope| {
            led = crew.lead(scope, answer, slot);
            // Whoever is still there fetches what nobody needs.
            scope.kill_all();
        });
        self.facts.heard = crew.heard().or(self.facts.heard);
        let (received, requests) = crew.counts();
        self.facts.received += received;
        self.facts.tries += requests;
        if let Some(part) = &mut self.part {
            part.rejoin();
        }
        if crew.claims.is_finished() {
            if let (Some(file), Some(total)) = (&crew.file, crew.pin.total()) {
                file.check_whole(Some(total))?;
            }
            return Ok(Some(self.whole(crew.claims.there())));
        }
        led?;
        waited.map_err(|e| ended(&e))?;
        self.is_single = true;
        Ok(None)
    }

    fn whole(&mut self, total: u64) -> Finish {
        self.facts.is_size_verified = true;
        self.facts.bytes = total;
        match self.part.take() {
            Some(part) => Finish::Whole(part),
            None => Finish::Ended(super::report::End::Saved),
        }
    }
}

impl Crew<'_> {
    /// Takes the whole answer, hires helpers, and waits for them. It is over when the file
    /// is whole or nobody is left.
    fn lead<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        answer: Option<Answer>,
        mut slot: Slot,
    ) -> Result<(), Failure> {
        let mut hiring = Hiring::new(self, scope);
        let first = answer.and_then(|answer| Some((answer, self.claims.next(1, 1)?)));
        if let Some((answer, mut claim)) = first {
            hiring.streams = true;
            let left = claim.left();
            let poured = self.pour(answer, &mut claim, left, &mut slot, |claim| {
                hiring.hire();
                self.wait_for_proof(claim)
            });
            drop(claim);
            hiring.streams = false;
            match poured {
                Ok(()) => hiring.spare = Some(slot),
                Err(failure) => self.failed(slot.failed(failure)),
            }
        } else {
            hiring.spare = Some(slot);
        }
        self.wait_for_helpers(hiring)
    }

    fn wait_for_helpers(&self, mut hiring: Hiring<'_, '_, '_>) -> Result<(), Failure> {
        loop {
            self.news.clear();
            match self.ended() {
                Some(End::Failed(failure)) => return Err(failure),
                Some(End::Changed(why)) => {
                    log::debug!("{}: {why}: starting over", self.job.name());
                    return Ok(());
                }
                None if self.claims.is_finished() => return Ok(()),
                None => {}
            }
            hiring.hire();
            if self.helpers() == 0 && !self.claims.is_finished() {
                // The pause before the next attempt, if there is one, is not ours to make.
                let failure = self.last_failure().filter(|_| !self.is_unusable());
                return failure.map_or(Ok(()), Err);
            }
            // Helpers know the download's own limit, and end by it.
            let look = hiring.next.max(Instant::now() + HIRE_EVERY);
            let waited = self.news.wait_deadline(Deadline::at(look));
            waited.map_err(|e| ended(&e))?;
        }
    }

    /// Before the one answer that surely brings the file is let go at the end of `claim`,
    /// a range must have come.
    fn wait_for_proof(&self, claim: &Claim) -> Result<(), Failure> {
        while claim.left() == 0 {
            self.news.clear();
            if self.is_proven() || self.is_over() || self.helpers() == 0 {
                break;
            }
            self.news.wait().map_err(|e| ended(&e))?;
        }
        Ok(())
    }
}

/// Looks for helpers, for as long as more are wanted.
struct Hiring<'s, 'e, 'a> {
    crew: &'s Crew<'a>,
    scope: &'s Scope<'s, 'e>,
    /// The leader takes an answer itself.
    streams: bool,
    /// A slot that the leader does not need any more.
    spare: Option<Slot>,
    /// When to look again.
    next: Instant,
    /// Failures that were paused for.
    failures: u32,
    dice: Dice,
}

impl<'s, 'e, 'a> Hiring<'s, 'e, 'a> {
    fn new(crew: &'s Crew<'a>, scope: &'s Scope<'s, 'e>) -> Self {
        let job = &crew.job;
        Self {
            crew,
            scope,
            streams: false,
            spare: None,
            next: Instant::now(),
            failures: 0,
            dice: Dice::new(job.run.settings.seed ^ job.id),
        }
    }

    /// Starts as many helpers as are missing and there are slots for.
    ///
    /// After a failure there is a pause first, as between the attempts at a file; the
    /// others go on meanwhile.
    fn hire(&mut self) {
        let crew = self.crew;
        let now = Instant::now();
        if !self.may_hire(now) {
            return;
        }
        let settings = &crew.job.run.settings.split;
        let busy = crew.helpers() + usize::from(self.streams);
        let wanted = settings.segments.saturating_sub(busy);
        if wanted == 0 || !crew.claims.has_next(settings.piece_min) {
            return;
        }
        self.next = now + HIRE_EVERY;
        let mut slots: Vec<Slot> = self.spare.take().into_iter().collect();
        while slots.len() < wanted
            && let Some(slot) = crew.job.run.hosts.try_admit(&crew.job.host)
        {
            slots.push(slot);
        }
        let mut hungry = slots.len() as u64;
        for slot in slots {
            let Some(claim) = crew.claims.next(settings.piece_min, hungry) else {
                return;
            };
            hungry -= 1;
            let place = crew.place();
            let started = self.scope.try_spawn(move || {
                let _place = place;
                crew.help(claim, slot);
            });
            if let Err(error) = started {
                log::debug!("{}: {error}", crew.job.name());
                return;
            }
        }
    }

    fn may_hire(&mut self, now: Instant) -> bool {
        let failures = self.crew.failures();
        let policy = &self.crew.job.run.settings.pace.retry;
        if failures > self.failures {
            self.next = now + backoff(policy, failures, self.dice.roll());
        }
        self.failures = failures;
        let alone = failures == 0 && !self.streams && self.crew.helpers() == 0;
        (now >= self.next || alone)
            && failures < policy.tries
            && !self.crew.is_unusable()
            && !self.crew.is_over()
    }
}
