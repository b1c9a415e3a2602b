//! Locks, and what else greenlets meet at: who is inside, who may pass, who is told.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use greenloop::sync::{
    AsyncResult, Barrier, BoundedSemaphore, Condvar, Mutex, MutexGuard, RLock, RwLock, Setter,
    WaitGroup,
};
use greenloop::{Result, sleep, spawn, yield_now};

use super::{Dice, Kind, Patience};

pub(super) fn all() -> Vec<Box<dyn Kind>> {
    let mut all: Vec<Box<dyn Kind>> = Vec::new();
    for n in 0..15 {
        all.push(Box::new(Exclusive::default()));
        all.push(Box::new(Shared::default()));
        all.push(Box::new(Again::default()));
        all.push(Box::new(Tokens::default()));
        all.push(Box::new(Meeting::new(2 + n % 3)));
        all.push(Box::new(Countdown::default()));
        all.push(Box::new(Answers::default()));
        all.push(Box::new(Bounded::new(1 + n % 3)));
    }
    all
}

/// What is done with a lock in hand: nothing mostly, else something that switches.
fn hold(dice: &mut Dice) -> Result<()> {
    match dice.below(4) {
        0 => sleep(Duration::from_micros(dice.roll() % 1000)),
        1 => yield_now(),
        _ => Ok(()),
    }
}

/// A mutex; one is inside, and no addition is lost.
#[derive(Default)]
struct Exclusive {
    sum: Mutex<u64>,
    added: AtomicU64,
}

impl Kind for Exclusive {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let guard = match dice.patience() {
            Patience::Endless => Some(self.sum.lock()?),
            Patience::Limited(limit) => Some(self.sum.lock_timeout(limit)?),
            Patience::None => self.sum.try_lock(),
        };
        let Some(mut sum) = guard else { return Ok(()) };
        let before = *sum;
        let held = hold(dice);
        *sum = before + 1;
        self.added.fetch_add(1, Ordering::SeqCst);
        held
    }

    fn settle(&self) {
        assert!(!self.sum.is_locked() && self.sum.waiting() == 0);
        let sum = *self.sum.try_lock().unwrap();
        assert_eq!(sum, self.added.load(Ordering::SeqCst), "additions are lost");
    }
}

/// A lock for many readers or one writer, and for nobody else meanwhile.
#[derive(Default)]
struct Shared {
    sum: RwLock<u64>,
    added: AtomicU64,
    readers: AtomicUsize,
    is_written: AtomicBool,
}

impl Shared {
    fn read(&self, dice: &mut Dice) -> Result<()> {
        let guard = match dice.patience() {
            Patience::Endless => Some(self.sum.read()?),
            Patience::Limited(limit) => Some(self.sum.read_timeout(limit)?),
            Patience::None => self.sum.try_read(),
        };
        let Some(sum) = guard else { return Ok(()) };
        self.readers.fetch_add(1, Ordering::SeqCst);
        assert!(!self.is_written.load(Ordering::SeqCst), "read and written");
        let before = *sum;
        let held = hold(dice);
        assert_eq!(*sum, before, "written while somebody reads");
        self.readers.fetch_sub(1, Ordering::SeqCst);
        held
    }

    fn write(&self, dice: &mut Dice) -> Result<()> {
        let guard = match dice.patience() {
            Patience::Endless => Some(self.sum.write()?),
            Patience::Limited(limit) => Some(self.sum.write_timeout(limit)?),
            Patience::None => self.sum.try_write(),
        };
        let Some(mut sum) = guard else { return Ok(()) };
        let was_written = self.is_written.swap(true, Ordering::SeqCst);
        assert!(!was_written, "two write");
        assert_eq!(self.readers.load(Ordering::SeqCst), 0, "written and read");
        let before = *sum;
        let held = hold(dice);
        *sum = before + 1;
        self.added.fetch_add(1, Ordering::SeqCst);
        self.is_written.store(false, Ordering::SeqCst);
        held
    }
}

impl Kind for Shared {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(3) {
            self.write(dice)
        } else {
            self.read(dice)
        }
    }

    fn settle(&self) {
        assert_eq!((self.sum.reading(), self.sum.waiting()), (0, 0));
        let sum = *self.sum.try_write().unwrap();
        assert_eq!(sum, self.added.load(Ordering::SeqCst), "additions are lost");
    }
}

/// A lock that its holder takes again; nobody else is inside before the last is back.
#[derive(Default)]
struct Again {
    lock: RLock,
    sum: AtomicU64,
    added: AtomicU64,
}

