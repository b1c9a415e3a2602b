//! Digests that a server sends along with a file. Pure.
//!
//! | field | source | is about | value |
//! |---|---|---|---|
//! | `Repr-Digest` | RFC 9530 | the whole file, also in a part (206) | `sha-256=:BASE64:, …` |
//! | `Content-Digest` | RFC 9530 | the bytes of this answer | the same |
//! | `Digest` | RFC 3230 | the whole file, also in a part | `SHA-256=BASE64,…` |
//! | `Content-MD5` | RFC 2616, 14.15 | the bytes of this answer | `BASE64` |
//!
//! What is malformed or unknown is as good as not sent: a digest is a favour.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::checksum::{Algorithm, Checksum};

/// The digest fields of an answer, each with its lines joined by commas.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DigestFields<'a> {
    pub(crate) repr_digest: Option<&'a str>,
    pub(crate) content_digest: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
    pub(crate) content_md5: Option<&'a str>,
    /// `Content-Encoding`.
    pub(crate) encoding: Option<&'a str>,
    /// The answer is a part of the file.
    pub(crate) is_part: bool,
}

/// What the whole file should be, in the words of its server: of all digests that are
/// about it the one with the strongest algorithm, because one is enough.
///
/// None of a file with a content coding: servers disagree on which side of the coding
/// their digests are.
pub(crate) fn served(fields: &DigestFields<'_>) -> Option<Checksum> {
    let coded = |coding: &str| !coding.trim().eq_ignore_ascii_case("identity");
    if fields.encoding.is_some_and(coded) {
        return None;
    }
    let about_this = |field| if fields.is_part { None } else { field };
    let mut found = Vec::new();
    for (name, value, read) in [
        (
            "Repr-Digest",
            fields.repr_digest,
            structured as fn(&str) -> Option<Vec<Checksum>>,
        ),
        (
            "Content-Digest",
            about_this(fields.content_digest),
            structured,
        ),
        ("Digest", fields.digest, listed),
        ("Content-MD5", about_this(fields.content_md5), md5),
    ] {
        let Some(value) = value else { continue };
        match read(value) {
            Some(checksums) => found.extend(checksums),
            None => log::debug!("{name}: malformed, ignored: {}", crate::util::defuse(value)),
        }
    }
    found
        .into_iter()
        .max_by_key(|sum| strength(sum.algorithm()))
}

fn strength(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Md5 => 0,
        Algorithm::Sha1 => 1,
        Algorithm::Sha256 => 2,
        Algorithm::Blake3 => 3,
        Algorithm::Sha512 => 4,
    }
}

/// The names of the registry for RFC 9530 and of the older one for `Digest`.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name.to_ascii_lowercase().as_str() {
        "md5" => Algorithm::Md5,
        "sha" => Algorithm::Sha1,
        // `id-`: of the file without content coding (RFC 5843), which is all that we look at.
        "sha-256" | "id-sha-256" => Algorithm::Sha256,
        "sha-512" | "id-sha-512" => Algorithm::Sha512,
        _ => return None,
    })
}

fn decode(text: &str) -> Option<Vec<u8>> {
    // Structured fields let a reader accept what lacks its padding.
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    ENGINE.decode(text).ok()
}

fn md5(value: &str) -> Option<Vec<Checksum>> {
    let checksum = Checksum::from_bytes(Algorithm::Md5, &decode(value.trim())?)?;
    Some(vec![checksum])
}

/// Reads `NAME=BASE64,NAME=BASE64` (RFC 3230); the padding has the `=` too.
fn listed(value: &str) -> Option<Vec<Checksum>> {
    let mut found = Vec::new();
    for member in value.split(',').map(str::trim).filter(|m| !m.is_empty()) {
        let (name, value) = member.split_once('=')?;
        if let Some(algorithm) = algorithm(name.trim()) {
            found.push(Checksum::from_bytes(algorithm, &decode(value.trim())?)?);
        }
    }
    Some(found)
}

/// Reads a dictionary of byte sequences (RFC 9651, section 3.2): one error voids it all.
fn structured(value: &str) -> Option<Vec<Checksum>> {
    let mut found: Vec<Checksum> = Vec::new();
    let mut rest = value.trim_matches(' ');
    while !rest.is_empty() {
        let (name, after) = key(rest)?;
        let (bytes, after) = match after.strip_prefix('=') {
            Some(after) => item(after)?,
            None => (None, after),
        };
        let after = parameters(after)?.trim_start_matches([' ', '\t']);
        if let Some(algorithm) = algorithm(name) {
            let checksum = Checksum::from_bytes(algorithm, &bytes?)?;
            // Of two members of one name the later counts.
            found.retain(|earlier| earlier.algorithm() != algorithm);
            found.push(checksum);
        }
        rest = match after.strip_prefix(',') {
            // A comma has something after it.
            Some(after) => Some(after.trim_start_matches([' ', '\t'])).filter(|r| !r.is_empty())?,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(found)
}

fn key(text: &str) -> Option<(&str, &str)> {
    let first = |c: char| c.is_ascii_lowercase() || c == '*';
    let other = |c: char| first(c) || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    text.starts_with(first).then_some(())?;
    Some(text.split_at(text.find(|c| !other(c)).unwrap_or(text.len())))
}

/// An item without its parameters: its bytes if it is a byte sequence, and what follows.
fn item(text: &str) -> Option<(Option<Vec<u8>>, &str)> {
    if let Some(inner) = text.strip_prefix(':') {
        let (encoded, rest) = inner.split_once(':')?;
        return Some((Some(decode(encoded)?), rest));
    }
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = inner.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        return Some((None, &inner[end + 1..]));
    }
    // A number, a token or a truth value.
    let bare = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '"' | '(' | ')');
    let end = text.find(|c| !bare(c)).unwrap_or(text.len());
    (end > 0).then(|| (None, &text[end..]))
}

