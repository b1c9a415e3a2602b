//! The batch downloader: a greenlet per URL.

mod failure;
mod name;
mod plan;
mod resume;
mod retry;

pub use failure::{Failure, FailureKind};
pub use plan::{Entry, LINE_BYTES_MAX, UrlList};
