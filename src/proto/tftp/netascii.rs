//! Text on the way: lines end with CR LF, a lone CR is CR NUL (RFC 764, as RFC 1350 says).
//!
//! Blocks are cut from the encoded stream, so a pair may stand on both sides of a border:
//! the [`Decoder`] remembers that the last byte was a CR.

/// Appends `text` to `out` as netascii: LF becomes CR LF, CR becomes CR NUL.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::{Decoder, encode};
///
/// let mut wire = Vec::new();
/// encode(b"one\ntwo\r", &mut wire);
/// assert_eq!(wire, b"one\r\ntwo\r\0");
///
/// let (mut decoder, mut text) = (Decoder::new(), Vec::new());
/// decoder.decode(&wire[..4], &mut text); // cut within the pair
/// decoder.decode(&wire[4..], &mut text);
/// decoder.finish(&mut text);
/// assert_eq!(text, b"one\ntwo\r");
/// ```
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' => out.extend_from_slice(b"\r\0"),
            other => out.push(other),
        }
    }
}

/// Turns netascii back into text, block by block.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The last byte was a CR, whose other half may come.
    after_cr: bool,
}

impl Decoder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `out` what `wire` says. A CR before anything else than LF and NUL stays:
    /// peers that do not encode send such.
    pub fn decode(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        for &byte in wire {
            if std::mem::take(&mut self.after_cr) {
                match byte {
                    b'\n' => out.push(b'\n'),
                    0 => out.push(b'\r'),
                    other => {
                        out.push(b'\r');
                        self.take(other, out);
                    }
                }
            } else {
                self.take(byte, out);
            }
        }
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        if byte == b'\r' {
            self.after_cr = true;
        } else {
            out.push(byte);
        }
    }

    /// Appends what was kept back, at the end of the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(parts: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (Decoder::new(), Vec::new());
        for part in parts {
            decoder.decode(part, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn text_comes_back_wherever_it_is_cut() {
        let text = b"a\nb\r\nc\r\r\n\n\0\r\0 end\r";
        let mut wire = Vec::new();
        encode(text, &mut wire);
        for cut in 0..=wire.len() {
            assert_eq!(decoded(&[&wire[..cut], &wire[cut..]]), text, "cut at {cut}");
        }
        let single: Vec<_> = wire.chunks(1).collect();
        assert_eq!(decoded(&single), text);
    }

    #[test]
    fn what_was_not_encoded_stays() {
        assert_eq!(decoded(&[b"a\nb"]), b"a\nb");
        assert_eq!(decoded(&[b"a\rb\r\r\n"]), b"a\rb\r\n");
        assert_eq!(decoded(&[b"\r"]), b"\r");
        assert_eq!(decoded(&[b"\r", b"x"]), b"\rx");
    }
}
