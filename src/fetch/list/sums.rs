//! What `sha256sum` and its like print, with URLs in place of names.

use crate::fetch::checksum::{Algorithm, Checksum};
use crate::fetch::entry::Entry;

/// The entry that a line is.
pub(super) fn entry(text: &str, line: u64) -> Entry {
    match read(text.trim()) {
        Some((checksum, url)) => Entry::parse(url, Some(line)).checksum(checksum),
        None => {
            let reason = "neither HASH  URL nor ALGORITHM (URL) = HASH";
            Entry::bad(text.trim().as_bytes(), Some(line), reason)
        }
    }
}

/// Tells whether a line is a hash and a URL.
pub(super) fn is_one(line: &[u8]) -> bool {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| read(text.trim()))
        .is_some_and(|(_, url)| url.contains("://"))
}

/// `HASH  URL`, `HASH *URL`, or `SHA256 (URL) = HASH`.
fn read(text: &str) -> Option<(Checksum, &str)> {
    if let Some((name, rest)) = text.split_once(" (")
        && let Some(algorithm) = Algorithm::named(name)
    {
        let (url, digits) = rest.rsplit_once(") = ")?;
        return Some((Checksum::from_hex(algorithm, digits)?, url));
    }
    let (digits, rest) = text.split_once(' ')?;
    let algorithm = match digits.len() {
        32 => Algorithm::Md5,
        40 => Algorithm::Sha1,
        64 => Algorithm::Sha256,
        128 => Algorithm::Sha512,
        _ => return None,
    };
    let url = rest.strip_prefix([' ', '*'])?;
    Some((Checksum::from_hex(algorithm, digits)?, url))
}
