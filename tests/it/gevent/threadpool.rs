//! `test__threadpool.py`: lanes of OS threads.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use greenloop::{Lane, blocking, join_all, sleep, spawn, timeout};

use crate::support::{eventually, on_workers};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);

#[test]
fn test_apply() {
    on_workers!({
        let lane = Lane::new("test").threads_max(1);
        assert_eq!(lane.run(|| 6 * 7).unwrap(), 42);
        let stats = lane.stats();
        assert_eq!((stats.running, stats.queued, stats.done), (0, 0, 1));
    });
}

#[test]
fn test_apply_raises() {
    // A60: the waiter gets the panic, and the slot is free. One thread survives them all.
    on_workers!({
        let lane = Lane::new("test").threads_max(1);
        for n in 1..=50 {
            let own = lane.clone();
            let error = spawn(move || own.run(|| panic!("in the job")).unwrap())
                .join()
                .unwrap_err();
            assert!(error.is_panic());
            assert!(error.to_string().contains("in the job"), "{error}");
            let stats = lane.stats();
            assert_eq!((stats.running, stats.done), (0, n));
        }
        assert_eq!(lane.run(|| 1).unwrap(), 1);
        assert_eq!(lane.stats().threads, 1);
    });
}

#[test]
fn test_recursive_apply() {
    // gevent raises LoopExit; ours runs in place (#131).
    on_workers!({
        let lane = Lane::new("test").threads_max(1);
        let inner = lane.clone();
        let nested = lane.run(move || inner.run(inner_thread).map(|id| (id, inner_thread())));
        let (inside, outside) = nested.unwrap().unwrap();
        assert_eq!(inside, outside);
        // Another lane keeps its own bound: its job runs on its own thread.
        let other = Lane::new("other").threads_max(1);
        let ids = lane.run(move || (inner_thread(), other.run(inner_thread).unwrap()));
        let (here, there) = ids.unwrap();
        assert_ne!(here, there);
        // The built-in ones run in place: the thread blocks already.
        let ids = lane.run(|| (inner_thread(), blocking(inner_thread).unwrap()));
        let (here, there) = ids.unwrap();
        assert_eq!(here, there);
    });
}

fn inner_thread() -> std::thread::ThreadId {
    std::thread::current().id()
}

#[test]
fn test_tick_during_blocking() {
    // A58
    on_workers!({
        let (started, has_started) = mpsc::channel();
        let slow = spawn(|| {
            blocking(move || {
                started.send(()).unwrap();
                std::thread::sleep(300 * MS);
            })
        });
        has_started.recv().unwrap();
        let ticker = spawn(move || {
            let mut ticks = 0;
            while !slow.is_ready() {
                sleep(10 * MS).unwrap();
                ticks += 1;
            }
            slow.join().unwrap().unwrap();
            ticks
        });
        let ticks = ticker.join().unwrap();
        // 30 on an idle machine; a worker that was held up would give one or two.
        assert!(ticks >= 5, "{ticks} ticks of 10 ms beside 300 ms");
    });
}

#[test]
fn test_inc() {
    // A59, TestMaxsize.test_inc
    on_workers!({
        let lane = Lane::new("test").threads_max(0);
        let jobs: Vec<_> = (0..3)
            .map(|n| {
                let lane = lane.clone();
                spawn(move || lane.run(move || n).unwrap())
            })
            .collect();
        eventually("three jobs wait", || lane.stats().queued == 3);
        assert_eq!(lane.stats().threads, 0);
        lane.set_threads_max(1);
        let done: Vec<_> = jobs.into_iter().map(|job| job.join().unwrap()).collect();
        assert_eq!(done, [0, 1, 2]);
        assert_eq!(lane.stats().threads, 1);
    });
}

#[test]
fn test_setzero() {
    // A59, TestMaxsize.test_setzero
    on_workers!({
        let lane = Lane::new("test").threads_max(3).idle_timeout(LONG);
        let (go, gate) = mpsc::channel::<()>();
        let busy = {
            let lane = lane.clone();
            spawn(move || lane.run(move || gate.recv().unwrap()).unwrap())
        };
        eventually("one is busy", || lane.stats().running == 1);
        lane.run(|| ()).unwrap();
        assert_eq!(lane.stats().threads, 2);
        lane.set_threads_max(0);
        eventually("the idle one leaves", || lane.stats().threads == 1);
        assert_eq!(lane.stats().running, 1, "the busy one stays");
        let queued = {
            let lane = lane.clone();
            spawn(move || lane.run(|| 5).unwrap())
        };
        go.send(()).unwrap();
        busy.join().unwrap();
        eventually("the last one leaves", || lane.stats().threads == 0);
        eventually("the job waits", || lane.stats().queued == 1);
        lane.set_threads_max(2);
        assert_eq!(queued.join().unwrap(), 5);
    });
}

