//! `greenloop backlog` and `greenloop demo backlog`.

use crate::support::greenloop;
use rustix::process::Signal;
use std::time::{Duration, Instant};

#[test]
fn demo_backlog_shows_the_queue_and_the_retries() {
    let begun = Instant::now();
    let run = greenloop(["demo", "backlog"]).run();
    assert!(begun.elapsed() < Duration::from_secs(6), "{run:?}");
    let told = run.succeeds();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines[0],
        "a server with backlog 2 that accepts one connection every 400ms; 6 clients at once"
    );
    for (n, line) in (1..=6).zip(&lines[1..7]) {
        let begin = format!(
            "connection {n}: {}",
            if n < 4 { "at once (" } else { "after " }
        );
        assert!(line.starts_with(&begin), "{run:?}");
    }
    for part in [
        "3 of 6 connected at once.",
        "min(2, somaxconn ",
        ") + 1 = 3 that nobody has accepted yet.",
        "again after 1 s, ",
        " got in when it was sent again after 1 s.",
    ] {
        assert!(told.contains(part), "{part:?} {run:?}");
    }
    // How many of one moment get in together is the kernel's to decide.
    let counts = lines
        .iter()
        .filter_map(|line| line.split_once(" got in when"));
    let later: u32 = counts
        .filter_map(|(count, _)| count.parse::<u32>().ok())
        .sum();
    assert_eq!(later, 3, "{run:?}");
}

#[test]
fn probe_finds_out_the_backlog_of_a_server_that_does_not_accept() {
    let args = [
        "backlog",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--backlog",
        "3",
        "--every",
        "1h",
    ];
    let mut server = greenloop(args).start();
    let address = server.address().to_string();
    let args = [
        "backlog",
        "probe",
        &address,
        "-n",
        "6",
        "--timeout",
        "300ms",
    ];
    let run = greenloop(args).run();
    let told = run.succeeds();
    assert!(told.contains("connection 4: at once ("), "{run:?}");
    assert!(told.contains("connection 5: failed after 30"), "{run:?}");
    for part in [
        "4 of 6 connected at once.",
        "the backlog is 3.",
        "2 failed; the first: ",
    ] {
        assert!(told.contains(part), "{part:?} {run:?}");
    }
    server.signal(Signal::TERM);
    assert!(
        server
            .finish()
            .succeeds()
            .ends_with("accepted 0 connections\n")
    );
}

#[test]
fn slow_server_tells_whom_it_accepts() {
    let args = [
        "backlog",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--every",
        "20ms",
    ];
    let mut server = greenloop(args).start();
    let address = server.address().to_string();
    let run = greenloop(["backlog", "probe", &address, "-n", "2"]).run();
    assert!(
        run.succeeds().contains("2 of 2 connected at once."),
        "{run:?}"
    );
    for number in [1, 2] {
        let line = server.line();
        let begin = format!("accepted number {number}, from 127.0.0.1:");
        assert!(line.starts_with(&begin), "{line}");
    }
    server.signal(Signal::INT);
    assert!(
        server
            .finish()
            .succeeds()
            .ends_with("accepted 2 connections\n")
    );
}

#[test]
fn probe_without_a_server_fails() {
    let run = greenloop(["backlog", "probe", "127.0.0.1:1", "-n", "2"]).run();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("0 of 2 connected at once."), "{run:?}");
    assert!(run.stderr.contains("refused"), "{run:?}");
    let run = greenloop(["backlog", "probe", "udp://127.0.0.1:1"]).run();
    run.fails_with(2, &["udp://127.0.0.1:1"]);
}
