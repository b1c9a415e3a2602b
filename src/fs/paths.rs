//! What has a path: the calls of `std::fs`, each on a thread of the files lane.

use std::fs::{self, DirEntry, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::park;
use crate::runtime::reason::Wait;
use crate::util::escape;

/// Runs `call` with `path` on the files lane; an error says what was done to which path.
#[track_caller]
pub(super) fn on_lane<T: Send + 'static>(
    what: &str,
    path: &Path,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    park::check(Deadline::NEVER)?;
    let own = path.to_owned();
    let called = files().run_for(Wait::Lane, Deadline::NEVER, move || call(&own));
    called
        .and_then(|done| done.map_err(Error::from))
        .map_err(|error| error.context(format!("{what} {}", escape(path.as_os_str().as_bytes()))))
}

/// Reads a whole file.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// What the system reports, with the path; the caller was killed or timed out.
///
/// # Examples
///
/// ```
/// let bytes = greenloop::fs::read("Cargo.toml")?;
/// assert!(bytes.starts_with(b"[package]"));
/// let error = greenloop::fs::read("no/such/file").unwrap_err();
/// assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "reading no/such/file: no such file or directory");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.fileobject.FileObjectThread(path).read()`.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    on_lane("reading", path.as_ref(), |path| fs::read(path))
}

/// Reads a whole file of text.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]; `InvalidData` if it is not UTF-8.
///
/// # Examples
///
/// ```
/// let manifest = greenloop::fs::read_to_string("Cargo.toml")?;
/// assert!(manifest.starts_with("[package]"));
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    on_lane("reading", path.as_ref(), |path| fs::read_to_string(path))
}

/// Writes a whole file: creates it, or replaces what it holds.
///
/// It is not atomic: who reads meanwhile, and who looks after a crash, may see a part. Write
/// to another name and [`rename`] where that matters. A `Vec` or `String` is not copied.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill the write goes on to its end.
///
/// # Examples
///
/// ```
/// let path = std::env::temp_dir().join(format!("greenloop-doc-write-{}", std::process::id()));
/// greenloop::fs::write(&path, "text")?;
/// assert_eq!(greenloop::fs::read_to_string(&path)?, "text");
/// greenloop::fs::remove_file(&path)?;
/// assert!(!greenloop::fs::exists(&path)?);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> Result<()> {
    let content = content.into();
    on_lane("writing", path.as_ref(), move |path| {
        fs::write(path, content)
    })
}

/// Copies a file's content and permissions, and gives the number of bytes.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-copy-{}", std::process::id()));
/// let bytes = greenloop::fs::copy("Cargo.toml", &path)?;
/// assert_eq!(bytes, greenloop::fs::metadata("Cargo.toml")?.len());
/// # greenloop::fs::remove_file(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
    let to = to.as_ref().to_owned();
    on_lane("copying", from.as_ref(), move |from| fs::copy(from, to))
}

/// Gives a file another name, replacing what has that name.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-rename-{}", std::process::id()));
/// use greenloop::fs;
///
/// let part = path.with_extension("part");
/// fs::write(&part, "whole")?;
/// fs::rename(&part, &path)?; // who looks sees all of it or nothing
/// assert!(!fs::exists(&part)?);
/// assert_eq!(fs::read(&path)?, b"whole");
/// # fs::remove_file(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let to = to.as_ref().to_owned();
    on_lane("renaming", from.as_ref(), move |from| fs::rename(from, to))
}

/// Gives a file one more name.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-hard-link-{}", std::process::id()));
/// use greenloop::fs;
///
/// let other = path.with_extension("other");
/// fs::write(&path, "one file")?;
/// fs::hard_link(&path, &other)?;
/// fs::remove_file(&path)?;
/// assert_eq!(fs::read(&other)?, b"one file");
/// # fs::remove_file(&other)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let to = to.as_ref().to_owned();
    on_lane("linking", from.as_ref(), move |from| {
        fs::hard_link(from, to)
    })
}

/// Makes `link` point to `target`.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let link = std::env::temp_dir().join(format!("greenloop-doc-symlink-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::symlink("/", &link)?;
/// assert!(fs::symlink_metadata(&link)?.is_symlink());
/// assert!(fs::metadata(&link)?.is_dir());
/// # fs::remove_file(&link)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    let target = target.as_ref().to_owned();
    on_lane("making the link", link.as_ref(), move |link| {
        std::os::unix::fs::symlink(target, link)
    })
}

/// Where a symbolic link points to.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`].
///
/// # Examples
///
/// ```
/// # let link = std::env::temp_dir().join(format!("greenloop-doc-read-link-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::symlink("no/matter/whether/it/is/there", &link)?;
/// assert!(fs::read_link(&link)?.ends_with("is/there"));
/// # fs::remove_file(&link)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    on_lane("reading the link", path.as_ref(), |path| {
        fs::read_link(path)
    })
}

