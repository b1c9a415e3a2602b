//! The folder that a server shows, and nothing outside it.
//!
//! Names come from strangers. Each is taken apart here, and then looked up by the kernel
//! below the folder's descriptor (`openat2(2)`, `RESOLVE_BENEATH`): neither `..` nor a
//! symbolic link leads out, also not one that is made while we look. Where a kernel or a
//! sandbox has no such call, each step of a path is opened by itself and no link is
//! followed.
//!
//! Everything here blocks: it belongs on the files lane.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use crate::fs::{create_part, rename_in, sweep_parts, sync_folder};
use crate::proto::tftp::ErrorCode;
use crate::util::lock;

/// An open folder.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    /// `openat2` is missing or forbidden here.
    step_by_step: bool,
    /// Folders in which nothing is left of dead servers, by device and number.
    swept: Mutex<HashSet<(u64, u64)>>,
}

/// What files on their way begin with: nobody can ask for such a name.
const PREFIX: &str = ".tftp-";

/// Why a request is refused: what the ERROR says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// `access violation: WHY`.
    fn access(why: &str) -> Self {
        Self::new(ErrorCode::Access, format!("{}: {why}", ErrorCode::Access))
    }

    fn bare(code: ErrorCode) -> Self {
        Self::new(code, code.to_string())
    }

    /// What the system answered, without telling where the folder is.
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match error.kind() {
            Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename => {
                Self::bare(ErrorCode::NotFound)
            }
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::bare(ErrorCode::Access),
            Kind::AlreadyExists => Self::bare(ErrorCode::Exists),
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Self::bare(ErrorCode::Full)
            }
            _ if matches!(errno, Some(Errno::XDEV | Errno::LOOP)) => {
                Self::access("it leads out of the folder")
            }
            // A socket, or a device without a driver, cannot even be opened.
            _ if matches!(errno, Some(Errno::NXIO | Errno::NODEV)) => {
                Self::access("not a regular file")
            }
            _ => Self::new(ErrorCode::Undefined, "the file cannot be opened"),
        }
    }
}

impl Root {
    /// Opens the folder.
    ///
    /// # Errors
    /// It is not there, or no folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let mut root = Self {
            fd,
            step_by_step: false,
            swept: Mutex::default(),
        };
        let probe = root.beneath(Path::new("."), OFlags::PATH | OFlags::DIRECTORY);
        root.step_by_step = matches!(probe, Err(Errno::NOSYS | Errno::PERM));
        Ok(root)
    }

    /// Removes what servers that were killed have left in the folder itself; in those below
    /// it that happens before the first file is created there.
    pub(super) fn sweep(&self) -> io::Result<()> {
        self.sweep_once(&self.fd)
    }

    fn sweep_once(&self, folder: &OwnedFd) -> io::Result<()> {
        let stat = fstat(folder)?;
        if lock(&self.swept).insert((stat.st_dev, stat.st_ino)) {
            sweep_parts(folder, PREFIX)?;
        }
        Ok(())
    }

    /// Opens a file for reading, and tells how long it is now.
    ///
    /// # Errors
    /// What the peer is to be told.
    pub(super) fn read(&self, name: &[u8]) -> Result<(File, u64), Refusal> {
        let path = inside(name)?;
        // Looked at first without being opened: to open a device or a FIFO can do something.
        regular(&self.walk(&path, OFlags::PATH).map_err(refused)?)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.walk(&path, flags).map_err(refused)?);
        let size = regular(&file)?;
        Ok((file, size))
    }

    /// Begins a file that is not to be seen under its name before it is whole.
    ///
    /// # Errors
    /// What the peer is to be told.
    pub(super) fn create(
        self: &Arc<Self>,
        name: &[u8],
        overwrite: bool,
    ) -> Result<Upload, Refusal> {
        let path = inside(name)?;
        let file_name = path.file_name().expect("it has a last part");
        let folder = match path.parent().filter(|parent| *parent != Path::new("")) {
            Some(parent) => self
                .walk(parent, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(refused)?,
            None => self.fd.try_clone().map_err(|e| Refusal::of(&e))?,
        };
        match statat(&folder, file_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !FileType::from_raw_mode(stat.st_mode).is_file() => {
                return Err(Refusal::access("not a regular file"));
            }
            Ok(_) if !overwrite => return Err(Refusal::bare(ErrorCode::Exists)),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(refused(error)),
        }
        // A folder that cannot be listed can be written to all the same.
        let _ = self.sweep_once(&folder);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (part, file) = create_part(&folder, PREFIX, &NEXT).map_err(|e| Refusal::of(&e))?;
        Ok(Upload {
            folder,
            part,
            name: file_name.into(),
            overwrite,
            file: Arc::new(file),
            is_published: false,
        })
    }

    /// Opens what `path` leads to below the folder.
    fn walk(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        if !self.step_by_step {
            return self.beneath(path, flags);
        }
        let mut at = self.fd.try_clone().map_err(|_| Errno::MFILE)?;
        let mut parts = path.iter().peekable();
        while let Some(part) = parts.next() {
            let flags = match parts.peek() {
                Some(_) => OFlags::PATH | OFlags::DIRECTORY,
                None => flags,
            };
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(&at, part, flags, Mode::empty())?;
        }
        Ok(at)
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        // The kernel may see a rename of a folder on the way and want us to look again.
        for _ in 0..16 {
            match openat2(&self.fd, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer,
            }
        }
        Err(Errno::XDEV)
    }
}

