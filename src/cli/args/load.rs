//! The arguments of `greenloop load`.

use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::Args;
use std::num::NonZeroUsize;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The echo server, HOST:PORT, tcp://HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    pub(crate) address: Endpoint,

    /// Connections at once
    #[arg(short = 'c', long, value_name = "N", default_value = "64")]
    pub(crate) connections: NonZeroUsize,

    /// Message size in bytes: 64, 4K, 1M; at most 64M
    #[arg(short = 's', long, value_name = "BYTES", default_value = "64", value_parser = message_bytes)]
    pub(crate) size: usize,

    /// How long to send
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "5s", value_parser = units::duration)]
    pub(crate) duration: Duration,

    /// An answer that takes longer is an error
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a size of which each connection can have two in memory.
fn message_bytes(text: &str) -> Result<usize, String> {
    let bytes = units::length(text)?;
    if bytes > MESSAGE_BYTES_MAX {
        return Err("at most 64M".into());
    }
    Ok(bytes)
}

const MESSAGE_BYTES_MAX: usize = 64 << 20;
