//! gevent's `test__iwait.py`, `test__wait.py`, `test__issue467.py`, and `TestWait*` of
//! `test__event.py`.

use std::time::{Duration, Instant};

use greenloop::signal::{SIGUSR2, Signals};
use greenloop::sync::{Event, Queue, Semaphore, Waitable, wait_some};
use greenloop::{
    Timeout, as_completed, sleep, spawn, wait_all, wait_any, wait_any_timeout, yield_now,
};

use crate::support::on_workers;

const SHORT: Duration = Duration::from_millis(10);
const FOREVER: Duration = Duration::from_secs(600);

// A23. One has ended, three run; the caller sleeps between two items.
#[test]
fn test_issue467() {
    on_workers!({
        let finished = spawn(|| 0);
        finished.wait().unwrap();
        let running = (1..=3).map(|n| {
            spawn(move || {
                sleep(SHORT * n).unwrap();
                n
            })
        });
        let mut got = Vec::new();
        for greenlet in as_completed(std::iter::once(finished).chain(running)) {
            got.push(greenlet.unwrap().join().unwrap());
            sleep(SHORT).unwrap();
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3]);
    });
}

#[test]
fn test_iwait_partial_unlinks() {
    on_workers!({
        let quick = spawn(|| 1);
        let slow = spawn(|| {
            sleep(FOREVER).unwrap_err();
            2
        });
        let slow_handle = slow.handle();
        let mut completed = as_completed([slow, quick]);
        let first = completed.next().unwrap().unwrap();
        assert_eq!(first.join().unwrap(), 1);
        drop(completed);
        slow_handle.kill();
        slow_handle.wait().unwrap();
    });
}

// A timeout of the caller's is an item; the iterator can be asked again.
#[test]
fn test_iwait_timeout() {
    on_workers!({
        let go = Event::new();
        let greenlet = spawn({
            let go = go.clone();
            move || go.wait()
        });
        let mut completed = as_completed([greenlet]);
        let limit = Timeout::start(SHORT);
        let error = completed.next().unwrap().unwrap_err();
        assert!(limit.owns(&error));
        drop(limit);
        go.set();
        completed.next().unwrap().unwrap().join().unwrap().unwrap();
        assert!(completed.next().is_none());
    });
}

#[test]
fn test_iwait_nothing() {
    assert!(as_completed::<()>([]).next().is_none());
    wait_all(&[]).unwrap();
    assert!(wait_any(&[]).is_err());
}

// Every kind of object that can be waited for, ready before and during the call.
#[test]
fn test_wait_any_kind() {
    on_workers!({
        type Make = fn() -> (Box<dyn Waitable + Send + Sync>, Box<dyn FnOnce() + Send>);
        let kinds: [(&str, Make); 6] = [
            ("greenlet", || {
                let go = Event::new();
                let gate = go.clone();
                (
                    Box::new(spawn(move || gate.wait())),
                    Box::new(move || go.set()),
                )
            }),
            ("event", || {
                let event = Event::new();
                (Box::new(event.clone()), Box::new(move || event.set()))
            }),
            ("semaphore", || {
                let semaphore = Semaphore::new(0);
                (
                    Box::new(semaphore.clone()),
                    Box::new(move || semaphore.add_permits(1)),
                )
            }),
            ("queue", || {
                let queue = Queue::unbounded();
                (
                    Box::new(queue.clone()),
                    Box::new(move || queue.put(1).unwrap()),
                )
            }),
            ("closed queue", || {
                let queue = Queue::<u32>::unbounded();
                (Box::new(queue.clone()), Box::new(move || queue.close()))
            }),
            ("signal", || {
                let signals = Signals::new(&[SIGUSR2]).unwrap();
                let raise = || {
                    let this = rustix::process::getpid();
                    rustix::process::kill_process(this, rustix::process::Signal::USR2).unwrap();
                };
                (Box::new(signals), Box::new(raise))
            }),
        ];
        for (name, make) in kinds {
            let never = Event::new();
            let (object, ready) = make();
            let objects: [&dyn Waitable; 2] = [&never, &*object];
            assert_eq!(wait_any_timeout(&objects, SHORT).unwrap(), None, "{name}");
            let waker = spawn(ready);
            assert_eq!(wait_any(&objects).unwrap(), 1, "{name}");
            // Nothing was taken: it is ready still.
            assert_eq!(wait_any(&objects).unwrap(), 1, "{name}");
            waker.join().unwrap();
        }
    });
}

// An event that is set and cleared at once was ready for all who waited.
#[test]
fn test_wait_set_then_clear() {
    on_workers!({
        let event = Event::new();
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let event = event.clone();
                spawn(move || wait_any(&[&event, &Event::new()]))
            })
            .collect();
        // Each of them is in its wait, as far as the dump can tell.
        crate::support::eventually("all wait", || {
            let all = greenloop::greenlets();
            all.iter()
                .filter(|g| g.state == "the first of several")
                .count()
                == 100
        });
        event.set();
        event.clear();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap(), 0);
        }
    });
}

// The order is that of readiness.
#[test]
fn test_wait_count_and_order() {
    on_workers!([1], {
        greenloop::run(|| {
            let events: Vec<_> = (0..4).map(|_| Event::new()).collect();
            spawn({
                let events = events.clone();
                move || {
                    for n in [2, 0, 3] {
                        events[n].set();
                        yield_now().unwrap();
                    }
                }
            });
            let objects: Vec<&dyn Waitable> = events.iter().map(|e| e as _).collect();
            assert_eq!(wait_some(&objects, 3, None).unwrap(), [2, 0, 3]);
            let start = Instant::now();
            assert_eq!(wait_some(&objects, 4, Some(SHORT)).unwrap(), [0, 2, 3]);
            assert!(start.elapsed() >= SHORT);
        });
    });
}

// Watches leave nothing behind, however the wait ends.
#[test]
fn test_wait_unlinks_on_kill_and_timeout() {
    on_workers!({
        let event = Event::new();
        for round in 0..200 {
            let event = event.clone();
            let waiter = spawn(move || {
                let _limit = Timeout::start((round % 2 == 0).then_some(Duration::from_micros(50)));
                wait_any(&[&event, &event, &Event::new()])
            });
            if round % 2 == 1 {
                waiter.kill();
            }
            waiter.wait().unwrap();
        }
        assert_eq!(
            format!("{event:?}"),
            "Event { set: false, waiting: 0, watching: 0 }"
        );
    });
}
