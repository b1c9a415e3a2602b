//! `greenloop serve chat`.

use super::ServerArgs;
use crate::apps::chat::Chat;
use crate::cli::Outcome;
use clap::Args;
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
#[command(
    mut_arg("listen", |listen| listen.default_value("127.0.0.1:7788")),
    mut_arg("idle_timeout", |limit| limit.default_value("1h")),
    mut_arg("max_connections", |count| count.help(
        "Connections served at once; more wait in the kernel's queue [default: 5000, or what \
         the descriptor limit allows: each takes two]"
    )),
)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Members of the room; more are told that it is full
    #[arg(long, value_name = "N", default_value = "1000")]
    members: NonZeroUsize,

    /// Show newcomers the last N lines that were said, at most 500 and 64 KiB
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=500))]
    history: u16,

    /// Print what the room hears, escaped for terminals
    #[arg(long)]
    log_data: bool,
}

/// Holds a chat room until a signal.
pub(super) fn run(args: &ChatArgs) -> Outcome {
    let chat = Chat::with_limits(args.members.get(), args.history.into());
    let log_data = args.log_data;
    let mut server = args.server.clone();
    server.max_connections = server.max_connections.or_else(connections_by_default);
    super::run(&server, move |lines| {
        let lines = lines.clone();
        Ok(if log_data {
            chat.with_logger(move |line| lines.offer(line))
        } else {
            chat
        })
    })
}

/// Half of what others serve: a connection takes two descriptors.
fn connections_by_default() -> Option<NonZeroUsize> {
    NonZeroUsize::new(crate::server::max_connections_default() / 2)
}
