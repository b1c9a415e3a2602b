//! Lists of checksums as `sha256sum` and its kin write them, read line by line. Pure.
//!
//! | form | from |
//! |---|---|
//! | `HEX  NAME`, `HEX *NAME` | `md5sum`, `sha1sum`, `sha256sum`, `sha512sum`, `b3sum` |
//! | `\HEX  NAME` with `\\`, `\n`, `\r` in the name | the same |
//! | `SHA256 (NAME) = HEX` | BSD's `sha256`, `--tag` of the above |
//! | `SHA2-256(NAME)= HEX` | `openssl dgst` |
//!
//! Blank lines and lines that begin with `#` are skipped, and so is the frame of a signed
//! message around them, as Fedora has it: the signature is not checked.

use std::io::{self, BufRead, Read};

use super::checksum::{Algorithm, Checksum};

/// The longest line, in bytes: room for the longest path there is (`PATH_MAX`, 4096) with
/// every character escaped, and its hash.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The longest name of an algorithm; the shortest hash, which may stand in its place, has
/// 32 digits.
const TAG_BYTES_MAX: usize = 16;

/// One file in the list, and what its hash should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// The path as it is in the list, its escapes undone.
    pub(crate) name: Vec<u8>,
    pub(crate) checksum: Checksum,
}

/// Reads a list. Ends at the first bad line, with an error that says which.
#[derive(Debug)]
pub(crate) struct SumList<R> {
    reader: R,
    /// What hashes without a name are, where their length fits.
    hint: Option<Algorithm>,
    line: u64,
    signed: Signed,
    ended: bool,
}

/// Where in a signed message we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    /// In none.
    No,
    Head,
    Text,
    Signature,
}

/// What a line is.
#[derive(Debug)]
enum Line {
    Sum(Sum),
    /// Nothing to check: why, if it is worth a word.
    Skip(Option<String>),
}

impl<R: BufRead> SumList<R> {
    /// Reads from `reader`; `hint` tells hashes of equal length apart.
    pub(crate) fn new(reader: R, hint: Option<Algorithm>) -> Self {
        Self {
            reader,
            hint,
            line: 0,
            signed: Signed::No,
            ended: false,
        }
    }

    fn next_sum(&mut self) -> io::Result<Option<Sum>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = self.reader.by_ref().take(LINE_BYTES_MAX as u64);
            if bounded.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let at = self.line;
            let bad = |why: String| {
                io::Error::new(io::ErrorKind::InvalidData, format!("line {at}: {why}"))
            };
            if line.len() == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                return Err(bad(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let mut text = text.strip_suffix(b"\r").unwrap_or(text);
            if self.line == 1 {
                text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            }
            let Some(text) = self.signed.inside(text) else {
                continue;
            };
            match parse(text, self.hint).map_err(bad)? {
                Line::Sum(sum) => return Ok(Some(sum)),
                Line::Skip(None) => {}
                Line::Skip(Some(why)) => log::warn!("line {at}: {why}"),
            }
        }
    }
}

impl<R: BufRead> Iterator for SumList<R> {
    type Item = io::Result<Sum>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_sum().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Signed {
    /// The text of a line, without what the signing put around it; `None` if that is all.
    fn inside<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        match *self {
            Self::No if line.starts_with(b"-----BEGIN PGP SIGN") => *self = Self::Head,
            Self::No => return Some(line),
            Self::Head if line.is_empty() => *self = Self::Text,
            Self::Head => {}
            Self::Text if line.starts_with(b"-----BEGIN PGP SIGNATURE") => *self = Self::Signature,
            Self::Text => return Some(line.strip_prefix(b"- ").unwrap_or(line)),
            Self::Signature if line.starts_with(b"-----END PGP") => *self = Self::No,
            Self::Signature => {}
        }
        None
    }
}

fn parse(line: &[u8], hint: Option<Algorithm>) -> Result<Line, String> {
    if line.trim_ascii().is_empty() || line.starts_with(b"#") {
        return Ok(Line::Skip(None));
    }
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (name, checksum) = match tagged(line) {
        Some((tag, name, digits)) => {
            let Some(algorithm) = algorithm_of_tag(tag) else {
                let tag = crate::util::escape(tag);
                return Ok(Line::Skip(Some(format!(
                    "{tag} is not known here, skipped"
                ))));
            };
            let checksum = from_hex(algorithm, digits)
                .ok_or_else(|| format!("no hash of {algorithm} after the name"))?;
            (name, checksum)
        }
        None => {
            let (digits, name) =
                untagged(line).ok_or("neither HASH  NAME nor ALG (NAME) = HASH")?;
            let algorithm = algorithm_of_size(digits.len(), hint)
                .ok_or_else(|| format!("no known hash has {} digits", digits.len()))?;
            let checksum = from_hex(algorithm, digits)
                .ok_or_else(|| "the hash is not hexadecimal".to_owned())?;
            (name, checksum)
        }
    };
    let name = if escaped {
        unescape(name)?
    } else {
        name.to_vec()
    };
    if name.is_empty() || name.contains(&0) {
        return Err("no file name".to_owned());
    }
    Ok(Line::Sum(Sum { name, checksum }))
}

