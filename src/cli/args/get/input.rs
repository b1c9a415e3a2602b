//! What is downloaded.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// What to download
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from a file, one a line, `#` comments; `-` is standard input; may be given
    /// more than once
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input_file: Vec<PathBuf>,
}
