//! What to start, and how.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::child::{Child, Process};
use crate::process::output::{self, Output, OutputError};
use crate::process::pipe::{PipeReader, PipeWriter};
use crate::process::reaper;
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::park;
use crate::runtime::reason::Wait;
use crate::util::{escape, lock};

/// What to start: a program with its arguments, environment, directory and streams.
///
/// It can be started several times. What it does not offer (user, group, process group),
/// std's command does, which turns into this one.
///
/// # Examples
///
/// ```
/// use greenloop::process::Command;
///
/// let output = Command::new("sh").args(["-c", "cat; echo $WHO >&2"])
///     .env("WHO", "you")
///     .input("hello")
///     .output()?;
/// assert!(output.status.success());
/// assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"hello"[..], &b"you\n"[..]));
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// Another environment, another directory, streams of one's own:
///
/// ```
/// use greenloop::process::{Command, Stdio};
/// use std::io::Read;
///
/// let mut child = Command::new("/bin/sh")
///     .arg("-c").arg("pwd; echo $ONE$TWO$THREE$HOME")
///     .env_clear()
///     .envs([("ONE", "1"), ("TWO", "2")])
///     .env("THREE", "3")
///     .env_remove("TWO")
///     .current_dir("/")
///     .stdin(Stdio::null())
///     .stdout(Stdio::piped())
///     .stderr(Stdio::null())
///     .kill_on_drop(true)
///     .spawn()?;
/// let mut text = String::new();
/// child.stdout.as_mut().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "/\n13\n");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the arguments of `gevent.subprocess.Popen` and `run`.
pub struct Command {
    /// Shared with the thread that starts it, also when the caller has left.
    std: Arc<Mutex<std::process::Command>>,
    /// For errors, where the lock may still be taken.
    program: Box<str>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    input: Vec<u8>,
    kill_on_drop: bool,
}

/// Who has said what a stream is to be.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Nobody,
    Caller,
    /// We did, for one call.
    Us,
}

/// A call that starts a program, by what it does with streams nobody has spoken for.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Inherit,
    Capture,
}

