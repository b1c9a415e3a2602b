//! What is shown meanwhile and at the end.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct WatchArgs {
    /// Print `GET: URL` and `N bytes received from URL.`, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) brief: bool,

    /// Print one JSON object per URL and one for all, instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
