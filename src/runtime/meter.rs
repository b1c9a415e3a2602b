//! How often a task gave way to others, and how long it held its worker in between.
//!
//! The count is always kept: it costs one plain store beside a switch. Times are taken only
//! while somebody measures, since a look at the clock costs as much as the switch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::runtime::clock;
use crate::util::lock;

/// See the module. Only the task's owner calls it.
#[derive(Default)]
pub(crate) struct Meter {
    switches: AtomicU64,
    is_timed: AtomicBool,
    /// The measurements that are going on, the innermost last.
    runs: Mutex<Vec<Run>>,
}

/// One measurement.
struct Run {
    /// When the owner last went on.
    since: u64,
    longest: u64,
}

impl Run {
    fn note(&mut self, now: u64) {
        self.longest = self.longest.max(now.saturating_sub(self.since));
    }
}

impl Meter {
    /// The owner stops.
    pub(crate) fn stop(&self) {
        let switches = self.switches.load(Ordering::Relaxed);
        self.switches.store(switches + 1, Ordering::Relaxed);
        self.each_run(Run::note);
    }

    /// The owner goes on.
    pub(crate) fn go_on(&self) {
        self.each_run(|run, now| run.since = now);
    }

    fn each_run(&self, mut f: impl FnMut(&mut Run, u64)) {
        if self.is_timed.load(Ordering::Relaxed) {
            let now = clock::now();
            lock(&self.runs).iter_mut().for_each(|run| f(run, now));
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
impl Meter {
    /// How often the owner has stopped so far.
    pub(crate) fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Begins a measurement, until [`Meter::end_run`]. They nest.
    pub(crate) fn begin_run(&self) {
        lock(&self.runs).push(Run {
            since: clock::now(),
            longest: 0,
        });
        self.is_timed.store(true, Ordering::Relaxed);
    }

    /// Ends the innermost measurement and gives the longest time, in nanoseconds, for which
    /// the owner did not stop.
    pub(crate) fn end_run(&self) -> u64 {
        let mut runs = lock(&self.runs);
        let ended = runs.pop();
        self.is_timed.store(!runs.is_empty(), Ordering::Relaxed);
        ended.map_or(0, |mut run| {
            run.note(clock::now());
            run.longest
        })
    }
}
