//! One end of a transfer on the network: a socket and the one peer it talks to.

use std::net::SocketAddr;

use crate::error::{Error, Result};
use crate::net::UdpSocket;
use crate::proto::tftp::{ErrorCode, Packet};
use crate::runtime::deadline::Deadline;

/// A socket of a transfer's own; with the peer's address it is what RFC 1350 calls the
/// transfer identifiers.
pub(super) struct Link {
    socket: UdpSocket,
    peer: SocketAddr,
    buffer: Vec<u8>,
    /// A datagram of the peer's that was received before there was a link.
    first: Option<Vec<u8>>,
    /// Strangers that may still be answered.
    strangers: u32,
}

/// Answers to strangers, in a transfer: an honest one needs one, and nobody is to use us for
/// a flood.
const STRANGERS_MAX: u32 = 64;
/// An ERROR or an OACK may be longer than a small block.
const PACKET_MIN: usize = 1024;

impl Link {
    pub(super) fn new(socket: UdpSocket, peer: SocketAddr) -> Self {
        Self {
            socket,
            peer,
            buffer: Vec::new(),
            first: None,
            strangers: STRANGERS_MAX,
        }
    }

    /// Makes room for blocks of this size, and for a byte more: one that is too large shows.
    pub(super) fn expect_blocks(&mut self, block_size: usize) {
        self.buffer.resize(PACKET_MIN.max(4 + block_size + 1), 0);
    }

    /// Lets `datagram`, which came before, be the first that is received.
    pub(super) fn give_back(&mut self, datagram: Vec<u8>) {
        self.first = Some(datagram).filter(|datagram| !datagram.is_empty());
    }

    /// Sends a packet. One that the system does not take is as good as lost on the way: what
    /// is not answered is sent again, and that has an end.
    ///
    /// # Errors
    /// The caller was killed or timed out.
    #[track_caller]
    pub(super) fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.send_to(packet, self.peer)
    }

    #[track_caller]
    fn send_to(&mut self, packet: &[u8], peer: SocketAddr) -> Result<()> {
        match self.socket.send_to(packet, peer).map_err(Error::from) {
            Err(error) if error.is_cancelled() || error.timeout_id().is_some() => Err(error),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Ends the transfer at the peer, too; nobody waits for an answer.
    pub(super) fn send_error(&mut self, code: ErrorCode, text: &str) -> Result<()> {
        let text = text.as_bytes();
        self.send(&Packet::Error { code, text }.to_bytes())
    }

    /// The peer's next packet; `None` if none came before `limit`.
    ///
    /// Whoever else sends something is told that there is no such transfer, and changes
    /// nothing. What is no packet is thrown away.
    ///
    /// # Errors
    /// The caller was killed or timed out, or the socket fails.
    #[track_caller]
    pub(super) fn receive(&mut self, limit: Deadline) -> Result<Option<Packet<'_>>> {
        let length = loop {
            if let Some(first) = self.first.take() {
                let length = first.len().min(self.buffer.len());
                self.buffer[..length].copy_from_slice(&first[..length]);
                break length;
            }
            // What strangers send must not make the wait longer.
            if limit.is_passed() {
                return Ok(None);
            }
            let got = receive(&mut self.socket, &mut self.buffer, limit)?;
            let Some((length, from)) = got else {
                return Ok(None);
            };
            let packet = Packet::parse(&self.buffer[..length]);
            if from != self.peer {
                let is_answered = !matches!(packet, Ok(Packet::Error { .. }));
                self.turn_away(from, is_answered)?;
            } else if packet.is_ok() {
                break length;
            }
        };
        // Parsed twice, because a borrow cannot leave the loop only sometimes.
        Ok(Packet::parse(&self.buffer[..length]).ok())
    }

    fn turn_away(&mut self, stranger: SocketAddr, is_answered: bool) -> Result<()> {
        if !is_answered || self.strangers == 0 || stranger.port() == 0 {
            return Ok(());
        }
        self.strangers -= 1;
        let error = Packet::Error {
            code: ErrorCode::UnknownTransfer,
            text: b"unknown transfer ID",
        };
        self.send_to(&error.to_bytes(), stranger)
    }
}

/// The next datagram and where it is from; `None` if none came before `limit`.
#[track_caller]
pub(super) fn receive(
    socket: &mut UdpSocket,
    buffer: &mut [u8],
    limit: Deadline,
) -> Result<Option<(usize, SocketAddr)>> {
    loop {
        match socket
            .recv_from_deadline(buffer, limit)
            .map_err(Error::from)
        {
            Ok(got) => return Ok(Some(got)),
            Err(error) if error.is_own_limit() => return Ok(None),
            // News of an earlier packet that did not arrive.
            Err(error) if error.is_refused() || error.is_closed() => {}
            Err(error) => return Err(error),
        }
    }
}
