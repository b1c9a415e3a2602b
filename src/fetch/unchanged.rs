//! Whether the file on the disk is the one that the server has. Pure.
//!
//! Two questions, and they are not the same:
//! - *Is it newer?* is for the server: the request carries what is known of the file, and
//!   status 304 says that nothing has changed since.
//! - *Is this file whole, and that version?* is answered here, from the head of an answer.
//!   Status 304 does not tell: a file that was cut off has a date, too.

use std::time::{Duration, SystemTime};

use super::client::Known;
use super::resume::Pin;
use crate::proto::http::{EntityTag, format_date, parse_date};

/// What stands on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// What the journal knows of a file that was saved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before<'a> {
    pub(crate) bytes: u64,
    /// The file's own date of change when it was saved.
    pub(crate) modified: Option<SystemTime>,
    pub(crate) etag: Option<&'a str>,
    pub(crate) last_modified: Option<&'a str>,
}

impl Before<'_> {
    /// Tells whether the file is as it was saved: who changes it changes its date.
    fn is_still(&self, on_disk: OnDisk) -> bool {
        let same_date = self.modified.is_none_or(|at| at == on_disk.modified);
        self.bytes == on_disk.bytes && same_date
    }
}

/// The conditions of a request: the file is sent only if it is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
}

impl Conditions {
    /// The conditions for a file that is on the disk; `None` if it must be sent anyway: it
    /// is known to be not what was saved.
    ///
    /// Without a journal the file's own date is asked about, which is right if it is the
    /// server's (see [`remote_time`](super::Downloader::remote_time)), and else the day
    /// on which it was fetched.
    pub(crate) fn of(on_disk: OnDisk, known: Option<Before<'_>>) -> Option<Self> {
        if known.is_some_and(|known| !known.is_still(on_disk)) {
            return None;
        }
        let known = known.unwrap_or_default();
        let tag = known.etag.filter(|tag| EntityTag::parse(tag).is_some());
        let date = known.last_modified.filter(|at| parse_date(at).is_some());
        Some(Self {
            if_none_match: tag.map(str::to_owned),
            // Servers that know the tag go by it alone (RFC 9110, section 13.1.3).
            if_modified_since: match date {
                Some(date) => Some(date.to_owned()),
                None => format_date(on_disk.modified),
            },
        })
    }

    /// As a request carries them.
    pub(crate) fn known(&self) -> Known<'_> {
        Known {
            etag: self.if_none_match.as_deref(),
            modified: self.if_modified_since.as_deref(),
        }
    }
}

/// Tells whether what is on the disk is the very file that an answer brings: its size and
/// its version are the same.
///
/// The version is told by a strong entity tag that the journal has noted, or by the file's
/// date, if that is the server's to the second, and the server's is old enough to tell
/// versions apart.
pub(crate) fn is_same(on_disk: OnDisk, known: Option<Before<'_>>, answer: &Pin) -> bool {
    if answer.total() != Some(on_disk.bytes) {
        return false;
    }
    let tags = known
        .filter(|known| known.is_still(on_disk))
        .and_then(|known| known.etag)
        .and_then(EntityTag::parse)
        .zip(answer.etag.as_deref().and_then(EntityTag::parse));
    match tags {
        Some((ours, theirs)) if ours.matches_strongly(theirs) => return true,
        Some((ours, theirs)) if !ours.matches(theirs) => return false,
        // A weak tag leaves it to the date.
        _ => {}
    }
    let theirs = answer.last_modified.as_deref().and_then(parse_date);
    theirs.is_some_and(|theirs| seconds(theirs) == seconds(on_disk.modified))
}

/// The date that a file gets from the server: that of its last change, but none
/// in the future, which programs such as `make` stumble over.
pub(crate) fn modified(last_modified: &str, now: SystemTime) -> Option<SystemTime> {
    let modified = parse_date(last_modified)?;
    (modified <= now).then_some(modified)
}

