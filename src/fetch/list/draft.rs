//! An entry of lines under way: its URLs as text, and the options that come after them.

use crate::fetch::checksum::Checksum;
use crate::fetch::entry::{Entry, shorten};
use crate::fetch::glob::{Expansion, Glob};

/// What the lines of one entry say.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    url: String,
    mirrors: Vec<String>,
    line: u64,
    options: Vec<Setting>,
    /// The first thing wrong with an option, and its line.
    error: Option<(u64, String)>,
}

#[derive(Clone, Debug)]
struct Setting {
    line: u64,
    key: Key,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Out,
    Dir,
    Checksum,
    Header,
    Referer,
    UserAgent,
}

/// The entries of one draft whose URL is a pattern, one at a time.
#[derive(Debug)]
pub(super) struct Pattern {
    draft: Draft,
    glob: Glob,
    next: u64,
}

impl Draft {
    pub(super) fn of_url(text: &str, line: u64) -> Self {
        Self {
            url: text.to_owned(),
            mirrors: Vec::new(),
            line,
            options: Vec::new(),
            error: None,
        }
    }

    /// Of URLs with TABs between.
    pub(super) fn of_mirrors(text: &str, line: u64) -> Self {
        let mut urls = text
            .split('\t')
            .map(str::trim)
            .filter(|url| !url.is_empty());
        let mut draft = Self::of_url(urls.next().unwrap_or_default(), line);
        draft.mirrors = urls.map(str::to_owned).collect();
        draft
    }

    /// Adds an option line; a bad one spoils the entry.
    pub(super) fn option(&mut self, text: &[u8], line: u64, is_whole: bool) {
        let added = match (std::str::from_utf8(text), is_whole) {
            (_, false) => Err("option is too long".to_owned()),
            (Err(_), _) => Err("option is not UTF-8".to_owned()),
            _ if self.options.len() == OPTIONS_MAX => {
                Err(format!("more than {OPTIONS_MAX} options"))
            }
            (Ok(text), _) => Setting::read(text, line),
        };
        match added {
            Ok(setting) => self.options.extend(setting),
            Err(reason) => {
                self.error.get_or_insert((line, reason));
            }
        }
    }

    /// The entry, where the URL is one.
    pub(super) fn entry(&self) -> Entry {
        self.expanded(&self.url, None)
    }

    /// The entries, where the URL is a pattern.
    pub(super) fn pattern(self) -> Result<Pattern, Box<Entry>> {
        let reason = match Glob::parse(&self.url) {
            Ok(_) if !self.mirrors.is_empty() => "a pattern cannot have mirrors".to_owned(),
            Ok(glob) => {
                return Ok(Pattern {
                    draft: self,
                    glob,
                    next: 0,
                });
            }
            Err(error) => error.to_string(),
        };
        let text = self.url.as_bytes();
        Err(Box::new(Entry::bad(text, Some(self.line), reason)))
    }

    fn expanded(&self, url: &str, expansion: Option<&Expansion>) -> Entry {
        let mut entry = Entry::parse(url, Some(self.line));
        if let Some((line, reason)) = &self.error {
            return entry.refuse(reason).at(Some(*line));
        }
        for mirror in &self.mirrors {
            entry = entry.mirror(mirror);
        }
        for option in &self.options {
            if entry.url().is_err() {
                break;
            }
            entry = option.set(entry, expansion);
            if entry.url().is_err() {
                entry = entry.at(Some(option.line));
            }
        }
        entry
    }
}

impl Iterator for Pattern {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let expansion = self.glob.nth(self.next)?;
        self.next += 1;
        Some(self.draft.expanded(expansion.text(), Some(&expansion)))
    }
}

impl Setting {
    /// Reads `KEY=VALUE`; nothing for what has no effect here.
    fn read(text: &str, line: u64) -> Result<Option<Self>, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("\"{}\" is not KEY=VALUE", shorten(text.as_bytes())));
        };
        let (name, value) = (name.trim(), value.trim());
        let key = match name {
            "out" => Key::Out,
            "dir" => Key::Dir,
            "checksum" => Key::Checksum,
            "header" => Key::Header,
            "referer" => Key::Referer,
            "user-agent" => Key::UserAgent,
            _ if TUNING.contains(&name) || TUNING_OF.iter().any(|of| name.starts_with(of)) => {
                return Ok(None);
            }
            _ => {
                let name = shorten(name.as_bytes());
                return Err(format!("option \"{name}\" is not known for one URL"));
            }
        };
        if value.is_empty() {
            return Err(format!("option \"{name}\" is empty"));
        }
        Ok(Some(Self {
            line,
            key,
            value: value.to_owned(),
        }))
    }

    fn set(&self, entry: Entry, expansion: Option<&Expansion>) -> Entry {
        let value = self.value.as_str();
        match self.key {
            Key::Out => entry.out(expansion.map_or_else(|| value.to_owned(), |of| of.fill(value))),
            Key::Dir => entry.dir(value),
            Key::Checksum => match value.parse::<Checksum>() {
                Ok(checksum) => entry.checksum(checksum),
                Err(error) => entry.refuse(error.to_string()),
            },
            Key::Header => match value.split_once(':') {
                Some((name, value)) => entry.header(name, value),
                None => entry.refuse("header: not NAME: VALUE"),
            },
            Key::Referer => entry.referer(value),
            Key::UserAgent => entry.header("User-Agent", value),
        }
    }
}

/// Options that one entry may have, so that a wrong file does not fill the memory.
const OPTIONS_MAX: usize = 100;

/// What aria2 knows for one URL and only changes how its bytes come, not which ones, what
/// is sent with the requests, or where they go.
const TUNING: &[&str] = &[
    "always-resume",
    "async-dns",
    "connect-timeout",
    "enable-http-keep-alive",
    "enable-http-pipelining",
    "enable-mmap",
    "file-allocation",
    "force-save",
    "gid",
    "lowest-speed-limit",
    "max-connection-per-server",
    "max-download-limit",
    "max-file-not-found",
    "max-mmap-limit",
    "max-resume-failure-tries",
    "max-tries",
    "max-upload-limit",
    "min-split-size",
    "no-file-allocation-limit",
    "piece-length",
    "realtime-chunk-checksum",
    "remove-control-file",
    "retry-wait",
    "reuse-uri",
    "save-not-found",
    "server-stat-timeout",
    "split",
    "stream-piece-selector",
    "timeout",
    "uri-selector",
];

/// How the names of such options begin that are about other protocols.
const TUNING_OF: &[&str] = &["bt-", "ftp-", "metalink-", "rpc-", "seed-"];
