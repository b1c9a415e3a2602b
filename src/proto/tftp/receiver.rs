//! The end of a transfer that gets the file.

use std::time::Duration;

use super::options::{Agreed, Terms};
use super::packet::Packet;
use super::retry::{Retry, Tries};
use super::sender::option_ack;
use super::{End, absolute};

/// Gets a file's blocks in order, and confirms them window by window.
///
/// Fed and asked like a [`Sender`](super::Sender). The last block is not confirmed before
/// [`Receiver::confirm`] says that the file is safe: who gets its ACK may rely on it. After
/// that the receiver is to stay for a while (it *dallies*) and is fed with what comes, so
/// that a sender whose last ACK was lost gets another one.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::{Packet, Received, Receiver, Retry, Terms};
/// use std::time::Duration;
///
/// let retry = Retry::new(Duration::from_secs(1), 5);
/// let mut receiver = Receiver::new(Terms::default(), retry);
/// let last = Packet::Data { block: 1, bytes: b"a short file" };
/// assert_eq!(receiver.receive(&last), Received::Last(b"a short file"));
///
/// let mut datagram = Vec::new();
/// assert!(!receiver.next_packet(&mut datagram));
/// receiver.confirm(); // it is on the disk
/// assert!(receiver.next_packet(&mut datagram));
/// assert_eq!(datagram, b"\x00\x04\x00\x01");
///
/// receiver.receive(&last); // our ACK was lost
/// assert!(receiver.next_packet(&mut datagram));
/// ```
#[derive(Debug)]
pub struct Receiver {
    block_size: usize,
    window: u64,
    size: Option<u64>,
    /// What is said until the first block comes: a server's OACK or ACK 0, a client's ACK 0
    /// after an OACK. A client that got neither has nothing to say.
    opening: Option<Vec<u8>>,
    /// Something is to be sent: the opening, or the ACK of what has come.
    answer_is_due: bool,
    /// The next block. Blocks count from 1 and do not wrap here.
    expected: u64,
    /// Blocks that have come since the last ACK.
    unconfirmed: u64,
    bytes: u64,
    /// The last block that came too early since something came in order.
    early: Option<u64>,
    /// A block that ended the file before its size, and how long it was.
    short: Option<(u64, usize)>,
    stage: Stage,
    tries: Tries,
    repeats: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Receiving,
    /// All has come, and is being put where it is safe.
    Whole,
    /// The last block is confirmed.
    Dallying,
}

