//! gevent's `test__greenlet.py`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{Builder, Exit, Handle, kill_all, shield, sleep, spawn, spawn_later, yield_now};

use crate::support::{eventually, on_workers};

const SHORT: Duration = Duration::from_millis(10);
const FOREVER: Duration = Duration::from_secs(600);

/// A list of what happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

// A01. With more workers a free one may begin at once.
#[test]
fn test_basic_child_runs_after_the_spawner_yields() {
    on_workers!([1], {
        greenloop::run(|| {
            let log = Log::default();
            let child = spawn({
                let log = log.clone();
                move || log.add("child")
            });
            log.add("spawner goes on");
            yield_now().unwrap();
            log.add("spawner again");
            child.join().unwrap();
            assert_eq!(log.all(), ["spawner goes on", "child", "spawner again"]);
        });
    });
}

// A02.
#[test]
fn test_simple_exit() {
    on_workers!([1], {
        greenloop::run(|| {
            let flags = |g: &Handle| (g.is_started(), g.is_ready(), g.is_ok());
            let paused = Builder::new().paused(|| 42).unwrap();
            let handle = Handle::clone(&paused);
            for _ in 0..3 {
                yield_now().unwrap();
                assert_eq!(flags(&handle), (false, false, false));
            }
            let greenlet = paused.start();
            assert_eq!(flags(&handle), (true, false, false));
            handle.wait().unwrap();
            assert_eq!(flags(&handle), (true, true, true));
            assert_eq!(greenlet.join().unwrap(), 42);
        });
    });
}

#[test]
fn test_error_exit() {
    on_workers!({
        let greenlet = spawn(|| -> u32 { panic!("expected") });
        greenlet.wait().unwrap();
        assert!(greenlet.is_ready() && !greenlet.is_ok());
        assert_eq!(greenlet.exit(), Some(Exit::Panicked("expected".into())));
        assert!(greenlet.join().unwrap_err().is_panic());
    });
}

// A04. Two, ten and a thousand, greenlets and OS threads; a later wait returns at once.
#[test]
fn test_many_wait_for_one() {
    on_workers!({
        for count in [2, 10, 1000] {
            let go = Event::new();
            let target = spawn({
                let go = go.clone();
                move || go.wait()
            });
            let waiters: Vec<_> = (0..count)
                .map(|_| {
                    let target = target.handle();
                    spawn(move || target.wait())
                })
                .collect();
            let thread = {
                let target = target.handle();
                std::thread::spawn(move || target.wait())
            };
            go.set();
            for waiter in waiters {
                waiter.join().unwrap().unwrap();
            }
            thread.join().unwrap().unwrap();
            target.wait().unwrap();
            assert!(target.is_ok());
        }
    });
}

// A05. The wait ends, the greenlet lives.
#[test]
fn test_get_timeout() {
    on_workers!({
        let greenlet = spawn(|| sleep(FOREVER));
        let start = Instant::now();
        assert!(!greenlet.wait_timeout(SHORT).unwrap());
        assert!(start.elapsed() >= SHORT);
        assert!(!greenlet.is_ready());
        greenlet.kill();
        assert!(greenlet.join().unwrap_err().is_killed());
    });
}

// A07. Ours: paused, so that it certainly has not run with any number of workers.
#[test]
fn test_kill_before_start() {
    on_workers!({
        let ran = Arc::new(AtomicBool::new(false));
        let linked = Event::new();
        let paused = Builder::new()
            .paused({
                let ran = ran.clone();
                move || ran.store(true, Ordering::SeqCst)
            })
            .unwrap();
        paused.on_killed({
            let linked = linked.clone();
            move || linked.set()
        });
        paused.kill();
        linked.wait().unwrap();
        paused.kill();
        assert_eq!(paused.exit(), Some(Exit::Killed));
        // Started all the same, it is over.
        assert!(paused.start().join().unwrap_err().is_killed());
        assert!(!ran.load(Ordering::SeqCst));
    });
}

