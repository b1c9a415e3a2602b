//! The arguments of `greenloop tftp`.

use crate::cli::units;
use crate::net::Address;
use crate::proto::tftp::Mode;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TftpCommand {
    /// Read a file from a server
    #[command(after_help = "Examples:
  greenloop tftp get 127.0.0.1:6969 motd
  greenloop tftp get boot.example pxelinux.0 -o /srv/pxelinux.0 --blksize 8192
  greenloop tftp get [::1]:6969 log.txt -o - --mode netascii

The file is called NAME.part until all of it has come; if something fails, that is removed.
Exit code: 0 it is here, 1 it is not, 130 Ctrl-C.")]
    Get(TftpGetArgs),

    /// Write a file to a server
    #[command(after_help = "Examples:
  greenloop tftp put config.txt 127.0.0.1:6969
  greenloop tftp put config.txt router.example -o backup/router.txt --windowsize 1

The file first, then where it goes, as with cp. Exit code: 0 the server has confirmed all of
it, 1 it has not, 130 Ctrl-C.")]
    Put(TftpPutArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TftpGetArgs {
    /// The server; port 69 if none is given
    #[arg(value_name = "HOST[:PORT]", value_parser = server)]
    pub(crate) server: Address,

    /// The file's name there
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Write it to this file; - is standard output [default: the name without its folders]
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) transfer: TransferArgs,

    /// How long to stay afterwards, for a server that has not seen the last ACK [default: one
    /// and a half times --timeout]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(crate) dally: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct TftpPutArgs {
    /// The file to send
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// The server; port 69 if none is given
    #[arg(value_name = "HOST[:PORT]", value_parser = server)]
    pub(crate) server: Address,

    /// The file's name there [default: its own, without folders]
    #[arg(short, long, value_name = "REMOTE")]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) transfer: TransferArgs,
}

/// What both directions take.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Ask for blocks of so many bytes, 8 to 65464; 512 asks for nothing. 1428 fits an
    /// Ethernet packet with room for IPv6 and a tunnel
    #[arg(long, value_name = "BYTES", default_value = "1428", value_parser = clap::value_parser!(u16).range(8..=65464))]
    pub(crate) blksize: u16,

    /// Ask to send so many blocks before waiting for an ACK, 1 to 32767; 1 asks for nothing
    #[arg(long, value_name = "BLOCKS", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=32767))]
    pub(crate) windowsize: u16,

    /// Send again what was not answered for so long, then after twice that, up to eight times;
    /// whole seconds are asked of the server, too
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = wait)]
    pub(crate) timeout: Duration,

    /// Give up after so many tries more
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,

    /// Send bytes as they are, or text with its line ends as they are on the way
    #[arg(long, value_enum, default_value_t = ModeArg::Octet)]
    pub(crate) mode: ModeArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// Bytes as they are
    Octet,
    /// Text, whose lines end with CR LF on the way
    Netascii,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Octet => Self::Octet,
            ModeArg::Netascii => Self::Netascii,
        }
    }
}

/// Reads the address of a server, with TFTP's own port where there is none.
fn server(text: &str) -> Result<Address, String> {
    let bare = text.strip_prefix("udp://").unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, TFTP_PORT).into());
    }
    let is_whole = match bare.rsplit_once(']') {
        Some((_, after)) => !after.is_empty(),
        None => bare.contains(':') || bare.is_empty(),
    };
    let address = match is_whole {
        true => bare.parse(),
        false => format!("{bare}:{TFTP_PORT}").parse(),
    };
    address.map_err(|error: crate::Error| error.to_string())
}

/// Reads a wait that is not zero: that would be a flood.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    let wait = units::duration(text)?;
    if wait < WAIT_MIN {
        return Err("at least 10ms".into());
    }
    Ok(wait)
}

/// The port of RFC 1350.
const TFTP_PORT: u16 = 69;
const WAIT_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_port_is_69_unless_it_is_given() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1:69"),
            ("127.0.0.1:6969", "127.0.0.1:6969"),
            ("boot.example", "boot.example:69"),
            ("boot.example:70", "boot.example:70"),
            ("::1", "[::1]:69"),
            ("[::1]", "[::1]:69"),
            ("[::1]:6969", "[::1]:6969"),
            ("udp://h:1", "h:1"),
        ] {
            assert_eq!(server(text).map(|a| a.to_string()).as_deref(), Ok(shown));
        }
        for text in ["", "h:", "h:x", "tcp://h:1:2", "[::1", "a b"] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
