//! The lowest speed that is put up with.

use std::time::{Duration, Instant};

use super::failure::{Failure, FailureKind};

/// Tells when a body comes too slowly.
#[derive(Debug)]
pub(crate) struct Speed {
    bytes_min: u64,
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Speed {
    /// At least so many bytes a second, over so long.
    pub(crate) fn new((speed, window): (u64, Duration)) -> Self {
        Self {
            bytes_min: speed.saturating_mul(window.as_secs().max(1)),
            window,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Leaves out a time in which we took nothing ourselves.
    pub(crate) fn pardon(&mut self, time: Duration) {
        self.since += time;
    }

    /// Counts `bytes`; fails if a whole window passed with too few.
    pub(crate) fn check(&mut self, bytes: u64) -> Result<(), Failure> {
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
