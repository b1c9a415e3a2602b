//! What is stormed. A new primitive is one more [`Kind`] here or in a file beside this one,
//! and a line in the `all` of that file.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::{Event, Semaphore, scope};
use greenloop::{Result, blocking, shield, sleep, spawn, wait_any_timeout, yield_now};

use super::{Dice, Kind, Patience, crews, ends, locks, queues};

/// All that is stormed, each as often as it makes sense: with few of a kind many wait in
/// one line, with many of it few do.
pub(super) fn all() -> Vec<Box<dyn Kind>> {
    let mut all: Vec<Box<dyn Kind>> = Vec::new();
    for n in 0..40 {
        all.push(Box::new(Permits::new(1 + n % 5)));
        all.push(Box::new(Signal::default()));
    }
    for _ in 0..10 {
        all.push(Box::new(Sleep));
        all.push(Box::new(Yield));
        all.push(Box::new(Children::default()));
        all.push(Box::new(Scopes));
    }
    all.push(Box::new(Lane::default()));
    all.extend(locks::all());
    all.extend(queues::all());
    all.extend(crews::all());
    all.extend(ends::all());
    all
}

/// A semaphore; never more inside than it lets, and all permits come back.
struct Permits {
    semaphore: Semaphore,
    permits: usize,
    inside: AtomicUsize,
}

impl Permits {
    fn new(permits: usize) -> Self {
        Self {
            semaphore: Semaphore::new(permits),
            permits,
            inside: AtomicUsize::new(0),
        }
    }
}

impl Kind for Permits {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let permit = match dice.patience() {
            Patience::Endless => Some(self.semaphore.acquire()?),
            Patience::Limited(limit) => Some(self.semaphore.acquire_timeout(limit)?),
            Patience::None => self.semaphore.try_acquire(),
        };
        let Some(permit) = permit else {
            return Ok(());
        };
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.permits, "more inside than permits");
        let done = match dice.below(4) {
            0 => sleep(Duration::from_micros(dice.roll() % 1000)),
            1 => yield_now(),
            _ => Ok(()),
        };
        self.inside.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
        done
    }

    fn settle(&self) {
        assert_eq!(self.semaphore.available(), self.permits, "a permit is lost");
        assert_eq!(self.semaphore.waiting(), 0);
    }
}

/// An event that is set and cleared, waited for alone and with others.
#[derive(Default)]
struct Signal {
    event: Event,
    other: Event,
    is_open: Mutex<bool>,
}

impl Kind for Signal {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let limit = dice.limit();
        match dice.below(9) {
            0 => self.event.wait(),
            1..5 => self.event.wait_timeout(limit).map(drop),
            5 => {
                let both = [&self.event as _, &self.other as _];
                wait_any_timeout(&both, limit).map(drop)
            }
            6 => {
                self.other.set();
                Ok(())
            }
            7 => {
                // Never after the end, when nobody would set it again.
                let is_open = self.is_open.lock().unwrap();
                if !*is_open {
                    self.event.clear();
                    self.other.clear();
                }
                Ok(())
            }
            _ => {
                self.event.set();
                Ok(())
            }
        }
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.event.set();
        self.other.set();
    }
}

/// Sleeping is never too short, in a shield or outside.
struct Sleep;

impl Kind for Sleep {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let (start, time) = (Instant::now(), dice.limit());
        if dice.once_in(8) {
            let slept = shield(|| sleep(time));
            assert!(slept.is_ok(), "a shielded sleep was ended");
        } else {
            sleep(time)?;
        }
        assert!(start.elapsed() >= time, "a sleep was too short");
        Ok(())
    }
}

struct Yield;

impl Kind for Yield {
    fn step(&self, _: &mut Dice) -> Result<()> {
        yield_now()
    }
}

/// Children that are joined, killed, waited for or left alone; each ends once.
#[derive(Default)]
struct Children {
    alive: Arc<AtomicUsize>,
}

/// Counts a body for as long as it is there, run or not.
pub(super) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Kind for Children {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let (alive, time, value) = (Alive::new(&self.alive), dice.limit() / 4, dice.roll());
        let child = spawn(move || {
            let _alive = alive;
            let slept = sleep(time);
            slept.map(|()| value)
        });
        let is_killed = dice.once_in(3);
        if dice.once_in(2) {
            yield_now()?;
        }
        if is_killed {
            child.kill();
        }
        match dice.below(3) {
            0 => child.wait_timeout(dice.limit()).map(drop),
            1 => Ok(()),
            _ => match child.join() {
                Ok(Ok(got)) => {
                    assert_eq!(got, value);
                    Ok(())
                }
                Err(error) if error.is_wait_error() => Err(error.into()),
                // By its kill, before its first turn or in its sleep.
                Ok(Err(_)) | Err(_) => {
                    assert!(is_killed, "a child that nobody killed has no value");
                    Ok(())
                }
            },
        }
    }

    fn settle(&self) {
        assert_eq!(
            self.alive.load(Ordering::SeqCst),
            0,
            "a body is still there"
        );
    }
}

/// A scope's greenlets borrow, and end before it does.
struct Scopes;

impl Kind for Scopes {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let ended = AtomicUsize::new(0);
        let limits = [dice.limit() / 4, dice.limit() / 4];
        let killed = dice.once_in(4);
        let done = scope(|s| {
            for limit in limits {
                let ended = &ended;
                s.spawn(move || {
                    let _ = sleep(limit);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            if killed {
                s.kill_all();
            }
        });
        let ended = ended.into_inner();
        assert!(ended <= 2 && (killed || done.is_err() || ended == 2));
        done
    }
}

/// Jobs of the blocking lane give their own value, and all end.
#[derive(Default)]
struct Lane {
    alive: Arc<AtomicUsize>,
}

impl Kind for Lane {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let (alive, value, time) = (Alive::new(&self.alive), dice.roll(), dice.limit() / 20);
        let got = blocking(move || {
            let _alive = alive;
            std::thread::sleep(time);
            value
        })?;
        assert_eq!(got, value);
        Ok(())
    }

    fn settle(&self) {
        // A job outlives the call that gave it up.
        let count = || self.alive.load(Ordering::SeqCst);
        crate::support::eventually("the lane is empty", || count() == 0);
    }
}
