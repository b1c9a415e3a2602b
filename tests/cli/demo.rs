//! `greenloop demo`: the order that each demo shows, and where its output goes.

use crate::support::greenloop;
use std::fs::OpenOptions;
use std::time::{Duration, Instant};

const YIELD: &str = "----B---\n----A---\n";
const GREENLET: &str = "---A--\n---B--\n";

fn gevent(order: &[(u32, u32)], rounds: u32) -> String {
    order
        .iter()
        .map(|(f, i)| format!("<Greenlet f-{f}: f({rounds})> {i}\n"))
        .collect()
}

#[test]
fn demo_yield_prints_b_then_a() {
    let run = greenloop(["demo", "yield", "--delay", "0"]).run();
    assert_eq!(run.succeeds(), YIELD.repeat(5));
    let run = greenloop(["demo", "yield", "--rounds", "2", "--delay", "1ms"]).run();
    assert_eq!(run.succeeds(), YIELD.repeat(2));
}

#[test]
fn demo_greenlet_switches_both_ways() {
    assert_eq!(
        greenloop(["demo", "greenlet"]).run().succeeds(),
        GREENLET.repeat(5)
    );
    let run = greenloop(["demo", "greenlet", "--rounds", "1", "--trace"]).run();
    let expected = "  [main -> test1: switch]\n---A--\n  [test1 -> test2: switch]\n---B--\n  \
                    [test2 -> test1: switch]\n  [test1 -> main: return]\n";
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_gevent_without_sleep_runs_one_after_the_other() {
    let order: Vec<_> = (1..=3).flat_map(|f| (0..5).map(move |i| (f, i))).collect();
    for _ in 0..20 {
        assert_eq!(
            greenloop(["demo", "gevent"]).run().succeeds(),
            gevent(&order, 5)
        );
    }
}

#[test]
fn demo_gevent_with_sleep_takes_turns_and_the_time_of_one() {
    let order: Vec<_> = (0..5).flat_map(|i| (1..=3).map(move |f| (f, i))).collect();
    let begun = Instant::now();
    let run = greenloop(["demo", "gevent", "--sleep", "--delay", "200ms"]).run();
    let took = begun.elapsed();
    assert_eq!(run.succeeds(), gevent(&order, 5));
    // Five pauses side by side take one second; one after the other they take three.
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_millis(2800),
        "{took:?}"
    );
}

#[test]
fn demo_gevent_trace_names_every_switch() {
    let run = greenloop(["demo", "gevent", "--rounds", "1", "--trace"]).run();
    let expected = "  [main -> f-1: join]\n<Greenlet f-1: f(1)> 0\n  [f-1 -> f-2: end]\n\
                    <Greenlet f-2: f(1)> 0\n  [f-2 -> f-3: end]\n<Greenlet f-3: f(1)> 0\n  \
                    [f-3 -> main: end]\n";
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_all_runs_the_four() {
    let run = greenloop(["demo", "all", "--rounds", "1", "--delay", "10ms"]).run();
    let three = gevent(&[(1, 0), (2, 0), (3, 0)], 1);
    let expected = format!(
        "yield: B drives A\n{YIELD}greenlet: test1 and test2 switch to each other\n{GREENLET}\
         gevent: no place to switch, one after the other\n{three}\
         gevent: with sleep, in turns\n{three}"
    );
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_with_a_closed_pipe_ends_quietly_like_by_sigpipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = greenloop(["demo", "all", "--delay", "0"])
        .stdout(writer)
        .run();
    assert_eq!((run.code, run.stderr.as_str()), (141, ""), "{run:?}");
}

#[test]
fn full_disk_under_standard_output_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = greenloop(["demo", "yield", "--delay", "0"])
        .stdout(full)
        .run();
    run.fails_with(1, &["writing to standard output", "no space left"]);
}

#[test]
fn demo_framing_shows_sticky_packets_and_how_they_come_apart() {
    let expected = r#"without a length: two sends, one read
  sent: "hello" (5 bytes)
  sent: "dear world" (10 bytes)
  read: "hellodear world" (15 bytes)
with a length: two sends, one read, two messages
  sent: 00 00 00 05 "hello" (9 bytes)
  sent: 00 00 00 0a "dear world" (14 bytes)
  read: 23 bytes
  message: "hello"
  message: "dear world"
with a length: reads of 10 bytes, two messages
  sent: 00 00 00 05 "hello" (9 bytes)
  sent: 00 00 00 0a "dear world" (14 bytes)
  read: 10 bytes
  message: "hello"
  read: 10 bytes
  read: 3 bytes
  message: "dear world"
a length over the limit of 1024 bytes
  read: ff ff ff ff
  refused: a frame of 4294967295 bytes, and at most 1024 may be
"#;
    for _ in 0..5 {
        let run = greenloop(["demo", "framing"]).run();
        assert_eq!(run.succeeds(), expected);
    }
}
