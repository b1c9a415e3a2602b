//! One thing to fetch: its URL, or the text that is none, and what is asked for it alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::checksum::Checksum;
use super::plan::{is_http, without_password};
use crate::util::{defuse, escape};

/// One thing to fetch: a URL, or the text that is none.
///
/// A bad one takes its place in the run and in the report, as a failure, and leaves the
/// others alone. What is set on an entry comes before what is set on the run.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::Entry;
///
/// assert!(Entry::from("https://example.org/a.bin").url().is_ok());
/// let bad = Entry::from("ftp://example.org/a.bin");
/// assert_eq!(bad.url().unwrap_err(), "not an http or https URL");
/// ```
///
/// With options of its own:
///
/// ```
/// use greenloop::fetch::{Entry, Url};
///
/// let entry = Entry::from("https://example.org/7f3a")
///     .mirror("https://mirror.example/7f3a")
///     .out("photo.jpg")
///     .dir("photos")
///     .checksum("md5=d41d8cd98f00b204e9800998ecf8427e".parse()?)
///     .header("Authorization", "Bearer t0ken")
///     .referer("https://example.org/");
/// assert!(entry.url().is_ok());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone)]
pub struct Entry {
    /// The name of the list it came from.
    list: Option<Arc<str>>,
    line: Option<u64>,
    url: Result<Url, Box<BadUrl>>,
    /// What differs from the run's own options. Most entries have none.
    own: Option<Box<OwnOptions>>,
}

/// The options of one entry.
#[derive(Clone, Default)]
pub(crate) struct OwnOptions {
    /// Other places that have the same file.
    pub(crate) mirrors: Vec<Url>,
    pub(crate) out: Option<String>,
    /// Below the run's folder, or an absolute path.
    pub(crate) dir: Option<PathBuf>,
    /// All of them hold.
    pub(crate) checksums: Vec<Checksum>,
    /// Names and values that are fit to be sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) referer: Option<String>,
    /// Size of the file, as a Metalink says it.
    pub(crate) size: Option<u64>,
}

#[derive(Clone, Debug)]
struct BadUrl {
    text: String,
    reason: String,
}

impl Entry {
    /// Reads a URL; `line` is its place in a list, from 1.
    ///
    /// # Switching
    /// Never switches.
    pub fn parse(text: &str, line: Option<u64>) -> Self {
        match parse_url(text) {
            Ok(url) => Self::new(url).at(line),
            Err(reason) => Self::bad(text.as_bytes(), line, reason),
        }
    }

    /// What stands for a text that cannot be fetched, and why.
    pub(crate) fn bad(text: &[u8], line: Option<u64>, reason: impl Into<String>) -> Self {
        let bad = BadUrl {
            text: shorten(text),
            reason: harmless(reason.into()),
        };
        Self {
            list: None,
            line,
            url: Err(Box::new(bad)),
            own: None,
        }
    }

    fn new(url: Url) -> Self {
        Self {
            list: None,
            line: None,
            url: Ok(url),
            own: None,
        }
    }

    /// Says where in its list it is.
    pub(crate) fn at(mut self, line: Option<u64>) -> Self {
        self.line = line;
        self
    }

    /// Makes it a failure with a reason, where it is none yet.
    pub(crate) fn refuse(mut self, reason: impl Into<String>) -> Self {
        if self.url.is_ok() {
            let bad = BadUrl {
                text: self.to_string(),
                reason: harmless(reason.into()),
            };
            self.url = Err(Box::new(bad));
        }
        self
    }

    /// Adds a place that has the same file, for when the first one fails.
    ///
    /// # Switching
    /// Never switches.
    pub fn mirror(self, url: &str) -> Self {
        let reason = match parse_url(url) {
            Ok(url) => return self.with(|own| own.mirrors.push(url)),
            Err(reason) => reason,
        };
        self.refuse(format!("mirror \"{}\": {reason}", shorten(url.as_bytes())))
    }

