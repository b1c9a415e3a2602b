//! gevent's `test__pool`: places, `apply` and its kin, `map` and its kin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::{Event, Pool, try_scope};
use greenloop::{Error, Timeout, sleep, spawn, yield_now};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

/// A50: the second spawn waits for the end of the first.
#[test]
fn test_spawn() {
    on_workers!({
        let (pool, go) = (Pool::new(1), Event::new());
        let first = {
            let go = go.clone();
            pool.spawn(move || go.wait()).unwrap()
        };
        assert_eq!((pool.len(), pool.free_count()), (1, 0));
        assert!(pool.is_full());
        let refused = pool.try_spawn(|| 5).unwrap_err();
        assert!(refused.is_full());
        assert_eq!(refused.into_inner()(), 5, "the closure comes back");
        let second = {
            let (pool, first) = (pool.clone(), first.handle());
            spawn(move || {
                let member = pool.spawn(move || first.is_ready()).unwrap();
                member.join().unwrap()
            })
        };
        eventually("the second waits", || pool.waiting() == 1);
        assert!(!second.is_ready());
        go.set();
        assert!(second.join().unwrap(), "the first has ended before");
        assert_eq!(pool.free_count(), 1);
    });
}

/// A50: a pool without places.
#[test]
fn test_wait_full() {
    on_workers!({
        let pool = Pool::new(0);
        assert!(pool.is_full());
        assert_eq!(pool.free_count(), 0);
        let before = Instant::now();
        assert_eq!(pool.wait_available(Some(10 * MS)).unwrap(), 0);
        assert!(before.elapsed() >= 10 * MS);
        assert!(pool.try_spawn(|| ()).is_err());
        let refused = pool.spawn_timeout(|| 3, MS).unwrap_err();
        assert!(refused.error().is_timeout());
        assert_eq!(refused.into_inner()(), 3);
        // gevent refuses a negative size; here there is no such number.
        let pool = Pool::new(2);
        assert_eq!(pool.wait_available(None).unwrap(), 2);
    });
}

/// A51: a member runs what it gives to its own pool itself.
#[test]
fn test_reentrant() {
    on_workers!({
        let pool = Pool::new(1);
        let inner = pool.clone();
        let result = pool.run(move || {
            let member = greenloop::current().id();
            let nested = inner.clone();
            inner
                .run(move || nested.run(move || (greenloop::current().id() == member, 42)))
                .unwrap()
                .unwrap()
        });
        assert_eq!(result.unwrap(), (true, 42));
        // So it does with the items of a map.
        let inner = pool.clone();
        let squares = pool.run(move || {
            let squares = inner.map(1..=3, |n| n * n).unwrap();
            squares.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        });
        assert_eq!(squares.unwrap(), [1, 4, 9]);
        let inner = pool.clone();
        let panic = pool.run(move || inner.run(|| panic!("inner")).unwrap_err().to_string());
        assert_eq!(panic.unwrap(), "greenlet panicked: inner");
        assert_eq!(pool.free_count(), 1);
    });
}

/// `apply_async` never waits, also where the pool is full.
#[test]
fn test_execute_async() {
    on_workers!({
        let (pool, go) = (Pool::new(2), Event::new());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..20)
            .map(|n| {
                let (go, running, most) = (go.clone(), running.clone(), most.clone());
                pool.submit(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    go.wait().unwrap();
                    running.fetch_sub(1, Ordering::SeqCst);
                    n
                })
            })
            .collect();
        eventually("the others stand in line", || pool.waiting() == 18);
        // Killed there, it never runs.
        jobs[19].kill_and_wait(None).unwrap();
        go.set();
        for (n, job) in jobs.into_iter().enumerate() {
            if n == 19 {
                assert!(job.join().unwrap_err().is_killed());
            } else {
                assert_eq!(job.join().unwrap(), n);
            }
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!((pool.free_count(), pool.waiting()), (2, 0));
    });
}

#[test]
fn test_apply() {
    on_workers!({
        let pool = Pool::new(3);
        assert_eq!(pool.run(|| 6 * 7).unwrap(), 42);
        assert!(pool.run(|| panic!("apply")).unwrap_err().is_panic());
        // The caller's end is not the job's.
        let (done, go) = (Event::new(), Event::new());
        let (done2, go2) = (done.clone(), go.clone());
        let limit = Timeout::start(5 * MS);
        let error = pool.run(move || {
            go2.wait().unwrap();
            done2.set();
        });
        assert!(error.unwrap_err().is_wait_error());
        drop(limit);
        go.set();
        done.wait().unwrap();
        pool.join().unwrap();
    });
}

