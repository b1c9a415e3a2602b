//! Waiting until nobody is left.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, WaitList, current};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// Greenlets that a drain waits for.
static STAYING: AtomicUsize = AtomicUsize::new(0);
/// How many drains wait: an end looks at the list only if there are some.
static DRAINS: AtomicUsize = AtomicUsize::new(0);
static LINE: Mutex<WaitList> = Mutex::new(WaitList::new());

/// Waits until every other greenlet has ended, at most `limit` if one is given; false if
/// some have not.
///
/// Greenlets that were started with [`Builder::background`](crate::Builder::background)
/// are not waited for, nor is the caller. Those that are started meanwhile are. Two
/// greenlets that drain at once wait for each other.
///
/// # Switching
/// May switch to other greenlets, unless there are none. On an OS thread it blocks that.
///
/// # Errors
/// The caller was killed or timed out; `limit` itself is no error.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// for _ in 0..10 {
///     greenloop::spawn(|| greenloop::sleep(Duration::from_millis(5)));
/// }
/// assert!(greenloop::drain(Some(Duration::from_secs(10)))?);
/// assert!(greenloop::greenlets().is_empty());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.wait(timeout=limit)` and `gevent.get_hub().join()`.
#[track_caller]
pub fn drain(limit: Option<Duration>) -> Result<bool> {
    let limit = Deadline::from(limit);
    let myself = usize::from(current().is_waited_for());
    let _drain = Drain::new();
    let drained = park::wait_for(
        &LINE,
        |line| line,
        Wait::Drain,
        limit,
        |_| (STAYING.load(Ordering::SeqCst) <= myself).then_some(()),
    );
    match drained {
        Ok(()) => Ok(true),
        Err(error) if error.is_own_limit() => Ok(false),
        Err(error) => Err(error),
    }
}

/// One call of [`drain`].
struct Drain(());

impl Drain {
    fn new() -> Self {
        DRAINS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        DRAINS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts a greenlet that drains wait for.
pub(crate) fn enter() {
    STAYING.fetch_add(1, Ordering::SeqCst);
}

/// Counts it out. The order of the two steps, and of the two in [`drain`], sees to it that
/// one of both sees the other.
pub(crate) fn leave() {
    let before = STAYING.fetch_sub(1, Ordering::SeqCst);
    if DRAINS.load(Ordering::SeqCst) > 0 && before <= 2 {
        lock(&LINE).wake_all();
    }
}
