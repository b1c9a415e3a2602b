//! The names of downloads, out of what a URL or a server says (see `fs::name`).

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::fs::name::safe;
use crate::proto::http::{SuggestedName, content_disposition};

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

/// Undoes percent escapes once; bytes that are no UTF-8 become `U+FFFD`.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
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
}