/// The absolute path, without symbolic links and dots.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`].
///
/// # Examples
///
/// ```
/// let root = greenloop::fs::canonicalize("/./..")?;
/// assert_eq!(root, std::path::Path::new("/"));
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn canonicalize(path: impl AsRef<Path>) -> Result<PathBuf> {
    on_lane("resolving", path.as_ref(), |path| fs::canonicalize(path))
}

/// What is known about a file; a symbolic link is followed.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`].
///
/// # Examples
///
/// ```
/// let about = greenloop::fs::metadata("Cargo.toml")?;
/// assert!(about.is_file() && about.len() > 0);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    on_lane("looking at", path.as_ref(), |path| fs::metadata(path))
}

/// Like [`metadata`], about a symbolic link itself.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`].
///
/// # Examples
///
/// ```
/// # let link = std::env::temp_dir().join(format!("greenloop-doc-lstat-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::symlink("/", &link)?;
/// assert!(!fs::symlink_metadata(&link)?.is_dir());
/// # fs::remove_file(&link)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn symlink_metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    on_lane("looking at", path.as_ref(), |path| {
        fs::symlink_metadata(path)
    })
}

/// Tells whether the path leads to something.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]; that there is nothing is no error.
///
/// # Examples
///
/// ```
/// assert!(greenloop::fs::exists("Cargo.toml")?);
/// assert!(!greenloop::fs::exists("no/such/file")?);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn exists(path: impl AsRef<Path>) -> Result<bool> {
    on_lane("looking at", path.as_ref(), |path| fs::exists(path))
}

/// Changes permissions.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-permissions-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::write(&path, "final")?;
/// let mut permissions = fs::metadata(&path)?.permissions();
/// permissions.set_readonly(true);
/// fs::set_permissions(&path, permissions)?;
/// assert!(fs::metadata(&path)?.permissions().readonly());
/// # fs::remove_file(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> Result<()> {
    on_lane("changing permissions of", path.as_ref(), move |path| {
        fs::set_permissions(path, permissions)
    })
}

/// Removes a file, or a symbolic link.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-remove-{}", std::process::id()));
/// greenloop::fs::write(&path, "")?;
/// greenloop::fs::remove_file(&path)?;
/// let error = greenloop::fs::remove_file(&path).unwrap_err(); // there is none any more
/// assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    on_lane("removing", path.as_ref(), |path| fs::remove_file(path))
}

/// Makes a directory.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-create-dir-{}", std::process::id()));
/// greenloop::fs::create_dir(&path)?;
/// let error = greenloop::fs::create_dir(&path).unwrap_err();
/// assert_eq!(error.io_kind(), std::io::ErrorKind::AlreadyExists);
/// # greenloop::fs::remove_dir(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    on_lane("making", path.as_ref(), |path| fs::create_dir(path))
}

/// Makes a directory and those above it that are missing.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-create-all-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::create_dir_all(path.join("a/b"))?;
/// fs::create_dir_all(path.join("a/b"))?; // that it is there is no error
/// assert!(fs::metadata(path.join("a/b"))?.is_dir());
/// # fs::remove_dir_all(&path)?;
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    on_lane("making", path.as_ref(), |path| fs::create_dir_all(path))
}

/// Removes an empty directory.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-remove-dir-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::create_dir_all(path.join("inside"))?;
/// assert!(fs::remove_dir(&path).is_err(), "it is not empty");
/// fs::remove_dir(path.join("inside"))?;
/// fs::remove_dir(&path)?;
/// assert!(!fs::exists(&path)?);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    on_lane("removing", path.as_ref(), |path| fs::remove_dir(path))
}

/// Removes a directory and everything in it; symbolic links are not followed.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`]. After a kill it may have happened all the same.
///
/// # Examples
///
/// ```
/// # let path = std::env::temp_dir().join(format!("greenloop-doc-remove-all-{}", std::process::id()));
/// use greenloop::fs;
///
/// fs::create_dir_all(path.join("a/b"))?;
/// fs::write(path.join("a/file"), "text")?;
/// fs::remove_dir_all(&path)?;
/// assert!(!fs::exists(&path)?);
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    on_lane("removing", path.as_ref(), |path| fs::remove_dir_all(path))
}

/// What is in a directory, in the system's order.
///
/// The list is whole: it was read before this returns. An entry's own `metadata` would
/// block; [`symlink_metadata`] of its path waits.
///
/// # Switching
/// May switch to other greenlets, on every call.
///
/// # Errors
/// As [`read`].
///
/// # Examples
///
/// ```
/// let names: Vec<_> = greenloop::fs::read_dir("src")?.iter().map(|e| e.file_name()).collect();
/// assert!(names.iter().any(|name| name == "lib.rs"));
/// # Ok::<(), greenloop::Error>(())
/// ```
#[track_caller]
pub fn read_dir(path: impl AsRef<Path>) -> Result<Vec<DirEntry>> {
    on_lane("listing", path.as_ref(), |path| {
        fs::read_dir(path)?.collect()
    })
}
