//! Beginnings and ends: paused greenlets, kills with a reason, links, waits for one of
//! several, lanes that grow and shrink, programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::process::Command;
use greenloop::sync::{AsyncResult, Event, Queue, Semaphore, Waitable};
use greenloop::{
    Builder, Greenlet, Lane, Result, as_completed, join_some, sleep, spawn, spawn_later, wait_all,
    wait_any, yield_now,
};

use super::kinds::Alive;
use super::{Dice, Kind};
use crate::support::eventually;

pub(super) fn all() -> Vec<Box<dyn Kind>> {
    let mut all: Vec<Box<dyn Kind>> = Vec::new();
    for _ in 0..10 {
        all.push(Box::new(Begins::default()));
        all.push(Box::new(Several));
    }
    all.push(Box::new(Resized::default()));
    all.push(Box::new(Programs::default()));
    all
}

/// Greenlets that begin when told to, or never; each is told to its links once.
#[derive(Default)]
struct Begins {
    alive: Arc<AtomicUsize>,
    linked: AtomicUsize,
    told: Arc<AtomicUsize>,
}

const REASON: &str = "it is over";

impl Begins {
    fn link<T>(&self, greenlet: &Greenlet<T>) {
        self.linked.fetch_add(1, Ordering::SeqCst);
        let told = self.told.clone();
        greenlet.on_exit(move |_| {
            told.fetch_add(1, Ordering::SeqCst);
        });
    }
}

impl Kind for Begins {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let (alive, time, value) = (Alive::new(&self.alive), dice.limit() / 4, dice.roll());
        let body = move || {
            let _alive = alive;
            sleep(time).map(|()| value)
        };
        if dice.once_in(4) {
            self.link(&spawn_later(time, body));
            return Ok(());
        }
        let paused = match Builder::new().paused(body) {
            Ok(paused) => paused,
            Err(refused) => panic!("{refused}"),
        };
        assert!(!paused.is_started());
        let when = dice.below(4);
        if when == 0 {
            paused.kill_with(REASON);
        }
        if dice.once_in(2) {
            yield_now()?;
        }
        if when == 1 {
            // Dropped, it never begins.
            return Ok(());
        }
        let greenlet = paused.start();
        self.link(&greenlet);
        if when == 2 {
            greenlet.kill_with(REASON);
        }
        match greenlet.join() {
            Ok(Ok(got)) => assert!(got == value && when != 0, "a killed one ran"),
            // In its sleep.
            Ok(Err(error)) => assert_eq!((error.kill_reason(), when), (Some(REASON), 2)),
            Err(error) if error.is_wait_error() => return Err(error.into()),
            // Before its first turn.
            Err(error) => {
                assert!(error.is_killed() && (when == 0 || when == 2), "{error}");
                assert_eq!(error.kill_reason(), Some(REASON));
            }
        }
        Ok(())
    }

    fn settle(&self) {
        let alive = self.alive.load(Ordering::SeqCst);
        assert_eq!(alive, 0, "a body is still there");
        let told = || self.told.load(Ordering::SeqCst);
        let linked = self.linked.load(Ordering::SeqCst);
        eventually("all links were told", || told() >= linked);
        assert_eq!(told(), linked);
    }
}

/// Waiting for one or all of several; what is said to be ready is.
struct Several;

fn child(time: Duration, value: u64) -> Greenlet<u64> {
    spawn(move || sleep(time).map_or(0, |()| value))
}

