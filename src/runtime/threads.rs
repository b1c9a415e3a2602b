//! The OS threads that the runtime knows, for those who ask whether the program stands
//! still: what an unknown thread is about, nobody can say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::runtime::{procfs, workers};
use crate::util::lock;

/// A thread of our own, listed while this lives.
pub(crate) struct OwnThread(Arc<Entry>);

struct Entry {
    tid: u32,
    idle: AtomicBool,
}

static OWN: Mutex<Vec<Arc<Entry>>> = Mutex::new(Vec::new());

/// The threads that the engine started.
static ENGINE: OnceLock<Vec<u32>> = OnceLock::new();

impl OwnThread {
    /// Lists the calling thread, as busy.
    pub(crate) fn enlist() -> Self {
        let entry = Arc::new(Entry {
            tid: procfs::own_tid(),
            idle: AtomicBool::new(false),
        });
        lock(&OWN).push(entry.clone());
        Self(entry)
    }

    /// Notes whether it waits for work, and so will not do anything by itself.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.0.idle.store(idle, Ordering::Release);
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        lock(&OWN).retain(|entry| !Arc::ptr_eq(entry, &self.0));
    }
}

/// The threads there are before the engine starts.
pub(crate) fn before_engine() -> Vec<u32> {
    tids().collect()
}

/// Notes which threads the engine started: those that were not there `before`, if they are
/// as many as it starts. Otherwise somebody else started threads meanwhile, and nothing is
/// noted: the engine's then count as unknown.
pub(crate) fn after_engine(before: &[u32], workers: usize) {
    let own: Vec<_> = lock(&OWN).iter().map(|entry| entry.tid).collect();
    let new: Vec<_> = tids()
        .filter(|tid| !before.contains(tid) && !own.contains(tid))
        .collect();
    // Its workers and its timer.
    if new.len() == workers + 1 {
        let _ = ENGINE.set(new);
    }
}

fn tids() -> impl Iterator<Item = u32> {
    procfs::threads().into_iter().map(|thread| thread.tid)
}

/// Tells whether every thread of the process sleeps, and is one that does nothing by
/// itself: the engine's, idle ones of ours, and those in `waiting`.
pub(crate) fn are_all_still(waiting: &[u32]) -> bool {
    let engine = ENGINE.get().map_or(&[][..], Vec::as_slice);
    let threads = procfs::threads();
    let own = lock(&OWN);
    let is_idle = |tid: u32| {
        own.iter()
            .any(|e| e.tid == tid && e.idle.load(Ordering::Acquire))
    };
    !threads.is_empty()
        && threads.iter().all(|thread| {
            thread.tid == procfs::own_tid()
                || thread.state == 'S'
                    && (engine.contains(&thread.tid)
                        || workers::is_worker_tid(thread.tid)
                        || waiting.contains(&thread.tid)
                        || is_idle(thread.tid))
        })
}
