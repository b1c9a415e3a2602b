//! Several greenlets at once: groups, pools, scopes that fail, supervisors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::sync::{
    Backoff, ChildSpec, Group, Pool, Restart, Strategy, SupervisorSpec, try_scope,
};
use greenloop::{Error, Greenlet, Result, sleep, yield_now};

use super::kinds::Alive;
use super::{Dice, Kind, Patience};

pub(super) fn all() -> Vec<Box<dyn Kind>> {
    let mut all: Vec<Box<dyn Kind>> = Vec::new();
    for n in 0..15 {
        all.push(Box::new(Crew::default()));
        all.push(Box::new(Places::new(1 + n % 5)));
    }
    for _ in 0..5 {
        all.push(Box::new(Trial));
        all.push(Box::new(Watched));
    }
    all
}

/// A group; it is empty when all its members have ended, or were killed.
#[derive(Default)]
struct Crew {
    group: Group,
    alive: Arc<AtomicUsize>,
}

impl Kind for Crew {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(16) {
            0 => self.group.join(),
            1 => self.group.kill_timeout(dice.limit()).map(drop),
            2..6 => self.group.join_timeout(dice.limit()).map(drop),
            n => {
                let (alive, time) = (Alive::new(&self.alive), dice.limit() / 4);
                let member = self.group.spawn(move || {
                    let _alive = alive;
                    sleep(time).is_ok()
                });
                if n == 6 {
                    self.group.discard(&member);
                }
                if n == 7 {
                    member.wait()?;
                    assert!(!self.group.contains(&member), "it has ended");
                }
                Ok(())
            }
        }
    }

    fn settle(&self) {
        assert!(self.group.is_empty());
        self.group.join().unwrap();
        let alive = self.alive.load(Ordering::SeqCst);
        assert_eq!(alive, 0, "a body is still there");
    }
}

/// A pool; never more inside than it has places, and all places come back.
struct Places {
    pool: Pool,
    inside: Arc<AtomicUsize>,
}

impl Places {
    fn new(size: usize) -> Self {
        Self {
            pool: Pool::new(size),
            inside: Arc::default(),
        }
    }

    /// A job that gives `value`, or `None` if it was killed while it slept.
    fn job<T>(&self, value: T, time: Duration) -> impl FnOnce() -> Option<T> + use<T> {
        let each = self.each();
        move || each((value, time))
    }

    /// The same for many values.
    fn each<T>(&self) -> impl Fn((T, Duration)) -> Option<T> + use<T> {
        let (inside, size) = (self.inside.clone(), self.pool.size());
        move |(value, time)| {
            let before = inside.fetch_add(1, Ordering::SeqCst);
            let slept = sleep(time);
            inside.fetch_sub(1, Ordering::SeqCst);
            assert!(before < size, "more inside than places");
            slept.ok().map(|()| value)
        }
    }

