//! One file on its way, until it is whole and gets its name.
//!
//! Small files wait in memory; others are `NAME.part` (see [`part_file`](super::part_file)).
//!
//! Invariants:
//! - the final name never holds a file that is not whole;
//! - one `.part` has one writer: in this run by the folder's claims, against other
//!   processes by a lock on the file;
//! - a `.part` has facts beside it, which say what is there, or at least whose it is; one
//!   without is left alone, unless nothing is in it but what is to be written anyway.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use reqwest::Url;

use super::Existing;
use super::commit::Committer;
use super::failure::{Failure, FailureKind};
use super::folder::{Folder, Standing};
use super::part_file::{Note, PartFile, Writer};
use super::resume::Pin;
use super::there::in_the_way;
use super::verify::Verification;
use crate::fs::name::{PART, PART_FACTS, numbered};
use crate::runtime::blocking::blocking;
use crate::runtime::kill::shield;

/// Files up to this size wait in memory until they are whole: each costs one write then,
/// and a file that breaks off none at all.
const SMALL_BYTES_MAX: u64 = 64 * 1024;

/// Files from this size on have room taken for them, if that is asked for.
const PREALLOCATED_BYTES_MIN: u64 = 1024 * 1024;

/// Variants of a name that are tried.
const NUMBER_MAX: u32 = 100_000;

/// Where a download's bytes go.
#[derive(Debug)]
pub(crate) struct Part {
    folder: Arc<Folder>,
    /// The name that was wished for.
    wanted: String,
    existing: Existing,
    committer: Committer,
    pin: Pin,
    /// The date that the file is to have, if not that of its last byte.
    modified: Option<SystemTime>,
    /// Its bytes are of a mirror: a later run, which begins at the entry's URL, does not
    /// go on from them.
    is_foreign: bool,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<u8>),
    File(Claimed),
}

/// A partial file whose name is ours.
#[derive(Debug)]
struct Claimed {
    writer: Writer,
    file: Arc<PartFile>,
    claim: Claim,
}

/// What [`Part::open`] found.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file to write; what it holds is described by its pin.
    Part(Box<Part>),
    /// The name is there and is to be left alone.
    Skip(PathBuf),
}

impl Part {
    /// A part in memory, for a file of the size that `pin` says; `None` if that is no
    /// small one.
    pub(crate) fn small(
        folder: &Arc<Folder>,
        wanted: &str,
        existing: Existing,
        pin: &Pin,
        committer: &Committer,
    ) -> Option<Box<Self>> {
        let total = pin.total().filter(|total| *total <= SMALL_BYTES_MAX)?;
        Some(Box::new(Self {
            folder: folder.clone(),
            wanted: wanted.to_owned(),
            existing,
            committer: committer.clone(),
            pin: pin.clone(),
            modified: None,
            is_foreign: false,
            store: Store::Memory(committer.buffer(usize::try_from(total).unwrap_or(0))),
        }))
    }

    /// Finds a free variant of `wanted` and opens its partial file.
    ///
    /// A partial file of an earlier run is taken over if its facts are about `url`; see
    /// [`PartFile::open`], also for `content`.
    pub(crate) fn open(
        folder: &Arc<Folder>,
        wanted: &str,
        url: &Url,
        existing: Existing,
        committer: &Committer,
        content: &[u8],
    ) -> Result<Opened, Failure> {
        for n in folder.first_number(wanted)..NUMBER_MAX {
            let name = numbered(wanted, n);
            let Some(claim) = Claim::take(folder, &name) else {
                continue;
            };
            let path = folder.path_of(&name);
            let failed = |e: io::Error| Failure::file(&e, path.display());
            match (folder.standing(&name).map_err(failed)?, existing) {
                (Standing::Nothing, _) | (Standing::File, Existing::Overwrite) => {}
                (_, Existing::Number) => {
                    folder.skip_number(wanted, n);
                    continue;
                }
                // Only what was there before the run: the claim says so.
                (Standing::File, Existing::Skip) => return Ok(Opened::Skip(path)),
                (Standing::File, Existing::Fail) => return Err(in_the_way(&path)),
                (Standing::Other, _) => {
                    let text = format!("{}: is there and is no regular file", path.display());
                    return Err(Failure::new(FailureKind::CannotCreate, text));
                }
            }
            let Some((file, pin)) = PartFile::open(folder, &name, url, content)? else {
                continue;
            };
            return Ok(Opened::Part(Box::new(Self {
                folder: folder.clone(),
                wanted: wanted.to_owned(),
                existing,
                committer: committer.clone(),
                pin,
                modified: None,
                is_foreign: false,
                store: Store::File(Claimed::new(file, claim, committer)),
            })));
        }
        let text = format!("{wanted}: all its variants are taken");
        Err(Failure::new(FailureKind::CannotCreate, text))
    }

