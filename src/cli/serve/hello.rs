//! `greenloop serve hello`.

use super::datagrams::{LISTEN_ANY, Program, run_both};
use super::{ServerArgs, data_logger};
use crate::apps::hello::{Event, Hello};
use crate::cli::printer::Lines;
use crate::cli::{Outcome, units};
use crate::net::Addr;
use crate::server::ConnInfo;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:9999").help(LISTEN_ANY)))]
pub(crate) struct HelloArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Say this first; '' says nothing
    #[arg(long, value_name = "TEXT", default_value = "hello!")]
    welcome: String,

    /// Answer so, with the name where {} stands [default: "Hello, {}!", to datagrams
    /// "Hello, {}"]
    #[arg(long, value_name = "TEXT")]
    reply: Option<String>,

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
        .bye(&args.bye)
        .delay(args.delay);
    let (stream, datagram) = match &args.reply {
        Some(reply) => (hello.clone().reply(reply), hello.reply(reply)),
        None => (hello.clone(), hello.reply("Hello, {}")),
    };
    // While one is waited with, others are answered.
    let handlers = if args.delay.is_zero() { 1 } else { DELAYED_MAX };
    let log_data = args.log_data;
    run_both(&args.server, move |lines| {
        Ok(Program {
            stream: stream.watcher(watcher(lines, log_data)),
            datagram: datagram.name_watcher(name_watcher(lines, log_data)),
            handlers,
        })
    })
}

/// Prints who has sent a datagram, and what.
fn name_watcher(lines: &Lines, log_data: bool) -> impl Fn(&Addr, &[u8]) + Send + Sync + 'static {
    let (log, lines) = (data_logger(lines), lines.clone());
    move |peer, name| {
        lines.say(format!("Received from {peer}."));
        if log_data {
            log(peer, name);
        }
    }
}

/// Prints who comes and goes in the tutorials' words.
fn watcher(lines: &Lines, log_data: bool) -> impl Fn(&ConnInfo, Event<'_>) + Send + Sync + 'static {
    let (log, lines) = (data_logger(lines), lines.clone());
    move |conn, event| match event {
        Event::Opened => lines.say(format!("Accept new connection from {}...", conn.peer)),
        Event::Name(name) if log_data => log(&conn.peer, name),
        Event::Name(_) => {}
        Event::Closed => lines.offer(format!("Connection from {} closed.", conn.peer)),
    }
}

/// So many datagrams wait for their answers at once.
const DELAYED_MAX: usize = 1024;
