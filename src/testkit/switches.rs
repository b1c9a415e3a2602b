//! Whether code gives way to others.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::park::current;
use crate::runtime::task::Task;

/// Runs `f`, which must let others run at least once.
///
/// On an OS thread, waiting is what counts.
///
/// # Switching
/// Only where `f` does.
///
/// # Panics
/// If `f` did not switch; or as `f` does.
///
/// # Examples
///
/// ```
/// use greenloop::testkit::assert_switches;
///
/// assert_switches(|| greenloop::yield_now())?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.util.assert_switches()`.
#[track_caller]
pub fn assert_switches<T>(f: impl FnOnce() -> T) -> T {
    let task = current();
    let before = task.meter.switches();
    let value = f();
    assert!(
        task.meter.switches() > before,
        "the block did not switch to other greenlets"
    );
    value
}

/// Runs `f`, which must not let others run.
///
/// The turn that the 64th operation in a row gives to others counts as well: what must
/// never switch must not do such operations.
///
/// # Switching
/// Only where `f` does, and then it panics.
///
/// # Panics
/// If `f` switched, naming the last place where it waited; or as `f` does.
///
/// # Examples
///
/// ```
/// use greenloop::testkit::assert_no_switch;
/// use greenloop::sync::Queue;
///
/// let queue = Queue::unbounded();
/// assert_no_switch(|| queue.try_put(1)).unwrap();
/// assert_eq!(queue.len(), 1);
/// ```
///
/// gevent: none; trio's `assert_no_checkpoints()`.
#[track_caller]
pub fn assert_no_switch<T>(f: impl FnOnce() -> T) -> T {
    let task = current();
    let before = task.meter.switches();
    let (_, waited_before) = task.waits_on();
    let value = f();
    let count = task.meter.switches() - before;
    let (_, waited) = task.waits_on();
    // A mere turn leaves no trace of its place.
    let place = (waited != waited_before).then(|| task.waits_at().0);
    let place = place.map_or_else(String::new, |place| format!(", the last time at {place}"));
    assert!(
        count == 0,
        "the block switched to other greenlets, {count} time(s){place}"
    );
    value
}

/// Runs `f`, which must never keep others waiting for longer than `limit` at a stretch.
///
/// The time is the clock's, from where the greenlet goes on to where it next stops. What the
/// system takes from the worker meanwhile counts too, so on a busy machine give a generous
/// limit. A stretch is found too long when it is over, not while it lasts.
///
/// # Switching
/// Only where `f` does.
///
/// # Panics
/// If a stretch was longer; or as `f` does.
///
/// # Examples
///
/// ```
/// use greenloop::testkit::assert_max_block;
/// use std::time::Duration;
///
/// assert_max_block(Duration::from_secs(5), || {
///     for _ in 0..100 {
///         greenloop::yield_now()?;
///     }
///     Ok::<_, greenloop::Error>(())
/// })?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.util.assert_switches(max_blocking_time=limit)`, which asks for a switch
/// as well.
#[track_caller]
pub fn assert_max_block<T>(limit: Duration, f: impl FnOnce() -> T) -> T {
    let run = Measured::begin();
    let value = f();
    let longest = run.end();
    assert!(
        longest <= limit,
        "the block kept others waiting for {longest:?} at a stretch, longer than {limit:?}"
    );
    value
}

/// A measurement that is going on; the drop ends it where `f` panics.
struct Measured(Option<Arc<Task>>);

impl Measured {
    fn begin() -> Self {
        let task = current();
        task.meter.begin_run();
        Self(Some(task))
    }

    fn end(mut self) -> Duration {
        let task = self.0.take();
        Duration::from_nanos(task.map_or(0, |task| task.meter.end_run()))
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.meter.end_run();
        }
    }
}