/// A file on its way to its name; dropped before [`Upload::publish`], it is removed.
#[derive(Debug)]
pub(super) struct Upload {
    folder: OwnedFd,
    part: String,
    name: PathBuf,
    overwrite: bool,
    file: Arc<File>,
    is_published: bool,
}

impl Upload {
    /// A second descriptor of the file, to write to.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name, when its bytes are on the disk.
    ///
    /// # Errors
    /// The disk has not taken it all; meanwhile somebody else has made a file of the name.
    pub(super) fn publish(mut self) -> Result<(), Refusal> {
        self.file.sync_all().map_err(|e| Refusal::of(&e))?;
        rename_in(
            self.folder.as_fd(),
            &*self.part,
            &*self.name,
            self.overwrite,
        )
        .map_err(|e| Refusal::of(&e))?;
        self.is_published = true;
        sync_folder(&self.folder).map_err(|e| Refusal::of(&e))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = unlinkat(&self.folder, &self.part, AtFlags::empty());
        }
    }
}

fn refused(errno: Errno) -> Refusal {
    Refusal::of(&errno.into())
}

/// The size of a regular file; everything else is refused.
fn regular(file: &impl AsFd) -> Result<u64, Refusal> {
    let stat = fstat(file).map_err(refused)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Refusal::access("not a regular file"));
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// The path below the folder that a name means.
///
/// A leading slash is the folder itself, as in other TFTP servers. What begins with a dot
/// is hidden: `..` and files on their way, too.
fn inside(name: &[u8]) -> Result<PathBuf, Refusal> {
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            [b'.', ..] => return Err(Refusal::access("hidden files are not served")),
            _ if part.iter().any(|b| b.is_ascii_control() || *b == b'\\') => {
                return Err(Refusal::access("the name is not allowed"));
            }
            _ => path.push(std::ffi::OsStr::from_bytes(part)),
        }
    }
    if path.as_os_str().is_empty() || name.ends_with(b"/") {
        return Err(Refusal::access("not a regular file"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_below_the_folder_or_nowhere() {
        let shown = |name: &[u8]| inside(name).map(|path| path.display().to_string());
        for (name, path) in [
            (&b"a"[..], "a"),
            (b"/a", "a"),
            (b"//a//b", "a/b"),
            (b"./a/./b", "a/b"),
            (b"a b", "a b"),
            ("a/你".as_bytes(), "a/你"),
        ] {
            assert_eq!(shown(name).as_deref(), Ok(path));
        }
        for name in [
            &b".."[..],
            b"../a",
            b"a/../b",
            b"/..",
            b"a/..",
            b".",
            b"/",
            b"a/",
            b".hidden",
            b"a/.hidden/b",
            b"..\\a",
            b"a\\b",
            b"C:\\x",
            b"a\nb",
            b"a\x1b[2J",
            b"a\x7f",
            b"",
        ] {
            assert_eq!(
                inside(name).map_err(|refusal| refusal.code),
                Err(ErrorCode::Access),
                "{name:?}"
            );
        }
    }

    /// Both ways of looking up, on the same folder.
    #[test]
    fn links_lead_out_neither_way() {
        let folder = std::env::temp_dir().join(format!("greenloop-root-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("root/sub")).unwrap();
        std::fs::write(folder.join("outside"), "secret").unwrap();
        std::fs::write(folder.join("root/sub/file"), "text").unwrap();
        for (link, to) in [
            ("root/out", "../outside"),
            ("root/abs", "/etc/passwd"),
            ("root/up", ".."),
            ("root/loop", "loop"),
        ] {
            std::os::unix::fs::symlink(to, folder.join(link)).unwrap();
        }
        let mut root = Root::open(&folder.join("root")).unwrap();
        for step_by_step in [root.step_by_step, true] {
            root.step_by_step = step_by_step;
            assert_eq!(root.read(b"sub/file").unwrap().1, 4);
            for name in [&b"out"[..], b"abs", b"up/outside", b"loop", b"sub", b"up"] {
                let refusal = root.read(name).unwrap_err();
                assert_eq!(
                    refusal.code,
                    // A step that is a link is no folder.
                    if step_by_step && name == b"up/outside" {
                        ErrorCode::NotFound
                    } else {
                        ErrorCode::Access
                    },
                    "{refusal:?}"
                );
            }
            assert_eq!(root.read(b"no").unwrap_err().code, ErrorCode::NotFound);
            assert_eq!(
                root.read(b"sub/file/x").unwrap_err().code,
                ErrorCode::NotFound
            );
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
