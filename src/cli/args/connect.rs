//! The arguments of `greenloop connect`.

use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The peer: HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, unixgram:PATH; a
    /// path @NAME is in the abstract namespace
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Endpoint,

    /// Give up when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// Give up when nothing came or went for so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) idle_timeout: Limit,

    /// How long to wait for more when one side has ended: for input where the peer has, for
    /// answers where the input for datagrams has
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = units::duration)]
    pub(crate) wait: Duration,

    /// Speak TLS with a peer of streams
    #[arg(long)]
    pub(crate) tls: bool,

    /// Trust the certificates in this file (PEM) alone [default: Mozilla's]
    #[arg(long, value_name = "FILE", requires = "tls", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,

    /// Take anybody for whom they say they are: only for tests
    #[arg(long, requires = "tls", conflicts_with = "ca")]
    pub(crate) insecure: bool,

    /// Whose certificate the peer has to show [default: the host of the endpoint]
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub(crate) server_name: Option<String>,
}
