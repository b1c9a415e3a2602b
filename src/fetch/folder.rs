//! The folder that a run writes to, and which names in it are taken.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    Access, AtFlags, Dir, FileType, Mode, OFlags, accessat, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::failure::{Failure, FailureKind};
use super::unchanged::OnDisk;
use crate::fs::name::{PART, PART_FACTS};
use crate::fs::rename_in;
use crate::util::lock;

/// An open folder. Everything happens relative to its descriptor, so that nobody can move
/// the ground from under a run; no symbolic link is followed inside it.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    id: FolderId,
    /// Nothing was in it when it was opened: what is not looked for costs nothing.
    was_empty: bool,
    /// Shared by those that have the same folder open.
    names: Arc<Mutex<Taken>>,
}

/// Device and inode: one folder, whatever the paths to it.
pub(crate) type FolderId = (u64, u64);

/// Names that downloads of this run have taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    taken: HashSet<String>,
    /// The first number not yet tried for a name, so that ten thousand files of one name
    /// do not each try all numbers before them.
    next: HashMap<String, u32>,
}

impl Taken {
    /// Tells whether nothing is taken: nothing is lost if it is forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

/// What stands at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Nothing,
    File,
    /// A folder, a pipe, a link, …
    Other,
}

impl Folder {
    /// Opens `path`, creating it if need be, and sees whether files can be made there.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::file(&e, format_args!("folder {}", path.display()));
        std::fs::create_dir_all(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        Self::at(fd, path.to_owned())
    }

    /// Takes an open folder, which is at `path`, and sees whether files can be made there.
    pub(crate) fn at(fd: OwnedFd, path: PathBuf) -> Result<Self, Failure> {
        let failed = |e: Errno| {
            let what = format_args!("folder {}", path.display());
            Failure::file(&e.into(), what)
        };
        accessat(
            &fd,
            ".",
            Access::WRITE_OK | Access::EXEC_OK,
            AtFlags::EACCESS,
        )
        .map_err(failed)?;
        let stat = fstat(&fd).map_err(failed)?;
        Ok(Self {
            was_empty: is_empty(&fd),
            fd,
            id: (stat.st_dev, stat.st_ino),
            path,
            names: Arc::default(),
        })
    }

    /// Makes a file and forgets it: on some file systems nothing can be made, whatever the
    /// permissions say. A full disk is not looked at, because there may be room in time.
    pub(crate) fn probe(&self) -> Result<(), Failure> {
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let unnamed = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let made = match openat(&self.fd, ".", unnamed, mode) {
            // Not every file system has files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                let name = format!(".greenloop.{}.part", std::process::id());
                match openat(&self.fd, &name, create, mode) {
                    // Another run of this process is at it.
                    Err(Errno::EXIST) => Ok(()),
                    made => made.and_then(|_| unlinkat(&self.fd, &name, AtFlags::empty())),
                }
            }
            made => made.map(drop),
        };
        match made
            .map_err(|e| Failure::file(&e.into(), format_args!("folder {}", self.path.display())))
        {
            Err(failure) if failure.kind() != FailureKind::DiskFull => Err(failure),
            _ => Ok(()),
        }
    }

    /// Has what is taken in common with another one of the same folder.
    #[must_use]
    pub(crate) fn sharing(mut self, taken: Arc<Mutex<Taken>>) -> Self {
        self.names = taken;
        self
    }

    pub(crate) fn taken(&self) -> &Arc<Mutex<Taken>> {
        &self.names
    }

    pub(crate) fn id(&self) -> FolderId {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether nothing was in it when it was opened.
    pub(crate) fn was_empty(&self) -> bool {
        self.was_empty
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes `name` and what its partial file needs; false if this run has one of them.
    pub(crate) fn claim(&self, name: &str) -> bool {
        let mut names = lock(&self.names);
        let needed = [
            name.to_owned(),
            format!("{name}{PART}"),
            format!("{name}{PART_FACTS}"),
        ];
        if needed.iter().any(|name| names.taken.contains(name)) {
            return false;
        }
        names.taken.extend(needed);
        true
    }

    /// Gives a claim back. With `hold` the name itself stays taken to the end of the run,
    /// so that no other URL overwrites what this one brought, or is skipped for it.
    pub(crate) fn release(&self, name: &str, hold: bool) {
        let mut names = lock(&self.names);
        names.taken.remove(&format!("{name}{PART}"));
        names.taken.remove(&format!("{name}{PART_FACTS}"));
        if !hold {
            names.taken.remove(name);
        }
    }

    /// The number with which to begin looking for a free variant of `name`.
    pub(crate) fn first_number(&self, name: &str) -> u32 {
        lock(&self.names).next.get(name).copied().unwrap_or(0)
    }

    /// Remembers that variant `n` of `name` is there.
    pub(crate) fn skip_number(&self, name: &str, n: u32) {
        let mut names = lock(&self.names);
        let next = names.next.entry(name.to_owned()).or_default();
        if *next == n {
            *next += 1;
        }
    }

    pub(crate) fn standing(&self, name: &str) -> io::Result<Standing> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => Ok(Standing::File),
            Ok(_) => Ok(Standing::Other),
            Err(Errno::NOENT) => Ok(Standing::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// The regular file of this name, if it was there before the run.
    pub(crate) fn existed_before(&self, name: &str) -> io::Result<Option<OnDisk>> {
        if self.was_empty || lock(&self.names).taken.contains(name) {
            return Ok(None);
        }
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => Ok(Some(OnDisk {
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                // Those before 1970 are as good as that.
                modified: SystemTime::UNIX_EPOCH
                    + u64::try_from(stat.st_mtime).map_or(Duration::ZERO, |seconds| {
                        Duration::from_secs(seconds) + Duration::from_nanos(stat.st_mtime_nsec)
                    }),
            })),
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file to be read, no link.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames within the folder; without `replace` it fails if `to` is there.
    pub(crate) fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        rename_in(self.fd(), from, to, replace)
    }
}

/// Tells whether nothing is in a folder, as far as that can be seen.
fn is_empty(folder: &OwnedFd) -> bool {
    let Ok(mut entries) = Dir::read_from(folder) else {
        return false;
    };
    entries
        .all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}