fn parameters(mut text: &str) -> Option<&str> {
    while let Some(after) = text.strip_prefix(';') {
        let (_, after) = key(after.trim_start_matches(' '))?;
        text = match after.strip_prefix('=') {
            Some(after) => item(after)?.1,
            None => after,
        };
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes of "abc", in Base64.
    const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";
    const SHA1: &str = "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";
    const SHA256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn shown(checksum: Option<Checksum>) -> Option<String> {
        checksum.map(|sum| format!("{} {}", sum.algorithm(), &sum.to_hex()[..4]))
    }

    fn structured(value: &str) -> Option<String> {
        let fields = DigestFields {
            repr_digest: Some(value),
            ..DigestFields::default()
        };
        shown(served(&fields))
    }

    fn listed(value: &str) -> Option<String> {
        let fields = DigestFields {
            digest: Some(value),
            ..DigestFields::default()
        };
        shown(served(&fields))
    }

    #[test]
    fn dictionaries_of_byte_sequences_are_read_and_the_strongest_counts() {
        let sha256 = Some("sha-256 ba78".to_owned());
        for value in [
            format!("sha-256=:{SHA256}:"),
            format!("  sha-256=:{SHA256}:  "),
            format!("md5=:{MD5}:, sha-256=:{SHA256}:"),
            format!("sha-256=:{SHA256}:,\tsha=:{SHA1}:"),
            format!("sha-256=:{SHA256}:;q=1;x=\"a,\\\"b\", crc32c=:AAAA:"),
            format!("unixsum=30637, sha-256=:{SHA256}:, x"),
            format!("x;a, y=?1, sha-256=:{SHA256}:"),
            format!("sha-256=:{}:", SHA256.trim_end_matches('=')),
            format!("sha-256=:AAAA{}:, sha-256=:{SHA256}:", &SHA256[4..]),
        ] {
            assert_eq!(structured(&value), sha256, "{value}");
        }
        assert_eq!(
            structured(&format!("sha=:{SHA1}:")),
            Some("sha-1 a999".to_owned())
        );
    }

    #[test]
    fn malformed_and_unknown_dictionaries_say_nothing() {
        for value in [
            String::new(),
            "crc32c=:AAAAAA==:".to_owned(),
            format!("sha-256={SHA256}"),
            format!("sha-256=:{SHA256}"),
            format!("sha-256=:{SHA256}:,"),
            format!("sha-256=:{SHA256}: sha=:{SHA1}:"),
            format!("SHA-256=:{SHA256}:"),
            format!("sha-256=:{MD5}:"),
            format!("sha-256=:{SHA256}:, =x"),
            format!("sha-256=:{SHA256}:;"),
            "sha-256=:!!!!:".to_owned(),
            "sha-256".to_owned(),
            "sha-256=".to_owned(),
            "sha-256=\"".to_owned(),
            "é=:AAAA:".to_owned(),
        ] {
            assert_eq!(structured(&value), None, "{value}");
        }
    }

    #[test]
    fn the_older_list_is_read_too() {
        for value in [
            format!("SHA-256={SHA256}"),
            format!("md5={MD5},SHA-256={SHA256}"),
            format!("sha-256={SHA256}, UNIXsum=30637"),
            format!("id-sha-256={SHA256}"),
        ] {
            assert_eq!(listed(&value).as_deref(), Some("sha-256 ba78"), "{value}");
        }
        assert_eq!(listed(&format!("MD5={MD5}")).as_deref(), Some("md5 9001"));
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for value in ["", "SHA-256", "adler32=03da0195", &format!("SHA-256={hex}")] {
            assert_eq!(listed(value), None, "{value}");
        }
    }

    #[test]
    fn a_part_is_held_against_digests_of_the_whole_only() {
        let repr = format!("sha=:{SHA1}:");
        let content = format!("sha-256=:{SHA256}:");
        let all = DigestFields {
            repr_digest: Some(&repr),
            content_digest: Some(&content),
            content_md5: Some(MD5),
            ..DigestFields::default()
        };
        assert_eq!(shown(served(&all)).as_deref(), Some("sha-256 ba78"));
        let part = DigestFields {
            is_part: true,
            ..all
        };
        assert_eq!(shown(served(&part)).as_deref(), Some("sha-1 a999"));
        let old = DigestFields {
            repr_digest: None,
            content_digest: None,
            ..all
        };
        assert_eq!(shown(served(&old)).as_deref(), Some("md5 9001"));
        assert_eq!(
            served(&DigestFields {
                is_part: true,
                ..old
            }),
            None
        );
    }

    #[test]
    fn a_coded_file_is_not_held_against_them() {
        for (encoding, counts) in [("identity", true), ("gzip", false), ("", false)] {
            let fields = DigestFields {
                content_md5: Some(MD5),
                encoding: Some(encoding),
                ..DigestFields::default()
            };
            assert_eq!(served(&fields).is_some(), counts, "{encoding}");
        }
    }
}
