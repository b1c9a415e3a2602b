//! Checksums of files: which hash, and what it should be.

use std::fmt;
use std::path::Path;
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

    /// What the name of a list of checksums says about its hashes: `SHA256SUMS`,
    /// `a.iso.sha256`, `b3sums`.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::Algorithm;
    ///
    /// assert_eq!(Algorithm::of_list("isos/SHA512SUMS"), Some(Algorithm::Sha512));
    /// assert_eq!(Algorithm::of_list("CHECKSUM"), None);
    /// ```
    pub fn of_list(path: impl AsRef<Path>) -> Option<Self> {
        let name = path.as_ref().file_name()?.to_string_lossy();
        let name = name.to_ascii_lowercase().replace('-', "");
        let says = |algorithm: &Self| {
            let word = algorithm.name().replace('-', "");
            name.contains(&word) || (*algorithm == Self::Blake3 && name.contains("b3"))
        };
        Self::ALL.into_iter().rev().find(says)
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
    /// A checksum from the hash itself; `None` if its size is not the algorithm's.
    pub(crate) fn from_bytes(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        (value.len() == algorithm.size()).then(|| Self {
            algorithm,
            value: value.into(),
        })
    }

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

    /// The hash itself.
    ///
    /// # Switching
    /// Never switches.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// A line of a list of checksums, with its end, as `sha256sum` and its kin write it.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::Checksum;
    ///
    /// let checksum: Checksum = "md5=d41d8cd98f00b204e9800998ecf8427e".parse()?;
    /// let line = checksum.to_list_line("an empty\nfile");
    /// assert_eq!(line, b"\\d41d8cd98f00b204e9800998ecf8427e  an empty\\nfile\n");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn to_list_line(&self, path: impl AsRef<Path>) -> Vec<u8> {
        super::sums::sum_line(path.as_ref().as_os_str().as_encoded_bytes(), self)
    }

    /// The hash in lower-case hexadecimal digits.
    ///
    /// # Switching
    /// Never switches.
    pub fn to_hex(&self) -> String {
        self.value
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::message(format_args!("checksum \"{}\": {why}", defuse(text)));
        let (name, digits) = text
            .split_once('=')
            .ok_or_else(|| bad("not ALGORITHM=HEX"))?;
        let algorithm = Algorithm::named(name.trim()).ok_or_else(|| bad(NAMES))?;
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
        write!(f, "{}={}", self.algorithm.name(), self.to_hex())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let none = || Error::message(format_args!("\"{}\": {NAMES}", defuse(text)));
        Self::named(text.trim()).ok_or_else(none)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

/// What else a name could have been.
const NAMES: &str = "none of md5, sha-1, sha-256, sha-512, blake3";

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
