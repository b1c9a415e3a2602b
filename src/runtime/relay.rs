//! Wake-ups that come from outside the workers, and turns that are fair to events.
//!
//! The engine hands out work in two ways that hurt. A coroutine woken by an OS thread is
//! dealt to one worker in turn and stays there, even if that worker is busy for seconds
//! while others idle. And a worker looks for events only when its own queue is empty, so
//! two greenlets that keep waking each other stop all I/O on it.
//!
//! One mechanism answers both: a **bell** per worker, which is a coroutine that waits on
//! an eventfd of that worker. When it runs, its worker has just looked for events.
//!
//! - Wake-ups from outside go on one list; a bell is rung, and whichever bell runs first
//!   delivers the whole list from inside a worker. If nobody has a millisecond later
//!   (its worker is busy), the next bell is rung.
//! - A greenlet that has done many things in a row without waiting for an event *rests*:
//!   it parks with its worker's bell and rings it. The queue runs dry, the worker looks
//!   for events, the bell wakes all that rested. So every greenlet has at most 64
//!   operations between two looks at events, however many are busy. If the bell is not
//!   answered for a millisecond (its worker is stuck, or the bell went there with a thief),
//!   those who rest with it are woken by another.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::Result;
use crate::runtime::deadline::Deadline;
use crate::runtime::io::Source;
use crate::runtime::park::{Parker, Unparker};
use crate::runtime::reason::Wait;
use crate::runtime::task::Task;
use crate::runtime::{clock, spawn, timer, workers};
use crate::util::lock;

struct Bell {
    event: Arc<OwnedFd>,
    /// Rung and not yet answered.
    rung: AtomicBool,
    /// When it was rung.
    rung_at: AtomicU64,
    resting: Mutex<Vec<Unparker>>,
}

static BELLS: OnceLock<Vec<Bell>> = OnceLock::new();

/// Tasks to wake from inside a worker.
static WAKES: Mutex<Vec<Arc<Task>>> = Mutex::new(Vec::new());

/// How long a rung bell may take before the next one is rung as well. A worker that is
/// not stuck answers in some 10 µs; the shortest stall anyone notices is some 10 ms.
const ANSWER_NANOS_MAX: u64 = 1_000_000;

/// Hangs up a bell for each of `count` workers.
pub(crate) fn start(count: usize) -> Result<()> {
    let bells = descriptors(count)?.into_iter().map(|event| Bell {
        event: Arc::new(event),
        rung: AtomicBool::new(false),
        rung_at: AtomicU64::new(0),
        resting: Mutex::new(Vec::new()),
    });
    let bells = BELLS.get_or_init(|| bells.collect());
    for (number, bell) in bells.iter().enumerate() {
        let source = Source::register(bell.event.clone())?;
        spawn::launch(None, Some(number), move || answer(number, bell, source))?;
    }
    Ok(())
}

/// Eventfds such that number `i` is watched by the engine's worker `i`: it spreads
/// descriptors by their value modulo the number of workers.
fn descriptors(count: usize) -> Result<Vec<OwnedFd>> {
    let mut found: Vec<Option<OwnedFd>> = (0..count).map(|_| None).collect();
    let mut spare = Vec::new();
    while found.iter().any(Option::is_none) && spare.len() < 64 * count {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(std::io::Error::from)?;
        let place = &mut found[usize::try_from(event.as_raw_fd()).unwrap_or(0) % count];
        if place.is_none() {
            *place = Some(event);
        } else {
            spare.push(event);
        }
    }
    Ok(found
        .into_iter()
        .filter_map(|event| event.or_else(|| spare.pop()))
        .collect())
}

/// A bell's life.
fn answer(number: usize, bell: &'static Bell, mut source: Source<Arc<OwnedFd>>) {
    let mut count = [0; 8];
    loop {
        let rung = source.read_with(Wait::Event, Deadline::NEVER, |event| {
            Ok(rustix::io::read(event, &mut count)?)
        });
        if let Err(error) = rung {
            log::error!("bell {number}: {error}");
            return;
        }
        // Cleared before the lists are read: what comes after that rings again.
        bell.rung.store(false, Ordering::SeqCst);
        workers::set_bell(number);
        let resting = std::mem::take(&mut *lock(&bell.resting));
        for rested in resting {
            rested.unpark();
        }
        deliver();
    }
}

