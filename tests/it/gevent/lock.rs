//! `test__semaphore.py`, `test__lock.py`: semaphores and re-entrant locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use greenloop::sync::{BoundedSemaphore, Mutex, RLock, Semaphore};
use greenloop::{Greenlet, Timeout, sleep, spawn, wait_any, wait_any_timeout};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

// A38
#[test]
fn test_acquire_returns_false_after_timeout() {
    on_workers!({
        let semaphore = Semaphore::new(0);
        let start = Instant::now();
        // An error instead of False: there is no permit to go on with.
        let late = semaphore.acquire_timeout(10 * MS).unwrap_err();
        assert!(late.is_timeout() && start.elapsed() >= 10 * MS);
        assert_eq!(semaphore.wait_available_timeout(10 * MS).unwrap(), 0);
        assert_eq!(semaphore.waiting(), 0);
    });
}

// A38
#[test]
fn test_killed_waiter_consumes_nothing() {
    on_workers!({
        let semaphore = Semaphore::new(0);
        let waiters: Vec<_> = (1..=3)
            .map(|nth| {
                let waiter = {
                    let semaphore = semaphore.clone();
                    spawn(move || semaphore.acquire().map(greenloop::sync::Permit::forget))
                };
                eventually("it waits", || semaphore.waiting() == nth);
                waiter
            })
            .collect();
        // Until it has run, a killed waiter may still be given a permit, which it drops like
        // any holder that ends; this one has ended.
        let mut waiters = waiters.into_iter();
        assert!(waiters.next().unwrap().kill_and_wait(None).unwrap());
        assert_eq!(semaphore.waiting(), 2);
        semaphore.add_permits(1);
        waiters.next().unwrap().join().unwrap().unwrap();
        assert_eq!((semaphore.waiting(), semaphore.available()), (1, 0));
        semaphore.add_permits(1);
        waiters.next().unwrap().join().unwrap().unwrap();
    });
}

#[test]
fn test_release_twice() {
    on_workers!({
        let semaphore = Semaphore::new(1);
        // Over-release is allowed, as in gevent, and every watch is told.
        semaphore.add_permits(1);
        assert_eq!(wait_any(&[&semaphore]).unwrap(), 0);
        semaphore.add_permits(1);
        assert_eq!(wait_any(&[&semaphore, &semaphore]).unwrap(), 0);
        assert_eq!(semaphore.available(), 3);
    });
}

#[test]
fn test_rawlink_on_unacquired_runs_notifiers() {
    on_workers!({
        let semaphore = Semaphore::new(1);
        assert_eq!(wait_any(&[&semaphore]).unwrap(), 0);
        let permit = semaphore.acquire().unwrap();
        assert_eq!(wait_any_timeout(&[&semaphore], MS).unwrap(), None);
        drop(permit);
        assert_eq!(wait_any(&[&semaphore]).unwrap(), 0);
    });
}

/// `wait` and `locked` of the 1.7 table.
#[test]
fn test_wait_takes_no_permit() {
    on_workers!({
        let semaphore = Semaphore::new(2);
        assert_eq!(semaphore.wait_available().unwrap(), 2);
        let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        assert!(semaphore.is_locked());
        let onlookers: Vec<_> = (0..3)
            .map(|_| {
                let semaphore = semaphore.clone();
                spawn(move || semaphore.wait_available().unwrap())
            })
            .collect();
        for onlooker in &onlookers {
            expect_state(onlooker, "semaphore");
        }
        let [first, second] = permits;
        drop(first);
        for onlooker in onlookers {
            assert_eq!(onlooker.join().unwrap(), 1);
        }
        assert_eq!(semaphore.available(), 1);
        drop(second);
        let outer = Timeout::start(MS);
        let none = Semaphore::new(0);
        let error = none.wait_available_timeout(LONG).unwrap_err();
        assert!(outer.owns(&error), "{error}");
        drop(outer);
        none.close();
        assert!(none.wait_available().unwrap_err().is_closed());
    });
}

/// A greenlet that waits there shows it.
fn expect_state<T>(greenlet: &Greenlet<T>, state: &str) {
    let id = greenlet.id();
    eventually(state, || {
        let all = greenloop::greenlets();
        all.iter().any(|g| g.id == id && g.state == state)
    });
}