/// Whole seconds since 1970, which is what HTTP dates tell; before, none.
fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.ok().as_ref().map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::resume::Fields;

    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    fn on_disk(bytes: u64) -> OnDisk {
        let modified = parse_date(CHANGED).unwrap() + Duration::from_millis(250);
        OnDisk { bytes, modified }
    }

    fn known(etag: Option<&'static str>) -> Before<'static> {
        Before {
            bytes: 100,
            etag,
            ..Before::default()
        }
    }

    /// What was saved a quarter of a second after `date`.
    fn saved_at(date: &str) -> Before<'static> {
        Before {
            modified: parse_date(date).map(|at| at + Duration::from_millis(250)),
            ..known(Some("\"a\""))
        }
    }

    fn pin(etag: Option<&str>, last_modified: Option<&str>) -> Pin {
        Pin::of(&Fields {
            etag,
            last_modified,
            date: Some("Tue, 06 Nov 2001 08:49:37 GMT"),
            content_length: Some(100),
            ..Fields::default()
        })
    }

    #[test]
    fn the_server_is_asked_about_what_is_known() {
        let conditions = |tag: Option<&str>, date: &str| {
            Some(Conditions {
                if_none_match: tag.map(str::to_owned),
                if_modified_since: Some(date.to_owned()),
            })
        };
        let tag = known(Some("\"a\""));
        let dated = Before {
            last_modified: Some(LATER),
            ..tag
        };
        for (known, expected) in [
            (None, conditions(None, CHANGED)),
            (Some(tag), conditions(Some("\"a\""), CHANGED)),
            (Some(dated), conditions(Some("\"a\""), LATER)),
            (
                Some(known(Some("W/\"a\""))),
                conditions(Some("W/\"a\""), CHANGED),
            ),
            (Some(known(Some("no tag"))), conditions(None, CHANGED)),
        ] {
            assert_eq!(Conditions::of(on_disk(100), known), expected, "{known:?}");
        }
        // Somebody has cut or changed it since.
        assert_eq!(Conditions::of(on_disk(99), Some(tag)), None);
        assert_eq!(Conditions::of(on_disk(100), Some(saved_at(LATER))), None);
        let still = Conditions::of(on_disk(100), Some(saved_at(CHANGED)));
        assert_eq!(still, conditions(Some("\"a\""), CHANGED));
    }

    #[test]
    fn a_file_is_the_same_by_size_and_version_only() {
        let tag = Some(known(Some("\"a\"")));
        let weak = Some(known(Some("W/\"a\"")));
        let a = Some("\"a\"");
        let changed = Some(CHANGED);
        for (bytes, known, pin, expected) in [
            (100, None, pin(None, changed), true),
            (99, None, pin(None, changed), false),
            (100, None, pin(None, Some(LATER)), false),
            (100, None, pin(a, None), false),
            (100, None, pin(None, None), false),
            (100, tag, pin(a, None), true),
            (100, tag, pin(a, Some(LATER)), true),
            (100, tag, pin(Some("\"b\""), changed), false),
            (100, tag, pin(None, changed), true),
            (100, weak, pin(Some("W/\"a\""), None), false),
            (100, weak, pin(Some("W/\"a\""), changed), true),
            (100, weak, pin(Some("W/\"b\""), changed), false),
            (99, tag, pin(a, changed), false),
        ] {
            let same = is_same(on_disk(bytes), known, &pin);
            assert_eq!(same, expected, "{bytes} {known:?} {pin:?}");
        }
        // Changed here since it was saved: the tag is not its own any more.
        for (saved, pin, expected) in [
            (saved_at(CHANGED), pin(a, None), true),
            (saved_at(LATER), pin(a, None), false),
            (saved_at(LATER), pin(a, changed), true),
        ] {
            let same = is_same(on_disk(100), Some(saved), &pin);
            assert_eq!(same, expected, "{saved:?} {pin:?}");
        }
        let unsized_answer = Pin::of(&Fields {
            last_modified: changed,
            ..Fields::default()
        });
        assert!(!is_same(on_disk(100), None, &unsized_answer));
    }

    #[test]
    fn dates_are_taken_from_the_past_only() {
        let now = parse_date(LATER).unwrap();
        assert_eq!(modified(CHANGED, now), parse_date(CHANGED));
        assert_eq!(modified("Sun, 06 Nov 2094 08:49:37 GMT", now), None);
        assert_eq!(modified("yesterday", now), None);
    }
}
