//! Where the URLs come from: the command line, then each list.

use super::given::Given;
use crate::cli::Failure;
use crate::cli::args::InputArgs;
use crate::cli::feed::Feed;
use crate::error::{Error, Result};
use crate::fetch::{Entry, UrlList};
use crate::util::lock;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type List = UrlList<BufReader<File>>;

/// Where the URLs come from: the command line, then each list.
pub(super) struct Sources {
    /// What a thread has read ahead. A list may be a pipe that blocks.
    pub(super) queue: Feed<Entry>,
    /// Why the reading of a list ended early.
    pub(super) error: Arc<Mutex<Option<String>>>,
}

impl Sources {
    /// Opens all lists, so that a missing one is told before anything is downloaded.
    pub(super) fn open(given: Given, input: &InputArgs) -> Result<Self, Failure> {
        let open = |path: &PathBuf| -> Result<(String, List)> {
            let (name, file) = open(path)?;
            let list = UrlList::live(file)
                .format(input.input_format.into())
                .globs(input.glob)
                .name(name.as_str());
            Ok((name, list))
        };
        let lists = input
            .input_file
            .iter()
            .map(open)
            .collect::<Result<Vec<_>>>()
            .map_err(Failure::usage)?;
        let sources = Self {
            queue: Feed::new(READ_AHEAD),
            error: Arc::default(),
        };
        let reading = Reading {
            queue: sources.queue.clone(),
            error: sources.error.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("greenloop-list".into())
            .spawn(move || reading.read_all(given, lists));
        thread.map_err(|e| Failure::failed(format_args!("starting a thread: {e}")))?;
        Ok(sources)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + use<> {
        let queue = self.queue.clone();
        let next = move || queue.take(Duration::ZERO).ok().flatten();
        std::iter::from_fn(next).flatten()
    }
}

/// Opens a list; standard input through a descriptor of its own, whose readiness can be
/// asked for.
fn open(path: &Path) -> Result<(String, File)> {
    if path == Path::new("-") {
        let name = "standard input".to_owned();
        let file = io::stdin().as_fd().try_clone_to_owned();
        let file = file.map_err(|e| Error::from(e).context(format!("reading {name}")))?;
        return Ok((name, File::from(file)));
    }
    let name = path.display().to_string();
    let file = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    match file {
        Ok(file) => Ok((name, file)),
        Err(e) => Err(Error::from(e).context(format!("reading {name}"))),
    }
}

/// What the thread does.
struct Reading {
    queue: Feed<Entry>,
    error: Arc<Mutex<Option<String>>>,
}

impl Reading {
    fn read_all(self, given: Given, lists: Vec<(String, List)>) {
        let goes_on = given.into_entries().all(|entry| self.put(entry));
        if goes_on {
            for (name, list) in lists {
                if !self.read(&name, list) {
                    break;
                }
            }
        }
    }

    /// Reads a list to its end, or to where it breaks: the others are still read. False if
    /// nobody wants more.
    fn read(&self, name: &str, list: List) -> bool {
        for entry in list {
            match entry.map(|entry| self.put(entry)) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    let error = Error::from(error).context(format!("reading {name}"));
                    lock(&self.error).get_or_insert_with(|| error.to_string());
                }
            }
        }
        true
    }

    /// False if the run has been stopped.
    fn put(&self, entry: Entry) -> bool {
        self.queue.put(entry).unwrap_or(false)
    }
}

/// Whatever ends the reading, the run does not wait for more.
impl Drop for Reading {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A list is read this far ahead of the downloads, so that it may be endless.
const READ_AHEAD: usize = 256;
