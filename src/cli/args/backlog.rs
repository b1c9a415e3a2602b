//! The arguments of `greenloop backlog`.

use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum BacklogCommand {
    /// Listen with a small queue and accept one connection at a time
    #[command(after_help = "Examples:
  greenloop backlog serve --backlog 2
  greenloop backlog serve --backlog 0 --every 1h

The partner is greenloop backlog probe. Ends with SIGINT or SIGTERM, exit code 0.")]
    Serve(BacklogServeArgs),

    /// Connect many times at once and show how long each took
    #[command(after_help = "Examples:
  greenloop backlog probe 127.0.0.1:7790
  greenloop backlog probe 127.0.0.1:7790 -n 200 --timeout 30s

Exit code: 0 if one was connected, 1 if none was.")]
    Probe(BacklogProbeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BacklogServeArgs {
    /// Address to listen on: HOST:PORT, tcp://HOST:PORT, unix:PATH or unix:@NAME
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7790")]
    pub(crate) listen: Endpoint,

    /// The backlog that the kernel is asked for
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) backlog: u32,

    /// Accept one connection at the end of each
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = units::duration)]
    pub(crate) every: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct BacklogProbeArgs {
    /// The server, HOST:PORT, tcp://HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    pub(crate) address: Endpoint,

    /// Connections at once
    #[arg(short = 'n', long, value_name = "N", default_value = "8")]
    pub(crate) connections: NonZeroUsize,

    /// Give each up after so long; 0: when the kernel does, after two minutes
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) timeout: Limit,
}
