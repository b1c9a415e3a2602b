//! Deadlines against everything else: each comes, none comes twice, none takes anything
//! away.

use crate::greenlets::{at, go, kill, parker_of, run, task};
use crate::runtime::clock;
use crate::runtime::deadline::{Deadline, Timeout};
use crate::runtime::park::Parker;
use crate::runtime::reason::Wait;
use crate::sync::queue::{PutError, Queue};
use crate::sync::semaphore::Semaphore;
use crate::{WITHOUT_NOTES, check, is_found};
use std::time::Duration;

/// A moment that never comes in a model.
const FAR: u64 = 10_000_000_000;

/// Waits until `limit` for what nobody brings.
fn sleep_until(limit: u64) {
    let error = Parker::new().park(Wait::Sleep, at(limit)).unwrap_err();
    assert!(error.is_timeout() && clock::now() >= limit);
}

fn one_sleep() -> &'static str {
    go(|| sleep_until(10)).join().unwrap();
    "woken"
}

#[test]
fn a_deadline_comes() {
    check("one deadline", &["woken"], one_sleep);
}

#[test]
fn without_notes_a_deadline_is_missed() {
    WITHOUT_NOTES.set(true);
    assert!(is_found("no notes to the timer", || {
        one_sleep();
    }));
}

#[test]
fn deadlines_of_two_come() {
    check("two deadlines", &["woken"], || {
        let sleepers = [20, 10].map(|limit| go(move || sleep_until(limit)));
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        "woken"
    });
}

#[test]
fn unpark_deadline_and_kill_have_one_outcome() {
    let ends = ["woken", "late", "killed"];
    check("unpark against kill and deadline", &ends, || {
        let task = task();
        let parker = parker_of(&task);
        let unparker = parker.unparker();
        let waiter = run(&task, || parker.park(Wait::Event, at(10)));
        let waker = go(move || unparker.unpark());
        kill(&task);
        let woken = waker.join().unwrap();
        match waiter.join().unwrap() {
            Ok(()) => {
                assert!(woken);
                "woken"
            }
            Err(error) => {
                assert!(!woken);
                if error.is_cancelled() {
                    "killed"
                } else {
                    "late"
                }
            }
        }
    });
}

/// The entry of a wait that ended early comes up in a later wait: the timer clears it while
/// the owner looks whether there is one.
fn rearmed(first: u64, then: u64) -> &'static str {
    let task = task();
    let parker = parker_of(&task);
    let unparker = parker.unparker();
    let waiter = run(&task, move || {
        let woken = parker.park(Wait::Event, at(first)).is_ok();
        sleep_until(then);
        woken
    });
    let woke = unparker.unpark();
    assert_eq!(waiter.join().unwrap(), woke);
    if woke { "woken" } else { "late" }
}

#[test]
fn a_later_deadline_finds_the_entry_of_an_earlier_one() {
    check("near, then later", &["woken", "late"], || rearmed(10, 20));
}

#[test]
fn a_nearer_deadline_finds_the_entry_of_a_far_one() {
    check("far, then near", &["woken"], || rearmed(FAR, 20));
}

#[test]
fn the_same_deadline_twice_comes_twice() {
    check("near, then the same", &["woken", "late"], || {
        rearmed(10, 10)
    });
}

#[test]
fn a_timeout_ends_a_wait_without_a_limit_of_its_own() {
    check("a Timeout against an unpark", &["woken", "late"], || {
        let task = task();
        let parker = parker_of(&task);
        let unparker = parker.unparker();
        let waiter = run(&task, move || {
            let limit = Timeout::start(Duration::from_nanos(10));
            let parked = parker.park(Wait::Event, Deadline::NEVER);
            parked.map_err(|error| assert!(limit.owns(&error)))
        });
        let woken = unparker.unpark();
        assert_eq!(waiter.join().unwrap().is_ok(), woken);
        if woken { "woken" } else { "late" }
    });
}

#[test]
fn a_permit_is_never_lost_to_a_waiter_whose_limit_passes() {
    check("a permit and a limit", &["both", "one"], || {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        let [late, other] = [at(10), Deadline::NEVER].map(|limit| {
            let semaphore = semaphore.clone();
            go(move || semaphore.acquire_deadline(limit).map(drop))
        });
        drop(permit);
        let got = late.join().unwrap();
        other.join().unwrap().unwrap();
        assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
        match got {
            Ok(()) => "both",
            Err(error) => {
                assert!(error.is_timeout());
                "one"
            }
        }
    });
}

#[test]
fn an_item_is_never_lost_to_a_limit_on_either_side() {
    let ends = ["through", "back", "left"];
    check("an item and two limits", &ends, || {
        let queue = Queue::bounded(1);
        queue.try_put(1).unwrap();
        let putter = {
            let queue = queue.clone();
            go(move || queue.put_deadline(2, at(10)))
        };
        let getter = {
            let queue = queue.clone();
            go(move || {
                let first = queue.get_deadline(at(10)).unwrap();
                (first, queue.get_deadline(at(10)).ok())
            })
        };
        let put = putter.join().unwrap();
        let (first, second) = getter.join().unwrap();
        let left = queue.try_get().unwrap();
        assert_eq!(first, 1);
        match (put.map_err(PutError::into_item), second, left) {
            (Ok(()), Some(2), None) => "through",
            (Ok(()), None, Some(2)) => "left",
            (Err(2), None, None) => "back",
            other => panic!("{other:?}"),
        }
    });
}
