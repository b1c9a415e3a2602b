//! Semaphore, event, queue and scope: order, and nothing lost to those who leave.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::{Event, Queue, Semaphore, scope};
use greenloop::{Deadline, Timeout, sleep, spawn, yield_now};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

#[test]
fn semaphore_serves_waiters_in_order_of_arrival() {
    on_workers!([1], {
        greenloop::run(|| {
            let semaphore = Semaphore::new(1);
            let log = Arc::new(Mutex::new(Vec::new()));
            let first = semaphore.acquire().unwrap();
            let waiters: Vec<_> = (0..5)
                .map(|n| {
                    let (semaphore, log) = (semaphore.clone(), log.clone());
                    spawn(move || {
                        let _permit = semaphore.acquire().unwrap();
                        log.lock().unwrap().push(n);
                    })
                })
                .collect();
            while semaphore.waiting() < 5 {
                yield_now().unwrap();
            }
            drop(first);
            assert!(
                semaphore.try_acquire().is_none(),
                "nobody overtakes the waiters"
            );
            for waiter in waiters {
                waiter.join().unwrap();
            }
            assert_eq!(*log.lock().unwrap(), [0, 1, 2, 3, 4]);
            assert_eq!(semaphore.available(), 1);
        });
    });
}

#[test]
fn semaphore_keeps_the_order_around_those_who_leave_the_line() {
    on_workers!([1], {
        greenloop::run(|| {
            let semaphore = Semaphore::new(0);
            let log = Arc::new(Mutex::new(Vec::new()));
            let waiters: Vec<_> = (0..100)
                .map(|n| {
                    let (semaphore, log) = (semaphore.clone(), log.clone());
                    spawn(move || {
                        if let Ok(permit) = semaphore.acquire() {
                            permit.forget();
                            log.lock().unwrap().push(n);
                        }
                    })
                })
                .collect();
            while semaphore.waiting() < 100 {
                yield_now().unwrap();
            }
            // From the middle outwards, so that neither end of the line hides a gap; few
            // at first, then most.
            let stays = |n: usize| n % 10 == 3;
            for n in (0..50).rev().flat_map(|n| [n, 99 - n]) {
                if !stays(n) {
                    waiters[n].kill();
                    waiters[n].wait().unwrap();
                }
            }
            assert_eq!(semaphore.waiting(), 10);
            semaphore.add_permits(10);
            for waiter in waiters.iter() {
                waiter.wait().unwrap();
            }
            let served: Vec<_> = (0..100).filter(|n| stays(*n)).collect();
            assert_eq!(*log.lock().unwrap(), served);
            assert_eq!(semaphore.waiting(), 0);
        });
    });
}

