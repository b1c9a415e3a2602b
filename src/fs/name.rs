//! File names that are safe to create, out of what a stranger says.
//!
//! A name is one path component: whatever the input, joining it to a folder stays in that
//! folder. Pure: whether a name is free is for who creates the file.

use crate::util::is_unsafe_on_a_terminal;

/// What a partial file is called: the name and this.
pub(crate) const PART: &str = ".part";

/// What the facts about a partial file are called: the name and this.
pub(crate) const PART_FACTS: &str = ".part.json";

/// The longest name given to a file, in bytes.
///
/// Linux file systems take 255 (`NAME_MAX`); the partial file and its facts carry a
/// suffix each and must fit too.
pub(crate) const NAME_BYTES_MAX: usize = 255 - PART_FACTS.len();

/// Makes one path component out of any text: the part after the last `/` or `\`, with
/// characters replaced by `_` that a terminal or a shell must not see, cut to
/// [`NAME_BYTES_MAX`].
///
/// `None` for what cannot be a file: empty, `.` and `..`.
pub(crate) fn safe(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or(text);
    let clean: String = last
        .chars()
        .map(|c| if is_unsafe_on_a_terminal(c) { '_' } else { c })
        .collect();
    let clean = clean.trim();
    match clean {
        "" | "." | ".." => None,
        name => Some(fit(name, "")),
    }
}

/// The `n`th name for `name`: `photo.jpg`, `photo.1.jpg`, `photo.2.jpg`, … (as aria2).
///
/// Double extensions of packed archives stay whole: `a.tar.gz`, `a.1.tar.gz`.
pub(crate) fn numbered(name: &str, n: u32) -> String {
    if n == 0 {
        fit(name, "")
    } else {
        fit(name, &format!(".{n}"))
    }
}

/// Puts `insert` before the extension and cuts the stem so that all fits.
pub(crate) fn fit(name: &str, insert: &str) -> String {
    let (stem, extension) = split(name);
    let room = NAME_BYTES_MAX.saturating_sub(extension.len() + insert.len());
    format!("{}{insert}{extension}", cut(stem, room))
}

/// Splits a name before its extension; the extension keeps its dot.
pub(crate) fn split(name: &str) -> (&str, &str) {
    let Some(dot) = extension_start(name) else {
        return (name, "");
    };
    let dot = match extension_start(&name[..dot]) {
        Some(outer) if &name[outer..dot] == ".tar" => outer,
        _ => dot,
    };
    name.split_at(dot)
}

/// Where the last extension begins: not at the front, and short enough to be one.
fn extension_start(name: &str) -> Option<usize> {
    let dot = name.rfind('.').filter(|dot| *dot > 0)?;
    (name.len() - dot <= EXTENSION_BYTES_MAX && name.len() - dot > 1).then_some(dot)
}

/// Longer than this, what follows the dot is part of a sentence, not an extension.
const EXTENSION_BYTES_MAX: usize = 33;

/// The front of `text`, at most `bytes` long, whole characters only.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary_at(bytes)]
}

/// `str::floor_char_boundary`, which Rust has only since 1.91.
trait FloorBoundary {
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl FloorBoundary for str {
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        if index >= self.len() {
            return self.len();
        }
        (0..=index)
            .rev()
            .find(|i| self.is_char_boundary(*i))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_at_a_character_and_keep_their_extension() {
        let long = safe(&format!("{}.tar.gz", "a".repeat(400))).unwrap();
        assert_eq!(long.len(), NAME_BYTES_MAX);
        assert!(long.ends_with("a.tar.gz"));
        let wide = safe(&format!("{}.bin", "€".repeat(200))).unwrap();
        assert!(wide.len() <= NAME_BYTES_MAX && wide.len() > NAME_BYTES_MAX - 3);
        assert!(wide.ends_with("€.bin"));
        let bare = safe(&"é".repeat(300)).unwrap();
        assert!(bare.len() <= NAME_BYTES_MAX);
        let sentence = safe(&format!("a.{}", "b".repeat(400))).unwrap();
        assert_eq!(sentence.len(), NAME_BYTES_MAX);
        assert!(numbered(&long, 1234).len() <= NAME_BYTES_MAX);
        assert!(numbered(&long, 1234).ends_with("a.1234.tar.gz"));
    }

    #[test]
    fn numbers_go_before_the_extension() {
        for (name, n, expected) in [
            ("a.jpg", 0, "a.jpg"),
            ("a.jpg", 1, "a.1.jpg"),
            ("a", 2, "a.2"),
            ("a.b.c", 1, "a.b.1.c"),
            ("a.tar.gz", 1, "a.1.tar.gz"),
            (".tar.gz", 1, ".tar.1.gz"),
            (".profile", 1, ".profile.1"),
            ("a.", 1, "a..1"),
        ] {
            assert_eq!(numbered(name, n), expected);
        }
    }
}
