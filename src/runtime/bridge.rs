//! Futures, polled on a greenlet's own stack.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, current};
use crate::runtime::reason::Wait;
use crate::runtime::relay;
use crate::runtime::task::Task;

/// Waits for `future`, while other greenlets run.
///
/// The future is polled here, on the caller's stack: no hop to another thread, and it may
/// borrow. Who drives its sockets and timers is its own business (a tokio future needs a
/// tokio runtime somewhere). A kill or a timeout drops it, which is how futures are
/// cancelled.
///
/// # Switching
/// May switch to other greenlets, unless the future is ready at once.
///
/// # Errors
/// The caller was killed or timed out.
///
/// # Examples
///
/// ```
/// let answer = greenloop::block_on(async { 6 * 7 })?;
/// assert_eq!(answer, 42);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: none; it meets asyncio only across threads.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    block_on_deadline(future, Deadline::NEVER)
}

/// Like [`block_on`], until `limit`.
#[track_caller]
pub(crate) fn block_on_deadline<F: Future>(future: F, limit: Deadline) -> Result<F::Output> {
    park::check(limit)?;
    let mut future = pin!(future);
    let task = current();
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(false),
        task: task.clone(),
    });
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        // A future that has woken itself already is ready for its next poll, always.
        if let Some(error) = task.interruption(limit.nanos()) {
            return Err(error);
        }
        task.wait_until(Wait::Future, limit, || {
            bell.rung.swap(false, Ordering::AcqRel)
        })?;
        relay::tick(&task);
    }
}

/// A future's waker. It outlives the call if the future's reactor keeps it.
struct Bell {
    rung: AtomicBool,
    task: Arc<Task>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }
}
