//! A file that a run writes about itself: `NAME.part` while it grows, `NAME` when the run
//! has ended, whether or not a signal ended it. A pipe or a device is written to as it is.

use super::exit;
use crate::cli::{Failure, Outcome};
use crate::fs::is_special;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// `None` for what has no other name, or has its own by now.
    part: Option<PathBuf>,
    file: File,
    error: Option<io::Error>,
}

/// Who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Whom the user's mask lets.
    All,
    /// There are passwords in it.
    Owner,
}

impl Record {
    /// Opens it, so that a place which cannot be written to is told at once.
    pub(super) fn create(path: &Path, readers: Readers) -> Result<Self, Failure> {
        let part = match is_special(path).map_err(|e| failed(path, &e))? {
            true => None,
            false => Some(with_part(path)),
        };
        let mut options = OpenOptions::new();
        options.write(true);
        if let Some(part) = &part {
            // A link to elsewhere would be written through.
            let _ = fs::remove_file(part);
            options.create_new(true).mode(match readers {
                Readers::All => 0o666,
                Readers::Owner => 0o600,
            });
        }
        let opened = part.as_deref().unwrap_or(path);
        let file = options.open(opened).map_err(|e| failed(opened, &e))?;
        Ok(Self {
            path: path.to_owned(),
            part,
            file,
            error: None,
        })
    }

    /// Adds to it; a failure is told at the end.
    pub(super) fn write(&mut self, text: &[u8]) {
        if self.error.is_none() && !text.is_empty() {
            self.error = self.file.write_all(text).err();
        }
    }

    /// Gives it its name.
    pub(super) fn finish(mut self) -> Outcome {
        let named = |record: &mut Self| {
            if let Some(part) = &record.part {
                record.file.sync_data()?;
                fs::rename(part, &record.path)?;
                record.part = None;
            }
            Ok(())
        };
        let written = match self.error.take() {
            Some(error) => Err(error),
            None => named(&mut self),
        };
        written.map_err(|error| failed(&self.path, &error))
    }
}

/// Of a run that never began, or of what could not be written.
impl Drop for Record {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_file(part);
        }
    }
}

fn with_part(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    exit::of_file(error, format_args!("writing {}", path.display()))
}
