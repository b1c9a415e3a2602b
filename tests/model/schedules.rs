//! The orders of steps of what waits, with the timer: the largest cases.
//!
//! `shuttle` runs each model step by step, one thread at a time, so all see one order of
//! all accesses. That is what SeqCst promises, which the timer relies on; weaker orders are
//! in `memory.rs`, which shares the cases of `parking.rs` and `handoff.rs`. Time passes
//! while the timer waits for a deadline that is near; see [`util::sync::Condvar`].
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

use bounded::Bounded;
use seen::Seen;
use shuttle::scheduler::{PctScheduler, Scheduler};

extern crate self as may;

mod bounded;
mod engine;
#[path = "../../src/error.rs"]
mod error;
mod greenlets;
mod handoff;
mod parking;
mod runtime;
mod seen;
mod sync;
mod timed;
#[path = "../../src/runtime/timer.rs"]
mod timer;
mod timing;

pub(crate) use engine::coroutine;
pub(crate) use error::{Error, Result};
pub(crate) use runtime::deadline::{Deadline, Timeout, timeout};

macro_rules! coroutine_local {
    (static $name:ident: $type:ty = $value:expr) => {
        shuttle::thread_local! { static $name: $type = $value; }
    };
}
pub(crate) use coroutine_local;

/// What `util` is in the product, with shuttle's types.
pub(crate) mod util {
    use sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }

    pub(crate) fn discard<T>(value: T) {
        drop(value);
    }

    pub(crate) mod sync {
        pub(crate) use crate::timed::{Condvar, Mutex, MutexGuard};
        pub(crate) use shuttle::sync::{Once, atomic};
        pub(crate) use shuttle::thread_local;

        pub(crate) mod thread {
            pub(crate) use shuttle::thread::{JoinHandle, spawn, yield_now};

            /// Starts the timer's thread, for which a model does not wait at its end:
            /// shuttle allows that to a future alone.
            pub(crate) struct Builder;

            impl Builder {
                pub(crate) fn new() -> Self {
                    Self
                }

                pub(crate) fn name(self, _: String) -> Self {
                    self
                }

                pub(crate) fn spawn(self, body: fn()) -> std::io::Result<()> {
                    drop(shuttle::future::spawn(async move { body() }));
                    Ok(())
                }
            }
        }

        macro_rules! global {
            (static $name:ident: $type:ty = $value:expr;) => {
                shuttle::lazy_static! { static ref $name: $type = $value; }
            };
        }
        pub(crate) use global;
    }
}

// shuttle runs all of a model on the thread of its test.
std::thread_local! {
    /// Has no condition variable tell anybody anything, to see whether it is missed.
    static WITHOUT_NOTES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `model` in every order of few preemptions, then in random orders of many, and
/// prints how many there were.
///
/// The model says how it ended. All of `ends` must have come up: otherwise what is checked
/// never happened.
pub(crate) fn check(
    name: &str,
    ends: &[&'static str],
    model: impl Fn() -> &'static str + Sync + Send + 'static,
) {
    let model = Arc::new(model);
    let seen = Arc::new(Seen::default());
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let (model, seen) = (model.clone(), seen.clone());
        let mut config = shuttle::Config::new();
        config.silence_warnings = true;
        shuttle::Runner::new(scheduler, config).run(move || seen.note(model()))
    };
    let few = run(Box::new(Bounded::new(preemptions(), orders())));
    let random = run(Box::new(PctScheduler::new_from_seed(
        seed(),
        5,
        orders() / 5,
    )));
    let all = if few < orders() { "all" } else { "the first" };
    let how = format!(
        "{all} {few} with at most {} preemptions and {random} at random",
        preemptions()
    );
    seen.tell(name, &how, ends);
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

/// The same in every run, as all the rest is; `MODEL_SEED` rolls other dice.
fn seed() -> u64 {
    std::env::var("MODEL_SEED").map_or(1, |n| n.parse().expect("a number"))
}

/// The most orders of one model; `MODEL_ORDERS` asks for more.
fn orders() -> usize {
    std::env::var("MODEL_ORDERS").map_or(1_000, |n| n.parse().expect("a number"))
}
