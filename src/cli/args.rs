//! The command line: what can be asked, with defaults and units.

use super::units::{self, Limit};
use crate::net::Address;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// gevent for Rust: servers and downloads as plain blocking-style code on green threads.
#[derive(Debug, Parser)]
#[command(
    name = "greenloop",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Say more on standard error: once for info, twice for debug [default: warnings only;
    /// the variable RUST_LOG, if set, wins]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything on loopback in under 20 seconds, with figures; needs no network
    #[command(after_help = "Example:\n  greenloop tour")]
    Tour,

    /// Run the switch demos: the same output on every run
    #[command(after_help = "Examples:
  greenloop demo yield --rounds 2
  greenloop demo gevent --sleep --delay 100ms
  greenloop demo all --delay 0 --trace")]
    Demo(DemoArgs),

    /// Run a server
    #[command(
        subcommand,
        after_help = "Example:\n  greenloop serve echo --listen :7788"
    )]
    Serve(ServeCommand),

    /// Load an echo server and measure it: rate, latency percentiles, errors
    #[command(after_help = "Examples:
  greenloop load 127.0.0.1:7788
  greenloop load localhost:7788 -c 1000 -s 4K -d 30s --json")]
    Load(LoadArgs),

    /// Download many URLs at once, a greenlet per URL
    #[command(after_help = "Examples:
  greenloop get https://example.com/a.iso https://example.com/b.iso -d downloads
  generate-urls | greenloop get -i - -j 64 --json

Exit code: 0 all arrived, 1 some did not, 2 wrong usage, 130 interrupted (run the same
command again to go on where it stopped).")]
    Get(GetArgs),
}

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
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServeCommand {
    /// Send back what comes in, a greenlet per connection
    #[command(after_help = "Examples:
  greenloop serve echo
  greenloop serve echo --listen 127.0.0.1:0 --listen [::1]:7788 --idle-timeout 5m

SIGINT or SIGTERM drains: no new connections, idle ones are closed, the rest may finish
within --drain. A second signal ends at once. Exit code 0 after a drain.")]
    Echo(EchoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Address to listen on, HOST:PORT or tcp://HOST:PORT; port 0 lets the system choose,
    /// an empty host means every address; may be given more than once
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7788")]
    pub(crate) listen: Vec<Address>,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Connections served at once; more wait in the kernel's queue [default: 10000, or what
    /// the descriptor limit allows]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<NonZeroUsize>,

    /// Close a connection on which nothing arrived for so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::limit)]
    pub(crate) idle_timeout: Limit,

    /// Close a connection whose peer takes no answer for so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::limit)]
    pub(crate) write_timeout: Limit,

    /// How long open connections may take to finish after the first signal
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(crate) drain: Duration,

    /// Print a line `recv:` with each message, escaped for terminals
    #[arg(long)]
    pub(crate) log_data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The echo server, HOST:PORT or tcp://HOST:PORT
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,

    /// Connections at once
    #[arg(short = 'c', long, value_name = "N", default_value = "64")]
    pub(crate) connections: NonZeroUsize,

    /// Message size in bytes: 64, 4K, 1M
    #[arg(short = 's', long, value_name = "BYTES", default_value = "64", value_parser = units::length)]
    pub(crate) size: usize,

    /// How long to send
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "5s", value_parser = units::duration)]
    pub(crate) duration: Duration,

    /// An answer that takes longer is an error
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to download
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from a file, one a line, `#` comments; `-` is standard input; may be given
    /// more than once
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input_file: Vec<PathBuf>,

    /// Save into this folder, made if missing
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = ".",
        visible_alias = "output-dir"
    )]
    pub(crate) dir: PathBuf,

    /// Save the one URL under this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) out: Option<String>,

    /// Downloads at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "16",
        visible_alias = "max-concurrent-downloads"
    )]
    pub(crate) jobs: NonZeroUsize,

    /// Downloads at once from one host [default: as many as --jobs]
    #[arg(long, value_name = "N", visible_alias = "max-per-host")]
    pub(crate) per_host: Option<NonZeroUsize>,

    /// Retries after a failure that may pass
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) retries: u32,

    /// Give up a try when nothing arrives for so long; 0 never does
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Give up a try when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// Give up a URL after so long, retries included; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) max_time: Limit,

    /// What to do where a file of the name is there already
    #[arg(long, value_enum, value_name = "HOW", default_value = "number")]
    pub(crate) existing: ExistingArg,

    /// Do not flush each file to the disk: faster with many small files, less safe in a power
    /// cut
    #[arg(long)]
    pub(crate) no_sync: bool,

    /// Print one JSON object per URL and one for all, instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExistingArg {
    /// Save beside it: photo.1.jpg
    Number,
    /// Replace it when the new one is whole
    Overwrite,
    /// Leave it and count the URL as done
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_how_it_is_used() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no description");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name} {} has no help",
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands() {
                let example = inner
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    example.starts_with("Example"),
                    "{} has no example",
                    inner.get_name()
                );
                check(inner);
            }
        }
        check(&Cli::command());
    }
}
