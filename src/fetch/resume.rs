//! Which bytes of a partial file may be kept: only those of the version that the server
//! still has. Pure.
//!
//! The first answer is *pinned*: its entity tag, its date of change, its size. Every
//! request for the rest carries the pin in `If-Range`, and every answer to it is checked
//! against the pin once more, because there are servers that ignore `If-Range`. Whatever
//! does not match starts the file over; two versions are never joined.

use crate::proto::http::{ContentRange, EntityTag, parse_date};

/// The fields of an answer that resuming looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) etag: Option<&'a str>,
    pub(crate) last_modified: Option<&'a str>,
    pub(crate) date: Option<&'a str>,
    pub(crate) accept_ranges: Option<&'a str>,
    pub(crate) content_range: Option<&'a str>,
    pub(crate) content_length: Option<u64>,
}

/// What names the version of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pin {
    /// As sent, with its quotes.
    pub(crate) etag: Option<String>,
    /// As sent; only if it is old enough to tell versions apart.
    pub(crate) last_modified: Option<String>,
    /// Size of the whole file.
    pub(crate) total: Option<u64>,
}

/// What an answer's body is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the whole file: write it from the start.
    Whole(Pin),
    /// It is the rest of the file: append `bytes` of it, and not one more.
    Rest {
        /// The range's length.
        bytes: u64,
        /// Size of the whole file.
        total: u64,
    },
    /// It does not fit what is there: ask for the whole file. The reason, in words.
    Restart(&'static str),
    /// It is neither.
    NoFile,
}

