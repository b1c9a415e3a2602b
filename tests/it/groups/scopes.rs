//! `try_scope`: the first failure ends the rest, and nobody outlives the frame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::sync::{Event, try_scope};
use greenloop::{Error, Timeout, sleep, spawn, yield_now};

use super::{Dice, LONG, MS};
use crate::support::{eventually, on_workers};

fn error(text: &str) -> Error {
    std::io::Error::other(text).into()
}

/// What the children borrow; 5 while it lives.
struct Canary(AtomicUsize);

impl Canary {
    fn new() -> Self {
        Self(AtomicUsize::new(5))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Sleeps until it is killed, then lives on for a while and looks at what it borrows.
fn linger(canary: &Canary, bad: &AtomicUsize) -> Result<(), Error> {
    let slept = sleep(LONG);
    for _ in 0..20 {
        let _ = greenloop::shield(|| sleep(Duration::from_micros(50)));
        if canary.0.load(Ordering::SeqCst) != 5 {
            bad.fetch_add(1, Ordering::SeqCst);
        }
    }
    slept
}

#[test]
fn try_scope_gives_the_first_err_and_kills_the_siblings() {
    on_workers!({
        let ended = Mutex::new(Vec::new());
        let begun = Event::new();
        let result: Result<(), Error> = try_scope(|s| {
            s.spawn(|| {
                begun.set();
                let slept = sleep(LONG);
                ended.lock().unwrap().push("sibling");
                // Comes second.
                slept.map_err(|_| error("killed"))
            });
            s.spawn(|| {
                begun.wait()?;
                ended.lock().unwrap().push("first");
                Err::<(), _>(error("first"))
            });
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "first");
        assert_eq!(*ended.lock().unwrap(), ["first", "sibling"]);
    });
}

#[test]
fn try_scope_joins_inside_its_closure_end_with_the_failure() {
    on_workers!({
        let result: Result<i32, Error> = try_scope(|s| {
            let slow = s.spawn(|| sleep(LONG).map(|()| 1));
            s.spawn(|| Err::<(), _>(error("broken")));
            // Would wait for ever; the failure of the other one ends it.
            let value = slow.join()?;
            Ok(value)
        });
        assert_eq!(result.unwrap_err().to_string(), "broken");
        let result: Result<i32, Error> = try_scope(|s| {
            let (a, b) = (s.spawn(|| Ok(40)), s.spawn(|| Ok(2)));
            Ok(a.join()? + b.join()?)
        });
        assert_eq!(result.unwrap(), 42);
    });
}

#[test]
fn try_scope_ends_with_a_childs_kill() {
    on_workers!({
        let (begun, killed) = (Event::new(), AtomicUsize::new(0));
        let result: Result<(), Error> = try_scope(|s| {
            let victim = s.spawn(|| {
                // Ends well, but only because of the kill.
                begun.set();
                let _ = sleep(LONG);
                Ok(())
            });
            s.spawn(|| {
                killed.fetch_add(usize::from(sleep(LONG).is_err()), Ordering::SeqCst);
                Ok(())
            });
            begun.wait()?;
            victim.handle().kill();
            Ok(())
        });
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "a greenlet of the scope was killed");
        assert!(!error.is_cancelled(), "the caller was not killed");
        // The sibling was killed before it ran, or in its sleep.
        assert!(killed.into_inner() <= 1);
    });
}

#[test]
fn try_scope_ends_with_the_kill_of_a_child_that_has_not_begun() {
    on_workers!([1], {
        greenloop::run(|| {
            let ran = AtomicUsize::new(0);
            let result: Result<(), Error> = try_scope(|s| {
                let victim = s.spawn(|| {
                    ran.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                });
                victim.handle().kill();
                s.spawn(|| sleep(LONG));
                Ok(())
            });
            let text = result.unwrap_err().to_string();
            assert_eq!(text, "a greenlet of the scope was killed");
            assert_eq!(ran.into_inner(), 0);
        });
    });
}

#[test]
fn try_scope_panics_with_a_childs_panic_after_all_have_ended() {
    on_workers!({
        let (canary, bad) = (Canary::new(), AtomicUsize::new(0));
        let begun = AtomicUsize::new(0);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _: Result<(), Error> = try_scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        begun.fetch_add(1, Ordering::SeqCst);
                        linger(&canary, &bad)
                    });
                }
                eventually("they sleep", || begun.load(Ordering::SeqCst) == 3);
                s.spawn(|| -> Result<(), Error> { panic!("child") });
                Ok(())
            });
        }));
        let panic = panic.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert_eq!(text, "a greenlet of the scope panicked: child");
        drop(canary);
        assert_eq!(bad.into_inner(), 0);
        // Joined, it is told there.
        let joined: Result<(), Error> = try_scope(|s| {
            let child = s.spawn(|| -> Result<(), Error> { panic!("told") });
            child.join()
        });
        assert_eq!(joined.unwrap_err().to_string(), "greenlet panicked: told");
    });
}

