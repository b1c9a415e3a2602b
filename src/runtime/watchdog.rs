//! The thread that watches the others: workers that are stuck, programs that stand still,
//! memory that grows.
//!
//! While any worker is busy it looks every 20 ms or more, at one record per worker. When
//! all are idle for a second it looks for a deadlock, once, and then rests: nothing wakes
//! it but the next greenlet that runs (or a threshold on memory, if one is set).
//!
//! # A worker that is stuck
//!
//! One greenlet on a worker, and no turn of anybody, for longer than
//! [`Config::max_blocking`](crate::Config::max_blocking). Only the time counts in which the
//! greenlet had its way: on a core, or asleep in the kernel. Time in which the machine gave
//! the worker no core does not, nor time in which the process was stopped: for each look
//! the kernel is asked how the thread has spent its time, and a look that comes late counts
//! as twice the usual distance at most. Where the kernel does not tell, all time counts.
//!
//! # Rest without a lost wake-up
//!
//! Who begins to run stores that in the worker's record and then reads `RESTING`; the
//! watchdog stores `RESTING` and then reads the records. Neither may overtake itself. The
//! worker, whose every switch this is, pays nothing for that: the watchdog has the kernel
//! put a barrier on all threads (membarrier(2)), and where there is none, it does not rest
//! for longer than a second.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::thread::{MembarrierCommand, membarrier};

use crate::error::{Error, Result};
use crate::runtime::clock::{self, NEVER};
use crate::runtime::deadlock::{self, Standstill};
use crate::runtime::hooks::{self, Blocked};
use crate::runtime::memory::{Hysteresis, Measure};
use crate::runtime::procfs::{self, Pagemap, Spent};
use crate::runtime::workers::{self, Sight};
use crate::runtime::{backtrace, registry};
use crate::util::lock;

/// The part of [`Config`](crate::Config) that is about this.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) enabled: bool,
    pub(crate) max_blocking: Duration,
    pub(crate) backtrace: bool,
    pub(crate) memory_threshold: Option<u64>,
    pub(crate) greenlets_threshold: Option<u64>,
    pub(crate) memory_period: Duration,
    pub(crate) abort_on_deadlock: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_blocking: Duration::from_millis(100),
            backtrace: true,
            memory_threshold: None,
            greenlets_threshold: None,
            memory_period: Duration::from_secs(5),
            abort_on_deadlock: false,
        }
    }
}

/// Whether the watchdog rests, and is to be woken by the next that runs.
static RESTING: AtomicBool = AtomicBool::new(false);
/// Whether it was woken since it last looked.
static RUNG: Mutex<bool> = Mutex::new(false);
static RINGING: Condvar = Condvar::new();

/// Lets the watchdog look again if it rests: something begins to run, or to wait.
#[inline]
pub(crate) fn stir() {
    if RESTING.load(Ordering::Relaxed) {
        ring();
    }
}

/// Lets it look now.
#[cold]
pub(crate) fn ring() {
    RESTING.store(false, Ordering::Relaxed);
    *lock(&RUNG) = true;
    RINGING.notify_one();
}

/// Starts the thread.
pub(crate) fn start(settings: Settings) -> Result<()> {
    if !settings.enabled {
        return Ok(());
    }
    if settings.backtrace {
        backtrace::install();
    }
    std::thread::Builder::new()
        .name("greenloop-watchdog".into())
        .spawn(move || Watchdog::new(settings).run())
        .map(drop)
        .map_err(|error| Error::from(error).context("starting the watchdog"))
}

struct Watchdog {
    settings: Settings,
    /// The distance of two looks while somebody runs.
    period: u64,
    /// When it looked last.
    looked: u64,
    stalls: Vec<Stall>,
    quiet: Quiet,
    memory: Vec<Hysteresis>,
    /// When memory is looked at next.
    memory_at: u64,
    has_barrier: bool,
}

/// A worker, and for how long it has not moved on.
struct Stall {
    sight: Sight,
    /// Asked from the second look on: most greenlets are gone by then.
    spent: Option<Spent>,
    looks: u32,
    /// The time that counts so far.
    nanos: u64,
    told: bool,
}

/// The time in which no worker has moved.
struct Quiet {
    turns: u64,
    /// When to look for a deadlock, `NEVER` if that was settled.
    look_at: u64,
    /// How long to wait after a look that was not sure.
    pause: u64,
    told: bool,
}

/// The time after which a standstill is looked into: far longer than any wake-up takes.
const QUIET_NANOS: u64 = 1_000_000_000;
/// The longest pause between two looks at a standstill that is not certain.
const PAUSE_NANOS_MAX: u64 = 60_000_000_000;
const PERIOD_NANOS_MIN: u64 = 20_000_000;
/// How long a certain standstill is watched before it is told.
const PROOF: Duration = Duration::from_millis(100);

