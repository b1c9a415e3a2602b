//! A storm: ten thousand greenlets do random things to everything at once, and are killed
//! at random moments. Nothing is lost, nothing is doubled, nobody hangs.
//!
//! What is stormed is a list of [`Kind`]s ([`kinds::all`]); a new primitive is one more of
//! them. The seed is printed, and what a greenlet does follows from it alone; when it does
//! it is up to the machine.
//!
//! ```sh
//! GREENLOOP_STRESS_SECONDS=20 GREENLOOP_STRESS_SEED=7 cargo test --test it stress -- --nocapture
//! # One worker count, longer than a child of the tests may take:
//! GREENLOOP_TEST_WORKERS=4 GREENLOOP_STRESS_SECONDS=60 cargo test --test it stress -- --nocapture
//! ```

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::{Error, Greenlet, Timeout, shield, yield_now};

use crate::support::{child_var, eventually, run_child, test_name};

mod crews;
mod ends;
mod kinds;
mod locks;
mod queues;

const WORKERS: &str = "GREENLOOP_TEST_WORKERS";
const SEED: &str = "GREENLOOP_STRESS_SEED";
const SECONDS: &str = "GREENLOOP_STRESS_SECONDS";

/// What CI has time for, over all worker counts.
const SECONDS_DEFAULT: f64 = 5.0;

const ACTORS: usize = 10_000;

/// How long those who are left may take once everything has been opened: far longer than
/// ten thousand greenlets need for their last steps on a busy machine.
const DRAIN_MAX: Duration = Duration::from_secs(20);

#[test]
fn nothing_is_lost_doubled_or_hung() {
    if let Some(workers) = child_var(WORKERS) {
        let workers = workers.parse().unwrap();
        greenloop::Config::new().workers(workers).start().unwrap();
        let seconds = child_var(SECONDS).map_or(SECONDS_DEFAULT, |s| s.parse().unwrap());
        let seed = child_var(SEED).map_or_else(any_seed, |s| s.parse().unwrap());
        let storm = Storm::new(seed);
        let did = storm.rage(Duration::from_secs_f64(seconds));
        println!("stress seed {seed}, {workers} workers, {seconds:.1} s: {did}");
        return;
    }
    let seed = child_var(SEED).map_or_else(any_seed, |s| s.parse().unwrap());
    let seconds = child_var(SECONDS).map_or(SECONDS_DEFAULT, |s| s.parse::<f64>().unwrap());
    println!("stress seed {seed}");
    for workers in ["1", "2", "4"] {
        let (seed, seconds) = (seed.to_string(), (seconds / 3.0).to_string());
        let vars = [(WORKERS, workers), (SEED, &seed), (SECONDS, &seconds)];
        let output = run_child(test_name!(), &vars);
        println!("{}", output.text.trim());
        assert!(output.status.success(), "{workers} workers, seed {seed}");
        assert!(output.text.contains("1 passed"), "the child ran no test");
    }
}

/// One thing, or family of things, that greenlets do something to.
trait Kind: Send + Sync {
    /// One small random deed. Its errors are those of the crate's calls; what must never
    /// happen panics.
    fn step(&self, dice: &mut Dice) -> greenloop::Result<()>;

    /// Lets everybody who waits here go: no more steps begin, those that run shall end.
    fn open(&self) {}

    /// Holds the books against each other. Nobody is here any more.
    fn settle(&self) {}
}

/// Random numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: u64) -> bool {
        self.roll().is_multiple_of(n)
    }

    /// A limit, from already passed to longer than most waits.
    fn limit(&mut self) -> Duration {
        let micros_max = if self.once_in(8) { 20_000 } else { 2_000 };
        Duration::from_micros(self.roll() % micros_max)
    }

    /// How to wait: seldom without a limit, which for most ends in a kill or at the end.
    fn patience(&mut self) -> Patience {
        match self.below(10) {
            0 => Patience::Endless,
            1..6 => Patience::Limited(self.limit()),
            _ => Patience::None,
        }
    }
}

/// How long a call may wait.
enum Patience {
    None,
    Limited(Duration),
    Endless,
}

fn any_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % 1_000_000
}

/// What all actors share.
struct Storm {
    seed: u64,
    kinds: Vec<Box<dyn Kind>>,
    is_over: AtomicBool,
    steps: AtomicU64,
    timeouts: AtomicU64,
    kills: AtomicU64,
    /// What went wrong, in an actor that a kill could hide.
    faults: Mutex<Vec<String>>,
}

