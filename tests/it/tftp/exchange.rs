//! A `Sender` and a `Receiver` with a bad network between them, in memory and in time that
//! only counts.

use std::collections::BTreeMap;
use std::time::Duration;

use greenloop::proto::tftp::{
    Decoder, End, ErrorCode, Packet, Received, Receiver, Retry, Sender, Terms, encode,
};

use super::Dice;

/// How bad the network is, in percent, and what a packet's journey takes in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Faults {
    lost: u64,
    doubled: u64,
    delayed: u64,
    cut: u64,
}

const NONE: Faults = Faults {
    lost: 0,
    doubled: 0,
    delayed: 0,
    cut: 0,
};
const RETRY_MS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Receiver,
}

/// One transfer with its network.
struct World {
    dice: Dice,
    faults: Faults,
    now: u64,
    /// What is on its way: when it arrives, a number to keep the order, to whom.
    flights: BTreeMap<(u64, u64), (Side, Vec<u8>)>,
    /// Packets that were sent, and flights that were begun.
    sent: u64,
    begun: u64,
    sender: Sender,
    receiver: Receiver,
    terms: Terms,
    /// The receiver has got the OACK: a client makes it then.
    is_open: bool,
    file: Vec<u8>,
    offset: usize,
    got: Vec<u8>,
    is_whole: bool,
    /// When each end stops waiting.
    limits: [u64; 2],
    /// Drops what this says, whatever the dice say.
    #[expect(clippy::type_complexity, reason = "a test's own")]
    filter: Option<Box<dyn FnMut(Side, &Packet<'_>) -> bool>>,
}

fn retry() -> Retry {
    Retry::new(Duration::from_millis(RETRY_MS), 6)
}

impl World {
    fn new(seed: u64, file: Vec<u8>, terms: Terms, faults: Faults) -> Self {
        let agreed = [("blksize", terms.block_size as u64)];
        Self {
            dice: Dice(seed),
            faults,
            now: 0,
            flights: BTreeMap::new(),
            sent: 0,
            begun: 0,
            sender: Sender::new(terms, retry()).opening_with(&agreed),
            receiver: Receiver::new(terms, retry()),
            terms,
            is_open: false,
            file,
            offset: 0,
            got: Vec::new(),
            is_whole: false,
            limits: [RETRY_MS; 2],
            filter: None,
        }
    }

    fn fly(&mut self, to: Side, bytes: &[u8]) {
        let packet = Packet::parse(bytes).unwrap();
        self.sent += 1;
        if self.filter.as_mut().is_some_and(|drops| drops(to, &packet))
            || self.dice.percent(self.faults.lost)
        {
            return;
        }
        let copies = if self.dice.percent(self.faults.doubled) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.dice.percent(self.faults.cut) {
                bytes.truncate(self.dice.roll() as usize % bytes.len());
            }
            let late = self.dice.percent(self.faults.delayed);
            let takes = if late { self.dice.roll() % 300 } else { 1 };
            self.begun += 1;
            self.flights
                .insert((self.now + takes, self.begun), (to, bytes));
        }
    }

    /// Lets both say what they have to say.
    fn flush(&mut self) {
        let mut packet = Vec::new();
        while self.sender.room() > 0 {
            let end = (self.offset + self.sender.room()).min(self.file.len());
            self.sender.feed(&self.file[self.offset..end]);
            if end == self.offset {
                self.sender.finish();
            }
            self.offset = end;
        }
        while self.sender.next_packet(&mut packet) {
            self.fly(Side::Receiver, &packet.clone());
        }
        while self.receiver.next_packet(&mut packet) {
            self.fly(Side::Sender, &packet.clone());
        }
    }

    fn arrive(&mut self, to: Side, bytes: &[u8]) {
        let Ok(packet) = Packet::parse(bytes) else {
            return; // cut off on its way
        };
        if to == Side::Receiver && !std::mem::replace(&mut self.is_open, true) {
            self.receiver = Receiver::new(self.terms, retry()).opening_with_ack();
            return;
        }
        let moved = match to {
            Side::Sender => self.sender.receive(&packet),
            Side::Receiver => match self.receiver.receive(&packet) {
                Received::Nothing => false,
                Received::Bytes(bytes) => {
                    self.got.extend_from_slice(bytes);
                    true
                }
                Received::Last(bytes) => {
                    self.got.extend_from_slice(bytes);
                    self.is_whole = true;
                    self.receiver.confirm();
                    true
                }
            },
        };
        if moved {
            self.arm(to);
        }
    }

    fn arm(&mut self, side: Side) {
        let wait = match side {
            Side::Sender => self.sender.wait(),
            Side::Receiver => self.receiver.wait(),
        };
        self.limits[side as usize] = self.now + wait.as_millis() as u64;
    }

