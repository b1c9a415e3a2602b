//! What a second look at the toolbox found, and what it looked for: user code that panics
//! where nobody expects it, and calls that cross at the worst moment.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use greenloop::sync::{
    Backoff, ChildSpec, Event, Group, Pool, Queue, Restart, Scope, Semaphore, Strategy,
    SupervisorSpec, scope, try_scope,
};
use greenloop::{Builder, Config, Error, Timeout, as_completed, drain, spawn, yield_now};

use crate::support::{child_var, eventually, is_blocked, on_workers, run_child, test_name};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Panics when it is dropped, unless that would end the process.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("the bomb goes off");
        }
    }
}

#[test]
fn a_link_that_panics_with_a_bomb_harms_nobody() {
    on_workers!({
        let (go, (tell, told)) = (Event::new(), channel());
        let greenlet = {
            let go = go.clone();
            spawn(move || go.wait())
        };
        greenlet.on_exit(|_| panic_any(Bomb));
        greenlet.on_exit(move |_| tell.send(()).unwrap());
        go.set();
        told.recv_timeout(LONG).unwrap();
        assert!(drain(Some(LONG)).unwrap());
    });
}

#[test]
fn try_scope_panics_with_a_value_that_panics_in_its_drop() {
    on_workers!({
        let let_go = Event::new();
        let enclosed = || {
            try_scope(|s| {
                drop(s.spawn(|| {
                    let_go.wait()?;
                    Ok(Bomb)
                }));
                let_go.set();
                Ok::<_, Error>(())
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(enclosed)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.ends_with("the bomb goes off"), "{text}");
    });
}

#[test]
fn a_member_that_is_discarded_and_added_at_once_still_leaves_with_its_end() {
    on_workers!({
        for round in 0..3000 {
            let group = Group::new();
            let paused = Builder::new().paused(|| ()).unwrap();
            group.add(&paused);
            let start = Barrier::new(2);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    start.wait();
                    group.discard(&paused);
                });
                start.wait();
                for _ in 0..20 {
                    group.add(&paused);
                }
            });
            drop(paused);
            assert!(group.join_timeout(LONG).unwrap(), "round {round}");
        }
    });
}

#[test]
fn a_stream_may_feed_another_one_of_the_same_pool() {
    on_workers!({
        for size in 1..=3 {
            let reader = spawn(move || {
                let pool = Pool::new(size);
                let doubled = pool.stream(1..=5, |n| 2 * n).map(Result::unwrap);
                let sums = pool.stream(doubled, |n| n + 1).map(Result::unwrap);
                sums.collect::<Vec<_>>()
            });
            assert!(reader.wait_timeout(LONG).unwrap(), "size {size}");
            assert_eq!(reader.join().unwrap(), [3, 5, 7, 9, 11], "size {size}");
        }
    });
}

#[test]
fn a_joiner_sees_that_all_was_done_even_if_more_came_at_once() {
    on_workers!([1], {
        let joined = spawn(|| {
            let queue = Queue::unbounded();
            queue.put(1).unwrap();
            let joiner = {
                let queue = queue.clone();
                spawn(move || queue.join_timeout(LONG))
            };
            while !is_blocked(&joiner) {
                yield_now().unwrap();
            }
            queue.try_get().unwrap().unwrap();
            queue.try_put(2).unwrap();
            joiner.join().unwrap().unwrap()
        });
        assert!(joined.join().unwrap());
    });
}

#[test]
fn as_completed_ends_a_loop_that_passes_errors_over() {
    on_workers!({
        let never = Event::new();
        let reader = {
            let never = never.clone();
            spawn(move || {
                let waiting = spawn(move || never.wait());
                as_completed([waiting]).flatten().count()
            })
        };
        eventually("the reader waits", || is_blocked(&reader));
        reader.kill();
        assert!(reader.wait_timeout(LONG).unwrap());
        never.set();
    });
}

#[test]
fn as_completed_can_be_asked_again_after_a_timeout() {
    on_workers!({
        let go = Event::new();
        let late = {
            let go = go.clone();
            spawn(move || go.wait())
        };
        let mut ended = as_completed([late]);
        let timeout = Timeout::start(Duration::from_millis(2));
        assert!(ended.next().unwrap().unwrap_err().is_timeout());
        assert!(ended.next().is_none());
        drop(timeout);
        go.set();
        ended.next().unwrap().unwrap().join().unwrap().unwrap();
        assert!(ended.next().is_none());
    });
}

#[test]
fn permits_without_end_stay_without_end() {
    on_workers!([1], {
        let permits = Semaphore::new(usize::MAX);
        permits.add_permits(2);
        assert_eq!(permits.available(), usize::MAX);
        drop(permits.acquire().unwrap());
    });
}

#[test]
fn a_greenlet_that_could_not_be_started_has_ended_for_a_hook() {
    on_workers!({
        let (tell, told) = channel();
        let guard = greenloop::hooks::on_spawn(move |handle| tell.send(handle.clone()).unwrap());
        let refused = Builder::new().stack_bytes(1 << 47).try_spawn(|| ());
        drop(guard);
        assert!(refused.is_err());
        let handle = told.recv().unwrap();
        assert!(handle.wait_timeout(LONG).unwrap());
        assert!(drain(Some(LONG)).unwrap());
    });
}

