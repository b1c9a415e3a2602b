//! The arguments of `greenloop demo`.

use crate::cli::demo_models::ModelsArgs;
use crate::cli::units;
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// A generator that yields, and who drives it
    #[command(after_help = "Example:\n  greenloop demo yield --rounds 2")]
    Yield(SwitchArgs),

    /// Two greenlets that switch to each other
    #[command(after_help = "Example:\n  greenloop demo greenlet --trace")]
    Greenlet(SwitchArgs),

    /// Three spawned greenlets, joined
    #[command(after_help = "Examples:
  greenloop demo gevent
  greenloop demo gevent --sleep --delay 100ms")]
    Gevent {
        #[command(flatten)]
        args: SwitchArgs,

        /// Sleep after each print, so that the greenlets take turns
        #[arg(long)]
        sleep: bool,
    },

    /// The three of them: gevent with and without --sleep
    #[command(after_help = "Example:\n  greenloop demo all --delay 0 --trace")]
    All(SwitchArgs),

    /// Messages on a stream: two sends that arrive as one, and a length that keeps them apart
    #[command(after_help = "Example:\n  greenloop demo framing")]
    Framing,

    /// The full queue of a listener, and clients that wait for a place: takes some seconds
    #[command(after_help = "Example:\n  greenloop demo backlog\n\n\
        greenloop backlog serve and greenloop backlog probe are its two sides.")]
    Backlog {
        /// The server accepts one connection at the end of each
        #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = units::duration)]
        every: Duration,
    },

    /// The same echo server under every model of concurrency: rate, p99, threads, memory
    #[command(after_help = "Examples:
  greenloop demo models
  greenloop demo models --connections 500 --duration 3s --only thread,epoll,coroutine

Each model runs in a process of its own and shares the cores with its load. A model that cannot
take so many connections is loaded with as many as it can: blocking with one.")]
    Models(ModelsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SwitchArgs {
    /// Rounds of each demo
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: u64,

    /// Pause between rounds: 500ms, 1s, 2m [default: 500ms; 1s with gevent --sleep]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) delay: Option<Duration>,

    /// Also print every switch: from, to, why
    #[arg(long)]
    pub(crate) trace: bool,
}
