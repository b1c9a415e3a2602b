//! The end of a transfer that has the file.

use std::collections::VecDeque;
use std::time::Duration;

use super::options::{Agreed, Terms, as_texts};
use super::packet::Packet;
use super::retry::{Retry, Tries};
use super::{End, absolute};

/// Sends a file's blocks, window by window, until the last one is confirmed.
///
/// It is given bytes ([`Sender::feed`]), packets ([`Sender::receive`]) and the news that
/// none came ([`Sender::time_out`]); after each of them, [`Sender::next_packet`] gives what
/// is to be sent, until there is nothing more, and [`Sender::end`] tells whether it is over.
///
/// An ACK of what was confirmed before is not answered: two ends that answer duplicates
/// double the packets on their way for ever (the Sorcerer's Apprentice of RFC 1123). In a
/// window of several blocks it can mean that the first of them was lost, and is answered
/// once, but never in two windows in a row.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::{End, Packet, Retry, Sender, Terms};
/// use std::time::Duration;
///
/// let mut sender = Sender::new(Terms::default(), Retry::new(Duration::from_secs(1), 5));
/// assert!(sender.room() > 0);
/// sender.feed(b"a short file");
/// sender.finish();
///
/// let mut datagram = Vec::new();
/// assert!(sender.next_packet(&mut datagram));
/// assert_eq!(datagram, b"\x00\x03\x00\x01a short file");
/// assert!(!sender.next_packet(&mut datagram), "now it waits for the ACK");
/// assert!(sender.receive(&Packet::Ack { block: 1 }));
/// assert_eq!(sender.end(), Some(&End::Complete));
/// ```
#[derive(Debug)]
pub struct Sender {
    block_size: usize,
    window: u64,
    /// The OACK, until its ACK 0.
    opening: Option<Vec<u8>>,
    opening_is_due: bool,
    /// What is not confirmed, and what was read ahead: block `base` is at its begin.
    bytes: VecDeque<u8>,
    /// There is nothing behind `bytes`.
    is_whole: bool,
    /// The first block that is not confirmed. Blocks count from 1 and do not wrap here.
    base: u64,
    /// The next block to send, and the first that never was.
    next: u64,
    fresh: u64,
    /// Where a duplicate ACK was last answered.
    answered: Option<u64>,
    tries: Tries,
    /// The peer has confirmed something, so it exists and wants the file.
    is_heard: bool,
    resent: u64,
    confirmed: u64,
    end: Option<End>,
}

/// At least so much is asked for at once: a read costs a hand-over to another thread.
const READ_AHEAD: usize = 64 * 1024;

impl Sender {
    /// One that begins with block 1.
    pub fn new(terms: Terms, retry: Retry) -> Self {
        let retry = terms.timeout.map_or(retry, |first| retry.with_first(first));
        Self {
            block_size: terms.block_size.max(1),
            window: terms.window.max(1).into(),
            opening: None,
            opening_is_due: false,
            bytes: VecDeque::new(),
            is_whole: false,
            base: 1,
            next: 1,
            fresh: 1,
            answered: None,
            tries: Tries::new(retry),
            is_heard: false,
            resent: 0,
            confirmed: 0,
            end: None,
        }
    }

    /// One that first has the options confirmed; a server's, after [`Limits::agree`].
    ///
    /// [`Limits::agree`]: super::Limits::agree
    #[must_use]
    pub fn opening_with(mut self, agreed: &[Agreed]) -> Self {
        if !agreed.is_empty() {
            self.opening = Some(option_ack(agreed));
            self.opening_is_due = true;
        }
        self
    }

    /// Makes only so many tries after the first until the peer is heard: its address may be
    /// somebody else's, who never asked for anything.
    #[must_use]
    pub fn wary(mut self, retries: u32) -> Self {
        self.tries.limit_until_heard(retries);
        self
    }

    /// How many bytes it takes now; 0 while it has enough.
    pub fn room(&self) -> usize {
        let window = self.block_size.saturating_mul(self.window as usize);
        if self.is_whole || self.bytes.len() >= window || self.end.is_some() {
            return 0;
        }
        window.max(READ_AHEAD) - self.bytes.len() + self.block_size
    }

    /// Takes the next bytes of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Says that the file has no more bytes.
    pub fn finish(&mut self) {
        self.is_whole = true;
    }