#[test]
fn test_size() {
    // A59, TestSize: threads come on demand, up to the bound, and leave when idle.
    on_workers!({
        let lane = Lane::new("test").threads_max(4).idle_timeout(LONG);
        let gates: Vec<_> = (0..6)
            .map(|_| {
                let (go, gate) = mpsc::channel::<()>();
                let lane = lane.clone();
                (
                    go,
                    spawn(move || lane.run(move || gate.recv().unwrap()).unwrap()),
                )
            })
            .collect();
        eventually("four run, two wait", || {
            let stats = lane.stats();
            (stats.running, stats.queued, stats.threads) == (4, 2, 4)
        });
        // All at once: which of them run is not said.
        for (go, _) in &gates {
            go.send(()).unwrap();
        }
        for (_, job) in gates {
            job.join().unwrap();
        }
        assert_eq!(lane.stats().done, 6);
        eventually("all are idle", || lane.stats().idle == 4);
        lane.set_idle_timeout(20 * MS);
        eventually("idle threads leave", || lane.stats().threads == 0);
        // The next job finds a new thread.
        assert_eq!(lane.run(|| 7).unwrap(), 7);
        let before = Instant::now();
        eventually("it leaves too", || lane.stats().threads == 0);
        assert!(before.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn test_ref() {
    // A60, TestRef: a killed caller's values are dropped when its job ends.
    on_workers!({
        let lane = Lane::new("test").threads_max(1);
        let captured = Arc::new(());
        let weak = Arc::downgrade(&captured);
        let (go, gate) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let own = lane.clone();
        let caller = spawn(move || {
            own.run(move || {
                started.send(()).unwrap();
                gate.recv().unwrap();
                captured
            })
            .map(drop)
        });
        has_started.recv().unwrap();
        assert!(caller.kill_and_wait(None).unwrap(), "it leaves at once");
        assert!(weak.upgrade().is_some(), "the job still runs");
        go.send(()).unwrap();
        eventually("the job's values are dropped", || weak.upgrade().is_none());
        lane.run(|| ()).unwrap();
        assert_eq!(lane.stats().done, 2);
    });
}

#[test]
fn test_ref_of_a_job_that_waits() {
    // A killed or timed-out caller takes its job out of the queue, values and all.
    on_workers!({
        let lane = Lane::new("test").threads_max(0);
        let captured = Arc::new(());
        let weak = Arc::downgrade(&captured);
        let own = lane.clone();
        let caller = spawn(move || own.run(move || drop(captured)));
        eventually("it waits", || lane.stats().queued == 1);
        assert!(caller.kill_and_wait(None).unwrap());
        assert!(weak.upgrade().is_none());
        assert_eq!(lane.stats().queued, 0);

        let captured = Arc::new(());
        let weak = Arc::downgrade(&captured);
        let own = lane.clone();
        let error = timeout(5 * MS, || own.run(move || drop(captured))).unwrap_err();
        assert!(error.is_timeout());
        let limit = lane.run_timeout(5 * MS, || ()).unwrap_err();
        assert!(limit.is_timeout());
        assert!(weak.upgrade().is_none());
        assert_eq!(lane.stats().queued, 0);
        assert_eq!(lane.stats().done, 0);
    });
}

#[test]
fn test_many() {
    // More callers than the queue has room for: all are served, none twice.
    on_workers!({
        let lane = Lane::new("test").threads_max(2);
        let callers: Vec<_> = (0..1500_u64)
            .map(|n| {
                let lane = lane.clone();
                spawn(move || lane.run(move || n).unwrap())
            })
            .collect();
        let sum: u64 = join_all(callers).into_iter().map(Result::unwrap).sum();
        assert_eq!(sum, 1499 * 1500 / 2);
        assert_eq!(lane.stats().done, 1500);
    });
}
