//! Many small files at once: `greenloop get` beside `curl --parallel` and `aria2c`.
//!
//! `cargo bench --bench download` (`-- --quick` for a look that only proves that it runs).
//! 5,000 files of 4 KiB from one local origin (`may_minihttp`, a process of its own), 64 at
//! once, into a fresh folder each time; every file is compared afterwards. Rounds are
//! interleaved; the medians are printed. CPU is the client's, user and system.

#![expect(
    clippy::print_stdout,
    reason = "a bench prints, and measures other programs"
)]

mod support;

use greenloop::http::minihttp::Origin;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{Server, children_cpu_seconds, has, is_quick, median, my_role, wait_for_the_end};

const FILE_BYTES: usize = 4096;
const AT_ONCE: &str = "64";

fn main() {
    if my_role().is_some() {
        return serve();
    }
    let (rounds, count) = if is_quick() { (1, 200) } else { (5, 5000) };
    println!("download of {count} files of {FILE_BYTES} bytes, {AT_ONCE} at once, {rounds} rounds");
    let server = Server::role("origin");
    let work = Work::new(&server, count);
    let clients: Vec<_> = CLIENTS.iter().filter(|c| c.is_here()).collect();
    let mut times = vec![Vec::new(); clients.len()];
    let mut costs = times.clone();
    for round in 0..rounds {
        for turn in 0..clients.len() {
            let which = (round + turn) % clients.len();
            let (seconds, cpu) = clients[which].measure(&work);
            times[which].push(seconds);
            costs[which].push(cpu);
        }
    }
    let times: Vec<_> = times.into_iter().map(median).collect();
    let costs: Vec<_> = costs.into_iter().map(median).collect();
    for (which, client) in clients.iter().enumerate() {
        println!(
            "  {:<16} {:>6.3} s {:>6.2} s CPU   ours/{}: time {:.2}, CPU {:.2}",
            client.name,
            times[which],
            costs[which],
            client.name,
            times[0] / times[which],
            costs[0] / costs[which].max(f64::MIN_POSITIVE),
        );
    }
    fs::remove_dir_all(&work.folder).expect("it is ours");
}

/// A program that downloads a list.
struct Client {
    name: &'static str,
    command: fn(&Work, &Path) -> Command,
}

const CLIENTS: &[Client] = &[
    Client {
        name: OURS,
        command: greenloop,
    },
    Client {
        name: "curl",
        command: curl,
    },
    Client {
        name: "aria2c",
        command: aria2c,
    },
    Client {
        name: OURS_SYNCED,
        command: greenloop_synced,
    },
];

/// Like the others: without flushing files to the disk.
const OURS: &str = "greenloop";
/// As it is by default: each file is flushed before it gets its name.
const OURS_SYNCED: &str = "greenloop-synced";

fn greenloop_synced(work: &Work, into: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenloop"));
    command
        .args(["get", "-j", AT_ONCE, "--per-host", AT_ONCE, "-i"])
        .arg(&work.list);
    command.arg("-d").arg(into);
    command
}

fn greenloop(work: &Work, into: &Path) -> Command {
    let mut command = greenloop_synced(work, into);
    command.arg("--no-sync");
    command
}

fn curl(work: &Work, into: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--fail",
        "--parallel",
        "--parallel-max",
        AT_ONCE,
        "--config",
    ]);
    command.arg(&work.config).arg("--output-dir").arg(into);
    command
}

fn aria2c(work: &Work, into: &Path) -> Command {
    let mut command = Command::new("aria2c");
    command.args([
        "--quiet",
        "--no-conf",
        "--file-allocation=none",
        "-j",
        AT_ONCE,
        "-i",
    ]);
    command.arg(&work.list).arg("-d").arg(into);
    command
}

impl Client {
    fn is_here(&self) -> bool {
        self.name.starts_with(OURS) || has(self.name)
    }

    /// One round: seconds on the clock, and of the client's CPU.
    fn measure(&self, work: &Work) -> (f64, f64) {
        let into = work.folder.join(self.name);
        fs::create_dir(&into).expect("the last round's was removed");
        let mut command = (self.command)(work, &into);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (start, cpu) = (Instant::now(), children_cpu_seconds());
        let status = command.status().expect("it was found");
        let measured = (start.elapsed().as_secs_f64(), children_cpu_seconds() - cpu);
        assert!(status.success(), "{}: {status}", self.name);
        for n in 0..work.count {
            let got = fs::read(into.join(format!("f{n}"))).expect("the file arrived");
            assert!(got == content(n), "{}: f{n} differs", self.name);
        }
        fs::remove_dir_all(&into).expect("it is ours");
        measured
    }
}

/// What is downloaded, as each client wants to be told.
struct Work {
    folder: PathBuf,
    list: PathBuf,
    config: PathBuf,
    count: usize,
}

impl Work {
    fn new(server: &Server, count: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("greenloop-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let url = |n| format!("http://{}/f{n}", server.address);
        let list: String = (0..count).map(|n| url(n) + "\n").collect();
        let entry = |n| format!("url = \"{}\"\noutput = \"f{n}\"\n", url(n));
        let config: String = (0..count).map(entry).collect();
        let work = Self {
            list: folder.join("list"),
            config: folder.join("config"),
            folder,
            count,
        };
        fs::write(&work.list, list).expect("there is room");
        fs::write(&work.config, config).expect("there is room");
        work
    }
}

/// No two files are the same.
fn content(n: usize) -> Vec<u8> {
    (0..FILE_BYTES)
        .map(|i| (i.wrapping_mul(31) ^ n.wrapping_mul(167) ^ (n >> 5)) as u8)
        .collect()
}

fn serve() {
    let origin = (0..5000).fold(Origin::new(), |o, n| o.file(format!("/f{n}"), content(n)));
    println!(
        "listening on {}",
        origin.start().expect("loopback is there")
    );
    wait_for_the_end();
}