    /// The name of the file, in place of what the URL or the server calls it.
    ///
    /// # Switching
    /// Never switches.
    pub fn out(self, name: impl Into<String>) -> Self {
        self.with(|own| own.out = Some(name.into()))
    }

    /// The folder of the file, below the run's unless it is absolute.
    ///
    /// # Switching
    /// Never switches.
    pub fn dir(self, dir: impl AsRef<Path>) -> Self {
        self.with(|own| own.dir = Some(dir.as_ref().to_owned()))
    }

    /// What the file must hash to. Of several, all must hold.
    ///
    /// # Switching
    /// Never switches.
    pub fn checksum(self, checksum: Checksum) -> Self {
        self.with(|own| own.checksums.push(checksum))
    }

    /// Sends a header field with the requests for this entry, to the hosts that it names
    /// only: not to where one of them redirects.
    ///
    /// # Switching
    /// Never switches.
    pub fn header(self, name: &str, value: &str) -> Self {
        let (name, value) = (name.trim(), value.trim());
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let name = shorten(name.as_bytes());
            return self.refuse(format!("\"{name}\" is not the name of a header field"));
        }
        if HeaderValue::from_str(value).is_err() {
            return self.refuse(format!("header {name}: not fit to be sent"));
        }
        self.with(|own| own.headers.push((name.to_owned(), value.to_owned())))
    }

    /// The page that is said to have led here; `*` is the URL itself.
    ///
    /// # Switching
    /// Never switches.
    pub fn referer(self, text: &str) -> Self {
        let mut text = text.trim().to_owned();
        if let ("*", Ok(url)) = (text.as_str(), &self.url) {
            let mut url = url.clone();
            url.set_fragment(None);
            text = without_password(&url);
        }
        if HeaderValue::from_str(&text).is_err() {
            return self.refuse("referer: not fit to be sent");
        }
        self.with(|own| own.referer = Some(text))
    }

    fn with(mut self, set: impl FnOnce(&mut OwnOptions)) -> Self {
        set(self.own_mut());
        self
    }

    /// The options of this entry, if it has any.
    pub(crate) fn own(&self) -> Option<&OwnOptions> {
        self.own.as_deref()
    }

    /// The options of this entry, to be set.
    pub(crate) fn own_mut(&mut self) -> &mut OwnOptions {
        self.own.get_or_insert_default()
    }

    /// The URL, or why there is none.
    ///
    /// # Errors
    /// The reason in words, without the text it is about.
    pub fn url(&self) -> Result<&Url, &str> {
        self.url.as_ref().map_err(|bad| bad.reason.as_str())
    }

    /// The place in the list it came from, from 1.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// The name of the list it came from, as [`UrlList::name`](super::UrlList::name) gave
    /// it.
    pub fn list(&self) -> Option<&Arc<str>> {
        self.list.as_ref()
    }

    pub(crate) fn set_list(&mut self, list: Option<&Arc<str>>) {
        self.list = list.cloned();
    }
}

/// Without passwords: not those of URLs, nor what header fields say.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("list", &self.list)
            .field("line", &self.line)
            .field("url", &self.to_string())
            .field("reason", &self.url().err())
            .field("own", &self.own)
            .finish()
    }
}

impl fmt::Debug for OwnOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mirrors: Vec<_> = self.mirrors.iter().map(without_password).collect();
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("OwnOptions")
            .field("mirrors", &mirrors)
            .field("out", &self.out)
            .field("dir", &self.dir)
            .field("checksums", &self.checksums)
            .field("headers", &headers)
            .field("referer", &self.referer)
            .field("size", &self.size)
            .finish()
    }
}

/// The URL without its password, or the text that is none, escaped for a terminal.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Ok(url) => f.write_str(&without_password(url)),
            Err(bad) => f.write_str(&bad.text),
        }
    }
}

impl From<Url> for Entry {
    fn from(url: Url) -> Self {
        match accept(url) {
            Ok(url) => Self::new(url),
            Err((url, reason)) => Self::bad(url.as_str().as_bytes(), None, reason),
        }
    }
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Self::parse(text, None)
    }
}

