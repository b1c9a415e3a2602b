//! What an outcome tells of the last answer's head.

use std::net::SocketAddr;

use reqwest::Version;

/// The head of an answer, as far as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) status: u16,
    /// Followed on the way to it.
    pub(crate) redirects: u32,
    /// Whom the connection was with.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) version: Option<&'static str>,
    pub(crate) accepts_ranges: Option<bool>,
}

/// The number of a version, as curl writes it.
pub(crate) fn number(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// What `Accept-Ranges` says of parts of a file; nothing if it is of no known unit.
pub(crate) fn accepts_ranges(units: &str) -> Option<bool> {
    let mut units = units.split(',').map(str::trim);
    units.find_map(|unit| match unit {
        _ if unit.eq_ignore_ascii_case("bytes") => Some(true),
        _ if unit.eq_ignore_ascii_case("none") => Some(false),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_ranges_are_told_apart() {
        for (units, expected) in [
            ("bytes", Some(true)),
            ("Bytes", Some(true)),
            ("lines, bytes", Some(true)),
            (" none ", Some(false)),
            ("lines", None),
            ("", None),
        ] {
            assert_eq!(accepts_ranges(units), expected, "{units:?}");
        }
    }
}