    fn start(&self, dice: &mut Dice) -> Result<()> {
        let (value, time) = (dice.roll(), dice.limit() / 8);
        let started = match dice.patience() {
            Patience::Endless => self.pool.spawn(self.job(value, time)),
            Patience::Limited(limit) => self.pool.spawn_timeout(self.job(value, time), limit),
            Patience::None => self.pool.try_spawn(self.job(value, time)),
        };
        match started {
            Ok(started) => {
                let is_killed = dice.once_in(4);
                if is_killed {
                    started.kill();
                }
                if dice.once_in(2) {
                    return ends_with(started, value, is_killed);
                }
                Ok(())
            }
            Err(refused) if refused.is_full() => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    fn map(&self, dice: &mut Dice) -> Result<()> {
        let each = self.each();
        let times: Vec<_> = (0..4).map(|n| (n, dice.limit() / 8)).collect();
        let wanted: Vec<_> = (0..4).collect();
        if dice.once_in(2) {
            let mapped = self.pool.map(times, each)?;
            let mapped: Vec<_> = mapped.into_iter().map(|n| n.unwrap().unwrap()).collect();
            assert_eq!(mapped, wanted);
            return Ok(());
        }
        let mut stream = if dice.once_in(2) {
            self.pool.stream(times, each)
        } else {
            self.pool.stream_unordered(times, each).buffer(2)
        };
        let mut got = Vec::new();
        // Some read it to its end, and some leave it with jobs that run.
        for _ in 0..dice.below(6) {
            match stream.next_timeout(Duration::from_secs(60))? {
                Some(n) => got.push(n.unwrap().unwrap()),
                None => {
                    got.sort_unstable();
                    assert_eq!(got, wanted);
                }
            }
        }
        Ok(())
    }
}

/// The end of a job of [`Places`] is its value, or the kill that it got.
fn ends_with(job: Greenlet<Option<u64>>, value: u64, is_killed: bool) -> Result<()> {
    match job.join() {
        Ok(got) => {
            assert!(got == Some(value) || (is_killed && got.is_none()));
            Ok(())
        }
        Err(error) if error.is_wait_error() => Err(error.into()),
        Err(error) => {
            assert!(error.is_killed() && is_killed, "{error}");
            Ok(())
        }
    }
}

impl Kind for Places {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(8) {
            0 => self.map(dice),
            1 => self.pool.wait_available(Some(dice.limit())).map(drop),
            2 => self.pool.join_timeout(dice.limit()).map(drop),
            3 => {
                // As many as there are of us at most stand in line: each takes its own back.
                let (value, time) = (dice.roll(), dice.limit() / 8);
                let job = self.pool.submit(self.job(value, time));
                let handle = job.handle();
                let is_killed = dice.once_in(4);
                if is_killed {
                    yield_now()?;
                    job.kill();
                }
                let ended = ends_with(job, value, is_killed);
                if ended.is_err() {
                    handle.kill();
                }
                ended
            }
            4 => match self.pool.run(self.job(dice.roll(), dice.limit() / 8)) {
                Ok(value) => {
                    assert!(value.is_some(), "nobody killed it");
                    Ok(())
                }
                Err(error) if error.is_wait_error() => Err(error.into()),
                Err(error) => panic!("nobody killed it: {error}"),
            },
            _ => self.start(dice),
        }
    }

    fn settle(&self) {
        assert_eq!(self.pool.free_count(), self.pool.size(), "a place is lost");
        assert_eq!((self.pool.waiting(), self.pool.len()), (0, 0));
        assert_eq!(self.inside.load(Ordering::SeqCst), 0);
    }
}

/// A scope gives its first failure, and its greenlets end before it does.
struct Trial;

#[derive(Debug)]
enum Verdict {
    /// What a child returned.
    Fails(u64),
    Ends(Error),
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        Self::Ends(error)
    }
}

impl Kind for Trial {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let inside = AtomicUsize::new(0);
        let number = dice.roll();
        let children = [0; 3].map(|_| (dice.limit() / 8, dice.once_in(6)));
        let does_fail = children.iter().any(|(_, fails)| *fails);
        let done = try_scope(|s| {
            for (time, fails) in children {
                let inside = &inside;
                s.spawn(move || {
                    inside.fetch_add(1, Ordering::SeqCst);
                    let slept = sleep(time);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    slept?;
                    if fails {
                        Err(Verdict::Fails(number))
                    } else {
                        Ok(())
                    }
                });
            }
            Ok(number)
        });
        assert_eq!(inside.into_inner(), 0, "a child outlives its scope");
        match done {
            Ok(value) => assert!(value == number && !does_fail),
            Err(Verdict::Fails(value)) => assert!(value == number && does_fail),
            Err(Verdict::Ends(error)) => return Err(error),
        }
        Ok(())
    }
}

/// A supervisor that restarts a child until it does not fail, or is stopped before.
struct Watched;

impl Kind for Watched {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let (starts, fails) = (Arc::new(AtomicUsize::new(0)), dice.below(3));
        let (count, time) = (starts.clone(), dice.limit() / 8);
        let child = move || {
            let start = count.fetch_add(1, Ordering::SeqCst);
            sleep(time).unwrap_or(());
            if start < fails { Err("again") } else { Ok(()) }
        };
        let supervisor = SupervisorSpec::new(Strategy::OneForOne)
            .restarts_max(fails, Duration::from_secs(600))
            .backoff(Backoff::NONE)
            .child(ChildSpec::new("flaky", child).restart(Restart::Transient))
            .start();
        if dice.once_in(3) {
            return supervisor.stop(Some(dice.limit())).map(drop);
        }
        match supervisor.wait() {
            Ok(()) => assert_eq!(starts.load(Ordering::SeqCst), fails + 1),
            // It runs on, and ends by itself.
            Err(error) if error.is_wait_error() => return Err(error.into()),
            Err(error) => panic!("restarts were left: {error}"),
        }
        Ok(())
    }
}