impl From<String> for Entry {
    fn from(text: String) -> Self {
        Self::parse(&text, None)
    }
}

/// Reads an `http` or `https` URL; the error is the reason in words.
fn parse_url(text: &str) -> Result<Url, String> {
    if text.bytes().any(|b| b.is_ascii_control()) {
        // The WHATWG parser drops tabs and line ends: two URLs would become one.
        return Err("control character in the URL".to_owned());
    }
    match Url::parse(text.trim()) {
        Ok(url) => accept(url).map_err(|(_, reason)| reason),
        // "example.org:80/x" and "file.txt" are what people forget the scheme of.
        Err(error) if error.to_string().contains("without a base") => {
            Err("no scheme: write http:// or https:// in front".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn accept(url: Url) -> Result<Url, (Url, String)> {
    if !is_http(&url) {
        return Err((url, "not an http or https URL".to_owned()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err((url, "no host".to_owned()));
    }
    Ok(url)
}

/// A reason, fit for a terminal: parsers quote what they do not like.
fn harmless(reason: String) -> String {
    const SHOWN: usize = 400;
    let reason = defuse(&reason);
    match reason.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    }
}

/// The beginning of a text, fit for a terminal.
pub(crate) fn shorten(text: &[u8]) -> String {
    const SHOWN: usize = 200;
    // A character may have lost its end to the cut, and is none then.
    let shown = escape(&text[..text.len().min(SHOWN)]);
    if text.len() > SHOWN {
        shown + "…"
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_or_fetched_makes_the_entry_a_failure() {
        let entry = || Entry::from("http://h/a");
        for (entry, reason) in [
            (entry().mirror("ftp://h/a"), "mirror \"ftp://h/a\": not an"),
            (entry().header("a b", "c"), "\"a b\" is not the name"),
            (entry().header("", "c"), "\"\" is not the name"),
            (entry().header("X-A", "b\r\nX-B: c"), "header X-A: not fit"),
            (entry().referer("a\nb"), "referer: not fit"),
        ] {
            assert!(entry.url().unwrap_err().starts_with(reason), "{entry:?}");
            assert_eq!(entry.to_string(), "http://h/a");
        }
    }

    #[test]
    fn options_are_kept() {
        let entry = Entry::from("http://u:p@h/a#x")
            .mirror("http://m/a")
            .out("b")
            .dir("c")
            .header(" X-A ", " b ")
            .referer("*");
        let own = entry.own().unwrap();
        assert_eq!(own.mirrors[0].as_str(), "http://m/a");
        assert_eq!(
            (own.out.as_deref(), own.dir.as_deref()),
            (Some("b"), Some(Path::new("c")))
        );
        assert_eq!(own.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(own.referer.as_deref(), Some("http://h/a"));
    }

    #[test]
    fn what_is_secret_is_not_in_what_debuggers_show() {
        let entry = Entry::from("http://u:secret@h/a")
            .mirror("http://u:secret@m/a")
            .header("Authorization", "secret");
        let shown = format!("{entry:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("http://m/a") && shown.contains("Authorization"));
    }

    #[test]
    fn reasons_are_fit_for_a_terminal() {
        let reason = format!("expected \u{1b}[2J{}", "x".repeat(1000));
        let entry = Entry::bad(b"a", None, reason.clone());
        let told = entry.url().unwrap_err();
        assert!(
            told.starts_with("expected \\u{1b}[2Jx") && told.len() < 500,
            "{told}"
        );
        assert_eq!(
            Entry::from("http://h/").refuse(reason).url().unwrap_err(),
            told
        );
    }

    #[test]
    fn texts_are_shortened_anywhere() {
        let long = "ä".repeat(101);
        assert!(shorten(format!("a{long}").as_bytes()).ends_with('…'));
        assert_eq!(shorten(b"a\x1b"), "a\\u{1b}");
    }

    #[test]
    fn entries_are_small() {
        // A list is read ahead of the downloads by hundreds.
        assert!(size_of::<Entry>() <= 136, "{}", size_of::<Entry>());
    }
}
