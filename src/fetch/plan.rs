//! What is to be fetched: URL lists read line by line, duplicates, hosts. Pure.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead};
use std::path::PathBuf;

use reqwest::Url;

use super::checksum::Checksum;
use crate::util::escape;

/// The longest line of a URL list, in bytes. A longer one is an error of that line, so
/// that a wrong file does not fill the memory; servers refuse URLs far shorter.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// One thing to fetch: a URL, or the text that is none.
///
/// A bad one takes its place in the run and in the report, as a failure, and leaves the
/// others alone.
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
#[derive(Clone, Debug)]
pub struct Entry {
    line: Option<u64>,
    url: Result<Url, BadUrl>,
    /// What differs from the run's own options. Most entries have none.
    own: Option<Box<OwnOptions>>,
}

/// The options of one entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnOptions {
    /// Other places that have the same file.
    pub(crate) mirrors: Vec<Url>,
    pub(crate) out: Option<String>,
    /// Below the run's folder, or an absolute path.
    pub(crate) dir: Option<PathBuf>,
    /// All of them hold.
    pub(crate) checksums: Vec<Checksum>,
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
        let url = parse_url(text).map_err(|reason| BadUrl {
            text: shorten(text),
            reason,
        });
        Self {
            line,
            url,
            own: None,
        }
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
            Ok(url) => Self {
                line: None,
                url: Ok(url),
                own: None,
            },
            Err((url, reason)) => {
                let bad = BadUrl {
                    text: shorten(url.as_str()),
                    reason,
                };
                Self {
                    line: None,
                    url: Err(bad),
                    own: None,
                }
            }
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

/// Tells whether the scheme is one that is fetched.
pub(crate) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// The server behind a URL: what limits per host count. The scheme is left out, so that
/// one machine is one machine.
pub(crate) fn host_key(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or(0);
    // The parser has made the name lower case and its international letters ASCII.
    format!(
        "{}:{port}",
        url.host_str().unwrap_or_default().trim_end_matches('.')
    )
}

/// The URL as it is shown and stored: without the user's name and password.
pub(crate) fn without_password(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut url = url.clone();
    // Both only fail for URLs that cannot have them, which then have none to hide.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

fn shorten(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", escape(&text.as_bytes()[..end])),
        None => escape(text.as_bytes()),
    }
}

/// Remembers URLs, to fetch each once.
///
/// Keeps 16 bytes of hash per URL instead of its text: a list of a million URLs costs
/// some 25 MB, and a false match has a chance of one in 10^26.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    first: RandomState,
    second: RandomState,
    hashes: HashSet<(u64, u64)>,
}

impl Seen {
    /// Tells whether `url` is new, and remembers it. Fragments are not sent, so they make
    /// no difference.
    pub(crate) fn insert(&mut self, url: &Url) -> bool {
        let text = url.as_str();
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        self.hashes
            .insert((self.first.hash_one(text), self.second.hash_one(text)))
    }
}

/// Reads a URL list: one URL per line, `#` begins a comment line, blank lines are skipped,
/// `\r\n` and a byte order mark are accepted.
///
/// Reads as it is asked, so a list may be a pipe of any length. A bad line is an
/// [`Entry`] that carries its number and reason; the lines after it are still read.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::UrlList;
///
/// let text = "# mirror\r\nhttp://example.org/a\r\n\r\nnonsense\r\n";
/// let entries: Vec<_> = UrlList::new(text.as_bytes()).collect::<std::io::Result<_>>()?;
/// assert_eq!(entries.len(), 2);
/// assert_eq!(entries[0].line(), Some(2));
/// assert!(entries[1].url().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// gevent: the loop over a file of URLs in `gevent/examples/concurrent_download.py`.
#[derive(Debug)]
pub struct UrlList<R> {
    reader: R,
    line: u64,
    ended: bool,
}

