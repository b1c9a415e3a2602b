//! gevent's `test___monitor.py` and the monitoring part of `test__hub.py`: the watchdog,
//! its hooks, the thresholds. The deadlock report is in `tests/standstill.rs`.
//!
//! Each runs in a child process of its own, as the watchdog's settings are the process's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenloop::hooks::{self, Crossing, Measure};
use greenloop::{Builder, Config, sleep, spawn};

use crate::support::{child_var, eventually, on_workers, run_child, run_children, test_name};

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(20);

/// Blocks the worker's thread until `gate` opens.
fn block(gate: &AtomicBool) {
    let start = Instant::now();
    while !gate.load(Ordering::Relaxed) && start.elapsed() < SOON {
        std::thread::sleep(MS);
    }
}

/// Runs the calling test in a child for each number of workers; in the child, starts the
/// runtime as `config` says and returns true.
macro_rules! in_children {
    ($config:expr) => {
        in_children!([1, 2, 4], $config)
    };
    ([$($count:expr),+], $config:expr) => {
        match child_var("GREENLOOP_TEST_MONITOR") {
            Some(count) => {
                let config: Config = $config;
                config.workers(count.parse().unwrap()).start().unwrap();
            }
            None => {
                // Most of what they do is wait for the watchdog.
                run_children(test_name!(), "GREENLOOP_TEST_MONITOR", &[$($count),+]);
                return;
            }
        }
    };
}

// A84
#[test]
fn test_blocking_greenlet() {
    // To find the names of a backtrace takes a second; `test_blocking_this_thread` has them.
    in_children!(Config::new().stall_backtrace(false));
    let (tell, told) = mpsc::channel();
    let guard = hooks::on_blocked(move |blocked| tell.send(blocked.clone()).unwrap());
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let greenlet = Builder::new().name("rude").spawn(move || block(&opened));
    let event = told.recv_timeout(SOON).unwrap();
    assert_eq!(event.name.as_deref(), Some("rude"));
    assert_eq!(event.id, greenlet.id());
    assert!(event.blocked_for >= 100 * MS, "{event}");
    assert!(
        event
            .spawned_at
            .as_deref()
            .unwrap()
            .starts_with("tests/it/gevent/monitor.rs:")
    );
    let text = event.to_string();
    assert!(text.contains("greenlet \"rude\" (#"), "{text}");
    // Once for each stall, however long it lasts.
    assert!(told.recv_timeout(300 * MS).is_err());
    gate.store(true, Ordering::Relaxed);
    greenlet.join().unwrap();
    drop(guard);
}

// A84: gevent prints the stack of the greenlet; ours is that of the worker's thread.
#[test]
fn test_blocking_this_thread() {
    in_children!(Config::new());
    let (tell, told) = mpsc::channel();
    let guard = hooks::on_blocked(move |blocked| tell.send(blocked.clone()).unwrap());
    for spins in [false, true] {
        let gate = Arc::new(AtomicBool::new(false));
        let opened = gate.clone();
        let greenlet = spawn(move || {
            if spins {
                while !opened.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            } else {
                block(&opened);
            }
        });
        let event = told.recv_timeout(SOON).unwrap();
        gate.store(true, Ordering::Relaxed);
        greenlet.join().unwrap();
        if cfg!(all(target_env = "gnu", target_arch = "x86_64")) {
            let backtrace = event.backtrace.unwrap().to_string();
            assert!(
                backtrace.contains("test_blocking_this_thread"),
                "{backtrace}"
            );
            // A loop of one instruction may have no line of its own.
            assert!(spins || backtrace.contains("monitor.rs:"), "{backtrace}");
            assert!(!backtrace.contains("on_signal"), "{backtrace}");
        }
    }
    drop(guard);
}

// A84
#[test]
fn test_config_off_and_without_backtrace() {
    in_children!([1], Config::new().stall_backtrace(false));
    let (tell, told) = mpsc::channel();
    let _guard = hooks::on_blocked(move |blocked| tell.send(blocked.clone()).unwrap());
    let gate = Arc::new(AtomicBool::new(false));
    let opened = gate.clone();
    let greenlet = spawn(move || block(&opened));
    assert_eq!(told.recv_timeout(SOON).unwrap().backtrace, None);
    gate.store(true, Ordering::Relaxed);
    greenlet.join().unwrap();
}

// A84: idle workers, busy ones that switch, and lane threads are no stalls.
#[test]
fn test_blocking_no_events() {
    // Ten times the default, so that a busy machine proves nothing by accident.
    in_children!(Config::new().max_blocking(1000 * MS));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let guard = hooks::on_blocked(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let busy = {
        let stop = stop.clone();
        spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                greenloop::yield_now().unwrap();
            }
        })
    };
    let lane = spawn(|| greenloop::blocking(|| std::thread::sleep(1500 * MS)));
    lane.join().unwrap().unwrap();
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    std::thread::sleep(1200 * MS);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    drop(guard);
}

