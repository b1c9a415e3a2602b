//! Checksums of files: which hash, and what it should be.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::util::defuse;

/// A hash that files are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// MD5 (RFC 1321): tells accidents, not attacks.
    Md5,
    /// SHA-1 (FIPS 180-4): tells accidents, not attacks.
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// BLAKE3, 256 bits of it.
    Blake3,
}

/// What a file's hash should be. Written `sha-256=HEX`, as aria2 does; the hyphen may be
/// left out.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::{Algorithm, Checksum};
///
/// let checksum: Checksum = "md5=d41d8cd98f00b204e9800998ecf8427e".parse()?;
/// assert_eq!(checksum.algorithm(), Algorithm::Md5);
/// assert!("sha-256=d41d".parse::<Checksum>().is_err());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    value: Box<[u8]>,
}

impl Algorithm {
    /// All of them, the weakest first.
    pub(crate) const ALL: [Self; 5] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Blake3,
    ];

    /// Its name, as lists and options write it.
    ///
    /// # Switching
    /// Never switches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            Self::Blake3 => "blake3",
        }
    }

    /// Bytes of a hash.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The one that a list or a Metalink calls so: `sha256`, `SHA-256`, …
    pub(crate) fn named(name: &str) -> Option<Self> {
        let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|algorithm| plain(algorithm.name()) == plain(name))
    }
}

impl Checksum {
    /// A checksum from a hash in hexadecimal digits; `None` if it is none.
    pub(crate) fn from_hex(algorithm: Algorithm, digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        if digits.len() != 2 * algorithm.size() {
            return None;
        }
        let nibble = |digit: u8| char::from(digit).to_digit(16).map(|n| n as u8);
        let value = digits
            .chunks_exact(2)
            .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
            .collect::<Option<_>>()?;
        Some(Self { algorithm, value })
    }

    /// The hash it is of.
    ///
    /// # Switching
    /// Never switches.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::message(format_args!("checksum \"{}\": {why}", defuse(text)));
        let (name, digits) = text
            .split_once('=')
            .ok_or_else(|| bad("not ALGORITHM=HEX"))?;
        let algorithm = Algorithm::named(name.trim())
            .ok_or_else(|| bad("none of md5, sha-1, sha-256, sha-512, blake3"))?;
        let why = format!(
            "{} has {} hexadecimal digits",
            algorithm.name(),
            2 * algorithm.size()
        );
        Self::from_hex(algorithm, digits.trim()).ok_or_else(|| bad(&why))
    }
}

/// As it is written in lists.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.algorithm.name())?;
        self.value
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_in_any_spelling_and_shown_in_one() {
        let hex = "D41D8cd98f00b204e9800998ecf8427e";
        for name in ["md5", "MD5", "md-5"] {
            let checksum: Checksum = format!("{name}={hex}").parse().unwrap();
            assert_eq!(checksum.to_string(), format!("md5={}", hex.to_lowercase()));
        }
        for bad in [
            "",
            "md5",
            "md5=",
            "crc32=00000000",
            "md5=zz1d8cd98f00b204e9800998ecf8427e",
        ] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad:?}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
    }
}
