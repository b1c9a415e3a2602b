//! One thread that drives the sockets of all downloads, for futures that are polled
//! elsewhere: on the stacks of the greenlets that wait for them.
//!
//! Tokio finds its reactor through a thread-local that [`Reactor::inside`] sets for the
//! length of one call. No call inside may switch: the greenlet would come back on another
//! thread, with the thread-local left behind on the old one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::error::{Error, Result};
use crate::runtime::bridge::block_on_deadline;
use crate::runtime::deadline::Deadline;
use crate::util::lock;

/// The process's one reactor.
pub(crate) struct Reactor {
    handle: Handle,
    waiting: Arc<AtomicUsize>,
}

/// From so many greenlets on that wait, the thread rests before it looks for events.
///
/// Without, it is woken for each request and each answer, and so is the worker that it
/// wakes in turn: of 5,000 small files over 64 connections that took a third of all time
/// on the processor. Each of so few as here would notice the rest.
const RESTS_FROM: usize = 16;

/// How long it rests: far less than a request takes, and long enough for events to come
/// together.
const REST: Duration = Duration::from_micros(100);

/// Threads for `getaddrinfo`, which tokio runs aside: mostly waiting, and one host that
/// does not resolve must not hold up the others.
const RESOLVER_THREADS: usize = 16;

impl Reactor {
    /// The reactor; starts it at the first call.
    pub(crate) fn get() -> Result<&'static Self> {
        static REACTOR: OnceLock<Reactor> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(reactor) = REACTOR.get() {
            return Ok(reactor);
        }
        let _starting = lock(&STARTING);
        if let Some(reactor) = REACTOR.get() {
            return Ok(reactor);
        }
        let reactor = Self::start()?;
        Ok(REACTOR.get_or_init(|| reactor))
    }

    fn start() -> Result<Self> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let resting = {
            let waiting = waiting.clone();
            move || rest(&waiting)
        };
        let runtime = Builder::new_current_thread()
            .on_thread_park(resting)
            .enable_io()
            .enable_time()
            .max_blocking_threads(RESOLVER_THREADS)
            .thread_name("greenloop-gai")
            .build()
            .map_err(|e| Error::from(e).context("starting the reactor"))?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("greenloop-reactor".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .map_err(|e| Error::from(e).context("starting the reactor's thread"))?;
        Ok(Self { handle, waiting })
    }

    /// Runs `f` where tokio finds this reactor. `f` must not switch.
    // Never inlined: the guard goes through a thread-local, whose address must not be
    // kept across a switch in the caller.
    #[inline(never)]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.handle.enter();
        f()
    }

    /// Waits for a future of this reactor's, until `limit`.
    ///
    /// # Switching
    /// May switch, unless the future is ready at once.
    pub(crate) fn block_on<F: Future>(&self, future: F, limit: Deadline) -> Result<F::Output> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        block_on_deadline(future, limit)
    }

    /// Keeps `value` such that it is also dropped inside.
    pub(crate) fn hold<T>(&'static self, value: T) -> Held<T> {
        Held {
            value: Some(value),
            reactor: self,
        }
    }
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "on the reactor's own thread, when it has nothing to do"
)]
fn rest(waiting: &AtomicUsize) {
    if waiting.load(Ordering::Relaxed) >= RESTS_FROM {
        std::thread::sleep(REST);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reactor")
    }
}

/// Something of tokio's that must not be touched outside its reactor.
pub(crate) struct Held<T> {
    /// There until the drop.
    value: Option<T>,
    reactor: &'static Reactor,
}

impl<T> Held<T> {
    /// Looks at the value, which looking must not wake or drop parts of.
    pub(crate) fn get(&self) -> &T {
        self.value.as_ref().expect("it is there until the drop")
    }

    /// The value and the reactor to use it in.
    pub(crate) fn parts(&mut self) -> (&mut T, &'static Reactor) {
        let value = self.value.as_mut().expect("it is there until the drop");
        (value, self.reactor)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        self.reactor.inside(|| drop(value));
    }
}

/// A future that is polled and dropped inside its reactor.
impl<F: Future> Future for Held<Pin<Box<F>>> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (future, reactor) = self.parts();
        reactor.inside(|| future.as_mut().poll(context))
    }
}

impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timer_of_the_reactor_wakes_the_greenlet_that_polls_it() {
        let reactor = Reactor::get().unwrap();
        let greenlet = crate::spawn(move || {
            let nap = async { tokio::time::sleep(Duration::from_millis(2)).await };
            reactor.block_on(reactor.hold(Box::pin(nap)), Deadline::NEVER)
        });
        greenlet.join().unwrap().unwrap();
    }

    #[test]
    fn a_killed_wait_drops_its_future_inside() {
        struct NeedsReactor;
        impl Drop for NeedsReactor {
            fn drop(&mut self) {
                Handle::current();
            }
        }
        let reactor = Reactor::get().unwrap();
        let greenlet = crate::spawn(move || {
            let needs = NeedsReactor;
            let endless = async move {
                let _needs = needs;
                std::future::pending::<()>().await;
            };
            reactor.block_on(reactor.hold(Box::pin(endless)), Deadline::NEVER)
        });
        greenlet.kill_and_wait(None).unwrap();
        // The drop would have panicked outside.
        assert!(!matches!(greenlet.exit(), Some(crate::Exit::Panicked(_))));
    }
}
