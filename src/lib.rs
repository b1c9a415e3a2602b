//! gevent for Rust: plain blocking-style code on stackful green threads, thousands at
//! once, on every core.
//!
//! A *greenlet* is started with [`spawn`], costs a few KiB, and is written like a thread:
//! it calls functions that wait, and while it waits, others run on the same OS threads.
//! There is no `async`, no colour of functions, no callback.
//!
//! ```
//! use std::time::Duration;
//!
//! let total: u32 = greenloop::run(|| {
//!     let parts: Vec<_> = (1..=1000)
//!         .map(|n| {
//!             greenloop::spawn(move || {
//!                 greenloop::sleep(Duration::from_millis(10)).unwrap();
//!                 n
//!             })
//!         })
//!         .collect();
//!     parts.into_iter().map(|part| part.join().unwrap()).sum()
//! });
//! assert_eq!(total, 500_500);
//! ```
//!
//! # The rules of waiting
//!
//! - A call that may switch to other greenlets says so in its documentation, under
//!   *Switching*; no other call switches.
//! - A kill ([`Handle::kill`]) and a limit ([`Timeout`]) are errors from such calls, never
//!   panics. After a kill every further one fails at once, outside [`shield`].
//! - Hold no guard across a call that may switch: no `MutexGuard` of std, no borrow out of
//!   a `thread_local!`. Greenlets move between OS threads, and the compiler does not check
//!   it.
//! - During a panic nothing waits: blocking calls in destructors fail at once.
//! - A call that blocks the OS thread (files, C libraries) blocks every greenlet of its
//!   worker: wrap it in [`blocking`].

// The lint does not see attributes below the crate (clippy 1.95); `tests/tidy.rs` names
// the files that may use the macro.
#![expect(
    clippy::disallowed_macros,
    reason = "leaf functions of two files, see there"
)]

pub mod apps;
#[cfg(feature = "cli")]
pub mod cli;
pub(crate) mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod fs;
pub mod guide;
pub mod http;
pub mod net;
pub mod process;
pub mod proto;
pub(crate) mod runtime;
pub mod server;
pub mod switch;
pub mod sync;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub(crate) mod util;

pub use error::{Error, Result, TimeoutId};
pub use fs::{Stdin, StdinLock, stdin};
pub use runtime::blocking::blocking;
pub use runtime::bridge::block_on;
pub use runtime::completion::LinkId;
pub use runtime::config::Config;
pub use runtime::deadline::{Deadline, Timeout, timeout, timeout_or, timeout_or_none};
pub use runtime::drain::drain;
pub use runtime::dump::{Dump, Snapshot, dump, greenlets};
pub use runtime::greenlet::{Exit, Greenlet, Handle, JoinError, current_handle as current};
pub use runtime::hooks;
pub use runtime::kill::{is_killed, shield};
pub use runtime::lane::{Lane, LaneStats};
pub use runtime::lineage::Ancestor;
pub use runtime::local::{Inherited, LocalKey};
pub use runtime::paused::Paused;
pub use runtime::run::run;
pub use runtime::signal;
pub use runtime::sleep::{sleep, sleep_until, yield_now};
pub use runtime::spawn::{Builder, SpawnError, spawn, spawn_later, try_spawn};
pub use sync::{
    as_completed, join_all, join_some, kill_all, try_join_all, wait_all, wait_any, wait_any_timeout,
};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
