//! Talking to a child: its input, both outputs and its end, by one greenlet.
//!
//! The pipes stand in an epoll of their own, and the greenlet waits for that: whichever is
//! ready next is served, and what was read is in one place when a limit passes.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::process::child::Child;
use crate::process::pipe::PipeReader;
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::park;
use crate::runtime::reason::Wait;

/// What a program said, and how it ended.
///
/// gevent: `CompletedProcess`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its output, if that was a pipe.
    pub stdout: Vec<u8>,
    /// What it wrote to its errors, if those were a pipe.
    pub stderr: Vec<u8>,
}

/// Why there is no whole [`Output`], with the part that there is.
///
/// It turns into an [`Error`], so `?` works where the part does not matter.
///
/// gevent: `TimeoutExpired`, with its `stdout` and `stderr`.
#[non_exhaustive]
pub struct OutputError {
    /// What came between.
    pub error: Error,
    /// What it wrote to its output until then.
    pub stdout: Vec<u8>,
    /// What it wrote to its errors until then.
    pub stderr: Vec<u8>,
    /// How much of the input was sent.
    pub sent: usize,
    /// How it ended, if it was ended here and that was waited for.
    pub status: Option<ExitStatus>,
}

/// What has gone to and fro.
#[derive(Default)]
struct Talk {
    sent: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

const STDIN: u64 = 0;
const STDOUT: u64 = 1;
const STDERR: u64 = 2;

/// What one read asks for: a pipe's capacity.
const CHUNK: usize = 64 << 10;

/// What is read of a child that was ended: no more than its pipes held, so that a
/// grandchild which goes on writing holds nobody up.
const REST_MAX: usize = 1 << 20;

/// See [`Child::communicate`].
#[track_caller]
pub(super) fn communicate(
    child: &mut Child,
    input: &[u8],
    limit: Deadline,
) -> Result<Output, OutputError> {
    let mut talk = Talk::default();
    let ended = talk
        .run(child, input, limit)
        .map_err(Error::from)
        .and_then(|()| match child.process.wait_deadline(limit)? {
            Some(status) => Ok(status),
            // The limit passed, so this fails with its error.
            None => Err(park::check(limit)
                .err()
                .unwrap_or_else(|| io::Error::from(io::ErrorKind::TimedOut).into())),
        });
    match ended {
        Ok(status) => Ok(Output {
            status,
            stdout: talk.stdout,
            stderr: talk.stderr,
        }),
        Err(error) => Err(OutputError {
            error,
            stdout: talk.stdout,
            stderr: talk.stderr,
            sent: talk.sent,
            status: None,
        }),
    }
}

/// Ends a child whose output took too long. What it had written by then is kept, and if
/// the caller may still wait, how it ended.
#[track_caller]
pub(super) fn end(child: &mut Child, cut: &mut OutputError) {
    if child.process.kill().is_err() {
        return;
    }
    // It fails if the caller was killed: the end will be seen to all the same.
    cut.status = child.process.wait().ok();
    for (pipe, read) in [
        (&child.stdout, &mut cut.stdout),
        (&child.stderr, &mut cut.stderr),
    ] {
        let most = read.len() + REST_MAX;
        while let Some(pipe) = pipe
            && read.len() < most
            && read_some(pipe, read).is_ok_and(|n| n > 0)
        {}
    }
}

impl Talk {
    #[track_caller]
    fn run(&mut self, child: &mut Child, input: &[u8], limit: Deadline) -> io::Result<()> {
        park::check(limit)?;
        if input.is_empty() {
            drop(child.stdin.take());
        }
        if child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none() {
            return Ok(());
        }
        let mut ready = Source::new(watch(child)?)?;
        while child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some() {
            let events = ready.read_with(Wait::Child, limit, poll)?;
            for event in events.iter().flatten() {
                let epoll = ready.get_ref();
                match *event {
                    STDIN => self.write(child, input, epoll)?,
                    STDOUT => read(&mut child.stdout, &mut self.stdout, epoll)?,
                    STDERR => read(&mut child.stderr, &mut self.stderr, epoll)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, child: &mut Child, input: &[u8], epoll: &OwnedFd) -> io::Result<()> {
        let Some(pipe) = &child.stdin else {
            return Ok(());
        };
        match rustix::io::write(pipe, &input[self.sent..]) {
            Ok(n) => self.sent += n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // It does not want more.
            Err(Errno::PIPE) => return close(&mut child.stdin, epoll),
            Err(error) => return Err(error.into()),
        }
        if self.sent == input.len() {
            close(&mut child.stdin, epoll)?;
        }
        Ok(())
    }
}

/// An epoll of the child's pipes.
fn watch(child: &Child) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let add = |pipe: &dyn AsFd, number, flags| {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&epoll, pipe.as_fd(), data, flags)
    };
    if let Some(pipe) = &child.stdin {
        add(pipe, STDIN, epoll::EventFlags::OUT)?;
    }
    if let Some(pipe) = &child.stdout {
        add(pipe, STDOUT, epoll::EventFlags::IN)?;
    }
    if let Some(pipe) = &child.stderr {
        add(pipe, STDERR, epoll::EventFlags::IN)?;
    }
    Ok(epoll)
}

/// The pipes that are ready; "would block" if none is.
fn poll(epoll: &OwnedFd) -> io::Result<[Option<u64>; 3]> {
    let mut events = Vec::with_capacity(3);
    let now = Timespec::default();
    epoll::wait(epoll, spare_capacity(&mut events), Some(&now))?;
    if events.is_empty() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let mut ready = [None; 3];
    for (place, event) in ready.iter_mut().zip(events) {
        let event: epoll::Event = event;
        *place = Some(event.data.u64());
    }
    Ok(ready)
}

/// Reads what is there, and closes the pipe at its end.
fn read(pipe: &mut Option<PipeReader>, read: &mut Vec<u8>, epoll: &OwnedFd) -> io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    match read_some(open, read) {
        Ok(0) => close(pipe, epoll),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read_some(pipe: &PipeReader, read: &mut Vec<u8>) -> Result<usize, Errno> {
    read.reserve(CHUNK);
    rustix::io::read(pipe, spare_capacity(read))
}

/// Unregisters first: the descriptor may be closed a little later than it is dropped, and
/// would be ready all the time until then.
fn close<P: AsFd>(pipe: &mut Option<P>, epoll: &OwnedFd) -> io::Result<()> {
    if let Some(pipe) = pipe.take() {
        epoll::delete(epoll, &pipe)?;
    }
    Ok(())
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputError")
            .field("error", &self.error)
            .field("stdout", &self.stdout.len())
            .field("stderr", &self.stderr.len())
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for OutputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Error> for OutputError {
    fn from(error: Error) -> Self {
        Self {
            error,
            stdout: Vec::new(),
            stderr: Vec::new(),
            sent: 0,
            status: None,
        }
    }
}

impl From<OutputError> for Error {
    fn from(cut: OutputError) -> Self {
        cut.error
    }
}

impl From<OutputError> for io::Error {
    fn from(cut: OutputError) -> Self {
        cut.error.into()
    }
}