#[test]
fn test_multiple_coros() {
    on_workers!([1], {
        greenloop::run(|| {
            let (pool, log) = (Pool::new(2), Arc::new(Mutex::new(Vec::new())));
            let go = Event::new();
            let consumer = {
                let (go, log) = (go.clone(), log.clone());
                pool.spawn(move || {
                    log.lock().unwrap().push("cons1");
                    go.wait().unwrap();
                    log.lock().unwrap().push("cons2");
                })
            };
            let producer = {
                let log = log.clone();
                pool.spawn(move || {
                    log.lock().unwrap().push("prod");
                    go.set();
                })
            };
            producer.unwrap().join().unwrap();
            consumer.unwrap().join().unwrap();
            assert_eq!(*log.lock().unwrap(), ["cons1", "prod", "cons2"]);
        });
    });
}

#[test]
fn test_map() {
    on_workers!({
        for size in [1, 10, usize::MAX] {
            let pool = Pool::new(size);
            let squares = pool.map(0..100, |n| n * n).unwrap();
            let squares: Vec<_> = squares.into_iter().map(Result::unwrap).collect();
            assert_eq!(squares, (0..100).map(|n| n * n).collect::<Vec<_>>());
            assert_eq!(pool.free_count(), size);
        }
        assert!(Pool::new(1).map([0; 0], |n| n).unwrap().is_empty());
    });
}

/// Places are filled while the first item holds its own.
#[test]
fn test_map_goes_on_behind_a_slow_item() {
    on_workers!({
        let (pool, rest) = (Pool::new(2), Arc::new(AtomicUsize::new(0)));
        let results = pool.map(0..50, move |n| {
            if n == 0 {
                eventually_cooperative(|| rest.load(Ordering::SeqCst) == 49);
            } else {
                rest.fetch_add(1, Ordering::SeqCst);
            }
            n
        });
        let results: Vec<_> = results.unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (0..50).collect::<Vec<_>>());
    });
}

fn eventually_cooperative(mut condition: impl FnMut() -> bool) {
    let limit = Timeout::start(Duration::from_secs(20));
    while !condition() {
        sleep(MS).unwrap();
    }
    drop(limit);
}

#[test]
fn test_imap() {
    on_workers!({
        let pool = Pool::new(10);
        let pause = |n: u64| {
            sleep(Duration::from_micros((n * 7919) % 3000)).unwrap();
            n
        };
        let ordered: Vec<_> = pool.stream(0..100, pause).map(Result::unwrap).collect();
        assert_eq!(ordered, (0..100).collect::<Vec<_>>());
        let mut unordered: Vec<_> = pool
            .stream_unordered(0..100, pause)
            .map(Result::unwrap)
            .collect();
        unordered.sort_unstable();
        assert_eq!(unordered, ordered);
        assert!(pool.stream([0; 0], |n| n).next().is_none());
        assert!(pool.stream_unordered([0; 0], |n| n).next().is_none());
    });
}

/// Results come as they are there, not in order.
#[test]
fn test_imap_unordered() {
    on_workers!({
        let (pool, go) = (Pool::new(2), Event::new());
        let wait = {
            let go = go.clone();
            move |n| {
                if n == 0 {
                    go.wait().unwrap();
                }
                n
            }
        };
        let mut stream = pool.stream_unordered(0..3, wait);
        assert_eq!(stream.next().unwrap().unwrap(), 1);
        assert_eq!(stream.next().unwrap().unwrap(), 2);
        go.set();
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        assert!(stream.next().is_none());
    });
}

/// gevent's `maxsize` bounds what is finished and unread; ours counts what runs as well.
#[test]
fn test_imap_maxsize() {
    on_workers!({
        let pool = Pool::new(8);
        let pulled = AtomicUsize::new(0);
        // The input is borrowed: it is read by whoever asks for results.
        let input = (0..100).inspect(|_| _ = pulled.fetch_add(1, Ordering::SeqCst));
        let mut stream = pool.stream(input, |n| n).buffer(3);
        assert_eq!(
            pulled.load(Ordering::SeqCst),
            0,
            "nothing before it is asked for"
        );
        for read in 1..=10 {
            assert_eq!(stream.next().unwrap().unwrap(), read - 1);
            let pulled = pulled.load(Ordering::SeqCst);
            assert!(
                (read..read + 3).contains(&pulled),
                "{pulled} pulled, {read} read"
            );
        }
        pool.join().unwrap();
        assert!(
            pulled.load(Ordering::SeqCst) <= 12,
            "nothing between two calls"
        );
    });
}

