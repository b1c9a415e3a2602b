//! The open partial file of a download: bytes go in at any place, and what is there is
//! written down beside it (see [`facts`](super::facts)).

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use rustix::fs::{
    AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, fallocate, flock, openat, statat,
};
use rustix::io::Errno;

use super::commit::Committer;
use super::facts::Facts;
use super::facts_file::{Beside, FactsFile};
use super::failure::{Failure, FailureKind};
use super::folder::Folder;
use super::ranges::Ranges;
use super::resume::Pin;
use crate::fs::name::{PART, PART_FACTS};
use crate::util::lock;

/// Bytes collected before they are written: a system call per 64 KiB costs less than the
/// copy it makes.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is there is written down each time at least this much is new, and at most
/// [`PIECES_MAX`] times for a file: so much is fetched again after a kill -9.
pub(crate) const PIECE_BYTES: u64 = 1024 * 1024;
const PIECES_MAX: u64 = 8192;

/// An open and locked partial file, shared by all who write to it.
#[derive(Debug)]
pub(crate) struct PartFile {
    folder: Arc<Folder>,
    /// The name that the file is to get.
    name: String,
    file: File,
    log: Mutex<Log>,
}

/// What is written beside a file that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Which version it is of, if that can be gone on with, so that a later run does even
    /// after a kill -9.
    Version,
    /// Only that it is ours: a later run writes over it.
    Owner,
    /// Nothing: its bytes are in memory, and it is known again by them.
    Nothing,
}

/// What is there, and what was written down of it.
#[derive(Debug, Default)]
struct Log {
    done: Ranges,
    /// What was written down of it last.
    noted: Ranges,
    /// Bytes there that are not written down.
    fresh: u64,
    /// How much of that may add up.
    piece: u64,
    /// Where it is written down; none for a file that nobody can go on from.
    text: Option<FactsFile>,
    /// Facts stand beside the file, if only to say whose it is.
    is_marked: bool,
    /// Somebody was asked to write it down.
    asked: bool,
    /// How often bytes that were there have been thrown away.
    version: u64,
}

impl Log {
    /// Writes down that `done` is there, if it is written down at all.
    fn write_down(&mut self, done: Ranges) -> io::Result<()> {
        if let Some(text) = &mut self.text {
            text.add(&done)?;
            self.noted = done;
        }
        Ok(())
    }
}

impl PartFile {
    /// Opens and locks the partial file of `name`, and tells of which version of `url` an
    /// earlier run has left something in it.
    ///
    /// `None` if the file is not ours to write to: another process has it, it is about
    /// another URL, or nobody knows whose it is. The last is not said of an empty one, nor
    /// of one with nothing but the front of `content`, which it is to get: that is what a
    /// run leaves that is killed just before a small file has its name.
    pub(crate) fn open(
        folder: &Arc<Folder>,
        name: &str,
        url: &Url,
        content: &[u8],
    ) -> Result<Option<(Self, Pin)>, Failure> {
        let created = create_part(folder, name)?;
        let is_new = created.is_some();
        let Some(file) = created.map_or_else(|| lock_part(folder, name), |file| Ok(Some(file)))?
        else {
            return Ok(None);
        };
        let file = Self::new(folder, name, file);
        let pin = file.identify(url, content)?;
        if pin.is_none() && is_new {
            file.remove(PART)?;
        }
        Ok(pin.map(|pin| (file, pin)))
    }

    /// Takes over what is in the file, if it is ours; `None` if it is not.
    fn identify(&self, url: &Url, content: &[u8]) -> Result<Option<Pin>, Failure> {
        let length = self.file.metadata().map_err(|e| self.failed(&e))?.len();
        match FactsFile::look(&self.folder, &self.name) {
            Beside::Foreign => Ok(None),
            Beside::Facts(facts, text) if length > 0 => {
                let is_ours = facts.is_about(url);
                Ok(is_ours.then(|| self.take_over(facts, text, length)))
            }
            Beside::Torn | Beside::Facts(..) => {
                // Of a file that is gone, or that had no bytes yet.
                self.remove(PART_FACTS)?;
                Ok(Some(Pin::default()))
            }
            Beside::Nothing => {
                let is_ours = length == 0 || self.holds_front_of(content, length)?;
                Ok(is_ours.then(Pin::default))
            }
        }
    }

