//! The client's own file: `NAME.part` until it is whole.
//!
//! Everything here blocks: it belongs on the files lane.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::fs::name::PART;

/// A download on its way; dropped before [`Download::publish`], it is removed.
#[derive(Debug)]
pub(super) struct Download {
    file: File,
    /// Where it is now, and where it is to be; nowhere for a device or a pipe.
    paths: Option<(PathBuf, PathBuf)>,
}

impl Download {
    /// Begins to write what `to` will be. What is no regular file (`/dev/null`, a pipe) is
    /// written directly.
    ///
    /// # Errors
    /// What the system says; another process is writing the same partial file.
    pub(super) fn begin(to: &Path) -> io::Result<Self> {
        match fs::metadata(to) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(to)?;
                return Ok(Self { file, paths: None });
            }
            _ => {}
        }
        let mut part = to.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        // Who publishes between our open and our lock takes the file away from under the
        // name; then the name is free for the next look.
        for _ in 0..100 {
            let file = open_locked(&part)?;
            let ours = file.metadata()?;
            match fs::symlink_metadata(&part) {
                Ok(there) if (there.ino(), there.dev()) == (ours.ino(), ours.dev()) => {
                    file.set_len(0)?;
                    let paths = Some((part, to.to_owned()));
                    return Ok(Self { file, paths });
                }
                _ => {}
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// A second descriptor of the file, to write to.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name, when its bytes are on the disk.
    pub(super) fn publish(mut self) -> io::Result<()> {
        let Some((part, to)) = &self.paths else {
            return Ok(());
        };
        self.file.sync_all()?;
        fs::rename(part, to)?;
        self.paths = None;
        Ok(())
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.paths {
            let _ = fs::remove_file(part);
        }
    }
}

fn open_locked(part: &Path) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(part, flags, Mode::from_raw_mode(0o666))?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("the partial file is no regular file"));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::other(
            "another process writes the same partial file",
        )),
        // No locks on this file system.
        Ok(()) | Err(Errno::NOSYS | Errno::NOTSUP | Errno::INVAL | Errno::NOLCK) => Ok(file),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_leaves_nothing_otherwise() {
        let folder = std::env::temp_dir().join(format!("greenloop-local-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (to, part) = (folder.join("a"), folder.join("a.part"));

        let download = Download::begin(&to).unwrap();
        assert!(part.exists() && Download::begin(&to).is_err());
        drop(download);
        assert!(!part.exists() && !to.exists());

        let download = Download::begin(&to).unwrap();
        download.file().unwrap().write_all(b"text").unwrap();
        download.publish().unwrap();
        assert!(!part.exists() && fs::read(&to).unwrap() == b"text");

        std::os::unix::fs::symlink(folder.join("elsewhere"), &part).unwrap();
        assert!(Download::begin(&to).is_err(), "no link is followed");
        assert!(Download::begin(&folder).is_err());
        Download::begin(Path::new("/dev/null"))
            .unwrap()
            .publish()
            .unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
