//! The arguments of `greenloop chat`.

use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// The room: HOST:PORT, tcp://HOST:PORT, unix:PATH or unix:@NAME
    #[arg(value_name = "ENDPOINT")]
    pub(crate) endpoint: Endpoint,

    /// Come in by this name; without it the first line is the name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,

    /// Give up when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,
}

/// A name that a room of ours takes.
fn name(text: &str) -> crate::Result<String> {
    crate::apps::chat::check_name(text).map(|()| text.to_owned())
}
