//! `greenloop tour`: everything on loopback, each part checked and shown in one line.

use super::units::{show_bytes, show_count, show_duration};
use super::{Failure, Outcome, out};
use crate::apps::echo::Echo;
use crate::apps::load::Load;
use crate::error::{Error, Result};
use crate::fetch::Downloader;
use crate::http::minihttp::Origin;
use crate::server::StreamServer;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A name and what finds its figures.
type Part = (&'static str, fn() -> Result<String>);

/// Runs every part; succeeds only if all checks held.
pub(crate) fn run() -> Outcome {
    super::start_runtime(None)?;
    let begun = Instant::now();
    let parts: [Part; 6] = [
        ("demo yield", || {
            demo(&["yield"], &alternating("----B---", "----A---"))
        }),
        ("demo greenlet", || {
            demo(&["greenlet"], &alternating("---A--", "---B--"))
        }),
        ("demo gevent", || demo(&["gevent"], &one_after_the_other())),
        ("demo gevent --sleep", || {
            demo(&["gevent", "--sleep"], &in_turns())
        }),
        ("echo server", echo),
        ("download", download),
    ];
    let mut failed = 0;
    for (name, part) in parts {
        match part() {
            Ok(figures) => out::line(format_args!("{name:<20} {figures}"))?,
            Err(error) => {
                failed += 1;
                out::line(format_args!("{name:<20} FAILED: {error}"))?;
            }
        }
    }
    if failed > 0 {
        return Err(Failure::failed(format_args!(
            "{failed} of {} parts failed",
            parts.len()
        )));
    }
    let took = show_duration(begun.elapsed());
    out::line(format_args!("all {} parts held in {took}", parts.len()))
}

/// Runs a demo as its own process, with the one worker that it needs, and compares its
/// output.
fn demo(args: &[&str], expected: &str) -> Result<String> {
    let program = std::env::current_exe()?;
    let begun = Instant::now();
    let output = Command::new(program)
        .arg("demo")
        .args(args)
        .args(["--delay", DEMO_DELAY])
        .stdin(Stdio::null())
        .output()?;
    let took = show_duration(begun.elapsed());
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || told != expected {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Error::message(format!(
            "{} {:?} {errors:?}",
            output.status, told
        )));
    }
    Ok(format!(
        "{} lines, in the order expected, {took}",
        told.lines().count()
    ))
}

fn alternating(first: &str, second: &str) -> String {
    format!("{first}\n{second}\n").repeat(ROUNDS)
}

fn one_after_the_other() -> String {
    gevent_lines((1..=3).flat_map(|f| (0..ROUNDS).map(move |i| (f, i))))
}

fn in_turns() -> String {
    gevent_lines((0..ROUNDS).flat_map(|i| (1..=3).map(move |f| (f, i))))
}

fn gevent_lines(order: impl Iterator<Item = (usize, usize)>) -> String {
    order.fold(String::new(), |mut text, (f, i)| {
        let _ = writeln!(text, "<Greenlet f-{f}: f({ROUNDS})> {i}");
        text
    })
}

/// An echo server under load for two seconds; every byte is compared, then it drains.
fn echo() -> Result<String> {
    crate::run(|| {
        let server = StreamServer::bind("127.0.0.1:0")?.start(Echo::new())?;
        let load = Load {
            address: server.addr().into(),
            connections: ECHO_CONNECTIONS,
            message_bytes: ECHO_MESSAGE_BYTES,
            duration: Duration::from_secs(2),
            limit: Some(Duration::from_secs(5)),
        };
        let measured = load.run()?;
        let report = server.drain(Duration::from_secs(2))?;
        let whole = report.bytes_read == measured.bytes && report.bytes_written == measured.bytes;
        let all_ended = report.finished == measured.connected && report.is_clean();
        if !measured.errors.is_empty() || measured.messages == 0 || !whole || !all_ended {
            let errors = &measured.errors;
            return Err(Error::message(format!("{errors:?}, {report:?}")));
        }
        Ok(format!(
            "{} messages/s over {} connections, p50 {}, p99 {}, every byte equal, drained",
            show_count(measured.rate() as u64),
            measured.connected,
            show_duration(measured.percentile(50.0)),
            show_duration(measured.percentile(99.0)),
        ))
    })
}

/// 200 files from a local origin into a temporary folder; every byte is compared.
fn download() -> Result<String> {
    let folder = Folder::new()?;
    let origin = (0..FILES).fold(Origin::new(), |o, n| {
        o.file(format!("/f{n}.bin"), content(n))
    });
    let address = crate::run(|| origin.start())?;
    let urls: Vec<String> = (0..FILES)
        .map(|n| format!("http://{address}/f{n}.bin"))
        .collect();
    let report = Downloader::new()
        .dir(&folder.0)
        .jobs(32)
        .run(urls.iter().map(String::as_str))?;
    if !report.is_success() || report.saved != FILES as u64 {
        let first = report.outcomes.iter().find_map(|o| o.failure());
        return Err(Error::message(format!(
            "{} failed, first: {first:?}",
            report.failed
        )));
    }
    check_files(&folder.0)?;
    Ok(format!(
        "{} files, {} in {} ({} files/s), every byte equal",
        report.saved,
        show_bytes(report.received),
        show_duration(report.elapsed),
        show_count((report.saved as f64 / report.elapsed.as_secs_f64()) as u64),
    ))
}

/// Exactly the files that were asked for, each with its content.
fn check_files(folder: &Path) -> Result<()> {
    let found = fs::read_dir(folder)?.count();
    if found != FILES {
        return Err(Error::message(format!(
            "{found} files in the folder instead of {FILES}"
        )));
    }
    for n in 0..FILES {
        if fs::read(folder.join(format!("f{n}.bin")))? != content(n) {
            return Err(Error::message(format!(
                "f{n}.bin differs from what was served"
            )));
        }
    }
    Ok(())
}

/// Files of 0 to 64 KiB, no two with the same beginning.
fn content(n: usize) -> Vec<u8> {
    let bytes = (n * 331) % (64 * 1024 + 1);
    (0..bytes)
        .map(|i| (i.wrapping_mul(31) ^ n.wrapping_mul(167) ^ (i >> 8)) as u8)
        .collect()
}

/// A temporary folder of this process, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("greenloop-tour-{}", std::process::id()));
        let made = fs::create_dir(&path);
        made.map_err(|e| Error::from(e).context(format!("making the folder {}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The demos' default.
const ROUNDS: usize = 5;
/// Long enough that a busy machine keeps the order, short enough for a tour.
const DEMO_DELAY: &str = "50ms";
const ECHO_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
const ECHO_MESSAGE_BYTES: usize = 64;
const FILES: usize = 200;
