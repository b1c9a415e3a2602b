//! The parker: one outcome, known to both ends, and nobody sleeps on.

use std::sync::Arc;

use crate::check;
use crate::greenlets::{go, kill, parker_of, run, task};
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, WaitList};
use crate::runtime::reason::Wait;
use crate::util::lock;
use crate::util::sync::{Mutex, thread};

#[test]
fn unpark_and_kill_have_one_outcome() {
    check("unpark against kill", &["woken", "killed"], || {
        let task = task();
        let parker = parker_of(&task);
        let unparker = parker.unparker();
        let waiter = run(&task, || parker.park(Wait::Event, Deadline::NEVER));
        let waker = go(move || unparker.unpark());
        kill(&task);
        let woken = waker.join().unwrap();
        assert_eq!(waiter.join().unwrap().is_ok(), woken);
        if woken { "woken" } else { "killed" }
    });
}

#[test]
fn a_wake_up_after_the_departure_is_refused() {
    check("kill alone", &["killed"], || {
        let task = task();
        let parker = parker_of(&task);
        let unparker = parker.unparker();
        let waiter = run(&task, || parker.park(Wait::Event, Deadline::NEVER));
        kill(&task);
        assert!(waiter.join().unwrap().unwrap_err().is_cancelled());
        assert!(unparker.is_settled() && !unparker.unpark());
        "killed"
    });
}

#[test]
fn one_of_two_unparkers_wakes() {
    check("two unparkers", &["first", "second"], || {
        let task = task();
        let parker = parker_of(&task);
        let (one, other) = (parker.unparker(), parker.unparker());
        let waiter = run(&task, || parker.park(Wait::Event, Deadline::NEVER));
        let waker = go(move || one.unpark());
        let woke = other.unpark();
        waiter.join().unwrap().unwrap();
        assert_ne!(waker.join().unwrap(), woke);
        if woke { "second" } else { "first" }
    });
}

#[test]
fn who_is_unparked_before_it_parks_goes_on() {
    check("unpark before park", &["woken"], || {
        let task = task();
        let parker = parker_of(&task);
        let (one, other) = (parker.unparker(), parker.unparker());
        assert!(one.unpark());
        let waiter = run(&task, || parker.park(Wait::Event, Deadline::NEVER));
        let late = go(move || other.unpark());
        waiter.join().unwrap().unwrap();
        assert!(!late.join().unwrap());
        "woken"
    });
}

#[test]
fn threads_park_as_greenlets_do() {
    check("an OS thread parks", &["early", "woken"], || {
        let slot = Arc::new(Mutex::new(None));
        let waiter = {
            let slot = slot.clone();
            thread::spawn(move || {
                let parker = Parker::new();
                *lock(&slot) = Some(parker.unparker());
                parker.park(Wait::Event, Deadline::NEVER)
            })
        };
        let mut end = "woken";
        let unparker = loop {
            if let Some(unparker) = lock(&slot).take() {
                break unparker;
            }
            end = "early";
            thread::yield_now();
        };
        assert!(unparker.unpark());
        waiter.join().unwrap().unwrap();
        end
    });
}

/// The second wait begins with the first one's token still there: the engine takes it by a
/// load and a plain store, between which the second wake-up may come.
pub(crate) fn two_waits_in_a_row() -> &'static str {
    let task = task();
    let (first, second) = (parker_of(&task), parker_of(&task));
    let (one, other) = (first.unparker(), second.unparker());
    let waiter = run(&task, || {
        first.park(Wait::Event, Deadline::NEVER).unwrap();
        second.park(Wait::Event, Deadline::NEVER).unwrap();
    });
    let waker = go(move || assert!(one.unpark()));
    assert!(other.unpark());
    waker.join().unwrap();
    waiter.join().unwrap();
    "woken"
}

#[test]
fn a_token_left_over_costs_no_wake_up() {
    check("two waits in a row", &["woken"], two_waits_in_a_row);
}

#[test]
fn the_lines_first_that_still_waits_is_woken() {
    let name = "a line of two, the first killed";
    check(name, &["first", "second"], || {
        let tasks = [task(), task()];
        let mut line = WaitList::new();
        let [first, second] = [1, 2].map(|number| {
            let parker = parker_of(&tasks[number - 1]);
            line.push(parker.unparker(), number);
            parker
        });
        let waiter = run(&tasks[0], || first.park(Wait::Event, Deadline::NEVER));
        let waker = run(&tasks[1], move || {
            // The second has not left, so somebody is woken.
            let woken = line.wake_one().unwrap();
            line.wake_all();
            second.park(Wait::Event, Deadline::NEVER).unwrap();
            woken
        });
        kill(&tasks[0]);
        let woken = waker.join().unwrap();
        assert_eq!(waiter.join().unwrap().is_ok(), woken == 1);
        if woken == 1 { "first" } else { "second" }
    });
}
