//! `greenloop get` onto a disk that is full, a real one of a few MiB.

use crate::paced::{MIB, Paced, content};
use crate::support::{Folder, PATIENCE, greenloop};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A file system in memory, unmounted at the end.
struct Tiny(Folder);

impl Tiny {
    /// Mounts one; `None`, loudly, where that is not allowed.
    fn mount(bytes: usize) -> Option<Self> {
        let folder = Folder::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                println!("SKIPPED: a full disk, as no file system can be mounted");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn room(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves so many bytes of room; the file that takes the others is returned.
    fn fill(&self, room: u64) -> std::path::PathBuf {
        let ballast = self.path().join("ballast");
        let size = usize::try_from(self.room() - room).unwrap();
        fs::write(&ballast, vec![1; size]).unwrap();
        ballast
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// Case 72: it waits, and once there is room it goes on without having lost anything.
#[test]
fn a_full_disk_pauses_until_there_is_room() {
    let Some(tiny) = Tiny::mount(8 * MIB) else {
        return;
    };
    let ballast = tiny.fill(2 * MIB as u64);
    let origin = Paced::start(content(4 * MIB, 1));
    let url = origin.url("/f");
    let run = greenloop(["get", &url]).folder(tiny.path()).start();
    wait_until_it_waits(&tiny, &origin);
    assert!(!tiny.path().join("f").exists());
    fs::remove_file(ballast).unwrap();
    let run = run.finish();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("waiting for room"), "{run:?}");
    assert_holds_only(tiny.path(), "f", &origin.content);
}

/// Waits until there is no room, and nothing moves any more.
fn wait_until_it_waits(tiny: &Tiny, origin: &Paced) {
    let begun = Instant::now();
    let mut still = (Instant::now(), 0);
    while tiny.room() > 64 * 1024 || still.0.elapsed() < Duration::from_millis(500) {
        assert!(begun.elapsed() < PATIENCE, "it does not fill the disk");
        if still.1 != origin.sent() {
            still = (Instant::now(), origin.sent());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Case 72: it ends with a code of its own, and the same command goes on later.
#[test]
fn a_disk_that_stays_full_ends_the_run_and_keeps_what_came() {
    let Some(tiny) = Tiny::mount(8 * MIB) else {
        return;
    };
    let ballast = tiny.fill(2 * MIB as u64);
    let origin = Paced::start(content(4 * MIB, 2));
    let url = origin.url("/f");
    let get = || greenloop(["get", "--disk-full-wait", "0", &url]).folder(tiny.path());
    let run = get().run();
    assert_eq!(run.code, 9, "{run:?}");
    assert!(run.stderr.contains("no space"), "{run:?}");
    assert!(!tiny.path().join("f").exists());
    fs::remove_file(ballast).unwrap();
    let requests = origin.requests().len();
    let run = get().run();
    assert_eq!(run.code, 0, "{run:?}");
    let kept = origin.requests()[requests].start;
    assert!(kept >= MIB / 2, "only {kept} bytes were kept");
    assert_holds_only(tiny.path(), "f", &origin.content);
}

/// The last bytes that a file does not take are not taken for written: also where several
/// write to it, and the one that fails is the last.
#[test]
fn a_file_that_takes_no_more_is_not_taken_for_whole() {
    // Blocks of 512 bytes, or of 1024 where the shell is an old one.
    const BLOCKS: usize = 6 * 1024;
    for (segments, seed) in [("3", 4), ("1", 5)] {
        let folder = Folder::new();
        let origin = Paced::start(content(BLOCKS * 512 + 700, seed));
        let url = origin.url("/f");
        let limits = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$@\"");
        let args = ["get", "-s", segments, "-k", "256K", "--disk-full-wait", "0"];
        let run = Command::new("bash")
            .args([
                "--posix",
                "-c",
                &limits,
                "bash",
                env!("CARGO_BIN_EXE_greenloop"),
            ])
            .args(args)
            .arg(&url)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(!run.status.success(), "{run:?}");
        assert!(!folder.path().join("f").exists(), "{run:?}");
        // What came is gone on with.
        let requests = origin.requests().len();
        let run = greenloop(args).arg(&url).folder(folder.path()).run();
        assert_eq!(run.code, 0, "{run:?}");
        let kept = origin.requests()[requests].start;
        assert!(kept >= MIB, "only {kept} bytes were kept");
        assert_holds_only(folder.path(), "f", &origin.content);
    }
}

/// Case 72: of many small files none is half there, or empty.
#[test]
fn a_full_disk_leaves_no_half_file_of_many() {
    const SMALL: usize = 20_000;
    let Some(tiny) = Tiny::mount(2 * MIB) else {
        return;
    };
    let origin = Paced::start(content(SMALL, 3));
    let folder = Folder::new();
    let list: String = (0..200)
        .map(|n| origin.url(&format!("/f{n}")) + "\n")
        .collect();
    fs::write(folder.path().join("list"), list).unwrap();
    let options = [
        "get",
        "-j",
        "8",
        "--disk-full-wait",
        "0",
        "-i",
        "list",
        "-d",
    ];
    let run = greenloop(options)
        .arg(tiny.path())
        .folder(folder.path())
        .run();
    assert_eq!(run.code, 9, "{run:?}");
    let mut whole = 0;
    for entry in fs::read_dir(tiny.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('f') && !name.contains(".part") {
            let found = fs::read(entry.path()).unwrap();
            assert!(found == *origin.content, "{name} has {} bytes", found.len());
            whole += 1;
        }
    }
    assert!(whole > 20, "{whole} files fit into 2 MiB");
}

#[track_caller]
fn assert_holds_only(folder: &Path, name: &str, content: &[u8]) {
    let names = fs::read_dir(folder).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [name]);
    assert!(fs::read(folder.join(name)).unwrap() == content);
}
