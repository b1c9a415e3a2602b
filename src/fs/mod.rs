//! Files, whose calls wait the greenlet's way.
//!
//! Disk I/O uses threads. No system tells a scheduler when a disk will answer, so each call
//! here runs on the files lane ([`Lane::for_files`](crate::Lane::for_files), 16 OS threads
//! at most) while its greenlet waits, and costs a hand-over to a thread and back: 20 to 30
//! microseconds. Few large calls are better than many small ones; a
//! [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter) around a [`File`]
//! makes them so.
//!
//! # What a kill during an operation means
//!
//! The caller leaves at once, with an error. An operation that no thread has begun does not
//! happen. One that has cannot be stopped: it completes in the background, whatever it is
//! (a file is created, renamed or written all the same). On a [`File`] the next call first
//! waits for it. Nothing half-read is lost from the caller's view: bytes that were read
//! for nobody are what the next read gives. The same holds for a limit that passes.
//!
//! [`stdin()`] is here as well: it waits for terminals and pipes, and reads files on a
//! thread.

mod file;
mod flight;
pub(crate) mod name;
mod parts;
mod paths;
mod rename;
mod stdin;

pub use file::File;
#[cfg(feature = "fetch")]
pub(crate) use parts::is_special;
pub(crate) use parts::{create_part, sweep_parts, sync_folder};
pub use paths::{
    canonicalize, copy, create_dir, create_dir_all, exists, hard_link, metadata, read, read_dir,
    read_link, read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions,
    symlink, symlink_metadata, write,
};
pub(crate) use rename::rename_in;
pub use stdin::{Stdin, StdinLock, stdin};

/// Begins a call that may wait: fails if the caller must not, and lets others have their
/// turn after many calls in a row.
fn begin() -> crate::Result<()> {
    use crate::runtime::{park, relay};
    park::check(crate::Deadline::NEVER)?;
    relay::tick(&park::current());
    Ok(())
}
