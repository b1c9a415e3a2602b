//! The arguments of `greenloop demo`.

use crate::cli::units;
use clap::{Args, ValueEnum};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which demo
    #[arg(value_enum)]
    pub(crate) which: Demo,

    /// Rounds of each demo
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: u64,

    /// Pause between rounds: 500ms, 1s, 2m [default: 500ms; 1s with gevent --sleep]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) delay: Option<Duration>,

    /// gevent: sleep after each print, so that the greenlets take turns
    #[arg(long)]
    pub(crate) sleep: bool,

    /// Also print every switch: from, to, why
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Demo {
    /// A generator that yields, and who drives it
    Yield,
    /// Two greenlets that switch to each other
    Greenlet,
    /// Three spawned greenlets, joined
    Gevent,
    /// The four of them: gevent with and without --sleep
    All,
    /// Messages on a stream: two sends that arrive as one, and a length that keeps them apart
    Framing,
}