    /// Goes on to the next thing that happens; false when the sender has ended.
    fn step(&mut self) -> bool {
        self.flush();
        if self.sender.end().is_some() {
            return false;
        }
        let next_limit = self.limits.iter().min().copied().unwrap();
        match self.flights.first_key_value() {
            Some((&(at, order), _)) if at <= next_limit => {
                self.now = at;
                let (to, bytes) = self.flights.remove(&(at, order)).unwrap();
                self.arrive(to, &bytes);
            }
            _ => {
                self.now = next_limit;
                if self.limits[0] == next_limit {
                    self.sender.time_out();
                    self.arm(Side::Sender);
                } else {
                    self.receiver.time_out();
                    self.arm(Side::Receiver);
                }
            }
        }
        true
    }

    fn run(&mut self) -> &End {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 2_000_000, "it does not end");
        }
        self.sender.end().unwrap()
    }
}

fn terms(block_size: usize, window: u16, size: Option<u64>) -> Terms {
    Terms {
        block_size,
        window,
        size,
        ..Terms::default()
    }
}

#[test]
fn files_arrive_whole_over_any_network() {
    let mut dice = Dice(0x7f7f);
    for round in 0..400 {
        let seed = dice.roll();
        let block_size = [8, 9, 64, 512, 1428][dice.roll() as usize % 5];
        let window = [1, 1, 2, 4, 8, 64][dice.roll() as usize % 6];
        let blocks = dice.roll() as usize % 60;
        let extra = [0, 0, 1, block_size - 1][dice.roll() as usize % 4];
        let file = dice.file(blocks * block_size + extra);
        // Packets that are cut off can only be told from short ones by the size.
        let size = dice.percent(50).then_some(file.len() as u64);
        let faults = Faults {
            lost: dice.roll() % 12,
            doubled: dice.roll() % 15,
            delayed: dice.roll() % 15,
            cut: if size.is_some() { dice.roll() % 3 } else { 0 },
        };
        let what = format!("round {round}, seed {seed}, {block_size} × {window}, {faults:?}");
        let mut world = World::new(seed, file.clone(), terms(block_size, window, size), faults);
        let end = world.run().clone();
        // A cut packet that comes twice the same is taken for the sender's will.
        if let Some(End::Broken(_)) = world.receiver.end() {
            assert!(!world.is_whole && faults.cut > 0, "{what}");
            continue;
        }
        assert!(
            matches!(end, End::Complete | End::Unconfirmed),
            "{what}: {end:?}"
        );
        assert!(world.is_whole && world.got == file, "{what}");
    }
}

#[test]
fn a_good_network_sees_each_block_and_each_ack_once() {
    // The OACK and ACK 0; DATA and ACKs.
    for (length, window, packets) in [
        (0, 1, 2 + 2),
        (512, 1, 2 + 4),
        (511, 1, 2 + 2),
        (512 * 8, 8, 2 + 9 + 2),
        (512 * 7, 8, 2 + 8 + 1),
    ] {
        let file = Dice(1).file(length);
        let mut world = World::new(1, file.clone(), terms(512, window, None), NONE);
        assert_eq!(world.run(), &End::Complete);
        assert!(world.got == file, "{length} bytes");
        assert_eq!(world.sent, packets, "{length} bytes");
        assert_eq!(world.sender.resent(), 0);
    }
}

/// The Sorcerer's Apprentice: with every packet doubled, and nothing lost, the number of
/// packets must stay what it is.
#[test]
fn doubled_packets_do_not_multiply() {
    for window in [1, 4] {
        let file = Dice(2).file(512 * 200);
        let faults = Faults {
            doubled: 100,
            ..NONE
        };
        let mut world = World::new(2, file.clone(), terms(512, window, None), faults);
        assert_eq!(world.run(), &End::Complete);
        assert!(world.got == file);
        let resent = world.sender.resent();
        assert!(
            resent <= if window == 1 { 0 } else { 110 },
            "{resent} blocks again"
        );
    }
}

#[test]
fn block_numbers_wrap() {
    for window in [1, 16] {
        let file = Dice(3).file(8 * 131_100 + 3);
        let faults = Faults {
            lost: 1,
            doubled: 1,
            delayed: 0,
            cut: 0,
        };
        let mut world = World::new(3, file.clone(), terms(8, window, None), faults);
        assert_eq!(world.run(), &End::Complete);
        assert!(world.got == file);
    }
}

#[test]
fn a_lost_last_ack_is_repeated_while_the_receiver_dallies() {
    let file = Dice(4).file(512 * 3);
    let mut world = World::new(4, file.clone(), terms(512, 1, None), NONE);
    let mut losses = 3;
    world.filter = Some(Box::new(move |_, packet| {
        let hit = matches!(packet, Packet::Ack { block: 4 }) && losses > 0;
        losses -= i32::from(hit);
        hit
    }));
    assert_eq!(world.run(), &End::Complete);
    assert_eq!(world.sender.resent(), 3);
}

#[test]
fn a_sender_whose_last_block_only_is_unconfirmed_did_not_fail() {
    let mut world = World::new(5, Dice(5).file(512 * 3), terms(512, 1, None), NONE);
    world.filter = Some(Box::new(|_, packet| {
        matches!(packet, Packet::Ack { block: 4 })
    }));
    assert_eq!(world.run(), &End::Unconfirmed);
    assert!(world.is_whole);

    let mut world = World::new(5, Dice(5).file(512 * 3), terms(512, 1, None), NONE);
    world.filter = Some(Box::new(|_, packet| {
        matches!(packet, Packet::Ack { block: 3.. })
    }));
    assert_eq!(
        world.run(),
        &End::Silent,
        "the last but one is a file that lacks something"
    );
}

