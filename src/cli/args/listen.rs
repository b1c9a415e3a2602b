//! The arguments of `greenloop listen`.

use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where to listen: HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, unixgram:PATH;
    /// port 0 lets the system choose, an empty host means every address
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Endpoint,

    /// Answer so: each client of a stream once, when its first bytes have come, and each
    /// datagram
    #[arg(long, value_name = "TEXT")]
    pub(crate) reply: Option<String>,

    /// End after one client, or one datagram; other clients are refused
    #[arg(long)]
    pub(crate) once: bool,

    /// Print bytes as they are, without senders; where it listens goes to standard error
    #[arg(long)]
    pub(crate) raw: bool,

    /// Close a connection on which nothing arrived for so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) idle_timeout: Limit,
}
