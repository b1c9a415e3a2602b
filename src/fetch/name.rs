//! File names that are safe to create, out of what a URL or a server says.
//!
//! A name is one path component: whatever the input, joining it to a folder stays in that
//! folder. Pure: whether a name is free is the sink's business.

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::proto::http::{SuggestedName, content_disposition};
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

/// The name of what has none: a URL that ends in `/`.
const DEFAULT: &str = "index.html";

/// The name for what `url` points to: the last component of its path, percent escapes
/// undone once, made safe.
pub(crate) fn from_url(url: &Url) -> String {
    safe(&decode(url.path())).unwrap_or_else(|| DEFAULT.to_owned())
}

/// The name that a `Content-Disposition` field suggests, made safe; `None` if it suggests
/// none that could be a file.
///
/// A leading dot becomes `_`: hidden names such as `.bashrc` mean something to programs,
/// and here a stranger picks the name.
pub(crate) fn from_disposition(field: &[u8]) -> Option<String> {
    let SuggestedName { name, decoded } = content_disposition(field)?;
    let name = safe(&if decoded { name } else { decode(&name) })?;
    Some(match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    })
}

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

/// Undoes percent escapes once; bytes that are no UTF-8 become `U+FFFD`.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Puts `insert` before the extension and cuts the stem so that all fits.
fn fit(name: &str, insert: &str) -> String {
    let (stem, extension) = split(name);
    let room = NAME_BYTES_MAX.saturating_sub(extension.len() + insert.len());
    format!("{}{insert}{extension}", cut(stem, room))
}

/// Splits a name before its extension; the extension keeps its dot.
fn split(name: &str) -> (&str, &str) {
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
    fn names_from_urls() {
        for (url, expected) in [
            ("http://h/a.bin", "a.bin"),
            ("http://h/dir/a.bin?x=/y#z", "a.bin"),
            ("http://h", "index.html"),
            ("http://h/", "index.html"),
            ("http://h/dir/", "index.html"),
            ("http://h/dir/..", "index.html"),
            ("http://h/%2e%2e", "index.html"),
            ("http://h/..%2f..%2fetc%2fpasswd", "passwd"),
            ("http://h/..%5c..%5cx", "x"),
            ("http://h/a%20b", "a b"),
            ("http://h/a%252fb", "a%2fb"),
            ("http://h/%00", "_"),
            ("http://h/a%0a%1b%5b31m", "a__[31m"),
            ("http://h/%e2%82%ac.txt", "€.txt"),
            ("http://h/%ff.txt", "\u{fffd}.txt"),
            ("http://h/x%e2%80%aecod.exe", "x_cod.exe"),
            ("http://h/.profile", ".profile"),
            ("http://h/%20", "index.html"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(from_url(&url), expected, "{url}");
        }
    }

    #[test]
    fn names_from_content_disposition_stay_in_the_folder() {
        for (field, expected) in [
            ("attachment; filename=\"../../x\"", Some("x")),
            ("attachment; filename=\"/etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\\x\"", Some("x")),
            ("attachment; filename=\"..\\\\x\"", Some("x")),
            ("attachment; filename=\"..%2fx\"", Some("x")),
            ("attachment; filename*=UTF-8''..%2F..%2Fx", Some("x")),
            // Decoded once, so what is left is text.
            ("attachment; filename*=UTF-8''a%252fb", Some("a%2fb")),
            ("attachment; filename=\"a%00b\"", Some("a_b")),
            ("attachment; filename=\"a%0ab\"", Some("a_b")),
            ("attachment; filename=\"a\u{1b}[2Jb\"", Some("a_[2Jb")),
            ("attachment; filename*=UTF-8''x%E2%80%AEy", Some("x_y")),
            ("attachment; filename=\".bashrc\"", Some("_bashrc")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\".\"", None),
            ("attachment; filename=\"dir/\"", None),
            ("attachment; filename=\"\"", None),
            ("attachment", None),
        ] {
            assert_eq!(
                from_disposition(field.as_bytes()).as_deref(),
                expected,
                "{field:?}"
            );
        }
    }

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
