//! The journal of the runs into a folder: which URLs are done, so that the same list goes
//! on where it was interrupted, and what version of each was saved.
//!
//! One file of JSON lines that only grows, shared by all runs into the folder at once: a
//! group of lines is one `write` to its end. The first line that does not end is ignored.
//! A run that brings everything removes it, unless another one uses it or it is to be
//! kept.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex};

use reqwest::Url;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::folder::Folder;
use super::plan::without_password;
use crate::util::lock;

/// The journal's name in its folder.
pub(crate) const JOURNAL: &str = ".greenloop.journal";

/// The longest line that is read back.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// A file that was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Its path from the journal's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// The open journal of a folder.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: Arc<Folder>,
    /// What earlier runs have left: where a URL's last line begins, by the URL's hash.
    earlier: HashMap<(u64, u64), u64>,
    hashes: (RandomState, RandomState),
    file: Mutex<Option<File>>,
    sync: bool,
}

impl Journal {
    /// Reads what is there. The file itself is made when the first line is written.
    pub(crate) fn open(folder: &Arc<Folder>, sync: bool) -> io::Result<Self> {
        let mut journal = Self {
            folder: folder.clone(),
            earlier: HashMap::new(),
            hashes: (RandomState::new(), RandomState::new()),
            file: Mutex::default(),
            sync,
        };
        if let Some(file) = open_shared(folder, OFlags::empty())? {
            journal.read(&file)?;
            *lock(&journal.file) = Some(file);
        }
        Ok(journal)
    }

    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(());
            }
            if let Some((url, _)) = parse(&line) {
                self.earlier.insert(self.key(&url), at);
            }
            at += read as u64;
        }
    }

    fn key(&self, url: &str) -> (u64, u64) {
        (self.hashes.0.hash_one(url), self.hashes.1.hash_one(url))
    }

    /// What an earlier run has saved of `url`.
    pub(crate) fn saved(&self, url: &Url) -> Option<Saved> {
        if self.earlier.is_empty() {
            return None;
        }
        let url = without_password(url);
        let at = *self.earlier.get(&self.key(&url))?;
        let file = lock(&self.file).as_ref()?.try_clone().ok()?;
        let mut line = Vec::new();
        BufReader::new(At(&file, at))
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .ok()?;
        parse(&line)
            .filter(|(found, _)| *found == url)
            .map(|(_, saved)| saved)
    }

    /// Tells whether a file stands where it was saved, of the size that it had.
    pub(crate) fn is_there(&self, saved: &Saved) -> bool {
        let stat = statat(self.folder.fd(), &saved.path, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(saved.bytes))
    }

    /// Adds the lines of files that have got their names. Blocks on the file system.
    pub(crate) fn add<'a>(
        &self,
        group: impl IntoIterator<Item = (&'a Url, &'a Saved)>,
    ) -> io::Result<()> {
        let mut text = String::new();
        for (url, saved) in group {
            text.push_str(&to_line(url, saved));
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut file = lock(&self.file);
        if file.is_none() {
            *file = open_shared(&self.folder, OFlags::CREATE)?;
        }
        let Some(file) = &mut *file else {
            return Ok(());
        };
        file.write_all(text.as_bytes())?;
        if self.sync { file.sync_data() } else { Ok(()) }
    }

    /// Ends the journal: everything was saved, so nobody needs it, save for other runs.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let Some(file) = lock(&self.file).take() else {
            return Ok(());
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.folder.remove(JOURNAL),
            Err(_) => Ok(()),
        }
    }
}

/// Opens the journal, for adding, together with others who do; `None` if it is not there.
fn open_shared(folder: &Folder, how: OFlags) -> io::Result<Option<File>> {
    let flags = how | OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // For the owner only: addresses may hold tokens.
    let mode = Mode::RUSR | Mode::WUSR;
    for _ in 0..100 {
        let file = match openat(folder.fd(), JOURNAL, flags | OFlags::NONBLOCK, mode) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Where there are no locks, it is shared without.
        if flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK) {
            // Somebody is about to remove it.
            continue;
        }
        let ours = file.metadata()?.ino();
        match statat(folder.fd(), JOURNAL, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_ino == ours => {
                begin_line(&file)?;
                return Ok(Some(file));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Ends a line that a crash has cut off, so that the next one is read.
fn begin_line(mut file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [0];
    if length > 0 && file.read_at(&mut last, length - 1)? == 1 && last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn to_line(url: &Url, saved: &Saved) -> String {
    let Saved {
        path,
        bytes,
        etag,
        last_modified,
    } = saved;
    let value = json!({
        "done": without_password(url),
        "path": path,
        "bytes": bytes,
        "etag": etag,
        "last_modified": last_modified,
    });
    format!("{value}\n")
}

/// The URL and what was saved of it; `None` for lines of other kinds.
fn parse(line: &[u8]) -> Option<(String, Saved)> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let saved = Saved {
        path: text("path")?,
        bytes: value.get("bytes")?.as_u64()?,
        etag: text("etag"),
        last_modified: text("last_modified"),
    };
    Some((text("done")?, saved))
}

/// Reads a file from some place on, without moving it for others.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}