/// A lock of any kind, as `_makeOne` gives: taken, something is done, and it is free again.
trait AnyLock: Clone + Send + 'static {
    const STATE: &'static str;
    fn with(&self, limit: Duration, f: impl FnOnce()) -> greenloop::Result<()>;
}

impl AnyLock for Semaphore {
    const STATE: &'static str = "semaphore";
    fn with(&self, limit: Duration, f: impl FnOnce()) -> greenloop::Result<()> {
        let _permit = self.acquire_timeout(limit)?;
        f();
        Ok(())
    }
}

impl AnyLock for BoundedSemaphore {
    const STATE: &'static str = "semaphore";
    fn with(&self, limit: Duration, f: impl FnOnce()) -> greenloop::Result<()> {
        // As gevent's users do: what one has acquired anyone may release.
        self.acquire_timeout(limit)?.forget();
        f();
        self.release()
    }
}

impl AnyLock for RLock {
    const STATE: &'static str = "rlock";
    fn with(&self, limit: Duration, f: impl FnOnce()) -> greenloop::Result<()> {
        let _guard = self.lock_timeout(limit)?;
        let _again = self.lock()?;
        f();
        Ok(())
    }
}

impl AnyLock for Arc<Mutex<()>> {
    const STATE: &'static str = "mutex";
    fn with(&self, limit: Duration, f: impl FnOnce()) -> greenloop::Result<()> {
        let _guard = self.lock_timeout(limit)?;
        f();
        Ok(())
    }
}

/// What the multi-thread tests do with every kind of lock.
fn each_lock(test: impl Each) {
    test.on(Semaphore::new(1));
    test.on(BoundedSemaphore::new(1));
    test.on(RLock::new());
    test.on(Arc::new(Mutex::new(())));
}

trait Each {
    fn on<L: AnyLock>(&self, lock: L);
}

#[test]
fn test_acquire_in_one_then_another() {
    struct Test;
    impl Each for Test {
        fn on<L: AnyLock>(&self, lock: L) {
            let acquired = Arc::new(AtomicBool::new(false));
            let mut thread = None;
            lock.with(LONG, || {
                let (lock, acquired) = (lock.clone(), acquired.clone());
                let (tell, running) = channel();
                thread = Some(std::thread::spawn(move || {
                    tell.send(()).unwrap();
                    lock.with(LONG, || acquired.store(true, Ordering::SeqCst))
                }));
                running.recv().unwrap();
                sleep(2 * MS).unwrap();
            })
            .unwrap();
            thread.unwrap().join().unwrap().unwrap();
            assert!(acquired.load(Ordering::SeqCst));
        }
    }
    on_workers!({ each_lock(Test) });
}

#[test]
fn test_acquire_in_one_then_another_timed() {
    struct Test;
    impl Each for Test {
        fn on<L: AnyLock>(&self, lock: L) {
            let other = lock.clone();
            lock.with(LONG, || {
                let thread = std::thread::spawn(move || other.with(2 * MS, || unreachable!()));
                assert!(thread.join().unwrap().unwrap_err().is_timeout());
            })
            .unwrap();
            // The waiter that gave up has left nothing behind.
            lock.with(Duration::ZERO, || ()).unwrap();
        }
    }
    on_workers!({ each_lock(Test) });
}

#[test]
fn test_acquire_in_one_wait_greenlet_wait_thread_gives_up() {
    struct Test;
    impl Each for Test {
        fn on<L: AnyLock>(&self, lock: L) {
            let (tell, told) = channel();
            let mut greenlet = None;
            lock.with(LONG, || {
                let theirs = lock.clone();
                let waiting = spawn(move || {
                    let other = theirs.clone();
                    theirs.with(LONG, || {
                        let thread =
                            std::thread::spawn(move || other.with(2 * MS, || unreachable!()));
                        while !thread.is_finished() {
                            sleep(MS).unwrap();
                        }
                        tell.send(thread.join().unwrap()).unwrap();
                    })
                });
                expect_state(&waiting, L::STATE);
                greenlet = Some(waiting);
            })
            .unwrap();
            greenlet.unwrap().join().unwrap().unwrap();
            assert!(told.recv().unwrap().unwrap_err().is_timeout());
            lock.with(Duration::ZERO, || ()).unwrap();
        }
    }
    on_workers!({ each_lock(Test) });
}

