//! Doing nothing for a while, and letting others run.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::runtime::clock;
use crate::runtime::park::{self, current};
use crate::runtime::reason::Wait;
use crate::runtime::relay;
use crate::runtime::spawn;

/// Waits for `duration`.
///
/// `Duration::MAX` waits until a kill or a timeout ends it; zero is [`yield_now`].
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// The greenlet was killed, or a [`Timeout`](crate::Timeout) around the call fired.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let before = Instant::now();
/// greenloop::sleep(Duration::from_millis(5))?;
/// assert!(before.elapsed() >= Duration::from_millis(5));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.sleep(seconds)`.
#[track_caller]
pub fn sleep(duration: Duration) -> Result<()> {
    if duration.is_zero() {
        return yield_now();
    }
    sleep_until_nanos(clock::after(duration))
}

/// Waits until `instant`; returns at once if it has passed.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`sleep`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let tick = Instant::now() + Duration::from_millis(5);
/// greenloop::sleep_until(tick)?;
/// assert!(Instant::now() >= tick);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn sleep_until(instant: Instant) -> Result<()> {
    sleep_until_nanos(clock::from_instant(instant))
}

#[track_caller]
fn sleep_until_nanos(until: u64) -> Result<()> {
    let task = current();
    let _sitting = task.sit();
    loop {
        if let Some(error) = task.interruption(clock::NEVER) {
            return Err(error);
        }
        if until != clock::NEVER && clock::now() >= until {
            task.reset_ticks();
            return Ok(());
        }
        task.stop(Wait::Sleep, task.ends_at(until), || task.seat.block());
    }
}

/// Lets other greenlets run that are ready to.
///
/// The caller goes on when its turn comes again, and those that were spawned before have
/// had their first turn (with several workers: on some worker, soon). Every 64th time the worker also looks for
/// events, so that a loop around this call never keeps I/O waiting.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`sleep`]: a loop around this call can be killed and timed out.
///
/// # Examples
///
/// ```
/// for _ in 0..3 {
///     greenloop::yield_now()?;
/// }
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.sleep(0)`.
#[track_caller]
pub fn yield_now() -> Result<()> {
    let task = current();
    if let Some(error) = task.interruption(clock::NEVER) {
        return Err(error);
    }
    // Who rests must not be overtaken by who yields after him, so all rest together.
    let others_first = spawn::somebody_begins() || relay::somebody_rests();
    if task.is_greenlet() && (task.tick() || others_first) {
        task.reset_ticks();
        relay::rest(&task);
    } else {
        task.stop(Wait::Turn, clock::NEVER, park::requeue);
    }
    task.interruption(clock::NEVER).map_or(Ok(()), Err)
}
