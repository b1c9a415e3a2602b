//! The thread of a run that gives whole files their names.
//!
//! Downloads hand a file over when its last byte is there and are done with it. What has
//! come together meanwhile is one *group*: its files are written, flushed to the disk in
//! one go, renamed, and noted in the journal with one write. So many small files cost a
//! flush for many of them, and no download waits for the disk.
//!
//! Invariant: a file is renamed after its bytes are on the disk (unless the run does not
//! flush at all), and after it was journalled. A line of the journal counts only if the
//! very file stands there, so one of a file that never got its name is harmless; a name
//! without a line would have the next run save the file once more.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::failure::{Failure, FailureKind};
use super::options::{Disk, Flush};
use super::part::Part;
use super::part_file::PartFile;
use super::report::End;
use super::ticket::Ticket;
use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;
use crate::runtime::kill::shield;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::util::lock;

/// Bytes of small files that may wait for the thread.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Files that may wait for the thread.
const WAITING_MAX: usize = 256;

/// Of those, partial files, which are open.
const WAITING_OPEN_MAX: usize = 64;

/// Files of one group, which are open all at once.
const GROUP_MAX: usize = 256;

/// How long a group gathers, from its first file on: a thread that is woken for each small
/// file costs more than writing it does.
const GATHER: Duration = Duration::from_millis(2);

/// Empty buffers that are kept, each of at most a small file's size.
const SPARE_MAX: usize = 64;

/// From so many files on, all of the file system is flushed at once instead of each.
const FLUSHED_TOGETHER: usize = 8;

/// Where whole files are handed over; clones lead to the same thread.
#[derive(Clone)]
pub(crate) struct Committer(Arc<Shared>);

struct Shared {
    flush: Flush,
    preallocate: bool,
    state: Mutex<State>,
    changed: Condvar,
    /// Empty buffers of small files: memory that one thread takes and another frees, again
    /// and again, costs both of them locks.
    spare: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Bytes of the queue's small files.
    bytes: usize,
    /// Open files in the queue.
    open: usize,
    /// No more will come.
    closed: bool,
    /// The thread waits for something to do.
    idle: bool,
    /// Who waits for room in the queue.
    waiters: WaitList,
}

enum Job {
    Whole(Box<Whole>),
    Done(Arc<PartFile>),
}

/// A whole file and whose it is.
pub(crate) struct Whole {
    pub(crate) part: Box<Part>,
    pub(crate) ticket: Ticket,
}

impl Committer {
    pub(crate) fn new(disk: &Disk) -> Self {
        Self(Arc::new(Shared {
            flush: disk.flush,
            preallocate: disk.preallocate,
            state: Mutex::default(),
            changed: Condvar::new(),
            spare: Mutex::default(),
        }))
    }

    /// Tells whether bytes are on the disk before anything says so.
    pub(crate) fn flushes(&self) -> bool {
        self.0.flush != Flush::Never
    }

    pub(crate) fn preallocates(&self) -> bool {
        self.0.preallocate
    }

    /// An empty buffer with room for so many bytes.
    pub(crate) fn buffer(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = lock(&self.0.spare).pop().unwrap_or_default();
        buffer.reserve_exact(bytes);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = lock(&self.0.spare);
        if spare.len() < SPARE_MAX {
            spare.push(buffer);
        }
    }

    /// Takes a whole file over: it will be published, whatever happens to the caller.
    ///
    /// # Switching
    /// May switch, while too many files wait.
    pub(crate) fn submit(&self, whole: Whole) {
        let mut job = Some(Job::Whole(Box::new(whole)));
        let submitted = shield(|| {
            wait_for(
                &self.0.state,
                |state| &mut state.waiters,
                Wait::Lane,
                Deadline::NEVER,
                |state| {
                    let job = state.has_room().then(|| job.take()).flatten()?;
                    self.enqueue(state, job);
                    Some(())
                },
            )
        });
        if let (Err(error), Some(Job::Whole(whole))) = (submitted, job) {
            whole.ticket.settle(End::Failed(Failure::new(
                FailureKind::Internal,
                error.to_string(),
            )));
        }
    }

    /// Writes down what is there of a partial file, when that is on the disk.
    pub(crate) fn save_done(&self, file: &Arc<PartFile>) -> Result<(), Failure> {
        if !self.flushes() {
            return file.save_done(false).map_err(|e| file.failed(&e));
        }
        self.enqueue(&mut lock(&self.0.state), Job::Done(file.clone()));
        Ok(())
    }

    fn enqueue(&self, state: &mut State, job: Job) {
        if let Job::Whole(whole) = &job {
            state.count(whole, 1);
        }
        state.queue.push_back(job);
        if std::mem::take(&mut state.idle) {
            self.0.changed.notify_one();
        }
    }

    /// Starts the thread.
    pub(crate) fn start(&self) -> Result<()> {
        let committer = self.clone();
        std::thread::Builder::new()
            .name("greenloop-files".into())
            .spawn(move || {
                // Whoever waits for it would do so for ever. The files of a group that
                // panics fail as their tickets are dropped.
                while catch_unwind(AssertUnwindSafe(|| committer.work())).is_err() {
                    log::error!("the thread for files goes on after a panic");
                }
            })
            .map_err(|e| Error::from(e).context("starting the thread for files"))?;
        Ok(())
    }

