//! `test__threading_2.py` (CPython's `lock_tests`): what a patched `threading` gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenloop::sync::{Barrier, BoundedSemaphore, Condvar, Event, Mutex, RLock, Semaphore};
use greenloop::{Greenlet, spawn, yield_now};

use crate::support::{eventually, on_workers};

const MS: Duration = Duration::from_millis(1);

/// `Bunch`: several greenlets that do the same.
fn bunch<T: Send + 'static>(
    count: usize,
    f: impl Fn() -> T + Clone + Send + 'static,
) -> Vec<Greenlet<T>> {
    (0..count).map(|_| spawn(f.clone())).collect()
}

fn all<T>(bunch: Vec<Greenlet<T>>) -> Vec<T> {
    bunch.into_iter().map(|g| g.join().unwrap()).collect()
}

// ---- LockTests ----

#[test]
fn test_lock_constructor() {
    on_workers!([1], {
        let lock = Mutex::new(1);
        assert!(!lock.is_locked());
        assert_eq!(format!("{lock:?}"), "Mutex { data: 1, waiting: 0 }");
        let guard = lock.lock().unwrap();
        assert_eq!(format!("{lock:?}"), "Mutex { data: <locked>, waiting: 0 }");
        drop(guard);
        assert_eq!(lock.into_inner(), 1);
    });
}

#[test]
fn test_lock_acquire_release() {
    on_workers!({
        let mut lock = Mutex::<u8>::default();
        for _ in 0..3 {
            let mut guard = lock.lock().unwrap();
            assert!(lock.is_locked());
            *guard += 1;
        }
        assert!(!lock.is_locked());
        assert_eq!(*lock.get_mut(), 3);
    });
}

#[test]
fn test_lock_try_acquire_contended() {
    on_workers!({
        let lock = Arc::new(Mutex::new(()));
        let guard = lock.try_lock().unwrap();
        let theirs = lock.clone();
        let tried = all(bunch(5, move || theirs.try_lock().is_some()));
        assert_eq!(tried, [false; 5]);
        drop(guard);
        assert!(lock.try_lock().is_some());
    });
}

#[test]
fn test_lock_acquire_contended() {
    on_workers!({
        let lock = Arc::new(Mutex::new(0));
        let guard = lock.lock().unwrap();
        let theirs = lock.clone();
        let waiting = bunch(5, move || *theirs.lock().unwrap() += 1);
        eventually("five wait", || lock.waiting() == 5);
        assert_eq!(*guard, 0);
        drop(guard);
        all(waiting);
        assert_eq!(*lock.lock().unwrap(), 5);
    });
}

#[test]
fn test_lock_timeout() {
    on_workers!({
        let lock = Mutex::new(());
        // Python refuses negative timeouts; a `Duration` cannot be one.
        drop(lock.lock_timeout(Duration::MAX).unwrap());
        let _guard = lock.lock_timeout(Duration::ZERO).unwrap();
        let start = Instant::now();
        assert!(lock.lock_timeout(5 * MS).unwrap_err().is_timeout());
        assert!(start.elapsed() >= 5 * MS);
    });
}

// ---- RLockTests ----

#[test]
fn test_rlock_reacquire() {
    on_workers!({
        let lock = RLock::new();
        let first = lock.lock().unwrap();
        let second = lock.try_lock().unwrap();
        let third = lock.lock_timeout(Duration::ZERO).unwrap();
        // The order does not matter.
        drop(first);
        drop(third);
        assert!(lock.is_mine());
        drop(second);
        assert!(!lock.is_locked());
    });
}

#[test]
fn test_rlock_different_thread() {
    on_workers!({
        let lock = RLock::new();
        let guard = lock.lock().unwrap();
        let theirs = lock.clone();
        let waiting = bunch(3, move || {
            let _guard = theirs.lock().unwrap();
            let _again = theirs.lock().unwrap();
            // It is the greenlet's, on whichever thread it goes on.
            yield_now().unwrap();
            theirs.is_mine()
        });
        eventually("three wait", || lock.waiting() == 3);
        drop(guard);
        assert_eq!(all(waiting), [true; 3]);
        assert!(!lock.is_locked());
    });
}

// ---- ConditionTests ----

#[test]
fn test_condition_notify() {
    on_workers!({
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let (lock, condition) = &*shared;
        let passed = Arc::new(AtomicUsize::new(0));
        let waiting = {
            let (shared, passed) = (shared.clone(), passed.clone());
            bunch(5, move || {
                let (lock, condition) = &*shared;
                let mut guard = lock.lock().unwrap();
                condition.wait(&mut guard).unwrap();
                *guard += 1;
                passed.fetch_add(1, Ordering::SeqCst);
            })
        };
        eventually("five wait", || condition.waiting() == 5);
        // Notified under the lock or without it: Python asks for the lock.
        {
            let _guard = lock.lock().unwrap();
            for _ in 0..3 {
                assert!(condition.notify_one());
            }
            assert_eq!(condition.waiting(), 2);
            assert_eq!(passed.load(Ordering::SeqCst), 0);
        }
        eventually("three have passed", || passed.load(Ordering::SeqCst) == 3);
        condition.notify_all();
        all(waiting);
        assert_eq!(*lock.lock().unwrap(), 5);
        assert!(!condition.notify_one(), "nobody is there");
    });
}

