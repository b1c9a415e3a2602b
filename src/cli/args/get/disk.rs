//! How files are written.

use crate::cli::units::{self, Limit};
use crate::fetch::{Downloader, Flush};
use clap::{Args, ValueEnum};
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Disk")]
pub(crate) struct DiskArgs {
    /// Throw away what arrives, only count it
    #[arg(long, conflicts_with_all = ["out", "existing"])]
    pub(crate) no_save: bool,

    /// Only ask: say for each URL under which name and of what size it would be saved; nothing
    /// is written, and the exit code is as if it had been downloaded
    #[arg(
        long,
        visible_alias = "spider",
        value_name = "BOOL",
        conflicts_with_all = ["verify", "write_checksums"]
    )]
    pub(crate) dry_run: bool,

    /// When files are flushed to the disk, against power failures
    #[arg(long, value_enum, value_name = "WHEN", default_value = "groups")]
    pub(crate) fsync: FsyncArg,

    /// The same as --fsync=never
    #[arg(long, conflicts_with = "fsync")]
    pub(crate) no_sync: bool,

    /// Take room for large files before their first byte
    #[arg(long, value_name = "BOOL")]
    pub(crate) preallocate: bool,

    /// How long a full disk is waited for before the run stops; 0 does not wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::limit)]
    pub(crate) disk_full_wait: Limit,

    /// Keep no journal of what is done: an interrupted list begins again, and other runs may
    /// save to the same folder at the same time
    #[arg(long)]
    pub(crate) no_journal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FsyncArg {
    /// Before they get their names, many small ones in one go
    #[value(alias = "batch")]
    Groups,
    /// Before they get their names, one by one
    Each,
    /// When the system likes
    #[value(alias = "none")]
    Never,
}

impl DiskArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let downloader = downloader
            .flush(match self.fsync {
                _ if self.no_sync => Flush::Never,
                FsyncArg::Groups => Flush::Groups,
                FsyncArg::Each => Flush::Each,
                FsyncArg::Never => Flush::Never,
            })
            .preallocate(self.preallocate)
            .dry_run(self.dry_run)
            .disk_full_wait(self.disk_full_wait.0.unwrap_or(Duration::ZERO))
            .journal(!self.no_journal);
        if self.no_save {
            downloader.discard()
        } else {
            downloader
        }
    }
}