impl Watchdog {
    fn new(settings: Settings) -> Self {
        let register = membarrier(MembarrierCommand::RegisterPrivateExpedited);
        let threshold = |measure, value: Option<u64>| Some(Hysteresis::new(measure, value?));
        let memory = [
            threshold(Measure::ResidentBytes, settings.memory_threshold),
            threshold(Measure::Greenlets, settings.greenlets_threshold),
        ];
        let memory: Vec<_> = memory.into_iter().flatten().collect();
        let max_blocking = nanos(settings.max_blocking);
        let now = clock::now();
        Self {
            // Four looks, so that the limit is found out when it is over by a fourth.
            period: (max_blocking / 4).clamp(PERIOD_NANOS_MIN, QUIET_NANOS),
            looked: now,
            stalls: Vec::new(),
            quiet: Quiet {
                turns: 0,
                look_at: NEVER,
                pause: QUIET_NANOS,
                told: false,
            },
            memory_at: if memory.is_empty() { NEVER } else { now },
            memory,
            has_barrier: register.is_ok(),
            settings,
        }
    }

    fn run(mut self) {
        loop {
            let now = clock::now();
            let is_busy = self.look_at_workers(now);
            let next = self.look_at_memory(now).min(hooks::run_periodic(now));
            if is_busy {
                pause(next.min(now.saturating_add(self.period)));
            } else {
                self.look_at_quiet(now);
                self.rest(next.min(self.quiet.look_at));
            }
        }
    }

    /// True if some worker runs a greenlet or has done so since the last look.
    fn look_at_workers(&mut self, now: u64) -> bool {
        // A late look says that the machine or the whole process stood still.
        let passed = now.saturating_sub(self.looked).min(2 * self.period);
        self.looked = now;
        let (mut turns, mut runs) = (0, false);
        for (index, sight) in workers::look().enumerate() {
            turns += sight.turns;
            runs |= sight.running != 0;
            match self.stalls.get_mut(index) {
                None => self.stalls.push(Stall::new(sight)),
                Some(stall) if stall.sight != sight || sight.running == 0 => {
                    *stall = Stall::new(sight);
                }
                Some(stall) => {
                    stall.add(passed);
                    if stall.nanos >= nanos(self.settings.max_blocking) && !stall.told {
                        stall.told = true;
                        tell_blocked(stall);
                    }
                }
            }
        }
        let has_moved = turns != self.quiet.turns;
        if has_moved || runs {
            self.quiet = Quiet {
                turns,
                look_at: now.saturating_add(QUIET_NANOS),
                pause: QUIET_NANOS,
                told: false,
            };
        }
        has_moved || runs
    }

    /// Gives the time of the next look.
    fn look_at_memory(&mut self, now: u64) -> u64 {
        if now >= self.memory_at {
            for threshold in &mut self.memory {
                let value = match threshold.measure() {
                    Measure::ResidentBytes => procfs::resident_bytes(),
                    Measure::Greenlets => Some(registry::count() as u64),
                };
                if let Some(event) = value.and_then(|value| threshold.take(value))
                    && !hooks::MEMORY.run(&event)
                {
                    log::warn!("{event}");
                }
            }
            self.memory_at = now.saturating_add(nanos(self.settings.memory_period));
        }
        self.memory_at
    }

    fn look_at_quiet(&mut self, now: u64) {
        // This very thread may run what ends the standstill, and is not among the others.
        let acts_itself =
            hooks::are_any_periodic() || !self.memory.is_empty() && hooks::MEMORY.are_any();
        let quiet = &mut self.quiet;
        // Woken while all was settled: by a thread that begins to wait.
        if quiet.look_at == NEVER && !quiet.told {
            quiet.look_at = now.saturating_add(QUIET_NANOS);
        }
        if now < quiet.look_at {
            return;
        }
        let standstill = match prove_deadlock() {
            Standstill::Certain(_) if acts_itself => Standstill::Unsure,
            found => found,
        };
        match standstill {
            Standstill::No => quiet.look_at = NEVER,
            Standstill::Unsure => {
                quiet.look_at = now.saturating_add(quiet.pause);
                quiet.pause = (2 * quiet.pause).min(PAUSE_NANOS_MAX);
            }
            Standstill::Certain(deadlock) => {
                quiet.look_at = NEVER;
                quiet.told = true;
                // Like a panic's message. Nobody is left to tell if it is closed.
                let _ = std::io::stderr().write_all(format!("\n{deadlock}").as_bytes());
                hooks::DEADLOCK.run(&deadlock);
                if self.settings.abort_on_deadlock {
                    std::process::abort();
                }
            }
        }
    }

    /// Waits until `until` or until somebody runs.
    fn rest(&self, until: u64) {
        RESTING.store(true, Ordering::SeqCst);
        let barred = self.has_barrier && membarrier(MembarrierCommand::PrivateExpedited).is_ok();
        fence(Ordering::SeqCst);
        let until = if barred {
            until
        } else {
            until.min(clock::now().saturating_add(QUIET_NANOS))
        };
        if !have_moved(self.quiet.turns) {
            pause(until);
        }
        RESTING.store(false, Ordering::Relaxed);
    }
}