// A07, the scheduled one.
#[test]
fn test_kill_after_start_before_first_run() {
    on_workers!([1], {
        greenloop::run(|| {
            let ran = Arc::new(AtomicBool::new(false));
            let greenlet = spawn({
                let ran = ran.clone();
                move || ran.store(true, Ordering::SeqCst)
            });
            greenlet.kill();
            assert!(greenlet.join().unwrap_err().is_killed());
            assert!(!ran.load(Ordering::SeqCst));
        });
    });
}

#[test]
fn a_paused_one_that_is_dropped_counts_as_killed() {
    on_workers!({
        let held = Arc::new(());
        let paused = Builder::new()
            .paused({
                let held = held.clone();
                move || drop(held)
            })
            .unwrap();
        let handle = Handle::clone(&paused);
        let waiter = spawn({
            let handle = handle.clone();
            move || handle.wait()
        });
        drop(paused);
        waiter.join().unwrap().unwrap();
        assert_eq!(handle.exit(), Some(Exit::Killed));
        assert_eq!(Arc::strong_count(&held), 1, "what it owned is dropped");
    });
}

// A08. Its destructors run before the killer goes on.
#[test]
fn test_kill_while_running() {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_workers!({
        let dropped = Arc::new(AtomicUsize::new(0));
        let sleeper = || {
            let started = Event::new();
            let greenlet = spawn({
                let (guard, started) = (Guard(dropped.clone()), started.clone());
                move || {
                    let _guard = guard;
                    started.set();
                    sleep(FOREVER)
                }
            });
            started.wait().unwrap();
            greenlet
        };
        let one = sleeper();
        assert!(one.kill_and_wait(None).unwrap());
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        assert!(one.join().unwrap_err().is_killed());

        let many: Vec<_> = (0..10).map(|_| sleeper().handle()).collect();
        kill_all(&many, None).unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 11);
        assert!(many.iter().all(|g| g.exit() == Some(Exit::Killed)));
    });
}

// A09.
#[test]
fn test_kill_after_start_later() {
    on_workers!({
        let ran = Arc::new(AtomicBool::new(false));
        let greenlet = spawn_later(Duration::from_millis(200), {
            let ran = ran.clone();
            move || ran.store(true, Ordering::SeqCst)
        });
        let id = greenlet.id();
        let start = Instant::now();
        greenlet.kill();
        assert!(greenlet.join().unwrap_err().is_killed());
        assert!(
            start.elapsed() < Duration::from_millis(150),
            "it did not wait"
        );
        assert!(!ran.load(Ordering::SeqCst));
        assert!(greenloop::greenlets().iter().all(|g| g.id != id));
    });
}

// A10. `kill` returns at once; the effect comes with the next turns.
#[test]
fn test_kill_nonblock() {
    on_workers!([1], {
        greenloop::run(|| {
            let greenlet = spawn(|| sleep(FOREVER));
            yield_now().unwrap();
            greenlet.kill();
            assert!(!greenlet.is_ready(), "the caller was not descheduled");
            yield_now().unwrap();
            assert!(greenlet.is_ready());
        });
    });
}

// A11. gevent raises the given exception inside; ours is the reason of the kill.
#[test]
fn test_kill_with_exception() {
    on_workers!({
        let greenlet = spawn(|| {
            let error = sleep(FOREVER).unwrap_err();
            error.kill_reason().map(str::to_owned)
        });
        greenlet.kill_with("out of memory");
        greenlet.kill_with("the first reason stays");
        let handle = greenlet.handle();
        let error = greenlet.join().unwrap_err();
        assert!(error.is_killed() && !handle.is_ok());
        assert_eq!(error.kill_reason(), Some("out of memory"));
        assert_eq!(error.to_string(), "greenlet was killed: out of memory");
    });
}