/// What an answer to a request for a segment is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// It begins where it should, and `bytes` of it may follow.
    Part {
        /// The length of the range that came, not of the one asked for.
        bytes: u64,
    },
    /// It is the whole file, of the right version: the range was ignored.
    Whole,
    /// It is of another version: what came of this one is worth nothing.
    Changed(&'static str),
    /// The server does not keep to ranges.
    Unusable(&'static str),
    /// It is neither.
    NoFile,
}

/// Why a part does not fit.
enum Misfit {
    Changed(&'static str),
    Unusable(&'static str),
}

impl Pin {
    /// Pins the version that a whole answer (200) brings.
    pub(crate) fn of(fields: &Fields<'_>) -> Self {
        let refuses = fields
            .accept_ranges
            .is_some_and(|unit| unit.trim() == "none");
        let (etag, last_modified) = match refuses {
            true => (None, None),
            false => (
                fields.etag,
                fields
                    .last_modified
                    .filter(|at| is_settled(at, fields.date)),
            ),
        };
        Self {
            etag: etag
                .filter(|tag| EntityTag::parse(tag).is_some())
                .map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
            total: fields.content_length,
        }
    }

    /// The value for `If-Range`: a strong entity tag, else the date of change. `None`:
    /// nothing tells versions apart, so nothing can be resumed.
    pub(crate) fn validator(&self) -> Option<&str> {
        let etag = self.etag.as_deref();
        etag.filter(|tag| EntityTag::parse(tag).is_some_and(|tag| !tag.weak))
            .or(self.last_modified.as_deref())
    }

    /// Size of the whole file, if it is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// How many of `length` bytes on disk the next request builds on.
    ///
    /// At least one byte is always asked for again: a range behind the last byte gets
    /// status 416 and no validator, and we could not tell a whole file from a wrong one.
    pub(crate) fn keeps(&self, length: u64) -> u64 {
        if self.validator().is_none() {
            return 0;
        }
        match self.total {
            // More than there is: not our file.
            Some(total) if length > total => 0,
            Some(total) => length.min(total.saturating_sub(1)),
            None => length.saturating_sub(1),
        }
    }

    /// Tells whether a whole answer brings the same version, so that it can be left for
    /// the rest of it.
    pub(crate) fn is_same_version(&self, other: &Self) -> bool {
        self.validator().is_some() && self == other
    }

    /// Checks an answer with status 206 to a request for everything after `kept`.
    fn judge_rest(&self, kept: u64, fields: &Fields<'_>) -> Verdict {
        match self.check_part(kept, fields) {
            Ok((bytes, total)) => Verdict::Rest { bytes, total },
            Err(Misfit::Changed(why) | Misfit::Unusable(why)) => Verdict::Restart(why),
        }
    }

    /// Checks a part that should begin at `first`; returns its length and the whole's.
    fn check_part(&self, first: u64, fields: &Fields<'_>) -> Result<(u64, u64), Misfit> {
        let Some(range) = fields.content_range else {
            return Err(Misfit::Unusable("a part without Content-Range"));
        };
        let Some(ContentRange::Bytes {
            first: begins,
            last,
            total,
        }) = ContentRange::parse(range)
        else {
            return Err(Misfit::Unusable("a part with a malformed Content-Range"));
        };
        if begins != first {
            return Err(Misfit::Unusable("a part that begins elsewhere"));
        }
        let Some(total) = total.or(self.total) else {
            return Err(Misfit::Unusable("a part of unknown whole"));
        };
        if self.total.is_some_and(|pinned| pinned != total) || last >= total {
            return Err(Misfit::Changed("the size changed"));
        }
        if fields.etag.is_none() && !self.etag_fits(None) {
            return Err(Misfit::Unusable("a part without its entity tag"));
        }
        if !self.etag_fits(fields.etag) || !self.date_fits(fields.last_modified) {
            return Err(Misfit::Changed("the file changed"));
        }
        Ok((last - begins + 1, total))
    }

    /// Judges the answer to a request for a segment from `first` on.
    ///
    /// The difference that matters: another version spoils what the other segments
    /// fetch, and a server that does not keep to ranges only spoils this one.
    pub(crate) fn judge_segment(&self, status: u16, first: u64, fields: &Fields<'_>) -> Segment {
        match status {
            206 => match self.check_part(first, fields) {
                Ok((bytes, _)) => Segment::Part { bytes },
                Err(Misfit::Changed(why)) => Segment::Changed(why),
                Err(Misfit::Unusable(why)) => Segment::Unusable(why),
            },
            200 if self.is_same_version(&Self::of(fields)) => Segment::Whole,
            200 => Segment::Changed("another version was sent"),
            416 => Segment::Unusable("the range is refused"),
            _ => Segment::NoFile,
        }
    }

    /// A server that gave a tag gives it again with every part (RFC 9110, section
    /// 15.3.7): its absence is a change, too.
    fn etag_fits(&self, etag: Option<&str>) -> bool {
        let Some(pinned) = self.etag.as_deref().and_then(EntityTag::parse) else {
            return true;
        };
        match etag.and_then(EntityTag::parse) {
            Some(etag) if pinned.weak => pinned.matches(etag),
            Some(etag) => pinned.matches_strongly(etag),
            None => pinned.weak,
        }
    }

    /// Parts need not repeat the date; if they do, it is the same.
    fn date_fits(&self, last_modified: Option<&str>) -> bool {
        match (&self.last_modified, last_modified) {
            (Some(pinned), Some(date)) => pinned == date,
            _ => true,
        }
    }
}

/// Tells whether a date of change is far enough before the answer that a second change
/// within its one-second grain would have shown (RFC 9110, section 8.8.2.2). A server that
/// does not say when it answered is not believed.
fn is_settled(last_modified: &str, date: Option<&str>) -> bool {
    match (parse_date(last_modified), date.and_then(parse_date)) {
        (Some(changed), Some(now)) => now.duration_since(changed).is_ok_and(|d| d.as_secs() >= 1),
        _ => false,
    }
}

/// Judges an answer. `asked` is what the request wanted to build on, if it did: the pin
/// and how many bytes are kept.
pub(crate) fn judge(status: u16, asked: Option<(&Pin, u64)>, fields: &Fields<'_>) -> Verdict {
    match (status, asked) {
        (200, _) => Verdict::Whole(Pin::of(fields)),
        (206, Some((pin, kept))) => pin.judge_rest(kept, fields),
        (416, Some(_)) => Verdict::Restart("the range is refused"),
        _ => Verdict::NoFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    fn whole(etag: Option<&'static str>) -> Fields<'static> {
        Fields {
            etag,
            content_length: Some(100),
            ..Fields::default()
        }
    }

    fn part(etag: Option<&'static str>, range: &'static str) -> Fields<'static> {
        Fields {
            etag,
            content_range: Some(range),
            ..Fields::default()
        }
    }

    #[test]
    fn the_validator_is_a_strong_tag_else_a_settled_date() {
        let fields = |etag, last_modified, date| Fields {
            etag,
            last_modified,
            date,
            ..whole(None)
        };
        for (fields, expected) in [
            (
                fields(Some("\"a\""), Some(CHANGED), Some(DATE)),
                Some("\"a\""),
            ),
            (
                fields(Some("W/\"a\""), Some(CHANGED), Some(DATE)),
                Some(CHANGED),
            ),
            (fields(Some("a"), Some(CHANGED), Some(DATE)), Some(CHANGED)),
            (fields(None, Some(CHANGED), Some(DATE)), Some(CHANGED)),
            (fields(None, Some(CHANGED), None), None),
            // Changed in the second in which it was sent.
            (fields(None, Some(CHANGED), Some(CHANGED)), None),
            (fields(None, Some("yesterday"), Some(DATE)), None),
            (fields(Some("W/\"a\""), None, None), None),
            (fields(None, None, None), None),
        ] {
            assert_eq!(Pin::of(&fields).validator(), expected, "{fields:?}");
        }
        let refuses = Fields {
            accept_ranges: Some("none"),
            ..whole(Some("\"a\""))
        };
        assert_eq!(Pin::of(&refuses).validator(), None);
        assert_eq!(Pin::of(&refuses).total(), Some(100));
    }

    #[test]
    fn something_is_always_left_to_ask_for() {
        let pin = Pin::of(&whole(Some("\"a\"")));
        assert_eq!(pin.keeps(0), 0);
        assert_eq!(pin.keeps(50), 50);
        assert_eq!(pin.keeps(100), 99);
        assert_eq!(pin.keeps(101), 0, "longer than the file: foreign");
        let unknown = Pin {
            total: None,
            ..pin.clone()
        };
        assert_eq!(unknown.keeps(50), 49);
        let empty = Pin {
            total: Some(0),
            ..pin
        };
        assert_eq!(empty.keeps(0), 0);
        assert_eq!(
            Pin::of(&whole(None)).keeps(50),
            0,
            "nothing tells versions apart"
        );
    }

    #[test]
    fn a_part_is_taken_only_if_it_fits_the_pin() {
        let pin = Pin::of(&whole(Some("\"a\"")));
        let judged = |fields: &Fields<'_>| judge(206, Some((&pin, 50)), fields);
        let a = Some("\"a\"");
        let rest = Verdict::Rest {
            bytes: 50,
            total: 100,
        };
        assert_eq!(judged(&part(a, "bytes 50-99/100")), rest);
        assert_eq!(judged(&part(a, "bytes 50-99/*")), rest);
        let short = Verdict::Rest {
            bytes: 10,
            total: 100,
        };
        assert_eq!(judged(&part(a, "bytes 50-59/100")), short);
        for (fields, why) in [
            (part(Some("\"b\""), "bytes 50-99/100"), "another tag"),
            (part(Some("W/\"a\""), "bytes 50-99/100"), "a weak tag"),
            (part(None, "bytes 50-99/100"), "no tag"),
            (part(a, "bytes 49-99/100"), "begins before"),
            (part(a, "bytes 51-99/100"), "begins after"),
            (part(a, "bytes 0-99/100"), "begins at the start"),
            (part(a, "bytes 50-99/200"), "another size"),
            (part(a, "bytes 50-100/*"), "past the end"),
            (part(a, "bytes */100"), "no range"),
            (part(a, "garbage"), "garbage"),
            (whole(a), "no Content-Range, as in multipart"),
        ] {
            assert!(matches!(judged(&fields), Verdict::Restart(_)), "{why}");
        }
    }

    #[test]
    fn a_segment_tells_another_version_from_a_server_without_ranges() {
        let pin = Pin::of(&whole(Some("\"a\"")));
        let a = Some("\"a\"");
        for (status, fields, expected) in [
            (206, part(a, "bytes 50-79/100"), Some(30)),
            (206, part(a, "bytes 50-50/*"), Some(1)),
        ] {
            let bytes = expected.unwrap();
            let judged = pin.judge_segment(status, 50, &fields);
            assert_eq!(judged, Segment::Part { bytes });
        }
        for (fields, why) in [
            (part(Some("\"b\""), "bytes 50-79/100"), "another tag"),
            (part(a, "bytes 50-79/200"), "another size"),
        ] {
            let judged = pin.judge_segment(206, 50, &fields);
            assert!(matches!(judged, Segment::Changed(_)), "{why}: {judged:?}");
        }
        for (fields, why) in [
            (part(a, "bytes 0-79/100"), "begins elsewhere"),
            (part(a, "lines 50-79/100"), "another unit"),
            (part(None, "bytes 50-79/100"), "no tag"),
            (whole(a), "no Content-Range, as in multipart"),
        ] {
            let judged = pin.judge_segment(206, 50, &fields);
            assert!(matches!(judged, Segment::Unusable(_)), "{why}: {judged:?}");
        }
        let judged = pin.judge_segment(416, 50, &whole(a));
        assert!(matches!(judged, Segment::Unusable(_)));
        assert_eq!(pin.judge_segment(200, 50, &whole(a)), Segment::Whole);
        for other in [whole(Some("\"b\"")), whole(None)] {
            let judged = pin.judge_segment(200, 50, &other);
            assert!(matches!(judged, Segment::Changed(_)));
        }
        for status in [204, 302, 403, 503] {
            assert_eq!(pin.judge_segment(status, 50, &whole(a)), Segment::NoFile);
        }
    }

    #[test]
    fn a_part_pinned_by_date_may_leave_the_date_out_but_not_change_it() {
        let pin = Pin::of(&Fields {
            last_modified: Some(CHANGED),
            date: Some(DATE),
            ..whole(None)
        });
        let part = part(None, "bytes 50-99/100");
        let judged = |fields: &Fields<'_>| judge(206, Some((&pin, 50)), fields);
        assert!(matches!(judged(&part), Verdict::Rest { .. }));
        let same = Fields {
            last_modified: Some(CHANGED),
            ..part
        };
        assert!(matches!(judged(&same), Verdict::Rest { .. }));
        let other = Fields {
            last_modified: Some(DATE),
            ..part
        };
        assert!(matches!(judged(&other), Verdict::Restart(_)));
    }

    #[test]
    fn a_whole_answer_restarts_and_a_part_nobody_asked_for_is_no_file() {
        let pin = Pin::of(&whole(Some("\"a\"")));
        let other = whole(Some("\"b\""));
        assert_eq!(
            judge(200, Some((&pin, 50)), &other),
            Verdict::Whole(Pin::of(&other))
        );
        assert_eq!(judge(200, None, &other), Verdict::Whole(Pin::of(&other)));
        assert_eq!(
            judge(206, None, &part(None, "bytes 0-9/10")),
            Verdict::NoFile
        );
        assert!(matches!(
            judge(416, Some((&pin, 50)), &other),
            Verdict::Restart(_)
        ));
        for status in [204, 205, 302, 304, 404, 416, 500] {
            assert_eq!(judge(status, None, &other), Verdict::NoFile, "{status}");
        }
    }
}
