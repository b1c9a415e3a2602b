//! Permits and items between those who give, those who take and those who leave: nothing
//! is lost, nothing is doubled, nobody waits for ever.

use crate::check;
use crate::greenlets::{go, kill, run, task};
use crate::sync::queue::{PutError, Queue};
use crate::sync::semaphore::{Permit, Semaphore};

#[test]
fn a_permit_is_never_lost_to_a_waiter_that_leaves() {
    let name = "a permit, a waiter that is killed, another";
    check(name, &["both", "one"], || {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        let tasks = [task(), task()];
        let [killed, other] = [&tasks[0], &tasks[1]].map(|task| {
            let semaphore = semaphore.clone();
            run(task, move || semaphore.acquire().map(drop))
        });
        kill(&tasks[0]);
        drop(permit);
        let left = killed.join().unwrap();
        other.join().unwrap().unwrap();
        assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
        match left {
            Ok(()) => "both",
            Err(error) => {
                assert!(error.is_cancelled());
                "one"
            }
        }
    });
}

#[test]
fn permits_that_are_added_go_to_those_who_wait() {
    check("two permits for two", &["both"], || {
        let semaphore = Semaphore::new(0);
        let waiters = [(); 2].map(|()| {
            let semaphore = semaphore.clone();
            go(move || semaphore.acquire().map(Permit::forget))
        });
        semaphore.add_permits(2);
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
        "both"
    });
}

#[test]
fn a_closed_semaphore_keeps_nobody() {
    check(
        "close against acquire and release",
        &["got", "refused"],
        || {
            let semaphore = Semaphore::new(1);
            let permit = semaphore.try_acquire().unwrap();
            let waiter = {
                let semaphore = semaphore.clone();
                go(move || semaphore.acquire().map(drop))
            };
            let closer = {
                let semaphore = semaphore.clone();
                go(move || semaphore.close())
            };
            drop(permit);
            closer.join().unwrap();
            let got = waiter.join().unwrap();
            assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
            match got {
                Ok(()) => "got",
                Err(error) => {
                    assert!(error.is_closed());
                    "refused"
                }
            }
        },
    );
}

#[test]
fn close_wakes_those_for_whom_no_permit_comes() {
    check("close against acquire", &["refused"], || {
        let semaphore = Semaphore::new(0);
        let waiter = {
            let semaphore = semaphore.clone();
            go(move || semaphore.acquire().map(drop))
        };
        semaphore.close();
        assert!(waiter.join().unwrap().unwrap_err().is_closed());
        "refused"
    });
}

#[test]
fn an_item_is_never_lost_to_a_getter_that_leaves() {
    check(
        "an item and a getter that is killed",
        &["got", "left"],
        || {
            let queue = Queue::bounded(1);
            let task = task();
            let getter = {
                let queue = queue.clone();
                run(&task, move || queue.get())
            };
            let killer = go(move || kill(&task));
            queue.try_put(7).unwrap();
            killer.join().unwrap();
            match getter.join().unwrap() {
                Ok(item) => {
                    assert_eq!((item, queue.try_get().unwrap()), (7, None));
                    "got"
                }
                Err(error) => {
                    assert!(error.is_cancelled());
                    assert_eq!(queue.try_get().unwrap(), Some(7));
                    "left"
                }
            }
        },
    );
}

#[test]
fn an_item_goes_past_a_getter_that_leaves_to_the_next() {
    let name = "an item, a getter that is killed, another";
    check(name, &["killed one", "other"], || {
        let queue = Queue::bounded(1);
        let tasks = [task(), task()];
        let [killed, other] = [&tasks[0], &tasks[1]].map(|task| {
            let queue = queue.clone();
            run(task, move || queue.get())
        });
        kill(&tasks[0]);
        queue.try_put(7).unwrap();
        let left = killed.join().unwrap();
        queue.close();
        // One of the two has it; the other was told why not.
        match (left, other.join().unwrap()) {
            (Ok(7), Err(error)) if error.is_closed() => "killed one",
            (Err(error), Ok(7)) if error.is_cancelled() => "other",
            both => panic!("{both:?}"),
        }
    });
}

#[test]
fn an_item_of_a_putter_that_leaves_is_in_one_place() {
    check(
        "a full queue and a putter that is killed",
        &["put", "back"],
        || {
            let queue = Queue::bounded(1);
            queue.try_put(1).unwrap();
            let task = task();
            let putter = {
                let queue = queue.clone();
                run(&task, move || queue.put(2))
            };
            let killer = go(move || kill(&task));
            assert_eq!(queue.try_get().unwrap(), Some(1));
            killer.join().unwrap();
            let put = putter.join().unwrap();
            let left = queue.try_get().unwrap();
            match put {
                Ok(()) => {
                    assert_eq!(left, Some(2));
                    "put"
                }
                Err(refused) => {
                    assert_eq!((refused.into_item(), left), (2, None));
                    "back"
                }
            }
        },
    );
}

#[test]
fn close_leaves_an_item_in_one_place() {
    check("close against put and get", &["put", "back"], || {
        let queue = Queue::bounded(1);
        queue.try_put(1).unwrap();
        let putter = {
            let queue = queue.clone();
            go(move || queue.put(2))
        };
        let getter = {
            let queue = queue.clone();
            go(move || [queue.get(), queue.get()].map(Result::ok))
        };
        queue.close();
        let put = putter.join().unwrap();
        let mut got: Vec<_> = getter.join().unwrap().into_iter().flatten().collect();
        while let Ok(Some(item)) = queue.try_get() {
            got.push(item);
        }
        match put.map_err(PutError::into_item) {
            Ok(()) => {
                assert_eq!(got, [1, 2]);
                "put"
            }
            Err(item) => {
                assert_eq!((got, item), (vec![1], 2));
                "back"
            }
        }
    });
}

#[test]
fn close_gives_items_back_to_those_who_wait() {
    check("close against put", &["back"], || {
        let queue = Queue::bounded(1);
        queue.try_put(1).unwrap();
        let putter = {
            let queue = queue.clone();
            go(move || queue.put(2))
        };
        queue.close();
        assert_eq!(putter.join().unwrap().unwrap_err().into_item(), 2);
        assert_eq!(queue.try_get().unwrap(), Some(1));
        "back"
    });
}

#[test]
fn items_leave_in_the_order_in_which_they_came() {
    check("two items through a queue of one", &["in order"], || {
        let queue = Queue::bounded(1);
        let putter = {
            let queue = queue.clone();
            go(move || [1, 2].map(|item| queue.put(item).is_ok()))
        };
        let getter = {
            let queue = queue.clone();
            go(move || [(); 2].map(|()| queue.get().unwrap()))
        };
        assert_eq!(putter.join().unwrap(), [true; 2]);
        assert_eq!(getter.join().unwrap(), [1, 2]);
        assert!(queue.is_empty());
        "in order"
    });
}