/// What a packet was to a [`Receiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing new.
    Nothing,
    /// The file's next bytes. The wait for the next packet begins anew.
    Bytes(&'a [u8]),
    /// The file's last bytes, perhaps none. [`Receiver::confirm`] is to follow.
    Last(&'a [u8]),
}

impl Receiver {
    /// One whose peer begins to send by itself: a client's, without options.
    pub fn new(terms: Terms, retry: Retry) -> Self {
        let retry = terms.timeout.map_or(retry, |first| retry.with_first(first));
        Self {
            block_size: terms.block_size.max(1),
            window: terms.window.max(1).into(),
            size: terms.size,
            opening: None,
            answer_is_due: false,
            expected: 1,
            unconfirmed: 0,
            bytes: 0,
            early: None,
            short: None,
            stage: Stage::Receiving,
            tries: Tries::new(retry),
            repeats: 0,
            end: None,
        }
    }

    /// One that begins with ACK 0: a client's after an OACK.
    #[must_use]
    pub fn opening_with_ack(mut self) -> Self {
        self.opening = Some(Packet::Ack { block: 0 }.to_bytes());
        self.answer_is_due = true;
        self
    }

    /// One that begins with the OACK, or with ACK 0 if there are no options: a server's.
    #[must_use]
    pub fn opening_with(mut self, agreed: &[Agreed]) -> Self {
        if agreed.is_empty() {
            return self.opening_with_ack();
        }
        self.opening = Some(option_ack(agreed));
        self.answer_is_due = true;
        self
    }

    /// Makes only so many tries after the first until the peer is heard.
    #[must_use]
    pub fn wary(mut self, retries: u32) -> Self {
        self.tries.limit_until_heard(retries);
        self
    }

    /// Lets blocks be of any total length, whatever size was told: netascii changes it.
    #[must_use]
    pub fn of_any_size(mut self) -> Self {
        self.size = None;
        self
    }

    /// Puts the next packet that is to be sent in `out`; false if there is none for now.
    pub fn next_packet(&mut self, out: &mut Vec<u8>) -> bool {
        if self.end.is_some() || !std::mem::take(&mut self.answer_is_due) {
            return false;
        }
        match &self.opening {
            Some(opening) if self.expected == 1 => {
                out.clear();
                out.extend_from_slice(opening);
            }
            None if self.expected == 1 => return false,
            _ => {
                let block = (self.expected - 1) as u16;
                Packet::Ack { block }.write(out);
            }
        }
        true
    }

    /// Takes a packet of the peer's.
    pub fn receive<'a>(&mut self, packet: &Packet<'a>) -> Received<'a> {
        match packet {
            _ if self.end.is_some() || self.stage == Stage::Whole => {}
            Packet::Data { block, bytes } => return self.data(*block, bytes),
            // Our ACK 0 was lost.
            Packet::OptionAck(_) if self.expected == 1 => self.answer(),
            Packet::Error { code, text } if self.stage == Stage::Receiving => {
                self.end = Some(End::Refused(*code, text.to_vec()));
            }
            _ => {}
        }
        Received::Nothing
    }

    fn data<'a>(&mut self, wire: u16, bytes: &'a [u8]) -> Received<'a> {
        match absolute(self.expected, wire) {
            Some(block) if block == self.expected && self.stage == Stage::Receiving => {
                return self.next_block(bytes);
            }
            Some(block) if block > self.expected => self.too_early(block),
            Some(block) => self.too_late(block),
            None => {}
        }
        Received::Nothing
    }

    fn next_block<'a>(&mut self, bytes: &'a [u8]) -> Received<'a> {
        if bytes.len() > self.block_size {
            self.end = Some(End::Broken("a block is larger than agreed"));
            return Received::Nothing;
        }
        let is_last = bytes.len() < self.block_size;
        let total = self.bytes + bytes.len() as u64;
        match self.size {
            Some(size) if total > size => {
                self.end = Some(End::Broken("the file is longer than its size"));
                return Received::Nothing;
            }
            Some(size) if is_last && total < size => return self.ends_early(bytes.len()),
            _ => {}
        }
        self.bytes = total;
        self.expected += 1;
        self.early = None;
        self.tries.heard();
        if is_last {
            self.stage = Stage::Whole;
            return Received::Last(bytes);
        }
        self.unconfirmed += 1;
        if self.unconfirmed >= self.window {
            self.answer();
        }
        Received::Bytes(bytes)
    }

    /// A datagram that was cut off on its way looks like the last one of a file. If it comes
    /// the same a second time, the sender means it.
    fn ends_early<'a>(&mut self, length: usize) -> Received<'a> {
        let seen = (self.expected, length);
        if self.short == Some(seen) {
            self.end = Some(End::Broken("the file ends before its size"));
        }
        self.short = Some(seen);
        Received::Nothing
    }

    /// Something before `block` was lost: says so, once for each window that comes so.
    fn too_early(&mut self, block: u64) {
        let is_told = self.early.is_some_and(|early| block > early);
        self.early = Some(block);
        if !is_told && self.stage == Stage::Receiving {
            self.answer();
        }
    }

    /// The sender has not seen our last ACK, if this is what it was for.
    fn too_late(&mut self, block: u64) {
        self.repeats += 1;
        if block > 0 && block + 1 == self.expected && self.unconfirmed == 0 {
            self.answer();
        }
    }

    fn answer(&mut self) {
        self.unconfirmed = 0;
        self.answer_is_due = true;
    }

    /// Says that the whole file is safe: now its last block is confirmed.
    pub fn confirm(&mut self) {
        if self.stage == Stage::Whole {
            self.stage = Stage::Dallying;
            self.answer();
        }
    }

    /// Takes the news that nothing came for as long as [`Receiver::wait`] said.
    pub fn time_out(&mut self) {
        if self.end.is_some() || self.stage != Stage::Receiving {
            return;
        }
        if self.tries.try_again() {
            self.answer();
        } else {
            self.end = Some(End::Silent);
        }
    }

    /// How long to wait for the next packet.
    pub fn wait(&self) -> Duration {
        self.tries.wait()
    }

    /// Why it ended without the whole file. A whole one has no end by itself: after
    /// [`Receiver::confirm`] it is over when nobody has asked for a while.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Blocks that came more than once.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }
}
