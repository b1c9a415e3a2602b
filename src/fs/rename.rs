//! A file gets its name.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Renames within a folder; without `replace` it fails if `to` is there.
///
/// It blocks: call it on a lane.
pub(crate) fn rename_in(
    folder: BorrowedFd<'_>,
    from: impl Arg + Copy,
    to: impl Arg + Copy,
    replace: bool,
) -> io::Result<()> {
    if replace {
        return Ok(renameat(folder, from, folder, to)?);
    }
    match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // File systems that know no such flag (some network ones): a link is never
        // made over something either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(folder, from, folder, to, AtFlags::empty())?;
            Ok(unlinkat(folder, from, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}