impl Kind for Again {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let guard = match dice.patience() {
            Patience::Endless => Some(self.lock.lock()?),
            Patience::Limited(limit) => Some(self.lock.lock_timeout(limit)?),
            Patience::None => self.lock.try_lock(),
        };
        let Some(outer) = guard else { return Ok(()) };
        let before = self.sum.load(Ordering::SeqCst);
        let inner = self.lock.try_lock();
        assert!(inner.is_some() && self.lock.is_mine(), "its own is refused");
        // The last to go lets others in, whichever of the two that is.
        drop(outer);
        let held = hold(dice);
        self.sum.store(before + 1, Ordering::SeqCst);
        self.added.fetch_add(1, Ordering::SeqCst);
        drop(inner);
        held
    }

    fn settle(&self) {
        assert!(!self.lock.is_locked() && self.lock.waiting() == 0);
        let added = self.added.load(Ordering::SeqCst);
        assert_eq!(self.sum.load(Ordering::SeqCst), added, "additions are lost");
    }
}

/// Tokens that are made and taken under a condition; none is lost or doubled, and no
/// notice is: at the end one goes round, from each who waits to the next.
#[derive(Default)]
struct Tokens {
    box_: Mutex<TokenBox>,
    filled: Condvar,
    made: AtomicU64,
    taken: AtomicU64,
}

#[derive(Default)]
struct TokenBox {
    tokens: u64,
    is_open: bool,
}

impl Tokens {
    fn make(&self) -> Result<()> {
        self.box_.lock()?.tokens += 1;
        self.made.fetch_add(1, Ordering::SeqCst);
        self.filled.notify_one();
        Ok(())
    }

    fn take(&self, dice: &mut Dice) -> Result<()> {
        let mut guard = self.box_.lock()?;
        let is_empty = |it: &mut TokenBox| it.tokens == 0 && !it.is_open;
        let is_filled = match dice.patience() {
            Patience::Endless => self.filled.wait_while(&mut guard, is_empty).map(|()| true),
            Patience::Limited(limit) => self.filled.wait_while_timeout(&mut guard, limit, is_empty),
            Patience::None => Ok(!is_empty(&mut guard)),
        };
        let is_filled = is_filled?;
        assert_eq!(is_filled, !is_empty(&mut guard), "told the wrong thing");
        self.taken
            .fetch_add(Self::pick(&mut guard), Ordering::SeqCst);
        if guard.is_open {
            self.filled.notify_one();
        }
        Ok(())
    }

    fn pick(guard: &mut MutexGuard<'_, TokenBox>) -> u64 {
        let picked = guard.tokens.min(1);
        guard.tokens -= picked;
        picked
    }
}

impl Kind for Tokens {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(2) {
            self.make()
        } else {
            self.take(dice)
        }
    }

    fn open(&self) {
        self.box_.lock().unwrap().is_open = true;
        self.filled.notify_one();
    }

    fn settle(&self) {
        assert_eq!(self.filled.waiting(), 0);
        let left = self.box_.try_lock().unwrap().tokens;
        let count = |n: &AtomicU64| n.load(Ordering::SeqCst);
        assert_eq!(count(&self.made), count(&self.taken) + left);
    }
}

/// A barrier; all of a round pass it, with one leader, or none does.
struct Meeting {
    barrier: Barrier,
    passed: AtomicUsize,
    leaders: AtomicUsize,
    is_open: StdMutex<bool>,
}

impl Meeting {
    fn new(parties: usize) -> Self {
        Self {
            barrier: Barrier::new(parties),
            passed: AtomicUsize::new(0),
            leaders: AtomicUsize::new(0),
            is_open: StdMutex::default(),
        }
    }
}

