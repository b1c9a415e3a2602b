//! Wake-ups from outside, delivered at once and as if from a worker.

use std::sync::Arc;

use crate::coroutine;
use crate::runtime::task::Task;

pub(crate) fn wake(task: Arc<Task>) {
    coroutine::as_worker(|| task.wake_anywhere());
}

pub(crate) fn wake_all(tasks: Vec<Arc<Task>>) {
    for task in tasks {
        wake(task);
    }
}

pub(crate) fn check() {}

/// Turns only change the order, and the models try every order.
pub(crate) fn tick(_: &Task) {}
