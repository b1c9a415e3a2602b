//! An HTTP server that does something wrong with every other request, by the dice. It
//! never lies about which version of a file its bytes are of: what it gets wrong can be
//! seen by a client that looks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::dice::Dice;
use crate::origin::{Request, Then, Wire};

/// Some files and what goes wrong with them.
#[derive(Debug)]
pub(crate) struct Faulty {
    files: Vec<Changing>,
    dice: Mutex<Dice>,
    faults: AtomicU64,
}

/// A file that changes now and then.
#[derive(Debug)]
struct Changing {
    versions: Vec<Vec<u8>>,
    newest: AtomicUsize,
    tag: Tag,
}

/// How the server tells versions apart.
#[derive(Clone, Copy, Debug)]
enum Tag {
    Strong,
    Weak,
    Date,
    Both,
    None,
}

/// What happens to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A status instead of a file.
    Status(&'static str, &'static str),
    /// The connection ends without an answer.
    NoAnswer(Then),
    /// It ends in the body.
    Cut(Then),
    /// It is chunked, and the last chunk does not come.
    CutChunk,
    /// Nothing comes for a moment.
    Stall,
    /// The whole file, whatever was asked for.
    IgnoreRange,
    /// A part of the newest version, whichever one was asked for.
    IgnoreIfRange,
    /// Another part than the one that was asked for, and it says so.
    OtherPart,
    /// A part that does not say which one it is.
    NamelessPart,
    /// A part as a MIME text.
    Multipart,
    /// A part that ends too early, and it says so.
    ShortPart,
    /// More bytes than the part has.
    LongPart,
}

const FAULTS: &[Fault] = &[
    Fault::Status("500 Oops", "X-None: 1"),
    Fault::Status("502 Oops", "X-None: 1"),
    Fault::Status("503 Busy", "Retry-After: 0"),
    Fault::Status("429 Too Many", "Retry-After: soon"),
    Fault::Status("408 Slow", "X-None: 1"),
    Fault::Status("416 No Such Range", "Content-Range: bytes */7"),
    Fault::Status("204 No Content", "X-None: 1"),
    Fault::NoAnswer(Then::Close),
    Fault::NoAnswer(Then::Reset),
    Fault::Cut(Then::Close),
    Fault::Cut(Then::Reset),
    Fault::Cut(Then::Close),
    Fault::Cut(Then::Reset),
    Fault::Cut(Then::Close),
    Fault::CutChunk,
    Fault::CutChunk,
    Fault::Stall,
    Fault::IgnoreRange,
    Fault::IgnoreIfRange,
    Fault::IgnoreIfRange,
    Fault::OtherPart,
    Fault::NamelessPart,
    Fault::Multipart,
    Fault::ShortPart,
    Fault::LongPart,
];

impl Faulty {
    pub(crate) fn new(files: usize, dice: &mut Dice) -> Self {
        Self {
            files: (0..files).map(|_| Changing::new(dice)).collect(),
            dice: Mutex::new(Dice::new(dice.roll())),
            faults: AtomicU64::new(0),
        }
    }

    /// How many answers had something wrong.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    /// Whether `bytes` are a version of file `n` that the server has had so far.
    pub(crate) fn has_served(&self, n: usize, bytes: &[u8]) -> bool {
        let newest = self.files[n].newest.load(Ordering::SeqCst);
        let versions = &self.files[n].versions[..=newest];
        versions.iter().any(|version| version == bytes)
    }

    /// The version of file `n` that the server has now.
    pub(crate) fn newest(&self, n: usize) -> &[u8] {
        &self.files[n].versions[self.files[n].newest.load(Ordering::SeqCst)]
    }

    pub(crate) fn answer(&self, request: &Request, wire: &mut Wire, is_faulty: bool) -> Then {
        let n: usize = request.path[1..].parse().unwrap();
        let file = &self.files[n];
        // Decided at once, so that nobody waits while an answer is sent.
        let (fault, place) = {
            let mut dice = self.dice.lock().unwrap();
            if is_faulty && dice.one_in(12) {
                file.change();
            }
            let fault = match is_faulty && dice.one_in(2) {
                true => FAULTS[dice.below(FAULTS.len())],
                false => Fault::None,
            };
            (fault, dice.roll() as usize)
        };
        if fault != Fault::None {
            self.faults.fetch_add(1, Ordering::SeqCst);
        }
        let version = file.newest.load(Ordering::SeqCst);
        let answer = Answer {
            body: &file.versions[version],
            stamps: file.tag.stamps(version),
            place,
        };
        answer.send(fault, request, wire)
    }
}

impl Changing {
    fn new(dice: &mut Dice) -> Self {
        let lengths: &[usize] = &[1, 100, 5000, 60_000, 200_000, 300_000];
        let longest = lengths[dice.below(lengths.len())];
        let length = dice.below(longest + 1);
        let version = |dice: &mut Dice| {
            // The same length is the harder case.
            let length = match dice.one_in(3) {
                true => dice.below(longest + 1),
                false => length,
            };
            let seed = dice.roll();
            let mut bytes = Dice::new(seed);
            (0..length).map(|_| bytes.roll() as u8).collect()
        };
        let tags = [Tag::Strong, Tag::Weak, Tag::Date, Tag::Both, Tag::None];
        Self {
            versions: (0..4).map(|_| version(dice)).collect(),
            newest: AtomicUsize::new(0),
            tag: tags[dice.below(tags.len())],
        }
    }

