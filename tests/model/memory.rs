//! Every order that the memory model allows, for what decides who wakes whom.
//!
//! `loom` runs each model in all the ways in which threads may interleave and loads may
//! see old values (C11), up to a number of preemptions. It takes a SeqCst access for an
//! AcqRel one and only believes in fences, which is what `park` relies on. The orders of
//! the timer, whose accesses are SeqCst, and larger cases are in `schedules.rs`.
//!
//! What is compiled here are the product's own files; see `runtime.rs` and `sync.rs`.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    unnameable_types,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    reason = "the product's files are whole and a model uses a part; tests may fail"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use seen::Seen;

extern crate self as may;

mod engine;
#[path = "../../src/error.rs"]
mod error;
mod greenlets;
mod handoff;
mod parking;
mod runtime;
mod seen;
mod sync;

pub(crate) use engine::coroutine;
pub(crate) use error::{Error, Result};
pub(crate) use runtime::deadline::{Deadline, Timeout, timeout};

macro_rules! coroutine_local {
    (static $name:ident: $type:ty = $value:expr) => {
        loom::thread_local! { static $name: $type = $value; }
    };
}
pub(crate) use coroutine_local;

/// What `util` is in the product, with loom's types.
pub(crate) mod util {
    use sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    pub(crate) fn discard<T>(value: T) {
        drop(value);
    }

    pub(crate) mod sync {
        pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
        pub(crate) use loom::{thread, thread_local};

        pub(crate) mod atomic {
            pub(crate) use loom::sync::atomic::{
                AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering,
            };

            pub(crate) fn fence(order: Ordering) {
                if !crate::WITHOUT_FENCES.get() {
                    loom::sync::atomic::fence(order);
                }
            }
        }

        macro_rules! global {
            (static $name:ident: $type:ty = $value:expr;) => {
                loom::lazy_static! { static ref $name: $type = $value; }
            };
        }
        pub(crate) use global;
    }
}

/// Limits are the other model's business: no wait here has one.
pub(crate) mod timer {
    use std::sync::Arc;

    use crate::runtime::clock::NEVER;
    use crate::runtime::task::Task;

    pub(crate) fn arm(_: &Arc<Task>, until: u64) {
        assert_eq!(until, NEVER);
    }

    pub(crate) fn disarm(_: &Task) {}

    pub(crate) fn forget(_: &Task) {}
}

// loom runs all of a model on the thread of its test.
std::thread_local! {
    /// Leaves the product's fences out, to see whether they are missed.
    static WITHOUT_FENCES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[test]
fn without_fences_a_wake_up_is_lost() {
    WITHOUT_FENCES.set(true);
    assert!(is_found("no fences", || {
        parking::two_waits_in_a_row();
    }));
}

/// Runs `model` in every order and prints how many there were.
///
/// The model says how it ended. All of `ends` must have come up: otherwise what is checked
/// never happened.
pub(crate) fn check(
    name: &str,
    ends: &[&'static str],
    model: impl Fn() -> &'static str + Sync + Send + 'static,
) {
    let seen = Arc::new(Seen::default());
    let noted = seen.clone();
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder.preemption_bound = Some(preemptions());
    builder.check(move || noted.note(model()));
    seen.tell(
        name,
        &format!("at most {} preemptions", preemptions()),
        ends,
    );
}

/// Tells whether some order of `model` goes wrong: for variants that are broken on purpose.
pub(crate) fn is_found(name: &str, model: impl Fn() + Sync + Send + 'static) -> bool {
    let model = move || {
        model();
        "well"
    };
    let checked = AssertUnwindSafe(|| check(name, &["well"], model));
    catch_unwind(checked).is_err()
}

/// How often a running thread is held up in one order; `MODEL_PREEMPTIONS` asks for more.
fn preemptions() -> usize {
    std::env::var("MODEL_PREEMPTIONS").map_or(2, |n| n.parse().expect("a number"))
}