    /// The name it will get, if nobody takes that first.
    pub(crate) fn name(&self) -> &str {
        match &self.store {
            Store::Memory(_) => &self.wanted,
            Store::File(claimed) => claimed.file.name(),
        }
    }

    /// Where the partial file is, or would be.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.store {
            Store::Memory(_) => self.folder.path_of(&format!("{}{PART}", self.wanted)),
            Store::File(claimed) => claimed.file.path(),
        }
    }

    /// Where it is written to.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Sets the date that the file is to have; `None`: that of its last byte.
    pub(crate) fn set_modified(&mut self, modified: Option<SystemTime>) {
        self.modified = modified;
    }

    /// Bytes that are there from the first one on, also those still in a buffer.
    pub(crate) fn length(&self) -> u64 {
        match &self.store {
            Store::Memory(bytes) => bytes.len() as u64,
            Store::File(claimed) => claimed.writer.position(),
        }
    }

    /// Notes whether what comes is of a mirror; to be called before the part is emptied.
    pub(crate) fn set_foreign(&mut self, is_foreign: bool) {
        self.is_foreign = is_foreign;
    }

    /// Forgets which version its bytes are of: nobody goes on with them.
    pub(crate) fn unpin(&mut self) {
        self.pin = Pin::default();
    }

    /// How many of its bytes the next request may build on.
    pub(crate) fn keeps(&self) -> u64 {
        self.pin.keeps(self.length())
    }

    /// How many of its bytes count, wherever they are.
    pub(crate) fn there(&self) -> u64 {
        let kept = self.keeps();
        match &self.store {
            Store::File(claimed) if kept > 0 || self.pin.validator().is_some() => {
                claimed.file.done().bytes().max(kept)
            }
            _ => kept,
        }
    }

    /// Goes on at the first byte that is missing, after others have written.
    pub(crate) fn rejoin(&mut self) {
        if let Store::File(claimed) = &mut self.store {
            let at = claimed.file.done().prefix();
            claimed.writer = Writer::new(claimed.file.clone(), at, self.committer.clone());
        }
    }

    /// The partial file, for those who write in several places at once; `None` for what
    /// is in memory.
    pub(crate) fn file(&self) -> Option<&Arc<PartFile>> {
        match &self.store {
            Store::Memory(_) => None,
            Store::File(claimed) => Some(&claimed.file),
        }
    }

    /// Has a check take what is there before `end` and has not come by. What was written
    /// is flushed.
    ///
    /// # Switching
    /// May switch: a file is read on a lane.
    pub(crate) fn catch_up(&self, check: &mut Verification, end: u64) -> Result<(), Failure> {
        match &self.store {
            Store::Memory(bytes) => {
                check.catch_up_with(bytes);
                Ok(())
            }
            Store::File(claimed) => check.catch_up(claimed.file.file(), end),
        }
    }

    /// Empties it, for the version that `pin` names.
    pub(crate) fn restart(&mut self, url: &Url, pin: Pin) -> Result<(), Failure> {
        if let Store::Memory(bytes) = &mut self.store {
            bytes.clear();
            self.pin = pin;
            // The new version may not be a small one.
            return match self.pin.total() {
                Some(total) if total <= SMALL_BYTES_MAX => Ok(()),
                _ => self.move_to_disk(url),
            };
        }
        self.pin = pin;
        self.restart_file(url, self.note())
    }

    /// What is written beside the file. A mirror's version is not the one that a later run
    /// is offered.
    fn note(&self) -> Note {
        match self.is_foreign {
            true => Note::Owner,
            false => Note::Version,
        }
    }

    fn restart_file(&mut self, url: &Url, note: Note) -> Result<(), Failure> {
        let Store::File(claimed) = &mut self.store else {
            return Ok(());
        };
        let total = self.pin.total();
        claimed.file.restart(url, &self.pin, note)?;
        claimed.writer = Writer::new(claimed.file.clone(), 0, self.committer.clone());
        match total.filter(|_| self.committer.preallocates()) {
            Some(total) if total >= PREALLOCATED_BYTES_MIN => claimed.file.preallocate(total),
            _ => Ok(()),
        }
    }

    /// Prepares to append after the first `kept` bytes.
    pub(crate) fn go_on(&mut self, kept: u64, total: u64) -> Result<(), Failure> {
        self.pin.set_total(total);
        match &mut self.store {
            Store::Memory(bytes) => {
                // Both are far below 2^32.
                bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                Ok(())
            }
            Store::File(claimed) => {
                claimed.writer.flush()?;
                claimed.file.cut(kept)?;
                claimed.writer = Writer::new(claimed.file.clone(), kept, self.committer.clone());
                Ok(())
            }
        }
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.store {
            Store::Memory(buffer) => {
                buffer.extend_from_slice(bytes);
                Ok(())
            }
            Store::File(claimed) => claimed.writer.write(bytes),
        }
    }

    /// Hands what is buffered to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.store {
            Store::Memory(_) => Ok(()),
            Store::File(claimed) => claimed.writer.flush(),
        }
    }

    /// Moves what is in memory to a partial file.
    fn move_to_disk(&mut self, url: &Url) -> Result<(), Failure> {
        let Store::Memory(bytes) = &mut self.store else {
            return Ok(());
        };
        let bytes = std::mem::take(bytes);
        match self.open_file(url, &bytes) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.store = Store::Memory(bytes);
                Err(failure)
            }
        }
    }

    fn open_file(&mut self, url: &Url, bytes: &[u8]) -> Result<(), Failure> {
        let opened = Self::open(
            &self.folder,
            &self.wanted,
            url,
            self.existing,
            &self.committer,
            bytes,
        )?;
        let Opened::Part(mut other) = opened else {
            let text = format!("{}: is there meanwhile", self.wanted);
            return Err(Failure::new(FailureKind::CannotCreate, text));
        };
        other.pin = self.pin.clone();
        other.is_foreign = self.is_foreign;
        other.restart_file(
            url,
            match self.pin.total() {
                Some(total) if total <= SMALL_BYTES_MAX => Note::Nothing,
                // It was a small file when it began.
                _ => self.note(),
            },
        )?;
        other.write(bytes)?;
        other.flush()?;
        self.store = other.store;
        Ok(())
    }

    /// Writes all of it to the partial file: from here on only [`Part::publish`] is left.
    /// Blocks on the file system.
    pub(crate) fn write_out(&mut self, url: &Url) -> Result<(), Failure> {
        if let Store::Memory(bytes) = &mut self.store
            && self.existing == Existing::Number
            && !is_like_a_part(&self.wanted)
            && self.folder.first_number(&self.wanted) == 0
            && let Some(file) = PartFile::create(&self.folder, &self.wanted)?
        {
            // Nobody has had this name so far, and renaming will tell if the final one is
            // there: the rest of `open` is not needed.
            let file = Arc::new(file);
            let mut writer = Writer::new(file.clone(), 0, self.committer.clone());
            if let Err(failure) = writer.put(bytes) {
                file.discard()?;
                return Err(failure);
            }
            self.committer.give_back(std::mem::take(bytes));
            let claim = Claim::none(&self.folder, &self.wanted);
            self.store = Store::File(Claimed {
                writer,
                file,
                claim,
            });
            return Ok(());
        }
        self.move_to_disk(url)?;
        self.flush()
    }

    /// Has its bytes on the disk, also after a power failure. Blocks.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        match &self.store {
            Store::Memory(_) => Ok(()),
            Store::File(claimed) => {
                let synced = claimed.file.file().sync_data();
                synced.map_err(|e| claimed.file.failed(&e))
            }
        }
    }

    /// Has all of its file system on the disk. Blocks.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.folder.fd())?)
    }

    /// The file system that it is on.
    pub(crate) fn device(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(self.folder.fd())?.st_dev)
    }

    /// Makes all ready for [`Part::publish`], and tells where the file will be if nobody
    /// takes that first, and the date of change by which it is known again.
    pub(crate) fn prepare(&self) -> Result<(PathBuf, Option<SystemTime>), Failure> {
        let Store::File(claimed) = &self.store else {
            return Ok((self.folder.path_of(&self.wanted), None));
        };
        let metadata = claimed.file.check_whole(self.pin.total())?;
        let file = claimed.file.file();
        let modified = match self.modified {
            // What the file system makes of it: its clock may be coarser.
            Some(modified) => file.set_modified(modified).and_then(|()| file.metadata()),
            None => Ok(metadata),
        };
        let modified = modified.map_err(|e| claimed.file.failed(&e))?.modified();
        Ok((self.folder.path_of(claimed.file.name()), modified.ok()))
    }

    /// Gives the whole file its name, and tells where it is. Blocks on the file system.
    pub(crate) fn publish(&mut self) -> Result<PathBuf, Failure> {
        let Store::File(claimed) = &mut self.store else {
            let text = format!("{}: published before it was written out", self.wanted);
            return Err(Failure::new(FailureKind::Internal, text));
        };
        let replace = self.existing == Existing::Overwrite;
        let part = format!("{}{PART}", claimed.file.name());
        let mut to = claimed.file.name().to_owned();
        let mut n = self.folder.first_number(&self.wanted);
        loop {
            match self.folder.rename(&part, &to, replace) {
                Ok(()) => break,
                // It was there before, or another process has made one meanwhile.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < NUMBER_MAX => {
                    self.folder.skip_number(&self.wanted, n);
                    n += 1;
                    to = numbered(&self.wanted, n);
                }
                Err(e) => return Err(claimed.file.failed(&e)),
            }
        }
        // Not before: a kill in between would leave bytes of which nothing is known.
        if let Err(error) = claimed.file.forget() {
            log::warn!("{error}");
        }
        // Of the numbered ones only those that another one's partial file would hit: the
        // others are seen on the disk.
        claimed.claim.hold = self.existing != Existing::Number || is_like_a_part(&to);
        Ok(self.folder.path_of(&to))
    }

    /// Leaves the file as it is if a later run can go on from it, else removes it. True
    /// if it stays.
    pub(crate) fn leave(mut self: Box<Self>, url: &Url) -> Result<bool, Failure> {
        if self.is_foreign {
            self.unpin();
        }
        if self.keeps() == 0 && matches!(self.store, Store::Memory(_)) {
            return Ok(false);
        }
        self.move_to_disk(url)?;
        // If the rest does not fit on the disk, what is there still counts.
        let _ = self.flush();
        match &self.store {
            Store::Memory(_) => Ok(false),
            Store::File(claimed) => {
                self.sync_for_later(&claimed.file)?;
                claimed.file.leave(url, &self.pin)
            }
        }
    }
}

