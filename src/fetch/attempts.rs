//! The attempts at one download, and what is kept between them.

use std::time::Instant;

use super::facts_file::{Beside, FactsFile};
use super::failure::Failure;
use super::hosts::ended;
use super::mirrors::Mirrors;
use super::part::Opened;
use super::plan::{host_key, without_password};
use super::report::Event;
use super::retry::Dice;
use super::worker::{Finish, Worker};
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep_until;

impl Worker<'_> {
    /// Tries until it is there, or until trying makes no sense.
    pub(crate) fn attempts(&mut self) -> Result<Finish, Failure> {
        if let Some(end) = self.look()? {
            return Ok(Finish::Ended(end));
        }
        self.take_over()?;
        let mirrors = self.entry.own().map_or(0, |own| own.mirrors.len());
        let mut mirrors = Mirrors::new(1 + mirrors);
        let mut dice = Dice::new(self.run.settings.seed ^ self.id);
        loop {
            let finish = self.attempt();
            let finish = self.flushed(finish);
            let failure = match finish.and_then(|finish| self.checked(finish)) {
                Ok(finish) => return Ok(finish),
                Err(failure) => failure,
            };
            if self.waits_for_room(&failure) {
                continue;
            }
            self.prepare(&mut mirrors, failure, dice.roll())?;
        }
    }

    /// Waits for the next attempt, or fails if there is none.
    fn prepare(
        &mut self,
        mirrors: &mut Mirrors,
        failure: Failure,
        dice: f64,
    ) -> Result<(), Failure> {
        let kept = self.part.as_ref().map_or(0, |part| part.there());
        let policy = &self.run.settings.pace.retry;
        let next = mirrors.judge(policy, failure.clone(), kept, dice, Instant::now())?;
        if next.place != self.place {
            self.place = next.place;
            self.host = self.run.hosts.host(&host_key(self.place_url()));
        }
        let mut after = next.pause;
        if next.is_retry {
            let Some(wait) = self.host.spend_retry() else {
                return Err(failure.noting("not tried again: the retries of its host are used up"));
            };
            after = after.max(wait);
        }
        let elapsed = self.started.map(|at| at.elapsed()).unwrap_or_default();
        if !policy.has_time(elapsed, after) {
            return Err(failure.noting("not tried again: its time for that is over"));
        }
        let again = Instant::now() + after;
        if Deadline::at(again) > self.deadline {
            return Err(failure);
        }
        self.tell(&Event::Retrying {
            after,
            failure: &failure,
        });
        if !after.is_zero() {
            sleep_until(again).map_err(|e| ended(&e))?;
        }
        Ok(())
    }

    /// Goes on from the partial file of an earlier run, if its name is known before the
    /// answer is: the first request can then ask for the rest.
    fn take_over(&mut self) -> Result<(), Failure> {
        let Some(wanted) = self.wanted(None)? else {
            return Ok(());
        };
        if wanted.folder.was_empty() {
            return Ok(());
        }
        // Read again under the file's lock: to take that before it is known that there is
        // anything would make a file where none is wanted.
        let beside = FactsFile::look(&wanted.folder, &wanted.name);
        if matches!(beside, Beside::Facts(facts, _) if facts.is_about(self.url))
            && let Opened::Part(part) = self.open(&wanted)?
        {
            self.part = Some(part);
        }
        Ok(())
    }

    /// Hands what an attempt has left in a buffer to the kernel: a whole file is checked
    /// there, and after a failure the next attempt builds on what the file has. An attempt
    /// whose last bytes the file does not take has failed; one that had failed stays as it
    /// is.
    fn flushed(&mut self, finish: Result<Finish, Failure>) -> Result<Finish, Failure> {
        match finish {
            Ok(Finish::Whole(mut part)) => match part.flush() {
                Ok(()) => Ok(Finish::Whole(part)),
                Err(failure) => {
                    self.part = Some(part);
                    Err(failure)
                }
            },
            Ok(ended) => Ok(ended),
            Err(failure) => {
                if let Some(part) = &mut self.part
                    && let Err(error) = part.flush()
                {
                    log::debug!("{}: {error}", without_password(self.url));
                }
                Err(failure)
            }
        }
    }

    /// Waits for room if the failure says that there is none. True: it is there.
    fn waits_for_room(&self, failure: &Failure) -> bool {
        let Some(folders) = self.run.folders.as_ref().filter(|_| failure.is_no_room()) else {
            return false;
        };
        let (folder, left) = match &self.part {
            Some(part) => {
                let total = part.pin().total().unwrap_or(0);
                (part.folder(), total.saturating_sub(part.length()))
            }
            None => (&**folders.root(), 0),
        };
        self.run.wait_for_room(self.id, failure, folder, left)
    }
}