impl<R: BufRead> UrlList<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: 0,
            ended: false,
        }
    }

    /// Reads one line without its end; `None` at the end of the list.
    fn line(&mut self) -> io::Result<Option<Result<Vec<u8>, BadUrl>>> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let (used, ended) = {
                let buffer = self.reader.fill_buf()?;
                let end = buffer.iter().position(|b| *b == b'\n');
                let piece = &buffer[..end.unwrap_or(buffer.len())];
                let room = LINE_BYTES_MAX - line.len();
                too_long |= piece.len() > room;
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                let used = end.map_or(buffer.len(), |end| end + 1);
                (used, end.is_some() || buffer.is_empty())
            };
            self.reader.consume(used);
            if ended {
                if used == 0 && line.is_empty() {
                    return Ok(None);
                }
                break;
            }
        }
        self.line += 1;
        Ok(Some(if too_long {
            let text = shorten(&String::from_utf8_lossy(&line));
            Err(BadUrl {
                text,
                reason: format!("line is longer than {LINE_BYTES_MAX} bytes"),
            })
        } else {
            Ok(line)
        }))
    }

    fn entry(&mut self) -> io::Result<Option<Entry>> {
        loop {
            let line = match self.line()? {
                None => return Ok(None),
                Some(Ok(line)) => line,
                Some(Err(bad)) => {
                    return Ok(Some(Entry {
                        line: Some(self.line),
                        url: Err(bad),
                        own: None,
                    }));
                }
            };
            let mut text = line.as_slice();
            if self.line == 1 {
                text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
            }
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let entry = match std::str::from_utf8(text) {
                Ok(text) => Entry::parse(text, Some(self.line)),
                Err(_) => {
                    let bad = BadUrl {
                        text: escape(text),
                        reason: "not UTF-8".to_owned(),
                    };
                    Entry {
                        line: Some(self.line),
                        url: Err(bad),
                        own: None,
                    }
                }
            };
            return Ok(Some(entry));
        }
    }
}

impl<R: BufRead> Iterator for UrlList<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.entry().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[u8]) -> Vec<(u64, Result<String, String>)> {
        UrlList::new(list)
            .map(|entry| {
                let entry = entry.unwrap();
                let url = entry.url().map(Url::to_string).map_err(str::to_owned);
                (entry.line().unwrap(), url)
            })
            .collect()
    }

    #[test]
    fn a_list_has_comments_blanks_crlf_and_a_byte_order_mark() {
        let list = b"\xef\xbb\xbfhttp://h/1\r\n# note\r\n\r\n  http://h/2  \r\n\t\nHTTPS://H/3";
        let urls: Vec<_> = read(list)
            .into_iter()
            .map(|(line, url)| (line, url.unwrap()))
            .collect();
        let expected = [(1, "http://h/1"), (4, "http://h/2"), (6, "https://h/3")];
        assert_eq!(urls, expected.map(|(line, url)| (line, url.to_owned())));
        assert!(read(b"").is_empty());
        assert!(read(b"\n\n").is_empty());
    }

    #[test]
    fn a_bad_line_is_named_and_the_others_are_read() {
        let mut list = b"http://h/1\nnonsense\nfile:///etc/passwd\nftp://h/x\nhttp://\n".to_vec();
        list.extend_from_slice(b"http://h/a\tb\n\xff\xfe\n");
        list.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        list.extend_from_slice(b"\nhttp://h:99999/\nhttp://h/2\n");
        let bad: Vec<_> = read(&list)
            .into_iter()
            .filter(|(_, url)| url.is_err())
            .collect();
        let lines: Vec<_> = bad.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(bad[0].1.as_ref().unwrap_err().contains("no scheme"));
        assert!(bad[6].1.as_ref().unwrap_err().contains("longer"));
        assert_eq!(read(&list).last().unwrap().0, 10);
    }

    #[test]
    fn a_line_split_over_reads_is_one_line() {
        let reader = io::BufReader::with_capacity(3, &b"http://h/one\nhttp://h/two\n"[..]);
        let urls: Vec<_> = UrlList::new(reader)
            .map(|e| e.unwrap().to_string())
            .collect();
        assert_eq!(urls, ["http://h/one", "http://h/two"]);
    }

    #[test]
    fn a_url_is_fetched_once_whatever_its_fragment() {
        let mut seen = Seen::default();
        let mut new = |url| seen.insert(&Url::parse(url).unwrap());
        assert!(new("http://h/a"));
        assert!(!new("http://h/a#x"));
        assert!(!new("HTTP://H:80/a"));
        assert!(new("http://h/a?"));
        assert!(new("https://h/a"));
    }

    #[test]
    fn hosts_are_told_apart_by_name_and_port() {
        let key = |url| host_key(&Url::parse(url).unwrap());
        assert_eq!(key("http://Example.org/x"), "example.org:80");
        assert_eq!(key("http://example.org./x"), "example.org:80");
        assert_eq!(key("https://u:p@example.org/"), "example.org:443");
        assert_eq!(key("http://[::1]:8080/"), "[::1]:8080");
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = Url::parse("http://user:secret@h/a").unwrap();
        assert_eq!(without_password(&url), "http://h/a");
        assert_eq!(Entry::from(url).to_string(), "http://h/a");
        assert_eq!(Entry::from("bad\u{1b}[2J").to_string(), "bad\\u{1b}[2J");
    }
}
