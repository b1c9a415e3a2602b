//! Files on their way into a folder under names that nobody asks for, and what is left of
//! them when their process is killed.
//!
//! Who writes a part holds a lock on it, which the kernel lets go of with the process.
//! Everything here blocks: call it on a lane.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::name::PART;

/// Tells whether it is a pipe or a device, which is written to and not replaced. Fails for
/// a folder.
#[cfg(feature = "fetch")]
pub(crate) fn is_special(path: &std::path::Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(meta) => Ok(!meta.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates `PREFIXpid-N.part`, which was not there. All of a process have one `next`.
pub(crate) fn create_part(
    folder: impl AsFd,
    prefix: &str,
    next: &AtomicU64,
) -> io::Result<(String, File)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}{}-{number}{PART}", std::process::id());
        let file = match openat(&folder, &name, flags, Mode::from_raw_mode(0o666)) {
            Ok(fd) => File::from(fd),
            // In another container, a process of this number.
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error.into()),
        };
        // Tells those who sweep that it is in use. No locks here: nor there.
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        // One who sweeps may have seen it before that.
        if locked != Err(Errno::WOULDBLOCK) && fstat(&file)?.st_nlink > 0 {
            return Ok((name, file));
        }
    }
}

/// Removes the parts that nobody holds.
pub(crate) fn sweep_parts(folder: impl AsFd, prefix: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for entry in Dir::new(readable(&folder)?)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with(prefix) || !text.ends_with(PART) {
            continue;
        }
        if let Ok(part) = openat(&folder, name, flags, Mode::empty())
            && flock(&part, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            match unlinkat(&folder, name, AtFlags::empty()) {
                // It has got its name meanwhile.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Has the names in a folder last, also after a crash, where that can be had.
pub(crate) fn sync_folder(folder: impl AsFd) -> io::Result<()> {
    match readable(folder) {
        Ok(folder) => kept(rustix::fs::fsync(folder)),
        // Who may write to a folder may not always list it.
        Err(Errno::ACCESS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The result of an fsync of the folder. Some file systems have none for folders; the file is
/// there all the same, and who hears that it failed sends it again.
fn kept(synced: Result<(), Errno>) -> io::Result<()> {
    match synced {
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        synced => Ok(synced?),
    }
}

/// Folders are often open as `O_PATH` only, which is good for names below them.
fn readable(folder: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(folder, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_that_cannot_be_synced_is_no_failure() {
        assert!(kept(Err(Errno::INVAL)).is_ok() && kept(Err(Errno::NOTSUP)).is_ok());
        assert!(kept(Ok(())).is_ok() && kept(Err(Errno::IO)).is_err());
    }
}
