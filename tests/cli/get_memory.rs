//! How much memory `greenloop get` takes at most, as the kernel counts it.

use crate::paced::{MIB, Paced, content};
use crate::support::{Folder, Running, greenloop};
use std::fs;
use std::io::{PipeWriter, Write};

/// A run that reads its list from a pipe and so ends when that does.
struct Measured {
    run: Running,
    list: PipeWriter,
}

impl Measured {
    fn start(folder: &Folder, options: &[&str]) -> Self {
        let (reader, list) = std::io::pipe().unwrap();
        let run = greenloop(["get", "-i", "-"])
            .args(options)
            .stdin(reader)
            .folder(folder.path())
            .start();
        Self { run, list }
    }

    /// Adds a list of `count` URLs and waits for the end of all of them: the process is
    /// still there then, and tells its largest size.
    fn peak_after(mut self, count: usize, mut url: impl FnMut(usize) -> String + Send) -> Peak {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A piece at a time: a write for each would be most of the work.
                for first in (0..count).step_by(100) {
                    let piece = (first..count.min(first + 100)).map(|n| url(n) + "\n");
                    let piece: String = piece.collect();
                    self.list.write_all(piece.as_bytes()).unwrap();
                }
            });
            for _ in 0..count {
                self.run.line();
            }
        });
        let status = fs::read_to_string(format!("/proc/{}/status", self.run.id())).unwrap();
        drop(self.list);
        let run = self.run.finish();
        assert_eq!(run.code, 0, "{}", run.stderr);
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        Peak {
            bytes: kib.parse::<u64>().unwrap() * 1024,
            told: run.stderr,
        }
    }
}

/// The largest size of a process, and what it said besides.
struct Peak {
    bytes: u64,
    told: String,
}

/// Without optimization stacks are several times as deep, and the program itself is large.
const IS_OPTIMIZED: bool = !cfg!(debug_assertions);

#[track_caller]
fn assert_below(peak: Peak, mib: u64) {
    println!("{:.1} MiB at most", peak.bytes as f64 / MIB as f64);
    let Peak { bytes, told } = peak;
    assert!(bytes < mib * MIB as u64, "{bytes} bytes were taken: {told}");
}

#[test]
fn many_small_files_at_once_take_little_memory() {
    const FILES: usize = 2000;
    // Those that wait for the disk take 16 MiB at most, which is not what is measured.
    let (origin, folder) = (Paced::start(content(2000, 1)), Folder::new());
    let run = Measured::start(&folder, &["-j", "64"]);
    let peak = run.peak_after(FILES, |n| origin.url(&format!("/f{n}")));
    assert_below(peak, if IS_OPTIMIZED { 40 } else { 128 });
}

#[test]
fn large_files_at_once_take_little_memory() {
    let origin = Paced::start(content(32 * MIB, 1));
    for options in [&["--no-save"][..], &["--no-sync"]] {
        let folder = Folder::new();
        let run = Measured::start(&folder, options);
        let peak = run.peak_after(8, |n| origin.url(&format!("/f{n}")));
        assert_below(peak, if IS_OPTIMIZED { 40 } else { 64 });
    }
}

/// Each is looked at and told of, and none is asked for: a file of its name is there.
#[test]
fn a_long_list_takes_little_memory() {
    const ENTRIES: usize = if IS_OPTIMIZED { 100_000 } else { 20_000 };
    let folder = Folder::new();
    fs::write(folder.path().join("f"), "there").unwrap();
    let run = Measured::start(&folder, &["--existing", "skip"]);
    let peak = run.peak_after(ENTRIES, |n| format!("http://127.0.0.1:9/{n}/f"));
    assert_below(peak, if IS_OPTIMIZED { 25 } else { 48 });
}
