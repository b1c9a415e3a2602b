//! The folders that a run writes to: its own, and those below it that places ask for.
//!
//! Invariants:
//! - a folder below is reached from the descriptor of the one above it, and no symbolic
//!   link is followed on the way: whoever can write to the folders cannot lead a file out
//!   of them;
//! - which names are taken belongs to the folder itself (its device and inode), not to a
//!   path or a descriptor: two paths to it are one folder, and what was taken stays so
//!   after its descriptor was closed;
//! - [`OPEN_MAX`] descriptors are kept, besides those in use.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat};
use rustix::io::Errno;

use super::failure::{Failure, FailureKind};
use super::folder::{Folder, FolderId, Taken};
use super::place::Place;
use crate::util::lock;

/// Descriptors kept for the next file; a run through a tree comes back to few of them.
const OPEN_MAX: usize = 64;

/// The folder of a run and those below it.
#[derive(Debug)]
pub(crate) struct Folders {
    root: Arc<Folder>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    folders: HashMap<(Option<PathBuf>, String), Kept>,
    /// Counts uses, to tell which was long ago.
    clock: u64,
    taken: HashMap<FolderId, Arc<Mutex<Taken>>>,
}

#[derive(Debug)]
struct Kept {
    folder: Arc<Folder>,
    used: u64,
}

impl Folders {
    /// Opens the folder of a run, creating it if need be, and sees whether files can be
    /// made there. Links on the way to it are the user's, and followed.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let root = Arc::new(Folder::open(path)?);
        root.probe()?;
        let mut open = Open::default();
        open.taken.insert(root.id(), root.taken().clone());
        Ok(Self {
            root,
            open: Mutex::new(open),
        })
    }

    /// The folder of the run.
    pub(crate) fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    /// The folder that a place is in, created if need be.
    pub(crate) fn of(&self, place: &Place) -> Result<Arc<Folder>, Failure> {
        if place.base.is_none() && place.folders.is_empty() {
            return Ok(self.root.clone());
        }
        let key = (place.base.clone(), place.folders.join("/"));
        if let Some(folder) = lock(&self.open).find(&key) {
            return Ok(folder);
        }
        // Not under the lock: a file system that answers slowly keeps nobody else waiting.
        let base = place.base.as_deref().map(Folder::open).transpose()?;
        let folder = match (base, place.folders.is_empty()) {
            (Some(base), true) => base,
            (base, _) => below(base.as_ref().unwrap_or(&self.root), &place.folders)?,
        };
        Ok(lock(&self.open).keep(key, folder))
    }
}

impl Open {
    fn find(&mut self, key: &(Option<PathBuf>, String)) -> Option<Arc<Folder>> {
        self.clock += 1;
        let kept = self.folders.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.folder.clone())
    }

    /// Lists a folder, unless somebody else was faster; closes one that was not used for
    /// long.
    fn keep(&mut self, key: (Option<PathBuf>, String), folder: Folder) -> Arc<Folder> {
        if let Some(folder) = self.find(&key) {
            return folder;
        }
        let taken = self.taken.entry(folder.id()).or_default().clone();
        let folder = Arc::new(folder.sharing(taken));
        let kept = Kept {
            folder: folder.clone(),
            used: self.clock,
        };
        self.folders.insert(key, kept);
        if self.folders.len() > OPEN_MAX {
            self.close_one();
        }
        folder
    }

    fn close_one(&mut self) {
        let unused = self
            .folders
            .iter()
            .filter(|(_, kept)| Arc::strong_count(&kept.folder) == 1);
        let Some((key, kept)) = unused.min_by_key(|(_, kept)| kept.used) else {
            return;
        };
        let (key, id) = (key.clone(), kept.folder.id());
        self.folders.remove(&key);
        let forgotten = self
            .taken
            .get(&id)
            // Ours is the only one left: no folder of this identity is open.
            .is_some_and(|taken| Arc::strong_count(taken) == 1 && lock(taken).is_empty());
        if forgotten {
            self.taken.remove(&id);
        }
    }
}

fn below(from: &Folder, folders: &[String]) -> Result<Folder, Failure> {
    let fd = descend(from.fd(), folders).map_err(|error| in_the_way(error, from, folders))?;
    Folder::at(fd, from.path().join(folders.join("/")))
}

/// Opens `folders`, one in the other, below `from`; makes those that are missing.
fn descend(from: BorrowedFd<'_>, folders: &[String]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(from, folders.join("/"), flags, Mode::empty(), how) {
        // What is missing is made; where the call is missing or forbidden, or the kernel
        // saw a rename on the way, the steps below are as safe.
        Err(Errno::NOENT | Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::AGAIN) => {}
        other => return other,
    }
    step_by_step(from, folders)
}

/// As [`descend`], a folder at a time: each name is one component, and its link would not
/// be followed.
fn step_by_step(from: BorrowedFd<'_>, folders: &[String]) -> Result<OwnedFd, Errno> {
    let mut at: Option<OwnedFd> = None;
    for (n, folder) in folders.iter().enumerate() {
        // Those on the way need not be readable.
        let access = match n + 1 == folders.len() {
            true => OFlags::RDONLY,
            false => OFlags::PATH,
        };
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let above = at.as_ref().map_or(from, |fd| fd.as_fd());
        let found = match openat(above, folder, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(above, folder, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                openat(above, folder, flags, Mode::empty())?
            }
            other => other?,
        };
        at = Some(found);
    }
    // No folders: the one above itself.
    at.map_or_else(|| from.try_clone_to_owned().map_err(|_| Errno::MFILE), Ok)
}