impl Part {
    /// Has on the disk what is about to be written down, if the run flushes.
    fn sync_for_later(&self, file: &Arc<PartFile>) -> Result<(), Failure> {
        if !self.committer.flushes() || self.pin.validator().is_none() {
            return Ok(());
        }
        let synced = file.clone();
        // Also for one that was stopped: it takes what the disk takes.
        let synced = shield(|| blocking(move || synced.file().sync_data()));
        let failed = |e| Failure::new(FailureKind::Internal, format!("flushing: {e}"));
        synced.map_err(failed)?.map_err(|e| file.failed(&e))
    }
}

impl Claimed {
    fn new(file: PartFile, claim: Claim, committer: &Committer) -> Self {
        let file = Arc::new(file);
        Self {
            writer: Writer::new(file.clone(), file.done().prefix(), committer.clone()),
            file,
            claim,
        }
    }
}

/// Tells whether a final name looks like that of another file's part.
fn is_like_a_part(name: &str) -> bool {
    name.ends_with(PART) || name.ends_with(PART_FACTS)
}

/// A name that no other download of this run takes.
#[derive(Debug)]
struct Claim {
    folder: Arc<Folder>,
    name: String,
    /// There is one.
    taken: bool,
    /// The name itself stays taken to the end of the run.
    hold: bool,
}

impl Claim {
    fn take(folder: &Arc<Folder>, name: &str) -> Option<Self> {
        folder.claim(name).then(|| {
            let mut claim = Self::none(folder, name);
            claim.taken = true;
            claim
        })
    }

    /// None: the file system itself says whose the name is.
    fn none(folder: &Arc<Folder>, name: &str) -> Self {
        Self {
            folder: folder.clone(),
            name: name.to_owned(),
            taken: false,
            hold: false,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.taken {
            self.folder.release(&self.name, self.hold);
        }
    }
}
