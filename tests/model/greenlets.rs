//! Greenlets of a model: a thread of the checker each, begun and ended as `spawn` does it.

use std::panic::Location;
use std::sync::Arc;

use crate::coroutine;
use crate::runtime::park::{Parker, Seat, set_current};
use crate::runtime::task::{Birth, Task};
use crate::runtime::{clock, deadline::Deadline, timer};
use crate::util::sync::thread::{self, JoinHandle};

/// What others know of a greenlet before it runs.
#[track_caller]
pub(crate) fn task() -> Arc<Task> {
    Task::new(Birth {
        name: None,
        parent: 0,
        site: Location::caller(),
        stack_bytes: 4096,
        on_worker: true,
        background: false,
        ancestors: None,
        tid: 0,
        seat: Seat::default(),
        ticks: 0,
    })
}

/// Runs `body` as the greenlet `task`.
pub(crate) fn run<T: Send + 'static>(
    task: &Arc<Task>,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let task = task.clone();
    thread::spawn(move || {
        coroutine::begin();
        task.seat.occupy();
        set_current(task.clone());
        let result = body();
        timer::forget(&task);
        task.seat.vacate();
        result
    })
}

/// Runs `body` as a greenlet of which nobody needs to know.
pub(crate) fn go<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    run(&task(), body)
}

/// A parker of `task`, made before it runs.
pub(crate) fn parker_of(task: &Arc<Task>) -> Parker {
    set_current(task.clone());
    let parker = Parker::new();
    // It takes its owner from who asks for the first of these.
    drop(parker.unparker());
    parker
}

/// As `Greenlet::kill`.
pub(crate) fn kill(task: &Arc<Task>) {
    task.kill(None);
    task.wake_anywhere();
}

/// A deadline at `at` of the model's time.
pub(crate) fn at(at: u64) -> Deadline {
    Deadline::after(clock::until(at))
}
