//! `greenloop get --write-checksums`: a list of the checksums of what was saved.

use crate::cli::Failure;
use crate::cli::args::GetArgs;
use crate::error::Error;
use crate::fetch::{Algorithm, End, Event, Observer, Outcome};
use crate::util::lock;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The list, under another name until it is whole.
pub(super) struct Manifest {
    path: PathBuf,
    part: PathBuf,
    algorithm: Algorithm,
    /// Of the run: the names are relative to it.
    dir: PathBuf,
    out: Mutex<io::Result<BufWriter<File>>>,
}

/// Passes events on, past the list if there is one.
pub(super) struct Noting<O> {
    pub(super) manifest: Option<Arc<Manifest>>,
    pub(super) inner: O,
}

impl<O: Observer> Observer for Noting<O> {
    fn event(&self, id: u64, event: &Event<'_>) {
        if let Some(manifest) = &self.manifest {
            manifest.note(event);
        }
        self.inner.event(id, event);
    }
}

impl Manifest {
    /// The list that these arguments ask for.
    pub(super) fn of(args: &GetArgs) -> Result<Option<Arc<Self>>, Failure> {
        let Some(path) = &args.verify.write_checksums else {
            return Ok(None);
        };
        let algorithm = args.verify.written_algorithm();
        Self::begin(path, algorithm, &args.naming.dir).map(|list| Some(Arc::new(list)))
    }

    /// Begins a list; one that is there stays until the new one is whole.
    fn begin(path: &Path, algorithm: Algorithm, dir: &Path) -> Result<Self, Failure> {
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|e| failed(&part, e))?;
        Ok(Self {
            path: path.to_owned(),
            part,
            algorithm,
            dir: dir.to_owned(),
            out: Mutex::new(Ok(BufWriter::new(file))),
        })
    }

    /// Takes an event: a file that was saved is a line.
    fn note(&self, event: &Event<'_>) {
        if let Event::Done(outcome) = event
            && let Some(line) = self.line(outcome)
        {
            let mut out = lock(&self.out);
            if let Ok(writer) = &mut *out
                && let Err(error) = writer.write_all(&line)
            {
                *out = Err(error);
            }
        }
    }

    fn line(&self, outcome: &Outcome) -> Option<Vec<u8>> {
        let (End::Saved, Some(path)) = (&outcome.end, &outcome.path) else {
            return None;
        };
        let mut checksums = outcome.checksums.iter();
        let checksum = checksums.find(|sum| sum.algorithm() == self.algorithm)?;
        Some(checksum.to_list_line(path.strip_prefix(&self.dir).unwrap_or(path)))
    }

    /// Gives the list its name.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let mut out = lock(&self.out);
        let flushed = match &mut *out {
            Ok(writer) => writer.flush().and_then(|()| writer.get_ref().sync_data()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        flushed
            .and_then(|()| std::fs::rename(&self.part, &self.path))
            .map_err(|e| failed(&self.path, e))
    }
}

/// Of a run that never came to its end.
impl Drop for Manifest {
    fn drop(&mut self) {
        // Gone if it has its name.
        let _ = std::fs::remove_file(&self.part);
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    Error::from(error)
        .context(format_args!("writing {}", path.display()))
        .into()
}
