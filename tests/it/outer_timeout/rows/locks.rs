//! Locks, permits, and waiting for a change under a lock.

use std::sync::Arc;
use std::time::Duration;

use greenloop::sync::{
    BoundedSemaphore, Condvar, Event, Mutex, MutexGuard, RLock, RwLock, Semaphore,
};
use greenloop::{Error, Greenlet, spawn};

use super::{LONG, Row, Rows, later, soon};
use crate::support::before_long;

pub(in super::super) fn locks() -> Vec<Row> {
    let themes = [
        mutex(),
        rlock(),
        rwlock(),
        condvar(),
        semaphore(),
        bounded(),
    ];
    themes.into_iter().flatten().collect()
}

/// A lock that others have, or stand in line for, until an event is set.
struct Held<L> {
    lock: Arc<L>,
    others: Vec<Greenlet<()>>,
    go: Event,
}

impl<L: Send + Sync + 'static> Held<L> {
    /// `take` locks it, and calls what it is given with the guard in hand.
    fn by(lock: L, take: fn(&L, &dyn Fn())) -> Self {
        let mut held = Self {
            lock: Arc::new(lock),
            others: Vec::new(),
            go: Event::new(),
        };
        let inside = Event::new();
        let (go, told) = (held.go.clone(), inside.clone());
        held.other(move |lock| {
            take(lock, &|| {
                told.set();
                go.wait().unwrap();
            });
        });
        inside.wait().unwrap();
        held
    }

    fn other(&mut self, use_it: impl FnOnce(&L) + Send + 'static) {
        let lock = self.lock.clone();
        self.others.push(spawn(move || use_it(&lock)));
    }

    /// Lets the holder go, and sees everyone through.
    fn end(&mut self) {
        self.go.set();
        for other in self.others.drain(..) {
            other.join().unwrap();
        }
    }
}

fn mutex() -> Vec<Row> {
    fn held() -> Held<Mutex<u8>> {
        Held::by(Mutex::new(1), |lock, hold| {
            let _guard = lock.lock().unwrap();
            hold();
        })
    }
    /// The holder has kept it, and gives it to the next.
    fn still_locks(held: &mut Held<Mutex<u8>>) {
        assert_eq!(held.lock.waiting(), 0);
        assert!(held.lock.try_lock().is_none());
        held.other(|lock| *lock.lock().unwrap() += 1);
        let lock = held.lock.clone();
        before_long("the next waits", || lock.waiting() == 1);
        held.end();
        assert_eq!(*lock.lock_deadline(soon()).unwrap(), 2);
        assert!(!lock.is_locked());
    }
    Rows::on("Mutex", held, still_locks)
        .call("lock", |m| m.lock.lock().map(drop))
        .call("lock_timeout", |m| m.lock.lock_timeout(LONG).map(drop))
        .call("lock_deadline", |m| m.lock.lock_deadline(later()).map(drop))
        .rows
}

fn rlock() -> Vec<Row> {
    fn held() -> Held<RLock> {
        Held::by(RLock::new(), |lock, hold| {
            let _twice = (lock.lock().unwrap(), lock.lock().unwrap());
            hold();
        })
    }
    /// The holder has kept it, and gives it to the next.
    fn still_locks(held: &mut Held<RLock>) {
        let lock = held.lock.clone();
        assert_eq!((lock.waiting(), lock.is_mine()), (0, false));
        assert!(lock.try_lock().is_none());
        held.other(|lock| drop(lock.lock().unwrap()));
        before_long("the next waits", || lock.waiting() == 1);
        held.end();
        let _twice = (lock.lock_deadline(soon()).unwrap(), lock.lock().unwrap());
        assert!(lock.is_mine());
    }
    Rows::on("RLock", held, still_locks)
        .call("lock", |m| m.lock.lock().map(drop))
        .call("lock_timeout", |m| m.lock.lock_timeout(LONG).map(drop))
        .call("lock_deadline", |m| m.lock.lock_deadline(later()).map(drop))
        .rows
}

