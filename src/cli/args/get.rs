//! The arguments of `greenloop get`.

use crate::cli::units::{self, Limit};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to download
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,

    /// Read URLs from a file, one a line, `#` comments; `-` is standard input; may be given
    /// more than once
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input_file: Vec<PathBuf>,

    /// Save into this folder, made if missing
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = ".",
        visible_alias = "output-dir"
    )]
    pub(crate) dir: PathBuf,

    /// Save the one URL under this name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) out: Option<String>,

    /// Throw away what arrives, only count it
    #[arg(long, conflicts_with_all = ["out", "existing"])]
    pub(crate) no_save: bool,

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

    /// Give up a try when nothing arrives for so long; 0 never does
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Give up a try when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// Give up a URL after so long, retries included; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) max_time: Limit,

    /// What to do where a file of the name is there already
    #[arg(long, value_enum, value_name = "HOW", default_value = "number")]
    pub(crate) existing: ExistingArg,

    /// Do not flush each file to the disk: faster with many small files, less safe in a power
    /// cut
    #[arg(long)]
    pub(crate) no_sync: bool,

    /// Print `GET: URL` and `N bytes received from URL.`, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) brief: bool,

    /// Print one JSON object per URL and one for all, instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExistingArg {
    /// Save beside it: photo.1.jpg
    Number,
    /// Replace it when the new one is whole
    Overwrite,
    /// Leave it and count the URL as done
    Skip,
}
