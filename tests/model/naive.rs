//! A hand-off with the mistake that the product's avoids: a waiter goes away without having
//! settled with those who may give to it. The models must find that an item is lost.

use std::sync::Arc;

use super::waiters::Waiters;
use crate::greenlets::{go, kill, run, task};
use crate::is_found;
use crate::runtime::deadline::Deadline;
use crate::runtime::park::{Parker, check};
use crate::runtime::reason::Wait;
use crate::util::lock;
use crate::util::sync::Mutex;

struct Naive {
    items: Vec<u32>,
    getters: Waiters<u32>,
}

fn get(state: &Mutex<Naive>) -> Option<u32> {
    let parker = Parker::new();
    let place = {
        let mut state = lock(state);
        if let Some(item) = state.items.pop() {
            return Some(item);
        }
        state.getters.join(&parker, None)
    };
    // The mistake: it leaves on its own word, and not on what its parker was told.
    if check(Deadline::NEVER).is_err() {
        return None;
    }
    parker.park(Wait::Queue, Deadline::NEVER).ok()?;
    lock(state).getters.leave(&place)
}

fn put(state: &Mutex<Naive>, item: u32) {
    let mut state = lock(state);
    if let Err(item) = state.getters.give(item) {
        state.items.push(item);
    }
}

#[test]
fn a_waiter_that_leaves_its_slot_behind_is_found() {
    assert!(is_found("a naive hand-off", || {
        let state = Arc::new(Mutex::new(Naive {
            items: Vec::new(),
            getters: Waiters::new(),
        }));
        let task = task();
        let getter = {
            let state = state.clone();
            run(&task, move || get(&state))
        };
        let killer = go(move || kill(&task));
        put(&state, 7);
        killer.join().unwrap();
        let got = getter.join().unwrap();
        let left = lock(&state).items.pop();
        assert_eq!(got.or(left), Some(7), "the item is lost");
    }));
}
