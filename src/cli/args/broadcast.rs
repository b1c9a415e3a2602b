//! The arguments of `greenloop broadcast`.

use crate::cli::units;
use clap::Args;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct BroadcastArgs {
    /// Port at which the others listen
    #[arg(value_name = "PORT")]
    pub(crate) port: NonZeroU16,

    /// What to say
    #[arg(value_name = "MESSAGE", default_value = "Hi")]
    pub(crate) message: String,

    /// Listen for answers so long [default: until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) wait: Option<Duration>,

    /// Broadcast address to send to; may be given more than once
    #[arg(long, value_name = "IP", default_value = "255.255.255.255")]
    pub(crate) address: Vec<Ipv4Addr>,
}