impl Command {
    /// A command that starts `program`, looked for in PATH unless it has a slash.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        std::process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        lock(&self.std).arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        lock(&self.std).args(args);
        self
    }

    /// Sets an environment variable.
    ///
    /// gevent: the `env` argument, which replaces the whole environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        lock(&self.std).env(name, value);
        self
    }

    /// Sets environment variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        lock(&self.std).envs(vars);
        self
    }

    /// Does not pass an environment variable on.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        lock(&self.std).env_remove(name);
        self
    }

    /// Passes no environment variable on but those set afterwards.
    pub fn env_clear(&mut self) -> &mut Self {
        lock(&self.std).env_clear();
        self
    }

    /// Starts it in another directory.
    ///
    /// gevent: the `cwd` argument.
    pub fn current_dir(&mut self, path: impl AsRef<Path>) -> &mut Self {
        lock(&self.std).current_dir(path);
        self
    }

    /// Says what its input is. Default: this process's; nothing for [`Command::output`].
    ///
    /// gevent: the `stdin` argument: `PIPE` is `Stdio::piped()`, `DEVNULL` is
    /// `Stdio::null()`.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        lock(&self.std).stdin(stdin);
        self.stdin = Stream::Caller;
        self
    }

    /// Says where its output goes. Default: where this process's goes; captured by
    /// [`Command::output`].
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        lock(&self.std).stdout(stdout);
        self.stdout = Stream::Caller;
        self
    }

    /// Says where its errors go. Default as for [`Command::stdout`].
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        lock(&self.std).stderr(stderr);
        self.stderr = Stream::Caller;
        self
    }

    /// What [`Command::output`] and its family write to the program, unless its input was
    /// said to be something else.
    ///
    /// gevent: `subprocess.run(input=…)`.
    pub fn input(&mut self, input: impl Into<Vec<u8>>) -> &mut Self {
        self.input = input.into();
        self
    }

    /// Ends the program (SIGKILL) when its [`Child`] is dropped. Default: false.
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Self {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// Starts it.
    ///
    /// Fork and exec run on a thread of the files lane. A caller that leaves meanwhile
    /// leaves nothing behind: the program is not started, or ended at once.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// What the system reports, with the program's name: `NotFound` if there is none of
    /// that name; the caller was killed or timed out.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let error = Command::new("no-such-program").spawn().unwrap_err();
    /// assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
    /// assert_eq!(error.to_string(), "starting no-such-program: no such file or directory");
    /// ```
    ///
    /// gevent: `gevent.subprocess.Popen(…)`.
    #[track_caller]
    pub fn spawn(&mut self) -> Result<Child> {
        self.start(Mode::Inherit, Deadline::NEVER)
    }

    /// Starts it and waits for its end.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Process::wait`]. When the caller leaves early, the
    /// program is ended (SIGKILL) and reaped: nobody else could.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// assert_eq!(Command::new("sh").args(["-c", "exit 10"]).status()?.code(), Some(10));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `gevent.subprocess.call(…)`.
    #[track_caller]
    pub fn status(&mut self) -> Result<ExitStatus> {
        let mut child = self.start(Mode::Inherit, Deadline::NEVER)?;
        child.kill_on_drop = true;
        child.wait()
    }

    /// Starts it, gives it its [`input`](Command::input), and reads both outputs to their
    /// ends.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Command::status`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    ///
    /// let output = Command::new("tr").args(["a-z", "A-Z"]).input("hello").output()?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"HELLO");
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `gevent.subprocess.run(…, capture_output=True)`.
    #[track_caller]
    pub fn output(&mut self) -> Result<Output> {
        Ok(self.output_deadline(Deadline::NEVER)?)
    }

    /// Like [`Command::output`], within `limit`: then the program is ended (SIGKILL) and
    /// reaped, and what it wrote until then is in the error.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Command::status`]; timeout also when `limit` passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::process::Command;
    /// use std::time::Duration;
    ///
    /// let cut = Command::new("sh").args(["-c", "echo so far; exec sleep 600"])
    ///     .output_timeout(Duration::from_secs(1))
    ///     .unwrap_err();
    /// assert!(cut.error.is_timeout());
    /// assert_eq!(cut.stdout, b"so far\n");
    /// assert!(cut.status.is_some(), "it is gone");
    /// ```
    ///
    /// gevent: `gevent.subprocess.run(…, capture_output=True, timeout=limit)`.
    #[track_caller]
    pub fn output_timeout(&mut self, limit: Duration) -> Result<Output, OutputError> {
        self.output_deadline(Deadline::after(limit))
    }

    /// Like [`Command::output_timeout`], until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, on every call.
    ///
    /// # Errors
    /// As [`Command::output_timeout`].
    #[track_caller]
    pub fn output_deadline(&mut self, limit: Deadline) -> Result<Output, OutputError> {
        let mut child = self.start(Mode::Capture, limit)?;
        child.kill_on_drop = true;
        output::communicate(&mut child, &self.input, limit).map_err(|mut cut| {
            output::end(&mut child, &mut cut);
            cut
        })
    }

    #[track_caller]
    fn start(&mut self, mode: Mode, limit: Deadline) -> Result<Child> {
        park::check(limit)?;
        reaper::start()?;
        self.set_streams(mode);
        let command = self.std.clone();
        let started = files().run_for(Wait::Child, limit, move || {
            Newborn::start(&mut lock(&command))
        });
        let child = started
            .and_then(|started| started.map_err(Error::from))
            .and_then(|newborn| Ok(newborn.grow_up(self.kill_on_drop)?));
        child.map_err(|error| error.context(format!("starting {}", self.program)))
    }

    /// Says what the streams are that the caller has not spoken for, and takes back what
    /// was said for another call.
    fn set_streams(&mut self, mode: Mode) {
        let captures = mode == Mode::Capture;
        let output = || match mode {
            Mode::Capture => Stdio::piped(),
            Mode::Inherit => Stdio::inherit(),
        };
        let input = match mode {
            Mode::Inherit => Stdio::inherit(),
            Mode::Capture if self.input.is_empty() => Stdio::null(),
            Mode::Capture => Stdio::piped(),
        };
        let mut command = lock(&self.std);
        if self.stdin.is_ours_to_set(captures) {
            command.stdin(input);
        }
        if self.stdout.is_ours_to_set(captures) {
            command.stdout(output());
        }
        if self.stderr.is_ours_to_set(captures) {
            command.stderr(output());
        }
    }
}

impl Stream {
    fn is_ours_to_set(&mut self, captures: bool) -> bool {
        if captures && *self == Self::Nobody {
            *self = Self::Us;
        }
        *self == Self::Us
    }
}

/// A child that nobody has yet: its drop ends it.
struct Newborn {
    process: Process,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    is_grown_up: bool,
}

impl Newborn {
    /// On a thread of the lane.
    fn start(command: &mut std::process::Command) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let shared = reaper::adopt(child.id()).inspect_err(|_| {
            // It cannot be watched. It is ours alone, and dies promptly.
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self {
            process: Process(shared),
            stdin: child.stdin.take().map(Into::into),
            stdout: child.stdout.take().map(Into::into),
            stderr: child.stderr.take().map(Into::into),
            is_grown_up: false,
        })
    }

    /// On the caller's side.
    fn grow_up(mut self, kill_on_drop: bool) -> io::Result<Child> {
        let stdin = self.stdin.take().map(PipeWriter::from_fd).transpose()?;
        let stdout = self.stdout.take().map(PipeReader::from_fd).transpose()?;
        let stderr = self.stderr.take().map(PipeReader::from_fd).transpose()?;
        self.is_grown_up = true;
        Ok(Child {
            stdin,
            stdout,
            stderr,
            process: self.process.clone(),
            kill_on_drop,
        })
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if !self.is_grown_up {
            // It may run as somebody else, who may not be killed. Then it goes on.
            let _ = self.process.kill();
        }
    }
}

/// The streams are as they were set, and as std's defaults where they were not, with one
/// exception: [`Command::output`] sets all that were not set here.
impl From<std::process::Command> for Command {
    fn from(std: std::process::Command) -> Self {
        Self {
            program: escape(std.get_program().as_bytes()).into(),
            std: Arc::new(Mutex::new(std)),
            stdin: Stream::Nobody,
            stdout: Stream::Nobody,
            stderr: Stream::Nobody,
            input: Vec::new(),
            kill_on_drop: false,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lock(&self.std).fmt(f)
    }
}
