//! One attempt at a download: a request, its answer, and where the bytes go.

use std::sync::Arc;
use std::time::Instant;

use reqwest::Url;

use super::Existing;
use super::claims::Claims;
use super::client::{Answer, Ask, Rest};
use super::decode::Decoder;
use super::entry::Entry;
use super::failure::{Failure, FailureKind};
use super::hosts::Host;
use super::intake::Intake;
use super::meter::FileLimit;
use super::part::{Opened, Part};
use super::plan::{host_key, without_password};
use super::report::{End, Event};
use super::resume::{Pin, Verdict, judge};
use super::run::Run;
use super::slot::Slot;
use super::there::{Found, Wanted};
use super::ticket::FactsOfRun;
use super::verify::Verification;
use crate::runtime::deadline::Deadline;

/// A download under way, run by its greenlet.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pub(crate) run: &'a Run,
    pub(crate) id: u64,
    pub(crate) url: &'a Url,
    pub(crate) entry: &'a Entry,
    pub(crate) host: Arc<Host>,
    pub(crate) started: Option<Instant>,
    pub(crate) deadline: Deadline,
    pub(crate) part: Option<Box<Part>>,
    /// Segments were of no use.
    pub(crate) is_single: bool,
    /// What the file is held against, once an answer has come.
    pub(crate) verification: Option<Box<Verification>>,
    pub(crate) facts: FactsOfRun,
    /// Which of its places is asked: 0 is the entry's URL, the others are mirrors.
    pub(crate) place: usize,
    /// The place that the bytes of `part` are from.
    part_of: usize,
    /// Leave for the request that is under way.
    pub(crate) slot: Option<Slot>,
    pub(crate) file_limit: FileLimit,
    pub(crate) found: Found,
}

/// How a worker's part of a download ends.
#[derive(Debug)]
pub(crate) enum Finish {
    /// It is over.
    Ended(End),
    /// All bytes are there; the file is to get its name.
    Whole(Box<Part>),
}

impl<'a> Worker<'a> {
    pub(crate) fn new(run: &'a Run, id: u64, url: &'a Url, entry: &'a Entry) -> Self {
        Self {
            run,
            id,
            url,
            entry,
            host: run.hosts.host(&host_key(url)),
            started: None,
            deadline: Deadline::NEVER,
            part: None,
            is_single: false,
            verification: None,
            facts: FactsOfRun::default(),
            place: 0,
            part_of: 0,
            slot: None,
            file_limit: run.meter.file_limit(),
            found: Found::default(),
        }
    }

    /// Downloads; whatever happens, nothing half is left under a final name.
    pub(crate) fn work(&mut self) -> Finish {
        let finish = match self.attempts() {
            Ok(finish) => finish,
            Err(failure) => {
                if let Some(mut part) = self.part.take() {
                    if !self.is_kept_for(0) {
                        part.unpin();
                    }
                    self.facts.leave(part, self.url);
                }
                Finish::Ended(End::Failed(failure))
            }
        };
        self.facts.elapsed = self.started.map(|at| at.elapsed()).unwrap_or_default();
        finish
    }

    pub(crate) fn open(&self, wanted: &Wanted) -> Result<Opened, Failure> {
        let Wanted { folder, name } = wanted;
        let committer = &self.run.committer;
        Part::open(folder, name, self.url, self.existing(), committer, &[])
    }

    /// One request and its body; a second and third request if the first shows that the
    /// partial file is of no use, or that there is one.
    pub(crate) fn attempt(&mut self) -> Result<Finish, Failure> {
        let run = self.run;
        let slot = run.hosts.admit(&self.host, self.deadline, &run.flow)?;
        self.start()?;
        self.slot = Some(slot);
        let asked = self.ask();
        match (asked, self.slot.take()) {
            (Ok(finish), Some(slot)) => {
                slot.succeeded();
                Ok(finish)
            }
            (Err(failure), Some(slot)) => Err(slot.failed(failure)),
            (asked, None) => asked,
        }
    }

