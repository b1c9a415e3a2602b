//! Greenlets: start, wait, end, kill, time. A-numbers are gevent's acceptance cases.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use greenloop::{
    Builder, Config, Deadline, Exit, Timeout, block_on, blocking, shield, sleep, spawn,
    spawn_later, timeout, timeout_or, try_spawn, yield_now,
};

use crate::support::{child_var, eventually, on_workers, run_child, test_name};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

#[test]
fn second_start_is_an_error() {
    on_workers!([1], {
        let error = Config::new().start().unwrap_err();
        assert!(error.to_string().contains("already started"), "{error}");
    });
}

#[test]
fn child_runs_after_the_spawner_switches() {
    // A01; with one worker the order is certain.
    on_workers!([1], {
        greenloop::run(|| {
            let log = Arc::new(Mutex::new(Vec::new()));
            let log2 = log.clone();
            let child = spawn(move || log2.lock().unwrap().push("child"));
            log.lock().unwrap().push("spawner");
            child.join().unwrap();
            assert_eq!(*log.lock().unwrap(), ["spawner", "child"]);
        });
    });
}

#[test]
fn two_greenlets_take_turns() {
    // A32
    on_workers!([1], {
        greenloop::run(|| {
            let log = Arc::new(Mutex::new(Vec::new()));
            let turns: Vec<_> = (1..=2)
                .map(|n| {
                    let log = log.clone();
                    spawn(move || {
                        log.lock().unwrap().push(format!("{n}A"));
                        yield_now().unwrap();
                        log.lock().unwrap().push(format!("{n}B"));
                    })
                })
                .collect();
            for turn in turns {
                turn.join().unwrap();
            }
            assert_eq!(*log.lock().unwrap(), ["1A", "2A", "1B", "2B"]);
        });
    });
}

#[test]
fn thousand_waiters_on_one_greenlet_all_wake() {
    // A04
    on_workers!({
        let (go, gate) = mpsc::channel::<()>();
        let target = spawn(move || blocking(move || gate.recv().unwrap()).unwrap());
        let waiters: Vec<_> = (0..1000)
            .map(|_| {
                let handle = target.handle();
                spawn(move || handle.wait().is_ok() && handle.is_ready())
            })
            .collect();
        let thread = {
            let handle = target.handle();
            std::thread::spawn(move || handle.wait().is_ok())
        };
        go.send(()).unwrap();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert!(thread.join().unwrap());
        assert!(
            target.wait_timeout(Duration::ZERO).unwrap(),
            "a later wait returns at once"
        );
    });
}

#[test]
fn wait_timeout_leaves_the_greenlet_running() {
    // A05
    on_workers!({
        let greenlet = spawn(|| sleep(LONG));
        let start = Instant::now();
        assert!(!greenlet.wait_timeout(10 * MS).unwrap());
        assert!(start.elapsed() >= 10 * MS);
        assert!(!greenlet.is_ready());
        assert!(greenlet.kill_and_wait(None).unwrap());
    });
}

#[test]
fn outer_timeout_surfaces_in_every_wait() {
    // A06
    on_workers!({
        let outer = Timeout::start(MS);
        let error = sleep(LONG).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        let greenlet = spawn(|| sleep(LONG));
        let error = greenlet.wait_timeout(LONG).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        let error = blocking(|| ()).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        let error = block_on(std::future::pending::<()>()).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        let error = yield_now().unwrap_err();
        assert!(outer.owns(&error), "{error}");
        drop(outer);
        assert!(greenlet.kill_and_wait(None).unwrap());
    });
}

#[test]
fn nested_timeouts_keep_apart() {
    // A26, A27, A28
    on_workers!({
        let outer = Timeout::start(30 * MS);
        let answer = timeout_or(5 * MS, "inner", || sleep(LONG).map(|()| "slept"));
        assert_eq!(answer.unwrap(), "inner");
        let error = timeout_or(LONG, (), || sleep(LONG)).unwrap_err();
        assert!(outer.owns(&error), "a foreign timeout is not swallowed");
        drop(outer);

        let mut again = Timeout::start(MS);
        assert!(sleep(LONG).is_err());
        again.restart(LONG);
        sleep(MS).unwrap();
        again.cancel();
        sleep(2 * MS).unwrap();
        assert!(
            timeout(Duration::ZERO, || sleep(LONG))
                .unwrap_err()
                .is_timeout()
        );
        timeout(Duration::MAX, || sleep(MS)).unwrap();
    });
}

