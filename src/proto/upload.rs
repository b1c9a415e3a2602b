//! What an upload says on the wire; `proto::frame` keeps its messages apart.
//!
//! Numbers are big endian. For each file, any number of them on one connection:
//!
//! | who | what | content |
//! |---|---|---|
//! | client | a frame | version (1 byte, 1), size (8 bytes), name (the rest, UTF-8, at most 1024 bytes) |
//! | server | a frame | status (1 byte, 0 is *send it*), text (the rest, UTF-8) |
//! | client | bytes | the content, as many as announced, with nothing around them |
//! | client | a frame | the CRC-32 of the content (4 bytes) |
//! | server | a frame | status (0 is *stored*), text: the name it has got |
//!
//! After another status than 0 in the first answer the client sends no content, and may go on
//! with the next file. The server may answer at any time while content comes (the disk is
//! full, say); then it takes no more and closes. A connection that ends before the second
//! answer has stored nothing.

use std::fmt;

/// The version of what is described here.
pub const VERSION: u8 = 1;

/// The longest name that may be asked for.
pub const NAME_BYTES_MAX: usize = 1024;

/// The longest first frame.
pub const HEADER_BYTES_MAX: usize = 1 + 8 + NAME_BYTES_MAX;

/// The longest answer.
pub const ANSWER_BYTES_MAX: usize = 4096;

/// The size of the frame after the content.
pub const SUM_BYTES: usize = 4;

/// What a client wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of the content in bytes.
    pub size: u64,
    /// What it shall be called; anything, so far.
    pub name: String,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Yes, or why not.
    pub status: Status,
    /// For people; the name, for a file that was stored.
    pub text: String,
}

/// The first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// 0: go on, or stored.
    Ok,
    /// 1: the frame before makes no sense.
    BadRequest,
    /// 2: no file can have this name.
    BadName,
    /// 3: more bytes than the server takes.
    TooLarge,
    /// 4: the disk is full.
    NoSpace,
    /// 5: the check sum says that other bytes came than were sent.
    Differs,
    /// 6: the server cannot store it.
    Failed,
    /// What a later version may say.
    Other(u8),
}

impl Status {
    const KNOWN: [Self; 7] = [
        Self::Ok,
        Self::BadRequest,
        Self::BadName,
        Self::TooLarge,
        Self::NoSpace,
        Self::Differs,
        Self::Failed,
    ];

    fn of(code: u8) -> Self {
        let known = Self::KNOWN.get(usize::from(code));
        known.copied().unwrap_or(Self::Other(code))
    }

    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::BadRequest => 1,
            Self::BadName => 2,
            Self::TooLarge => 3,
            Self::NoSpace => 4,
            Self::Differs => 5,
            Self::Failed => 6,
            Self::Other(code) => code,
        }
    }
}

/// Why a frame is no header or no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends too early.
    Short,
    /// Another version.
    Version(u8),
    /// The name is too long.
    Name,
    /// The name or the text is no UTF-8.
    Text,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a frame is too short"),
            Self::Version(version) => {
                write!(f, "version {version}, and only {VERSION} is understood")
            }
            Self::Name => write!(f, "a name of more than {NAME_BYTES_MAX} bytes"),
            Self::Text => f.write_str("a text is not UTF-8"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Header {
    /// The content of the frame.
    ///
    /// # Errors
    /// The name is too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::proto::upload::Header;
    ///
    /// let header = Header { size: 258, name: "a.txt".into() };
    /// let message = header.to_message()?;
    /// assert_eq!(message, b"\x01\0\0\0\0\0\0\x01\x02a.txt");
    /// assert_eq!(Header::from_message(&message)?, header);
    /// # Ok::<(), greenloop::proto::upload::Malformed>(())
    /// ```
    pub fn to_message(&self) -> Result<Vec<u8>, Malformed> {
        if self.name.len() > NAME_BYTES_MAX {
            return Err(Malformed::Name);
        }
        let size = self.size.to_be_bytes();
        Ok([&[VERSION][..], &size, self.name.as_bytes()].concat())
    }

    /// Reads what the frame held.
    ///
    /// # Errors
    /// It is no header of this version.
    pub fn from_message(message: &[u8]) -> Result<Self, Malformed> {
        // The version first: another one may have any form.
        let (version, rest) = message.split_first().ok_or(Malformed::Short)?;
        if *version != VERSION {
            return Err(Malformed::Version(*version));
        }
        let (size, name) = rest.split_first_chunk().ok_or(Malformed::Short)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Malformed::Name);
        }
        let name = std::str::from_utf8(name).map_err(|_| Malformed::Text)?;
        Ok(Self {
            size: u64::from_be_bytes(*size),
            name: name.to_owned(),
        })
    }
}

impl Answer {
    /// An answer.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    /// The content of the frame.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::proto::upload::{Answer, Status};
    ///
    /// let answer = Answer::new(Status::TooLarge, "at most 1 GiB");
    /// assert_eq!(answer.to_message(), b"\x03at most 1 GiB");
    /// assert_eq!(Answer::from_message(b"\x03at most 1 GiB"), Ok(answer));
    /// ```
    pub fn to_message(&self) -> Vec<u8> {
        let mut message = vec![self.status.code()];
        message.extend_from_slice(self.text.as_bytes());
        message
    }

    /// Reads what the frame held.
    ///
    /// # Errors
    /// It is no answer.
    pub fn from_message(message: &[u8]) -> Result<Self, Malformed> {
        let (code, text) = message.split_first().ok_or(Malformed::Short)?;
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Text)?;
        Ok(Self::new(Status::of(*code), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        for (size, name) in [
            (0, ""),
            (1, "a"),
            (u64::MAX, "../x"),
            (1 << 63, "我爱Python.txt"),
            (7, "a\0b\n"),
            (7, &"n".repeat(NAME_BYTES_MAX)),
        ] {
            let name = name.to_owned();
            let header = Header { size, name };
            let message = header.to_message().unwrap();
            assert!(message.len() <= HEADER_BYTES_MAX);
            assert_eq!(Header::from_message(&message), Ok(header));
        }
        let name = "n".repeat(NAME_BYTES_MAX + 1);
        let header = Header { size: 1, name };
        assert_eq!(header.to_message(), Err(Malformed::Name));
    }

    #[test]
    fn malformed_headers_are_told_apart() {
        let long = [&[VERSION; 9][..], &[b'n'; NAME_BYTES_MAX + 1]].concat();
        for (message, expected) in [
            (&b""[..], Malformed::Short),
            (b"\x01", Malformed::Short),
            (b"\x01\0\0\0\0\0\0\0", Malformed::Short),
            (b"\x02", Malformed::Version(2)),
            (b"GET / HTTP/1.1\r\n", Malformed::Version(b'G')),
            (b"\x01\0\0\0\0\0\0\0\x01\xff", Malformed::Text),
            (&long, Malformed::Name),
        ] {
            assert_eq!(Header::from_message(message), Err(expected), "{message:?}");
        }
    }

    #[test]
    fn answers_come_back_as_they_were() {
        for code in 0..=255 {
            let status = Status::of(code);
            assert_eq!(status.code(), code);
            let answer = Answer::new(status, "文");
            assert_eq!(Answer::from_message(&answer.to_message()), Ok(answer));
        }
        assert_eq!(Answer::from_message(b""), Err(Malformed::Short));
        assert_eq!(Answer::from_message(b"\0\xff"), Err(Malformed::Text));
    }
}
