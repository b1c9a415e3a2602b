//! Child processes of a bench: servers in a process of their own, so that their CPU time
//! can be told from the load's.

#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod sleepers;
pub(crate) mod table;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A server in a child process; it is killed at the end.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `command`, which prints its address at the end of its first line.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's program was built");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout
            .read_line(&mut line)
            .expect("the server says where it listens");
        // Read on, so that the server's later lines find a reader.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        let address = line
            .split_whitespace()
            .last()
            .and_then(|word| word.parse().ok());
        Self {
            child,
            address: address.unwrap_or_else(|| panic!("no address in {line:?}")),
        }
    }

    /// Starts this bench's binary again in another role.
    pub(crate) fn role(name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.env(ROLE, name);
        Self::start(command)
    }

    /// CPU seconds that the server has used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let ticks = stat_fields(&format!("/proc/{}/stat", self.child.id()), &[UTIME, STIME]);
        ticks as f64 / TICKS_PER_SECOND
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The role this process was started in; `None` for the bench itself.
pub(crate) fn my_role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Waits until the bench is gone: its end closes this process's standard input.
pub(crate) fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// CPU seconds of the children that have ended and were waited for.
pub(crate) fn children_cpu_seconds() -> f64 {
    stat_fields("/proc/self/stat", &[CUTIME, CSTIME]) as f64 / TICKS_PER_SECOND
}

pub(crate) fn is_quick() -> bool {
    std::env::args().any(|arg| arg == "--quick")
}

/// Tells whether a peer is installed, loudly if not.
pub(crate) fn has(peer: &str) -> bool {
    let mut command = Command::new(peer);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let found = command.status().is_ok();
    if !found {
        println!("SKIPPED: {peer} is not installed");
    }
    found
}

/// The median, for runs that a shared machine disturbs.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Adds up fields of a `stat` file, numbered as in proc(5).
fn stat_fields(path: &str, fields: &[usize]) -> u64 {
    let text = fs::read_to_string(path).expect("the process lives");
    // The second field is a name in parentheses, which may hold anything.
    let after_name = text
        .rsplit(')')
        .next()
        .expect("rsplit gives at least one part");
    let words: Vec<_> = after_name.split_whitespace().collect();
    fields
        .iter()
        .map(|field| words[field - 3].parse::<u64>().expect("a number"))
        .sum()
}

pub(crate) const ROLE: &str = "GREENLOOP_BENCH_ROLE";
const UTIME: usize = 14;
const STIME: usize = 15;
const CUTIME: usize = 16;
const CSTIME: usize = 17;
/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