#[test]
fn a_panicking_greenlet_is_an_error_for_its_joiner() {
    on_workers!({
        let number = std::hint::black_box(7);
        let error = spawn(move || panic!("boom {number}")).join().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.to_string(), "greenlet panicked: boom 7");
        assert_eq!(
            error
                .into_panic()
                .unwrap()
                .downcast_ref::<String>()
                .unwrap(),
            "boom 7"
        );
        assert_eq!(spawn(|| 5).join().unwrap(), 5, "the worker lives on");
    });
}

#[test]
fn killed_before_its_first_run_it_never_runs() {
    // A07
    on_workers!({
        greenloop::run(|| {
            for _ in 0..200 {
                let ran = Arc::new(AtomicBool::new(false));
                let linked = Arc::new(AtomicBool::new(false));
                let (ran2, linked2) = (ran.clone(), linked.clone());
                let greenlet = spawn_later(LONG, move || ran2.store(true, Ordering::SeqCst));
                greenlet
                    .on_exit(move |exit| linked2.store(*exit == Exit::Killed, Ordering::SeqCst));
                greenlet.kill();
                greenlet.kill();
                assert!(greenlet.join().unwrap_err().is_killed());
                assert!(!ran.load(Ordering::SeqCst));
                eventually("the link runs", || {
                    yield_now().unwrap();
                    linked.load(Ordering::SeqCst)
                });
            }
        });
    });
}

#[test]
fn with_one_worker_a_kill_before_the_first_turn_is_certain() {
    on_workers!([1], {
        greenloop::run(|| {
            let greenlet = spawn(|| unreachable!("it was killed before it could run"));
            greenlet.kill();
            assert!(greenlet.join().unwrap_err().is_killed());
        });
    });
}

#[test]
fn kill_ends_a_sleep_and_runs_destructors() {
    // A08
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    on_workers!({
        let (tell, told) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let greenlet = spawn(move || {
            let _tell = Tell(tell);
            begin.send(()).unwrap();
            sleep(LONG)
        });
        begun.recv().unwrap();
        assert!(greenlet.kill_and_wait(None).unwrap());
        told.recv().unwrap();
        assert!(greenlet.join().unwrap_err().is_killed());
    });
}

#[test]
fn kill_is_a_level_until_a_shield() {
    // A13
    on_workers!({
        let greenlet = spawn(|| {
            assert!(sleep(LONG).unwrap_err().is_cancelled());
            assert!(sleep(LONG).unwrap_err().is_cancelled());
            let start = Instant::now();
            shield(|| sleep(50 * MS)).unwrap();
            assert!(start.elapsed() >= 50 * MS);
            assert!(blocking(|| ()).unwrap_err().is_cancelled());
        });
        greenlet.kill();
        let error = greenlet.join().unwrap_err();
        assert!(error.is_killed(), "{error}");
    });
}

#[test]
fn links_run_in_order_also_late_ones() {
    // A14
    on_workers!({
        let order = Arc::new(Mutex::new(Vec::new()));
        let (go, gate) = mpsc::channel::<()>();
        let greenlet = spawn(move || blocking(move || gate.recv().unwrap()).unwrap());
        let mut ids = Vec::new();
        for n in 0..1000 {
            let order = order.clone();
            ids.push(greenlet.on_exit(move |_| order.lock().unwrap().push(n)));
        }
        assert!(greenlet.unlink(ids[500]));
        assert!(!greenlet.unlink(ids[500]));
        greenlet.on_exit(|_| panic!("a bad link stops nobody"));
        let (done, last) = mpsc::channel();
        greenlet.on_exit(move |exit| done.send(exit.clone()).unwrap());
        go.send(()).unwrap();
        assert_eq!(last.recv().unwrap(), Exit::Returned);
        let expected: Vec<_> = (0..1000).filter(|n| *n != 500).collect();
        assert_eq!(*order.lock().unwrap(), expected);
        let (done, late) = mpsc::channel();
        greenlet.on_exit(move |_| done.send(()).unwrap());
        late.recv().unwrap();
    });
}

