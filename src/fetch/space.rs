//! What happens when the disk is full: all who write wait for room, up to a limit.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;

use super::folder::Folder;
use super::stop::Stop;
use crate::runtime::sleep::sleep;
use crate::util::lock;

/// Room that has to be there before anybody goes on, so that a few freed bytes do not
/// wake everybody for nothing.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;

/// Between two looks at the disk.
const PAUSE: Duration = Duration::from_millis(200);

/// The room on the disk that a run writes to.
#[derive(Debug)]
pub(crate) struct Space {
    /// How long a full disk is waited for.
    patience: Duration,
    full_since: Mutex<Option<Instant>>,
}

impl Space {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            full_since: Mutex::default(),
        }
    }

    /// Waits until there is room for `bytes`; the first to find the disk full calls
    /// `tell` with how long it is waited for. False if the wait is over without.
    pub(crate) fn wait(
        &self,
        folder: &Folder,
        bytes: u64,
        stop: &Stop,
        tell: impl FnOnce(Duration),
    ) -> bool {
        if self.patience.is_zero() {
            return false;
        }
        let since = {
            let mut full_since = lock(&self.full_since);
            let is_first = full_since.is_none();
            let since = *full_since.get_or_insert_with(Instant::now);
            drop(full_since);
            if is_first {
                tell(self.patience);
            }
            since
        };
        let needed = bytes.saturating_mul(2).max(ROOM_BYTES_MIN);
        while since.elapsed() < self.patience {
            if stop.is_stopped() || sleep(PAUSE).is_err() {
                return false;
            }
            if room(folder).is_none_or(|room| room >= needed) {
                *lock(&self.full_since) = None;
                return true;
            }
        }
        false
    }
}

/// Bytes that users may still write there; `None` if the file system does not say.
fn room(folder: &Folder) -> Option<u64> {
    let stat = fstatvfs(folder.fd()).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
