//! `greenloop tour` holds.

use crate::support::greenloop;
use std::time::{Duration, Instant};

#[test]
fn tour_holds_and_tells_figures() {
    let begun = Instant::now();
    let run = greenloop(["tour"]).run();
    let told = run.succeeds();
    assert!(begun.elapsed() < Duration::from_secs(20), "{run:?}");
    for part in [
        "demo yield",
        "demo gevent --sleep",
        "echo server",
        "200 files",
        "all 6 parts",
    ] {
        assert!(told.contains(part), "{part} {run:?}");
    }
}
