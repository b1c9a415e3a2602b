//! The journal of the runs into a folder: which URLs are done, so that the same list goes
//! on where it was interrupted, and what version of each was saved.
//!
//! One file of JSON lines that only grows: a group of lines is one `write` to its end. The
//! first line that does not end is ignored. A run that brings everything removes it, unless
//! it tells of files that this run was not about, or is to be kept.
//!
//! Invariant: one run at a time. It has the file locked from its start to its end, so two of
//! one list do not both download all of it; the lock ends with the process, however that
//! ends.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, openat, statat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::entry::Entry;
use super::folder::Folder;
use super::options::Naming;
use super::plan::without_password;
use crate::util::lock;

/// The journal's name in its folder.
pub(crate) const JOURNAL: &str = ".greenloop.journal";

/// The longest line that is read back.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of lines that could not be written and are tried again with the next ones.
const OWED_BYTES_MAX: usize = 1024 * 1024;

/// How often it is opened: a run that ends may remove what has just been opened.
const TRIES: u32 = 1000;

/// A file that was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Where the user wished it to be (see [`wish`]).
    pub(crate) wish: Option<String>,
    /// Its path from the journal's folder.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Its date of change when it was saved: who changes it later changes that.
    pub(crate) modified: Option<SystemTime>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// Where the user wishes the file of an entry to be, if it is not left to the URL and the
/// server: the same URL under two names is two files.
pub(crate) fn wish(entry: &Entry, naming: &Naming) -> Option<String> {
    let own = entry.own();
    let dir = own.and_then(|own| own.dir.as_deref());
    let out = own.and_then(|own| own.out.as_deref());
    let out = out.or(naming.out_name.as_deref());
    match (dir.map(|dir| dir.to_string_lossy()), out) {
        (None, None) => None,
        (dir, out) => Some(format!(
            "{}/{}",
            dir.unwrap_or(Cow::Borrowed(".")),
            out.unwrap_or_default()
        )),
    }
}

/// The open journal of a folder.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: Arc<Folder>,
    /// What earlier runs have left, by the hash of the URL and the wish.
    earlier: HashMap<Key, Earlier>,
    /// How many of those this run has not been about so far.
    unmet: AtomicUsize,
    hashes: (RandomState, RandomState),
    open: Mutex<Open>,
    sync: bool,
}

type Key = (u64, u64);

/// The last line about a file.
#[derive(Debug)]
struct Earlier {
    /// Where it begins.
    at: u64,
    /// This run has asked for it.
    is_met: AtomicBool,
}

/// The file, and what we have done to it.
#[derive(Debug, Default)]
struct Open {
    /// None: the run is over.
    file: Option<File>,
    /// A write has failed: what is at the end may be half a line.
    is_torn: bool,
    /// Lines that are still to be written.
    owed: String,
}

impl Journal {
    /// Reads what is there, for a run that begins; fails if another one goes on.
    pub(crate) fn open(folder: &Arc<Folder>, sync: bool) -> io::Result<Self> {
        let mut journal = Self {
            folder: folder.clone(),
            earlier: HashMap::new(),
            unmet: AtomicUsize::new(0),
            hashes: (RandomState::new(), RandomState::new()),
            open: Mutex::default(),
            sync,
        };
        let file = open_alone(folder)?;
        journal.read(&file)?;
        begin_line(&file)?;
        lock(&journal.open).file = Some(file);
        Ok(journal)
    }

    /// Notes the lines.
    fn read(&mut self, file: &File) -> io::Result<()> {
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0))?;
        let mut at = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)? as u64;
            if !line.ends_with(b"\n") {
                self.unmet = AtomicUsize::new(self.earlier.len());
                return Ok(());
            }
            if let Some((url, saved)) = parse(&line) {
                let is_met = AtomicBool::new(false);
                let key = self.key(&url, saved.wish.as_deref());
                self.earlier.insert(key, Earlier { at, is_met });
            }
            at += read;
        }
    }

    fn key(&self, url: &str, wish: Option<&str>) -> Key {
        let both = (url, wish);
        (self.hashes.0.hash_one(both), self.hashes.1.hash_one(both))
    }

    /// What an earlier run has saved of `url` at the same wish.
    pub(crate) fn saved(&self, url: &Url, wish: Option<&str>) -> Option<Saved> {
        if self.earlier.is_empty() {
            return None;
        }
        let url = without_password(url);
        let earlier = self.earlier.get(&self.key(&url, wish))?;
        if !earlier.is_met.swap(true, Ordering::Relaxed) {
            self.unmet.fetch_sub(1, Ordering::Relaxed);
        }
        let file = lock(&self.open).file.as_ref()?.try_clone().ok()?;
        let mut line = Vec::new();
        BufReader::new(At(&file, earlier.at))
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .ok()?;
        parse(&line)
            .filter(|(found, saved)| *found == url && saved.wish.as_deref() == wish)
            .map(|(_, saved)| saved)
    }

    /// Tells whether a file stands where it was saved, of the size that it had.
    pub(crate) fn is_there(&self, saved: &Saved) -> bool {
        let stat = statat(self.folder.fd(), &saved.path, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && u64::try_from(stat.st_size) == Ok(saved.bytes)
                && saved
                    .modified
                    .is_none_or(|at| nanos(at) == modified_nanos(&stat))
        })
    }

    /// Opens a file that was saved, to be read.
    pub(crate) fn open_saved(&self, saved: &Saved) -> io::Result<File> {
        self.folder.open_file(&saved.path)
    }

    /// Adds the lines of files that have got their names. What cannot be written is tried
    /// again with the next ones. Blocks on the file system; for the committer's thread.
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
        let mut open = lock(&self.open);
        open.owe(&text);
        open.write(self.sync)
    }

    /// Lets go of it. Nobody needs it where everything `is_done`, save for runs that this
    /// one was not about; nor where nothing was done.
    pub(crate) fn end(&self, is_done: bool) -> io::Result<()> {
        let open = std::mem::take(&mut *lock(&self.open));
        let Some(file) = open.file else {
            return Ok(());
        };
        let is_needed = !is_done || self.unmet.load(Ordering::Relaxed) > 0;
        if is_needed && file.metadata()?.len() > 0 {
            return Ok(());
        }
        // With the lock, which only then ends.
        self.folder.remove(JOURNAL)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Of a run that did not come about.
        if let Err(error) = self.end(false) {
            log::warn!("ending the journal: {error}");
        }
    }
}

