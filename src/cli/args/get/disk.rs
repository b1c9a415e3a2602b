//! How files are written.

use crate::fetch::Downloader;
use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Disk")]
pub(crate) struct DiskArgs {
    /// Throw away what arrives, only count it
    #[arg(long, conflicts_with_all = ["out", "existing"])]
    pub(crate) no_save: bool,

    /// Do not flush each file to the disk: faster with many small files, less safe in a power
    /// cut
    #[arg(long)]
    pub(crate) no_sync: bool,
}

impl DiskArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let downloader = downloader.sync(!self.no_sync);
        if self.no_save {
            downloader.discard()
        } else {
            downloader
        }
    }
}