#[test]
fn a_cpu_hog_after_a_sleep_does_not_delay_another_sleep() {
    // A31; needs a second worker to run the other one on.
    on_workers!([2, 4], {
        for _ in 0..5 {
            let hog = spawn(|| {
                sleep(5 * MS).unwrap();
                let start = Instant::now();
                while start.elapsed() < 400 * MS {
                    std::hint::spin_loop();
                }
            });
            let other = spawn(|| {
                let start = Instant::now();
                sleep(60 * MS).unwrap();
                start.elapsed()
            });
            let late = other.join().unwrap();
            assert!(late < 200 * MS, "sleep(60 ms) took {late:?} beside a hog");
            hog.join().unwrap();
        }
    });
}

#[test]
fn blocking_calls_leave_the_worker_free() {
    // A58
    on_workers!({
        let slow = spawn(|| blocking(|| std::thread::sleep(200 * MS)));
        let ticks = spawn(|| {
            let start = Instant::now();
            let mut ticks = 0;
            while start.elapsed() < 150 * MS {
                sleep(5 * MS).unwrap();
                ticks += 1;
            }
            ticks
        });
        assert!(ticks.join().unwrap() > 5);
        slow.join().unwrap().unwrap();
    });
}

#[test]
fn a_panicking_job_panics_its_caller_and_frees_the_lane() {
    // A60
    on_workers!({
        for _ in 0..100 {
            let error = spawn(|| blocking(|| panic!("in the job")))
                .join()
                .unwrap_err();
            assert!(error.is_panic());
        }
        assert_eq!(blocking(|| 1).unwrap(), 1);
    });
}

#[test]
fn a_killed_callers_job_drops_what_it_captured() {
    on_workers!({
        let (go, gate) = mpsc::channel::<()>();
        let captured = Arc::new(());
        let weak = Arc::downgrade(&captured);
        let (started, has_started) = mpsc::channel();
        let greenlet = spawn(move || {
            blocking(move || {
                started.send(()).unwrap();
                gate.recv().unwrap();
                captured
            })
        });
        has_started.recv().unwrap();
        assert!(
            greenlet.kill_and_wait(None).unwrap(),
            "the caller leaves at once"
        );
        go.send(()).unwrap();
        eventually("the job's value is dropped", || weak.upgrade().is_none());
    });
}

#[test]
fn a_sleeping_drop_during_a_panic_returns_at_once() {
    struct Sleeper;
    impl Drop for Sleeper {
        fn drop(&mut self) {
            let start = Instant::now();
            let error = sleep(LONG).unwrap_err();
            assert!(error.is_cancelled());
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }
    on_workers!({
        for _ in 0..50 {
            let bad = spawn(|| {
                let _sleeper = Sleeper;
                panic!("with a sleeping destructor");
            });
            let good = spawn(|| {
                (0..50).any(|_| {
                    yield_now().unwrap();
                    std::thread::panicking()
                })
            });
            assert!(bad.join().unwrap_err().is_panic());
            assert!(!good.join().unwrap(), "another greenlet saw the panic");
        }
    });
}

#[test]
fn forty_thousand_spawns_end_in_the_limit_error() {
    // A19
    on_workers!({
        let mut alive = Vec::new();
        let error = loop {
            match try_spawn(|| sleep(Duration::MAX)) {
                Ok(greenlet) => alive.push(greenlet),
                Err(error) => break error,
            }
            assert!(alive.len() < 40_000, "no limit");
        };
        let text = error.to_string();
        assert!(
            text.contains("vm.max_map_count") && text.contains("max_greenlets"),
            "{text}"
        );
        assert!(greenloop::Error::from(error).is_limit());
        assert!(alive.len() > 10_000, "only {}", alive.len());
        for greenlet in &alive {
            greenlet.kill();
        }
        for greenlet in alive {
            assert!(greenlet.join().unwrap_err().is_killed());
        }
        assert_eq!(spawn(|| 1).join().unwrap(), 1, "there is room again");
    });
}

#[test]
fn spawn_at_the_limit_panics_with_the_same_sentence() {
    if child_var("GREENLOOP_TEST_LIMIT").is_none() {
        let output = run_child(test_name!(), &[("GREENLOOP_TEST_LIMIT", "1")]);
        assert!(output.status.success(), "{}", output.text);
        return;
    }
    Config::new().workers(1).max_greenlets(3).start().unwrap();
    let kept: Vec<_> = (0..3).map(|_| spawn(|| sleep(Duration::MAX))).collect();
    let panic = std::panic::catch_unwind(|| spawn(|| ())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("3 greenlets are alive"), "{text}");
    drop(kept);
}

#[test]
fn overflow_is_said_and_ends_the_process() {
    // A18
    #[inline(never)]
    fn endless(n: u64) -> u64 {
        let frame = std::hint::black_box([n; 64]);
        if n == u64::MAX {
            0
        } else {
            endless(n + 1) + frame[7]
        }
    }
    if child_var("GREENLOOP_TEST_OVERFLOW").is_some() {
        Config::new().workers(2).start().unwrap();
        let greenlet = Builder::new().name("deep").spawn(|| endless(0));
        let _ = greenlet.join();
        unreachable!("the process has ended");
    }
    let output = run_child(test_name!(), &[("GREENLOOP_TEST_OVERFLOW", "1")]);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(6),
        "{}",
        output.text
    );
    let message = "overflowed its 256 KiB stack; give it more with Builder::stack_bytes";
    let line = output.text.lines().find(|line| line.contains(message));
    let line = line.unwrap_or_else(|| panic!("no message in {}", output.text));
    assert!(line.contains("greenlet \"deep\" (#"), "{line}");
}

