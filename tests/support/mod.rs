//! Drives the built command: a small builder, exact exit codes, real signals.
//!
//! Nothing here waits for a time to pass; a deadline only turns a hang into a failure.

#![allow(dead_code, reason = "each test file uses its part")]

mod peers;

#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use peers::peer;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

/// Longer than any command takes here, also in a debug build on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A run of the built command that is being put together.
pub(crate) struct Greenloop {
    command: Command,
    input: Vec<u8>,
}

/// What a finished run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; 128 and the number for a signal.
    pub(crate) code: i32,
    /// The signal that ended it, if one did.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Begins a run with these arguments.
pub(crate) fn greenloop<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Greenloop {
    program(Path::new(env!("CARGO_BIN_EXE_greenloop")), args)
}

/// Begins a run of another program.
pub(crate) fn peer_program<S: AsRef<OsStr>>(
    name: &str,
    args: impl IntoIterator<Item = S>,
) -> Greenloop {
    program(Path::new(name), args)
}

/// Begins a run of an example.
pub(crate) fn example_program<S: AsRef<OsStr>>(
    name: &str,
    args: impl IntoIterator<Item = S>,
) -> Greenloop {
    let path = Path::new(env!("CARGO_BIN_EXE_greenloop"))
        .with_file_name("examples")
        .join(name);
    if is_stale(&path, name) {
        static BUILT: Once = Once::new();
        BUILT.call_once(|| build_examples(&path));
    }
    program(&path, args)
}

/// `cargo test` builds the examples, `cargo test --test NAME` leaves them as they were.
fn is_stale(program: &Path, name: &str) -> bool {
    static LIBRARY: OnceLock<SystemTime> = OnceLock::new();
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = *LIBRARY.get_or_init(|| newest(&package.join("src")));
    let source = newest(&package.join("examples").join(format!("{name}.rs")));
    newest(program) <= source.max(library)
}

/// When a file, or any file below a folder, was written last.
fn newest(path: &Path) -> SystemTime {
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let times = entries.map(|entry| newest(&entry.path()));
        return times.max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    let modified = fs::metadata(path).and_then(|m| m.modified());
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// All at once: one at a time would ask cargo as often.
fn build_examples(path: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--examples"]);
    if path
        .components()
        .any(|folder| folder.as_os_str() == "release")
    {
        command.arg("--release");
    }
    let built = command.status().expect("cargo runs");
    assert!(
        built.success() && path.exists(),
        "{} cannot be built",
        path.display()
    );
}

fn program<S: AsRef<OsStr>>(path: &Path, args: impl IntoIterator<Item = S>) -> Greenloop {
    let mut command = Command::new(path);
    command
        .args(args)
        .env_remove("RUST_LOG")
        .env_remove("NO_COLOR")
        .env("RUST_BACKTRACE", "0");
    for proxy in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "NETRC",
    ] {
        command.env_remove(proxy);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Greenloop {
        command,
        input: Vec::new(),
    }
}

impl Greenloop {
    /// Gives it this on standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Runs it in this folder.
    pub(crate) fn folder(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Sends its standard output elsewhere.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Takes its standard input from elsewhere.
    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Runs it as a user who may do nothing special (who runs the tests may be root).
    pub(crate) fn with_no_rights(mut self) -> Self {
        use std::os::unix::process::CommandExt;
        if rustix::process::geteuid().is_root() {
            self.command.uid(65_534).gid(65_534);
        }
        self
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(self) -> Run {
        self.start().finish()
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the command was built");
        let input = self.input;
        if let Some(mut stdin) = child.stdin.take() {
            // Its own thread: the child may print before it reads.
            thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
        let stdout = child.stdout.take().map(lines_of);
        let mut pipe = child.stderr.take().expect("it is piped");
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Running {
            child,
            stdout,
            stderr: Some(stderr),
            seen: String::new(),
        }
    }
}

/// A run that has not been waited for; dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Receiver<String>>,
    stderr: Option<thread::JoinHandle<String>>,
    seen: String,
}

impl Running {
    /// Waits for the next line on its standard output.
    pub(crate) fn line(&mut self) -> String {
        let lines = self.stdout.as_ref().expect("standard output is piped");
        let line = lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no further line on standard output after {:?}", self.seen));
        self.seen.push_str(&line);
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits for a line that holds `part`.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for the line that tells the bound address.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let address = self.endpoint();
        let address = address.trim_start_matches("tcp://");
        let address = address.trim_start_matches("udp://");
        address.parse().unwrap_or_else(|e| panic!("{address}: {e}"))
    }

    /// Waits for the line that tells the bound address, as it is written.
    pub(crate) fn endpoint(&mut self) -> String {
        let line = self.line_with("listening on ");
        let address = line
            .rsplit("listening on ")
            .next()
            .expect("it was just found");
        address.to_owned()
    }

    /// Waits for the next line, whose last word is the bound address.
    pub(crate) fn address_in_line(&mut self) -> SocketAddr {
        let line = self.line();
        let word = line.rsplit(' ').next().unwrap_or_default();
        word.parse().unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    /// Closes the reading end of its standard output.
    pub(crate) fn stop_reading(&mut self) {
        self.stdout = None;
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("process numbers are small");
        let id = rustix::process::Pid::from_raw(id).expect("a child's number is not zero");
        rustix::process::kill_process(id, signal).expect("the child was not waited for yet");
    }

    /// Waits for its end; a hang fails the test.
    pub(crate) fn finish(mut self) -> Run {
        let mut stdout = std::mem::take(&mut self.seen);
        let watch = Watch::over(self.child.id());
        for line in self.stdout.take().into_iter().flatten() {
            stdout.push_str(&line);
        }
        let stderr = self.stderr.take().map(|t| t.join().expect("it only reads"));
        let status = self.child.wait().expect("it is our child");
        watch.end();
        use std::os::unix::process::ExitStatusExt;
        let code = status
            .code()
            .or_else(|| status.signal().map(|s| 128 + s))
            .expect("it has ended");
        Run {
            code,
            signal: status.signal(),
            stdout,
            stderr: stderr.unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a process that outlives [`PATIENCE`].
struct Watch(mpsc::Sender<()>);

impl Watch {
    fn over(id: u32) -> Self {
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let pid = i32::try_from(id)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                let _ =
                    pid.map(|p| rustix::process::kill_process(p, rustix::process::Signal::KILL));
            }
        });
        Self(end)
    }

    fn end(self) {
        let _ = self.0.send(());
    }
}

fn lines_of(pipe: ChildStdout) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            if send
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break; // nobody reads: closes the pipe
            }
            line.clear();
        }
    });
    receive
}

impl Run {
    /// Asserts that it failed with `code` and one line `error: …` that holds `parts`.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let errors: Vec<_> = self.stderr.lines().collect();
        assert!(
            errors.len() == 1 && errors[0].starts_with("error: "),
            "{self:?}"
        );
        for part in parts {
            assert!(errors[0].contains(part), "{part:?} is not in {self:?}");
        }
    }

    /// Asserts that it succeeded without a word on standard error.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        &self.stdout
    }
}

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenloop-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The names in it, sorted; without the journal of downloads.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it is ours").flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| name != ".greenloop.journal")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
