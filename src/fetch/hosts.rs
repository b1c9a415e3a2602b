//! How many downloads run at once, in all and per host, and which hosts want a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::failure::{Failure, FailureKind};
use crate::error::Error;
use crate::runtime::deadline::Deadline;
use crate::runtime::sleep::sleep_until;
use crate::sync::{Permit, Semaphore};
use crate::util::lock;

/// The hosts of a run and the slots for all of them.
#[derive(Debug)]
pub(crate) struct Hosts {
    total: Semaphore,
    per_host: usize,
    pause_max: Duration,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Host {
    slots: Semaphore,
    /// Until when it is to be left alone.
    paused_until: Mutex<Option<Instant>>,
}

/// Leave to send a request; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _host: Permit,
    _total: Permit,
}

/// Hosts remembered before those that nobody uses are forgotten.
const HOSTS_KEPT: usize = 1024;

impl Hosts {
    pub(crate) fn new(total: usize, per_host: usize, pause_max: Duration) -> Self {
        Self {
            total: Semaphore::new(total),
            per_host,
            pause_max,
            hosts: Mutex::default(),
        }
    }

    pub(crate) fn host(&self, key: &str) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(key) {
            return host.clone();
        }
        if hosts.len() >= HOSTS_KEPT {
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || host.pause().is_some());
        }
        let host = Arc::new(Host {
            slots: Semaphore::new(self.per_host),
            paused_until: Mutex::new(None),
        });
        hosts.insert(key.to_owned(), host.clone());
        host
    }

    /// Waits until a request to `host` may be sent.
    ///
    /// The host's slot is taken first: those who wait for a slow host hold none of the
    /// slots for all, and nobody who holds one of those waits for a host.
    pub(crate) fn admit(&self, host: &Host, limit: Deadline) -> Result<Slot, Failure> {
        loop {
            if let Some(until) = host.pause() {
                self.wait_out(until, limit)?;
            }
            let slot = host.slots.acquire_deadline(limit).map_err(|e| ended(&e))?;
            let total = self.total.acquire_deadline(limit).map_err(|e| ended(&e))?;
            // Somebody may have been told to wait while we stood in the queue.
            if host.pause().is_none() {
                return Ok(Slot {
                    _host: slot,
                    _total: total,
                });
            }
        }
    }

    fn wait_out(&self, until: Instant, limit: Deadline) -> Result<(), Failure> {
        let left = until.saturating_duration_since(Instant::now());
        if left > self.pause_max {
            let text = "the server asked to be left alone for longer than is waited";
            return Err(Failure::new(FailureKind::Busy, text).after(Some(left)));
        }
        if Deadline::at(until) > limit {
            return Err(Failure::new(
                FailureKind::Timeout,
                "total time limit is too short",
            ));
        }
        sleep_until(until).map_err(|e| ended(&e))
    }
}

impl Host {
    /// Until when the host is to be left alone, if it is.
    fn pause(&self) -> Option<Instant> {
        lock(&self.paused_until).filter(|until| *until > Instant::now())
    }

    /// Leaves the host alone for `pause`, or longer if that was settled before.
    pub(crate) fn leave_alone(&self, pause: Duration) {
        // What is too far to count is as good as a year.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let until = Instant::now() + pause.min(YEAR);
        let mut paused = lock(&self.paused_until);
        *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }
}

/// The failure of a wait that was ended from outside.
pub(crate) fn ended(error: &Error) -> Failure {
    if error.is_timeout() {
        return Failure::new(FailureKind::Timeout, "total time limit passed");
    }
    Failure::new(FailureKind::Stopped, "stopped")
}
