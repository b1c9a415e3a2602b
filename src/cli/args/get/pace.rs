//! How much at once, how patiently, how fast.

use crate::fetch::Downloader;
use clap::Args;
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct PaceArgs {
    /// Downloads at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "16",
        visible_alias = "max-concurrent-downloads"
    )]
    pub(crate) jobs: NonZeroUsize,

    /// Downloads at once from one host [default: as many as --jobs]
    #[arg(long, value_name = "N", visible_alias = "max-per-host")]
    pub(crate) per_host: Option<NonZeroUsize>,

    /// Retries after a failure that may pass
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) retries: u32,
}

impl PaceArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let downloader = downloader.jobs(self.jobs.get()).retries(self.retries);
        match self.per_host {
            Some(count) => downloader.per_host(count.get()),
            None => downloader,
        }
    }
}
