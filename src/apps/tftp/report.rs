//! What a server tells of its transfers.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client reads it.
    Read,
    /// The client writes it.
    Write,
}

/// A transfer that is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// Who asked for it.
    pub peer: SocketAddr,
    /// Which way the file went.
    pub direction: Direction,
    /// The file's name, escaped.
    pub file: String,
    /// Bytes of the file that went.
    pub bytes: u64,
    /// From the request on.
    pub elapsed: Duration,
    /// Blocks that were sent, or that came, more than once.
    pub repeated: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The file is at the other side.
    Complete,
    /// It is, as far as can be known: the ACK of the last block has not come.
    Unconfirmed,
    /// The request was refused, in these words.
    Refused(String),
    /// The client ended it, in these words (escaped).
    Aborted(String),
    /// The client fell silent.
    Silent,
    /// It failed here, in these words.
    Failed(String),
    /// It was cut off when the server stopped, or the client asked for something else.
    Killed,
}

impl Outcome {
    /// Tells whether the file went over.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Complete | Self::Unconfirmed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Unconfirmed => f.write_str("complete, the last ACK did not come"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Aborted(why) => write!(f, "aborted by the client: {why}"),
            Self::Silent => f.write_str("the client fell silent"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Killed => f.write_str("cut off"),
        }
    }
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Transfers that were begun.
    pub begun: u64,
    /// Of them, those whose file went over.
    pub succeeded: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that failed in another way.
    pub failed: u64,
    /// Those that were cut off.
    pub killed: u64,
    /// Those that are running.
    pub running: u64,
    /// Requests that were turned away because enough transfers were running.
    pub surplus: u64,
    /// Requests that came again while their transfer ran.
    pub repeated: u64,
    /// Datagrams that were no requests.
    pub junk: u64,
    /// Bytes of files that were read by clients.
    pub bytes_out: u64,
    /// Bytes of files that were written by clients.
    pub bytes_in: u64,
}
