//! Uploads: files with their names, over any stream, as `proto::upload` says.
//!
//! Here: the server's handler and the client, which return data and call back. Not here:
//! arguments, bars and lines (`cli/`).

mod client;
mod part;
mod server;

pub use client::{Sent, UploadClient};
pub use server::{Received, UploadHandler};