    /// The URL of the place that is asked.
    pub(crate) fn place_url(&self) -> &'a Url {
        let own = self.entry.own();
        let mirror = self.place.checked_sub(1);
        mirror.and_then(|n| own?.mirrors.get(n)).unwrap_or(self.url)
    }

    /// Tells whether what is there of the file can be gone on with at `place`.
    ///
    /// Mirrors may name different versions the same way: bytes of two are never joined.
    fn is_kept_for(&self, place: usize) -> bool {
        self.part_of == place
    }

    /// The requests of an attempt that has leave for them.
    #[expect(
        clippy::large_stack_frames,
        reason = "without optimization each arm has a copy of its own"
    )]
    fn ask(&mut self) -> Result<Finish, Failure> {
        if self.is_kept_for(self.place)
            && let Some(claims) = self.holes()
        {
            return self.split(None, claims);
        }
        let mut kept = match self.is_kept_for(self.place) {
            true => self.part.as_ref().map_or(0, |part| part.keeps()),
            false => 0,
        };
        loop {
            let pin = self
                .part
                .as_ref()
                .map(|part| part.pin().clone())
                .unwrap_or_default();
            let rest = pin
                .validator()
                .filter(|_| kept > 0)
                .map(|validator| (validator, kept));
            self.facts.tries += 1;
            let ask = Ask {
                rest: rest.map(|(validator, first)| Rest {
                    validator: Some(validator),
                    first,
                    last: None,
                }),
                known: self.known().filter(|_| rest.is_none() && self.place == 0),
                ..Ask::whole(self.place_url(), self.entry.own())
            };
            let is_conditional = ask.known.is_some();
            let answer = self.run.client.get(&ask, self.deadline)?;
            self.facts.heard = Some(answer.heard());
            self.facts.first_byte = self.started.map(|at| at.elapsed());
            if answer.status() == 304 && is_conditional {
                return Ok(Finish::Ended(self.unchanged()));
            }
            let asked = rest.map(|(_, kept)| (&pin, kept));
            match judge(answer.status(), asked, &answer.fields()) {
                Verdict::Whole(pin) if self.run.settings.disk.dry_run => {
                    return self.only_checked(&answer, &pin);
                }
                Verdict::Whole(pin) => match self.begin(&answer, pin)? {
                    Begin::Here => {
                        return match self.claims(&answer) {
                            Some(claims) => self.split(Some(answer), claims),
                            None => self.receive(answer, None),
                        };
                    }
                    Begin::From(there) => match self.holes() {
                        Some(claims) => {
                            drop(answer);
                            return self.split(None, claims);
                        }
                        None => kept = there,
                    },
                    Begin::Ended(end) => return Ok(Finish::Ended(end)),
                },
                Verdict::Rest { bytes, total } => {
                    let part = self.part.as_mut().expect("a rest is asked for a part");
                    part.go_on(kept, total)?;
                    return self.receive(answer, Some(bytes));
                }
                Verdict::Restart(why) => {
                    log::debug!("{}: {why}: starting over", without_password(self.url));
                    kept = 0;
                }
                Verdict::NoFile => {
                    let failure = answer.refusal();
                    if let Some(pause) = failure.retry_after() {
                        // Before the slot is given back, so that the next one sees it.
                        self.host.leave_alone(pause);
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// Goes on in segments; in one piece where that does not work.
    fn split(&mut self, answer: Option<Answer>, claims: Arc<Claims>) -> Result<Finish, Failure> {
        self.begin_split_check(answer.as_ref())?;
        let answer = match answer {
            // Nothing is saved, so what comes out of order cannot be read back.
            Some(answer) if self.part.is_none() && self.verification.is_some() => {
                return self.receive(answer, None);
            }
            answer => answer,
        };
        self.part_of = self.place;
        self.set_date(answer.as_ref());
        // From here on the segments judge their host, each for itself.
        let slot = self.slot.take().expect("asked with leave only");
        match self.in_segments(answer, claims, slot)? {
            Some(finish) => Ok(finish),
            None => self.attempt(),
        }
    }

    /// The first request: the clock begins, unless nothing is to begin any more.
    fn start(&mut self) -> Result<(), Failure> {
        if self.started.is_some() {
            return Ok(());
        }
        if !self.run.stop.begin(self.id) {
            return Err(Failure::new(FailureKind::Stopped, "not begun"));
        }
        self.started = Some(Instant::now());
        self.deadline = Deadline::from(self.run.settings.network.total_timeout);
        self.tell(&Event::Started {
            url: &without_password(self.url),
        });
        Ok(())
    }

    /// Makes ready for a whole file.
    fn begin(&mut self, answer: &Answer, pin: Pin) -> Result<Begin, Failure> {
        if self.part.is_none() {
            let Some(wanted) = self.wanted(Some(answer))? else {
                return Ok(Begin::Here);
            };
            if let Some(end) = self.is_there(&wanted, &pin)? {
                return Ok(Begin::Ended(end));
            }
            let existing = self.existing();
            if existing == Existing::Number {
                let Wanted { folder, name } = &wanted;
                self.part = Part::small(folder, name, existing, &pin, &self.run.committer);
            }
            if let Some(part) = &mut self.part {
                part.set_foreign(self.place != 0);
                return Ok(Begin::Here);
            }
            let part = match self.open(&wanted)? {
                Opened::Part(part) => part,
                Opened::Skip(path) => {
                    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
                    return Ok(Begin::Ended(self.skip(path, bytes)));
                }
            };
            let kept = part.keeps();
            // A partial file of this very version: its rest is enough.
            let resumable =
                kept > 0 && part.pin().is_same_version(&pin) && self.is_kept_for(self.place);
            self.part = Some(part);
            if resumable {
                return Ok(Begin::From(kept));
            }
        }
        let part = self.part.as_mut().expect("opened above");
        part.set_foreign(self.place != 0);
        part.restart(self.url, pin)?;
        Ok(Begin::Here)
    }

    /// Takes the body, of which `bytes` belong to us, and publishes the file.
    #[expect(
        clippy::large_stack_frames,
        reason = "without optimization each arm has a copy of its own"
    )]
    fn receive(&mut self, mut answer: Answer, bytes: Option<u64>) -> Result<Finish, Failure> {
        self.set_date(Some(&answer));
        let expected = bytes.or_else(|| answer.fields().content_length);
        let total = match &self.part {
            Some(part) => part.pin().total(),
            None => expected,
        };
        self.begin_check(&answer, bytes.is_some())?;
        let mut at = self.part.as_ref().map_or(0, |part| part.length());
        let part_name = self.part.as_ref().map_or("", |part| part.name());
        self.tell(&Event::Head {
            name: part_name,
            total,
            kept: at,
        });
        self.part_of = self.place;
        if let Some(slot) = &mut self.slot {
            slot.answered();
        }
        let size = total.map_or(at, |total| total.max(at));
        self.run.settings.network.check_size(size)?;
        let mut decoder = answer.decoder()?;
        let mut left = expected;
        let limit = self.file_limit.clone();
        let mut intake = Intake::new(self.run, &limit, self.deadline);
        while left != Some(0) {
            let Some(chunk) = intake.chunk(&mut answer)? else {
                break;
            };
            // More than was announced is not ours to write.
            let take = left.map_or(chunk.len(), |left| {
                usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()))
            });
            self.facts.received += take as u64;
            left = left.map(|left| left - take as u64);
            at += self.store(&chunk[..take], decoder.as_mut(), at)?;
            self.tell(&Event::Progress { bytes: at });
            intake.came(take as u64, self.slot.as_mut())?;
        }
        if let Some(decoder) = &decoder {
            decoder.finish()?;
        }
        if left.is_some_and(|left| left > 0) || total.is_some_and(|total| at < total) {
            let text = format!("the answer ended after {at} bytes");
            return Err(Failure::new(FailureKind::BadResponse, text).transient());
        }
        self.facts.is_size_verified = bytes.is_some() || answer.is_delimited();
        self.facts.bytes = at;
        Ok(match self.part.take() {
            Some(part) => Finish::Whole(part),
            None => Finish::Ended(End::Saved),
        })
    }

    /// Writes what came, or what it decodes to, behind the first `at` bytes; returns how
    /// many bytes that was.
    fn store(
        &mut self,
        bytes: &[u8],
        decoder: Option<&mut Decoder>,
        at: u64,
    ) -> Result<u64, Failure> {
        let (network, part) = (&self.run.settings.network, &mut self.part);
        let verification = &mut self.verification;
        let mut count = 0;
        let mut write = |bytes: &[u8]| {
            let start = at + count;
            count += bytes.len() as u64;
            // Before it is written: what is decoded may be a thousand times what came.
            network.check_size(at + count)?;
            if let Some(verification) = verification {
                verification.take(start, bytes);
            }
            part.as_mut().map_or(Ok(()), |part| part.write(bytes))
        };
        match decoder {
            Some(decoder) => decoder.push(bytes, &mut write)?,
            None => write(bytes)?,
        }
        Ok(count)
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.run.tell(self.id, event);
    }
}

/// What a whole answer leads to.
enum Begin {
    /// Its body is written.
    Here,
    /// Part of it is on disk: ask for the rest.
    From(u64),
    /// The file is there.
    Ended(End),
}
