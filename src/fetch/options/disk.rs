//! How files are written.

use std::time::Duration;

use crate::fetch::Downloader;

/// When the bytes of files are flushed to the disk.
///
/// A file always gets its name after its last byte, so a crash or kill of the program
/// leaves no half file under a final name. This is about power failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// Before they get their names, many small files in one go.
    #[default]
    Groups,
    /// Before they get their names, one by one.
    Each,
    /// When the system likes: after a power failure the last files can be empty.
    Never,
}

/// How files get to the disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Nothing is saved.
    pub(crate) discard: bool,
    /// Only the heads of answers are looked at.
    pub(crate) dry_run: bool,
    pub(crate) flush: Flush,
    pub(crate) preallocate: bool,
    /// How long a full disk is waited for.
    pub(crate) full_wait: Duration,
    pub(crate) journal: bool,
    /// The journal stays although everything was saved.
    pub(crate) keep_journal: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            discard: false,
            dry_run: false,
            flush: Flush::default(),
            preallocate: false,
            full_wait: Duration::from_secs(60),
            journal: true,
            keep_journal: false,
        }
    }
}

impl Downloader {
    /// Saves nothing: bodies are read, counted and dropped.
    pub fn discard(mut self) -> Self {
        self.settings.disk.discard = true;
        self
    }

    /// Whether servers are only asked, and nothing is downloaded. Default: no.
    ///
    /// The answers are judged as ever, save for their bodies, and end as
    /// [`End::Checked`](super::super::End::Checked) with the file's name and size. Nothing is
    /// written, no folder is made, and what is on the disk is not looked at.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.settings.disk.dry_run = dry_run;
        self
    }

    /// When files are flushed to the disk. Default: [`Flush::Groups`].
    pub fn flush(mut self, flush: Flush) -> Self {
        self.settings.disk.flush = flush;
        self
    }

    /// Whether room for a large file is taken before its first byte, so that a full disk
    /// is noticed early and the file is in one piece. Default: no.
    pub fn preallocate(mut self, preallocate: bool) -> Self {
        self.settings.disk.preallocate = preallocate;
        self
    }

    /// How long a full disk is waited for before the run is stopped. Default: 60 s; zero
    /// does not wait.
    ///
    /// Nothing is lost either way: what was written stays for a later run.
    pub fn disk_full_wait(mut self, limit: Duration) -> Self {
        self.settings.disk.full_wait = limit;
        self
    }

    /// Whether a journal of what is done is kept in the folder. Default: yes.
    ///
    /// A later run skips what it tells to be done, if the file is still there. It is
    /// removed at the end of a run that brings everything.
    ///
    /// One run at a time has the journal of a folder: another one, of this process or of
    /// another, fails before its first request. Runs without a journal may share a folder;
    /// they give each other's files a number, and two of one list bring everything twice.
    pub fn journal(mut self, journal: bool) -> Self {
        self.settings.disk.journal = journal;
        self
    }
}