/// Tells whether a worker has moved since `turns` were counted, or runs something.
fn have_moved(turns: u64) -> bool {
    let sum = |(turns, runs): (u64, bool), sight: Sight| {
        (turns + sight.turns, runs || sight.running != 0)
    };
    workers::look().fold((0, false), sum) != (turns, false)
}

/// Waits until `until`, or until somebody rings.
fn pause(until: u64) {
    let mut rung = lock(&RUNG);
    while !*rung && clock::now() < until {
        rung = if until == NEVER {
            RINGING.wait(rung).unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = RINGING.wait_timeout(rung, clock::until(until));
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
    }
    *rung = false;
}

/// Looks twice: between the two nothing may have moved.
fn prove_deadlock() -> Standstill {
    let turns = || workers::look().map(|sight| sight.turns).sum::<u64>();
    let before = turns();
    let first = deadlock::look();
    if let Standstill::Certain(_) = first {
        sleep(PROOF);
        let second = deadlock::look();
        return if have_moved(before) {
            Standstill::Unsure
        } else {
            second
        };
    }
    first
}

#[expect(clippy::disallowed_methods, reason = "the watchdog is an OS thread")]
fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

impl Stall {
    fn new(sight: Sight) -> Self {
        Self {
            sight,
            spent: None,
            looks: 0,
            nanos: 0,
            told: false,
        }
    }

    /// Adds what counts of the time `passed` since the last look.
    fn add(&mut self, passed: u64) {
        if self.told {
            return;
        }
        self.looks += 1;
        let now = procfs::spent(self.sight.tid);
        if self.looks > 1 {
            let state = procfs::state(self.sight.tid);
            self.nanos += counted(passed, self.spent.zip(now), state);
        }
        self.spent = now;
    }
}

/// What counts of the time `passed` in which a thread went from one reading to the next.
fn counted(passed: u64, spent: Option<(Spent, Spent)>, state: Option<char>) -> u64 {
    let Some((before, after)) = spent else {
        return passed;
    };
    let cpu = after.cpu.saturating_sub(before.cpu);
    let delay = after.delay.saturating_sub(before.delay);
    match state {
        // Stopped by a signal or by a debugger.
        Some('T' | 't') => 0,
        // On a core, or still waiting for one, which the kernel adds up only afterwards.
        Some('R') => cpu.min(passed),
        _ => passed.saturating_sub(delay),
    }
}

fn tell_blocked(stall: &Stall) {
    if !hooks::BLOCKED.are_any() && !log::log_enabled!(log::Level::Warn) {
        return;
    }
    let Sight { tid, running, .. } = stall.sight;
    let task = registry::find(running);
    let backtrace = task.as_ref().and_then(|task| {
        let top = task.stack_top.load(Ordering::Relaxed);
        let used = Pagemap::open()?.stack_used(top, task.stack_bytes)?;
        let top = usize::try_from(top).ok()?;
        let is_free = used + backtrace::STACK_BYTES_FREE_MIN <= task.stack_bytes;
        let low = top.saturating_sub(task.stack_bytes);
        is_free
            .then(|| backtrace::of_worker(tid, low, top))
            .flatten()
    });
    // If it has moved on meanwhile, that was somewhere else.
    let is_there = workers::look().any(|sight| sight == stall.sight);
    let event = Blocked {
        id: running,
        name: task
            .as_ref()
            .and_then(|task| task.name.as_deref().map(str::to_owned)),
        spawned_at: task.as_ref().map(|task| task.site.to_string()),
        blocked_for: Duration::from_nanos(stall.nanos),
        thread: tid,
        kernel_place: procfs::kernel_place(tid).filter(|_| is_there),
        backtrace: backtrace.filter(|_| is_there),
    };
    if !hooks::BLOCKED.run(&event) {
        // The line first: the frames' names take their time, and the program may end.
        let mut line = String::new();
        let _ = event.write_line(&mut line);
        log::warn!("{line}");
        if let Some(backtrace) = &event.backtrace {
            log::warn!("{backtrace}");
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_greenlets_own_time_counts() {
        let spent = |cpu, delay| Spent { cpu, delay };
        let from = spent(1000, 500);
        let table = [
            // On a core all the time, or for a part of it.
            ('R', spent(1025, 500), 25),
            ('R', spent(1010, 515), 10),
            // Ready, and never given a core.
            ('R', spent(1000, 500), 0),
            // Asleep in a system call; a part of the time it had no core.
            ('S', spent(1000, 500), 25),
            ('D', spent(1005, 510), 15),
            // Stopped by SIGSTOP or a debugger.
            ('T', spent(1000, 500), 0),
            ('t', spent(1000, 500), 0),
        ];
        for (state, to, expected) in table {
            assert_eq!(
                counted(25, Some((from, to)), Some(state)),
                expected,
                "{state} {to:?}"
            );
        }
        assert_eq!(counted(25, None, None), 25, "the kernel does not tell");
    }
}