    fn holds_front_of(&self, content: &[u8], length: u64) -> Result<bool, Failure> {
        let front = usize::try_from(length).ok();
        let Some(front) = front.and_then(|length| content.get(..length)) else {
            return Ok(false);
        };
        let mut found = vec![0; front.len()];
        let read = self.file.read_exact_at(&mut found, 0);
        read.map_err(|e| self.failed(&e))?;
        Ok(found == front)
    }

    /// Creates the partial file of `name`, for a small file that is written in one go and
    /// needs no facts; `None` if there is one.
    pub(crate) fn create(folder: &Arc<Folder>, name: &str) -> Result<Option<Self>, Failure> {
        let Some(file) = create_part(folder, name)? else {
            return Ok(None);
        };
        let file = Self::new(folder, name, file);
        if !folder.was_empty()
            && let Beside::Facts(..) | Beside::Torn = FactsFile::look(folder, name)
        {
            // Of a file that is gone: they must not be taken for what is known of this one.
            file.remove(PART_FACTS)?;
        }
        Ok(Some(file))
    }

    fn new(folder: &Arc<Folder>, name: &str, file: File) -> Self {
        Self {
            folder: folder.clone(),
            name: name.to_owned(),
            file,
            log: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&format!("{}{PART}", self.name))
    }

    /// Goes on with what an earlier run has left, of which there are `length` bytes.
    fn take_over(&self, facts: Facts, text: FactsFile, length: u64) -> Pin {
        let mut log = lock(&self.log);
        log.text = Some(text);
        log.is_marked = true;
        log.done = facts.done;
        // What is written down but not there was lost in a crash.
        log.done.cut(length);
        log.noted = log.done.clone();
        log.piece = PIECE_BYTES.max(length / PIECES_MAX);
        facts.pin
    }

    /// What is there.
    pub(crate) fn done(&self) -> Ranges {
        lock(&self.log).done.clone()
    }

    /// Empties the file, for the version that `pin` names.
    pub(crate) fn restart(&self, url: &Url, pin: &Pin, note: Note) -> Result<(), Failure> {
        let mut log = lock(&self.log);
        // The order matters: facts never stand beside bytes that they are not about, nor
        // bytes without facts, which would make the file a stranger's.
        self.file.set_len(0).map_err(|e| self.failed(&e))?;
        if log.is_marked {
            self.remove(PART_FACTS)?;
        }
        *log = Log {
            version: log.version + 1,
            ..Log::default()
        };
        let resumable = note == Note::Version && pin.validator().is_some();
        log.text = match note {
            Note::Nothing => None,
            _ if resumable => Some(self.begin_facts(url, pin)?),
            _ => {
                self.begin_facts(url, &Pin::default())?;
                None
            }
        };
        log.is_marked = note != Note::Nothing;
        log.piece = PIECE_BYTES.max(pin.total().unwrap_or(0) / PIECES_MAX);
        Ok(())
    }

    fn begin_facts(&self, url: &Url, pin: &Pin) -> Result<FactsFile, Failure> {
        let facts = Facts::new(url, pin.clone());
        FactsFile::begin(&self.folder, &self.name, &facts).map_err(|e| self.failed(&e))
    }

    /// Forgets what is there behind the first `kept` bytes.
    pub(crate) fn cut(&self, kept: u64) -> Result<(), Failure> {
        let mut log = lock(&self.log);
        log.version += 1;
        log.done = Ranges::before(kept.min(log.done.prefix()));
        self.file.set_len(kept).map_err(|e| self.failed(&e))?;
        // What is new may not be on the disk yet, and is not written down for that.
        let mut noted = log.noted.clone();
        noted.cut(log.done.end());
        log.fresh = log.done.bytes() - noted.bytes();
        log.write_down(noted).map_err(|e| self.failed(&e))
    }

