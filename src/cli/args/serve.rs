//! `greenloop serve`: which servers there are, and what they have in common.

use crate::cli::serve::chat::ChatArgs;
use crate::cli::serve::chatroom::ChatroomArgs;
use crate::cli::serve::echo::EchoArgs;
use crate::cli::serve::hello::HelloArgs;
use crate::cli::serve::tftp::TftpArgs;
use crate::cli::serve::upload::UploadArgs;
use crate::cli::units::{self, Limit};
use crate::net::Endpoint;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum ServeCommand {
    /// Send back what comes in, a greenlet per connection
    #[command(after_help = "Examples:
  greenloop serve echo
  greenloop serve echo --listen 127.0.0.1:0 --listen [::1]:7788 --idle-timeout 5m
  greenloop serve echo --listen tcp://:7788 --listen udp://:7788
  greenloop serve echo --model epoll

SIGINT or SIGTERM drains: no new connections, idle ones are closed, the rest may finish
within --drain. A second signal ends at once. Exit code 0 if nobody was cut off,
1 if somebody was.")]
    Echo(EchoArgs),

    /// Show what is said in datagrams to everybody, with the time and the sender
    #[command(after_help = "Examples:
  greenloop serve chatroom
  greenloop serve chatroom --listen udp://:7788 --relay --member-timeout 10m

To join: greenloop connect udp://127.0.0.1:7788. With --relay each line goes to all others who
have said something within --member-timeout, and to nobody else. What one sender says beyond
--rate a second is not heard. SIGINT or SIGTERM ends it with exit code 0.")]
    Chatroom(ChatroomArgs),

    /// Greet who sends a name, until they send exit or end
    #[command(after_help = "Examples:
  greenloop serve hello --delay 1s
  greenloop serve hello --welcome '' --reply '{} 是的呢' --bye bye
  greenloop serve hello --listen udp://:9000

What arrives at once is a name, without a line end. A client that sends line ends is read by
lines from then on, so that several names may come at once. A name has at most 8191 bytes. A
datagram is a name, and gets the answer alone: no welcome, no bye.")]
    Hello(HelloArgs),

    /// Take files and put them into a folder
    #[command(after_help = "Examples:
  greenloop serve upload --dir incoming
  greenloop serve upload --dir incoming --listen :7789 --max-size 100M --overwrite

The partner is greenloop upload FILE HOST:PORT. Names are made safe: none leaves the folder,
none is hidden. A file is there when it is whole, checked and on the disk; of an upload that
ends early nothing is left. Clients that pause for --idle-timeout are cut, and those that only
drip are refused (--min-speed). Anybody who reaches the address may upload.")]
    Upload(UploadArgs),

    /// Serve a folder's files over TFTP
    #[command(after_help = "Examples:
  greenloop serve tftp --root /srv/tftp
  greenloop serve tftp --root incoming --writable --max-size 100M --listen :69

Options of RFC 2347 to 2349 and 7440 are agreed on. A file that is written is seen when all
of it is on the disk. SIGINT or SIGTERM drains: no new requests, running transfers may finish
within --drain. A second signal ends at once. Exit code 0 if nobody was cut off,
1 if somebody was.")]
    Tftp(TftpArgs),

    /// Hold a chat room: everybody sees what the others say
    #[command(after_help = "Examples:
  greenloop serve chat --log-data
  greenloop serve chat --listen :7788 --members 50 --history 20

Join with greenloop chat, or with nc HOST PORT: the first line is a name, each further one
is said; /help tells the commands. Times are UTC. A line has at most 8192 bytes. Who does
not read what is said is out when 1024 lines or 1 MiB wait, and who says more than 10 lines
or 10 KiB a second is read more slowly.")]
    Chat(ChatArgs),
}

/// What every server takes.
///
/// Flattened into the arguments of each, which name where it listens by default:
/// `#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7788")))]`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArgs {
    /// Address to listen on: HOST:PORT, tcp://HOST:PORT, unix:PATH or unix:@NAME; port 0 lets
    /// the system choose, an empty host means every address; may be given more than once
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Endpoint>,

    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// How long what is open may take to finish after the first signal
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(crate) drain: Duration,
}

/// What every server of connections takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,

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
}
