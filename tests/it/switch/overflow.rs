//! Stack overflow, in a child process: this binary again.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use greenloop::switch::{Builder, Generator, Hub};

use super::count_to;

fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    if depth == 0 {
        0
    } else {
        recurse(depth - 1) + frame[5]
    }
}

/// Runs one test of this binary again, as a child; returns its last line on stderr and
/// the signal that ended it.
fn run_as_child(test: &str) -> (String, Option<i32>) {
    let output = Command::new(std::env::current_exe().expect("a running test has a binary"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the binary runs again");
    let stderr = String::from_utf8_lossy(&output.stderr);
    (
        stderr.lines().last().unwrap_or_default().to_owned(),
        output.status.signal(),
    )
}

const CHILD: &str = "GREENLOOP_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn overflow_of_a_generator_is_said() {
    if is_child() {
        let mut deep: Generator<u64, (), u64> = Builder::new()
            .stack_bytes(64 * 1024)
            .generator(|_, depth| recurse(depth));
        let _ = deep.send(u64::MAX);
    }
    let (line, signal) = run_as_child("switch::overflow::overflow_of_a_generator_is_said");
    let expected = "generator overflowed its 64 KiB stack; \
                    give it more with switch::Builder::stack_bytes";
    assert_eq!((line.as_str(), signal), (expected, Some(6)));
}

#[test]
fn overflow_of_a_greenlet_is_said_with_its_name() {
    if is_child() {
        Hub::new().run(|main| {
            let others: Vec<_> = (0..300).map(|_| main.spawn(|_, n| Ok(n))).collect();
            let builder = Builder::new().name("digger").stack_bytes(128 * 1024);
            let deep = builder.greenlet(main, |_, depth| Ok(recurse(depth)));
            let _ = deep.switch(main, u64::MAX);
            drop(others);
        });
    }
    let (line, signal) =
        run_as_child("switch::overflow::overflow_of_a_greenlet_is_said_with_its_name");
    let expected = "greenlet \"digger\" overflowed its 128 KiB stack; \
                    give it more with switch::Builder::stack_bytes";
    assert_eq!((line.as_str(), signal), (expected, Some(6)));
}

/// A thread's own overflow is none of our business: std's report comes through.
#[test]
fn overflow_of_a_thread_keeps_the_report_of_std() {
    if is_child() {
        count_to(1).next();
        std::hint::black_box(recurse(u64::MAX));
    }
    let (line, signal) =
        run_as_child("switch::overflow::overflow_of_a_thread_keeps_the_report_of_std");
    assert!(line.contains("stack overflow"), "{line}");
    assert_eq!(signal, Some(6)); // std aborts after its report; a bare fault would be 11
}
