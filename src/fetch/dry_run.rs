//! A download that is only asked about: its answer is judged, and nothing is written.

use super::client::Answer;
use super::failure::Failure;
use super::report::End;
use super::resume::Pin;
use super::worker::{Finish, Worker};

impl Worker<'_> {
    /// Ends a download of which only the head was wanted, with the name that its file would
    /// be given if nothing stood there. The body is not taken.
    pub(crate) fn only_checked(&mut self, answer: &Answer, pin: &Pin) -> Result<Finish, Failure> {
        self.begin_check(answer, false)?;
        answer.decoder()?;
        let total = pin.total();
        let settings = &self.run.settings;
        settings.network.check_size(total.unwrap_or(0))?;
        let place = self.place(Some(answer))?;
        let dir = place.base.as_ref().unwrap_or(&settings.naming.dir);
        self.facts.path = (!settings.disk.discard).then(|| dir.join(place.path()));
        self.facts.bytes = total.unwrap_or(0);
        self.facts.is_size_verified = total.is_some();
        Ok(Finish::Ended(End::Checked))
    }
}
