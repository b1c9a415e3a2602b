//! Content codings undone as the bytes come: gzip, deflate and brotli. Pure.
//!
//! ```text
//!   wire bytes ──push──► framing (gzip's head and tail) ──► inflate ──► at most 32 KiB a
//!                                                                       time to `out`
//! ```
//!
//! A stream must be whole, match its own check sums and end where its body ends. One that
//! grows out of proportion is a bomb, and is stopped while it is small: see [`RATIO_MAX`].

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::failure::{Failure, FailureKind};

/// Bytes out per byte in, beyond which a stream is a bomb. Text and logs stay below 50;
/// what gets 1000 out of deflate is one byte over and over.
const RATIO_MAX: u64 = 200;

/// Bytes out before the ratio counts: a small file of zeros is no attack.
const RATIO_FREE: u64 = 16 * 1024 * 1024;

/// Bytes handed on at once, and so what a decoder holds besides its window.
const OUT_BYTES: usize = 32 * 1024;

/// What takes the decoded bytes.
pub(crate) type Out<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// Undoes one content coding.
pub(crate) struct Decoder {
    coding: Coding,
    buffer: Box<[u8]>,
    taken: u64,
    given: u64,
}

enum Coding {
    Gzip(Box<Gzip>),
    /// Which of its two meanings it has shows in the first two bytes.
    Deflate(Box<Deflate>),
    Brotli(Box<Brotli>),
}

impl Decoder {
    /// The codings that can be undone, for `Accept-Encoding`.
    pub(crate) const ACCEPTED: &'static str = "gzip, deflate, br";

    /// A decoder for a value of `Content-Encoding`; `None` if there is nothing to undo.
    pub(crate) fn for_encoding(encoding: &str) -> Result<Option<Self>, Failure> {
        let coding = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => return Ok(None),
            "gzip" | "x-gzip" => Coding::Gzip(Box::default()),
            "deflate" => Coding::Deflate(Box::default()),
            "br" => Coding::Brotli(Box::default()),
            _ => {
                let text = "an encoding that was not asked for";
                return Err(Failure::new(FailureKind::BadResponse, text));
            }
        };
        Ok(Some(Self {
            coding,
            buffer: vec![0; OUT_BYTES].into_boxed_slice(),
            taken: 0,
            given: 0,
        }))
    }

    /// Takes the next bytes from the network and hands on what they decode to.
    ///
    /// # Errors
    /// That of `out`; or the stream is malformed, goes on after its end, or is a bomb. What
    /// was handed on until then is worth nothing.
    pub(crate) fn push(&mut self, bytes: &[u8], out: Out<'_>) -> Result<(), Failure> {
        self.taken += bytes.len() as u64;
        let (taken, given) = (self.taken, &mut self.given);
        let mut counted = |decoded: &[u8]| {
            *given += decoded.len() as u64;
            if *given > RATIO_FREE && *given / RATIO_MAX > taken {
                let text = format!(
                    "a decompression bomb: {given} bytes and more from {taken}, over {RATIO_MAX}:1"
                );
                return Err(Failure::new(FailureKind::TooLarge, text));
            }
            out(decoded)
        };
        match &mut self.coding {
            Coding::Gzip(gzip) => gzip.push(bytes, &mut self.buffer, &mut counted),
            Coding::Deflate(deflate) => deflate.push(bytes, &mut self.buffer, &mut counted),
            Coding::Brotli(brotli) => brotli.push(bytes, &mut self.buffer, &mut counted),
        }
    }

    /// Tells that the body has ended.
    ///
    /// # Errors
    /// The stream has not. An empty body is an empty file, whatever its coding.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let whole = match &self.coding {
            Coding::Gzip(gzip) => matches!(gzip.state, GzipState::Between),
            Coding::Deflate(deflate) => deflate.ended,
            Coding::Brotli(brotli) => brotli.ended,
        };
        if whole || self.taken == 0 {
            return Ok(());
        }
        Err(Failure::new(FailureKind::BadResponse, "the compressed stream is cut off").transient())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.coding {
            Coding::Gzip(_) => "gzip",
            Coding::Deflate(_) => "deflate",
            Coding::Brotli(_) => "br",
        };
        f.debug_struct("Decoder")
            .field("coding", &name)
            .field("taken", &self.taken)
            .field("given", &self.given)
            .finish()
    }
}

fn malformed(what: &str) -> Failure {
    Failure::new(
        FailureKind::BadResponse,
        format!("the compressed stream is malformed: {what}"),
    )
    .transient()
}