// A worker whose process is stopped does not block.
#[test]
fn a_stopped_process_has_no_stalls() {
    in_children!([2], Config::new().max_blocking(1000 * MS));
    let (tell, told) = mpsc::channel();
    let _guard = hooks::on_blocked(move |blocked| tell.send(blocked.to_string()).unwrap());
    let pid = std::process::id();
    let script = format!("sleep 0.2; kill -STOP {pid}; sleep 2.5; kill -CONT {pid}");
    let mut shell = std::process::Command::new("bash")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    let start = Instant::now();
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let greenlet = spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            // Most of the time in a call that blocks the worker, as when it is stopped.
            std::thread::sleep(50 * MS);
            greenloop::yield_now().unwrap();
        }
    });
    assert!(shell.wait().unwrap().success());
    assert!(start.elapsed() > 2500 * MS, "it was stopped");
    ended.store(true, Ordering::Relaxed);
    greenlet.join().unwrap();
    assert_eq!(told.try_recv().ok(), None);
}

/// How often the watchdog's thread went to sleep.
fn watchdog_switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    for task in tasks {
        let path = task.unwrap().path();
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").starts_with("greenloop-watch") {
            let status = read("status");
            let line = status
                .lines()
                .find(|l| l.starts_with("voluntary_ctxt_switches"));
            return line
                .unwrap()
                .split_whitespace()
                .last()
                .unwrap()
                .parse()
                .unwrap();
        }
    }
    panic!("no watchdog");
}

#[test]
fn watchdog_rests_when_nothing_runs() {
    in_children!([2], Config::new());
    spawn(|| ()).join().unwrap();
    // The last look is the one for a deadlock; in this process it is never certain, as the
    // test's own thread is about something else, so looks come ever more rarely.
    std::thread::sleep(2500 * MS);
    let before = watchdog_switches();
    std::thread::sleep(1500 * MS);
    let switches = watchdog_switches() - before;
    assert!(switches <= 3, "{switches} in 1.5 s");
}

// gevent: test_add_monitoring_function
#[test]
fn test_add_monitoring_function() {
    // A84: a custom check runs.
    in_children!([1], Config::new());
    let (tell, told) = mpsc::channel();
    let start = Instant::now();
    let guard = hooks::every(30 * MS, move || {
        let waited = sleep(MS);
        let _ = tell.send(waited.is_err());
    });
    for n in 1..=3 {
        assert!(told.recv_timeout(SOON).unwrap(), "a hook must not wait");
        assert!(start.elapsed() >= n * 30 * MS);
    }
    drop(guard);
    // One call may be on its way.
    while told.recv_timeout(SOON).is_ok() {}
}

// gevent: TestPeriodicMonitoringThread.test_max_memory_usage; A84
#[test]
fn test_max_memory_usage() {
    let now = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    const MIB: u64 = 1 << 20;
    let threshold = now() + 64 * MIB;
    in_children!(
        [1],
        Config::new()
            .memory_threshold(threshold)
            .memory_period(20 * MS)
    );
    let (tell, told) = mpsc::channel();
    let _guard = hooks::on_memory(move |event| tell.send(*event).unwrap());
    assert!(told.recv_timeout(200 * MS).is_err(), "it is under");
    // An optimiser may leave out memory that nobody looks at.
    let mib = |count: usize| std::hint::black_box(vec![1_u8; count << 20]);
    let more = mib(128);
    let event = told.recv_timeout(SOON).unwrap();
    assert_eq!(
        (event.measure, event.crossing),
        (Measure::ResidentBytes, Crossing::Exceeded)
    );
    assert!(event.value > threshold && event.threshold == threshold);
    // The memory came bit by bit, so there may have been some steps.
    while told.recv_timeout(300 * MS).is_ok() {}
    let still_more = mib(64);
    assert_eq!(
        told.recv_timeout(SOON).unwrap().crossing,
        Crossing::Exceeded
    );
    while told.recv_timeout(300 * MS).is_ok() {}
    drop((more, still_more));
    assert_eq!(
        told.recv_timeout(SOON).unwrap().crossing,
        Crossing::BackUnder
    );
    assert!(told.recv_timeout(300 * MS).is_err());
}

#[test]
fn greenlets_have_a_threshold_too() {
    in_children!(
        [1],
        Config::new().greenlets_threshold(10).memory_period(20 * MS)
    );
    let (tell, told) = mpsc::channel();
    let _guard = hooks::on_memory(move |event| tell.send(*event).unwrap());
    let all: Vec<_> = (0..20).map(|_| spawn(|| sleep(Duration::MAX))).collect();
    let event = told.recv_timeout(SOON).unwrap();
    assert_eq!(
        (event.measure, event.crossing),
        (Measure::Greenlets, Crossing::Exceeded)
    );
    while told.recv_timeout(300 * MS).is_ok() {}
    all.iter().for_each(|greenlet| greenlet.kill());
    let event = told.recv_timeout(SOON).unwrap();
    assert_eq!((event.crossing, event.threshold), (Crossing::BackUnder, 10));
}

// Hooks

