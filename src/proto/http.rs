//! HTTP field values as data: what a header says, without a connection.
//!
//! Servers write these fields by hand, so each parser takes what clients in the wild take
//! and answers `None` to the rest; none panics or allocates from a number it was sent.

use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode;

/// Reads `Retry-After`: how long the server asks to be left alone, as seen at `now`.
///
/// A date counts from the answer's own `Date` field where there is one, because the two
/// clocks may differ; a date that is past means at once. Garbage is `None`: the caller
/// falls back on its own delay.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use greenloop::proto::http::retry_after;
///
/// let now = SystemTime::now();
/// assert_eq!(retry_after("2", None, now), Some(Duration::from_secs(2)));
/// let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
/// let later = "Sun, 06 Nov 1994 08:50:07 GMT";
/// assert_eq!(retry_after(later, date, now), Some(Duration::from_secs(30)));
/// assert_eq!(retry_after("soon", date, now), None);
/// ```
///
/// Source: RFC 9110, section 10.2.3.
pub fn retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a long time, not garbage.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = parse_date(value)?;
    let from = date.and_then(parse_date).unwrap_or(now);
    Some(until.duration_since(from).unwrap_or(Duration::ZERO))
}

/// Reads an HTTP date in any of the three formats of RFC 9110, section 5.6.7.
///
/// # Switching
/// Never switches.
pub fn parse_date(value: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(value.trim()).ok()
}

/// Writes an HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`); `None` for years that it has no
/// four digits for, and before 1970.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use greenloop::proto::http::{format_date, parse_date};
///
/// let date = format_date(SystemTime::UNIX_EPOCH).expect("it can be written");
/// assert_eq!(date, "Thu, 01 Jan 1970 00:00:00 GMT");
/// assert_eq!(parse_date(&date), Some(SystemTime::UNIX_EPOCH));
/// let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
/// assert_eq!(format_date(before), None);
/// ```
///
/// Source: RFC 9110, section 5.6.7.
pub fn format_date(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // The first second of the year 10000.
    (since.as_secs() < 253_402_300_800).then(|| httpdate::fmt_http_date(time))
}

/// What `Content-Range` says about the bytes of an answer.
///
/// Source: RFC 9110, section 14.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes FIRST-LAST/TOTAL`: both ends belong to the range.
    Bytes {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, never before `first`.
        last: u64,
        /// Size of the whole, more than `last`; `None` for `*`.
        total: Option<u64>,
    },
    /// `bytes */TOTAL`: the range asked for is not there (status 416).
    Unsatisfied {
        /// Size of the whole.
        total: u64,
    },
}

impl ContentRange {
    /// Reads a field value; `None` if it is malformed, of another unit, or contradicts
    /// itself.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::proto::http::ContentRange;
    ///
    /// let range = ContentRange::parse("bytes 5-9/10");
    /// assert_eq!(range, Some(ContentRange::Bytes { first: 5, last: 9, total: Some(10) }));
    /// assert_eq!(ContentRange::parse("bytes 9-5/10"), None);
    /// ```
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once([' ', '\t', '='])?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.trim().split_once('/')?;
        let (range, total) = (range.trim(), total.trim());
        if range == "*" {
            return Some(Self::Unsatisfied {
                total: digits(total)?,
            });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (digits(first.trim())?, digits(last.trim())?);
        let total = if total == "*" {
            None
        } else {
            Some(digits(total)?)
        };
        let consistent = first <= last && total.is_none_or(|total| last < total);
        consistent.then_some(Self::Bytes { first, last, total })
    }
}

/// Reads a decimal number the way RFC 9110 writes one: digits only, no sign, no wrap.
///
/// # Switching
/// Never switches.
pub fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// An entity tag: the name a server gives to one version of a resource.
///
/// Source: RFC 9110, section 8.8.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// A weak tag names content that is equivalent, not byte by byte the same: it says
    /// nothing about joining ranges.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a str,
}

