//! gevent for Rust: plain blocking-style code on stackful green threads, thousands at
//! once, on every core.

pub mod apps;
#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
pub mod http;
pub mod net;
pub(crate) mod runtime;
pub mod switch;
pub mod sync;
pub(crate) mod util;

pub use error::{Error, Result, TimeoutId};
pub use runtime::blocking::blocking;
pub use runtime::bridge::block_on;
pub use runtime::config::Config;
pub use runtime::deadline::{Deadline, Timeout, timeout, timeout_or};
pub use runtime::greenlet::{Exit, Greenlet, Handle, JoinError, LinkId, current_handle as current};
pub use runtime::kill::{is_killed, shield};
pub use runtime::local::{Inherited, LocalKey};
pub use runtime::registry::{Snapshot, dump_json, dump_text, greenlets};
pub use runtime::run::run;
pub use runtime::signal;
pub use runtime::sleep::{sleep, sleep_until, yield_now};
pub use runtime::spawn::{Builder, SpawnError, spawn, spawn_later, try_spawn};
