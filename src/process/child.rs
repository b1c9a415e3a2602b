//! A program that was started.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::error::Result;
use crate::process::output::{self, Output, OutputError};
use crate::process::pipe::{PipeReader, PipeWriter};
use crate::process::reaper::Shared;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{self, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::watch::{Waitable, WatchId, Watcher};
use crate::util::lock;

/// A handle on a program that was started: to wait for its end and to send it signals.
///
/// Clones are handles on the same one. Dropping them changes nothing: the program goes on,
/// and is reaped when it ends. It is [`Waitable`]: ready when the
/// program has ended.
///
/// # Examples
///
/// ```
/// use greenloop::process::Command;
///
/// let child = Command::new("sleep").arg("600").spawn()?;
/// let handle = child.handle();
/// let waiter = greenloop::spawn(move || handle.wait());
/// child.kill()?;
/// let status = waiter.join().unwrap()?;
/// assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.subprocess.Popen`, shared by greenlets.
#[derive(Clone)]
pub struct Process(pub(super) Arc<Shared>);

/// A program that was started, with the pipes that it was given.
///
/// It is a [`Process`] as well. Dropping it closes the pipes and lets the program run on,
/// unless [`Command::kill_on_drop`](crate::process::Command::kill_on_drop) was asked for.
///
/// # Examples
///
/// ```
/// use greenloop::process::{Command, Stdio};
/// use std::io::{Read, Write};
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"through the cat")?;
/// let mut text = String::new();
/// child.stdout.as_mut().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "through the cat");
/// assert!(child.wait()?.success());
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.subprocess.Popen`.
pub struct Child {
    /// Its input, if that was to be a pipe.
    pub stdin: Option<PipeWriter>,
    /// Its output, if that was to be a pipe.
    pub stdout: Option<PipeReader>,
    /// Its errors, if those were to be a pipe.
    pub stderr: Option<PipeReader>,
    pub(super) process: Process,
    pub(super) kill_on_drop: bool,
}

impl Process {
    /// Its number. After the end it may be another process's.
    ///
    /// gevent: `Popen.pid`.
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    /// Waits for its end and says how it ended.
    ///
    /// Any number of callers may wait. Killed ones leave; the program runs on.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// The caller was killed or timed out; the status was taken by somebody else, who
    /// waited for any child of this process (or SIGCHLD is ignored).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// let other = child.handle();
    /// let also = greenloop::spawn(move || other.wait());
    /// assert_eq!(child.handle().wait()?.code(), Some(3));
    /// assert_eq!(also.join().unwrap()?.code(), Some(3));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Popen.wait()`, whose return code is negative for a signal.
    #[track_caller]
    pub fn wait(&self) -> Result<ExitStatus> {
        self.end(Deadline::NEVER)
    }

    /// Waits at most `limit` for its end; `None` if it still runs.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// As [`Process::wait`]; `limit` itself is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = Command::new("sleep").arg("600").spawn()?.handle();
    /// assert_eq!(child.wait_timeout(Duration::from_millis(2))?, None);
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Popen.wait(timeout=limit)`, which raises `TimeoutExpired`.
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits until `limit` for its end; `None` if it still runs.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// As [`Process::wait`]; `limit` itself is no error.
    #[track_caller]
    pub fn wait_deadline(&self, limit: Deadline) -> Result<Option<ExitStatus>> {
        match self.end(limit) {
            Ok(status) => Ok(Some(status)),
            Err(e) if e.is_own_limit() => Ok(None),
            Err(e) => Err(e),
        }
    }

    #[track_caller]
    fn end(&self, limit: Deadline) -> Result<ExitStatus> {
        park::check(Deadline::NEVER)?;
        wait_for(
            &self.0.state,
            |state| &mut state.waiters,
            Wait::Child,
            limit,
            |state| state.ended(),
        )?
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The status was taken by somebody else.
    ///
    /// gevent: `Popen.poll()`.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let mut state = lock(&self.0.state);
        // The system knows before the thread that watches has had its turn.
        state.reap(&self.0);
        state.ended().transpose()
    }

    /// Ends it, by SIGKILL. Nothing happens if it has ended. It is still to be waited for
    /// by whoever wants to know that it is gone.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The system does not permit it: the program runs as somebody else now.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("600").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// child.kill()?; // nobody is hit
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Popen.kill()`.
    pub fn kill(&self) -> io::Result<()> {
        lock(&self.0.state).send(Signal::KILL)
    }

    /// Sends it a signal, such as [`SIGTERM`](crate::signal::SIGTERM). Nothing happens if
    /// it has ended: never can another process that got its number be hit.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// The number is no signal's; the system does not permit it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use greenloop::signal::SIGTERM;
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("600").spawn()?;
    /// child.signal(SIGTERM)?;
    /// assert_eq!(child.wait()?.signal(), Some(SIGTERM));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Popen.send_signal(signal)`, `Popen.terminate()`.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let named = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        lock(&self.0.state).send(named)
    }
}

