//! `greenloop get -s`: large files in segments.

use crate::origin::{Origin, content};
use crate::support::{Folder, greenloop};
use std::fs;

/// The whole answer stops halfway for ever; the second half comes by a request of its own.
#[test]
fn get_split_fetches_both_halves_at_once() {
    const BYTES: usize = 1_000_000;
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url(&format!("stall-{BYTES}"));
    let run = greenloop(["get", "-s", "2", "-k", "64K", &url])
        .folder(folder.path())
        .run();
    run.succeeds();
    let name = format!("stall-{BYTES}");
    assert_eq!(folder.names(), [name.as_str()]);
    assert!(fs::read(folder.path().join(name)).unwrap() == content(BYTES));
}

#[test]
fn get_split_of_nothing_is_a_usage_error() {
    for bad in [["-s", "0"], ["-x", "0"], ["-k", "much"]] {
        let run = greenloop(["get", bad[0], bad[1], "http://127.0.0.1:9/"]).run();
        assert_eq!(run.code, 2, "{run:?}");
    }
}
