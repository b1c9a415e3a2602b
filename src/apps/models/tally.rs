//! What a model counts.

use std::io;

use super::client::Turn;

/// What a model has done when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Clients that were served.
    pub accepted: u64,
    /// Of those, whose connection failed, by a reset mostly.
    pub failed: u64,
    /// Of those, whose connection was open when the stop came.
    pub cut: u64,
    /// Clients that were accepted and closed at once, because the model cannot serve them.
    pub refused: u64,
    /// How many were served at the same time, at most.
    pub open_max: usize,
}

impl Served {
    /// Clients that were served to the end of what they sent.
    pub fn finished(&self) -> u64 {
        self.accepted - self.failed - self.cut
    }
}

/// The counts while they grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    served: Served,
    open: usize,
}

impl Tally {
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A client's connection begins.
    pub(super) fn begin(&mut self) {
        self.served.accepted += 1;
        self.open += 1;
        self.served.open_max = self.served.open_max.max(self.open);
    }

    /// It has ended by itself.
    pub(super) fn end(&mut self, is_well: bool) {
        self.open -= 1;
        self.served.failed += u64::from(!is_well);
    }

    /// It was ended by the stop.
    pub(super) fn cut(&mut self) {
        self.open -= 1;
        self.served.cut += 1;
    }

    /// The one that has just begun is sent away after all.
    pub(super) fn take_back(&mut self) {
        self.served.accepted -= 1;
        self.open -= 1;
        self.refuse();
    }

    /// A client is sent away.
    pub(super) fn refuse(&mut self) {
        self.served.refused += 1;
    }

    /// Tells whether a client goes on after such a turn, and counts it if not.
    pub(super) fn goes_on(&mut self, turn: &io::Result<Turn>) -> bool {
        match turn {
            Ok(Turn::Moved | Turn::Blocked) => return true,
            Ok(Turn::Ended) => self.end(true),
            Err(_) => self.end(false),
        }
        false
    }

    /// Everything that is open is closed now.
    pub(super) fn finish(mut self) -> Served {
        while self.open > 0 {
            self.cut();
        }
        self.served
    }
}
