//! TFTP: a client and a server.
//!
//! The protocol itself is [`proto::tftp`](crate::proto::tftp). Here stand the sockets, the
//! files and the clock: `link` knows who the peer is, `flow` moves a file through it, `root`
//! and `local` keep files that are not whole from being seen.

mod client;
mod flow;
mod link;
mod local;
mod report;
mod root;
mod server;
mod service;

pub use client::{Client, Transferred};
pub use report::{Counts, Direction, Ended, Outcome};
pub use server::{Handle, Server};

/// Tells whether it was the disk that had no room, or a limit on what may be written.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge
    )
}
