//! `greenloop get --write-checksums`: a list of the checksums of what was saved.

use super::record::{Readers, Record};
use crate::cli::args::GetArgs;
use crate::cli::{Failure, Outcome};
use crate::fetch::{Algorithm, End, Event, Observer, Outcome as Fetched};
use crate::util::lock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The list, under another name until it is whole.
pub(super) struct Manifest {
    algorithm: Algorithm,
    /// Of the run: the names are relative to it.
    dir: PathBuf,
    out: Mutex<Out>,
}

/// `None` once it has its name.
struct Out {
    record: Option<Record>,
    /// What is to be written next: a run of many small files spends its time elsewhere.
    text: Vec<u8>,
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
        Ok(Some(Arc::new(Self {
            algorithm: args.verify.written_algorithm(),
            dir: args.naming.dir.clone(),
            out: Mutex::new(Out {
                record: Some(Record::create(path, Readers::All)?),
                text: Vec::new(),
            }),
        })))
    }

    /// Takes an event: a file that was saved is a line.
    fn note(&self, event: &Event<'_>) {
        if let Event::Done(outcome) = event
            && let Some(line) = self.line(outcome)
        {
            let mut out = lock(&self.out);
            out.text.extend_from_slice(&line);
            if out.text.len() >= BUFFER_BYTES {
                out.write();
            }
        }
    }

    fn line(&self, outcome: &Fetched) -> Option<Vec<u8>> {
        let (End::Saved, Some(path)) = (&outcome.end, &outcome.path) else {
            return None;
        };
        let mut checksums = outcome.checksums.iter();
        let checksum = checksums.find(|sum| sum.algorithm() == self.algorithm)?;
        Some(checksum.to_list_line(path.strip_prefix(&self.dir).unwrap_or(path)))
    }

    /// Gives the list its name.
    pub(super) fn finish(&self) -> Outcome {
        let mut out = lock(&self.out);
        out.write();
        out.record.take().map_or(Ok(()), Record::finish)
    }
}

impl Out {
    fn write(&mut self) {
        if let Some(record) = &mut self.record {
            record.write(&self.text);
        }
        self.text.clear();
    }
}

const BUFFER_BYTES: usize = 64 * 1024;