/// Splits `TAG (NAME) = HEX`. The name may hold all of these characters.
fn tagged(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let open = line.iter().position(|b| *b == b'(')?;
    let tag = line[..open].trim_ascii();
    let is_tag = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/');
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !tag.iter().all(is_tag) {
        return None;
    }
    let equals = line.iter().rposition(|b| *b == b'=')?;
    let name = line.get(open + 1..equals)?.trim_ascii_end();
    Some((
        tag,
        name.strip_suffix(b")")?,
        line[equals + 1..].trim_ascii(),
    ))
}

/// Splits `HEX  NAME` and `HEX *NAME`; of the two characters before the name some write
/// only one.
fn untagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t'))?;
    let (digits, rest) = (&line[..end], &line[end + 1..]);
    let name = match rest.first()? {
        b' ' | b'*' => &rest[1..],
        _ => rest,
    };
    Some((digits, name))
}

fn from_hex(algorithm: Algorithm, digits: &[u8]) -> Option<Checksum> {
    Checksum::from_hex(algorithm, std::str::from_utf8(digits).ok()?)
}

fn algorithm_of_tag(tag: &[u8]) -> Option<Algorithm> {
    let tag = std::str::from_utf8(tag).ok()?.to_ascii_lowercase();
    // OpenSSL 3 says which family; SHA3-256 is another one.
    Algorithm::named(tag.strip_prefix("sha2-").map_or(&tag, |size| match size {
        "256" => "sha256",
        "512" => "sha512",
        other => other,
    }))
}

/// The algorithm whose hashes have so many digits; SHA-256 rather than BLAKE3, unless the
/// hint says otherwise.
fn algorithm_of_size(digits: usize, hint: Option<Algorithm>) -> Option<Algorithm> {
    let fits = |algorithm: &Algorithm| 2 * algorithm.size() == digits;
    let known = || Algorithm::ALL.into_iter().find(fits);
    hint.filter(fits).or_else(known)
}

fn unescape(name: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => return Err("a bad escape in the file name".to_owned()),
            },
            byte => *byte,
        });
    }
    Ok(plain)
}

