//! x

pub mod apps;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod http;
mod util;
pub use error::{Error, Result, TimeoutId};
