//! `greenloop get` and signals: what it leaves behind, and how it ends.

use crate::origin::Origin;
use crate::support::{self, Folder, Running, greenloop, peer_program};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// Waits until part of the stalled file is on disk.
fn wait_for_part(origin: &Origin, folder: &Folder) {
    let stalled = origin.stalled.recv_timeout(support::PATIENCE);
    stalled.expect("the origin stalls");
    let part = folder.path().join("stall-400000.part");
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) == 0 {
        assert!(start.elapsed() < support::PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn stalled(origin: &Origin, folder: &Folder) -> Running {
    let get = greenloop(["get", &origin.url("stall-400000")]);
    let get = get.folder(folder.path()).start();
    wait_for_part(origin, folder);
    get
}

#[test]
fn every_ending_signal_drains_and_then_ends_the_process_itself() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        let (origin, folder) = (Origin::start(), Folder::new());
        let get = stalled(&origin, &folder);
        get.signal(signal);
        let run = get.finish();
        assert_eq!(run.signal, Some(number), "{run:?}");
        assert!(run.stderr.contains("partial files are kept"), "{run:?}");
        let names = folder.names();
        assert!(names.contains(&"stall-400000.part".to_owned()), "{names:?}");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let script = "trap '' HUP; exec \"$@\"";
    let url = origin.url("stall-400000");
    let program = env!("CARGO_BIN_EXE_greenloop");
    let get = peer_program("sh", ["-c", script, "sh", program, "get", &url]);
    let get = get.folder(folder.path()).start();
    wait_for_part(&origin, &folder);
    get.signal(Signal::HUP);
    get.signal(Signal::INT);
    let run = get.finish();
    assert_eq!(run.signal, Some(2), "{run:?}");
    // Had the first been heard, the second would have ended it without a word.
    assert!(run.stderr.contains("partial files are kept"), "{run:?}");
}