#[test]
fn a_panic_names_its_greenlet_and_where_it_came_from() {
    if child_var("GREENLOOP_TEST_PANIC").is_some() {
        let bad = Builder::new().name("bad").spawn(|| panic!("on purpose"));
        assert!(bad.join().unwrap_err().is_panic());
        return;
    }
    let output = run_child(test_name!(), &[("GREENLOOP_TEST_PANIC", "1")]);
    assert!(output.status.success(), "{}", output.text);
    let line = output
        .text
        .lines()
        .find(|line| line.contains("greenlet \"bad\" (#"));
    let line = line.unwrap_or_else(|| panic!("no name in {}", output.text));
    assert!(
        line.contains(" panicked; spawned at tests/it/runtime.rs:"),
        "{line}"
    );
    assert!(output.text.contains("on purpose"), "{}", output.text);
}

#[test]
fn dump_names_who_waits_on_what() {
    // A85
    on_workers!({
        let greenlet = Builder::new().name("dumped").spawn(|| sleep(LONG));
        eventually("it sleeps", || {
            greenloop::greenlets()
                .iter()
                .any(|g| g.name.as_deref() == Some("dumped") && g.state == "sleep")
        });
        let text = greenloop::dump().to_string();
        assert!(text.contains("\"dumped\" (#"), "{text}");
        assert!(text.contains("waits on sleep for"), "{text}");
        assert!(text.contains("tests/it/runtime.rs:"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&greenloop::dump().to_json()).unwrap();
        let all = json["greenlets"].as_array().unwrap();
        assert!(
            all.iter()
                .any(|g| g["name"] == "dumped" && g["state"] == "sleep")
        );
        assert!(greenlet.kill_and_wait(None).unwrap());
        assert!(
            !greenloop::dump().to_string().contains("\"dumped\""),
            "the dead are not listed"
        );
    });
}

#[test]
fn sigquit_dumps_while_a_worker_is_stuck() {
    if child_var("GREENLOOP_TEST_QUIT").is_none() {
        let output = run_child(test_name!(), &[("GREENLOOP_TEST_QUIT", "1")]);
        assert!(output.status.success(), "{}", output.text);
        assert!(
            output.text.contains("\"stuck\" (#") && output.text.contains("): running"),
            "{}",
            output.text
        );
        return;
    }
    Config::new().workers(1).start().unwrap();
    let (tell, told) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let stuck = Builder::new().name("stuck").spawn(move || {
        tell.send(()).unwrap();
        gate.recv().unwrap();
    });
    told.recv().unwrap();
    signal_hook::low_level::raise(signal_hook::consts::SIGQUIT).unwrap();
    // The dump is written by a thread of its own; give it the time it takes.
    std::thread::sleep(300 * MS);
    go.send(()).unwrap();
    stuck.join().unwrap();
}

#[test]
fn signals_are_values() {
    on_workers!([1, 2], {
        use greenloop::signal::{SIGUSR1, SIGUSR2, Signals};
        let one = Signals::new(&[SIGUSR1]).unwrap();
        let both = Signals::new(&[SIGUSR1, SIGUSR2]).unwrap();
        let waiter = spawn(move || both.wait().and_then(|first| Ok((first, both.wait()?))));
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert_eq!(one.wait().unwrap(), SIGUSR1);
        assert_eq!(one.try_wait(), None);
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), (SIGUSR1, SIGUSR2));
        let error = timeout(5 * MS, || one.wait()).unwrap_err();
        assert!(error.is_timeout());
        assert!(Signals::new(&[9]).is_err(), "SIGKILL cannot be caught");
    });
}