    /// Puts the next packet that is to be sent in `out`; false if there is none for now.
    pub fn next_packet(&mut self, out: &mut Vec<u8>) -> bool {
        if self.end.is_some() {
            return false;
        }
        if let Some(opening) = &self.opening {
            out.clear();
            out.extend_from_slice(opening);
            return std::mem::take(&mut self.opening_is_due);
        }
        if self.next >= self.base + self.window {
            return false;
        }
        let Some((start, end)) = self.place_of(self.next) else {
            return false;
        };
        let (head, tail) = self.bytes.as_slices();
        let block = self.next as u16;
        Packet::Data { block, bytes: &[] }.write(out);
        out.extend_from_slice(part(head, start, end));
        out.extend_from_slice(part(
            tail,
            start.saturating_sub(head.len()),
            end.saturating_sub(head.len()),
        ));
        self.resent += u64::from(self.next < self.fresh);
        self.next += 1;
        self.fresh = self.fresh.max(self.next);
        true
    }

    /// Where a block stands in `bytes`, if it can be sent: whole, or as the file's end.
    fn place_of(&self, block: u64) -> Option<(usize, usize)> {
        let start = usize::try_from(block - self.base).ok()? * self.block_size;
        let end = start + self.block_size;
        if end <= self.bytes.len() {
            Some((start, end))
        } else if self.is_whole && start <= self.bytes.len() {
            Some((start, self.bytes.len()))
        } else {
            None
        }
    }

    /// The last block, which is shorter than the others, if it is known.
    fn last(&self) -> Option<u64> {
        let blocks = (self.bytes.len() / self.block_size) as u64;
        self.is_whole.then_some(self.base + blocks)
    }

    /// Takes a packet of the peer's; true if it has brought the transfer on, so that the
    /// wait for the next one begins anew.
    pub fn receive(&mut self, packet: &Packet<'_>) -> bool {
        match packet {
            _ if self.end.is_some() => false,
            Packet::Ack { block } => self.acknowledged(*block),
            Packet::Error { code, text } => {
                self.end = Some(End::Refused(*code, text.to_vec()));
                true
            }
            // A repeated answer to the request, or nonsense: the timer copes with both.
            _ => false,
        }
    }

    fn acknowledged(&mut self, wire: u16) -> bool {
        if self.opening.is_some() {
            if wire != 0 {
                return false;
            }
            self.opening = None;
            self.heard();
            return true;
        }
        match absolute(self.base, wire) {
            Some(block) if block >= self.base && block < self.fresh => {
                self.confirm(block);
                true
            }
            Some(block) if block + 1 == self.base => {
                self.answer_duplicate();
                false
            }
            // Long past, or not sent yet.
            _ => false,
        }
    }

    fn confirm(&mut self, block: u64) {
        let is_last = self.last() == Some(block);
        let confirmed = (block + 1 - self.base) as usize * self.block_size;
        let confirmed = confirmed.min(self.bytes.len());
        self.bytes.drain(..confirmed);
        self.confirmed += confirmed as u64;
        self.base = block + 1;
        // Also after an ACK amid the window: what came behind it was thrown away.
        self.next = self.base;
        self.heard();
        if is_last {
            self.end = Some(End::Complete);
        }
    }

    fn answer_duplicate(&mut self) {
        let rested = self
            .answered
            .is_none_or(|answered| self.base > answered + self.window);
        if self.window > 1 && self.next > self.base && rested {
            self.answered = Some(self.base);
            self.next = self.base;
        }
    }

    fn heard(&mut self) {
        self.is_heard = true;
        self.tries.heard();
    }

    /// Takes the news that nothing came for as long as [`Sender::wait`] said.
    pub fn time_out(&mut self) {
        if self.end.is_some() {
            return;
        }
        if self.tries.try_again() {
            self.next = self.base;
            self.opening_is_due = true;
        } else if self.is_closing() {
            self.end = Some(End::Unconfirmed);
        } else {
            self.end = Some(End::Silent);
        }
    }

    /// How long to wait for the next packet.
    pub fn wait(&self) -> Duration {
        self.tries.wait()
    }

    /// Tells whether all but the last block is confirmed, by a peer that was heard.
    pub fn is_closing(&self) -> bool {
        self.is_heard && self.opening.is_none() && self.last() == Some(self.base)
    }

    /// Tells whether the peer has confirmed anything.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// How it ended.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Bytes that the peer has confirmed.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Blocks that were sent more than once.
    pub fn resent(&self) -> u64 {
        self.resent
    }
}

/// The bytes of an OACK.
pub(super) fn option_ack(agreed: &[Agreed]) -> Vec<u8> {
    let texts = as_texts(agreed);
    let options = texts
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    Packet::OptionAck(options).to_bytes()
}

/// `bytes[start..end]`, as far as there are such.
fn part(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(bytes.len());
    &bytes[start.min(end)..end]
}