/// An item's error comes at its place, and the iteration goes on.
#[test]
fn test_error_in_handler() {
    on_workers!({
        let pool = Pool::new(3);
        let work = |n: i32| 12 / n;
        let show = |result: Result<i32, greenloop::JoinError>| match result {
            Ok(n) => n.to_string(),
            Err(error) => error.to_string(),
        };
        let broken = "greenlet panicked: attempt to divide by zero";
        let all = ["12", broken, "4", broken, "3"];
        let mapped = pool.map([1, 0, 3, 0, 4], work).unwrap();
        assert_eq!(mapped.into_iter().map(show).collect::<Vec<_>>(), all);
        let ordered = pool.stream([1, 0, 3, 0, 4], work).map(show);
        assert_eq!(ordered.collect::<Vec<_>>(), all);
        let unordered = pool.stream_unordered([1, 0, 3, 0, 4], work).map(show);
        let mut unordered: Vec<_> = unordered.collect();
        unordered.sort_unstable();
        assert_eq!(unordered, ["12", "3", "4", broken, broken]);
        assert_eq!(pool.free_count(), 3);
    });
}

/// A54: the input fails at its third item; what came before is not lost.
#[test]
fn test_error_in_iterator() {
    on_workers!({
        let pool = Pool::new(2);
        let input = || (0..5).inspect(|n| assert_ne!(*n, 2, "greenlet expected it"));
        let mut stream = pool.stream(input(), |n| n * 10);
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        assert_eq!(stream.next().unwrap().unwrap(), 10);
        let error = stream.next().unwrap().unwrap_err();
        assert!(
            error.to_string().contains("greenlet expected it"),
            "{error}"
        );
        assert!(stream.next().is_none());
        let unordered: Vec<_> = pool.stream_unordered(input(), |n| n).collect();
        assert_eq!(unordered.len(), 3);
        assert!(unordered[2].as_ref().unwrap_err().is_panic());
        let mapped = pool.map(input(), |n| n).unwrap();
        assert!(mapped[2].as_ref().unwrap_err().is_panic());
        assert_eq!((mapped.len(), pool.free_count()), (3, 2));
    });
}

#[test]
fn test_async_timeout() {
    on_workers!({
        let pool = Pool::new(1);
        let job = pool.submit(|| sleep(LONG));
        assert!(!job.wait_timeout(10 * MS).unwrap());
        // `terminate` is the group's kill.
        pool.kill().unwrap();
        assert!(job.join().unwrap_err().is_killed());
    });
}

#[test]
fn test_terminate() {
    on_workers!({
        let (pool, ran) = (Pool::new(3), Arc::new(AtomicUsize::new(0)));
        let mapper = {
            let (pool, ran) = (pool.clone(), ran.clone());
            spawn(move || {
                pool.map(0..1000, move |_| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    sleep(LONG)
                })
            })
        };
        eventually("three run", || ran.load(Ordering::SeqCst) == 3);
        mapper.kill_and_wait(None).unwrap();
        // Nobody can have the results any more: what ran for them is killed.
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert_eq!(ran.load(Ordering::SeqCst), 3);
        assert_eq!(pool.free_count(), 3);
    });
}

/// A17: the block ends well, so its greenlets are joined.
#[test]
fn test_context_manager_joins() {
    on_workers!({
        let done = AtomicUsize::new(0);
        let returned: Result<_, Error> = try_scope(|s| {
            for _ in 0..5 {
                s.spawn(|| {
                    yield_now()?;
                    done.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
            }
            Ok("value")
        });
        assert_eq!(returned.unwrap(), "value");
        assert_eq!(done.into_inner(), 5);
    });
}

/// A17: the block fails, so its greenlets are killed, and nothing hangs. gevent throws the
/// block's own exception into them; ours see a kill.
#[test]
fn test_context_manager_kills() {
    on_workers!({
        let killed = AtomicUsize::new(0);
        let begun = AtomicUsize::new(0);
        let failed: Result<(), Error> = try_scope(|s| {
            for _ in 0..5 {
                s.spawn(|| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let error = sleep(LONG).unwrap_err();
                    killed.fetch_add(usize::from(error.is_cancelled()), Ordering::SeqCst);
                    Err::<(), _>(error)
                });
            }
            eventually("all sleep", || begun.load(Ordering::SeqCst) == 5);
            Err(std::io::Error::other("the block's own").into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "the block's own");
        assert_eq!(killed.into_inner(), 5);
    });
}
