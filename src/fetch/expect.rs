//! Guards against answers that say 200 and are not the file: a page that says "not found"
//! to people only. Pure.

use super::failure::{Failure, FailureKind};
use crate::util::defuse;

/// A media type that is expected, or with a `!` before it one that is not: `image/*`,
/// `application/zip`, `!text/html`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypePattern {
    refuses: bool,
    /// Lower case; `*` stands for any text.
    pattern: String,
}

impl TypePattern {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim();
        let (refuses, pattern) = match text.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, text),
        };
        Self {
            refuses,
            pattern: pattern.trim().to_ascii_lowercase(),
        }
    }
}

/// Holds the `Content-Type` of an answer against the patterns: it is none of those that
/// are refused, and one of the others, if there are others.
pub(crate) fn judge_type(patterns: &[TypePattern], field: Option<&str>) -> Result<(), Failure> {
    let essence = field.map(essence);
    let is = |p: &TypePattern| {
        let of = |essence: &String| matches(&p.pattern, essence);
        essence.as_ref().is_some_and(of)
    };
    let mut wanted = patterns.iter().filter(|p| !p.refuses).peekable();
    let refused = patterns.iter().any(|p| p.refuses && is(p));
    if !refused && (wanted.peek().is_none() || wanted.any(is)) {
        return Ok(());
    }
    let text = match essence {
        Some(essence) => format!("it is {}, which is not expected", defuse(&essence)),
        None => "the server does not say what type it is".to_owned(),
    };
    Err(Failure::new(FailureKind::BadResponse, text))
}

/// Holds the size of a file against the smallest that is expected.
pub(crate) fn judge_size(size_min: u64, size: Option<u64>) -> Result<(), Failure> {
    match size {
        Some(size) if size < size_min => {
            let text = format!("it has {size} bytes, fewer than the {size_min} that are expected");
            Err(Failure::new(FailureKind::BadResponse, text))
        }
        _ => Ok(()),
    }
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(field: &str) -> String {
    let end = field.find([';', ',']).unwrap_or(field.len());
    field[..end].trim().to_ascii_lowercase()
}

/// Tells whether `text` is the pattern, with anything for each `*`. Takes time in
/// proportion to both: what stands between two stars is found at its first place.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((front, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(front) else {
        return false;
    };
    let mut pieces: Vec<_> = rest.split('*').collect();
    let back = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(patterns: &[&str], field: Option<&str>) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|p| TypePattern::new(p)).collect();
        judge_type(&patterns, field).is_ok()
    }

    #[test]
    fn types_are_expected_by_pattern() {
        for (patterns, field, accepted) in [
            (&[][..], Some("text/html"), true),
            (&[], None, true),
            (&["application/zip"], Some("application/zip"), true),
            (&["application/zip"], Some("Application/ZIP; x=y"), true),
            (
                &["application/zip"],
                Some("text/html; charset=utf-8"),
                false,
            ),
            (&["application/zip"], None, false),
            (&["image/*", "video/*"], Some("video/mp4"), true),
            (&["image/*", "video/*"], Some("text/plain"), false),
            (&["*"], Some("text/plain"), true),
            (&["*"], None, false),
            (&["!text/html"], Some("application/zip"), true),
            (&["!text/html"], Some("text/html"), false),
            (&[" !TEXT/* "], Some("text/html"), false),
            (&["!text/html"], None, true),
            (&["text/*", "!text/html"], Some("text/plain"), true),
            (&["text/*", "!text/html"], Some("text/html"), false),
            (&["a*c*e"], Some("abcde"), true),
            (&["a*c*e"], Some("ace"), true),
            (&["a*c*e"], Some("aec"), false),
            (&["aa*aa"], Some("aaa"), false),
        ] {
            assert_eq!(accepts(patterns, field), accepted, "{patterns:?} {field:?}");
        }
    }

    #[test]
    fn a_failure_says_what_it_is() {
        let patterns = [TypePattern::new("application/zip")];
        let failure = judge_type(&patterns, Some("text/html; q=\u{1b}")).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::BadResponse);
        assert!(failure.to_string().contains("text/html"), "{failure}");
        let failure = judge_size(6, Some(5)).unwrap_err();
        assert!(failure.to_string().contains("5 bytes"), "{failure}");
        assert!(judge_size(6, Some(6)).is_ok() && judge_size(6, None).is_ok());
    }
}
