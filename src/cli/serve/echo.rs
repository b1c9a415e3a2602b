//! `greenloop serve echo`.

use super::datagrams::{LISTEN_ANY, Program, run_both};
use super::models::{self, Given, ModelArgs};
use super::{ServerArgs, data_logger};
use crate::apps::echo::Echo;
use crate::cli::Outcome;
use clap::Args;

#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7788").help(LISTEN_ANY)))]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    given: Given,

    #[command(flatten)]
    server: ServerArgs,

    /// Print a line `recv:` with each message, escaped for terminals
    #[arg(long)]
    log_data: bool,

    #[command(flatten)]
    models: ModelArgs,
}

/// Sends everything back until a signal.
pub(super) fn run(args: &EchoArgs) -> Outcome {
    if let Some(outcome) = models::run(&args.models, &args.given, &args.server) {
        return outcome;
    }
    let log_data = args.log_data;
    run_both(&args.server, move |lines| {
        let echo = if log_data {
            Echo::with_logger(data_logger(lines))
        } else {
            Echo::new()
        };
        Ok(Program {
            stream: echo.clone(),
            datagram: echo,
            handlers: 1,
        })
    })
}
