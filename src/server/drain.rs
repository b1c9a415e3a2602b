//! The end of a server: asked for once or more often, done once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::net::Addr;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Greenlet, Handle};
use crate::server::conns::Conns;
use crate::sync::Event;
use crate::util::lock;

/// What every server that runs has, whatever it serves.
pub(super) struct Core<R> {
    pub(super) addrs: Vec<Addr>,
    pub(super) conns: Arc<Conns>,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) control: Control<R>,
    pub(super) drain_timeout: Duration,
}

impl<R> Core<R> {
    pub(super) fn new(addrs: Vec<Addr>, drain_timeout: Duration) -> Self {
        Self {
            addrs,
            conns: Arc::default(),
            draining: Arc::default(),
            control: Control::default(),
            drain_timeout,
        }
    }

    /// Asks for the end. Of several calls the nearest deadline holds.
    pub(super) fn ask(&self, limit: Duration) {
        let limit = Deadline::after(limit);
        {
            let mut cut_at = lock(&self.control.cut_at);
            *cut_at = Some(cut_at.map_or(limit, |before| before.earlier(limit)));
        }
        self.control.asked.set();
        // Whoever waits for the connections waits by the old deadline.
        self.conns.changed.set();
    }

    /// Asks for the end within the server's own limit, unless it was asked for: the loops
    /// that it stops then end as well, and must not cut that limit short.
    pub(super) fn ask_once(&self) {
        lock(&self.control.cut_at).get_or_insert_with(|| Deadline::after(self.drain_timeout));
        self.control.asked.set();
        self.conns.changed.set();
    }

    /// Stops the server because of an error that will not go away.
    pub(super) fn fail(&self, error: &Error) {
        lock(&self.control.fatal).get_or_insert_with(|| error.to_string());
        self.ask_once();
    }

    /// Waits for the last connection until `limit`, which may come nearer meanwhile.
    fn wait_until_empty(&self, limit: impl Fn() -> Deadline) -> bool {
        let changed = &self.conns.changed;
        loop {
            changed.clear();
            if self.conns.len() == 0 {
                return true;
            }
            match changed.wait_deadline(limit()) {
                Ok(true) => {}
                Ok(false) | Err(_) => return self.conns.len() == 0,
            }
        }
    }
}

/// A server as its end sees it.
pub(super) trait Served: Send + Sync + 'static {
    type Report;

    fn core(&self) -> &Core<Self::Report>;

    /// So many connections, or handlers, were told that it drains.
    fn told(&self, count: usize);

    /// The counts at this moment.
    fn snapshot(&self) -> Self::Report;

    /// The counts at the end.
    fn last_report(&self) -> Self::Report;

    /// Has the loop of this number take nothing more. False if it runs a handler just now:
    /// it ends after that.
    fn stop_loop(&self, number: usize, handle: &Handle) -> bool {
        let _ = number;
        handle.kill();
        true
    }
}

/// What is known about the end.
pub(super) struct Control<R> {
    /// When connections are killed; `None` while the server is to run.
    cut_at: Mutex<Option<Deadline>>,
    asked: Event,
    pub(super) ended: Event,
    report: OnceLock<R>,
    fatal: Mutex<Option<String>>,
}

impl<R> Default for Control<R> {
    fn default() -> Self {
        Self {
            cut_at: Mutex::default(),
            asked: Event::new(),
            ended: Event::new(),
            report: OnceLock::new(),
            fatal: Mutex::default(),
        }
    }
}

impl<R> Control<R> {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_set()
    }

    pub(super) fn fatal(&self) -> Option<String> {
        lock(&self.fatal).clone()
    }

    fn cut_at(&self) -> Deadline {
        lock(&self.cut_at).unwrap_or(Deadline::NEVER)
    }
}

impl<R: Clone> Control<R> {
    pub(super) fn report(&self) -> Option<R> {
        self.report.get().cloned()
    }
}

/// Waits for the end to be asked for, and carries it out. Runs in a greenlet that nobody
/// has a handle of, so nothing interrupts it.
pub(super) fn supervise<S: Served>(shared: &S, loops: Vec<Greenlet<()>>) {
    let core = shared.core();
    let control = &core.control;
    if let Err(error) = control.asked.wait() {
        core.fail(&error);
    }
    // 1: nothing more comes in. A loop owns its socket, and drops it.
    let stop =
        |(number, greenlet): (usize, Greenlet<()>)| (shared.stop_loop(number, &greenlet), greenlet);
    let stopped: Vec<_> = loops.into_iter().enumerate().map(stop).collect();
    let (idle, busy): (Vec<_>, Vec<_>) = stopped.into_iter().partition(|(idle, _)| *idle);
    for (_, greenlet) in idle {
        join(core, greenlet);
    }
    // 2: tell those that are open; idle ones end at once.
    core.draining.store(true, Ordering::SeqCst);
    shared.told(core.conns.tell());
    // 3: wait for them. 4: kill those that did not end.
    let mut is_empty = core.wait_until_empty(|| control.cut_at());
    if !is_empty {
        core.conns.cut();
        let limit = Deadline::after(KILL_GRACE);
        is_empty = core.wait_until_empty(|| limit);
    }
    if is_empty {
        for (_, greenlet) in busy {
            join(core, greenlet);
        }
    }
    // 5: tell what happened.
    let _ = control.report.set(shared.last_report());
    control.ended.set();
}

/// Waits for a loop that was stopped.
fn join<R>(core: &Core<R>, greenlet: Greenlet<()>) {
    if let Err(error) = greenlet.join()
        && error.is_panic()
    {
        core.fail(&Error::message(format!("the accept loop: {error}")));
    }
}

/// Killed connections end at their next blocking call. One that has not by now computes,
/// or is stuck in a system call; the report says so and does not wait for it.
const KILL_GRACE: Duration = Duration::from_secs(1);
