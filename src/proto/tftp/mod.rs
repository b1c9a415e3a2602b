//! TFTP without sockets, files or clocks: RFC 1350, and the options of RFC 2347 (how they
//! are agreed on), 2348 (`blksize`), 2349 (`timeout`, `tsize`) and 7440 (`windowsize`).
//!
//! Here: packets as bytes and as values, what client and server agree on, text in
//! netascii, and the two ends of a transfer as state machines that are fed with packets and
//! with "nothing came in time". Not here: who the peer is (a packet from a stranger must
//! not get this far), files, and real time.
//!
//! ```text
//!   read   client: RRQ ──► server           client = Receiver, server = Sender
//!                  (OACK, ACK 0, if options were asked for)
//!                  DATA 1…w ──►, ◄── ACK w, …, a short DATA, its ACK
//!   write  client: WRQ ──► server           client = Sender, server = Receiver
//!                  (OACK or ACK 0), then as above
//! ```
//!
//! Block numbers have 16 bits and go on with 0 after 65,535, so a file has no largest size.

mod netascii;
mod options;
mod packet;
mod receiver;
mod retry;
mod sender;

pub use netascii::{Decoder, encode};
pub use options::{Agreed, Limits, Proposal, Size, Terms};
pub use packet::{ErrorCode, Malformed, Mode, OptionList, Packet, Request};
pub use receiver::{Received, Receiver};
pub use retry::Retry;
pub use sender::Sender;

/// How a transfer ended, as its end of it sees that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte arrived, and both ends know it.
    Complete,
    /// Every block but the last was confirmed, and then the peer fell silent: it has most
    /// likely got that one too and left, and its last ACK was lost. Only a [`Sender`] ends
    /// so.
    Unconfirmed,
    /// The peer sent an ERROR, with this text as it came.
    Refused(ErrorCode, Vec<u8>),
    /// The peer fell silent, however often it was asked.
    Silent,
    /// The peer broke the protocol, in these words; it is to be told so with an ERROR.
    Broken(&'static str),
}

/// The block that the 16 bits of `wire` mean, if it is one near `near`.
///
/// A window has at most 32,767 blocks, so whatever is on its way is nearer than half of
/// the numbers there are.
fn absolute(near: u64, wire: u16) -> Option<u64> {
    let distance = wire.wrapping_sub(near as u16) as i16;
    near.checked_add_signed(distance.into())
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn block_numbers_go_on_past_65_535() {
        assert_eq!(absolute(1, 1), Some(1));
        assert_eq!(absolute(1, 0), Some(0));
        assert_eq!(absolute(1, 65_535), None, "there is none before the first");
        assert_eq!(absolute(65_535, 0), Some(65_536));
        assert_eq!(absolute(65_536, 65_535), Some(65_535));
        assert_eq!(absolute(1 << 20, 5), Some((1 << 20) + 5));
        assert_eq!(absolute((1 << 32) + 3, 65_530), Some((1 << 32) - 6));
    }
}