// A13. gevent's `finally` may wait; so may code under `shield`.
#[test]
fn test_cleanup_after_a_kill_really_waits() {
    on_workers!({
        let pause = Duration::from_millis(50);
        let (tell, told) = std::sync::mpsc::channel();
        let greenlet = spawn(move || {
            assert!(sleep(FOREVER).unwrap_err().is_cancelled());
            let start = Instant::now();
            shield(|| sleep(pause)).unwrap();
            tell.send(start.elapsed()).unwrap();
            assert!(
                sleep(SHORT).unwrap_err().is_cancelled(),
                "outside it is a level"
            );
        });
        eventually("it sleeps", || {
            greenloop::greenlets().iter().any(|g| g.state == "sleep")
        });
        assert!(greenlet.kill_and_wait(None).unwrap());
        assert!(told.recv().unwrap() >= pause);
        assert_eq!(greenlet.exit(), Some(Exit::Killed));
    });
}

// A14.
#[test]
fn test_order_of_links() {
    on_workers!({
        let order = Arc::new(Mutex::new(Vec::new()));
        let go = Event::new();
        let greenlet = spawn({
            let go = go.clone();
            move || go.wait()
        });
        for n in 0..1000 {
            let order = order.clone();
            match n % 3 {
                0 => greenlet.on_exit(move |_| order.lock().unwrap().push(n)),
                1 => greenlet.on_ok(move || order.lock().unwrap().push(n)),
                _ => {
                    greenlet.on_err(|_| unreachable!("it does not panic"));
                    greenlet.on_killed(|| unreachable!("nobody kills it"));
                    greenlet.on_exit(move |_| {
                        order.lock().unwrap().push(n);
                        assert!(n != 500, "a panicking link stops nobody");
                    })
                }
            };
        }
        let last = Event::new();
        greenlet.on_exit({
            let last = last.clone();
            move |_| last.set()
        });
        go.set();
        last.wait().unwrap();
        assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());

        eventually("its links have run", || {
            let ran = Arc::new(AtomicBool::new(false));
            let late = ran.clone();
            greenlet.on_exit(move |_| late.store(true, Ordering::SeqCst));
            ran.load(Ordering::SeqCst)
        });
    });
}

#[test]
fn test_unlink() {
    on_workers!({
        let go = Event::new();
        let greenlet = spawn({
            let go = go.clone();
            move || go.wait()
        });
        let unwanted = greenlet.on_exit(|_| unreachable!("it was taken back"));
        assert!(greenlet.unlink(unwanted));
        assert!(!greenlet.unlink(unwanted));
        // A link may take back one that comes after it.
        let (second, first_ran) = (Arc::new(Mutex::new(None)), Event::new());
        let handle = greenlet.handle();
        greenlet.on_exit({
            let (second, first_ran) = (second.clone(), first_ran.clone());
            move |_| {
                let id = second.lock().unwrap().expect("it was noted");
                assert!(handle.unlink(id));
                first_ran.set();
            }
        });
        *second.lock().unwrap() = Some(greenlet.on_exit(|_| unreachable!("taken back")));
        go.set();
        first_ran.wait().unwrap();
        greenlet.join().unwrap().unwrap();
    });
}

// The four kinds of links, on each of the three ends.
#[test]
fn test_link_value_and_link_exception() {
    on_workers!({
        type End = (fn(), bool, &'static [&'static str]);
        let ends: [End; 3] = [
            (|| (), false, &["exit", "ok"]),
            (|| panic!("oops"), false, &["exit", "err oops"]),
            (|| drop(sleep(FOREVER)), true, &["exit", "killed"]),
        ];
        for (body, kill, expected) in ends {
            let log = Arc::new(Mutex::new(Vec::new()));
            let paused = Builder::new().paused(body).unwrap();
            let add = |what: &str| {
                let (log, what) = (log.clone(), what.to_owned());
                move || log.lock().unwrap().push(what)
            };
            let exit = add("exit");
            paused.on_exit(move |_| exit());
            paused.on_ok(add("ok"));
            let failed = log.clone();
            paused.on_err(move |text| failed.lock().unwrap().push(format!("err {text}")));
            paused.on_killed(add("killed"));
            let done = Event::new();
            let last = done.clone();
            paused.on_exit(move |_| last.set());
            let greenlet = paused.start();
            if kill {
                greenlet.kill();
            }
            done.wait().unwrap();
            assert_eq!(*log.lock().unwrap(), expected);
        }
    });
}