#[test]
fn a_kill_drops_the_future() {
    struct Pending(Arc<AtomicUsize>);
    impl Future for Pending {
        type Output = ();
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            std::task::Poll::Pending
        }
    }
    impl Drop for Pending {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_workers!({
        let drops = Arc::new(AtomicUsize::new(0));
        let drops2 = drops.clone();
        let (begin, begun) = mpsc::channel();
        let greenlet = spawn(move || {
            begin.send(()).unwrap();
            block_on(Pending(drops2))
        });
        begun.recv().unwrap();
        assert!(greenlet.kill_and_wait(None).unwrap());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        let error = timeout(MS, || block_on(Pending(drops.clone()))).unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(drops.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn wakers_may_come_from_anywhere_and_after_the_end() {
    on_workers!({
        let greenlets: Vec<_> = (0..500_u64)
            .map(|n| {
                spawn(move || {
                    let (waker_out, waker_in) = mpsc::channel::<std::task::Waker>();
                    std::thread::spawn(move || {
                        while let Ok(waker) = waker_in.recv() {
                            waker.wake_by_ref();
                            std::thread::yield_now();
                            waker.wake();
                        }
                    });
                    let mut polls = 0;
                    block_on(std::future::poll_fn(move |context| {
                        polls += 1;
                        // The thread may have gone only if we had.
                        waker_out.send(context.waker().clone()).unwrap();
                        if polls > n % 7 {
                            std::task::Poll::Ready(n)
                        } else {
                            std::task::Poll::Pending
                        }
                    }))
                })
            })
            .collect();
        for (n, greenlet) in greenlets.into_iter().enumerate() {
            assert_eq!(greenlet.join().unwrap().unwrap(), n as u64);
        }
    });
}

#[test]
fn deadlines_order_and_convert() {
    let soon = Deadline::after(MS);
    assert!(soon.earlier(Deadline::NEVER) == soon);
    assert!(Deadline::from(None) == Deadline::NEVER);
    assert!(!Deadline::NEVER.is_passed());
    assert!(Deadline::at(Instant::now()).is_passed());
}

#[test]
fn busy_greenlets_let_timers_and_others_in() {
    // A30: hundreds of greenlets that never wait for an event, beside one that does.
    on_workers!({
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..200)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        yield_now().unwrap();
                    }
                })
            })
            .collect();
        let fired = spawn(|| {
            timeout(10 * MS, || {
                loop {
                    yield_now()?;
                }
            })
        });
        let fired: Result<(), greenloop::Error> = fired.join().unwrap();
        assert!(fired.unwrap_err().is_timeout());
        let sleeper = spawn(|| {
            let start = Instant::now();
            sleep(20 * MS).unwrap();
            start.elapsed()
        });
        let took = sleeper.join().unwrap();
        assert!(took < 500 * MS, "sleep(20 ms) took {took:?}");
        stop.store(true, Ordering::Relaxed);
        for greenlet in busy {
            greenlet.join().unwrap();
        }
    });
}

#[test]
fn kills_race_timeouts_sleeps_joins_and_lane_jobs() {
    on_workers!({
        let seed = 0x9e37_79b9_u64;
        let mut random = seed;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < Duration::from_secs(2) {
            let target = spawn(|| sleep(Duration::from_micros(300)));
            let handle = target.handle();
            let victims: Vec<_> = (0..40_u64)
                .map(|i| {
                    let handle = handle.clone();
                    let limit = Duration::from_micros(next() % 400);
                    spawn(move || -> greenloop::Result<()> {
                        timeout(limit, || {
                            loop {
                                match i % 4 {
                                    0 => sleep(Duration::from_micros(50))?,
                                    1 => handle.wait()?,
                                    2 => blocking(|| ())?,
                                    _ => block_on(std::future::pending())?,
                                }
                                yield_now()?;
                            }
                        })
                    })
                })
                .collect();
            for victim in &victims {
                if next() % 2 == 0 {
                    victim.kill();
                }
            }
            for victim in victims {
                match victim.join() {
                    Ok(ended) => assert!(ended.unwrap_err().is_timeout()),
                    Err(error) => assert!(error.is_killed(), "{error}"),
                }
            }
            target.join().unwrap().unwrap();
            rounds += 1;
        }
        println!("{rounds} rounds, seed {seed:#x}");
    });
}
