//! gevent for Rust: plain blocking-style code on stackful green threads.

pub mod apps;
mod error;
pub mod switch;
#[allow(dead_code, reason = "used by the floors above")]
mod util;

pub use error::{Error, Result, TimeoutId};
