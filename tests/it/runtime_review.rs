//! What a review of the runtime found: ends, starts and turns that went wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use greenloop::net::TcpListener;
use greenloop::{
    Config, Inherited, block_on, blocking, current, run, sleep, spawn, timeout, try_spawn,
    yield_now,
};

use crate::support::{child_var, on_workers, run_child, test_name};

const MS: Duration = Duration::from_millis(1);
/// A wait that is over long before on any machine; past it, it never ends.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn a_value_nobody_joins_is_dropped_where_it_can_wait() {
    struct Waits(mpsc::Sender<(u64, bool)>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let joined = spawn(|| 1).join();
            self.0.send((current().id(), joined.is_ok())).unwrap();
        }
    }
    on_workers!({
        let (tell, told) = mpsc::channel();
        let (detached, gate) = mpsc::channel::<()>();
        let greenlet = spawn(move || {
            blocking(move || gate.recv().unwrap()).unwrap();
            Waits(tell)
        });
        let id = greenlet.id();
        drop(greenlet);
        detached.send(()).unwrap();
        assert_eq!(told.recv_timeout(BOUND).unwrap(), (id, true));
    });
}

#[test]
fn an_inherited_value_is_dropped_by_the_last_greenlet() {
    static VALUE: Inherited<Bad> = Inherited::new();
    struct Bad(mpsc::Sender<u64>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.send(current().id()).unwrap();
            panic!("in a destructor");
        }
    }
    on_workers!({
        for _ in 0..8 {
            let (tell, told) = mpsc::channel();
            let (go, gate) = mpsc::channel::<()>();
            let child = VALUE.with_value(Bad(tell), || {
                spawn(move || blocking(move || gate.recv().unwrap()).unwrap())
            });
            go.send(()).unwrap();
            assert_eq!(told.recv_timeout(BOUND).unwrap(), child.id());
            child.join().unwrap();
        }
        // The workers live on.
        let more: Vec<_> = (0..50).map(|n| spawn(move || n)).collect();
        for greenlet in more {
            assert!(greenlet.wait_timeout(BOUND).unwrap());
        }
    });
}

#[test]
fn a_busy_future_can_be_timed_out_and_killed() {
    on_workers!({
        let busy = || {
            block_on(std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            }))
        };
        let timed = spawn(move || timeout(10 * MS, busy));
        assert!(timed.wait_timeout(BOUND).unwrap(), "it is never timed out");
        assert!(timed.join().unwrap().unwrap_err().is_timeout());
        let killed = spawn(busy);
        assert!(killed.kill_and_wait(Some(BOUND)).unwrap());
    });
}

#[test]
fn joins_and_chains_of_spawns_let_timers_in() {
    fn chain(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::Relaxed) {
            spawn(move || chain(stop));
        }
    }
    on_workers!([1], {
        let stop = Arc::new(AtomicBool::new(false));
        for chained in [false, true] {
            let (inner, sleeper) = (stop.clone(), spawn(|| sleep(20 * MS)));
            let hog = spawn(move || {
                if chained {
                    return chain(inner);
                }
                while !inner.load(Ordering::Relaxed) {
                    spawn(|| ()).join().unwrap();
                }
            });
            let slept = sleeper.wait_timeout(BOUND).unwrap();
            stop.store(true, Ordering::Relaxed);
            assert!(slept, "sleep(20 ms) starved; chained: {chained}");
            assert!(hog.wait_timeout(BOUND).unwrap());
            stop.store(false, Ordering::Relaxed);
        }
    });
}

#[test]
fn children_still_start_in_order() {
    on_workers!([1], {
        let order = run(|| {
            let (tell, told) = mpsc::channel();
            // Up to where every child begins with a rest.
            for _ in 0..63 {
                yield_now().unwrap();
            }
            let children: Vec<_> = (0..500)
                .map(|n| {
                    let tell = tell.clone();
                    spawn(move || tell.send(n).unwrap())
                })
                .collect();
            for child in children {
                child.join().unwrap();
            }
            drop(tell);
            told.iter().collect::<Vec<i32>>()
        });
        assert!(order.is_sorted(), "{order:?}");
    });
}