#[test]
fn a_peer_that_was_never_heard_gets_few_tries() {
    let mut sender = Sender::new(Terms::default(), retry()).wary(2);
    sender.feed(b"short");
    sender.finish();
    let (mut packet, mut sent) = (Vec::new(), 0);
    while sender.end().is_none() {
        sent += usize::from(sender.next_packet(&mut packet));
        sender.time_out();
    }
    assert_eq!((sender.end(), sent), (Some(&End::Silent), 3));
}

#[test]
fn acks_of_the_past_and_of_the_future_move_nothing() {
    let mut sender = Sender::new(Terms::default(), retry());
    sender.feed(&[7; 512 * 4]);
    sender.finish();
    let mut packet = Vec::new();
    assert!(sender.next_packet(&mut packet));
    for block in [0, 2, 3, 4, 5, 100, 32_768, 65_535] {
        assert!(!sender.receive(&Packet::Ack { block }), "ACK {block}");
        assert!(!sender.next_packet(&mut packet), "ACK {block}");
    }
    assert!(sender.receive(&Packet::Ack { block: 1 }));
    assert!(sender.next_packet(&mut packet));
    assert_eq!(packet[..4], [0, 3, 0, 2]);
    let stray = Packet::Data {
        block: 1,
        bytes: b"x",
    };
    assert!(!sender.receive(&stray) && !sender.receive(&Packet::OptionAck(vec![])));
}

#[test]
fn a_lost_block_amid_a_window_is_asked_for_at_once() {
    let file = Dice(6).file(512 * 40);
    let mut world = World::new(6, file.clone(), terms(512, 8, None), NONE);
    let mut lost = false;
    world.filter = Some(Box::new(move |_, packet| {
        let hit = matches!(packet, Packet::Data { block: 12, .. }) && !lost;
        lost |= hit;
        hit
    }));
    assert_eq!(world.run(), &End::Complete);
    assert!(
        world.got == file && world.now < RETRY_MS,
        "nobody waited for a timeout"
    );
}

#[test]
fn the_first_block_of_a_window_is_asked_for_too() {
    let file = Dice(7).file(512 * 40);
    let mut world = World::new(7, file.clone(), terms(512, 8, None), NONE);
    let mut lost = false;
    world.filter = Some(Box::new(move |_, packet| {
        let hit = matches!(packet, Packet::Data { block: 17, .. }) && !lost;
        lost |= hit;
        hit
    }));
    assert_eq!(world.run(), &End::Complete);
    assert!(
        world.got == file && world.now < RETRY_MS,
        "nobody waited for a timeout"
    );
}

#[test]
fn blocks_that_break_the_agreement_end_the_transfer() {
    let data = |block, bytes| Packet::Data { block, bytes };
    let broken = |receiver: &Receiver| matches!(receiver.end(), Some(End::Broken(_)));

    let mut receiver = Receiver::new(Terms::default(), retry());
    assert_eq!(receiver.receive(&data(1, &[0; 513])), Received::Nothing);
    assert!(broken(&receiver), "a block that is too large");

    let mut receiver = Receiver::new(terms(512, 1, Some(600)), retry());
    assert!(matches!(
        receiver.receive(&data(1, &[0; 512])),
        Received::Bytes(_)
    ));
    receiver.receive(&data(2, &[0; 89]));
    assert!(broken(&receiver), "more bytes than were announced");

    let mut receiver = Receiver::new(terms(512, 1, Some(600)), retry());
    assert_eq!(receiver.receive(&data(1, &[0; 100])), Received::Nothing);
    assert!(!broken(&receiver), "it may have been cut off on its way");
    assert_eq!(receiver.receive(&data(1, &[0; 100])), Received::Nothing);
    assert!(broken(&receiver), "it is what the sender wants to say");
}

#[test]
fn an_error_of_the_peer_ends_either_side_with_its_words() {
    let error = Packet::Error {
        code: ErrorCode::Full,
        text: b"no room",
    };
    let end = End::Refused(ErrorCode::Full, b"no room".to_vec());
    let mut sender = Sender::new(Terms::default(), retry());
    sender.receive(&error);
    assert_eq!(sender.end(), Some(&end));
    let mut receiver = Receiver::new(Terms::default(), retry());
    receiver.receive(&error);
    assert_eq!(receiver.end(), Some(&end));
}

#[test]
fn text_passes_block_borders_in_netascii() {
    let text: Vec<u8> = (0..4000).map(|n| b"ab\n\rc\r\n"[n % 7]).collect();
    let mut wire = Vec::new();
    encode(&text, &mut wire);
    let mut world = World::new(8, wire, terms(8, 4, None), NONE);
    assert_eq!(world.run(), &End::Complete);
    let (mut decoder, mut back) = (Decoder::new(), Vec::new());
    for block in world.got.chunks(8) {
        decoder.decode(block, &mut back);
    }
    decoder.finish(&mut back);
    assert!(back == text);
}