impl Storm {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            kinds: kinds::all(),
            is_over: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            faults: Mutex::default(),
        })
    }

    /// The whole of it: the storm for `duration`, its end, and the books. Says what it did.
    fn rage(self: &Arc<Self>, duration: Duration) -> String {
        let (ended, ends) = channel();
        let mut dice = Dice(self.seed);
        let mut actors: Vec<_> = (0..ACTORS)
            .map(|place| self.begin(place, dice.roll(), &ended))
            .collect();
        let end = Instant::now() + duration;
        let mut begun = ACTORS;
        while Instant::now() < end {
            begun += self.replace(&mut actors, &mut dice, &ended, &ends);
            for _ in 0..dice.below(20) {
                actors[dice.below(ACTORS)].kill();
                self.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.is_over.store(true, Ordering::SeqCst);
        for kind in &self.kinds {
            kind.open();
        }
        drain(&actors);
        drop(actors);
        eventually("the registry is empty", || {
            greenloop::greenlets().is_empty()
        });
        for kind in &self.kinds {
            kind.settle();
        }
        let faults = self.faults.lock().unwrap();
        assert!(
            faults.is_empty(),
            "{} faults: {:?}",
            faults.len(),
            faults[0]
        );
        drop(ended);
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        format!(
            "{} steps of {begun} greenlets, {} kills, {} timeouts",
            count(&self.steps),
            count(&self.kills),
            count(&self.timeouts)
        )
    }

    /// Starts successors of those that ended within a millisecond, and counts them.
    fn replace(
        self: &Arc<Self>,
        actors: &mut [Greenlet<()>],
        dice: &mut Dice,
        ended: &Sender<usize>,
        ends: &Receiver<usize>,
    ) -> usize {
        let until = Instant::now() + Duration::from_millis(1);
        let mut begun = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match ends.recv_timeout(left) {
                Ok(place) => {
                    actors[place] = self.begin(place, dice.roll(), ended);
                    begun += 1;
                }
                Err(RecvTimeoutError::Timeout) => return begun,
                Err(RecvTimeoutError::Disconnected) => unreachable!("one sender is ours"),
            }
        }
    }

    fn begin(self: &Arc<Self>, place: usize, seed: u64, ended: &Sender<usize>) -> Greenlet<()> {
        let storm = self.clone();
        // Dropped with the body, also where a kill came before its first turn.
        let end = TellsEnd {
            place,
            tell: ended.clone(),
            storm: self.clone(),
        };
        greenloop::spawn(move || {
            let _end = end;
            storm.act(&mut Dice(seed));
        })
    }

    /// An actor's life.
    fn act(&self, dice: &mut Dice) {
        for _ in 0..dice.below(200) {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            self.steps.fetch_add(1, Ordering::Relaxed);
            match self.deed(dice) {
                Ok(()) => {}
                Err(error) if error.is_timeout() => {
                    self.timeouts.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.is_cancelled() => return self.die(dice, error),
                Err(error) if error.is_closed() && self.is_over.load(Ordering::SeqCst) => return,
                Err(error) => return self.fault(format!("a step failed: {error}")),
            }
        }
    }

    /// A step of some kind, at times under one or two limits.
    fn deed(&self, dice: &mut Dice) -> greenloop::Result<()> {
        let kind = &self.kinds[dice.below(self.kinds.len())];
        match dice.below(8) {
            0 => {
                let outer = Timeout::start(dice.limit());
                let inner = Timeout::start(dice.limit());
                let done = kind.step(dice);
                self.is_explained(&done, &[&outer, &inner]);
                drop(inner);
                // What is left of the outer one still holds, and is the only one.
                self.is_explained(&yield_now(), &[&outer]);
                done
            }
            1 => {
                let limit = Timeout::start(dice.limit());
                let done = kind.step(dice);
                self.is_explained(&done, &[&limit]);
                done
            }
            _ => {
                let done = kind.step(dice);
                self.is_explained(&done, &[]);
                done
            }
        }
    }

    /// Notes a fault if it was a `Timeout` that ended a call, and none of `running`.
    fn is_explained(&self, done: &greenloop::Result<()>, running: &[&Timeout]) {
        if let Err(error) = done
            && error.timeout_id().is_some()
            && !running.iter().any(|limit| limit.owns(error))
        {
            self.fault(format!("ended by a Timeout that does not run: {error}"));
        }
    }

    /// What a killed actor still may do, and what it may not.
    fn die(&self, dice: &mut Dice, error: Error) {
        if !greenloop::is_killed() {
            return self.fault(format!("not killed, and yet: {error}"));
        }
        if yield_now().is_ok() {
            return self.fault("a killed greenlet could wait".into());
        }
        if dice.once_in(4)
            && let Err(error) = shield(yield_now)
        {
            self.fault(format!("a shielded wait failed: {error}"));
        }
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }
}

/// Waits until all of `actors` have ended; who has not after a long time hangs.
fn drain(actors: &[Greenlet<()>]) {
    let end = Instant::now() + DRAIN_MAX;
    for actor in actors {
        let left = end.saturating_duration_since(Instant::now());
        if !actor.wait_timeout(left).unwrap() {
            let dump = greenloop::dump().to_string();
            let dump: Vec<_> = dump.lines().take(40).collect();
            panic!("{actor:?} hangs\n{}", dump.join("\n"));
        }
    }
}

/// Tells which actor's place is free, and whether it panicked there.
struct TellsEnd {
    place: usize,
    tell: Sender<usize>,
    storm: Arc<Storm>,
}

impl Drop for TellsEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.storm.fault("an actor panicked, see above".into());
        }
        // After the storm nobody listens.
        let _ = self.tell.send(self.place);
    }
}
