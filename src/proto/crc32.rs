//! CRC-32 as in zip, PNG and Ethernet: it notices accidents, not intent.

/// The check sum of bytes that come in pieces.
///
/// # Examples
///
/// ```
/// use greenloop::proto::crc32::Crc32;
///
/// let mut sum = Crc32::new();
/// sum.update(b"1234");
/// sum.update(b"56789");
/// assert_eq!(sum.value(), 0xcbf4_3926); // Python: zlib.crc32(b"123456789")
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

impl Crc32 {
    /// The sum of nothing, so far.
    pub fn new() -> Self {
        Self(u32::MAX)
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| {
            TABLE[(sum as u8 ^ byte) as usize] ^ (sum >> 8)
        });
    }

    /// The sum of all bytes so far.
    pub fn value(&self) -> u32 {
        !self.0
    }
}

/// What each low byte does to the rest: the polynomial of IEEE 802.3, bits reversed.
static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_zlib() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"a", 0xe8b7_be43),
            (b"123456789", 0xcbf4_3926),
            (&[0; 32], 0x190a_55ad),
            (&[0xff; 32], 0xff6c_ab0b),
        ] {
            let mut sum = Crc32::new();
            sum.update(bytes);
            assert_eq!(sum.value(), expected, "{bytes:?}");
        }
    }
}