impl Several {
    /// One thing of five, of which a helper makes one ready.
    fn mixed(dice: &mut Dice) -> Result<()> {
        let (event, semaphore, queue) = (Event::new(), Semaphore::new(0), Queue::unbounded());
        let (setter, result) = AsyncResult::new();
        let (time, which) = (dice.limit() / 4, dice.below(5));
        let helper = {
            let (event, semaphore, queue) = (event.clone(), semaphore.clone(), queue.clone());
            spawn(move || {
                let slept = sleep(time);
                match which {
                    0 => event.set(),
                    1 => semaphore.add_permits(1),
                    2 => queue.put(7).unwrap(),
                    3 => setter.set(7),
                    // Its end is all there is, and that nobody will set the result.
                    _ => {}
                }
                slept.is_ok()
            })
        };
        let objects: [&dyn Waitable; 5] = [&event, &semaphore, &queue, &result, &helper];
        let ready = wait_any(&objects)?;
        let is_ready = [
            event.is_set(),
            semaphore.available() == 1,
            queue.len() == 1,
            result.is_ready(),
            helper.is_ready(),
        ];
        assert!(is_ready[ready], "{ready} is not ready");
        Ok(())
    }

    fn completed(dice: &mut Dice) -> Result<()> {
        let children: Vec<_> = (0..4).map(|n| child(dice.limit() / 4, n)).collect();
        let reads = dice.below(8);
        let mut seen = [false; 4];
        for ended in as_completed(children).take(reads) {
            let value = ended?.join().expect("nobody killed it");
            let place = usize::try_from(value).unwrap();
            assert!(!std::mem::replace(&mut seen[place], true), "{place} twice");
        }
        let count = seen.iter().filter(|seen| **seen).count();
        assert_eq!(count, reads.min(4));
        Ok(())
    }
}

impl Kind for Several {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(4) {
            0 | 1 => Self::mixed(dice),
            2 => Self::completed(dice),
            _ => {
                let children = [0; 3].map(|_| child(dice.limit() / 4, 1));
                let handles = children.each_ref().map(|child| child.handle());
                let some = join_some(&handles, 2, None)?;
                assert_eq!(some.len(), 2);
                wait_all(&children.each_ref().map(|child| child as &dyn Waitable))?;
                assert!(children.iter().all(|child| child.is_ready()));
                Ok(())
            }
        }
    }
}

/// A lane whose number of threads changes all the time; its jobs give their own value.
struct Resized {
    lane: Lane,
    alive: Arc<AtomicUsize>,
}

impl Default for Resized {
    fn default() -> Self {
        Self {
            lane: Lane::new("storm").idle_timeout(Duration::from_millis(5)),
            alive: Arc::default(),
        }
    }
}

impl Kind for Resized {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(8) {
            self.lane.set_threads_max(1 + dice.below(4));
        }
        let (alive, value, time) = (Alive::new(&self.alive), dice.roll(), dice.limit() / 40);
        let job = move || {
            let _alive = alive;
            std::thread::sleep(time);
            value
        };
        let got = if dice.once_in(2) {
            self.lane.run(job)
        } else {
            self.lane.run_timeout(dice.limit(), job)
        };
        assert_eq!(got?, value);
        Ok(())
    }

    fn settle(&self) {
        // A job outlives the call that gave it up.
        let count = || self.alive.load(Ordering::SeqCst);
        eventually("the lane is empty", || count() == 0);
        eventually("the lane rests", || self.lane.stats().threads == 0);
        let stats = self.lane.stats();
        assert_eq!((stats.queued, stats.running), (0, 0));
    }
}

/// Programs, a few at a time; all are reaped, whoever left them.
struct Programs {
    places: Semaphore,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            places: Semaphore::new(2),
        }
    }
}

impl Kind for Programs {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let Some(_place) = self.places.try_acquire() else {
            return yield_now();
        };
        match dice.below(3) {
            0 => assert!(Command::new("true").status()?.success()),
            1 => {
                let ended = Command::new("sleep").arg("60").output_timeout(dice.limit());
                let error = ended.expect_err("nobody sleeps so short");
                return Err(error.into());
            }
            _ => {
                let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
                let waited = child.handle().wait_timeout(dice.limit())?;
                assert!(waited.is_none(), "nobody sleeps so short");
            }
        }
        Ok(())
    }

    fn settle(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        eventually("all programs are reaped", || {
            waitid(WaitId::All, options).is_err_and(|error| error == rustix::io::Errno::CHILD)
        });
    }
}
