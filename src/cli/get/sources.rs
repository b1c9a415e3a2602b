//! Where the URLs come from: the command line, then each list.

use crate::cli::Failure;
use crate::error::{Error, Result};
use crate::fetch::{Entry, UrlList};
use crate::sync::Queue;
use crate::util::lock;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Where the URLs come from: the command line, then each list.
pub(super) struct Sources {
    /// What a thread has read ahead. A list may be a pipe that blocks.
    pub(super) queue: Queue<Entry>,
    /// Which lists the entries are from, for messages.
    pub(super) names: Arc<Mutex<Vec<(u64, String)>>>,
    /// Why the reading ended early.
    pub(super) error: Arc<Mutex<Option<String>>>,
}

impl Sources {
    /// Opens all lists, so that a missing one is told before anything is downloaded.
    pub(super) fn open(given: Vec<Entry>, lists: &[PathBuf]) -> Result<Self, Failure> {
        let mut readers: Vec<(String, Box<dyn Read + Send>)> = Vec::new();
        for path in lists {
            if path == Path::new("-") {
                readers.push(("standard input".into(), Box::new(io::stdin())));
                continue;
            }
            let name = path.display().to_string();
            let file = File::open(path)
                .map_err(|e| Failure::from(Error::from(e).context(format!("reading {name}"))))?;
            readers.push((name, Box::new(file)));
        }
        let sources = Self {
            queue: Queue::bounded(READ_AHEAD),
            names: Arc::default(),
            error: Arc::default(),
        };
        let (queue, names, error) = (
            sources.queue.clone(),
            sources.names.clone(),
            sources.error.clone(),
        );
        let read = move || {
            if let Err(failed) = read_all(given, readers, &queue, &names) {
                *lock(&error) = Some(failed.to_string());
            }
            queue.close();
        };
        let thread = std::thread::Builder::new()
            .name("greenloop-list".into())
            .spawn(read);
        thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(sources)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        let queue = self.queue.clone();
        std::iter::from_fn(move || queue.get().ok())
    }
}

fn read_all(
    given: Vec<Entry>,
    readers: Vec<(String, Box<dyn Read + Send>)>,
    queue: &Queue<Entry>,
    names: &Mutex<Vec<(u64, String)>>,
) -> Result<()> {
    let mut next_id = 1;
    for entry in given {
        next_id += 1;
        if queue.put(entry).is_err() {
            return Ok(()); // stopped
        }
    }
    for (name, reader) in readers {
        lock(names).push((next_id, name.clone()));
        for entry in UrlList::new(BufReader::new(reader)) {
            let entry = entry.map_err(|e| Error::from(e).context(format!("reading {name}")))?;
            next_id += 1;
            if queue.put(entry).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A list is read this far ahead of the downloads, so that it may be endless.
const READ_AHEAD: usize = 256;
