//! The command line: what can be asked, with defaults and units.

mod backlog;
mod broadcast;
mod chat;
mod connect;
mod demo;
mod get;
mod listen;
mod load;
mod serve;
mod tftp;
mod tools;
mod upload;

pub(crate) use backlog::{BacklogCommand, BacklogProbeArgs, BacklogServeArgs};
pub(crate) use broadcast::BroadcastArgs;
pub(crate) use chat::ChatArgs;
pub(crate) use connect::ConnectArgs;
pub(crate) use demo::{DemoCommand, SwitchArgs};
pub(crate) use get::{GetArgs, InputArgs, SECRET, WatchArgs, shown};
pub(crate) use listen::ListenArgs;
pub(crate) use load::LoadArgs;
pub(crate) use serve::{CommonArgs, ServeCommand, ServerArgs};
pub(crate) use tftp::{TftpCommand, TftpGetArgs, TftpPutArgs, TransferArgs, wait as tftp_wait};
pub(crate) use tools::{CompletionsArgs, ManArgs, ShellArg};
pub(crate) use upload::UploadArgs;

use clap::{ArgAction, Parser, Subcommand};

/// gevent for Rust: servers and downloads as plain blocking-style code on green threads.
#[derive(Debug, Parser)]
#[command(name = "greenloop", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Say more on standard error: once for info, twice for debug [default: warnings only;
    /// the variable RUST_LOG, if set, wins]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the groups in which the help shows them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Demos(Demos),
    #[command(flatten)]
    Servers(Servers),
    #[command(flatten)]
    Clients(Clients),
    #[command(flatten)]
    Tools(Tools),
}

/// A group's title, and what adds its commands to a definition.
pub(crate) type Group = (&'static str, fn(clap::Command) -> clap::Command);

/// The groups of the help; the last one takes what the parser itself adds.
pub(crate) const GROUPS: &[Group] = &[
    ("Demos", Demos::augment_subcommands),
    ("Servers", Servers::augment_subcommands),
    ("Clients", Clients::augment_subcommands),
    ("Tools", Tools::augment_subcommands),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Demos {
    /// Show everything on loopback in under 20 seconds, with figures; needs no network
    #[command(after_help = "Example:\n  greenloop tour")]
    Tour,

    /// Run a demo
    #[command(
        subcommand,
        after_help = "Example:\n  greenloop demo gevent --sleep --delay 100ms"
    )]
    Demo(DemoCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Servers {
    /// Run a server
    #[command(
        subcommand,
        after_help = "Example:\n  greenloop serve echo --listen :7788"
    )]
    Serve(ServeCommand),

    /// Print what clients send, with the sender, and answer if told to
    #[command(after_help = "Examples:
  greenloop listen tcp://:7788 --reply 'thank you !' --once
  greenloop listen udp://:7788
  greenloop listen unix:/tmp/s --once --raw > received.bin

Without --raw each line is the sender's address and what it sent, escaped for terminals, whether
or not that has a line end. With --raw bytes are printed as they are, unless standard output is
a terminal; those of several clients mix.

Exit code: 0 after the one client, or after Ctrl-C without --once; 130 after Ctrl-C before the
one has been served; 1 after a failure.")]
    Listen(ListenArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Clients {
    /// Talk to a peer: what is typed or piped in is sent, what comes back is printed
    #[command(after_help = "Examples:
  greenloop connect 127.0.0.1:9999
  greenloop connect localhost:7788 < question.bin > answer.bin
  greenloop connect example.com:443 --tls
  echo client1 | greenloop connect udp://127.0.0.1:9000 --wait 500ms

The end of the input ends our direction of a stream; what the peer still says is printed. When
the peer ends, what is still in the input is sent, unless that is a terminal. A line of the
input is a datagram, with its line end; what is typed without one is sent as it is.

Bytes are printed as they are into a pipe or a file; on a terminal, what could control it is
escaped. Exit code: 0 the conversation has ended, 1 it failed, 130 Ctrl-C.")]
    Connect(ConnectArgs),

    /// Say something to everybody on the local network, and print who answers
    #[command(after_help = "Examples:
  greenloop broadcast 7788
  greenloop broadcast 7788 'who is there?' --wait 2s --address 192.168.1.255

To be heard: greenloop serve echo --listen udp://0.0.0.0:7788. Every answer is a line with its
sender. Ctrl-C ends it; exit code 0, however many have answered.")]
    Broadcast(BroadcastArgs),

    /// Take part in a chat room (serve chat)
    #[command(after_help = "Examples:
  greenloop chat 127.0.0.1:7788 --name ann
  { echo bot; tail -f log.txt; } | greenloop chat unix:/run/room

The first line is a name, each further one is said to the others; /who, /nick NAME, /help and
/quit are the room's commands. The end of the input leaves the room.

On a terminal, what could control it is escaped. Exit code: 0 the room or the input has ended,
1 it failed, 130 Ctrl-C.")]
    Chat(ChatArgs),

    /// Load an echo server and measure it: rate, latency percentiles, errors
    #[command(after_help = "Examples:
  greenloop load 127.0.0.1:7788
  greenloop load localhost:7788 -c 1000 -s 4K -d 30s --json")]
    Load(LoadArgs),

    /// Download many URLs at once, a greenlet per URL
    #[command(after_help = crate::cli::get::help::SHORT, after_long_help = crate::cli::get::help::long())]
    Get(Box<GetArgs>),

    /// Send files to a server of uploads
    #[command(
        override_usage = "greenloop upload [OPTIONS] <FILE>... <ADDR>",
        after_help = "Examples:
  greenloop upload photo.jpg notes.txt 192.0.2.7:7789
  greenloop upload build.log unix:/run/uploads --name \"$(date +%F).log\"

The partner is greenloop serve upload. Each file is checked at the other end, and is there
whole or not at all. Exit code: 0 all arrived, 1 some did not, 2 wrong usage."
    )]
    Upload(UploadArgs),

    /// Read or write a file over TFTP
    #[command(
        subcommand,
        after_help = "Example:\n  greenloop tftp get 127.0.0.1:6969 motd"
    )]
    Tftp(TftpCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tools {
    /// See how long connections wait when a listener's queue is full
    #[command(
        subcommand,
        after_help = "Example:\n  greenloop backlog serve --backlog 2 &\n  greenloop backlog probe 127.0.0.1:7790"
    )]
    Backlog(BacklogCommand),

    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  greenloop completions bash > ~/.local/share/bash-completion/completions/greenloop
  greenloop completions zsh > \"${fpath[1]}/_greenloop\"
  greenloop completions fish > ~/.config/fish/completions/greenloop.fish

To try it in a running bash: source <(greenloop completions bash)")]
    Completions(CompletionsArgs),

    /// Write the manual: a page for each command
    #[command(after_help = "Examples:
  greenloop man ~/.local/share/man/man1
  greenloop man . && man ./greenloop-serve-echo.1")]
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use crate::cli::help;

    #[test]
    fn definition_is_sound() {
        help::definition().debug_assert();
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
        check(&help::definition());
    }
}
