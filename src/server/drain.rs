//! The end of a server: asked for once or more often, done once.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::server::observe::Report;
use crate::server::stream::Shared;
use crate::sync::Event;
use crate::util::lock;

/// What is known about the end.
#[derive(Default)]
pub(super) struct Control {
    /// When connections are killed; `None` while the server is to run.
    cut_at: Mutex<Option<Deadline>>,
    asked: Event,
    pub(super) ended: Event,
    report: OnceLock<Report>,
    fatal: Mutex<Option<String>>,
}

impl Control {
    /// Asks for the end. Of several calls the nearest deadline holds.
    pub(super) fn ask(&self, shared: &Shared, limit: Duration) {
        let limit = Deadline::after(limit);
        {
            let mut cut_at = lock(&self.cut_at);
            *cut_at = Some(cut_at.map_or(limit, |before| before.earlier(limit)));
        }
        self.asked.set();
        // Whoever waits for the connections waits by the old deadline.
        shared.conns.changed.set();
    }

    /// Stops the server because of an accept error.
    pub(super) fn fail(&self, shared: &Shared, error: &Error) {
        lock(&self.fatal).get_or_insert_with(|| error.to_string());
        self.ask(shared, shared.config.drain_timeout);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_set()
    }

    pub(super) fn fatal(&self) -> Option<String> {
        lock(&self.fatal).clone()
    }

    pub(super) fn report(&self) -> Option<Report> {
        self.report.get().cloned()
    }

    fn cut_at(&self) -> Deadline {
        lock(&self.cut_at).unwrap_or(Deadline::NEVER)
    }
}

/// Waits for the end to be asked for, and carries it out. Runs in a greenlet that nobody
/// has a handle of, so nothing interrupts it.
pub(super) fn supervise(shared: &Arc<Shared>, acceptors: Vec<Greenlet<()>>) {
    let control = &shared.control;
    if let Err(error) = control.asked.wait() {
        control.fail(shared, &error);
    }
    // 1: no more connections. An acceptor owns its listener, and drops it.
    for acceptor in &acceptors {
        acceptor.kill();
    }
    for acceptor in acceptors {
        if let Err(error) = acceptor.join()
            && error.is_panic()
        {
            control.fail(shared, &Error::message(format!("the accept loop: {error}")));
        }
    }
    // 2: tell those that are open; idle ones end at once.
    shared
        .draining
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let told = shared.conns.tell();
    shared.counters.told.add(told as u64);
    shared.config.observer.draining(told);
    // 3: wait for them. 4: kill those that did not end.
    if !wait_until_empty(shared, || control.cut_at()) {
        shared.conns.cut();
        let limit = Deadline::after(KILL_GRACE);
        wait_until_empty(shared, || limit);
    }
    // 5: tell what happened.
    let mut report = shared.snapshot();
    report.stuck = report.open;
    let _ = control.report.set(report);
    control.ended.set();
}

/// Waits for the last connection until `limit`, which may come nearer meanwhile.
fn wait_until_empty(shared: &Shared, limit: impl Fn() -> Deadline) -> bool {
    let changed = &shared.conns.changed;
    loop {
        changed.clear();
        if shared.conns.len() == 0 {
            return true;
        }
        match changed.wait_deadline(limit()) {
            Ok(true) => {}
            Ok(false) | Err(_) => return shared.conns.len() == 0,
        }
    }
}

/// Killed connections end at their next blocking call. One that has not by now computes,
/// or is stuck in a system call; the report says so and does not wait for it.
const KILL_GRACE: Duration = Duration::from_secs(1);