/// Inflates from `input` until it is used up or the stream ends; returns what is left and
/// whether it has ended.
fn inflate<'a>(
    engine: &mut Decompress,
    mut input: &'a [u8],
    buffer: &mut [u8],
    out: Out<'_>,
) -> Result<(&'a [u8], bool), Failure> {
    loop {
        let (taken, given) = (engine.total_in(), engine.total_out());
        let status = engine
            .decompress(input, buffer, FlushDecompress::None)
            .map_err(|_| malformed("deflate data"))?;
        let taken = usize::try_from(engine.total_in() - taken).unwrap_or(input.len());
        let given = usize::try_from(engine.total_out() - given).unwrap_or(buffer.len());
        input = &input[taken..];
        if given > 0 {
            out(&buffer[..given])?;
        }
        if status == Status::StreamEnd {
            return Ok((input, true));
        }
        // More may be ready without more input; the engine tells by standing still.
        if taken == 0 && given == 0 {
            return Ok((input, false));
        }
    }
}

/// RFC 1952: members one after the other, each with a head and a tail.
#[derive(Default)]
struct Gzip {
    state: GzipState,
    flags: u8,
    engine: Option<Decompress>,
    crc: Crc,
    tail: [u8; 8],
}

/// Where in a member the next byte belongs.
#[derive(Clone, Copy, Default)]
enum GzipState {
    /// Before the first member, where an end would be a cut.
    #[default]
    Start,
    /// Behind a whole member: the end, or the next one.
    Between,
    /// At this byte of the ten that every head has.
    Fixed(usize),
    /// In the length of the extra field; its low byte, if that has come.
    ExtraLength(Option<u8>),
    /// So many bytes of the extra field are to come.
    Extra(u16),
    /// In the file's name, up to a zero.
    Name,
    /// In the comment, up to a zero.
    Comment,
    /// So many bytes of the head's own check sum are to come.
    HeadCrc(u8),
    Body,
    /// At this byte of the eight of check sum and length.
    Tail(usize),
}

const FLAG_HEAD_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

impl Gzip {
    fn push(&mut self, mut bytes: &[u8], buffer: &mut [u8], out: Out<'_>) -> Result<(), Failure> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if matches!(self.state, GzipState::Body) {
                bytes = self.body(bytes, buffer, out)?;
                continue;
            }
            self.state = match self.state {
                GzipState::Start | GzipState::Between => self.fixed(0, byte)?,
                GzipState::Fixed(at) => self.fixed(at, byte)?,
                GzipState::ExtraLength(None) => GzipState::ExtraLength(Some(byte)),
                GzipState::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                    0 => self.after(FLAG_EXTRA),
                    length => GzipState::Extra(length),
                },
                GzipState::Extra(1) => self.after(FLAG_EXTRA),
                GzipState::Extra(left) => GzipState::Extra(left - 1),
                GzipState::Name if byte == 0 => self.after(FLAG_NAME),
                GzipState::Comment if byte == 0 => self.after(FLAG_COMMENT),
                state @ (GzipState::Name | GzipState::Comment) => state,
                GzipState::HeadCrc(1) => self.after(FLAG_HEAD_CRC),
                GzipState::HeadCrc(left) => GzipState::HeadCrc(left - 1),
                GzipState::Tail(at) => self.tail(at, byte)?,
                GzipState::Body => unreachable!("taken care of above"),
            };
            bytes = rest;
        }
        Ok(())
    }

    fn fixed(&mut self, at: usize, byte: u8) -> Result<GzipState, Failure> {
        let fits = match at {
            0 => byte == 0x1f,
            1 => byte == 0x8b,
            2 => byte == 8,
            // Bits that no version has: their fields could not be skipped.
            3 => byte & 0xe0 == 0,
            _ => true,
        };
        if !fits {
            return Err(malformed("no gzip head where one should be"));
        }
        if at == 3 {
            self.flags = byte;
        }
        Ok(match at {
            9 => self.after(0),
            _ => GzipState::Fixed(at + 1),
        })
    }

    /// The state behind the part of the head that has `flag`.
    fn after(&mut self, flag: u8) -> GzipState {
        let is_next = |next: u8| flag < next && self.flags & next != 0;
        // In the order of the file, which is that of the flags but for the check sum.
        if flag != FLAG_HEAD_CRC {
            if is_next(FLAG_EXTRA) {
                return GzipState::ExtraLength(None);
            }
            if is_next(FLAG_NAME) {
                return GzipState::Name;
            }
            if is_next(FLAG_COMMENT) {
                return GzipState::Comment;
            }
            if self.flags & FLAG_HEAD_CRC != 0 {
                return GzipState::HeadCrc(2);
            }
        }
        self.crc.reset();
        match &mut self.engine {
            Some(engine) => engine.reset(false),
            None => self.engine = Some(Decompress::new(false)),
        }
        GzipState::Body
    }

    fn body<'a>(
        &mut self,
        bytes: &'a [u8],
        buffer: &mut [u8],
        out: Out<'_>,
    ) -> Result<&'a [u8], Failure> {
        let crc = &mut self.crc;
        let engine = self.engine.as_mut().expect("made at the end of the head");
        let mut summed = |decoded: &[u8]| {
            crc.update(decoded);
            out(decoded)
        };
        let (rest, ended) = inflate(engine, bytes, buffer, &mut summed)?;
        if ended {
            self.state = GzipState::Tail(0);
        } else if !rest.is_empty() {
            return Err(malformed("deflate data"));
        }
        Ok(rest)
    }

    /// Little-endian: the CRC-32 of the member, its length modulo 2^32.
    fn tail(&mut self, at: usize, byte: u8) -> Result<GzipState, Failure> {
        self.tail[at] = byte;
        if at < 7 {
            return Ok(GzipState::Tail(at + 1));
        }
        let [a, b, c, d, length @ ..] = self.tail;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum()
            || u32::from_le_bytes(length) != self.crc.amount()
        {
            return Err(malformed("its check sum does not match"));
        }
        Ok(GzipState::Between)
    }
}

