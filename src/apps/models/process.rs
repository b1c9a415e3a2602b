//! A process per client: the tutorials' `ForkingTCPServer`.
//!
//! A fork copies one thread of a process, and the locks that the other threads hold as they
//! are; what the child does next must not need one of them. Rust promises no such thing, so
//! this server does what inetd did: it starts a command whose standard input and output are
//! the connection.
//!
//! A child that has ended stays a zombie until its parent asks how. The usual way to learn of
//! it, the signal SIGCHLD, comes once for any number of children that end close together, and
//! there is one handler for the whole process. Here each child has a pidfd, a descriptor that
//! is readable from its end on: it can be watched beside the listener, and none is missed.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

use super::client::echo;
use super::door::Door;
use super::stop::{Stop, timespec};
use super::tally::{Served, Tally};
use crate::error::IoText;

pub(super) fn serve(
    listener: TcpListener,
    stop: &Stop,
    children_max: usize,
    command: &[OsString],
) -> io::Result<Served> {
    let mut door = Door::new(listener, children_max)?;
    let (mut children, mut tally) = (Children::default(), Tally::default());
    while !stop.is_asked() {
        children.wait(&mut door, stop)?;
        children.reap(&mut tally);
        while let Some(stream) = door.accept(children.0.len())? {
            match Running::start(command, stream) {
                Ok(child) => {
                    children.0.push(child);
                    tally.begin();
                }
                Err(error) if is_lasting(&error) => return Err(cannot_start(command, &error)),
                Err(error) => {
                    tally.refuse();
                    door.shut_after(&cannot_start(command, &error));
                }
            }
        }
    }
    children.end(&mut tally);
    Ok(tally.finish())
}

/// The children that were not reaped yet.
#[derive(Default)]
struct Children(Vec<Running>);

/// A child and the client it serves.
struct Running {
    process: Child,
    end: OwnedFd,
}

impl Children {
    /// Waits for a client, for a child's end, or for the stop.
    fn wait(&self, door: &mut Door, stop: &Stop) -> io::Result<()> {
        let is_open = door.is_open(self.0.len());
        let limit = door.shut_for().map(timespec);
        let mut events = vec![PollFd::new(stop, PollFlags::IN)];
        if is_open {
            events.push(PollFd::new(door, PollFlags::IN));
        }
        events.extend(self.0.iter().map(|c| PollFd::new(&c.end, PollFlags::IN)));
        match poll(&mut events, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reaps all that have ended. Asking each is simpler than finding out who woke us, and
    /// cheap beside starting one.
    fn reap(&mut self, tally: &mut Tally) {
        self.0.retain_mut(|child| match child.process.try_wait() {
            Ok(None) => true,
            // Somebody else has reaped it, if it cannot be asked.
            ended => {
                tally.end(ended.is_ok_and(|status| status.is_some_and(|s| s.success())));
                false
            }
        });
    }

    /// Ends those that are left.
    fn end(mut self, tally: &mut Tally) {
        for child in &mut self.0 {
            match end(&mut child.process) {
                // It had ended by itself: a client sees the end before we do.
                Some(status) if status.code().is_some() => tally.end(status.success()),
                _ => tally.cut(),
            }
        }
        self.0.clear();
    }
}

impl Running {
    /// Hands `stream` to a new process. Ours is closed: the client must see the end when the
    /// child ends.
    fn start(command: &[OsString], stream: TcpStream) -> io::Result<Self> {
        let Some((program, args)) = command.split_first() else {
            return Err(io::Error::new(ErrorKind::NotFound, "no command was given"));
        };
        let output = stream.try_clone()?;
        let mut process = Command::new(program)
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            // Ctrl-C is for the server, which ends its children.
            .process_group(0)
            .spawn()?;
        let pid = Pid::from_child(&process);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(end) => Ok(Self { process, end }),
            Err(error) => {
                let _ = end(&mut process);
                Err(error.into())
            }
        }
    }
}

impl Drop for Children {
    /// No child outlives the server, also after an error.
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = end(&mut child.process);
        }
    }
}

/// Ends a child and reaps it.
fn end(process: &mut Child) -> Option<ExitStatus> {
    // It may have ended just now; what is left is to reap it.
    let _ = process.kill();
    process.wait().ok()
}

/// Whether the next start would fail as well.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Unsupported
    )
}

fn cannot_start(command: &[OsString], error: &io::Error) -> io::Error {
    let program = command.first().map_or_else(String::new, |program| {
        format!(" {}", program.to_string_lossy())
    });
    io::Error::new(
        error.kind(),
        format!("starting{program}: {}", IoText(error)),
    )
}

/// The child's half: echoes on the connection that is this process's standard input, until
/// the peer ends its direction.
///
/// # Switching
/// Blocks the calling OS thread; it is not for greenlets.
///
/// # Errors
/// Standard input is no socket; what the connection gives.
pub fn serve_standard_input() -> io::Result<()> {
    // A child whose parent was killed has nobody who would end it.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let stream = rustix::stdio::stdin().try_clone_to_owned()?;
    echo(&TcpStream::from(stream))
}

/// The kernel has room for more processes; a study of them has not.
pub(super) const CHILDREN_MAX: usize = 256;
