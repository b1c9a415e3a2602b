//! What is said when a greenlet runs over its stack.
//!
//! The signal handler is `switch::overflow`; this file tells it which greenlet it was.

#![expect(
    unsafe_code,
    reason = "a signal handler has only a raw pointer to go by"
)]

use std::sync::atomic::Ordering;

use crate::runtime::workers;
use crate::switch::overflow::{self, Message};

/// Keeps the action that is in force now as the one for other faults. Comes before the
/// engine's first coroutine, which puts its own in front.
pub(crate) fn prepare() {
    overflow::install();
    overflow::set_reporter(report);
}

/// Puts the report in front of the engine's own.
pub(crate) fn install() {
    overflow::reinstall();
}

/// Describes the greenlet on this thread if `fault` lies where its stack ends.
fn report(fault: usize, out: &mut Message) -> bool {
    let task = workers::running_here();
    if task.is_null() {
        return false;
    }
    // SAFETY: the record is set to the greenlet that runs on this thread, and cleared
    // before it stops or ends; the greenlet itself holds a reference all that time.
    let task = unsafe { &*task };
    let top = usize::try_from(task.stack_top.load(Ordering::Relaxed)).unwrap_or(0);
    let end = top.saturating_sub(task.stack_bytes);
    if !(end.saturating_sub(SLACK)..end + SLACK).contains(&fault) {
        return false;
    }
    out.push_str("greenlet ");
    if let Some(name) = &task.name {
        out.push_str("\"");
        out.push_str(name);
        out.push_str("\" (#");
        out.push_u64(task.id);
        out.push_str(")");
    } else {
        out.push_str("#");
        out.push_u64(task.id);
    }
    out.push_str(" overflowed its ");
    out.push_size(task.stack_bytes);
    out.push_str(" stack; give it more with Builder::stack_bytes");
    true
}

/// The engine's own frames above `stack_top`, its rounding (a page) and the guard page.
const SLACK: usize = 4 * 4096;
