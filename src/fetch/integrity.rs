//! Verification without downloads: the files that are there against their checksums.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use super::Downloader;
use super::checksum::{Algorithm, Checksum};
use super::entry::Entry;
use super::failure::{Failure, FailureKind};
use super::options::{Settings, about, open_list};
use super::place::{Asked, Place};
use super::report::only_kind;
use super::sums::{Sum, SumList};
use super::verify::verify_file;
use crate::error::{Error, Result};
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::Greenlet;
use crate::runtime::reason::Wait;
use crate::runtime::spawn::Builder;

/// Lines of a list that are read ahead of the files they are about.
const LINES_AHEAD: usize = 256;

/// What [`Downloader::verify`] found out about one file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileCheck {
    /// The file as it is called in the list, or by its URL.
    pub name: PathBuf,
    /// Where it was looked for.
    pub path: PathBuf,
    /// What it was held against, with success.
    pub verified: Vec<Algorithm>,
    /// What is wrong with it: [`FailureKind::Checksum`] if it differs or has no checksum,
    /// [`FailureKind::NotFound`] if it is not there.
    pub failure: Option<Failure>,
}

/// How a verification ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Files that are what they should be.
    pub ok: u64,
    /// How many failed of each class.
    pub failures: BTreeMap<FailureKind, u64>,
    /// It was stopped before its end.
    pub is_stopped: bool,
}

impl CheckReport {
    /// Tells whether all files were looked at and are what they should be, and there was
    /// one.
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && !self.is_stopped && self.ok > 0
    }

    /// The class of all failures, if there is but one.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        only_kind(&self.failures)
    }
}

/// A file to look at.
struct Target {
    name: PathBuf,
    path: PathBuf,
    checksums: Vec<Checksum>,
}

impl Downloader {
    /// Holds the files against their checksums that a run of the same input would save by
    /// the URLs' names, and fetches nothing. The checksums are the entries' own and those
    /// in the lists ([`Downloader::check_list`]).
    ///
    /// Some files are hashed at a time; `each` is told one by one, in their order.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// A list cannot be read or has a bad line; the caller was killed or timed out. What
    /// is wrong with a file is told to `each`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::{Downloader, Entry, FailureKind};
    ///
    /// let sum = "md5=d41d8cd98f00b204e9800998ecf8427e".parse()?;
    /// let entry = Entry::from("https://example.org/no-such-file").checksum(sum);
    /// let mut seen = Vec::new();
    /// let report = Downloader::new().verify([entry], |file| seen.push(file.name.clone()))?;
    /// assert_eq!(report.failures[&FailureKind::NotFound], 1);
    /// assert_eq!(seen, ["no-such-file".into()] as [std::path::PathBuf; 1]);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn verify<I>(&self, urls: I, each: impl FnMut(&FileCheck)) -> Result<CheckReport>
    where
        I: IntoIterator,
        I::Item: Into<Entry>,
    {
        let mut settings = self.settings.clone();
        settings.verify.load()?;
        let targets = (1..)
            .zip(urls)
            .map(|(id, entry)| Ok(target(&settings, id, &entry.into()).map_err(|check| *check)));
        self.look_at(targets, each)
    }

