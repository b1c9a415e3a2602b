//! gevent's `test__hub_join.py` and `test__hub_join_timeout.py`.

use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{Builder, drain, sleep, spawn, spawn_later};

use crate::support::on_workers;

const FOREVER: Duration = Duration::from_secs(600);

// A25.
#[test]
fn test_hub_join() {
    on_workers!({
        assert!(drain(None).unwrap(), "there is nobody");

        let background = Builder::new().background().spawn(|| sleep(FOREVER));
        assert!(drain(None).unwrap(), "background does not count");

        let slow = spawn(|| sleep(FOREVER));
        let limit = Duration::from_millis(50);
        let start = Instant::now();
        assert!(!drain(Some(limit)).unwrap());
        assert!(start.elapsed() >= limit);
        assert!(!slow.is_ready());

        // From inside a greenlet: it does not wait for itself.
        let drainer = spawn(|| drain(None));
        slow.kill();
        assert!(drainer.join().unwrap().unwrap());
        background.kill();
    });
}

// Those that come meanwhile are waited for, timers included.
#[test]
fn test_hub_join_waits_for_what_comes() {
    on_workers!({
        let last = Event::new();
        let done = last.clone();
        spawn(move || {
            sleep(Duration::from_millis(5)).unwrap();
            spawn_later(Duration::from_millis(5), move || {
                spawn(move || done.set());
            });
        });
        assert!(drain(Some(FOREVER)).unwrap());
        assert!(last.is_set());
        // It can be used again.
        let again = spawn(|| ());
        assert!(drain(None).unwrap());
        assert!(
            again.is_ready(),
            "its end was told before the drain was over"
        );
    });
}

#[test]
fn a_drain_can_be_killed() {
    on_workers!({
        let slow = spawn(|| sleep(FOREVER));
        let drainer = spawn(|| drain(None));
        drainer.kill();
        assert!(drainer.join().unwrap_err().is_killed());
        slow.kill();
        assert!(drain(None).unwrap());
    });
}
