//! gevent's `test__joinall.py`, and `joinall` and `killall` of `test__greenlet.py`.

use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{
    join_all, join_some, kill_all, shield, sleep, spawn, try_join_all, wait_all, yield_now,
};

use crate::support::on_workers;

const FOREVER: Duration = Duration::from_secs(600);

// A20. A greenlet moves into `join_all`, so a duplicate is a matter of `wait_all`.
#[test]
fn test_duplicates() {
    on_workers!({
        let (a, b) = (spawn(|| 1), spawn(|| 2));
        wait_all(&[&a, &b, &a]).unwrap();
        let values: Vec<_> = join_all([a, b]).into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [1, 2]);
    });
}

#[test]
fn test_joinall_gives_every_failure_its_place() {
    on_workers!({
        let killed = spawn(|| sleep(FOREVER).is_ok());
        killed.kill();
        let ended = join_all([spawn(|| true), spawn(|| panic!("two")), killed]);
        assert!(*ended[0].as_ref().unwrap());
        assert!(ended[1].as_ref().unwrap_err().is_panic());
        assert!(ended[2].as_ref().unwrap_err().is_killed());
    });
}

// The first to fail, in time; the rest is not waited for and lives on.
#[test]
fn test_joinall_raise_error() {
    on_workers!({
        let go = Event::new();
        let slow = spawn(|| sleep(FOREVER).is_ok());
        let later = spawn({
            let go = go.clone();
            move || {
                go.wait().unwrap();
                panic!("later")
            }
        });
        let first = spawn(|| panic!("first"));
        let (slow_handle, later_handle) = (slow.handle(), later.handle());
        let error = try_join_all([slow, later, first]).unwrap_err();
        assert_eq!(error.to_string(), "greenlet panicked: first");
        assert!(!slow_handle.is_ready() && !later_handle.is_ready());
        go.set();
        later_handle.wait().unwrap();
        slow_handle.kill();
        slow_handle.wait().unwrap();
    });
}

#[test]
fn test_joinall_count_and_timeout() {
    on_workers!({
        let gates: Vec<_> = (0..3).map(|_| Event::new()).collect();
        let greenlets: Vec<_> = gates
            .iter()
            .map(|gate| {
                let gate = gate.clone();
                spawn(move || gate.wait()).handle()
            })
            .collect();
        gates[2].set();
        assert_eq!(join_some(&greenlets, 1, None).unwrap(), [2]);
        gates[0].set();
        greenlets[0].wait().unwrap();
        let limit = Duration::from_millis(20);
        let start = Instant::now();
        let mut ended = join_some(&greenlets, 3, Some(limit)).unwrap();
        ended.sort_unstable();
        assert_eq!(ended, [0, 2]);
        assert!(start.elapsed() >= limit);
        gates[1].set();
        assert_eq!(join_some(&greenlets, 9, None).unwrap().len(), 3);
    });
}

#[test]
fn a_killed_joiner_leaves_the_others_running() {
    on_workers!({
        let slow = spawn(|| sleep(FOREVER));
        let slow_handle = slow.handle();
        let joiner = spawn(move || {
            let ended = join_all([spawn(|| Ok(())), slow]);
            (
                ended[0].is_ok(),
                ended[1].as_ref().unwrap_err().is_wait_error(),
            )
        });
        let handle = joiner.handle();
        joiner.on_killed(move || drop(handle));
        joiner.kill();
        // What a killed greenlet returns is not its result.
        assert!(joiner.join().unwrap_err().is_killed());
        assert!(!slow_handle.is_ready());
        slow_handle.kill();
        slow_handle.wait().unwrap();
    });
}

// killall: all are killed before the first is waited for; unlike `kill` it fails if some
// survive.
#[test]
fn test_killall() {
    on_workers!({
        let sleepers: Vec<_> = (0..100)
            .map(|_| spawn(|| sleep(FOREVER)).handle())
            .collect();
        kill_all(&sleepers, Some(Duration::from_secs(30))).unwrap();
        assert!(sleepers.iter().all(|g| g.is_ready()));
        kill_all(&sleepers, None).unwrap();
        kill_all(&[], None).unwrap();
    });
}

#[test]
fn test_killall_raises_when_some_survive() {
    on_workers!({
        let release = Event::new();
        let shielded = Event::new();
        let stubborn = spawn({
            let (release, shielded) = (release.clone(), shielded.clone());
            move || {
                shield(|| {
                    shielded.set();
                    release.wait()
                })
            }
        });
        shielded.wait().unwrap();
        let meek = spawn(|| sleep(FOREVER));
        let all = [meek.handle(), stubborn.handle()];
        let alive = kill_all(&all, Some(Duration::from_millis(200))).unwrap_err();
        assert_eq!(alive.to_string(), "1 killed greenlets are still alive");
        assert_eq!(alive.greenlets()[0].id(), stubborn.id());
        release.set();
        kill_all(&all, None).unwrap();
    });
}

#[test]
fn with_one_worker_killall_lets_nobody_begin() {
    on_workers!([1], {
        greenloop::run(|| {
            let greenlets: Vec<_> = (0..10)
                .map(|_| spawn(|| unreachable!("it was killed before")))
                .collect();
            let handles: Vec<_> = greenlets.iter().map(greenloop::Greenlet::handle).collect();
            kill_all(&handles, None).unwrap();
            yield_now().unwrap();
            for greenlet in greenlets {
                assert!(greenlet.join().unwrap_err().is_killed());
            }
        });
    });
}
