//! Packets as bytes and as values. All numbers are big endian; texts end with a zero byte.
//!
//! ```text
//!   RRQ, WRQ  1 or 2 | name 0 | mode 0 | option 0 value 0 …
//!   DATA      3 | block | bytes          ACK    4 | block
//!   ERROR     5 | code | text 0          OACK   6 | option 0 value 0 …
//! ```

use std::fmt;

/// A packet, with what it carries still in the datagram.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::Packet;
///
/// let packet = Packet::Data { block: 7, bytes: b"text" };
/// let mut datagram = Vec::new();
/// packet.write(&mut datagram);
/// assert_eq!(datagram, b"\x00\x03\x00\x07text");
/// assert_eq!(Packet::parse(&datagram), Ok(packet));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ: the sender wants to read a file.
    Read(Request<'a>),
    /// WRQ: the sender wants to write a file.
    Write(Request<'a>),
    /// DATA: a block of the file; the last one is shorter than the block size.
    Data {
        /// Its number, from 1; after 65,535 comes 0.
        block: u16,
        /// What it holds.
        bytes: &'a [u8],
    },
    /// ACK: everything up to this block has arrived.
    Ack {
        /// Its number.
        block: u16,
    },
    /// ERROR: the transfer is over.
    Error {
        /// What happened, as a number.
        code: ErrorCode,
        /// What happened, in words.
        text: &'a [u8],
    },
    /// OACK: the options that the server takes, with its values.
    OptionAck(OptionList<'a>),
}

/// Names and values, in the order in which they came.
pub type OptionList<'a> = Vec<(&'a [u8], &'a [u8])>;

/// What an RRQ or a WRQ asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The file's name; never empty.
    pub file: &'a [u8],
    /// How its bytes are to be taken.
    pub mode: Mode,
    /// The options that were asked for.
    pub options: OptionList<'a>,
}

/// How a file's bytes travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    #[default]
    Octet,
    /// As text, whose lines end with CR LF on the way; see [`encode`](super::encode).
    Netascii,
}

impl Mode {
    /// Its name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
        }
    }
}

/// The number in an ERROR packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0: only the text tells.
    Undefined,
    /// 1: file not found.
    NotFound,
    /// 2: access violation.
    Access,
    /// 3: disk full or allocation exceeded.
    Full,
    /// 4: illegal TFTP operation.
    Illegal,
    /// 5: unknown transfer ID.
    UnknownTransfer,
    /// 6: file already exists.
    Exists,
    /// 7: no such user.
    NoUser,
    /// 8: the options are not acceptable (RFC 2347).
    Options,
    /// One that no RFC knows.
    Other(u16),
}

impl ErrorCode {
    /// The number itself.
    pub fn number(self) -> u16 {
        match self {
            Self::Undefined => 0,
            Self::NotFound => 1,
            Self::Access => 2,
            Self::Full => 3,
            Self::Illegal => 4,
            Self::UnknownTransfer => 5,
            Self::Exists => 6,
            Self::NoUser => 7,
            Self::Options => 8,
            Self::Other(number) => number,
        }
    }

    fn of(number: u16) -> Self {
        let known = [
            Self::Undefined,
            Self::NotFound,
            Self::Access,
            Self::Full,
            Self::Illegal,
            Self::UnknownTransfer,
            Self::Exists,
            Self::NoUser,
            Self::Options,
        ];
        known
            .get(usize::from(number))
            .copied()
            .unwrap_or(Self::Other(number))
    }
}

/// The texts of RFC 1350 and 2347, in lower case.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undefined => "error",
            Self::NotFound => "file not found",
            Self::Access => "access violation",
            Self::Full => "disk full or allocation exceeded",
            Self::Illegal => "illegal TFTP operation",
            Self::UnknownTransfer => "unknown transfer ID",
            Self::Exists => "file already exists",
            Self::NoUser => "no such user",
            Self::Options => "options are not acceptable",
            Self::Other(number) => return write!(f, "error {number}"),
        })
    }
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It ends too early.
    Short,
    /// A request without a file name.
    Nameless,
    /// A request in a mode that is neither octet nor netascii (`mail` is none either).
    Mode,
    /// It begins with a number that is no packet's.
    Kind(u16),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the packet is cut off"),
            Self::Nameless => f.write_str("the request has no file name"),
            Self::Mode => f.write_str("the mode is neither octet nor netascii"),
            Self::Kind(number) => write!(f, "there is no packet {number}"),
        }
    }
}

