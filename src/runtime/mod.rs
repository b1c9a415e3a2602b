//! Scheduling: greenlets, and everything that can make one wait.
//!
//! This is the only floor that knows the engine (`may`), and inside it only `config`,
//! `spawn`, `park` and `io` name it. The floors above see greenlets, deadlines, kills and
//! descriptors, never a worker or a coroutine.
//!
//! ```text
//!   spawn ──► greenlet (handle, join, link)         config, registry, overflow, panic
//!     │
//!   task     one per greenlet: identity, kill flag, deadlines, exit
//!     │
//!   park ◄── every wait ends here ── io (descriptors)   lane, blocking, signal, bridge, sleep
//!     ▲
//!     └────  timer (one thread, only wakes) ──► relay (wakes from outside, fair turns)
//! ```
//!
//! Invariants:
//! - a greenlet waits in one place at a time, and kill, deadline and wake-up are decided
//!   there against each other;
//! - nothing here runs user code while it holds a lock;
//! - no call switches while its greenlet unwinds from a panic.

pub(crate) mod backtrace;
pub(crate) mod blocking;
pub(crate) mod bridge;
pub(crate) mod clock;
pub(crate) mod club;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod deadline;
pub(crate) mod deadlock;
pub(crate) mod drain;
pub(crate) mod dump;
pub(crate) mod greenlet;
pub mod hooks;
pub(crate) mod io;
pub(crate) mod kill;
pub(crate) mod lane;
pub(crate) mod lineage;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod meter;
pub(crate) mod overflow;
pub(crate) mod panic;
pub(crate) mod park;
pub(crate) mod paused;
pub(crate) mod procfs;
pub(crate) mod reason;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod run;
pub mod signal;
pub(crate) mod sleep;
pub(crate) mod spawn;
pub(crate) mod task;
pub(crate) mod threads;
pub(crate) mod timer;
pub(crate) mod watch;
pub(crate) mod watchdog;
pub(crate) mod workers;
