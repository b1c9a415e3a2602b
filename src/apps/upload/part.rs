//! A file that is on its way into a folder: nothing, or all of it, also after a kill.
//!
//! Every function here blocks, and is called on the files lane, which gets the whole [`Part`]
//! and gives it back. So if the caller leaves in the middle, the lane's thread drops it when
//! the call is over, and the drop removes the file: there is no moment at which one is left.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::{AtFlags, Mode, OFlags, fstatvfs, unlinkat};

use crate::error::{Error, Result};
use crate::fs::name::numbered;
use crate::fs::{create_part, rename_in, sweep_parts, sync_folder};
use crate::util::escape;

/// The folder that uploads go to. Everything happens relative to its descriptor.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// The number of the next part: no two have one name.
    next: AtomicU64,
}

impl Folder {
    /// Opens `path`, creating it if need be, and removes what a server that was killed has
    /// left there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        let failed = |e: io::Error| Error::from(e).context(format!("folder {shown}"));
        std::fs::create_dir_all(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        sweep_parts(&fd, PREFIX).map_err(failed)?;
        let next = AtomicU64::new(0);
        Ok(Self { fd, next })
    }

    /// How many bytes still fit, as far as anybody can know.
    fn room(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// An unfinished file; the drop removes it.
#[derive(Debug)]
pub(super) struct Part {
    folder: Arc<Folder>,
    /// Its name until it is whole.
    name: String,
    file: File,
    is_whole: bool,
}

impl Part {
    /// Creates one for so many bytes.
    ///
    /// # Errors
    /// `StorageFull` if they do not fit; what the system says.
    pub(super) fn create(folder: Arc<Folder>, size: u64) -> io::Result<Self> {
        // Not reserved: who announces much and sends nothing would fill the disk for others.
        if folder.room()? < size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (name, file) = create_part(&folder.fd, PREFIX, &folder.next)?;
        Ok(Self {
            folder,
            name,
            file,
            is_whole: false,
        })
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives it its name when all of it is on the disk, or a numbered one if that is taken;
    /// tells which.
    pub(super) fn publish(mut self, wanted: &str, overwrite: bool) -> io::Result<String> {
        self.file.sync_all()?;
        for n in 0..=NUMBER_MAX {
            let name = numbered(wanted, n);
            match rename_in(self.folder.fd.as_fd(), &self.name, &name, overwrite) {
                Ok(()) => {
                    self.is_whole = true;
                    // So that the name is there after a crash, too.
                    sync_folder(&self.folder.fd)?;
                    return Ok(name);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = unlinkat(&self.folder.fd, &self.name, AtFlags::empty());
        }
    }
}

/// What parts begin with. No upload can get such a name: a leading dot is replaced.
const PREFIX: &str = ".upload-";

/// So many files of one name are kept apart.
const NUMBER_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::fstat;

    #[test]
    fn sweep_of_another_server_takes_no_new_part() {
        let name = format!("gl-upload-part-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let folder = Arc::new(Folder::open(&path).unwrap());
        let is_over = AtomicBool::new(false);
        let lost = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sweep_parts(&folder.fd, PREFIX).unwrap();
                }
            });
            let has_no_name = |part: Part| fstat(&part.file).unwrap().st_nlink == 0;
            let parts = (0..5_000).map(|_| Part::create(folder.clone(), 1).unwrap());
            let lost = parts.map(has_no_name).filter(|lost| *lost).count();
            is_over.store(true, Ordering::Relaxed);
            lost
        });
        std::fs::remove_dir_all(&path).unwrap();
        assert_eq!(lost, 0, "of 5000 parts that are locked");
    }
}
