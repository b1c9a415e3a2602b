//! `greenloop serve hello`.

use super::{ServerArgs, data_logger};
use crate::apps::hello::{Event, Hello};
use crate::cli::printer::Lines;
use crate::cli::{Outcome, units};
use crate::server::ConnInfo;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:9999")))]
pub(crate) struct HelloArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Say this first; '' says nothing
    #[arg(long, value_name = "TEXT", default_value = "hello!")]
    welcome: String,

    /// Answer so, with the name where {} stands
    #[arg(long, value_name = "TEXT", default_value = "Hello, {}!")]
    reply: String,

    /// Say this before closing
    #[arg(long, value_name = "TEXT", default_value = "")]
    bye: String,

    /// Wait so long before each answer; only the client that asked waits
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::duration)]
    delay: Duration,

    /// Print a line `recv:` with each name, escaped for terminals
    #[arg(long)]
    log_data: bool,
}

/// Greets until a signal.
pub(super) fn run(args: &HelloArgs) -> Outcome {
    let hello = Hello::new()
        .welcome(&args.welcome)
        .reply(&args.reply)
        .bye(&args.bye)
        .delay(args.delay);
    let log_data = args.log_data;
    super::run(&args.server, move |lines| {
        Ok(hello.watcher(watcher(lines, log_data)))
    })
}

/// Prints who comes and goes in the tutorials' words.
fn watcher(lines: &Lines, log_data: bool) -> impl Fn(&ConnInfo, Event<'_>) + Send + Sync + 'static {
    let (log, lines) = (data_logger(lines), lines.clone());
    move |conn, event| match event {
        Event::Opened => lines.say(format!("Accept new connection from {}...", conn.peer)),
        Event::Name(name) if log_data => log(conn, name),
        Event::Name(_) => {}
        Event::Closed => lines.offer(format!("Connection from {} closed.", conn.peer)),
    }
}