impl<'a> Packet<'a> {
    /// Takes a datagram apart.
    ///
    /// An ERROR whose text has no end, an option without its value at the end of a request,
    /// and bytes after an ACK are taken as implementations send them.
    ///
    /// # Errors
    /// Says why it is no packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, rest) = number(datagram)?;
        match kind {
            1 => Request::parse(rest).map(Self::Read),
            2 => Request::parse(rest).map(Self::Write),
            3 => number(rest).map(|(block, bytes)| Self::Data { block, bytes }),
            4 => number(rest).map(|(block, _)| Self::Ack { block }),
            5 => number(rest).map(|(code, text)| Self::Error {
                code: ErrorCode::of(code),
                text: text.split(|byte| *byte == 0).next().unwrap_or_default(),
            }),
            6 => Ok(Self::OptionAck(options(rest))),
            other => Err(Malformed::Kind(other)),
        }
    }

    /// Puts its bytes in place of what `out` holds.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Read(request) => request.write(1, out),
            Self::Write(request) => request.write(2, out),
            Self::Data { block, bytes } => {
                begin(out, 3, *block);
                out.extend_from_slice(bytes);
            }
            Self::Ack { block } => begin(out, 4, *block),
            Self::Error { code, text } => {
                begin(out, 5, code.number());
                text_to(out, text);
            }
            Self::OptionAck(options) => {
                out.extend_from_slice(&6u16.to_be_bytes());
                options_to(out, options);
            }
        }
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

impl<'a> Request<'a> {
    fn parse(rest: &'a [u8]) -> Result<Self, Malformed> {
        let (file, rest) = text(rest).ok_or(Malformed::Short)?;
        let (mode, rest) = text(rest).ok_or(Malformed::Short)?;
        if file.is_empty() {
            return Err(Malformed::Nameless);
        }
        let mode = [Mode::Octet, Mode::Netascii]
            .into_iter()
            .find(|known| mode.eq_ignore_ascii_case(known.name().as_bytes()))
            .ok_or(Malformed::Mode)?;
        let options = options(rest);
        Ok(Self {
            file,
            mode,
            options,
        })
    }

    fn write(&self, kind: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(&kind.to_be_bytes());
        text_to(out, self.file);
        text_to(out, self.mode.name().as_bytes());
        options_to(out, &self.options);
    }
}

fn number(bytes: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed::Short)?;
    Ok((u16::from_be_bytes(*number), rest))
}

/// The bytes before the first zero, and those after it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn options(mut rest: &[u8]) -> OptionList<'_> {
    let mut list = Vec::new();
    while let Some((name, after)) = text(rest)
        && let Some((value, after)) = text(after)
    {
        list.push((name, value));
        rest = after;
    }
    list
}

fn begin(out: &mut Vec<u8>, kind: u16, number: u16) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
}

/// A zero inside would end it early, so it is left out.
fn text_to(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().filter(|byte| **byte != 0));
    out.push(0);
}

fn options_to(out: &mut Vec<u8>, options: &[(&[u8], &[u8])]) {
    for (name, value) in options {
        text_to(out, name);
        text_to(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were_written() {
        let request = Request {
            file: b"boot/kernel",
            mode: Mode::Octet,
            options: vec![(b"blksize", b"1428"), (b"tsize", b"0")],
        };
        for packet in [
            Packet::Read(request.clone()),
            Packet::Write(request),
            Packet::Data {
                block: 65_535,
                bytes: b"",
            },
            Packet::Ack { block: 0 },
            Packet::Error {
                code: ErrorCode::Other(99),
                text: b"odd",
            },
            Packet::OptionAck(vec![(b"windowsize", b"4")]),
            Packet::OptionAck(vec![]),
        ] {
            assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
        }
    }

    #[test]
    fn what_is_no_packet_is_said() {
        let cases: &[(&[u8], Malformed)] = &[
            (b"", Malformed::Short),
            (b"\x00", Malformed::Short),
            (b"\x00\x03\x00", Malformed::Short),
            (b"\x00\x04\x00", Malformed::Short),
            (b"\x00\x05\x00", Malformed::Short),
            (b"\x00\x01file\0octet", Malformed::Short),
            (b"\x00\x01file", Malformed::Short),
            (b"\x00\x01\0octet\0", Malformed::Nameless),
            (b"\x00\x02file\0mail\0", Malformed::Mode),
            (b"\x00\x02file\0\0", Malformed::Mode),
            (b"\x00\x00", Malformed::Kind(0)),
            (b"\x00\x07\x00\x00", Malformed::Kind(7)),
            (b"GET / HTTP/1.1", Malformed::Kind(0x4745)),
        ];
        for (bytes, why) in cases {
            assert_eq!(Packet::parse(bytes), Err(*why), "{bytes:?}");
        }
    }

    #[test]
    fn what_implementations_send_is_taken() {
        let Ok(Packet::Read(request)) = Packet::parse(b"\x00\x01f\0OcTeT\0blksize\0") else {
            panic!("an option without a value is left out");
        };
        assert_eq!(request.options, []);
        assert_eq!(
            Packet::parse(b"\x00\x05\x00\x01no end"),
            Ok(Packet::Error {
                code: ErrorCode::NotFound,
                text: b"no end"
            })
        );
        assert_eq!(
            Packet::parse(b"\x00\x04\x00\x02padding"),
            Ok(Packet::Ack { block: 2 })
        );
    }

    #[test]
    fn every_error_number_is_its_own() {
        for number in 0..=300 {
            assert_eq!(ErrorCode::of(number).number(), number);
        }
    }
}
