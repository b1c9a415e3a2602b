//! One thread that waits for every child at once and reaps it.
//!
//! It sleeps in an epoll of pidfds, each of which is ready when its process has ended. A
//! thread and not a greenlet: it works while all workers are busy, for programs that only
//! use OS threads too, it needs no stack of the engine's, and no kill or drain meets it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};

use crate::error::{Error, Result};
use crate::runtime::park::WaitList;
use crate::runtime::watch::Watchers;
use crate::util::lock;

/// A child, shared by its handles and the reaper.
pub(super) struct Shared {
    pub(super) pid: u32,
    /// Its number with the reaper.
    number: u64,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    life: Life,
    pub(super) waiters: WaitList,
    pub(super) watchers: Watchers,
}

enum Life {
    Running(OwnedFd),
    Ended(ExitStatus),
    /// Somebody else waited for it: its status is not to be had.
    Lost,
}

struct Reaper {
    epoll: OwnedFd,
    living: Mutex<BTreeMap<u64, Arc<Shared>>>,
}

/// A child that has ended but cannot be reaped yet (a tracer has to see it first) is looked
/// at again after this time.
const AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

static REAPER: OnceLock<Reaper> = OnceLock::new();

/// Starts the reaper, before the first child.
pub(super) fn start() -> Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());
    if REAPER.get().is_some() {
        return Ok(());
    }
    let _starting = lock(&STARTING);
    if REAPER.get().is_some() {
        return Ok(());
    }
    // Whether the system can at all: not only when there is a child to be waited for.
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    own.map_err(|e| Error::from(io::Error::from(e)).context("watching processes"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
    let own = epoll.try_clone()?;
    std::thread::Builder::new()
        .name("greenloop-child".into())
        .spawn(move || watch(&own))?;
    let living = Mutex::default();
    let _ = REAPER.set(Reaper { epoll, living });
    Ok(())
}

/// Takes charge of a child that was just started, and that nobody else waits for.
pub(super) fn adopt(pid: u32) -> io::Result<Arc<Shared>> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let reaper = REAPER.get().ok_or(io::ErrorKind::NotFound)?;
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let life = match pidfd_open(id.ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty()) {
        Ok(pidfd) => Life::Running(pidfd),
        // It has ended and was reaped: SIGCHLD is ignored, or somebody waits for any child.
        Err(Errno::SRCH) => Life::Lost,
        Err(error) => return Err(error.into()),
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::new(Shared {
        pid,
        number,
        state: Mutex::new(State {
            life,
            waiters: WaitList::new(),
            watchers: Watchers::new(),
        }),
    });
    if !lock(&shared.state).is_running() {
        return Ok(shared);
    }
    // First, so that the thread finds it.
    lock(&reaper.living).insert(number, shared.clone());
    if let Err(error) = lock(&shared.state).register(reaper, number) {
        lock(&reaper.living).remove(&number);
        return Err(error);
    }
    Ok(shared)
}

/// The thread's life.
fn watch(epoll: &OwnedFd) {
    let mut events = Vec::with_capacity(64);
    let mut later: Vec<u64> = Vec::new();
    loop {
        events.clear();
        let again = (!later.is_empty()).then_some(&AGAIN);
        match epoll::wait(epoll, spare_capacity(&mut events), again) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return log::error!("children are not watched any more: {error}"),
        }
        let Some(reaper) = REAPER.get() else { continue };
        later.extend(events.iter().map(|event: &epoll::Event| event.data.u64()));
        later.retain(|number| {
            let child = lock(&reaper.living).get(number).cloned();
            child.is_some_and(|child| !lock(&child.state).reap(&child))
        });
    }
}

impl State {
    fn register(&self, reaper: &Reaper, number: u64) -> io::Result<()> {
        let Life::Running(pidfd) = &self.life else {
            return Ok(());
        };
        let data = epoll::EventData::new_u64(number);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(&reaper.epoll, pidfd, data, flags)?)
    }

    /// Takes the status if the child has ended. True if it has, now or before.
    pub(super) fn reap(&mut self, child: &Shared) -> bool {
        let Life::Running(pidfd) = &self.life else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let life = match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(None) | Err(Errno::INTR) => return false,
            Ok(Some(status)) => Life::Ended(status_of(&status)),
            Err(_) => Life::Lost,
        };
        // Closes the pidfd, which takes it out of the epoll.
        self.life = life;
        if let Some(reaper) = REAPER.get() {
            lock(&reaper.living).remove(&child.number);
        }
        self.waiters.wake_all();
        self.watchers.tell_all();
        true
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<Result<ExitStatus>> {
        match self.life {
            Life::Running(_) => None,
            Life::Ended(status) => Some(Ok(status)),
            Life::Lost => Some(Err(Error::message(
                "somebody else has waited for the process: its status is lost",
            ))),
        }
    }

    /// Sends a signal, unless the child was reaped: then its number may be another's.
    pub(super) fn send(&self, signal: Signal) -> io::Result<()> {
        match &self.life {
            Life::Running(pidfd) => match pidfd_send_signal(pidfd, signal) {
                // It was reaped by somebody else, just before we hear of it.
                Ok(()) | Err(Errno::SRCH) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Life::Ended(_) | Life::Lost => Ok(()),
        }
    }
}

/// The wait status as wait(2) encodes it, which is what std takes.
fn status_of(status: &WaitIdStatus) -> ExitStatus {
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | 0x80,
        (None, signal) => signal.unwrap_or(0),
    };
    ExitStatus::from_raw(raw)
}