/// A41: `test_dueling_threads`, with two greenlets among the threads.
#[test]
fn test_dueling_threads() {
    /// In all, for each kind of lock.
    const ROUNDS: usize = 10_000;
    struct Test;
    impl Each for Test {
        fn on<L: AnyLock>(&self, lock: L) {
            let inside = Arc::new(AtomicUsize::new(0));
            let count = Arc::new(AtomicUsize::new(0));
            let duel = || {
                let (lock, inside, count) = (lock.clone(), inside.clone(), count.clone());
                move || {
                    for _ in 0..ROUNDS / 4 {
                        lock.with(LONG, || {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            count.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        })
                        .unwrap();
                    }
                }
            };
            let threads = [std::thread::spawn(duel()), std::thread::spawn(duel())];
            let greenlets = [spawn(duel()), spawn(duel())];
            for thread in threads {
                thread.join().unwrap();
            }
            for greenlet in greenlets {
                greenlet.join().unwrap();
            }
            assert_eq!(count.load(Ordering::SeqCst), ROUNDS);
        }
    }
    on_workers!({ each_lock(Test) });
}

#[test]
fn test_fair_or_hangs() {
    on_workers!({
        // Two that pass the lock between them for ever must not keep a third one out.
        let semaphore = Semaphore::new(1);
        let should_quit = Arc::new(AtomicBool::new(false));
        let keep_going = || {
            let (semaphore, should_quit) = (semaphore.clone(), should_quit.clone());
            spawn(move || {
                while !should_quit.load(Ordering::SeqCst) {
                    let _permit = semaphore.acquire().unwrap();
                    greenloop::yield_now().unwrap();
                }
            })
        };
        let both = [keep_going(), keep_going()];
        let exiting = {
            let semaphore = semaphore.clone();
            spawn(move || drop(semaphore.acquire().unwrap()))
        };
        exiting.join().unwrap();
        should_quit.store(true, Ordering::SeqCst);
        for greenlet in both {
            greenlet.join().unwrap();
        }
    });
}

// A40
#[test]
fn test_over_release_of_a_bounded_semaphore() {
    on_workers!({
        let semaphore = BoundedSemaphore::new(2);
        assert!(semaphore.release().unwrap_err().is_limit());
        semaphore.acquire().unwrap().forget();
        // A permit that returns by itself cannot be returned by hand as well: gevent's
        // counter would let the second release pass.
        let held = semaphore.acquire().unwrap();
        semaphore.release().unwrap();
        let error = semaphore.release().unwrap_err();
        assert_eq!(
            error.to_string(),
            "semaphore released more often than acquired (2 permits)"
        );
        drop(held);
        assert_eq!((semaphore.available(), semaphore.permits()), (2, 2));
        // A release goes to who waits.
        semaphore.acquire().unwrap().forget();
        semaphore.acquire().unwrap().forget();
        assert!(semaphore.is_locked() && semaphore.try_acquire().is_none());
        let waiter = {
            let semaphore = semaphore.clone();
            spawn(move || semaphore.acquire().map(drop))
        };
        eventually("it waits", || semaphore.waiting() == 1);
        semaphore.release().unwrap();
        waiter.join().unwrap().unwrap();
        semaphore.release().unwrap();
        assert!(semaphore.release().is_err());
        assert_eq!(semaphore.available(), 2);
    });
}

/// A40: a release by a non-owner does not compile (see `RLock`'s documentation); what a
/// non-owner can try is to lock it.
#[test]
fn test_rlock_belongs_to_its_owner() {
    on_workers!({
        let lock = RLock::new();
        let guard = lock.lock().unwrap();
        let again = lock.lock().unwrap();
        assert!(lock.is_mine() && lock.is_locked());
        let others = [false, true].map(|on_thread| {
            let lock = lock.clone();
            let ask = move || (lock.is_mine(), lock.try_lock().is_some());
            if on_thread {
                std::thread::spawn(ask).join().unwrap()
            } else {
                spawn(ask).join().unwrap()
            }
        });
        assert_eq!(others, [(false, false); 2]);
        drop(again);
        assert!(lock.is_mine(), "one of two guards is left");
        drop(guard);
        assert!(!lock.is_mine() && !lock.is_locked());
    });
}