impl Kind for Meeting {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let met = if dice.once_in(8) {
            self.barrier.wait()
        } else {
            self.barrier.wait_timeout(dice.limit())
        };
        match met {
            Ok(met) => {
                self.passed.fetch_add(1, Ordering::SeqCst);
                let leads = usize::from(met.is_leader());
                self.leaders.fetch_add(leads, Ordering::SeqCst);
                Ok(())
            }
            Err(error) if error.is_broken() => {
                // Never after the end, when nobody would break it again.
                let is_open = self.is_open.lock().unwrap();
                if !*is_open && self.barrier.is_broken() {
                    self.barrier.reset();
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.barrier.abort();
    }

    fn settle(&self) {
        assert_eq!(self.barrier.waiting(), 0);
        let (passed, leaders) = (&self.passed, &self.leaders);
        let all = leaders.load(Ordering::SeqCst) * self.barrier.parties();
        assert_eq!(passed.load(Ordering::SeqCst), all, "some of a round passed");
    }
}

/// A count that is waited for: one that comes and goes, and one of a few children.
#[derive(Default)]
struct Countdown {
    common: WaitGroup,
}

impl Kind for Countdown {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(4) {
            0 => {
                let _pending = self.common.add();
                hold(dice)
            }
            1 => self.common.wait(),
            2 => self.common.wait_timeout(dice.limit()).map(drop),
            _ => {
                let (own, ended) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
                for _ in 0..3 {
                    let (pending, ended, time) = (own.add(), ended.clone(), dice.limit() / 8);
                    spawn(move || {
                        let _ = sleep(time);
                        ended.fetch_add(1, Ordering::SeqCst);
                        drop(pending);
                    });
                }
                own.wait()?;
                assert_eq!(ended.load(Ordering::SeqCst), 3, "not all were waited for");
                Ok(())
            }
        }
    }

    fn settle(&self) {
        assert_eq!((self.common.pending(), self.common.waiting()), (0, 0));
    }
}

/// A result for many, which is a value, a failure or nobody's any more, one after another.
#[derive(Default)]
struct Answers(StdMutex<Asked>);

#[derive(Default)]
struct Asked {
    next: u64,
    question: Option<Question>,
    is_open: bool,
}

struct Question {
    number: u64,
    setter: Setter<u64>,
    result: AsyncResult<u64>,
}

impl Answers {
    /// Answers the present question, if there is one, and asks the next until the end.
    fn answer(&self) {
        let before = {
            let mut asked = self.0.lock().unwrap();
            let number = asked.next;
            asked.next += 1;
            let (setter, result) = AsyncResult::new();
            let question = Question {
                number,
                setter,
                result,
            };
            let next = (!asked.is_open).then_some(question);
            std::mem::replace(&mut asked.question, next)
        };
        let Some(Question { number, setter, .. }) = before else {
            return;
        };
        match number % 3 {
            0 => setter.set(number),
            1 => setter.fail(format!("no {number}")),
            _ => drop(setter),
        }
    }
}

impl Kind for Answers {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(4) {
            self.answer();
            return Ok(());
        }
        let asked = {
            let asked = self.0.lock().unwrap();
            let question = asked.question.as_ref();
            question.map(|q| (q.number, q.result.clone()))
        };
        let Some((number, result)) = asked else {
            return Ok(());
        };
        let got = match dice.patience() {
            Patience::Endless => result.get().map(Some),
            Patience::Limited(limit) => result.get_timeout(limit).map(Some),
            Patience::None => result.try_get(),
        };
        match got {
            Ok(None) => {}
            Ok(Some(value)) => assert_eq!((number % 3, value), (0, number)),
            Err(error) if error.is_wait_error() => return Err(error.into()),
            Err(error) => {
                let text = error.failure().map(ToString::to_string);
                let expected = (number % 3 == 1).then(|| format!("no {number}"));
                assert_eq!((text, number % 3 != 0), (expected, true));
                assert_eq!(error.is_abandoned(), number % 3 == 2);
            }
        }
        Ok(())
    }

    fn open(&self) {
        self.0.lock().unwrap().is_open = true;
        self.answer();
    }
}

/// A semaphore that refuses a permit too many; see `Permits`.
struct Bounded {
    semaphore: BoundedSemaphore,
    inside: AtomicUsize,
}

impl Bounded {
    fn new(permits: usize) -> Self {
        Self {
            semaphore: BoundedSemaphore::new(permits),
            inside: AtomicUsize::new(0),
        }
    }
}

impl Kind for Bounded {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        let permit = match dice.patience() {
            Patience::Endless => Some(self.semaphore.acquire()?),
            Patience::Limited(limit) => Some(self.semaphore.acquire_timeout(limit)?),
            Patience::None => self.semaphore.try_acquire(),
        };
        let Some(permit) = permit else { return Ok(()) };
        let before = self.inside.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.semaphore.permits(), "more than permits");
        let held = hold(dice);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        if dice.once_in(2) {
            permit.forget();
            self.semaphore.release().expect("one is held");
        }
        held
    }

    fn settle(&self) {
        let semaphore = &self.semaphore;
        assert_eq!(semaphore.available(), semaphore.permits());
        assert_eq!(semaphore.waiting(), 0);
        assert!(semaphore.release().is_err(), "it took one too many");
    }
}
