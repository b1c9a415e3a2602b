//! The bytes of one answer as they come: waited for, counted, held against the lowest
//! speed, and held back by the limits.

use bytes::Bytes;

use super::client::Answer;
use super::failure::Failure;
use super::meter::FileLimit;
use super::run::Run;
use super::slot::Slot;
use super::speed::Speed;
use crate::runtime::deadline::Deadline;

/// Takes the body of one answer.
pub(crate) struct Intake<'a> {
    run: &'a Run,
    limit: &'a FileLimit,
    deadline: Deadline,
    speed: Speed,
}

impl<'a> Intake<'a> {
    /// An answer of a download with this limit and this deadline, whose body begins now.
    pub(crate) fn new(run: &'a Run, limit: &'a FileLimit, deadline: Deadline) -> Self {
        Self {
            run,
            limit,
            deadline,
            speed: Speed::new(run.settings.network.speed_min),
        }
    }

    /// The next bytes; `None` at the end of the body.
    ///
    /// # Switching
    /// May switch, on every call.
    pub(crate) fn chunk(&self, answer: &mut Answer) -> Result<Option<Bytes>, Failure> {
        answer.chunk(self.run.settings.network.idle_timeout, self.deadline)
    }

    /// Counts bytes that have come, and waits while they are ahead of the limits: to be
    /// called when they are where they belong, so that nothing is lost to who is stopped
    /// in that wait.
    ///
    /// # Switching
    /// May switch, if there is a limit.
    pub(crate) fn came(&mut self, bytes: u64, slot: Option<&mut Slot>) -> Result<(), Failure> {
        if self.run.meter.count(bytes) {
            self.run.stop.close();
        }
        if let Some(slot) = slot {
            slot.came(bytes);
        }
        self.speed.check(bytes)?;
        let meter = &self.run.meter;
        let waited = meter.hold_back(bytes, self.limit, self.deadline)?;
        // Who waits for his turn is not slow.
        self.speed.pardon(waited);
        Ok(())
    }
}