/// The coding that RFC 9110 calls deflate is zlib's format; some servers send what is
/// inside that.
#[derive(Default)]
struct Deflate {
    first: Option<u8>,
    engine: Option<Decompress>,
    ended: bool,
}

impl Deflate {
    fn push(&mut self, mut bytes: &[u8], buffer: &mut [u8], out: Out<'_>) -> Result<(), Failure> {
        if self.engine.is_none() {
            let (first, second) = match (self.first, bytes) {
                (None, []) => return Ok(()),
                (None, [first]) => {
                    self.first = Some(*first);
                    return Ok(());
                }
                (None, [first, second, ..]) => (*first, *second),
                (Some(_), []) => return Ok(()),
                (Some(first), [second, ..]) => (first, *second),
            };
            // RFC 1950: method 8, and a multiple of 31.
            let is_zlib = first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
            self.engine = Some(Decompress::new(is_zlib));
            if let Some(first) = self.first.take() {
                self.inflate(&[first], buffer, out)?;
            }
        }
        while !bytes.is_empty() {
            bytes = self.inflate(bytes, buffer, out)?;
        }
        Ok(())
    }

    fn inflate<'a>(
        &mut self,
        bytes: &'a [u8],
        buffer: &mut [u8],
        out: Out<'_>,
    ) -> Result<&'a [u8], Failure> {
        if self.ended {
            return Err(malformed("more bytes after its end"));
        }
        let engine = self.engine.as_mut().expect("made before");
        let (rest, ended) = inflate(engine, bytes, buffer, out)?;
        self.ended = ended;
        if !ended && !rest.is_empty() {
            return Err(malformed("deflate data"));
        }
        Ok(rest)
    }
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    written: usize,
    ended: bool,
}

impl Default for Brotli {
    #[expect(
        clippy::large_stack_frames,
        reason = "the library makes its state by value, once per stream"
    )]
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: BrotliState::new(alloc(), alloc(), alloc()),
            written: 0,
            ended: false,
        }
    }
}

impl Brotli {
    fn push(&mut self, bytes: &[u8], buffer: &mut [u8], out: Out<'_>) -> Result<(), Failure> {
        let (mut left, mut at) = (bytes.len(), 0);
        if self.ended && left > 0 {
            return Err(malformed("more bytes after its end"));
        }
        loop {
            let (mut room, mut given) = (buffer.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                bytes,
                &mut room,
                &mut given,
                buffer,
                &mut self.written,
                &mut self.state,
            );
            if given > 0 {
                out(&buffer[..given])?;
            }
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess => {
                    self.ended = true;
                    return match left {
                        0 => Ok(()),
                        _ => Err(malformed("more bytes after its end")),
                    };
                }
                BrotliResult::ResultFailure => return Err(malformed("brotli data")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