#[test]
fn test_condition_timeout() {
    on_workers!({
        let (lock, condition) = (Mutex::new(0), Condvar::new());
        let mut guard = lock.lock().unwrap();
        let start = Instant::now();
        assert!(!condition.wait_timeout(&mut guard, 5 * MS).unwrap());
        assert!(start.elapsed() >= 5 * MS);
        assert!(lock.is_locked());
        let waited = condition.wait_while_timeout(&mut guard, 5 * MS, |n| *n == 0);
        assert!(!waited.unwrap());
        assert!(start.elapsed() >= 10 * MS);
        assert_eq!(condition.waiting(), 0);
    });
}

#[test]
fn test_condition_wait_for() {
    on_workers!({
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waiter = {
            let shared = shared.clone();
            spawn(move || {
                let (state, changed) = &*shared;
                let mut state = state.lock().unwrap();
                changed.wait_while(&mut state, |n| *n < 4).unwrap();
                *state
            })
        };
        for _ in 0..4 {
            *shared.0.lock().unwrap() += 1;
            shared.1.notify_one();
        }
        assert_eq!(waiter.join().unwrap(), 4);
        // What holds at once is not waited for.
        let mut state = shared.0.lock().unwrap();
        assert!(
            shared
                .1
                .wait_while_timeout(&mut state, Duration::ZERO, |n| *n < 4)
                .unwrap()
        );
    });
}

// ---- SemaphoreTests ----

#[test]
fn test_semaphore_acquire_contended() {
    on_workers!({
        let semaphore = Semaphore::new(7);
        let passed = Arc::new(AtomicUsize::new(0));
        let waiting = {
            let (semaphore, passed) = (semaphore.clone(), passed.clone());
            bunch(10, move || {
                semaphore.acquire().unwrap().forget();
                passed.fetch_add(1, Ordering::SeqCst);
            })
        };
        eventually("seven pass, three wait", || {
            passed.load(Ordering::SeqCst) == 7 && semaphore.waiting() == 3
        });
        semaphore.add_permits(2);
        eventually("two more pass", || passed.load(Ordering::SeqCst) == 9);
        assert_eq!(semaphore.waiting(), 1);
        semaphore.add_permits(1);
        all(waiting);
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn test_bounded_semaphore_release_unacquired() {
    on_workers!({
        let semaphore = BoundedSemaphore::new(1);
        assert!(semaphore.release().is_err());
        semaphore.acquire().unwrap().forget();
        semaphore.release().unwrap();
        assert!(semaphore.release().is_err());
    });
}

// ---- EventTests ----

#[test]
fn test_event_notify() {
    on_workers!({
        let event = Event::new();
        let waiting = {
            let event = event.clone();
            bunch(5, move || (event.wait().unwrap(), event.wait().unwrap()))
        };
        eventually("five wait", || event.waiting() == 5);
        event.set();
        all(waiting);
        assert!(event.is_set());
    });
}

// ---- BarrierTests ----

const PARTIES: usize = 5;

#[test]
fn test_barrier() {
    on_workers!({
        let barrier = Barrier::new(PARTIES);
        let arrived = Arc::new(AtomicUsize::new(0));
        let leaders = {
            let barrier = barrier.clone();
            bunch(PARTIES, move || {
                let mut led = 0;
                for round in 1..=10 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    led += usize::from(barrier.wait().unwrap().is_leader());
                    let so_far = arrived.load(Ordering::SeqCst);
                    assert!(so_far >= round * PARTIES, "all have arrived");
                    barrier.wait().unwrap();
                }
                led
            })
        };
        let led: usize = all(leaders).into_iter().sum();
        assert_eq!(led, 10, "one leader in each of the ten rounds");
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn test_barrier_abort() {
    on_workers!({
        let barrier = Barrier::new(PARTIES);
        let theirs = barrier.clone();
        let waiting = bunch(PARTIES - 1, move || theirs.wait());
        eventually("all but one wait", || barrier.waiting() == PARTIES - 1);
        barrier.abort();
        for outcome in all(waiting) {
            assert!(outcome.unwrap_err().is_broken());
        }
        assert!(barrier.is_broken());
        assert!(barrier.wait().unwrap_err().is_broken(), "it stays broken");
    });
}

#[test]
fn test_barrier_reset() {
    on_workers!({
        let barrier = Barrier::new(PARTIES);
        let theirs = barrier.clone();
        let waiting = bunch(PARTIES - 1, move || theirs.wait());
        eventually("all but one wait", || barrier.waiting() == PARTIES - 1);
        barrier.reset();
        for outcome in all(waiting) {
            assert!(outcome.unwrap_err().is_broken());
        }
        assert!(!barrier.is_broken());
        let theirs = barrier.clone();
        for outcome in all(bunch(PARTIES, move || theirs.wait())) {
            outcome.unwrap();
        }
    });
}

#[test]
fn test_barrier_timeout() {
    on_workers!({
        let barrier = Barrier::new(PARTIES);
        let theirs = barrier.clone();
        let waiting = bunch(PARTIES - 2, move || theirs.wait());
        eventually("some wait", || barrier.waiting() == PARTIES - 2);
        // Python gives this one BrokenBarrierError, too; ours knows that it was late.
        assert!(barrier.wait_timeout(5 * MS).unwrap_err().is_timeout());
        for outcome in all(waiting) {
            assert!(outcome.unwrap_err().is_broken());
        }
        assert!(barrier.is_broken());
    });
}

#[test]
fn test_barrier_single_thread() {
    on_workers!({
        let barrier = Barrier::new(1);
        assert!(barrier.wait().unwrap().is_leader());
        assert!(barrier.wait_timeout(Duration::ZERO).unwrap().is_leader());
    });
}
