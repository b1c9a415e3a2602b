//! Where files go and what they are called.

use std::path::PathBuf;

use crate::fetch::Downloader;
use crate::fs::name::safe;

/// What to do where a file of the name is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Save beside it, under the next free number: `photo.1.jpg`.
    #[default]
    Number,
    /// Replace it, when the new one is whole. Two URLs of one run never replace each
    /// other: the second is numbered.
    Overwrite,
    /// Leave it alone and count the URL as done. Nothing is asked of the server if the
    /// URL alone tells the name.
    Skip,
}

/// How files are named.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) dir: PathBuf,
    pub(crate) out_name: Option<String>,
    pub(crate) existing: Existing,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("."),
            out_name: None,
            existing: Existing::default(),
        }
    }
}

impl Downloader {
    /// The folder to save to; created if need be. Default: the current one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.naming.dir = dir.into();
        self
    }

    /// The name to save under, instead of the server's or the URL's. Made safe as those
    /// are; with several URLs the others are numbered.
    pub fn out_name(mut self, name: &str) -> Self {
        self.settings.naming.out_name = Some(safe(name).unwrap_or_else(|| "_".to_owned()));
        self
    }

    /// What to do where a file of the name is there. Default: [`Existing::Number`].
    pub fn existing(mut self, existing: Existing) -> Self {
        self.settings.naming.existing = existing;
        self
    }
}
