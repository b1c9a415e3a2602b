//! gevent's `test__core_timer` and what is left of `test__core*`: timers, as far as they are
//! seen from outside. Watchers of the loop have no counterpart.

use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{Deadline, Timeout, sleep, spawn, spawn_later};

use crate::support::on_workers;

const MS: Duration = Duration::from_millis(1);

fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

#[test]
fn test_timer_is_not_held_up_by_computation() {
    // A31: a greenlet that computes for 500 ms right after a sleep does not run where the
    // timer does. On one worker there is only the computing one's worker to wake up on, as
    // in gevent; so two and more. The best of five.
    on_workers!([2, 4], {
        let took = (0..5).map(|_| {
            let woken = Event::new();
            let hog = {
                let woken = woken.clone();
                spawn(move || {
                    sleep(2 * MS).unwrap();
                    woken.set();
                    spin(500 * MS);
                })
            };
            woken.wait().unwrap();
            let other = spawn(|| {
                let start = Instant::now();
                sleep(60 * MS).unwrap();
                start.elapsed()
            });
            let took = other.join().unwrap();
            hog.join().unwrap();
            took
        });
        let best = took.min().unwrap();
        assert!((60 * MS..100 * MS).contains(&best), "{best:?}");
    });
}

#[test]
fn test_timer_on_one_worker_waits_for_the_computation_only() {
    // A31 with one worker: late by the computation, and by no more.
    on_workers!([1], {
        let hog = spawn(|| {
            sleep(5 * MS).unwrap();
            spin(100 * MS);
        });
        let start = Instant::now();
        let other = spawn(|| sleep(20 * MS));
        other.join().unwrap().unwrap();
        assert!((20 * MS..Duration::from_secs(5)).contains(&start.elapsed()));
        hog.join().unwrap();
    });
}

#[test]
fn test_again_counts_from_the_restart() {
    // `timer.again()`
    on_workers!({
        let mut limit = Timeout::start(40 * MS);
        sleep(15 * MS).unwrap();
        let start = Instant::now();
        limit.restart(40 * MS);
        let error = sleep(Duration::MAX).unwrap_err();
        assert!(limit.owns(&error) && start.elapsed() >= 40 * MS);
    });
}

#[test]
fn test_timer_started_late_starts_late() {
    on_workers!({
        let start = Instant::now();
        let late = spawn_later(20 * MS, Instant::now);
        assert!(late.join().unwrap() - start >= 20 * MS);
    });
}

#[test]
fn test_nearer_deadline_of_a_second_wait_is_kept() {
    // The timer's entry of a greenlet is armed anew lazily; each wait still ends on time.
    on_workers!({
        let never = Event::new();
        for limit in [50, 5, 20, 1] {
            let start = Instant::now();
            assert!(!never.wait_deadline(Deadline::after(limit * MS)).unwrap());
            let took = start.elapsed();
            assert!(
                (limit * MS..Duration::from_secs(5)).contains(&took),
                "{took:?}"
            );
        }
    });
}
