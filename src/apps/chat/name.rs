//! What a member may be called.

use std::fmt;

/// A name as it is shown, and the form by which names are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    shown: Box<str>,
    folded: Box<str>,
}

/// Why something is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadName {
    Empty,
    TooLong,
    Forbidden,
}

impl Name {
    /// A name of letters and digits of any script, and `-`, `_`, `.` after the first.
    ///
    /// That leaves out spaces, controls, marks of direction and everything of no width, by
    /// which one name could look like another or like no name; and `*` and `[`, with which
    /// the server's own lines begin. Letters of different scripts that look alike remain.
    pub(super) fn new(text: &str) -> Result<Self, BadName> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > NAME_BYTES_MAX || text.chars().count() > NAME_CHARS_MAX {
            return Err(BadName::TooLong);
        }
        let may_stand = |(at, c): (usize, char)| is_letter(c) || (at > 0 && "-_.".contains(c));
        if !text.char_indices().all(may_stand) {
            return Err(BadName::Forbidden);
        }
        Ok(Self {
            shown: text.into(),
            folded: fold(text),
        })
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The same for two names that differ only in case.
    pub(super) fn folded(&self) -> &str {
        &self.folded
    }
}

/// A letter or digit that can be seen.
fn is_letter(c: char) -> bool {
    // Letters by their category that are shown as nothing: fillers of Hangul and Khmer.
    let is_filler = matches!(
        c,
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
    );
    c.is_alphanumeric() && !is_filler
}

/// By way of upper case, in which `ß` is `SS` and both small sigmas are one.
fn fold(text: &str) -> Box<str> {
    let upper = text.chars().flat_map(char::to_uppercase);
    upper
        .flat_map(char::to_lowercase)
        .collect::<String>()
        .into()
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name has at least one letter"),
            Self::TooLong => write!(
                f,
                "a name has at most {NAME_CHARS_MAX} letters and {NAME_BYTES_MAX} bytes"
            ),
            Self::Forbidden => f.write_str("a name is letters and digits, with - _ . between"),
        }
    }
}

/// Longer than nearly all names, short enough for the text beside it.
const NAME_CHARS_MAX: usize = 24;
/// 24 letters of most scripts, and no stack of marks upon marks.
const NAME_BYTES_MAX: usize = 72;

#[cfg(test)]
mod tests {
    use super::{BadName, Name};

    #[test]
    fn names_are_letters_and_digits() {
        let long = "x".repeat(25);
        let heavy = "\u{1f150}".repeat(20); // alphabetic, four bytes each
        let table = [
            ("bob", Ok(())),
            ("  bob\t", Ok(())),
            ("我爱Python", Ok(())),
            ("Ярослав-2", Ok(())),
            ("a.b_c", Ok(())),
            ("", Err(BadName::Empty)),
            (" \t ", Err(BadName::Empty)),
            ("\u{3000}", Err(BadName::Empty)),
            (&long[1..], Ok(())),
            (&long, Err(BadName::TooLong)),
            (&heavy, Err(BadName::TooLong)),
            ("*", Err(BadName::Forbidden)),
            ("-bob", Err(BadName::Forbidden)),
            ("[10:00:00]", Err(BadName::Forbidden)),
            ("bob:", Err(BadName::Forbidden)),
            ("bob smith", Err(BadName::Forbidden)),
            ("bob\u{a0}smith", Err(BadName::Forbidden)),
            ("a\nb", Err(BadName::Forbidden)),
            ("\u{1b}[2J", Err(BadName::Forbidden)),
            ("bob\0", Err(BadName::Forbidden)),
            ("bob\u{202e}", Err(BadName::Forbidden)),
            ("b\u{200b}ob", Err(BadName::Forbidden)),
            ("bob\u{feff}", Err(BadName::Forbidden)),
            ("bob\u{ad}", Err(BadName::Forbidden)),
            ("\u{3164}", Err(BadName::Forbidden)),
            ("\u{115f}", Err(BadName::Forbidden)),
            ("e\u{301}", Err(BadName::Forbidden)),
            ("bo\u{fffd}b", Err(BadName::Forbidden)),
        ];
        for (text, expected) in table {
            let name = Name::new(text);
            assert_eq!(
                name.as_ref().map(|_| ()),
                expected.as_ref().map(|_| ()),
                "{text:?}"
            );
            assert_eq!(name.err(), expected.err(), "{text:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_are_one() {
        let pairs = [
            ("Bob", "bOB"),
            ("ÉMILE", "émile"),
            ("Straße", "STRASSE"),
            ("ΣΑΣ", "σας"),
        ];
        for (one, other) in pairs {
            let (one, other) = (Name::new(one).unwrap(), Name::new(other).unwrap());
            assert_eq!(one.folded(), other.folded());
            assert_ne!(one.shown(), other.shown());
        }
    }
}