/// Ready when the program has ended.
impl Waitable for Process {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        let mut state = lock(&self.0.state);
        let has_ended = !state.is_running();
        state.watchers.add(watcher, has_ended)
    }

    fn unwatch(&self, id: WatchId) {
        lock(&self.0.state).watchers.remove(id);
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.0.pid)
            .field("running", &lock(&self.0.state).is_running())
            .finish()
    }
}

impl Child {
    /// A handle for others: one waits, another kills.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let mut child = Command::new("sleep").arg("600").spawn()?;
    /// let killer = child.handle();
    /// greenloop::spawn(move || killer.kill());
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn handle(&self) -> Process {
        self.process.clone()
    }

    /// Waits for its end, as [`Process::wait`]. A pipe to its input is closed first: it
    /// may be waiting for the end of that.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// As [`Process::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    ///
    /// // `cat` ends when its input does.
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait()
    }

    /// Waits for its end, as [`Process::wait_timeout`]. A pipe to its input is closed
    /// first.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// As [`Process::wait_timeout`].
    #[track_caller]
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.wait_deadline(Deadline::after(limit))
    }

    /// Waits for its end, as [`Process::wait_deadline`]. A pipe to its input is closed
    /// first.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it has ended.
    ///
    /// # Errors
    /// As [`Process::wait_deadline`].
    #[track_caller]
    pub fn wait_deadline(&mut self, limit: Deadline) -> Result<Option<ExitStatus>> {
        drop(self.stdin.take());
        self.process.wait_deadline(limit)
    }

    /// Writes `input` to it, closes that, reads both outputs to their ends and waits for
    /// the program's: whichever is ready next, so that no full pipe stops anything.
    ///
    /// Streams that are no pipes are left alone. A program that does not read all of its
    /// input is no error. The outputs end when every process that holds them has closed
    /// them, grandchildren included.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// The caller was killed or timed out; what the system reports. The error has what
    /// was read, and how much of `input` was sent; the program runs on, its pipes stay,
    /// and a further call with the rest of the input goes on from there.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::{Command, Stdio};
    ///
    /// let mut child = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let output = child.communicate(b"pear\napple\n")?;
    /// assert_eq!(output.stdout, b"apple\npear\n");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `Popen.communicate(input)`, which keeps what was read inside for a retry.
    #[track_caller]
    pub fn communicate(&mut self, input: &[u8]) -> Result<Output, OutputError> {
        output::communicate(self, input, Deadline::NEVER)
    }

    /// Like [`Child::communicate`], all of it within `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Child::communicate`]; timeout also when `limit` passed.
    ///
    /// gevent: `Popen.communicate(input, timeout=limit)`.
    #[track_caller]
    pub fn communicate_timeout(
        &mut self,
        input: &[u8],
        limit: Duration,
    ) -> Result<Output, OutputError> {
        output::communicate(self, input, Deadline::after(limit))
    }

    /// Like [`Child::communicate`], all of it until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Child::communicate`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn communicate_deadline(
        &mut self,
        input: &[u8],
        limit: Deadline,
    ) -> Result<Output, OutputError> {
        output::communicate(self, input, limit)
    }
}

impl Deref for Child {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Waitable for Child {
    fn watch(&self, watcher: Watcher) -> Option<WatchId> {
        self.process.watch(watcher)
    }

    fn unwatch(&self, id: WatchId) {
        self.process.unwatch(id);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop
            && let Err(error) = self.process.kill()
        {
            log::warn!("cannot end process {}: {error}", self.process.id());
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("process", &self.process)
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish()
    }
}
