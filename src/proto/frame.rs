//! Messages on a stream of bytes: a length of 4 bytes, big endian, then so many bytes.
//!
//! A stream has no message boundaries: two sends may arrive as one read ("sticky packets"),
//! and one send as several. The prefix keeps them apart. Pure: reading and writing frames on
//! a connection is in `net`.

use std::fmt;

/// The size of the length before each message.
pub const PREFIX_BYTES: usize = 4;

/// A message that is longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// What the message has, or what its prefix says.
    pub length: usize,
    /// What was allowed.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { length, limit } = self;
        write!(f, "a frame of {length} bytes, and at most {limit} may be")
    }
}

impl std::error::Error for TooLong {}

/// Appends `message` with its length to `out`.
///
/// # Errors
/// The message is longer than four bytes can say; `out` is as it was.
///
/// # Examples
///
/// ```
/// let mut bytes = Vec::new();
/// greenloop::proto::frame::encode(b"hello", &mut bytes)?;
/// assert_eq!(bytes, b"\0\0\0\x05hello");
/// # Ok::<(), greenloop::proto::frame::TooLong>(())
/// ```
pub fn encode(message: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = u32::try_from(message.len()).map_err(|_| TooLong {
        length: message.len(),
        limit: u32::MAX as usize,
    })?;
    out.reserve(PREFIX_BYTES + message.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    Ok(())
}

/// What a prefix says, unless it is more than `limit`.
///
/// # Errors
/// It is more.
///
/// # Examples
///
/// ```
/// use greenloop::proto::frame::{TooLong, length};
///
/// assert_eq!(length([0, 0, 1, 2], 1000), Ok(258));
/// assert_eq!(length([0, 0, 1, 2], 257), Err(TooLong { length: 258, limit: 257 }));
/// ```
pub fn length(prefix: [u8; PREFIX_BYTES], limit: usize) -> Result<usize, TooLong> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit {
        return Err(TooLong { length, limit });
    }
    Ok(length)
}

/// Takes messages out of bytes that come in pieces of any size.
///
/// It holds what was given and not yet taken, never more: what a prefix claims is not
/// allocated.
///
/// # Examples
///
/// ```
/// use greenloop::proto::frame::Decoder;
///
/// let mut decoder = Decoder::new(64);
/// decoder.give(b"\0\0\0\x05hello\0\0\0\x05wor");
/// assert_eq!(decoder.take()?, Some(&b"hello"[..]));
/// assert_eq!(decoder.take()?, None);
/// assert!(!decoder.is_empty()); // a message has begun
/// decoder.give(b"ld");
/// assert_eq!(decoder.take()?, Some(&b"world"[..]));
/// assert!(decoder.is_empty());
///
/// decoder.give(b"\xff\xff\xff\xff");
/// let error = decoder.take().unwrap_err();
/// assert_eq!(error.to_string(), "a frame of 4294967295 bytes, and at most 64 may be");
/// # Ok::<(), greenloop::proto::frame::TooLong>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: usize,
    bytes: Vec<u8>,
    /// So many of them have been taken.
    taken: usize,
}