#[test]
fn semaphore_permits_survive_killed_and_timed_out_waiters() {
    on_workers!({
        let semaphore = Semaphore::new(3);
        let inside = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let greenlets: Vec<_> = (0..300_u64)
            .map(|n| {
                let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
                spawn(move || {
                    for round in 0..20 {
                        let limit = Duration::from_micros((n * 37 + round * 11) % 900);
                        let Ok(permit) = semaphore.acquire_timeout(limit) else {
                            continue;
                        };
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let rested = yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                        if rested.is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        for greenlet in greenlets.iter().step_by(3) {
            greenlet.kill();
        }
        // Threads wait in the same line.
        let thread = {
            let semaphore = semaphore.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    drop(semaphore.acquire().unwrap());
                }
            })
        };
        for greenlet in greenlets {
            let _ = greenlet.join();
        }
        thread.join().unwrap();
        assert_eq!((semaphore.available(), semaphore.waiting()), (3, 0));
        assert!(most.load(Ordering::SeqCst) <= 3);
    });
}

#[test]
fn semaphore_close_refuses_those_who_wait_and_those_who_come() {
    on_workers!({
        let semaphore = Semaphore::new(0);
        let waiters: Vec<_> = (0..10)
            .map(|_| {
                let semaphore = semaphore.clone();
                spawn(move || semaphore.acquire().map(drop))
            })
            .collect();
        eventually("ten wait", || semaphore.waiting() == 10);
        semaphore.close();
        for waiter in waiters {
            assert!(waiter.join().unwrap().unwrap_err().is_closed());
        }
        assert!(semaphore.acquire().unwrap_err().is_closed());
        assert!(semaphore.try_acquire().is_none());
        semaphore.add_permits(2);
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn semaphore_deadline_and_forgotten_permits() {
    on_workers!({
        let semaphore = Semaphore::new(1);
        semaphore
            .acquire_deadline(Deadline::after(Duration::ZERO))
            .unwrap()
            .forget();
        let start = Instant::now();
        assert!(semaphore.acquire_timeout(5 * MS).unwrap_err().is_timeout());
        assert!(start.elapsed() >= 5 * MS);
        let outer = Timeout::start(MS);
        let error = semaphore.acquire_timeout(LONG).unwrap_err();
        assert!(outer.owns(&error), "{error}");
    });
}

#[test]
fn event_set_and_cleared_at_once_wakes_everyone_present() {
    on_workers!({
        let event = Event::new();
        let arrived = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let (event, arrived) = (event.clone(), arrived.clone());
                spawn(move || {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    event.wait()
                })
            })
            .collect();
        let thread = {
            let event = event.clone();
            std::thread::spawn(move || event.wait())
        };
        eventually("all wait", || format!("{event:?}").contains("waiting: 101"));
        event.set();
        event.clear();
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
        thread.join().unwrap().unwrap();
        assert!(!event.is_set());
        assert!(
            !event.wait_timeout(2 * MS).unwrap(),
            "a later one waits again"
        );
    });
}

#[test]
fn event_wait_tells_its_own_limit_from_an_outer_one() {
    on_workers!({
        let event = Event::new();
        let outer = Timeout::start(20 * MS);
        assert!(!event.wait_timeout(MS).unwrap());
        let error = event.wait_timeout(LONG).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        drop(outer);
        let killed = {
            let event = event.clone();
            spawn(move || event.wait().unwrap_err().is_cancelled())
        };
        assert!(killed.kill_and_wait(None).unwrap());
    });
}

#[test]
fn queue_keeps_order_and_bounds() {
    on_workers!({
        let queue = Queue::bounded(3);
        let getter = {
            let queue = queue.clone();
            spawn(move || {
                let mut got = Vec::new();
                while let Ok(n) = queue.get() {
                    assert!(queue.len() <= 3);
                    got.push(n);
                }
                got
            })
        };
        for n in 0..1000 {
            queue.put(n).unwrap();
        }
        queue.close();
        assert_eq!(getter.join().unwrap(), (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn queue_timeouts_leave_the_item_where_it_was() {
    on_workers!({
        let queue = Queue::bounded(1);
        assert!(queue.get_timeout(MS).unwrap_err().is_timeout());
        queue.put("first").unwrap();
        let refused = queue.put_timeout("second", MS).unwrap_err();
        assert!(refused.error().is_timeout());
        assert_eq!(refused.into_item(), "second");
        let full = queue.try_put("third").unwrap_err();
        assert!(full.is_full());
        assert_eq!(queue.get().unwrap(), "first");
        assert_eq!(queue.try_get().unwrap(), None);
    });
}

#[test]
fn queue_close_drains_and_gives_waiting_putters_their_items_back() {
    on_workers!({
        let queue = Queue::bounded(1);
        queue.put(1).unwrap();
        let putter = {
            let queue = queue.clone();
            spawn(move || queue.put(2).unwrap_err())
        };
        eventually("the putter waits", || {
            format!("{queue:?}").contains("putting: 1")
        });
        queue.close();
        let refused = putter.join().unwrap();
        assert!(refused.error().is_closed());
        assert_eq!(refused.into_item(), 2);
        assert!(queue.put(3).unwrap_err().error().is_closed());
        assert_eq!(queue.get().unwrap(), 1);
        assert!(queue.get().unwrap_err().is_closed());
    });
}

#[test]
fn queue_loses_no_item_to_kills_and_timeouts() {
    on_workers!({
        let queue = Queue::bounded(4);
        let got = Arc::new(AtomicUsize::new(0));
        let put = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let getters: Vec<_> = (0..40_u64)
            .map(|n| {
                let (queue, got, stop) = (queue.clone(), got.clone(), stop.clone());
                spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        match queue.get_timeout(Duration::from_micros(50 + n * 13 % 400)) {
                            Ok(()) => drop(got.fetch_add(1, Ordering::SeqCst)),
                            Err(e) if e.is_timeout() => {}
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        let putters: Vec<_> = (0..40_u64)
            .map(|n| {
                let (queue, put) = (queue.clone(), put.clone());
                spawn(move || {
                    for _ in 0..400 {
                        match queue.put_timeout((), Duration::from_micros(50 + n * 7 % 400)) {
                            Ok(()) => drop(put.fetch_add(1, Ordering::SeqCst)),
                            Err(e) if e.error().is_timeout() => {}
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        for (getter, putter) in getters.iter().zip(&putters).step_by(4) {
            getter.kill();
            putter.kill();
        }
        for putter in putters {
            let _ = putter.join();
        }
        stop.store(true, Ordering::SeqCst);
        for getter in getters {
            let _ = getter.join();
        }
        let left = queue.len();
        assert_eq!(
            got.load(Ordering::SeqCst) + left,
            put.load(Ordering::SeqCst)
        );
    });
}

#[test]
fn queue_serves_threads_and_greenlets_alike() {
    on_workers!({
        let there = Queue::bounded(2);
        let back = Queue::unbounded();
        let greenlet = {
            let (there, back) = (there.clone(), back.clone());
            spawn(move || {
                while let Ok(n) = there.get() {
                    back.put(n * 2).unwrap();
                }
            })
        };
        let thread = {
            let there: Queue<usize> = there.clone();
            std::thread::spawn(move || (0..500).for_each(|n| there.put(n).unwrap()))
        };
        for n in 0..500 {
            assert_eq!(back.get().unwrap(), n * 2);
        }
        thread.join().unwrap();
        there.close();
        greenlet.join().unwrap();
    });
}

/// Sets itself to zero when it is dropped, so that a borrow past that is seen.
struct Canary(AtomicUsize);

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// A child that reads borrowed data as long as it may, also after its kill.
fn watch(canary: &Canary, bad: &AtomicUsize) {
    let mut seen_kill = 0;
    while seen_kill < 50 {
        if canary.0.load(Ordering::SeqCst) != 5 {
            bad.fetch_add(1, Ordering::SeqCst);
        }
        if greenloop::is_killed() {
            // Lives on for a while, as clean-up does.
            let _ = greenloop::shield(|| sleep(Duration::from_micros(200)));
            seen_kill += 1;
        } else {
            let _ = sleep(Duration::from_micros(100));
        }
    }
}

#[test]
fn scope_children_never_outlive_a_killed_parent() {
    on_workers!({
        let bad = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicUsize::new(0));
        let parents: Vec<_> = (0..30)
            .map(|_| {
                let (bad, begun, ended) = (bad.clone(), begun.clone(), ended.clone());
                spawn(move || {
                    let canary = Canary(AtomicUsize::new(5));
                    let result = scope(|s| {
                        for _ in 0..3 {
                            let canary = &canary;
                            let (bad, begun, ended) = (&bad, &begun, &ended);
                            s.spawn(move || {
                                begun.fetch_add(1, Ordering::SeqCst);
                                watch(canary, bad);
                                ended.fetch_add(1, Ordering::SeqCst);
                            });
                        }
                        sleep(LONG)
                    });
                    assert!(result.is_err_and(|e| e.is_cancelled()));
                    // The frame goes; no child may be left to see it.
                })
            })
            .collect();
        // One that is killed before its first turn never runs, and would not count.
        eventually("all children run", || begun.load(Ordering::SeqCst) == 90);
        for parent in &parents {
            parent.kill();
        }
        for parent in parents {
            assert!(parent.join().unwrap_err().is_killed());
        }
        assert_eq!(bad.load(Ordering::SeqCst), 0);
        assert_eq!(
            ended.load(Ordering::SeqCst),
            90,
            "each child ended before its parent"
        );
    });
}

#[test]
fn scope_waits_when_its_closure_panics() {
    on_workers!({
        let greenlet = spawn(|| {
            let canary = Canary(AtomicUsize::new(5));
            let bad = AtomicUsize::new(0);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| -> () {
                    s.spawn(|| watch(&canary, &bad));
                    panic!("closure");
                })
            }));
            let panic = panic.unwrap_err();
            (panic.downcast_ref::<&str>().copied(), bad.into_inner())
        });
        assert_eq!(greenlet.join().unwrap(), (Some("closure"), 0));
        // The same on an OS thread.
        let bad = AtomicUsize::new(0);
        let canary = Canary(AtomicUsize::new(5));
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _ = scope(|s| -> () {
                s.spawn(|| watch(&canary, &bad));
                panic!("thread");
            });
        }));
        assert!(panic.is_err());
        assert_eq!(bad.into_inner(), 0);
    });
}

#[test]
fn scope_under_a_timeout_ends_its_children() {
    on_workers!({
        let data = vec![7; 100];
        let outer = Timeout::start(10 * MS);
        let error = scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    let slept = sleep(LONG);
                    assert_eq!(data.iter().sum::<i32>(), 700);
                    slept
                });
            }
        })
        .unwrap_err();
        assert!(outer.owns(&error), "{error}");
    });
}

#[test]
fn scope_reports_a_panic_nobody_joined() {
    on_workers!({
        let unjoined = catch_unwind(|| scope(|s| drop(s.spawn(|| panic!("child")))).unwrap());
        let text = unjoined.unwrap_err();
        let text = text.downcast_ref::<String>().unwrap();
        assert!(text.contains("child"), "{text}");
        let joined = scope(|s| s.spawn(|| panic!("told")).join().is_err());
        assert!(joined.unwrap());
    });
}

#[test]
fn scope_waits_for_what_its_children_start() {
    on_workers!({
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    for _ in 0..10 {
                        s.spawn(|| {
                            yield_now().unwrap();
                            count.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        })
        .unwrap();
        assert_eq!(count.into_inner(), 100);
    });
}