    /// Holds all files against their checksums that the lists name
    /// ([`Downloader::check_list`]), relative to the folder; as `sha256sum --check`.
    ///
    /// A list is read as its files are hashed, so it may have any length. Otherwise as
    /// [`Downloader::verify`].
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Downloader::verify`].
    pub fn verify_listed(&self, each: impl FnMut(&FileCheck)) -> Result<CheckReport> {
        let verify = &self.settings.verify;
        let lines = verify.lists.iter().flat_map(|path| {
            let list = Lines::new(path.clone(), verify.list_algorithm);
            list.map(|sum| {
                let Sum { name, checksum } = sum?;
                let name = PathBuf::from(std::ffi::OsString::from_vec(name));
                Ok(Ok(Target {
                    path: self.settings.naming.dir.join(&name),
                    name,
                    checksums: vec![checksum],
                }))
            })
        });
        self.look_at(lines, each)
    }

    /// Hashes some files ahead of the one that is told next.
    fn look_at(
        &self,
        targets: impl Iterator<Item = Result<Result<Target, FileCheck>>>,
        mut each: impl FnMut(&FileCheck),
    ) -> Result<CheckReport> {
        let cores = available_parallelism().map_or(1, usize::from);
        let ahead = cores.min(self.settings.pace.jobs);
        let mut running: VecDeque<Result<Greenlet<FileCheck>, FileCheck>> = VecDeque::new();
        let mut report = CheckReport::default();
        let mut targets = targets.fuse();
        let mut broken = None;
        loop {
            report.is_stopped = self.stop.is_stopped();
            while running.len() < ahead && broken.is_none() && !report.is_stopped {
                match targets.next() {
                    Some(Ok(Ok(target))) => running.push_back(Ok(spawn(target)?)),
                    Some(Ok(Err(check))) => running.push_back(Err(check)),
                    Some(Err(error)) => broken = Some(error),
                    None => break,
                }
            }
            let Some(next) = running.pop_front() else {
                break;
            };
            let check = match next {
                Ok(greenlet) => greenlet.join().map_err(Error::message)?,
                Err(check) => check,
            };
            self.count(&check, &mut report, &mut each);
        }
        match broken {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    fn count(
        &self,
        check: &FileCheck,
        report: &mut CheckReport,
        each: &mut impl FnMut(&FileCheck),
    ) {
        match check.failure.as_ref().map(Failure::kind) {
            None => report.ok += 1,
            Some(FailureKind::NotFound) if self.settings.verify.ignore_missing => return,
            Some(kind) => *report.failures.entry(kind).or_default() += 1,
        }
        each(check);
    }
}

/// The file of an entry, as far as its URL tells; or what is wrong with the entry.
fn target(settings: &Settings, id: u64, entry: &Entry) -> Result<Target, Box<FileCheck>> {
    let bad = |failure| {
        Box::new(FileCheck {
            name: entry.to_string().into(),
            path: PathBuf::new(),
            verified: Vec::new(),
            failure: Some(failure),
        })
    };
    let url = entry
        .url()
        .map_err(|reason| bad(Failure::new(FailureKind::BadUrl, reason)))?;
    let own = entry.own();
    let asked = Asked {
        url,
        id,
        line: entry.line(),
        out: own.and_then(|own| own.out.as_deref()),
        dir: own.and_then(|own| own.dir.as_deref()),
    };
    let place = Place::of(&settings.naming, asked, None).map_err(bad)?;
    let name = place.path();
    let dir = place.base.as_ref().unwrap_or(&settings.naming.dir);
    Ok(Target {
        path: dir.join(&name),
        checksums: settings.verify.checksums(entry, &name),
        name,
    })
}

fn spawn(target: Target) -> Result<Greenlet<FileCheck>> {
    Builder::new()
        .name("verify")
        .try_spawn(move || look(target))
        .map_err(Error::message)
}

fn look(target: Target) -> FileCheck {
    let Target {
        name,
        path,
        checksums,
    } = target;
    let found = match checksums.is_empty() {
        true => Err(Failure::new(FailureKind::Checksum, "it has no checksum")),
        false => open(&path).and_then(|file| verify_file(&file, &checksums)),
    };
    let (verified, failure) = match found {
        Ok(verified) => (verified.verified, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    FileCheck {
        name,
        path,
        verified,
        failure,
    }
}

/// Opens a file to read it; on a lane, because a network's file system may be slow.
fn open(path: &Path) -> Result<File, Failure> {
    let own = path.to_owned();
    let opened = files().run_for(Wait::Lane, Deadline::NEVER, move || {
        // A pipe in its place would wait for a writer.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(own)?;
        Ok::<_, io::Error>((file.metadata()?.is_file(), file))
    });
    match opened {
        Ok(Ok((true, file))) => Ok(file),
        Ok(Ok((false, _))) => Err(Failure::new(FailureKind::Io, "it is no regular file")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(FailureKind::NotFound, "no such file"))
        }
        Ok(Err(error)) => Err(Failure::file(&error, "opening it")),
        Err(error) => Err(Failure::new(FailureKind::Stopped, error.to_string())),
    }
}

/// The lines of a list, some read ahead at a time, on a lane: it may be a pipe.
struct Lines {
    path: PathBuf,
    algorithm: Option<Algorithm>,
    list: Option<List>,
    is_ended: bool,
    ahead: VecDeque<Result<Sum>>,
}

type List = SumList<Box<dyn BufRead + Send>>;

impl Lines {
    fn new(path: PathBuf, algorithm: Option<Algorithm>) -> Self {
        Self {
            path,
            algorithm,
            list: None,
            is_ended: false,
            ahead: VecDeque::new(),
        }
    }

    fn read(&mut self) -> Result<()> {
        let (path, algorithm) = (self.path.clone(), self.algorithm);
        let list = self.list.take();
        let read = move || {
            let mut list = match list {
                Some(list) => list,
                None => open_list(&path, algorithm)?,
            };
            let some = list.by_ref().take(LINES_AHEAD);
            let some: VecDeque<_> = some.map(|sum| sum.map_err(|e| about(&path, e))).collect();
            Ok::<_, Error>((list, some))
        };
        let (list, some) = files().run_for(Wait::Lane, Deadline::NEVER, read)??;
        self.is_ended = some.is_empty();
        self.list = Some(list);
        self.ahead = some;
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = Result<Sum>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty()
            && !self.is_ended
            && let Err(error) = self.read()
        {
            self.is_ended = true;
            return Some(Err(error));
        }
        self.ahead.pop_front()
    }
}