// gevent: test__greenlet test_add_spawn_callback
#[test]
fn test_add_spawn_callback() {
    on_workers!({
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let log = log.clone();
            move |greenlet: &greenloop::Handle| {
                log.lock()
                    .unwrap()
                    .push((what, greenlet.name().map(str::to_owned)));
            }
        };
        let (first, second) = (
            hooks::on_spawn(note("first")),
            hooks::on_spawn(note("second")),
        );
        let note_exit = note("exit");
        let exit = hooks::on_exit(move |greenlet, exit| {
            assert_eq!(*exit, greenloop::Exit::Returned);
            note_exit(greenlet);
        });
        let run = |name: &str| Builder::new().name(name).spawn(|| ()).join().unwrap();
        run("a");
        drop(first);
        run("b");
        drop((second, exit));
        run("c");
        let expected = [
            ("first", "a"),
            ("second", "a"),
            ("exit", "a"),
            ("second", "b"),
            ("exit", "b"),
        ];
        let expected = expected.map(|(what, name)| (what, Some(name.to_owned())));
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

// gevent: test_tracing: an exception in the trace function disables tracing.
#[test]
fn a_panicking_hook_is_removed_and_the_others_stay() {
    on_workers!({
        let (bad, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (bad_count, good_count) = (bad.clone(), good.clone());
        let _bad = hooks::on_spawn(move |_| {
            bad_count.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose");
        });
        let _good = hooks::on_spawn(move |_| {
            good_count.fetch_add(1, Ordering::Relaxed);
        });
        for n in 1..=3 {
            assert_eq!(spawn(move || n).join().unwrap(), n);
        }
        assert_eq!(bad.load(Ordering::Relaxed), 1);
        assert_eq!(good.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_hook_must_not_wait_and_runs_no_hooks() {
    on_workers!({
        let (tell, told) = mpsc::channel();
        let guard = hooks::on_spawn(move |greenlet| {
            let waited = sleep(MS).map_err(|error| error.to_string());
            // Would go on for ever if it were told of as well.
            let inner = Builder::new().name("inner").spawn(|| ());
            let _ = tell.send((greenlet.id(), waited, inner.name().is_some()));
        });
        let greenlet = spawn(|| sleep(MS));
        let id = greenlet.id();
        greenlet.join().unwrap().unwrap();
        let seen = told.recv().unwrap();
        assert_eq!(seen, (id, Err("a hook must not wait".to_owned()), true));
        drop(guard);
        assert!(told.recv().is_err(), "one call only");
    });
}

// gevent: test__hub TestHandleError; 5: once
#[test]
fn unhandled_failures_are_told_once() {
    on_workers!({
        let (tell, told) = mpsc::channel();
        let guard = hooks::on_unhandled(move |failure| {
            tell.send(failure.clone()).unwrap();
        });
        let next = || told.recv_timeout(SOON).unwrap().message;
        // Dropped before, during and after its end.
        drop(spawn(|| panic!("before")));
        assert_eq!(next(), "before");
        let ended = spawn(|| panic!("after"));
        ended.wait().unwrap();
        drop(ended);
        assert_eq!(next(), "after");
        let twice = spawn(|| panic!("handles do not count"));
        let handle = twice.handle();
        drop(twice);
        assert_eq!(next(), "handles do not count");
        drop(handle);
        // Told already.
        assert!(spawn(|| panic!("joined")).join().unwrap_err().is_panic());
        let asked = spawn(|| panic!("asked"));
        asked.wait().unwrap();
        assert_eq!(
            asked.exit(),
            Some(greenloop::Exit::Panicked("asked".into()))
        );
        drop(asked);
        let scoped = std::panic::catch_unwind(|| {
            greenloop::sync::scope(|scope| {
                scope.spawn(|| panic!("scoped"));
            })
        });
        assert!(scoped.is_err(), "the scope tells");
        let caught = spawn(|| std::panic::catch_unwind(|| panic!("caught")).is_err());
        assert!(caught.join().unwrap());
        spawn(|| ()).join().unwrap();
        drop(guard);
        assert!(told.recv_timeout(SOON).is_err());
    });
}

#[test]
fn a_panic_is_printed_once_with_its_spawn_chain() {
    if child_var("GREENLOOP_TEST_CHAIN").is_some() {
        let parent = Builder::new().name("parent").spawn(|| {
            let child = Builder::new().name("child").spawn(|| {
                drop(Builder::new().name("bad").spawn(|| panic!("on purpose")));
            });
            child.wait().unwrap();
        });
        parent.join().unwrap();
        eventually("it ends", || greenloop::greenlets().is_empty());
        return;
    }
    let text = run_child(test_name!(), &[("GREENLOOP_TEST_CHAIN", "1")]).text;
    assert_eq!(text.matches("on purpose").count(), 1, "{text}");
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let starts = [
        "greenlet \"bad\" (#",
        "  by \"child\" (#",
        "  by \"parent\" (#",
        "  by thread ",
        "thread ",
        "on purpose",
    ];
    let first = lines.iter().position(|line| line.starts_with(starts[0]));
    for (line, start) in lines[first.unwrap()..].iter().zip(starts) {
        assert!(line.starts_with(start), "no {start} in {text}");
    }
}