    /// Takes room for the whole file, without changing its length.
    pub(crate) fn preallocate(&self, total: u64) -> Result<(), Failure> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, total) {
            // Not every file system can.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(self.failed(&error.into())),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| self.failed(&e))
    }

    /// Notes that bytes are there. True if it is time to write that down.
    fn note(&self, start: u64, end: u64) -> bool {
        let mut log = lock(&self.log);
        log.done.insert(start, end);
        log.fresh += end - start;
        let due = log.text.is_some() && !log.asked && log.fresh >= log.piece;
        log.asked |= due;
        due
    }

    /// Writes down what is there; with `sync` only when it is on the disk.
    pub(crate) fn save_done(&self, sync: bool) -> io::Result<()> {
        let (done, version) = {
            let mut log = lock(&self.log);
            log.asked = false;
            log.fresh = 0;
            (log.done.clone(), log.version)
        };
        if sync {
            self.file.sync_data()?;
        }
        let mut log = lock(&self.log);
        if log.version != version {
            // Started over meanwhile: what was there is gone.
            return Ok(());
        }
        log.write_down(done)
    }

    /// Leaves the file for a later run if it can go on from it, else removes it. True if
    /// it stays. What is there is on the disk by now, if the run flushes.
    pub(crate) fn leave(&self, url: &Url, pin: &Pin) -> Result<bool, Failure> {
        let mut log = lock(&self.log);
        if pin.validator().is_some() && log.done.bytes() > 0 {
            if log.text.is_none() && !log.is_marked {
                log.text = self.begin_facts(url, pin).ok();
                log.is_marked = log.text.is_some();
            }
            let done = log.done.clone();
            if log.text.is_some() && log.write_down(done).is_ok() {
                return Ok(true);
            }
        }
        drop(log);
        self.discard()?;
        Ok(false)
    }

    /// Removes what was written down: the file has its name, or is gone.
    pub(crate) fn forget(&self) -> Result<(), Failure> {
        let mut log = lock(&self.log);
        log.text = None;
        match std::mem::take(&mut log.is_marked) {
            true => self.remove(PART_FACTS),
            false => Ok(()),
        }
    }

    /// Removes the file.
    pub(crate) fn discard(&self) -> Result<(), Failure> {
        // Before its facts: without them it would be a stranger's for later runs.
        self.remove(PART)?;
        self.forget()
    }

    fn remove(&self, suffix: &str) -> Result<(), Failure> {
        self.folder
            .remove(&format!("{}{suffix}", self.name))
            .map_err(|e| self.failed(&e))
    }

    /// Makes sure that all `total` bytes are there, as many as came if that is not known;
    /// returns what the file system tells of the file.
    pub(crate) fn check_whole(&self, total: Option<u64>) -> Result<Metadata, Failure> {
        let metadata = self.file.metadata().map_err(|e| self.failed(&e))?;
        let length = metadata.len();
        let log = lock(&self.log);
        let total = total.unwrap_or_else(|| log.done.end());
        if length == total && log.done.is_whole(total) {
            return Ok(metadata);
        }
        let text = format!(
            "{}: has {} of {total} bytes, and {length} on the disk",
            self.path().display(),
            log.done.bytes(),
        );
        Err(Failure::new(FailureKind::Io, text))
    }

    pub(crate) fn failed(&self, error: &io::Error) -> Failure {
        Failure::file(error, self.folder.path_of(&self.name).display())
    }
}

/// Writes bytes one after the other, from some place on.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<PartFile>,
    /// Where the buffer's first byte goes.
    at: u64,
    buffer: Vec<u8>,
    /// Who flushes to the disk before it is written down what is there.
    committer: Committer,
}

impl Writer {
    pub(crate) fn new(file: Arc<PartFile>, at: u64, committer: Committer) -> Self {
        Self {
            file,
            at,
            buffer: Vec::new(),
            committer,
        }
    }

    /// The place of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// The end of what the file has taken.
    pub(crate) fn written(&self) -> u64 {
        self.at
    }

    /// Takes bytes; they may stay in a buffer until [`Writer::flush`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.put(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands the buffer to the kernel. After a failure what was in it is lost.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.put(&buffer);
        buffer.clear();
        self.buffer = buffer;
        written
    }

    /// Hands bytes to the kernel at once; nothing may be in the buffer.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_at(bytes, self.at)?;
        let start = self.at;
        self.at += bytes.len() as u64;
        if self.file.note(start, self.at) {
            self.committer.save_done(&self.file)?;
        }
        Ok(())
    }
}

