//! `test__signal.py`, `test__issues461_471.py`: handlers as greenlets.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::signal::{self, SIGHUP, SIGINT, SIGUSR1, SIGUSR2, Signals};
use greenloop::sync::{Event, Queue};
use greenloop::{Config, sleep, spawn, wait_any};
use signal_hook::low_level::raise;

use crate::support::{child_var, eventually, on_workers, test_name, wait_bounded};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);

#[test]
fn test_handler() {
    // A82: runs as a greenlet, may block, stays installed, stops after the guard drop.
    on_workers!({
        let seen = Queue::unbounded();
        let told = seen.clone();
        let guard = signal::on(&[SIGHUP, SIGUSR1], move |signal| {
            assert_eq!(
                greenloop::current().name(),
                Some(&*format!("signal {signal}"))
            );
            sleep(2 * MS).unwrap();
            told.put(signal).unwrap();
        })
        .unwrap();
        for signal in [SIGHUP, SIGUSR1, SIGHUP] {
            raise(signal).unwrap();
            assert_eq!(seen.get().unwrap(), signal);
        }
        // Another guard on the same signal: both run; the signal stays caught when the
        // first is dropped.
        let others = Queue::unbounded();
        let told = others.clone();
        let other = signal::on(&[SIGHUP], move |signal| told.put(signal).unwrap()).unwrap();
        raise(SIGHUP).unwrap();
        assert_eq!(others.get().unwrap(), SIGHUP);
        assert_eq!(seen.get().unwrap(), SIGHUP);
        drop(guard);
        raise(SIGHUP).unwrap();
        assert_eq!(others.get().unwrap(), SIGHUP);
        drop(other);
        assert_eq!(seen.try_get().unwrap(), None);
    });
}

#[test]
fn test_handler_that_fails() {
    // The failure is reported and the handler stays. gevent throws it into the main
    // greenlet; here nobody is interrupted.
    on_workers!({
        let count = Arc::new(AtomicUsize::new(0));
        let (own, done) = (count.clone(), Queue::unbounded());
        let told = done.clone();
        let _guard = signal::on(&[SIGUSR2], move |_| {
            let n = own.fetch_add(1, Ordering::SeqCst);
            told.put(n).unwrap();
            assert!(n > 0, "the first one fails");
        })
        .unwrap();
        for n in 0..3 {
            raise(SIGUSR2).unwrap();
            assert_eq!(done.get().unwrap(), n);
        }
    });
}

#[test]
fn test_handler_that_blocks() {
    // The next signal's handler runs beside one that blocks; with the guard gone, the
    // blocked one goes on but no other begins.
    on_workers!({
        let (go, entered) = (Event::new(), Queue::unbounded());
        let left = Queue::unbounded();
        let (gate, told, ended) = (go.clone(), entered.clone(), left.clone());
        let guard = signal::on(&[SIGUSR1], move |_| {
            told.put(()).unwrap();
            gate.wait().unwrap();
            ended.put(()).unwrap();
        })
        .unwrap();
        let signals = Signals::new(&[SIGUSR1]).unwrap();
        for _ in 0..2 {
            raise(SIGUSR1).unwrap();
            entered.get().unwrap();
            signals.wait().unwrap();
        }
        drop(guard);
        raise(SIGUSR1).unwrap();
        signals.wait().unwrap();
        go.set();
        left.get().unwrap();
        left.get().unwrap();
        assert_eq!(entered.try_get().unwrap(), None);
    });
}

#[test]
fn test_wait_for_several() {
    on_workers!({
        let both = Signals::new(&[SIGUSR1, SIGUSR2]).unwrap();
        assert_eq!(both.wait_timeout(5 * MS).unwrap(), None);
        raise(SIGUSR2).unwrap();
        assert_eq!(both.wait_timeout(LONG).unwrap(), Some(SIGUSR2));
        let never = Event::new();
        raise(SIGUSR1).unwrap();
        assert_eq!(wait_any(&[&never, &both]).unwrap(), 1);
        assert_eq!(both.try_wait(), Some(SIGUSR1));
        assert!(
            signal::on(&[9], |_| ()).is_err(),
            "SIGKILL cannot be caught"
        );
    });
}

const CTRL_C: &str = "GREENLOOP_TEST_CTRL_C";

/// Runs this test as a child that says when its greenlets sleep, sends it SIGINT, and gives
/// how it ended and what it said.
fn interrupt(test: &str, how: &str) -> (std::process::ExitStatus, String) {
    use std::io::{BufRead, BufReader, Read};
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CTRL_C, how)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("asleep") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = wait_bounded(&mut child, Duration::from_secs(30));
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (status, said)
}

#[expect(
    clippy::print_stdout,
    reason = "it tells its test when to interrupt it"
)]
fn all_sleep(how: &str) {
    let (workers, handled) = how.split_once(' ').unwrap();
    let config = Config::new().workers(workers.parse().unwrap());
    config.start().unwrap();
    let sleepers: Vec<_> = (0..10).map(|_| spawn(|| sleep(LONG))).collect();
    let handles: Vec<_> = sleepers.iter().map(|s| s.handle()).collect();
    let guard = (handled == "handled").then(|| {
        signal::on(&[SIGINT], move |_| {
            handles.iter().for_each(greenloop::Handle::kill);
        })
    });
    eventually("all sleep", || {
        let asleep = |g: &greenloop::Snapshot| format!("{g:?}").contains("sleep");
        greenloop::greenlets().iter().filter(|g| asleep(g)).count() == 10
    });
    println!("asleep");
    for sleeper in sleepers {
        assert!(sleeper.join().unwrap_err().is_killed());
    }
    drop(guard);
}

/// Whether this process came to life with the signal ignored, as a shell's `command &` does,
/// and its children do. Rust leaves that as it is.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored & (1 << (signal - 1)) != 0
}

#[test]
fn test_ctrl_c_while_all_sleep() {
    // A82, test__issues461_471: with nobody to handle it, it ends the process as it ends
    // every process; with a handler, the program ends as the handler says. Neither hangs
    // or panics.
    if let Some(how) = child_var(CTRL_C) {
        return all_sleep(&how);
    }
    for workers in [1, 2, 4] {
        if is_ignored(SIGINT) {
            println!("skipped: without a handler, as whoever started the tests ignores SIGINT");
        } else {
            let (status, said) = interrupt(test_name!(), &format!("{workers} unhandled"));
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(SIGINT), "{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
        let (status, said) = interrupt(test_name!(), &format!("{workers} handled"));
        assert!(status.success(), "{status} {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