#[test]
fn a_stream_holds_no_place_while_its_input_waits() {
    on_workers!({
        let (pool, items) = (Pool::new(1), Queue::unbounded());
        let reader = {
            let (pool, items) = (pool.clone(), items.clone());
            spawn(move || {
                pool.stream(&items, |n: u8| n)
                    .map(Result::unwrap)
                    .collect::<Vec<_>>()
            })
        };
        eventually("the input waits", || is_blocked(&reader));
        let other = pool.spawn_timeout(|| 7, LONG).unwrap();
        assert_eq!(other.join().unwrap(), 7);
        items.put(1).unwrap();
        items.put(2).unwrap();
        items.close();
        assert_eq!(reader.join().unwrap(), [1, 2]);
    });
}

#[test]
fn a_streams_item_waits_for_a_place_through_timeouts() {
    on_workers!({
        let (pool, go) = (Pool::new(1), Event::new());
        let other = {
            let go = go.clone();
            pool.spawn(move || go.wait()).unwrap()
        };
        let mut stream = pool.stream([1, 2], |n| n);
        for _ in 0..3 {
            let late = stream.next_timeout(Duration::from_millis(2));
            assert!(late.unwrap_err().is_timeout());
        }
        go.set();
        other.join().unwrap().unwrap();
        assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    });
}

#[test]
fn a_supervisors_result_survives_what_its_children_own() {
    on_workers!({
        let bomb = std::sync::Mutex::new(Bomb);
        let child = ChildSpec::new("quiet", move || drop(bomb.lock().unwrap()));
        let spec = SupervisorSpec::new(Strategy::OneForOne);
        let supervisor = spec.child(child.restart(Restart::Temporary)).start();
        supervisor.wait().unwrap();
    });
}

#[test]
fn a_supervisor_at_the_edges_of_its_limits() {
    on_workers!({
        let failing = |restarts_max, within, count: usize| {
            let left = AtomicUsize::new(count);
            let child = ChildSpec::new("failing", move || {
                let left = left.fetch_sub(1, Ordering::SeqCst);
                if left > 1 { Err("again") } else { Ok(()) }
            });
            let spec = SupervisorSpec::new(Strategy::OneForAll).backoff(Backoff::NONE);
            let spec = spec.restarts_max(restarts_max, within);
            spec.child(child.restart(Restart::Transient)).run()
        };
        assert_eq!(failing(0, LONG, 2).unwrap_err().failure(), Some("again"));
        failing(0, LONG, 1).unwrap();
        assert!(failing(9, LONG, 11).is_err());
        failing(9, LONG, 10).unwrap();
        // Within no time there are never too many.
        failing(1, Duration::ZERO, 200).unwrap();
    });
}

#[test]
fn a_scope_that_meets_the_limit_still_waits_for_its_children() {
    if child_var("GREENLOOP_TEST_LIMIT").is_none() {
        let output = run_child(test_name!(), &[("GREENLOOP_TEST_LIMIT", "1")]);
        assert!(output.status.success(), "{}", output.text);
        return;
    }
    Config::new().workers(4).max_greenlets(3).start().unwrap();
    for _ in 0..200 {
        let borrowed = vec![7; 100];
        let alive = AtomicUsize::new(0);
        let child = || {
            alive.fetch_add(1, Ordering::SeqCst);
            while yield_now().is_ok() {}
            assert!(borrowed.iter().all(|n| *n == 7));
            alive.fetch_sub(1, Ordering::SeqCst);
        };
        let full = || {
            scope(|s| {
                for _ in 0..4 {
                    std::mem::forget(s.spawn(child));
                }
            })
        };
        let panic = catch_unwind(AssertUnwindSafe(full)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("3 greenlets are alive"), "{text}");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let fallible = || {
            child();
            Ok::<_, Error>(())
        };
        let full = || {
            try_scope(|s| {
                for _ in 0..3 {
                    s.spawn(fallible);
                }
                s.try_spawn(fallible)?;
                Ok(())
            })
        };
        assert!(full().unwrap_err().to_string().starts_with("3 greenlets"));
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}

/// Starts one more greenlet in its drop.
struct Late<'scope, 'env>(&'scope Scope<'scope, 'env>, &'env AtomicUsize);

impl Drop for Late<'_, '_> {
    fn drop(&mut self) {
        let ended = self.1;
        self.0.spawn(move || {
            for _ in 0..3 {
                let _ = yield_now();
            }
            ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

#[test]
fn a_scope_waits_for_what_destructors_start() {
    on_workers!({
        for round in 0..300 {
            let ended = AtomicUsize::new(0);
            let counted = &ended;
            scope(|s| {
                // An unwanted value, one that is joined, what a body owns, and what a killed
                // one owned that never began.
                drop(s.spawn(move || Late(s, counted)));
                drop(s.spawn(move || Late(s, counted)).join().unwrap());
                let own = Late(s, counted);
                s.spawn(move || drop(own));
                let own = Late(s, counted);
                let killed = s.spawn(move || drop(own));
                killed.handle().kill();
                std::mem::forget(killed);
            })
            .unwrap();
            assert_eq!(ended.load(Ordering::SeqCst), 4, "round {round}");
        }
    });
}
