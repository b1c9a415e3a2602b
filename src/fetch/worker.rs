//! One download, from its URL to its file: the attempts, and what is kept between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;

use super::client::{Answer, Ask, Rest};
use super::failure::{Failure, FailureKind};
use super::hosts::{Host, ended};
use super::name;
use super::plan::{host_key, without_password};
use super::report::{End, Event};
use super::resume::{Pin, Verdict, judge};
use super::retry::{self, Dice, Tries};
use super::run::Run;
use super::sink::{Opened, Part};
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep_until;

/// A download under way, run by its greenlet.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    run: &'a Run,
    id: u64,
    url: &'a Url,
    host: Arc<Host>,
    started: Option<Instant>,
    deadline: Deadline,
    part: Option<Box<Part>>,
    pub(crate) facts: FactsOfRun,
}

/// What the outcome tells besides the end.
#[derive(Debug, Default)]
pub(crate) struct FactsOfRun {
    pub(crate) path: Option<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) received: u64,
    pub(crate) status: Option<u16>,
    pub(crate) tries: u32,
    pub(crate) elapsed: Duration,
    pub(crate) is_size_verified: bool,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(run: &'a Run, id: u64, url: &'a Url) -> Self {
        Self {
            run,
            id,
            url,
            host: run.hosts.host(&host_key(url)),
            started: None,
            deadline: Deadline::NEVER,
            part: None,
            facts: FactsOfRun::default(),
        }
    }

    /// Downloads; whatever happens, nothing half is left under a final name.
    pub(crate) fn work(&mut self) -> End {
        let end = match self.attempts() {
            Ok(end) => end,
            Err(failure) => {
                if failure.kind() == FailureKind::DiskFull {
                    // The others would only fill what little is left.
                    self.run.stop.stop();
                }
                End::Failed(self.leave(failure))
            }
        };
        self.facts.elapsed = self.started.map(|at| at.elapsed()).unwrap_or_default();
        end
    }

    /// Lets go of the partial file, which stays if it can be gone on from.
    fn leave(&mut self, failure: Failure) -> Failure {
        let Some(part) = self.part.take() else {
            return failure;
        };
        let path = part.path();
        let kept = part.keeps();
        match part.leave(self.url) {
            Ok(true) => {
                self.facts.path = Some(path);
                self.facts.bytes = kept;
            }
            Ok(false) => {}
            Err(error) => log::warn!("leaving {}: {error}", path.display()),
        }
        failure
    }

    fn attempts(&mut self) -> Result<End, Failure> {
        self.take_over()?;
        let mut tries = Tries::default();
        let mut dice = Dice::new(self.run.settings.seed ^ self.id);
        loop {
            let failure = match self.attempt() {
                Ok(end) => return Ok(end),
                Err(failure) => failure,
            };
            if let Some(part) = &mut self.part {
                part.flush()?;
            }
            let kept = self.part.as_ref().map_or(0, |part| part.keeps());
            let policy = &self.run.settings.pace.retry;
            let after = match tries.judge(policy, &failure, kept, dice.roll()) {
                retry::Verdict::Again(after) => after,
                retry::Verdict::GiveUp => return Err(failure),
            };
            self.tell(&Event::Retrying {
                after,
                failure: &failure,
            });
            let again = Instant::now() + after;
            if Deadline::at(again) > self.deadline {
                return Err(failure);
            }
            if !after.is_zero() {
                sleep_until(again).map_err(|e| ended(&e))?;
            }
        }
    }

    /// Goes on from the partial file of an earlier run, if its name is known before the
    /// answer is: the first request can then ask for the rest.
    fn take_over(&mut self) -> Result<(), Failure> {
        let Some(folder) = &self.run.folder else {
            return Ok(());
        };
        let wanted = self.wanted(None);
        let facts = folder.facts(&wanted);
        if facts.is_some_and(|facts| facts.is_about(self.url))
            && let Opened::Part(part) = self.open(&wanted)?
        {
            self.part = Some(part);
        }
        Ok(())
    }

    fn open(&self, wanted: &str) -> Result<Opened, Failure> {
        let folder = self
            .run
            .folder
            .as_ref()
            .expect("asked only where files are saved");
        Part::open(folder, wanted, self.url, self.run.settings.naming.existing)
    }

    /// The name to save under, as far as it is known.
    fn wanted(&self, answer: Option<&Answer>) -> String {
        if let Some(name) = &self.run.settings.naming.out_name {
            return name.clone();
        }
        answer
            .and_then(Answer::content_disposition)
            .and_then(name::from_disposition)
            .unwrap_or_else(|| name::from_url(self.url))
    }

    /// One request and its body; a second and third request if the first shows that the
    /// partial file is of no use, or that there is one.
    fn attempt(&mut self) -> Result<End, Failure> {
        if self.is_skipped()? {
            return Ok(End::Skipped);
        }
        let _slot = self.run.hosts.admit(&self.host, self.deadline)?;
        self.start();
        let mut kept = self.part.as_ref().map_or(0, |part| part.keeps());
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
                ..Ask::whole(self.url, None)
            };
            let answer = self.run.client.get(&ask, self.deadline)?;
            self.facts.status = Some(answer.status());
            let asked = rest.map(|(_, kept)| (&pin, kept));
            match judge(answer.status(), asked, &answer.fields()) {
                Verdict::Whole(pin) => match self.begin(&answer, pin)? {
                    Begin::Here => return self.receive(answer, None),
                    Begin::From(there) => kept = there,
                    Begin::Skip(path) => return Ok(self.skip(path)),
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

    /// Looks for the file before the first request, where the name is known by then.
    fn is_skipped(&mut self) -> Result<bool, Failure> {
        if self.run.settings.naming.existing != super::Existing::Skip || self.part.is_some() {
            return Ok(false);
        }
        let Some(folder) = &self.run.folder else {
            return Ok(false);
        };
        let wanted = self.wanted(None);
        match folder.existed_before(&wanted) {
            Ok(false) => Ok(false),
            Ok(true) => {
                let path = folder.path_of(&wanted);
                self.skip(path);
                Ok(true)
            }
            Err(e) => Err(Failure::file(&e, folder.path_of(&wanted).display())),
        }
    }

    fn skip(&mut self, path: PathBuf) -> End {
        self.facts.bytes = path.metadata().map_or(0, |metadata| metadata.len());
        self.facts.path = Some(path);
        End::Skipped
    }

    /// The first request: the clock begins.
    fn start(&mut self) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.deadline = Deadline::from(self.run.settings.network.total_timeout);
            self.tell(&Event::Started {
                url: &without_password(self.url),
            });
        }
    }

    /// Makes ready for a whole file.
    fn begin(&mut self, answer: &Answer, pin: Pin) -> Result<Begin, Failure> {
        if self.run.folder.is_none() {
            return Ok(Begin::Here);
        }
        if self.part.is_none() {
            let part = match self.open(&self.wanted(Some(answer)))? {
                Opened::Part(part) => part,
                Opened::Skip(path) => return Ok(Begin::Skip(path)),
            };
            let kept = part.keeps();
            // A partial file of this very version: its rest is enough.
            let resumable = kept > 0 && part.pin().is_same_version(&pin);
            self.part = Some(part);
            if resumable {
                return Ok(Begin::From(kept));
            }
        }
        let part = self.part.as_mut().expect("opened above");
        part.restart(self.url, pin)?;
        Ok(Begin::Here)
    }

    /// Takes the body, of which `bytes` belong to us, and publishes the file.
    fn receive(&mut self, mut answer: Answer, bytes: Option<u64>) -> Result<End, Failure> {
        let expected = bytes.or_else(|| answer.fields().content_length);
        let total = match &self.part {
            Some(part) => part.pin().total(),
            None => expected,
        };
        let mut at = self.part.as_ref().map_or(0, |part| part.length());
        let part_name = self.part.as_ref().map_or("", |part| part.name());
        self.tell(&Event::Head {
            name: part_name,
            total,
            kept: at,
        });
        let mut left = expected;
        let mut pace = Pace::new(&self.run.settings);
        while left != Some(0) {
            let Some(chunk) =
                answer.chunk(self.run.settings.network.idle_timeout, self.deadline)?
            else {
                break;
            };
            // More than was announced is not ours to write.
            let take = left.map_or(chunk.len(), |left| {
                usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()))
            });
            self.facts.received += take as u64;
            if let Some(part) = &mut self.part {
                part.write(&chunk[..take])?;
            }
            left = left.map(|left| left - take as u64);
            at += take as u64;
            self.tell(&Event::Progress { bytes: at });
            pace.check(take as u64)?;
        }
        if left.is_some_and(|left| left > 0) || total.is_some_and(|total| at < total) {
            let text = format!("the answer ended after {at} bytes");
            return Err(Failure::new(FailureKind::BadResponse, text).transient());
        }
        self.facts.is_size_verified = bytes.is_some() || answer.is_delimited();
        // The connection goes back before the file system is waited for.
        drop(answer);
        self.publish(at)
    }

    fn publish(&mut self, bytes: u64) -> Result<End, Failure> {
        self.facts.bytes = bytes;
        if let Some(part) = self.part.take() {
            let settings = &self.run.settings;
            self.facts.path = Some(part.publish(settings.naming.existing, settings.disk.sync)?);
        }
        Ok(End::Saved)
    }

    fn tell(&self, event: &Event<'_>) {
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
    Skip(PathBuf),
}

/// The lowest speed that is put up with.
struct Pace {
    bytes_min: u64,
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(settings: &super::options::Settings) -> Self {
        let (speed, window) = settings.network.speed_min;
        let bytes_min = speed.saturating_mul(window.as_secs().max(1));
        Self {
            bytes_min,
            window,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts `bytes`; fails if a whole window passed with too few.
    fn check(&mut self, bytes: u64) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes >= self.bytes_min {
            self.bytes = 0;
            self.since = Instant::now();
        } else if self.since.elapsed() > self.window {
            let text = format!("too slow: {} bytes in {:?}", self.bytes, self.window);
            return Err(Failure::new(FailureKind::Timeout, text));
        }
        Ok(())
    }
}