fn rwlock() -> Vec<Row> {
    fn written() -> Held<RwLock<u8>> {
        Held::by(RwLock::new(1), |lock, hold| {
            let _guard = lock.write().unwrap();
            hold();
        })
    }
    fn read() -> Held<RwLock<u8>> {
        Held::by(RwLock::new(1), |lock, hold| {
            let _guard = lock.read().unwrap();
            hold();
        })
    }
    /// A writer stands in line behind the reader.
    fn wanted() -> Held<RwLock<u8>> {
        let mut held = read();
        held.other(|lock| *lock.write().unwrap() += 1);
        let lock = held.lock.clone();
        before_long("a writer waits", || lock.waiting() == 1);
        held
    }
    fn is_written_to(held: &mut Held<RwLock<u8>>) {
        let lock = held.lock.clone();
        assert_eq!((lock.waiting(), lock.is_writing()), (0, true));
        assert!(lock.try_read().is_none());
        held.end();
        works(&lock, 1);
    }
    /// The writer that left is in no reader's way.
    fn is_read_by_all(held: &mut Held<RwLock<u8>>) {
        let lock = held.lock.clone();
        assert_eq!((lock.waiting(), lock.reading()), (0, 1));
        assert_eq!(*lock.try_read().unwrap(), 1);
        held.end();
        works(&lock, 1);
    }
    fn gets_its_writer(held: &mut Held<RwLock<u8>>) {
        let lock = held.lock.clone();
        assert_eq!((lock.waiting(), lock.reading()), (1, 1));
        held.end();
        works(&lock, 2);
    }
    fn works(lock: &RwLock<u8>, value: u8) {
        assert_eq!((lock.reading(), lock.is_writing()), (0, false));
        *lock.write_deadline(soon()).unwrap() += 1;
        assert_eq!(*lock.read_deadline(soon()).unwrap(), value + 1);
    }
    let mut rows = Rows::on("RwLock", written, is_written_to)
        .call("read", |m| m.lock.read().map(drop))
        .call("read_timeout", |m| m.lock.read_timeout(LONG).map(drop))
        .call("read_deadline", |m| m.lock.read_deadline(later()).map(drop))
        .call("write behind_writer", |m| m.lock.write().map(drop))
        .rows;
    let write = Rows::on("RwLock", read, is_read_by_all)
        .call("write", |m| m.lock.write().map(drop))
        .call("write_timeout", |m| m.lock.write_timeout(LONG).map(drop))
        .call("write_deadline", |m| {
            m.lock.write_deadline(later()).map(drop)
        });
    let fair = Rows::on("RwLock wanted", wanted, gets_its_writer)
        .call("read", |m| m.lock.read().map(drop))
        .call("write", |m| m.lock.write().map(drop));
    rows.extend(write.rows);
    rows.extend(fair.rows);
    rows
}

type Door = Arc<(Mutex<u8>, Condvar)>;

fn condvar() -> Vec<Row> {
    /// The lock is held again, however the wait ends.
    fn wait<T>(
        door: &Door,
        call: impl FnOnce(&Condvar, &mut MutexGuard<'_, u8>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (lock, changed) = &**door;
        let mut guard = lock.try_lock().unwrap();
        let waited = call(changed, &mut guard);
        assert!(lock.is_locked() && lock.try_lock().is_none());
        assert_eq!(*guard, 0);
        waited
    }
    /// A notification is not for who has left.
    fn still_notifies(door: &mut Door) {
        let (lock, changed) = &**door;
        assert!(!lock.is_locked());
        assert_eq!(changed.waiting(), 0);
        assert!(!changed.notify_one());
        let waiter = {
            let door = door.clone();
            spawn(move || {
                let mut guard = door.0.lock().unwrap();
                door.1.wait_while(&mut guard, |n| *n == 0).unwrap();
                *guard
            })
        };
        before_long("the next waits", || changed.waiting() == 1);
        *lock.lock_deadline(soon()).unwrap() = 5;
        assert!(changed.notify_one());
        assert_eq!(waiter.join().unwrap(), 5);
    }
    Rows::on("Condvar", Door::default, still_notifies)
        .call("wait", |d| wait(d, |c, guard| c.wait(guard)))
        .call("wait_timeout", |d| {
            wait(d, |c, guard| c.wait_timeout(guard, LONG))
        })
        .call("wait_deadline", |d| {
            wait(d, |c, guard| c.wait_deadline(guard, later()))
        })
        .call("wait_while", |d| {
            wait(d, |c, guard| c.wait_while(guard, |n| *n == 0))
        })
        .call("wait_while_timeout", |d| {
            wait(d, |c, guard| c.wait_while_timeout(guard, LONG, |_| true))
        })
        .call("wait_while_deadline", |d| {
            wait(d, |c, guard| {
                c.wait_while_deadline(guard, later(), |_| true)
            })
        })
        .rows
}

fn semaphore() -> Vec<Row> {
    fn none() -> Semaphore {
        Semaphore::new(0)
    }
    fn still_counts(semaphore: &mut Semaphore) {
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
        semaphore.add_permits(1);
        assert_eq!(semaphore.wait_available().unwrap(), 1);
        let permit = semaphore.acquire().unwrap();
        assert_eq!(semaphore.available(), 0);
        drop(permit);
        assert_eq!(semaphore.available(), 1);
    }
    Rows::on("Semaphore", none, still_counts)
        .call("acquire", |s| s.acquire())
        .call("acquire_timeout", |s| s.acquire_timeout(LONG))
        .call("acquire_deadline", |s| s.acquire_deadline(later()))
        .call("wait_available", |s| s.wait_available())
        .call("wait_available_timeout", |s| s.wait_available_timeout(LONG))
        .call("wait_available_deadline", |s| {
            s.wait_available_deadline(later())
        })
        .waitable(|s| s)
        .rows
}

fn bounded() -> Vec<Row> {
    fn none() -> BoundedSemaphore {
        let semaphore = BoundedSemaphore::new(1);
        semaphore.acquire().unwrap().forget();
        semaphore
    }
    fn still_counts(semaphore: &mut BoundedSemaphore) {
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
        semaphore.release().unwrap();
        let permit = semaphore.acquire_timeout(Duration::ZERO).unwrap();
        assert_eq!(semaphore.available(), 0);
        drop(permit);
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.release().unwrap_err().is_limit());
    }
    Rows::on("BoundedSemaphore", none, still_counts)
        .call("acquire", |s| s.acquire())
        .call("acquire_timeout", |s| s.acquire_timeout(LONG))
        .call("acquire_deadline", |s| s.acquire_deadline(later()))
        .waitable(|s| s)
        .rows
}
