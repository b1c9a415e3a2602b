//! Every coroutine of a model runs on a worker of its own.

use std::sync::Arc;

use crate::coroutine;
use crate::runtime::task::Task;

pub(crate) fn is_worker() -> bool {
    coroutine::is_coroutine()
}

pub(crate) fn enter(_: &Arc<Task>) {}

pub(crate) fn leave() {}

pub(crate) fn block_thread_briefly() {
    unreachable!("nothing unwinds in a model")
}
