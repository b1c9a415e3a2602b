//! The names of downloads, out of what a URL or a server says (see `fs::name`). Pure.
//!
//! A name out of a URL is the user's, or of who wrote the list: it is made safe to create,
//! and otherwise kept. One that a server gives while it is asked is a stranger's, and made
//! [harmless] as well.

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::fs::name::{PART, PART_FACTS, fit, safe};
use crate::proto::http::{SuggestedName, content_disposition};

/// The name of what has none: a URL that ends in `/`.
const DEFAULT: &str = "index.html";

/// How the files begin that a run makes for itself, besides its partial files.
pub(crate) const OURS: &str = ".greenloop.";

/// The name for what `url` points to: the last component of its path, percent escapes
/// undone once, made safe.
pub(crate) fn from_url(url: &Url) -> String {
    component(&decode(url.path())).unwrap_or_else(|| DEFAULT.to_owned())
}

/// The folders of `url`'s path, each decoded once and made safe; those that name nothing
/// are left out.
pub(crate) fn folders_of(url: &Url) -> Vec<String> {
    let mut segments: Vec<_> = url.path().split('/').collect();
    // The last one is the file, or nothing.
    segments.pop();
    let decoded = segments.into_iter().map(|segment| {
        // What was escaped is no separator: the folder is one.
        decode(segment).replace(['/', '\\'], "_")
    });
    decoded.filter_map(|folder| component(&folder)).collect()
}

/// The name that a `Content-Disposition` field suggests, made safe and harmless; `None` if
/// it suggests none that could be a file.
pub(crate) fn from_disposition(field: &[u8]) -> Option<String> {
    let SuggestedName { name, decoded } = content_disposition(field)?;
    let name = component(&if decoded { name } else { decode(&name) })?;
    Some(harmless(name))
}

/// Makes one name out of any text; see [`safe`] and [`not_ours`].
pub(crate) fn component(text: &str) -> Option<String> {
    safe(text).map(not_ours)
}

/// Undoes percent escapes once; bytes that are no UTF-8 become `U+FFFD`.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Keeps a downloaded file apart from the files that a run makes for itself.
///
/// A name that begins with [`OURS`], or ends as a partial file does ([`PART`],
/// [`PART_FACTS`]), whatever the case of its letters, gets an `_` there. Without, the name
/// of one file would be the partial file of another, or a stranger would write the journal
/// that the next run believes.
fn not_ours(name: String) -> String {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(OURS) {
        return fit(&format!("_{}", &name[1..]), "");
    }
    if lower.ends_with(PART) || lower.ends_with(PART_FACTS) {
        return fit(&format!("{name}_"), "");
    }
    name
}

/// Makes a safe name of one that a stranger chose, who may want it to be obeyed: a leading
/// `.` hides a file (and `.bashrc` is run), a leading `-` is an option to `rm *`, and
/// [device names](is_device) are no files on other systems.
pub(crate) fn harmless(name: String) -> String {
    match name.strip_prefix(['.', '-']) {
        Some(rest) => format!("_{rest}"),
        None if is_device(&name) => fit(&format!("_{name}"), ""),
        None => name,
    }
}

/// Makes a name that Windows and its file systems (FAT, exFAT, NTFS, shares) take as well:
/// `"*:<>?|` become `_`, so do dots and spaces at the end, and a
/// [device name](is_device) gets one in front.
pub(crate) fn portable(name: &str) -> String {
    let mut name: String = name
        .chars()
        .map(|c| if r#""*:<>?|"#.contains(c) { '_' } else { c })
        .collect();
    let kept = name.trim_end_matches(['.', ' ']).len();
    let tail = name.len() - kept;
    name.truncate(kept);
    name.extend(std::iter::repeat_n('_', tail));
    if is_device(&name) {
        name.insert(0, '_');
    }
    fit(&name, "")
}

/// Tells whether Windows takes the name for a device, whatever the extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = |kind| {
        let number = stem.strip_prefix(kind).unwrap_or_default();
        number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit())
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::name::NAME_BYTES_MAX;

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
            ("attachment; filename=\"-rf\"", Some("_rf")),
            ("attachment; filename=\"nul.txt\"", Some("_nul.txt")),
            (
                "attachment; filename=\".greenloop.journal\"",
                Some("_greenloop.journal"),
            ),
            ("attachment; filename=\"a.part\"", Some("a.part_")),
            ("attachment; filename=\"C:\\dir\\x.txt\"", Some("x.txt")),
            ("attachment; filename=\"....//x\"", Some("x")),
            ("attachment; filename=\"a; b\"; size=3", Some("a; b")),
            ("attachment; filename=a b.txt", Some("a b.txt")),
            ("attachment; filename=\"a\\\"b\"", Some("a\"b")),
            ("attachment; filename=\"~/x\"", Some("x")),
            ("attachment; filename=\"$(rm x)\"", Some("$(rm x)")),
            ("attachment; filename=\" a \"", Some("a")),
            ("attachment; filename=\"%2e%2e\"", None),
            ("attachment; filename*=UTF-8''%2e%2e", None),
            ("attachment; filename*=UTF-8''%00", Some("_")),
            ("attachment; filename=\"ok\"; filename*=UTF-8''", None),
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
    fn names_of_our_own_files_are_not_given() {
        for (name, expected) in [
            ("a.part", "a.part_"),
            ("a.PART", "a.PART_"),
            ("a.part.json", "a.part.json_"),
            (".part", ".part_"),
            ("a.part.zip", "a.part.zip"),
            ("part", "part"),
            ("a.json", "a.json"),
            (".greenloop.journal", "_greenloop.journal"),
            (".Greenloop.Journal.1", "_Greenloop.Journal.1"),
            (".greenloop", ".greenloop"),
        ] {
            assert_eq!(not_ours(name.to_owned()), expected);
        }
        let long = safe(&format!("{}.part{}", "a".repeat(240), "b".repeat(40))).unwrap();
        assert!(long.ends_with(PART), "cut there");
        let renamed = not_ours(long);
        assert!(renamed.len() <= NAME_BYTES_MAX && renamed.ends_with(".part_"));
    }

    #[test]
    fn names_that_mean_something_elsewhere_are_made_harmless() {
        for (name, expected) in [
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("--help", "_-help"),
            ("nul", "_nul"),
            ("Con.txt", "_Con.txt"),
            ("com1.tar.gz", "_com1.tar.gz"),
            ("com10", "com10"),
            ("console", "console"),
            ("a-b.c", "a-b.c"),
        ] {
            assert_eq!(harmless(name.to_owned()), expected);
        }
    }

    #[test]
    fn portable_names_are_fit_for_windows() {
        for (name, expected) in [
            ("a:b*c?.txt", "a_b_c_.txt"),
            ("a<b>|\"c\"", "a_b___c_"),
            ("a. .", "a___"),
            ("aux.c", "_aux.c"),
            ("LPT9", "_LPT9"),
            ("ok (1).txt", "ok (1).txt"),
        ] {
            assert_eq!(portable(name), expected);
        }
    }
}