impl<'a> EntityTag<'a> {
    /// Reads `"tag"` or `W/"tag"`; `None` for anything else, an unquoted tag included.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::proto::http::EntityTag;
    ///
    /// let strong = EntityTag::parse("\"v1\"").expect("a tag");
    /// let weak = EntityTag::parse("W/\"v1\"").expect("a tag");
    /// assert!(strong.matches(weak));
    /// assert!(!strong.matches_strongly(weak));
    /// ```
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.trim();
        let (weak, quoted) = match value.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, value),
        };
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let clean = opaque
            .bytes()
            .all(|b| b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80);
        clean.then_some(Self { weak, opaque })
    }

    /// Tells whether both name equivalent content (the weak comparison).
    ///
    /// # Switching
    /// Never switches.
    pub fn matches(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Tells whether both name the same bytes (the strong comparison).
    ///
    /// # Switching
    /// Never switches.
    pub fn matches_strongly(self, other: EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

/// A file name out of `Content-Disposition`, as the server wrote it: **not** safe to use
/// as a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuggestedName {
    /// The name; may hold separators, control characters, anything.
    pub name: String,
    /// It came from `filename*`, so percent escapes are already undone.
    pub decoded: bool,
}

/// Reads the file name that `Content-Disposition` suggests, if there is one.
///
/// `filename*` wins over `filename`, wherever it stands, unless it is malformed. Also
/// taken: raw UTF-8 (else Latin-1), a missing disposition type, values without quotes and
/// a trailing `;`.
///
/// # Switching
/// Never switches.
///
/// # Examples
///
/// ```
/// use greenloop::proto::http::content_disposition;
///
/// let field = br#"attachment; filename="EURO.txt"; filename*=UTF-8''%e2%82%ac.txt;"#;
/// let suggested = content_disposition(field).expect("a name");
/// assert_eq!(suggested.name, "€.txt");
/// ```
///
/// Source: RFC 6266, section 4; RFC 8187, section 3.2.
pub fn content_disposition(value: &[u8]) -> Option<SuggestedName> {
    let mut plain = None;
    let mut extended = None;
    for (name, value) in (Parameters { rest: value }) {
        if name.eq_ignore_ascii_case(b"filename*") {
            extended = extended.or_else(|| extended_value(&value));
        } else if name.eq_ignore_ascii_case(b"filename") {
            plain = plain.or_else(|| Some(utf8_or_latin1(&value)));
        }
    }
    let extended = extended.map(|name| SuggestedName {
        name,
        decoded: true,
    });
    extended.or_else(|| {
        plain.map(|name| SuggestedName {
            name,
            decoded: false,
        })
    })
}

/// The `name=value` pieces of a field; pieces without `=` are passed over.
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let stop = self.rest.iter().position(|b| matches!(b, b';' | b'='));
            let (name, rest) = self.rest.split_at(stop.unwrap_or(self.rest.len()));
            let [separator, after @ ..] = rest else {
                self.rest = rest;
                return None;
            };
            self.rest = after;
            if *separator == b'=' {
                let value = self.value();
                return Some((name.trim_ascii(), value));
            }
        }
    }
}

impl Parameters<'_> {
    /// Takes a quoted or bare value and the `;` after it.
    fn value(&mut self) -> Vec<u8> {
        self.rest = self.rest.trim_ascii_start();
        let mut value = Vec::new();
        if let [b'"', rest @ ..] = self.rest {
            self.rest = rest;
            self.quoted(&mut value);
        }
        let stop = self.rest.iter().position(|b| *b == b';');
        let (bare, rest) = self.rest.split_at(stop.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        if value.is_empty() {
            value.extend_from_slice(bare.trim_ascii());
        }
        value
    }

    /// Takes the inside of a quoted string and its closing quote.
    ///
    /// Only the quote and the backslash are unescaped: old servers put Windows paths
    /// here, where a backslash separates folders.
    fn quoted(&mut self, value: &mut Vec<u8>) {
        loop {
            match self.rest {
                [b'\\', b @ (b'"' | b'\\'), rest @ ..] => {
                    value.push(*b);
                    self.rest = rest;
                }
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return;
                }
                [b, rest @ ..] => {
                    value.push(*b);
                    self.rest = rest;
                }
                [] => return,
            }
        }
    }
}

