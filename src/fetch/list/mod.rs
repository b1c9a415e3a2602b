//! Lists of what to fetch, in the formats that other programs read and write. One entry at
//! a time, out of a reader of any length.
//!
//! ```text
//!   reader ──► lines (gzip, bounds) ──► texts ──► draft ──► glob ──► Entry
//!                    │                    ├─ jsonl, sums ───────────► Entry
//!                    └── bytes ───────► metalink ───────────────────► Entry
//! ```
//!
//! `write` makes lines of an entry.

mod draft;
mod jsonl;
mod lines;
mod metalink;
mod sums;
mod texts;
mod write;

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use self::lines::LINE_BYTES_MAX;
use self::lines::{Lines, Start, Wait};
use self::metalink::Metalink;
use self::texts::Texts;
use super::entry::Entry;
use crate::error::{Error, Result};
use crate::util::defuse;

/// How a list is written. In each, a bad entry leaves the others alone.
///
/// Lists may be compressed with gzip, begin with a byte order mark and end their lines
/// with `\r\n`.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::ListFormat;
///
/// assert_eq!("jsonl".parse::<ListFormat>()?, ListFormat::JsonLines);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListFormat {
    /// Told by the first line that is no comment: markup is [`Metalink`](Self::Metalink),
    /// `{` is [`JsonLines`](Self::JsonLines), a hash and a URL are
    /// [`Checksums`](Self::Checksums), anything else is [`Aria2`](Self::Aria2).
    #[default]
    Auto,
    /// One URL a line; `#` begins a comment line, blank lines are skipped.
    Urls,
    /// The same, with aria2's additions: several URLs in a line, with TABs between, are
    /// mirrors of one file, and lines after it that begin with white space are its options,
    /// as `KEY=VALUE` without quoting: `out`, `dir`, `checksum`, `header` (any number of
    /// times), `referer`, `user-agent`.
    ///
    /// Options of aria2's that only tune a transfer, such as `split`, are accepted without
    /// effect, so that its own lists and sessions can be read. Those that would change what
    /// is saved or sent are errors of their entry, as unknown ones are: a list that asks for
    /// a proxy is not to be fetched without.
    ///
    /// A line that is an object of [`JsonLines`](Self::JsonLines) is an entry, too: so a
    /// list has words for what aria2 has none for.
    Aria2,
    /// A JSON object a line: `url`, and if wanted `mirrors` (a list), `out`, `dir`,
    /// `checksum` (a text or a list), `headers` (an object of texts or lists), `referer`,
    /// `size`. Other fields are an error of that entry.
    JsonLines,
    /// What `sha256sum` and its like print, in either style, with URLs in place of names.
    /// The number of digits tells the hash: MD5, SHA-1, SHA-256 or SHA-512.
    Checksums,
    /// Metalink 4 (RFC 5854) or 3: files with their mirrors, sizes and hashes.
    ///
    /// Documents may have 16 MiB. Document types are refused, and with them entities that
    /// grow.
    Metalink,
}

impl ListFormat {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Urls,
        Self::Aria2,
        Self::JsonLines,
        Self::Checksums,
        Self::Metalink,
    ];

    /// Its name, as the command calls it.
    ///
    /// # Switching
    /// Never switches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Urls => "urls",
            Self::Aria2 => "aria2",
            Self::JsonLines => "jsonl",
            Self::Checksums => "sha256sums",
            Self::Metalink => "metalink",
        }
    }
}

impl FromStr for ListFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| {
                let (text, names) = (defuse(text), names.join(", "));
                Error::message(format_args!("list format \"{text}\": none of {names}"))
            })
    }
}

/// Reads a list of what to fetch, in any [`ListFormat`].
///
/// Reads as it is asked and keeps one entry at a time, so a list may be a pipe of any
/// length. A bad entry is an [`Entry`] that carries its line and the reason; those after it
/// are still read. The list ends where its reader first does.
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
pub struct UrlList<R> {
    source: Source<R>,
    format: ListFormat,
    globs: bool,
    name: Option<Arc<str>>,
    is_started: bool,
    has_ended: bool,
}

enum Source<R> {
    Texts(Box<Texts<R>>),
    Metalink(Box<Metalink<R>>),
    /// Between the two.
    Moving,
}

impl<R: BufRead> UrlList<R> {
    /// Reads from `reader`, in the format that the list seems to be in.
    ///
    /// If that is [`ListFormat::Aria2`], an entry is whole when the next one begins: from a
    /// reader that has to wait it comes at once with [`UrlList::live`], or as
    /// [`ListFormat::Urls`].
    pub fn new(reader: R) -> Self {
        Self::waiting(reader, None)
    }

