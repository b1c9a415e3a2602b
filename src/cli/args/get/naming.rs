//! Where files go and what they are called.

use crate::fetch::{Downloader, Existing};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "Names and places")]
pub(crate) struct NamingArgs {
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

    /// What to do where a file of the name is there already
    #[arg(long, value_enum, value_name = "HOW", default_value = "number")]
    pub(crate) existing: ExistingArg,
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

impl NamingArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let downloader = downloader.dir(&self.dir).existing(match self.existing {
            ExistingArg::Number => Existing::Number,
            ExistingArg::Overwrite => Existing::Overwrite,
            ExistingArg::Skip => Existing::Skip,
        });
        match &self.out {
            Some(name) => downloader.out_name(name),
            None => downloader,
        }
    }
}
