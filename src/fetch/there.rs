//! What is on the disk of a download before it begins, and when its answer comes: files
//! that are left alone, that are proven to be the server's, or that it is asked about.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Existing;
use super::checksum::Checksum;
use super::client::{Answer, Known};
use super::failure::{Failure, FailureKind};
use super::folder::Folder;
use super::journal::{Journal, Saved, wish};
use super::place::{Asked, Place, Told};
use super::plan::without_password;
use super::report::End;
use super::resume::Pin;
use super::unchanged::{Before, Conditions, OnDisk, is_same, modified};
use super::verify::verify_file;
use super::worker::Worker;

/// What a look at the disk has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What the journal tells of an earlier run.
    before: Option<Saved>,
    /// What the server is asked about the file that is there.
    conditions: Option<Conditions>,
    /// That file, and its size.
    asked_about: Option<(PathBuf, u64)>,
}

/// A folder, and the name wished for in it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) folder: Arc<Folder>,
    pub(crate) name: String,
}

impl Wanted {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }
}

impl Worker<'_> {
    /// Where the file goes, as far as it is known.
    pub(crate) fn place(&self, answer: Option<&Answer>) -> Result<Place, Failure> {
        let own = self.entry.own();
        let asked = Asked {
            url: self.url,
            id: self.id,
            line: self.entry.line(),
            out: own.and_then(|own| own.out.as_deref()),
            dir: own.and_then(|own| own.dir.as_deref()),
        };
        let told = answer.map(|answer| Told {
            url: answer.url(),
            disposition: answer.content_disposition(),
        });
        Place::of(&self.run.settings.naming, asked, told)
    }

    /// The open folder of that place; `None` if nothing is saved.
    pub(crate) fn wanted(&self, answer: Option<&Answer>) -> Result<Option<Wanted>, Failure> {
        let Some(folders) = &self.run.folders else {
            return Ok(None);
        };
        let place = self.place(answer)?;
        let folder = folders.of(&place)?;
        let name = self.name_again(&folder).unwrap_or(place.name);
        Ok(Some(Wanted { folder, name }))
    }

    /// The name that the file got in an earlier run, if it is to be replaced: it may be a
    /// numbered one.
    fn name_again(&self, folder: &Folder) -> Option<String> {
        if self.existing() != Existing::Overwrite {
            return None;
        }
        let path = self
            .run
            .settings
            .naming
            .dir
            .join(&self.found.before.as_ref()?.path);
        let name = path.file_name()?.to_str()?;
        (folder.path_of(name) == path).then(|| name.to_owned())
    }

    /// What becomes of a file of the name.
    pub(crate) fn existing(&self) -> Existing {
        match self.run.settings.naming.newer {
            true => Existing::Overwrite,
            false => self.run.settings.naming.existing,
        }
    }

    /// Looks at what is there before anything is asked of the server. Ends the download if
    /// that is enough.
    #[expect(
        clippy::large_stack_frames,
        reason = "just over the mark; nothing below it waits"
    )]
    pub(crate) fn look(&mut self) -> Result<Option<End>, Failure> {
        let naming = &self.run.settings.naming;
        if let Some(journal) = &self.run.journal
            && let Some(saved) = journal.saved(self.url, wish(self.entry, naming).as_deref())
        {
            // What is to be replaced is asked about.
            if self.existing() != Existing::Overwrite && self.is_done(journal, &saved)? {
                log::debug!("{}: done before", without_password(self.url));
                return Ok(Some(self.skip(naming.dir.join(&saved.path), saved.bytes)));
            }
            self.found.before = Some(saved);
        }
        let Some(wanted) = self.wanted(None)? else {
            return Ok(None);
        };
        let Some(there) = there(&wanted)? else {
            return Ok(None);
        };
        if naming.newer {
            let before = self.before(&wanted);
            // What is known to be wrong is sent again, whatever the server has.
            self.found.conditions = match self.is_wrong(&wanted)? {
                true => None,
                false => Conditions::of(there, before),
            };
            self.found.asked_about = Some((wanted.path(), there.bytes));
            return Ok(None);
        }
        if naming.continuing && self.is_verified(&wanted)? {
            return Ok(Some(self.skip(wanted.path(), there.bytes)));
        }
        match naming.existing {
            Existing::Skip => Ok(Some(self.skip(wanted.path(), there.bytes))),
            Existing::Fail if !naming.continuing => Err(in_the_way(&wanted.path())),
            _ => Ok(None),
        }
    }

    /// Tells whether the file that an earlier run has saved is there, and has all the
    /// checksums that are known for it now; at least one, if files must have one.
    fn is_done(&self, journal: &Journal, saved: &Saved) -> Result<bool, Failure> {
        if !journal.is_there(saved) {
            return Ok(false);
        }
        let mut checksums = self.checksums(&self.place(None)?.path());
        if checksums.is_empty() {
            // The server has named it.
            checksums = self.checksums(Path::new(&saved.path));
        }
        if checksums.is_empty() {
            return Ok(!self.run.settings.verify.strict);
        }
        let path = self.run.settings.naming.dir.join(&saved.path);
        has_checksums(journal.open_saved(saved), &path, &checksums)
    }

    /// Tells whether the file has all the checksums that are known for it.
    fn is_verified(&self, wanted: &Wanted) -> Result<bool, Failure> {
        Ok(self.has_checksums(wanted)? == Some(true))
    }

    /// Tells whether the file lacks a checksum that is known for it.
    fn is_wrong(&self, wanted: &Wanted) -> Result<bool, Failure> {
        Ok(self.has_checksums(wanted)? == Some(false))
    }

    /// `None`: none are known.
    fn has_checksums(&self, wanted: &Wanted) -> Result<Option<bool>, Failure> {
        let checksums = self.checksums(&self.place(None)?.path());
        if checksums.is_empty() {
            return Ok(None);
        }
        let file = wanted.folder.open_file(&wanted.name);
        has_checksums(file, &wanted.path(), &checksums).map(Some)
    }

    fn checksums(&self, path: &Path) -> Vec<Checksum> {
        self.run.settings.verify.checksums(self.entry, path)
    }

    /// What the journal tells of the file at this very place.
    fn before(&self, wanted: &Wanted) -> Option<Before<'_>> {
        let saved = self.found.before.as_ref()?;
        let path = self.run.settings.naming.dir.join(&saved.path);
        (path == wanted.path()).then(|| before(saved))
    }

    /// What the request asks to be told only if it has changed.
    pub(crate) fn known(&self) -> Option<Known<'_>> {
        self.found.conditions.as_ref().map(Conditions::known)
    }

    /// The end of a download whose file has not changed.
    pub(crate) fn unchanged(&mut self) -> End {
        let (path, bytes) = self.found.asked_about.take().unwrap_or_default();
        self.skip(path, bytes)
    }

    /// Ends the download if the file that an answer brings is there already.
    pub(crate) fn is_there(&mut self, wanted: &Wanted, pin: &Pin) -> Result<Option<End>, Failure> {
        let naming = &self.run.settings.naming;
        let before = self.before(wanted);
        let is_asked_about = self.existing() == Existing::Overwrite && before.is_some();
        if !naming.newer && !naming.continuing && !is_asked_about {
            return Ok(None);
        }
        let Some(there) = there(wanted)? else {
            return Ok(None);
        };
        let same = is_same(there, before, pin) && !self.is_wrong(wanted)?;
        Ok(same.then(|| self.skip(wanted.path(), there.bytes)))
    }

    /// Sets the date that the file is to have, where it is the server's.
    pub(crate) fn set_date(&mut self, answer: Option<&Answer>) {
        if let Some(part) = &mut self.part
            && self.run.settings.naming.sets_remote_time()
        {
            // A part need not repeat the date of the whole.
            let told = answer.and_then(|answer| answer.fields().last_modified);
            let date = told.or_else(|| part.pin().last_modified.as_deref());
            let date = date.and_then(|date| modified(date, SystemTime::now()));
            part.set_modified(date);
        }
    }

    pub(crate) fn skip(&mut self, path: PathBuf, bytes: u64) -> End {
        self.facts.bytes = bytes;
        self.facts.path = Some(path);
        End::Skipped
    }
}

/// The regular file of the name, if it was there before the run.
fn there(wanted: &Wanted) -> Result<Option<OnDisk>, Failure> {
    let there = wanted.folder.existed_before(&wanted.name);
    there.map_err(|e| Failure::file(&e, wanted.path().display()))
}

/// Tells whether a file has all of `checksums`.
fn has_checksums(
    file: io::Result<File>,
    path: &Path,
    checksums: &[Checksum],
) -> Result<bool, Failure> {
    let file = file.map_err(|e| Failure::file(&e, path.display()))?;
    match verify_file(&file, checksums) {
        Ok(_) => Ok(true),
        Err(failure) if failure.kind() == FailureKind::Checksum => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// The failure for a file that is to be left alone.
pub(crate) fn in_the_way(path: &Path) -> Failure {
    let text = format!("{}: is there", path.display());
    Failure::new(FailureKind::Exists, text)
}

fn before(saved: &Saved) -> Before<'_> {
    Before {
        bytes: saved.bytes,
        modified: saved.modified,
        etag: saved.etag.as_deref(),
        last_modified: saved.last_modified.as_deref(),
    }
}
