//! One file on its way: `NAME.part`, until it is whole and gets its name.
//!
//! Invariants:
//! - the final name never holds a file that is not whole;
//! - one `.part` has one writer: in this run by the folder's claims, against other
//!   processes by a lock on the file;
//! - a `.part` that stays behind has facts beside it, or starts from zero next time.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, statat};
use rustix::io::Errno;

use super::Existing;
use super::failure::{Failure, FailureKind};
use super::folder::{Folder, Standing};
use super::resume::{Facts, Pin};
use crate::fs::name::{PART, PART_FACTS, numbered};
use crate::runtime::blocking::blocking;
use crate::runtime::kill::shield;

/// Bytes collected before they are written: a system call per 64 KiB costs less than the
/// copy it makes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Files from this size on have their facts written at the start, so that they can be
/// resumed even after a kill -9. For smaller ones the second file would cost more than
/// fetching them again.
const FACTS_EARLY_BYTES: u64 = 1024 * 1024;

/// Variants of a name that are tried.
const NUMBER_MAX: u32 = 100_000;

/// Where a download's bytes go.
#[derive(Debug)]
pub(crate) struct Part {
    folder: Arc<Folder>,
    /// The name that was wished for.
    wanted: String,
    /// The variant of it that was free.
    name: String,
    file: File,
    /// Bytes in the file and the buffer.
    length: u64,
    buffer: Vec<u8>,
    pin: Pin,
    facts_saved: bool,
    /// The name stays taken to the end of the run.
    holds_name: bool,
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
    /// Finds a free variant of `wanted` and opens its partial file.
    ///
    /// A partial file of an earlier run is taken over if its facts are about `url`.
    pub(crate) fn open(
        folder: &Arc<Folder>,
        wanted: &str,
        url: &Url,
        existing: Existing,
    ) -> Result<Opened, Failure> {
        for n in folder.first_number(wanted)..NUMBER_MAX {
            let name = numbered(wanted, n);
            if !folder.claim(&name) {
                continue;
            }
            let claim = Claim {
                folder,
                name: &name,
                kept: false,
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
                (Standing::File, Existing::Fail) => {
                    let text = format!("{}: is there", path.display());
                    return Err(Failure::new(FailureKind::Exists, text));
                }
                (Standing::Other, _) => {
                    let text = format!("{}: is there and is no regular file", path.display());
                    return Err(Failure::new(FailureKind::CannotCreate, text));
                }
            }
            let Some(file) = lock_part(folder, &name)? else {
                continue;
            };
            let facts = folder.facts(&name);
            if facts.as_ref().is_some_and(|facts| !facts.is_about(url)) {
                continue;
            }
            let length = file.metadata().map_err(failed)?.len();
            claim.keep();
            return Ok(Opened::Part(Box::new(Self {
                folder: folder.clone(),
                wanted: wanted.to_owned(),
                name,
                file,
                length,
                buffer: Vec::new(),
                facts_saved: facts.is_some(),
                pin: facts.map(|facts| facts.pin).unwrap_or_default(),
                holds_name: false,
            })));
        }
        let text = format!("{wanted}: all its variants are taken");
        Err(Failure::new(FailureKind::CannotCreate, text))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the partial file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&format!("{}{PART}", self.name))
    }

    pub(crate) fn pin(&self) -> &Pin {
        &self.pin
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// How many of its bytes the next request may build on.
    pub(crate) fn keeps(&self) -> u64 {
        self.pin.keeps(self.length)
    }

    /// Empties the file, for the version that `pin` names.
    pub(crate) fn restart(&mut self, url: &Url, pin: Pin) -> Result<(), Failure> {
        // The order matters: facts never stand beside bytes that they are not about.
        if self.facts_saved {
            self.remove(PART_FACTS)?;
            self.facts_saved = false;
        }
        self.cut(0)?;
        self.pin = pin;
        let early = self
            .pin
            .total()
            .is_none_or(|total| total >= FACTS_EARLY_BYTES);
        if early { self.save_facts(url) } else { Ok(()) }
    }

    /// Prepares to append after the first `kept` bytes.
    pub(crate) fn go_on(&mut self, kept: u64, total: u64) -> Result<(), Failure> {
        self.flush()?;
        self.cut(kept)?;
        self.pin.set_total(total);
        Ok(())
    }

    fn cut(&mut self, length: u64) -> Result<(), Failure> {
        self.buffer.clear();
        self.file.set_len(length).map_err(|e| self.failed(&e))?;
        self.length = length;
        Ok(())
    }

    /// Appends to the file.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.write_at(bytes, self.length)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Hands the buffer to the kernel.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let buffer = std::mem::take(&mut self.buffer);
        let start = self.length - buffer.len() as u64;
        let written = self.write_at(&buffer, start);
        if written.is_err() {
            self.length = start;
        }
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Failure> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| self.failed(&e))
    }

    /// Gives the whole file its name. With `sync` its bytes are on the disk before.
    ///
    /// # Switching
    /// May switch: the file system is waited for on the blocking lane. Not interrupted by
    /// a kill: a file that is whole is published.
    pub(crate) fn publish(mut self, existing: Existing, sync: bool) -> Result<PathBuf, Failure> {
        self.flush()?;
        let replace = existing == Existing::Overwrite;
        // Of the numbered ones only those that another one's partial file would hit: the
        // others are seen on the disk.
        let hold_name = existing != Existing::Number
            || self.name.ends_with(PART)
            || self.name.ends_with(PART_FACTS);
        let job = move || {
            if sync {
                self.file.sync_data().map_err(|e| self.failed(&e))?;
            }
            if self.facts_saved {
                self.remove(PART_FACTS)?;
                self.facts_saved = false;
            }
            let path = self.take_name(replace)?;
            self.holds_name = hold_name;
            Ok(path)
        };
        match shield(|| blocking(job)) {
            Ok(published) => published,
            Err(error) => Err(Failure::new(FailureKind::Internal, error.to_string())),
        }
    }

    fn take_name(&mut self, replace: bool) -> Result<PathBuf, Failure> {
        let part = format!("{}{PART}", self.name);
        let mut to = self.name.clone();
        let mut n = 0;
        loop {
            match self.folder.rename(&part, &to, replace) {
                Ok(()) => break,
                // Another process has made one meanwhile.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < NUMBER_MAX => {
                    n += 1;
                    to = numbered(&self.wanted, n);
                }
                Err(e) => return Err(self.failed(&e)),
            }
        }
        Ok(self.folder.path_of(&to))
    }

    /// Leaves the file as it is if a later run can go on from it, else removes it. True
    /// if it stays.
    pub(crate) fn leave(mut self, url: &Url) -> Result<bool, Failure> {
        // If the rest does not fit on the disk, what is there still counts.
        let _ = self.flush();
        if self.keeps() > 0 && (self.facts_saved || self.save_facts(url).is_ok()) {
            return Ok(true);
        }
        self.remove(PART_FACTS)?;
        self.remove(PART)?;
        Ok(false)
    }

    fn save_facts(&mut self, url: &Url) -> Result<(), Failure> {
        if self.pin.validator().is_none() {
            return Ok(());
        }
        let facts = Facts::new(url, self.pin.clone());
        self.folder
            .save_facts(&self.name, &facts)
            .map_err(|e| self.failed(&e))?;
        self.facts_saved = true;
        Ok(())
    }

    fn remove(&self, suffix: &str) -> Result<(), Failure> {
        self.folder
            .remove(&format!("{}{suffix}", self.name))
            .map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::file(error, self.folder.path_of(&self.name).display())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.folder.release(&self.name, self.holds_name);
    }
}

/// A claimed name that is given back unless it is kept.
struct Claim<'a> {
    folder: &'a Folder,
    name: &'a str,
    kept: bool,
}

impl Claim<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.folder.release(self.name, false);
        }
    }
}

/// Opens and locks the partial file of `name`; `None` if another process has it.
fn lock_part(folder: &Folder, name: &str) -> Result<Option<File>, Failure> {
    let part = format!("{name}{PART}");
    let path = folder.path_of(&part);
    let failed = |e: io::Error| Failure::file(&e, path.display());
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    // A process that publishes between our open and our lock takes the file away from
    // under the name; then the name is free for the next look.
    for _ in 0..100 {
        let fd = openat(folder.fd(), &part, flags, mode).map_err(|e| failed(e.into()))?;
        let file = File::from(fd);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            let text = format!("{}: is no regular file", path.display());
            return Err(Failure::new(FailureKind::CannotCreate, text));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            // No locks on this file system: the claims of this run are what there is.
            Err(Errno::NOSYS | Errno::NOTSUP | Errno::INVAL | Errno::NOLCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
        match statat(folder.fd(), &part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_ino == metadata.ino() && stat.st_dev == metadata.dev() => {
                return Ok(Some(file));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(None)
}