#[test]
fn try_scope_keeps_an_err_that_came_before_a_panic() {
    on_workers!({
        let result: Result<(), Error> = try_scope(|s| {
            let begun = Event::new();
            let go = begun.clone();
            s.spawn(move || -> Result<(), Error> {
                go.set();
                let _ = sleep(LONG);
                panic!("cleaning up")
            });
            s.spawn(move || {
                begun.wait()?;
                Err::<(), _>(error("first"))
            });
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "first");
    });
}

#[test]
fn try_scope_says_whose_kill_and_whose_timeout_it_was() {
    on_workers!({
        let outer = Timeout::start(10 * MS);
        let result: Result<(), Error> = try_scope(|s| {
            // Its own error comes after the caller's.
            s.spawn(|| sleep(LONG));
            Ok(())
        });
        assert!(outer.owns(&result.unwrap_err()));
        drop(outer);
        let begun = Event::new();
        let parent = {
            let begun = begun.clone();
            spawn(move || {
                let result: Result<(), Error> = try_scope(|s| {
                    s.spawn(|| {
                        begun.set();
                        sleep(LONG)
                    });
                    Ok(())
                });
                assert!(result.unwrap_err().is_cancelled());
            })
        };
        begun.wait().unwrap();
        parent.kill();
        assert!(parent.join().unwrap_err().is_killed());
    });
}

#[test]
fn try_scope_children_start_others_and_fail_them() {
    on_workers!({
        let count = AtomicUsize::new(0);
        let result: Result<(), Error> = try_scope(|s| {
            s.spawn(|| {
                for n in 0..10 {
                    let count = &count;
                    s.spawn(move || {
                        count.fetch_add(1, Ordering::SeqCst);
                        match n {
                            9 => Err(error("the tenth")),
                            _ => sleep(LONG),
                        }
                    });
                }
                sleep(LONG)
            });
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "the tenth");
        assert!((1..=10).contains(&count.into_inner()));
    });
}

/// One scope whose end comes from everywhere at once.
fn race(seed: u64, bad: &AtomicUsize) {
    let mut dice = Dice::new(seed);
    let canary = Canary::new();
    let limit = Timeout::start(Duration::from_micros(200 + dice.below(3000)));
    let fate = dice.below(8);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let result: Result<(), Error> = try_scope(|s| {
            for n in 0..4 {
                let (canary, pause) = (&canary, Duration::from_micros(dice.below(2000)));
                let child = s.spawn(move || {
                    if n == 0 {
                        sleep(pause)?;
                        match fate {
                            0 => panic!("race"),
                            1 => return Err(error("race")),
                            _ => {}
                        }
                    }
                    linger(canary, bad)
                });
                if fate == 2 {
                    child.handle().kill();
                }
            }
            match fate {
                3 => Err(error("race")),
                4 => panic!("race"),
                _ => yield_now(),
            }
        });
        assert!(result.is_err(), "nobody can have ended well");
    }));
    drop(limit);
    drop(canary);
    if let Err(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        assert_ne!(text.as_deref(), Some("nobody can have ended well"));
    }
}

#[test]
fn try_scope_children_never_outlive_their_frame() {
    on_workers!({
        let bad = Arc::new(AtomicUsize::new(0));
        let parents: Vec<_> = (0..200)
            .map(|seed| {
                let bad = bad.clone();
                spawn(move || race(seed, &bad))
            })
            .collect();
        let mut dice = Dice::new(7);
        for parent in &parents {
            if dice.below(3) == 0 {
                parent.kill();
            }
            let _ = sleep(Duration::from_micros(dice.below(50)));
        }
        for (seed, parent) in parents.into_iter().enumerate() {
            if let Err(error) = parent.join() {
                assert!(error.is_killed(), "seed {seed}: {error}");
            }
        }
        assert_eq!(bad.load(Ordering::SeqCst), 0);
    });
}
