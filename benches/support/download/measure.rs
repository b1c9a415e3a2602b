//! One run of a client: time, CPU and peak memory of that process alone.
//!
//! This binary starts itself again as a runner, which starts the client and waits for it:
//! the runner has one child, so that what the kernel counts for its children is that
//! child's, peak memory included. The runner is small, which matters: until it executes
//! the client, the child's memory is the runner's.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Pid, Signal, kill_process};

/// The role of the runner.
pub(crate) const RUNNER: &str = "runner";

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// CPU seconds, user and system.
    pub(crate) cpu: f64,
    /// Peak resident memory in MiB.
    pub(crate) mib: f64,
    /// Seconds until the first file was there under its final name.
    pub(crate) first: f64,
}

/// Runs `client` to its end; `Err` if it fails. `into` is the folder that it fills.
pub(crate) fn measure(client: &Command, into: &Path) -> Result<Cost, String> {
    let output = Command::new(std::env::current_exe().expect("it runs"))
        .env(super::super::support::ROLE, RUNNER)
        .arg(into)
        .arg(client.get_program())
        .args(client.get_args())
        .stdin(Stdio::null())
        .output()
        .expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let numbers: Vec<f64> = last.split(' ').filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [seconds, cpu, mib, first] if output.status.success() => Ok(Cost {
            seconds,
            cpu,
            mib,
            first,
        }),
        _ => Err(format!(
            "{last} {}",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or_default()
        )),
    }
}

/// The runner: `FOLDER PROGRAM ARGUMENTS…`.
pub(crate) fn run() {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().expect("the bench gives it");
    let mut command = Command::new(args.next().expect("the bench gives it"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().expect("the bench has looked for it");
    let pid = Pid::from_child(&child);
    let (ended, watcher) = watch(folder.into(), start, pid);
    let status = child.wait().expect("it is ours");
    let seconds = start.elapsed().as_secs_f64();
    drop(ended);
    let first = watcher.join().expect("it does not panic");
    if !status.success() {
        println!("{status}");
        std::process::exit(1);
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it cannot fail");
    let cpu = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    println!(
        "{seconds} {} {} {}",
        cpu[0] + cpu[1],
        usage.max_rss() as f64 / 1024.0,
        first.unwrap_or(seconds),
    );
}

/// Sees when the first file is there, and ends a client that hangs.
fn watch(
    folder: std::path::PathBuf,
    start: Instant,
    pid: Pid,
) -> (Sender<()>, JoinHandle<Option<f64>>) {
    let (ended, end) = channel::<()>();
    let watcher = thread::spawn(move || {
        let mut first = None;
        loop {
            let pause = if first.is_none() { LOOK_EVERY } else { LIMIT };
            match end.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return first,
            }
            if first.is_none() && has_file(&folder) {
                first = Some(start.elapsed().as_secs_f64());
            }
            if start.elapsed() > LIMIT {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    });
    (ended, watcher)
}

/// Whether there is a file that is not on its way any more.
fn has_file(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.any(|name| {
        let name = name.as_str();
        !name.starts_with('.')
            && ![".part", ".json", ".aria2"]
                .iter()
                .any(|s| name.ends_with(s))
    })
}

/// Short beside the tenth of a second that is allowed, and cheap in an empty folder.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Twenty times what the slowest row takes a peer here.
const LIMIT: Duration = Duration::from_secs(400);
