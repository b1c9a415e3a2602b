//! `greenloop serve chatroom`.

use super::CommonArgs;
use super::datagrams::run_datagrams;
use crate::apps::chatroom::{Chatroom, Rules};
use crate::cli::{Outcome, units};
use crate::net::Endpoint;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::num::NonZeroUsize;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    mut_arg("listen", |listen| listen
        .default_value("127.0.0.1:7788")
        .value_parser(Endpoint::parse_udp)
        .help(
            "Address to listen on: HOST:PORT, udp://HOST:PORT, unixgram:PATH or unixgram:@NAME; \
             port 0 lets the system choose, an empty host means every address; may be given \
             more than once"
        ))
)]
pub(crate) struct ChatroomArgs {
    #[command(flatten)]
    common: CommonArgs,

    /// Send each line to all others who have said something lately
    #[arg(long)]
    relay: bool,

    /// Send nothing more to who has said nothing for so long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = units::duration)]
    member_timeout: Duration,

    /// Senders known at a time; with --relay, more are not heard until one has been silent
    #[arg(long, value_name = "N", default_value = "256")]
    max_members: NonZeroUsize,

    /// Messages a second that are heard of one sender; twice as many at once
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        value_parser = RangedU64ValueParser::<u32>::new().range(1..=1000)
    )]
    rate: u32,

    /// Bytes of a message that are shown
    #[arg(long, value_name = "SIZE", default_value = "1K", value_parser = units::length)]
    max_text: usize,
}

/// Shows what is said until a signal.
pub(super) fn run(args: &ChatroomArgs) -> Outcome {
    let rules = Rules::new()
        .relay(args.relay)
        .member_timeout(args.member_timeout)
        .members_max(args.max_members.get())
        .text_bytes_max(args.max_text)
        .rate(args.rate * 2, Duration::from_secs(1) / args.rate);
    // Here, on the main thread: it reads files, and takes much stack.
    let zone = TimeZone::system();
    run_datagrams(&args.common, move |lines| {
        let lines = lines.clone();
        let clock = move || {
            let now = Timestamp::now().to_zoned(zone.clone());
            now.strftime(LIKE_CTIME).to_string()
        };
        Ok(Chatroom::new(rules, clock, move |line| lines.say(line)))
    })
}

/// As C's `ctime` writes it, in English everywhere.
const LIKE_CTIME: &str = "%a %b %e %H:%M:%S %Y";