/// One line of such a list, with its line end, as `sha256sum` writes it.
pub(crate) fn sum_line(name: &[u8], checksum: &Checksum) -> Vec<u8> {
    let special = |b: &u8| matches!(b, b'\\' | b'\n' | b'\r');
    let mut line = Vec::new();
    if name.iter().any(special) {
        line.push(b'\\');
    }
    line.extend_from_slice(checksum.to_hex().as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(text: &str) -> Vec<Result<(String, Algorithm), String>> {
        hinted(text, None)
    }

    fn hinted(text: &str, hint: Option<Algorithm>) -> Vec<Result<(String, Algorithm), String>> {
        SumList::new(text.as_bytes(), hint)
            .map(|sum| {
                let sum = sum.map_err(|e| e.to_string())?;
                let name = String::from_utf8(sum.name).unwrap();
                Ok((name, sum.checksum.algorithm()))
            })
            .collect()
    }

    fn one(text: &str) -> (String, Algorithm) {
        let all = read(text);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        all[0].clone().unwrap()
    }

    #[test]
    fn every_tool_s_lines_are_read() {
        let sha512 = "0".repeat(128);
        for (line, name, algorithm) in [
            (format!("{SHA256}  a.bin"), "a.bin", Algorithm::Sha256),
            (format!("{SHA256} *a.bin\r"), "a.bin", Algorithm::Sha256),
            (format!("{SHA256} a.bin"), "a.bin", Algorithm::Sha256),
            (format!("{MD5}  ./d/a b  c"), "./d/a b  c", Algorithm::Md5),
            (format!("{MD5}   a"), " a", Algorithm::Md5),
            (format!("{SHA1}\ta"), "a", Algorithm::Sha1),
            (SHA1.to_uppercase() + "  a", "a", Algorithm::Sha1),
            (format!("{sha512}  a"), "a", Algorithm::Sha512),
            (
                format!("\\{MD5}  a\\\\b\\nc\\rd"),
                "a\\b\nc\rd",
                Algorithm::Md5,
            ),
            (format!("{MD5}  a\\nb"), "a\\nb", Algorithm::Md5),
            (
                format!("SHA256 (a (1) = x.bin) = {SHA256}"),
                "a (1) = x.bin",
                Algorithm::Sha256,
            ),
            (format!("BLAKE3 (a) = {SHA256}"), "a", Algorithm::Blake3),
            (format!("\\MD5 (a\\nb) = {MD5}"), "a\nb", Algorithm::Md5),
            (format!("SHA2-256(a)= {SHA256}"), "a", Algorithm::Sha256),
            (format!("SHA1(a)= {SHA1}"), "a", Algorithm::Sha1),
            (format!("\u{feff}{MD5}  (x) = a"), "(x) = a", Algorithm::Md5),
        ] {
            assert_eq!(one(&line), (name.to_owned(), algorithm), "{line}");
        }
    }

    #[test]
    fn comments_blanks_unknown_tags_and_signatures_are_skipped() {
        let text = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# a: 3 bytes\n\
             SHA256 (a) = {SHA256}\n- SHA384 (a) = {}\n\n-----BEGIN PGP SIGNATURE-----\n\
             \niQIzBAEBCAAdFiEE\n-----END PGP SIGNATURE-----\n{MD5}  b\n",
            "0".repeat(96)
        );
        let names: Vec<_> = read(&text).into_iter().map(|sum| sum.unwrap().0).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(read("").is_empty() && read("\n#\n\n").is_empty());
    }

    #[test]
    fn a_bad_line_is_named_and_ends_the_list() {
        let long = format!("{MD5}  {}", "a".repeat(LINE_BYTES_MAX));
        for (bad, why) in [
            ("nonsense", "neither"),
            ("<html>", "neither"),
            ("abcd  a", "4 digits"),
            (&format!("{}zz  a", &MD5[2..]), "hexadecimal"),
            (&format!("{MD5}  "), "name"),
            (&format!("{MD5} "), "neither"),
            (&format!("\\{MD5}  a\\x"), "escape"),
            (&format!("\\{MD5}  a\\"), "escape"),
            (&format!("{MD5}  a\0b"), "name"),
            (&format!("MD5 (a) = {SHA1}"), "md5"),
            (&format!("MD5 () = {MD5}"), "name"),
            (&long, "longer"),
        ] {
            let all = read(&format!("{MD5}  first\n\n{bad}\n{MD5}  last\n"));
            assert_eq!(all.len(), 2, "{bad}: {all:?}");
            let error = all[1].clone().unwrap_err();
            assert!(error.contains("line 3: ") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn hashes_of_one_length_are_told_apart_by_the_hint() {
        let line = format!("{SHA256}  a");
        let with = |hint| hinted(&line, hint)[0].clone().unwrap().1;
        assert_eq!(with(None), Algorithm::Sha256);
        assert_eq!(with(Some(Algorithm::Blake3)), Algorithm::Blake3);
        assert_eq!(with(Some(Algorithm::Md5)), Algorithm::Sha256);
        for (name, algorithm) in [
            ("SHA256SUMS", Some(Algorithm::Sha256)),
            ("x/SHA512SUMS.txt", Some(Algorithm::Sha512)),
            ("md5sum.txt", Some(Algorithm::Md5)),
            ("a.iso.sha1", Some(Algorithm::Sha1)),
            ("sha-256.txt", Some(Algorithm::Sha256)),
            ("b3sums", Some(Algorithm::Blake3)),
            ("a.blake3", Some(Algorithm::Blake3)),
            ("CHECKSUM", None),
        ] {
            assert_eq!(Algorithm::of_list(name), algorithm, "{name}");
        }
    }

    #[test]
    fn written_lines_are_read_as_they_were() {
        for name in ["a", "a b", "a\\b", "a\nb\r", "*a", " a", "(a) = b"] {
            let checksum = Checksum::from_hex(Algorithm::Sha256, SHA256).unwrap();
            let line = sum_line(name.as_bytes(), &checksum);
            let sums: Vec<_> = SumList::new(&line[..], None).map(Result::unwrap).collect();
            let name = name.as_bytes().to_vec();
            assert_eq!(sums, [Sum { name, checksum }]);
        }
    }
}