impl Decoder {
    /// A decoder that refuses messages of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: Vec::new(),
            taken: 0,
        }
    }

    /// Gives it the next bytes of the stream.
    ///
    /// To hold no more than one message and one piece, take all messages before the next one.
    pub fn give(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next message; `None` until it is whole.
    ///
    /// # Errors
    /// Its prefix says more than the limit. There is no way to find the next message then:
    /// every further call says the same.
    pub fn take(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let rest = &self.bytes[self.taken..];
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = length(*prefix, self.limit)?;
        if rest.len() < length {
            return Ok(None);
        }
        let begin = self.taken + PREFIX_BYTES;
        self.taken = begin + length;
        Ok(Some(&self.bytes[begin..self.taken]))
    }

    /// Tells whether the stream may end here: no message has begun.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(messages: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            encode(message, &mut bytes).unwrap();
        }
        bytes
    }

    /// All that comes out when `bytes` come in these pieces.
    fn decoded(
        limit: usize,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut decoder = Decoder::new(limit);
        let mut messages = Vec::new();
        for piece in pieces {
            decoder.give(piece);
            while let Some(message) = decoder.take()? {
                messages.push(message.to_vec());
            }
        }
        Ok(messages)
    }

    #[test]
    fn frames_are_a_big_endian_length_and_the_bytes() {
        for (messages, bytes) in [
            (&[][..], &b""[..]),
            (&[&b""[..]], b"\0\0\0\0"),
            (&[b"a"], b"\0\0\0\x01a"),
            (&[b"ab", b"", b"c"], b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c"),
            (&["我爱".as_bytes()], b"\0\0\0\x06\xe6\x88\x91\xe7\x88\xb1"),
        ] {
            assert_eq!(encoded(messages), bytes);
            assert_eq!(decoded(6, &mut [bytes].into_iter()).unwrap(), messages);
            assert_eq!(decoded(6, &mut bytes.chunks(1)).unwrap(), messages);
        }
        let long = vec![7; 0x0001_0203];
        assert_eq!(encoded(&[&long])[..4], [0, 1, 2, 3]);
    }

    #[test]
    fn messages_up_to_the_limit_pass_and_longer_ones_are_refused() {
        for limit in [0, 1, 255, 256, 65_536] {
            let most = vec![b'x'; limit];
            assert_eq!(
                decoded(limit, &mut encoded(&[&most]).chunks(1000)).unwrap(),
                [most]
            );
            let more = vec![b'x'; limit + 1];
            let refused = decoded(limit, &mut encoded(&[&more]).chunks(1000)).unwrap_err();
            assert_eq!((refused.length, refused.limit), (limit + 1, limit));
        }
    }

    #[test]
    fn what_a_prefix_claims_is_not_allocated() {
        for claim in [65_u32, 1 << 20, 1 << 31, u32::MAX] {
            let mut decoder = Decoder::new(64);
            decoder.give(&claim.to_be_bytes());
            for _ in 0..2 {
                assert_eq!(decoder.take().unwrap_err().length, claim as usize);
            }
            assert!(decoder.bytes.capacity() < 64, "{claim}");
        }
        // Also below the limit only what has come is held.
        let mut decoder = Decoder::new(1 << 30);
        decoder.give(&(1_u32 << 30).to_be_bytes());
        assert_eq!(decoder.take(), Ok(None));
        assert!(decoder.bytes.capacity() < 64);
    }

    #[test]
    fn what_was_taken_is_not_kept() {
        let piece = encoded(&[&[1; 100], &[2; 100]]);
        let mut decoder = Decoder::new(100);
        for _ in 0..1000 {
            decoder.give(&piece);
            while decoder.take().unwrap().is_some() {}
        }
        assert!(decoder.is_empty());
        assert!(decoder.bytes.capacity() <= 4 * piece.len());
    }

    /// Any messages in any pieces come out as they went in; a stream that ends in the middle
    /// of one is not taken for whole.
    #[test]
    fn any_pieces_give_the_same_messages() {
        for seed in 1..=500 {
            let mut random = Random(seed);
            let messages: Vec<Vec<u8>> = (0..random.below(20))
                .map(|_| {
                    let most = if random.below(4) == 0 { 5000 } else { 20 };
                    let length = random.below(most);
                    (0..length).map(|_| random.below(256) as u8).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let stream = encoded(&slices);
            let cut = random.below(stream.len() + 1);
            let mut ends = 0;
            let mut whole = 0;
            for message in &messages {
                ends += PREFIX_BYTES + message.len();
                whole += usize::from(ends <= cut);
            }
            for (end, expected) in [(stream.len(), messages.len()), (cut, whole)] {
                let mut decoder = Decoder::new(5000);
                let mut got = Vec::new();
                let mut rest = &stream[..end];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(1 + random.below(rest.len().min(700)));
                    decoder.give(piece);
                    while let Some(message) = decoder.take().unwrap() {
                        got.push(message.to_vec());
                    }
                    rest = after;
                }
                assert_eq!(got, messages[..expected], "seed {seed}");
                let taken: usize = got.iter().map(|m| PREFIX_BYTES + m.len()).sum();
                assert_eq!(decoder.is_empty(), taken == end, "seed {seed}");
            }
        }
    }

    /// Marsaglia's xorshift64: the same numbers on every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound.max(1) as u64) as usize
        }
    }
}