fn deliver() {
    let wakes = std::mem::take(&mut *lock(&WAKES));
    for task in wakes {
        task.wake_anywhere();
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // Read by the check alone, which an old time makes come too early, no more.
            self.rung_at.store(clock::now(), Ordering::Relaxed);
            if let Err(error) = rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
                log::error!("ringing a bell: {error}");
            }
        }
    }

    /// Takes those who have rested here for too long.
    fn take_overdue(&self, now: u64) -> Vec<Unparker> {
        let due = self
            .rung_at
            .load(Ordering::Relaxed)
            .saturating_add(ANSWER_NANOS_MAX);
        if self.rung.load(Ordering::SeqCst) && due <= now {
            std::mem::take(&mut *lock(&self.resting))
        } else {
            Vec::new()
        }
    }
}

/// Wakes a coroutine from outside the workers.
pub(crate) fn wake(task: Arc<Task>) {
    wake_all(vec![task]);
}

/// Wakes many from outside the workers.
pub(crate) fn wake_all(mut tasks: Vec<Arc<Task>>) {
    // OS threads need no worker to wake them, and must not wait for one.
    tasks.retain(|task| {
        if !task.on_worker {
            task.wake_anywhere();
        }
        task.on_worker
    });
    if !tasks.is_empty() {
        lock(&WAKES).append(&mut tasks);
        ring_next();
        check_soon();
    }
}

fn check_soon() {
    if !CHECKING.swap(true, Ordering::SeqCst) {
        timer::check_relay_at(clock::now().saturating_add(ANSWER_NANOS_MAX));
    }
}

/// Whether the timer will call [`check`]. Saves its lock where many rest.
static CHECKING: AtomicBool = AtomicBool::new(false);

/// Rings the next bell if wake-ups lie about, and sends those who rest with a worker that
/// is stuck to the others; the timer calls it.
pub(crate) fn check() {
    // Cleared first: what is left behind after this look asks for another.
    CHECKING.store(false, Ordering::SeqCst);
    let bells = BELLS.get().map_or(&[][..], Vec::as_slice);
    // With one bell there is nobody else to go to.
    if bells.len() > 1 {
        let now = clock::now();
        for rested in bells.iter().flat_map(|bell| bell.take_overdue(now)) {
            rested.unpark();
        }
        if bells.iter().any(|bell| !lock(&bell.resting).is_empty()) {
            check_soon();
        }
    }
    if !lock(&WAKES).is_empty() {
        ring_next();
        check_soon();
    }
}

fn ring_next() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    if let Some(bells) = BELLS.get() {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % bells.len();
        bells[next].ring();
    }
}

/// Counts one more operation of `task`, the caller, and lets it rest if that is due.
pub(crate) fn tick(task: &Task) {
    if task.tick() {
        rest(task);
    }
}

/// Tells whether this worker is about to look for events, for somebody who rests.
pub(crate) fn somebody_rests() -> bool {
    let bells = BELLS.get().map_or(&[][..], Vec::as_slice);
    nearest(bells).is_some_and(|bell| bell.rung.load(Ordering::Relaxed))
}

/// The bell of this worker, as far as that is known.
fn nearest(bells: &[Bell]) -> Option<&Bell> {
    bells.get(workers::bell()).or_else(|| bells.first())
}

/// Lets this worker look for events before `task`, the caller, goes on.
///
/// Only greenlets rest: a bell that did would wait for itself.
pub(crate) fn rest(task: &Task) {
    if let Some(bells) = BELLS.get()
        && task.is_greenlet()
        && !std::thread::panicking()
    {
        let Some(bell) = nearest(bells) else { return };
        let parker = Parker::new();
        lock(&bell.resting).push(parker.unparker());
        bell.ring();
        if bells.len() > 1 {
            check_soon();
        }
        parker.park_surely(Wait::Turn);
    }
}