    fn waiting(reader: R, wait: Option<Wait<R>>) -> Self {
        Self {
            source: Source::Texts(Box::new(Texts::new(Lines::new(reader, wait)))),
            format: ListFormat::Auto,
            globs: false,
            name: None,
            is_started: false,
            has_ended: false,
        }
    }

    /// The format of the list. Default: [`ListFormat::Auto`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::{ListFormat, UrlList};
    ///
    /// let text = "http://example.org/a\n  out=b\n";
    /// let list = |format| UrlList::new(text.as_bytes()).format(format);
    /// assert_eq!(list(ListFormat::Aria2).count(), 1);
    /// assert_eq!(list(ListFormat::Urls).count(), 2);
    /// ```
    pub fn format(mut self, format: ListFormat) -> Self {
        self.format = format;
        self
    }

    /// What [`Entry::list`] tells.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::UrlList;
    ///
    /// let mut list = UrlList::new(&b"http://example.org/a"[..]).name("urls.txt");
    /// let entry = list.next().transpose()?.expect("there is one");
    /// assert_eq!(entry.list().map(|name| &**name), Some("urls.txt"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether each URL of [`ListFormat::Urls`] and [`ListFormat::Aria2`] is a
    /// [`Glob`](super::Glob). Default: no. An `out` of the entry may say `#1` then.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::UrlList;
    ///
    /// let list = UrlList::new(&b"http://example.org/[1-3]\n"[..]).globs(true);
    /// assert_eq!(list.count(), 3);
    /// ```
    pub fn globs(mut self, globs: bool) -> Self {
        self.globs = globs;
        self
    }

    fn entry(&mut self) -> io::Result<Option<Entry>> {
        if !self.is_started {
            self.start()?;
        }
        match &mut self.source {
            Source::Texts(texts) => texts.entry(),
            Source::Metalink(document) => document.entry(),
            Source::Moving => Ok(None),
        }
    }

    /// Looks at the first bytes, which tell documents from lines.
    fn start(&mut self) -> io::Result<()> {
        self.is_started = true;
        let Source::Texts(mut texts) = std::mem::replace(&mut self.source, Source::Moving) else {
            return Ok(());
        };
        let start = texts.lines.start()?;
        let is_document = match self.format {
            ListFormat::Auto => start == Start::Markup,
            format => format == ListFormat::Metalink,
        };
        self.source = if is_document {
            Source::Metalink(Box::new(Metalink::new(texts.lines)))
        } else {
            texts.set(self.format, self.globs);
            Source::Texts(texts)
        };
        Ok(())
    }
}

impl<T: Read + AsFd> UrlList<BufReader<T>> {
    /// Reads a list that may still be written: a pipe, a terminal, a socket.
    ///
    /// As long as none of its entries has had options, a URL is an entry once nothing came
    /// after it for 100 ms. Options that come later still are errors of their own, not
    /// lost. From the first option on, and if the format is given as
    /// [`ListFormat::Aria2`], an entry is whole when the next one begins.
    ///
    /// The thread is blocked while it waits: one of its own is best.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::UrlList;
    /// use std::io::Write;
    ///
    /// let (list, mut pipe) = std::io::pipe()?;
    /// let mut list = UrlList::live(list);
    /// writeln!(pipe, "http://example.org/a")?;
    /// // Nobody knows yet whether more will come.
    /// let entry = list.next().transpose()?.expect("there is one");
    /// assert_eq!(entry.to_string(), "http://example.org/a");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn live(source: T) -> Self {
        Self::waiting(
            BufReader::new(source),
            Some(|reader, limit| wait_for(reader.get_ref(), limit)),
        )
    }
}

/// Waits until something can be read, or the end.
fn wait_for(source: &impl AsFd, limit: Option<Duration>) -> io::Result<bool> {
    let limit = limit.map(|limit| Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let mut wanted = [PollFd::new(source, PollFlags::IN)];
    loop {
        match poll(&mut wanted, limit.as_ref()) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled? > 0),
        }
    }
}

impl<R: BufRead> Iterator for UrlList<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let mut next = self.entry().transpose();
        self.has_ended = !matches!(next, Some(Ok(_)));
        if let Some(Ok(entry)) = &mut next {
            entry.set_list(self.name.as_ref());
        }
        next
    }
}

impl<R> fmt::Debug for UrlList<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlList")
            .field("name", &self.name)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