/// The failure for a folder that could not be reached: which part of its path it was, and
/// what stands there.
fn in_the_way(error: Errno, from: &Folder, folders: &[String]) -> Failure {
    let mut path = PathBuf::new();
    if matches!(error, Errno::NOTDIR | Errno::LOOP) {
        for folder in folders {
            path.push(folder);
            let Ok(stat) = statat(from.fd(), &path, AtFlags::SYMLINK_NOFOLLOW) else {
                break;
            };
            let what = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => continue,
                FileType::Symlink => "a symbolic link, which is not followed",
                FileType::RegularFile => "a file",
                _ => "something else",
            };
            let text = format!(
                "folder {}: {what} stands there",
                from.path().join(&path).display()
            );
            return Failure::new(FailureKind::CannotCreate, text);
        }
    }
    let path = from.path().join(folders.join("/"));
    let error = io::Error::from(error);
    Failure::file(&error, format_args!("folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A folder of its own, removed at the end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let name = format!("greenloop-folders-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn place(path: &str) -> Place {
        Place {
            folders: path.split('/').map(str::to_owned).collect(),
            ..Place::default()
        }
    }

    #[test]
    fn folders_below_are_made_and_found_again() {
        let temporary = Temporary::new("made");
        let folders = Folders::open(&temporary.0).unwrap();
        let deep = folders.of(&place("a/b/c")).unwrap();
        assert!(temporary.0.join("a/b/c").is_dir());
        assert_eq!(deep.path_of("f"), temporary.0.join("a/b/c/f"));
        assert!(Arc::ptr_eq(&deep, &folders.of(&place("a/b/c")).unwrap()));
        assert!(!Arc::ptr_eq(&deep, &folders.of(&place("a/b")).unwrap()));
        let root = folders.of(&Place::default()).unwrap();
        assert!(Arc::ptr_eq(&root, folders.root()));
        fs::create_dir(temporary.0.join("there")).unwrap();
        folders.of(&place("there")).unwrap();
    }

    #[test]
    fn links_are_not_followed_also_step_by_step() {
        let outside = Temporary::new("outside");
        let temporary = Temporary::new("links");
        symlink(&outside.0, temporary.0.join("out")).unwrap();
        symlink("inside", temporary.0.join("in")).unwrap();
        fs::create_dir(temporary.0.join("inside")).unwrap();
        fs::write(temporary.0.join("file"), "").unwrap();
        let folders = Folders::open(&temporary.0).unwrap();
        for (path, what) in [
            ("out", "a symbolic link, which is not followed"),
            ("out/x", "a symbolic link, which is not followed"),
            ("in", "a symbolic link, which is not followed"),
            ("inside/../out", "a symbolic link, which is not followed"),
            ("file", "a file stands there"),
            ("file/x", "a file stands there"),
        ] {
            let failure = folders.of(&place(path)).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::CannotCreate);
            assert!(failure.to_string().contains(what), "{path}: {failure}");
            let parts = place(path).folders;
            assert!(step_by_step(folders.root().fd(), &parts).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 0);
        let made = step_by_step(folders.root().fd(), &place("p/q").folders);
        assert!(made.is_ok() && temporary.0.join("p/q").is_dir());
    }

    #[test]
    fn names_stay_taken_while_descriptors_come_and_go() {
        let temporary = Temporary::new("many");
        let folders = Folders::open(&temporary.0).unwrap();
        let first = folders.of(&place("first")).unwrap();
        assert!(first.claim("f"));
        drop(first);
        for n in 0..3 * OPEN_MAX {
            folders.of(&place(&format!("d{n}"))).unwrap();
        }
        let open = lock(&folders.open).folders.len();
        assert_eq!(open, OPEN_MAX);
        // Root, the one with the claim, and those that are open.
        assert_eq!(lock(&folders.open).taken.len(), OPEN_MAX + 2);
        assert!(!folders.of(&place("first")).unwrap().claim("f"));
        // By another path, too.
        let other = Place {
            base: Some(temporary.0.join("first")),
            ..Place::default()
        };
        assert!(!folders.of(&other).unwrap().claim("f"));
        assert!(folders.of(&other).unwrap().claim("g"));
    }

    #[test]
    fn folders_in_use_are_not_closed() {
        let temporary = Temporary::new("used");
        let folders = Folders::open(&temporary.0).unwrap();
        let held: Vec<_> = (0..OPEN_MAX + 5)
            .map(|n| folders.of(&place(&format!("d{n}"))).unwrap())
            .collect();
        assert_eq!(lock(&folders.open).folders.len(), held.len());
        drop(held);
        for n in 0..6 {
            folders.of(&place(&format!("e{n}"))).unwrap();
        }
        assert!(lock(&folders.open).folders.len() <= OPEN_MAX + 5);
    }
}
