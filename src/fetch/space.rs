//! What happens when the disk is full: all who write wait for room, up to a limit.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;

use super::folder::Folder;
use super::stop::RunStop;
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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it is full, or was last.
    full_since: Option<Instant>,
    /// When there was room again.
    room_since: Option<Instant>,
}

/// After so long with room, a disk that is full is so anew. Before, the wait for it goes
/// on: there are limits that no look at the disk shows.
const ROOM_LASTS: Duration = Duration::from_secs(10);

impl Space {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            state: Mutex::default(),
        }
    }

    /// Waits until there is room for `bytes`; the first to find the disk full calls
    /// `tell` with how long it is waited for. False if the wait is over without.
    pub(crate) fn wait(
        &self,
        folder: &Folder,
        bytes: u64,
        stop: &RunStop,
        tell: impl FnOnce(Duration),
    ) -> bool {
        if self.patience.is_zero() {
            return false;
        }
        let (since, is_first) = lock(&self.state).begin(Instant::now());
        if is_first {
            tell(self.patience);
        }
        let needed = bytes.max(ROOM_BYTES_MIN);
        while since.elapsed() < self.patience {
            if stop.is_stopped() || sleep(PAUSE).is_err() {
                return false;
            }
            if room(folder).is_none_or(|room| room >= needed) {
                lock(&self.state).room_since = Some(Instant::now());
                return true;
            }
        }
        false
    }
}

impl State {
    /// Since when the disk is full for one who finds it so now, and whether that is news.
    fn begin(&mut self, now: Instant) -> (Instant, bool) {
        let room = self.room_since.take();
        if room.is_some_and(|room| now.duration_since(room) >= ROOM_LASTS) {
            self.full_since = None;
        }
        let is_first = self.full_since.is_none();
        (*self.full_since.get_or_insert(now), is_first)
    }
}

/// Bytes that users may still write there; `None` if the file system does not say.
fn room(folder: &Folder) -> Option<u64> {
    let stat = fstatvfs(folder.fd()).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_again_at_once_is_waited_for_no_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::default();
        assert_eq!(state.begin(at(0)), (at(0), true));
        assert_eq!(state.begin(at(1)), (at(0), false), "another one");
        state.room_since = Some(at(5));
        assert_eq!(state.begin(at(6)), (at(0), false), "the room was none");
        state.room_since = Some(at(7));
        assert_eq!(state.begin(at(17)), (at(17), true));
    }
}