    /// Ends the thread when it has done what was handed over.
    pub(crate) fn close(&self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_one();
    }

    /// The thread's life.
    fn work(&self) {
        while let Some(group) = self.next_group() {
            let mut whole = Vec::new();
            for job in group {
                match job {
                    Job::Whole(one) => whole.push(*one),
                    Job::Done(file) => {
                        if let Err(error) = file.save_done(true) {
                            log::warn!("{}: {error}", file.path().display());
                        }
                    }
                }
            }
            self.commit(whole);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "on the committer's own thread")]
    fn next_group(&self) -> Option<Vec<Job>> {
        let mut state = lock(&self.0.state);
        while state.queue.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if !state.closed {
            drop(state);
            std::thread::sleep(GATHER);
            state = lock(&self.0.state);
        }
        let count = state.queue.len().min(GROUP_MAX);
        let group: Vec<_> = state.queue.drain(..count).collect();
        for job in &group {
            if let Job::Whole(whole) = job {
                state.count(whole, -1);
            }
        }
        state.waiters.wake_all();
        Some(group)
    }

    /// Publishes a group of files.
    fn commit(&self, group: Vec<Whole>) {
        let written: Vec<_> = group.into_iter().filter_map(Whole::write_out).collect();
        let written = self.flush(written);
        let ready: Vec<_> = written.into_iter().filter_map(Whole::prepare).collect();
        note(&ready.iter().map(|whole| &whole.ticket).collect::<Vec<_>>());
        let published: Vec<_> = ready.into_iter().filter_map(Whole::publish).collect();
        // Those whose name was taken meanwhile have another one.
        let moved = published.iter().filter(|(_, moved)| *moved);
        note(&moved.map(|(ticket, _)| ticket).collect::<Vec<_>>());
        for (ticket, _) in published {
            ticket.settle(End::Saved);
        }
    }

    /// Has the bytes of a group on the disk; without those for which that failed.
    fn flush(&self, group: Vec<Whole>) -> Vec<Whole> {
        let together = self.0.flush == Flush::Groups && group.len() >= FLUSHED_TOGETHER;
        if !self.flushes() || (together && self.flush_together(&group).is_ok()) {
            return group;
        }
        let one = |whole: Whole| match whole.part.sync() {
            Ok(()) => Some(whole),
            Err(failure) => whole.fail(failure),
        };
        group.into_iter().filter_map(one).collect()
    }

    /// Flushes the file systems that the group is on, each once.
    fn flush_together(&self, group: &[Whole]) -> io::Result<()> {
        let mut flushed = Vec::new();
        for whole in group {
            let device = whole.part.device()?;
            if !flushed.contains(&device) {
                whole.part.sync_all()?;
                flushed.push(device);
            }
        }
        Ok(())
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.bytes < WAITING_BYTES_MAX
            && self.open < WAITING_OPEN_MAX
            && self.queue.len() < WAITING_MAX
    }

    fn count(&mut self, whole: &Whole, sign: isize) {
        let (bytes, open) = match whole.part.file() {
            Some(_) => (0, 1),
            None => (whole.part.length() as usize, 0),
        };
        self.bytes = self.bytes.wrapping_add_signed(sign * bytes as isize);
        self.open = self.open.wrapping_add_signed(sign * open);
    }
}

/// Adds files to the journal.
fn note(tickets: &[&Ticket]) {
    let Some(journal) = tickets
        .first()
        .and_then(|ticket| ticket.run.journal.as_ref())
    else {
        return;
    };
    let lines = tickets
        .iter()
        .filter_map(|ticket| Some((ticket.entry.url().ok()?, ticket.saved.as_ref()?)));
    if let Err(error) = journal.add(lines) {
        log::warn!("writing the journal: {error}");
    }
}

impl Whole {
    fn write_out(mut self) -> Option<Self> {
        loop {
            let Ok(url) = self.ticket.entry.url() else {
                return None;
            };
            match self.part.write_out(url) {
                Ok(()) => return Some(self),
                Err(failure) if self.ticket.wait_for_room(&failure, &self.part) => {}
                Err(failure) => return self.fail(failure),
            }
        }
    }

    /// Notes where the file will be.
    fn prepare(mut self) -> Option<Self> {
        match self.part.prepare() {
            Ok((path, modified)) => {
                self.ticket.publish(path, modified, self.part.pin());
                Some(self)
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// The ticket, and whether the file is elsewhere than was noted.
    #[expect(clippy::large_stack_frames, reason = "on the committer's own thread")]
    fn publish(mut self) -> Option<(Ticket, bool)> {
        match self.part.publish() {
            Ok(path) if self.ticket.facts.path.as_ref() == Some(&path) => {
                Some((self.ticket, false))
            }
            Ok(path) => {
                let modified = self.ticket.saved.as_ref().and_then(|saved| saved.modified);
                self.ticket.publish(path, modified, self.part.pin());
                Some((self.ticket, true))
            }
            Err(failure) => {
                self.ticket.facts.path = None;
                self.fail(failure)
            }
        }
    }

    /// Leaves what can be gone on from, and tells why there is no file.
    fn fail<T>(self, failure: Failure) -> Option<T> {
        let Self { part, mut ticket } = self;
        ticket.leave(part);
        ticket.settle(End::Failed(failure));
        None
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}
