//! How servers are spoken to, and for how long they are waited for.

use crate::cli::units::{self, Limit};
use crate::fetch::Downloader;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Give up a try when nothing arrives for so long; 0 never does
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Give up a try when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// Give up a URL after so long, retries included; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) max_time: Limit,
}

impl NetworkArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        downloader
            .idle_timeout(or_never(self.timeout))
            .head_timeout(or_never(self.timeout))
            .connect_timeout(or_never(self.connect_timeout))
            .total_timeout(self.max_time.0)
    }
}

fn or_never(limit: Limit) -> Duration {
    limit.0.unwrap_or(Duration::MAX)
}