/// Creates the partial file of `name` and locks it; `None` if there is one.
fn create_part(folder: &Folder, name: &str) -> Result<Option<File>, Failure> {
    let part = format!("{name}{PART}");
    let failed = |e: Errno| Failure::file(&e.into(), folder.path_of(&part).display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(folder.fd(), &part, flags, Mode::from_raw_mode(0o666)) {
        Ok(fd) => File::from(fd),
        Err(Errno::EXIST) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let ours = lock_file(&file).map_err(failed)? && is_at(folder, &part, &file)?;
    // Another process that opened it before our lock has it now.
    Ok(ours.then_some(file))
}

/// Locks an open partial file; false if another process has it.
fn lock_file(file: &File) -> Result<bool, Errno> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        // No locks on this file system: the claims of this run are what there is.
        Err(Errno::NOSYS | Errno::NOTSUP | Errno::INVAL | Errno::NOLCK) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Tells whether `file` still stands at `name`.
fn is_at(folder: &Folder, name: &str, file: &File) -> Result<bool, Failure> {
    let failed = |e: io::Error| Failure::file(&e, folder.path_of(name).display());
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let text = format!("{}: is no regular file", folder.path_of(name).display());
        return Err(Failure::new(FailureKind::CannotCreate, text));
    }
    match statat(folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(stat.st_ino == metadata.ino() && stat.st_dev == metadata.dev()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(failed(error.into())),
    }
}

/// Opens and locks the partial file of `name`; `None` if another process has it.
fn lock_part(folder: &Folder, name: &str) -> Result<Option<File>, Failure> {
    let part = format!("{name}{PART}");
    let failed = |e: Errno| Failure::file(&e.into(), folder.path_of(&part).display());
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    // A process that publishes between our open and our lock takes the file away from
    // under the name; then the name is free for the next look.
    for _ in 0..100 {
        let file = File::from(openat(folder.fd(), &part, flags, mode).map_err(failed)?);
        if !lock_file(&file).map_err(failed)? {
            // Also a folder or a pipe can be locked.
            is_at(folder, &part, &file)?;
            return Ok(None);
        }
        if is_at(folder, &part, &file)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> Arc<Folder> {
        let name = format!("greenloop-part-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Arc::new(Folder::open(&path).unwrap())
    }

    fn names(folder: &Folder) -> usize {
        std::fs::read_dir(folder.path()).unwrap().count()
    }

    /// As after a kill -9, which writes nothing down.
    #[test]
    fn a_file_that_was_left_with_bytes_is_known_to_be_ours() {
        let url: Url = "http://h/f".parse().unwrap();
        let other: Url = "http://h/g".parse().unwrap();
        let pin = Pin {
            etag: Some("\"a\"".into()),
            ..Pin::default()
        };
        for (pin, note, is_kept) in [
            (&pin, Note::Version, true),
            (&Pin::default(), Note::Version, false),
            (&pin, Note::Owner, false),
        ] {
            let folder = folder("ours");
            let open = |url| PartFile::open(&folder, "f", url, b"").unwrap();
            let (file, found) = open(&url).unwrap();
            assert_eq!(found, Pin::default());
            file.restart(&url, pin, note).unwrap();
            file.write_at(b"abc", 0).unwrap();
            assert!(open(&url).is_none(), "it is locked");
            drop(file);
            assert!(open(&other).is_none());
            let (file, found) = open(&url).unwrap();
            assert_eq!(found.validator().is_some(), is_kept, "{note:?}");
            // And from there on as if nothing had been.
            file.restart(&url, pin, note).unwrap();
            assert_eq!((file.done().end(), names(&folder)), (0, 2));
            file.discard().unwrap();
            assert_eq!(names(&folder), 0);
            std::fs::remove_dir_all(folder.path()).unwrap();
        }
    }

    #[test]
    fn bytes_that_nobody_knows_are_not_touched() {
        let folder = folder("foreign");
        let url: Url = "http://h/f".parse().unwrap();
        std::fs::write(folder.path_of("f.part"), b"abc").unwrap();
        let open = |content| PartFile::open(&folder, "f", &url, content).unwrap();
        for content in [&b""[..], b"ab", b"abd", b"xabc"] {
            assert!(open(content).is_none());
        }
        assert!(open(b"abc").is_some());
        assert!(open(b"abcd").is_some());
        assert_eq!(std::fs::read(folder.path_of("f.part")).unwrap(), b"abc");
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}