#[test]
fn a_stuck_worker_does_not_hold_who_took_turns_on_it() {
    on_workers!([2, 4], {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let busy: Vec<_> = (0..30)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    let mut worst = Duration::ZERO;
                    while !stop.load(Ordering::Relaxed) {
                        let before = Instant::now();
                        yield_now().unwrap();
                        worst = worst.max(before.elapsed());
                    }
                    worst
                })
            })
            .collect();
        while start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(50 * MS);
            spawn(|| std::thread::sleep(1200 * MS)).join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let worst = busy.into_iter().map(|b| b.join().unwrap()).max().unwrap();
        assert!(worst < 600 * MS, "a turn took {worst:?}");
    });
}

#[test]
fn after_a_join_there_is_room_for_the_next() {
    if child_var("GREENLOOP_TEST_ROOM").is_none() {
        let output = run_child(test_name!(), &[("GREENLOOP_TEST_ROOM", "1")]);
        assert!(output.status.success(), "{}", output.text);
        return;
    }
    Config::new().workers(2).max_greenlets(1).start().unwrap();
    for _ in 0..20_000 {
        spawn(|| ()).join().unwrap();
    }
}

#[test]
fn a_failed_start_stays_failed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if child_var("GREENLOOP_TEST_FAIL").is_none() {
        for spare in 0..8 {
            let output = run_child(test_name!(), &[("GREENLOOP_TEST_FAIL", &spare.to_string())]);
            assert!(output.status.success(), "{spare}: {}", output.text);
        }
        return;
    }
    let spare: u64 = child_var("GREENLOOP_TEST_FAIL").unwrap().parse().unwrap();
    let before = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let tight = Rlimit {
        current: Some(open + spare),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, tight).unwrap();
    let started = Config::new().workers(2).dump_on_sigquit(false).start();
    setrlimit(Resource::Nofile, before).unwrap();
    // Whatever came of it, it came whole.
    let sleeper = try_spawn(|| sleep(MS));
    assert_eq!(started.is_ok(), sleeper.is_ok(), "{started:?} {sleeper:?}");
    if let Ok(sleeper) = sleeper {
        assert!(sleeper.wait_timeout(BOUND).unwrap());
    }
    println!("{spare} spare: {started:?}");
}

#[test]
#[expect(unsafe_code, reason = "the engine's own spawn")]
fn foreign_coroutines_wait_and_end() {
    on_workers!({
        Config::new().start().unwrap_err();
        let rounds = Arc::new(AtomicU64::new(0));
        let (tell, told) = mpsc::channel();
        for _ in 0..16 {
            foreign(20_000 / 16, rounds.clone(), tell.clone());
        }
        drop(tell);
        for _ in 0..16 {
            assert!(
                told.recv_timeout(BOUND).is_ok(),
                "stuck after {} coroutines",
                rounds.load(Ordering::Relaxed)
            );
        }
    });

    /// Waits once and ends, with a successor.
    fn foreign(left: u64, rounds: Arc<AtomicU64>, tell: mpsc::Sender<()>) {
        rounds.fetch_add(1, Ordering::Relaxed);
        let body = move || {
            let waited = spawn(|| ()).wait();
            waited.unwrap();
            if left > 0 {
                foreign(left - 1, rounds, tell);
            } else {
                tell.send(()).unwrap();
            }
        };
        // SAFETY: nothing thread-local is held across a switch.
        drop(unsafe { may::coroutine::spawn(body) });
    }
}

#[test]
fn a_kill_reaches_a_thread_in_a_system_call() {
    on_workers!([1, 2], {
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tell, told) = mpsc::channel();
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            tell.send(current()).unwrap();
            done.send(listener.accept().map(drop)).unwrap();
        });
        let thread = told.recv().unwrap();
        std::thread::sleep(20 * MS);
        thread.kill();
        let error = result.recv_timeout(BOUND).unwrap().unwrap_err();
        assert!(greenloop::Error::from(error).is_cancelled());
    });
}