    fn change(&self) {
        let newest = self.newest.load(Ordering::SeqCst);
        let next = (newest + 1).min(self.versions.len() - 1);
        self.newest.store(next, Ordering::SeqCst);
    }
}

impl Tag {
    /// The header fields of a version.
    fn stamps(self, version: usize) -> Vec<String> {
        let tag = |weak: &str| format!("ETag: {weak}\"v{version}\"");
        // A minute between them: what is younger than a date can tell, no client trusts.
        let date = format!(
            "Date: Sun, 06 Nov 1994 10:00:00 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:{:02}:37 GMT",
            2 * version
        );
        match self {
            Self::Strong => vec![tag("")],
            Self::Weak => vec![tag("W/")],
            Self::Date => vec![date],
            Self::Both => vec![tag(""), date],
            Self::None => Vec::new(),
        }
    }
}

/// An answer in the making.
struct Answer<'a> {
    body: &'a [u8],
    stamps: Vec<String>,
    /// Where something goes wrong, to be taken modulo what there is.
    place: usize,
}

impl Answer<'_> {
    fn send(&self, fault: Fault, request: &Request, wire: &mut Wire) -> Then {
        match fault {
            Fault::Status(status, header) => {
                return wire.answer(status, &[header], b"nothing to save");
            }
            Fault::NoAnswer(then) => return then,
            _ => {}
        }
        let same = request.header("if-range").is_some_and(|asked| {
            let strong = |stamp: &str| !stamp.contains("W/") && stamp.ends_with(asked);
            self.stamps.iter().any(|stamp| strong(stamp))
        });
        let honours = request.header("if-range").is_none() || same || fault == Fault::IgnoreIfRange;
        let range = request
            .range()
            .filter(|(start, _)| *start < self.body.len())
            .filter(|_| honours && fault != Fault::IgnoreRange);
        match range {
            Some((start, last)) => {
                let end = last.map_or(self.body.len(), |last| self.body.len().min(last + 1));
                self.part(fault, wire, start, end)
            }
            None => self.body("200 OK", &[], self.body, fault, wire),
        }
    }

    fn part(&self, fault: Fault, wire: &mut Wire, start: usize, end: usize) -> Then {
        const STATUS: &str = "206 Partial Content";
        let total = self.body.len();
        let (start, end) = match fault {
            Fault::OtherPart => (self.place % total, total),
            Fault::ShortPart => (start, start + 1 + self.place % (end - start)),
            _ => (start, end),
        };
        let bytes = &self.body[start..end];
        let range = format!("Content-Range: bytes {start}-{}/{total}", end - 1);
        match fault {
            Fault::NamelessPart => self.body(STATUS, &[], bytes, fault, wire),
            Fault::Multipart => {
                let kind = "Content-Type: multipart/byteranges; boundary=b";
                let text = [format!("--b\r\n{range}\r\n\r\n").as_bytes(), bytes].concat();
                self.body(STATUS, &[kind], &text, fault, wire)
            }
            Fault::LongPart => {
                // The range tells the truth, the length and the body do not.
                let more = [bytes, b"more than there is"].concat();
                self.body(STATUS, &[&range], &more, fault, wire)
            }
            _ => self.body(STATUS, &[&range], bytes, fault, wire),
        }
    }

    fn body(
        &self,
        status: &str,
        headers: &[&str],
        bytes: &[u8],
        fault: Fault,
        wire: &mut Wire,
    ) -> Then {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        let stamps = self.stamps.iter().map(String::as_str);
        for header in headers.iter().copied().chain(stamps) {
            head.push_str(header);
            head.push_str("\r\n");
        }
        let cut = self.place % (bytes.len() + 1);
        if fault == Fault::CutChunk || (fault == Fault::None && self.place.is_multiple_of(4)) {
            wire.send(head + "Transfer-Encoding: chunked\r\n\r\n");
            return self.chunks(bytes, (fault == Fault::CutChunk).then_some(cut), wire);
        }
        wire.send(head + &format!("Content-Length: {}\r\n\r\n", bytes.len()));
        match fault {
            // All of it has come if the cut is at the end.
            Fault::Cut(then) => {
                wire.send(&bytes[..cut]);
                then
            }
            Fault::Stall => {
                wire.send(&bytes[..cut]);
                std::thread::sleep(Duration::from_millis(5));
                wire.send(&bytes[cut..]);
                Then::Keep
            }
            _ => {
                wire.send(bytes);
                Then::Keep
            }
        }
    }

    /// Sends chunks of several lengths; with `cut` only so many bytes, and no end.
    fn chunks(&self, bytes: &[u8], cut: Option<usize>, wire: &mut Wire) -> Then {
        let mut text = Vec::new();
        let mut ends = Vec::new();
        let mut left = bytes;
        for step in [1, 10, 1000, 7000, 20_000].into_iter().cycle() {
            let (chunk, rest) = left.split_at(left.len().min(step));
            if chunk.is_empty() {
                break;
            }
            text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            ends.push(text.len());
            text.extend_from_slice(b"\r\n");
            left = rest;
        }
        match cut {
            None => {
                text.extend_from_slice(b"0\r\n\r\n");
                wire.send(text);
                Then::Keep
            }
            Some(cut) => {
                // In the middle of a chunk, or right behind one.
                let end = match ends.is_empty() || self.place.is_multiple_of(2) {
                    true => cut.min(text.len()),
                    false => ends[cut % ends.len()],
                };
                wire.send(&text[..end]);
                Then::Close
            }
        }
    }
}
