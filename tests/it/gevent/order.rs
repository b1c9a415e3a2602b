//! gevent's `test__order`, on one worker, where order is certain.

use std::sync::{Arc, Mutex};

use greenloop::{Greenlet, join_all, sleep, spawn, yield_now};
use std::time::Duration;

use crate::support::on_workers;

type List = Arc<Mutex<Vec<String>>>;

fn sleep0(list: &List, name: &'static str) -> Greenlet<()> {
    let list = list.clone();
    spawn(move || {
        for step in ["A", "B"] {
            list.lock().unwrap().push(format!("{name}{step}"));
            yield_now().unwrap();
        }
    })
}

fn joined(list: &List) -> String {
    list.lock().unwrap().join(" ")
}

#[test]
fn test_sleep0() {
    // A32
    on_workers!([1], {
        let order = spawn(|| {
            let list = List::default();
            let greenlets = [sleep0(&list, "1"), sleep0(&list, "2")];
            join_all(greenlets).into_iter().for_each(Result::unwrap);
            joined(&list)
        });
        assert_eq!(order.join().unwrap(), "1A 2A 1B 2B");
    });
}

#[test]
fn test_sleep0_of_many() {
    // A32 with so many that turns and looks at events come between.
    on_workers!([1], {
        let is_in_order = spawn(|| {
            let list = Arc::new(Mutex::new(Vec::new()));
            let greenlets: Vec<_> = (0..100)
                .map(|number| {
                    let list = list.clone();
                    spawn(move || {
                        for round in 0..3 {
                            list.lock().unwrap().push((round, number));
                            yield_now().unwrap();
                        }
                    })
                })
                .collect();
            join_all(greenlets).into_iter().for_each(Result::unwrap);
            list.lock().unwrap().is_sorted()
        });
        assert!(is_in_order.join().unwrap());
    });
}

#[test]
fn test_spawned_first_runs_first() {
    on_workers!([1], {
        let order = spawn(|| {
            let list = List::default();
            let greenlets: Vec<_> = ["a", "b", "c", "d"]
                .into_iter()
                .map(|name| {
                    let list = list.clone();
                    spawn(move || list.lock().unwrap().push(name.to_owned()))
                })
                .collect();
            // None of them before the spawner waits.
            list.lock().unwrap().push("spawned".into());
            join_all(greenlets).into_iter().for_each(Result::unwrap);
            joined(&list)
        });
        assert_eq!(order.join().unwrap(), "spawned a b c d");
    });
}

#[test]
fn test_sleepers_wake_in_the_order_of_their_times() {
    on_workers!([1], {
        let list = List::default();
        let greenlets = [30, 10, 20].map(|ms| {
            let list = list.clone();
            spawn(move || {
                sleep(Duration::from_millis(ms * 10)).unwrap();
                list.lock().unwrap().push(ms.to_string());
            })
        });
        join_all(greenlets).into_iter().for_each(Result::unwrap);
        assert_eq!(joined(&list), "10 20 30");
    });
}
