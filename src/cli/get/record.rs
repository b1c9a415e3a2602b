//! A file that a run writes about itself: `NAME.part` while it grows, `NAME` when the run
//! has ended, whether or not a signal ended it.

use crate::cli::{Failure, Outcome};
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    part: PathBuf,
    file: File,
    error: Option<io::Error>,
}

impl Record {
    /// Opens `NAME.part`, so that a place which cannot be written to is told at once.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // A link to elsewhere would be written through.
        let _ = fs::remove_file(&part);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)
            .map_err(|e| Error::from(e).context(format!("writing {}", part.display())))?;
        Ok(Self {
            path: path.to_owned(),
            part,
            file,
            error: None,
        })
    }

    /// Adds to it; a failure is told at the end.
    pub(super) fn write(&mut self, text: &str) {
        if self.error.is_none() && !text.is_empty() {
            self.error = self.file.write_all(text.as_bytes()).err();
        }
    }

    /// Gives it its name.
    pub(super) fn finish(self) -> Outcome {
        let written = match self.error {
            Some(error) => Err(error),
            None => self
                .file
                .sync_data()
                .and_then(|()| fs::rename(&self.part, &self.path)),
        };
        written.map_err(|error| {
            let error = Error::from(error).context(format!("writing {}", self.path.display()));
            Failure::failed(error)
        })
    }
}