impl Open {
    fn owe(&mut self, text: &str) {
        if self.owed.len() + text.len() > OWED_BYTES_MAX {
            // Those files are fetched again if the run is interrupted.
            self.owed.clear();
        }
        self.owed.push_str(text);
    }

    fn write(&mut self, sync: bool) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        if self.is_torn {
            begin_line(file)?;
        }
        // Until all of it is written.
        self.is_torn = true;
        let mut rest = self.owed.as_bytes();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.is_torn = false;
        self.owed.clear();
        if sync { file.sync_data() } else { Ok(()) }
    }
}

/// Opens the journal and locks it, making one if there is none.
fn open_alone(folder: &Folder) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    // For the owner only: addresses may hold tokens.
    let mode = Mode::RUSR | Mode::WUSR;
    for _ in 0..TRIES {
        let file = File::from(openat(folder.fd(), JOURNAL, flags, mode)?);
        // Where there are no locks, it is opened without.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            break;
        }
        let ours = file.metadata()?.ino();
        match statat(folder.fd(), JOURNAL, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_ino == ours => return Ok(file),
            // Its run has ended since, and removed it.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = "another run is saving to this folder (only runs without a journal, \
                --no-journal, do so at the same time)";
    Err(io::Error::new(io::ErrorKind::WouldBlock, text))
}

/// Ends a line that was cut off, so that the next one is read.
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
        wish,
        path,
        bytes,
        modified,
        etag,
        last_modified,
    } = saved;
    let value = json!({
        "done": without_password(url),
        "wish": wish,
        "path": path,
        "bytes": bytes,
        "modified_nanos": modified.and_then(nanos),
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
        wish: text("wish"),
        path: text("path")?,
        bytes: value.get("bytes")?.as_u64()?,
        modified: value
            .get("modified_nanos")
            .and_then(Value::as_u64)
            .map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos)),
        etag: text("etag"),
        last_modified: text("last_modified"),
    };
    Some((text("done")?, saved))
}

/// Nanoseconds since 1970; `None` for times that are none of a file of ours.
fn nanos(at: SystemTime) -> Option<u64> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// The date of change of a file, as [`nanos`].
fn modified_nanos(stat: &Stat) -> Option<u64> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let fraction = stat.st_mtime_nsec;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> Arc<Folder> {
        let name = format!("greenloop-journal-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Arc::new(Folder::open(&path).unwrap())
    }

    fn url(n: u32) -> Url {
        format!("http://h/{n}").parse().unwrap()
    }

    fn saved(n: u32) -> Saved {
        Saved {
            path: n.to_string(),
            ..Saved::default()
        }
    }

    #[test]
    fn a_write_that_failed_costs_no_line() {
        let folder = folder("torn");
        let journal = Journal::open(&folder, false).unwrap();
        journal.add([(&url(1), &saved(1))]).unwrap();
        // The disk is full, after half a line.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let file = lock(&journal.open).file.replace(full).unwrap();
        journal.add([(&url(2), &saved(2))]).unwrap_err();
        (&file).write_all(b"{\"done\":\"htt").unwrap();
        lock(&journal.open).file = Some(file);
        journal.add([(&url(3), &saved(3))]).unwrap();
        drop(journal);
        let again = Journal::open(&folder, false).unwrap();
        for n in 1..=3 {
            assert_eq!(again.saved(&url(n), None), Some(saved(n)), "{n}");
        }
        std::fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn one_run_has_the_journal_and_the_next_one_finds_what_it_did() {
        let folder = folder("alone");
        let one = Journal::open(&folder, false).unwrap();
        let refused = Journal::open(&folder, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        one.add([(&url(1), &saved(1))]).unwrap();
        one.end(false).unwrap();
        // Its run may still be around; the folder is free.
        let next = Journal::open(&folder, false).unwrap();
        drop(one);
        assert_eq!(next.saved(&url(1), None), Some(saved(1)));
        next.end(true).unwrap();
        assert!(!folder.path_of(JOURNAL).exists());
        // Nothing was done in this one.
        drop(Journal::open(&folder, false).unwrap());
        assert!(!folder.path_of(JOURNAL).exists());
        std::fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn runs_that_begin_and_end_in_turn_never_have_it_together() {
        use std::sync::atomic::AtomicU32;

        let folder = folder("turns");
        let (inside, had) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(journal) = Journal::open(&folder, false) else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        had.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        journal.end(true).unwrap();
                    }
                });
            }
        });
        assert!(had.into_inner() > 0);
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}
