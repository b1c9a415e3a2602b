//! The timer: one thread that wakes tasks when their deadline comes, and does nothing else.
//!
//! A task has at most one entry, so deadlines cost no memory beyond the greenlets. The
//! entry is re-armed lazily: a wait stores its deadline in the task, and takes the timer's
//! lock only if the timer would look too late. When an entry comes up early (its wait
//! ended long ago, another one with a later deadline runs), the timer moves it. A deadline
//! on every read of a busy connection therefore costs two atomic stores.
//!
//! Order of `arm` and the timer's look, which decides that no deadline is missed: the
//! owner stores `deadline` and then reads `armed`; the timer clears `armed` and then reads
//! `deadline`. One of the two sees the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::runtime::clock::{self, NEVER};
use crate::runtime::relay;
use crate::runtime::task::Task;
use crate::runtime::threads::OwnThread;
use crate::util::lock;
use crate::util::sync::atomic::Ordering::SeqCst;
use crate::util::sync::{Condvar, Mutex, Once, global, thread};

struct Timer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    entries: BTreeMap<(u64, u64), Arc<Task>>,
    /// When to look whether wake-ups from outside have been delivered; see `relay`.
    relay_check: u64,
}

global! {
    static TIMER: Timer = Timer {
        queue: Mutex::new(Queue {
            entries: BTreeMap::new(),
            relay_check: NEVER,
        }),
        changed: Condvar::new(),
    };
}

/// Has `task` woken at `until` unless [`disarm`] comes first.
pub(crate) fn arm(task: &Arc<Task>, until: u64) {
    if until == NEVER {
        return;
    }
    task.deadline.store(until, SeqCst);
    if task.armed.load(SeqCst) > until {
        insert(task, until);
    }
}

/// Ends the wait that [`arm`] was for. The entry stays for the next one.
pub(crate) fn disarm(task: &Task) {
    if task.deadline.load(SeqCst) != NEVER {
        task.deadline.store(NEVER, SeqCst);
    }
}

/// Takes the entry of a task that ends.
pub(crate) fn forget(task: &Task) {
    if task.armed.load(SeqCst) != NEVER {
        let mut queue = lock(&TIMER.queue);
        queue
            .entries
            .remove(&(task.armed.swap(NEVER, SeqCst), task.id));
    }
}

/// Has the timer look after the relay at `at`.
pub(crate) fn check_relay_at(at: u64) {
    let mut queue = lock(&TIMER.queue);
    if queue.relay_check == NEVER {
        queue.relay_check = at;
        ensure_thread();
        TIMER.changed.notify_one();
    }
}

fn insert(task: &Arc<Task>, until: u64) {
    let mut queue = lock(&TIMER.queue);
    let armed = task.armed.load(SeqCst);
    if armed <= until {
        return;
    }
    let first = queue
        .entries
        .first_key_value()
        .map_or(NEVER, |(key, _)| key.0);
    queue.put(task.clone(), until);
    ensure_thread();
    if until < first {
        TIMER.changed.notify_one();
    }
}

impl Queue {
    /// Moves the task's one entry to `until`.
    fn put(&mut self, task: Arc<Task>, until: u64) {
        let armed = task.armed.swap(until, SeqCst);
        if armed != NEVER {
            self.entries.remove(&(armed, task.id));
        }
        self.entries.insert((until, task.id), task);
    }

    /// Takes the tasks whose deadline has come, and moves entries that came up early.
    fn take_due(&mut self, now: u64) -> Vec<Arc<Task>> {
        let mut due = Vec::new();
        while let Some(entry) = self.entries.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let task = entry.remove();
            task.armed.store(NEVER, SeqCst);
            match task.deadline.load(SeqCst) {
                NEVER => {}
                at if at <= now => due.push(task),
                at => self.put(task, at),
            }
        }
        due
    }

    fn next(&self) -> u64 {
        let first = self
            .entries
            .first_key_value()
            .map_or(NEVER, |(key, _)| key.0);
        first.min(self.relay_check)
    }
}

/// Starts the thread, if it does not run yet.
pub(crate) fn start() -> std::io::Result<()> {
    global! {
        static STARTING: Mutex<bool> = Mutex::new(false);
    }
    let mut is_started = lock(&STARTING);
    if !*is_started {
        thread::Builder::new()
            .name("greenloop-timer".into())
            .spawn(run)?;
        *is_started = true;
    }
    Ok(())
}

/// For OS threads, which can wait before the runtime is started.
fn ensure_thread() {
    global! {
        static STARTED: Once = Once::new();
    }
    STARTED.call_once_force(|_| start().expect("the timer thread can be started"));
}

fn run() {
    // It wakes those whose deadline has come, and so never stands in for anybody.
    let thread = OwnThread::enlist();
    thread.set_idle(true);
    let mut queue = lock(&TIMER.queue);
    loop {
        let now = clock::now();
        let due = queue.take_due(now);
        let check = queue.relay_check <= now;
        if check {
            queue.relay_check = NEVER;
        }
        if check || !due.is_empty() {
            drop(queue);
            relay::wake_all(due);
            if check {
                relay::check();
            }
            queue = lock(&TIMER.queue);
            continue;
        }
        queue = match queue.next() {
            NEVER => TIMER.changed.wait(queue).unwrap_or_else(|e| e.into_inner()),
            at => {
                let waited = TIMER.changed.wait_timeout(queue, clock::until(at));
                waited.unwrap_or_else(|e| e.into_inner()).0
            }
        };
    }
}