/// Decodes `charset'language'percent-encoded`; `None` if it is not exactly that.
fn extended_value(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |b| *b == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(text).collect();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

fn utf8_or_latin1(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn retry_after_reads_seconds_and_dates_and_refuses_the_rest() {
        let now = parse_date("Sun, 06 Nov 1994 08:00:00 GMT").unwrap();
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, date, expected) in [
            ("0", None, seconds(0)),
            (" 120 ", None, seconds(120)),
            ("99999999999999999999999", None, seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", date, seconds(10)),
            ("Sun, 06 Nov 1994 08:00:10 GMT", None, seconds(10)),
            (
                "Sun, 06 Nov 1994 08:00:10 GMT",
                Some("garbage"),
                seconds(10),
            ),
            // Past, also when only the server's clock says so.
            ("Sun, 06 Nov 1994 08:49:00 GMT", date, seconds(0)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", date, seconds(10)),
            ("Sun Nov  6 08:49:47 1994", date, seconds(10)),
            ("", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", date, None),
            ("Sun, 99 Nov 1994 08:49:47 GMT", date, None),
        ] {
            assert_eq!(
                retry_after(value, date, now),
                expected,
                "{value:?} {date:?}"
            );
        }
    }

    #[test]
    fn content_range_is_read_or_refused() {
        let bytes = |first, last, total| Some(ContentRange::Bytes { first, last, total });
        for (value, expected) in [
            ("bytes 0-0/1", bytes(0, 0, Some(1))),
            ("bytes 5-9/10", bytes(5, 9, Some(10))),
            ("Bytes  5-9/10", bytes(5, 9, Some(10))),
            ("bytes=5-9/10", bytes(5, 9, Some(10))),
            ("bytes 5-9/*", bytes(5, 9, None)),
            ("bytes */10", Some(ContentRange::Unsatisfied { total: 10 })),
            ("bytes 5-9/5368709120", bytes(5, 9, Some(5 << 30))),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes -5-9/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-9", None),
            ("bytes 5-/10", None),
            ("bytes */*", None),
            ("lines 5-9/10", None),
            ("bytes 5-99999999999999999999999/*", None),
            ("bytes", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value:?}");
        }
    }

    #[test]
    fn numbers_are_digits_only_and_never_wrap() {
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "+1", "12abc", " 1", "18446744073709551616"] {
            assert_eq!(digits(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn entity_tags_compare_strongly_and_weakly() {
        let tag = |text| EntityTag::parse(text).unwrap();
        assert!(tag("\"a\"").matches_strongly(tag("\"a\"")));
        assert!(!tag("\"a\"").matches_strongly(tag("\"b\"")));
        assert!(!tag("W/\"a\"").matches_strongly(tag("W/\"a\"")));
        assert!(tag("W/\"a\"").matches(tag("\"a\"")));
        assert_eq!(tag("\"\"").opaque, "");
        for bad in [
            "", "a", "\"", "\"a", "w/\"a\"", "\"a\"b\"", "\"a b\"", "\"a\n\"",
        ] {
            assert_eq!(EntityTag::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn content_disposition_names() {
        for (value, expected) in [
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment; filename=\"a b.txt\"", Some("a b.txt")),
            ("attachment; filename=\"a;b.txt\"; x=y", Some("a;b.txt")),
            ("attachment; filename=\"a.txt\";", Some("a.txt")),
            ("attachment;FileName = \"a.txt\" ; ", Some("a.txt")),
            ("filename=a.txt", Some("a.txt")),
            ("attachment; filename=a b.txt", Some("a b.txt")),
            ("attachment; filename=\"\\\"q\\\".txt\"", Some("\"q\".txt")),
            (
                "attachment; filename=\"C:\\dir\\a.txt\"",
                Some("C:\\dir\\a.txt"),
            ),
            ("attachment; filename=\"open", Some("open")),
            ("attachment; filename=x; filename*=UTF-8''y", Some("y")),
            ("attachment; filename*=UTF-8'en'y; filename=x", Some("y")),
            ("attachment; filename*=utf-8''%e2%82%ac.txt", Some("€.txt")),
            ("attachment; filename*=ISO-8859-1''%e9.txt", Some("é.txt")),
            ("attachment; filename*=\"UTF-8''y\"", Some("y")),
            // Malformed or unknown: the plain one counts.
            ("attachment; filename*=UTF-8''%ff; filename=x", Some("x")),
            ("attachment; filename*=y; filename=x", Some("x")),
            ("attachment; filename*=KOI8-R''y; filename=x", Some("x")),
            (
                "attachment; filename=\"=?UTF-8?B?4oKs?=\"",
                Some("=?UTF-8?B?4oKs?="),
            ),
            ("attachment; filename=€.txt", Some("€.txt")),
            ("attachment; filename=one; filename=two", Some("one")),
            ("attachment; filename=", Some("")),
            ("attachment", None),
            ("attachment; name=x", None),
            ("inline; notfilename=x", None),
            ("", None),
            (";;;", None),
            ("=", None),
        ] {
            let name = content_disposition(value.as_bytes()).map(|suggested| suggested.name);
            assert_eq!(name.as_deref(), expected, "{value:?}");
        }
        let latin1 = content_disposition(b"attachment; filename=\"\xe9.txt\"").unwrap();
        assert_eq!(latin1.name, "é.txt");
    }
}
