//! Queues and channels: nothing that is put in is lost or doubled.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::sync::queue::{BaseQueue, Discipline};
use greenloop::sync::{Broadcast, Channel, LifoQueue, PriorityQueue, PutError, Queue, Subscriber};
use greenloop::{Result, sleep, yield_now};

use super::{Dice, Kind, Patience};

pub(super) fn all() -> Vec<Box<dyn Kind>> {
    let mut all: Vec<Box<dyn Kind>> = Vec::new();
    for n in 0..40 {
        all.push(Box::new(Items::new(match n % 4 {
            0 => Queue::unbounded(),
            n => Queue::bounded(n * n),
        })));
    }
    for n in 0..15 {
        let capacity = 1 + n % 4;
        all.push(Box::new(Items::new(PriorityQueue::bounded(capacity))));
        all.push(Box::new(Items::new(LifoQueue::bounded(capacity))));
        all.push(Box::new(Rendezvous::default()));
        all.push(Box::new(News::new(1 + n)));
    }
    all
}

/// What went into a queue and has not come out.
#[derive(Default)]
struct Ledger {
    out: Mutex<HashSet<usize>>,
    next: AtomicUsize,
}

impl Ledger {
    /// A new item, which is nowhere else.
    fn issue(&self) -> usize {
        let item = self.next.fetch_add(1, Ordering::Relaxed);
        self.out.lock().unwrap().insert(item);
        item
    }

    /// Takes an item that came out, or back.
    fn redeem(&self, item: usize) {
        assert!(
            self.out.lock().unwrap().remove(&item),
            "item {item} came twice"
        );
    }

    /// Takes back what was refused: an item or a reason, not both.
    fn refused(&self, item: usize, refused: PutError<usize>, dice: &mut Dice) -> Result<()> {
        if refused.is_full() || dice.once_in(2) {
            self.redeem(refused.into_item());
            Ok(())
        } else {
            self.redeem(item);
            Err(refused.into())
        }
    }

    fn redeem_some(&self, item: Option<usize>) {
        if let Some(item) = item {
            self.redeem(item);
        }
    }

    fn settle(&self) {
        let out = self.out.lock().unwrap();
        assert!(out.is_empty(), "{} items are lost", out.len());
    }
}

/// A queue; every item is got, or returned, or still there, once. Some are taken as jobs,
/// and the queue is joined: all jobs are done at the end.
struct Items<D: Discipline<usize>> {
    queue: BaseQueue<usize, D>,
    ledger: Ledger,
}

impl<D: Discipline<usize>> Items<D> {
    fn new(queue: BaseQueue<usize, D>) -> Self {
        Self {
            queue,
            ledger: Ledger::default(),
        }
    }

    fn put(&self, dice: &mut Dice) -> Result<()> {
        let item = self.ledger.issue();
        let put = match dice.patience() {
            Patience::Endless => self.queue.put(item),
            Patience::Limited(limit) => self.queue.put_timeout(item, limit),
            Patience::None => self.queue.try_put(item),
        };
        let Err(refused) = put else {
            return Ok(());
        };
        self.ledger.refused(item, refused, dice)
    }

    fn get(&self, dice: &mut Dice) -> Result<()> {
        let got = match dice.patience() {
            Patience::Endless => self.queue.get().map(Some),
            Patience::Limited(limit) => self.queue.get_timeout(limit).map(Some),
            Patience::None => self.queue.try_get(),
        };
        got.map(|item| self.ledger.redeem_some(item))
    }

    fn work(&self, dice: &mut Dice) -> Result<()> {
        let job = match dice.patience() {
            Patience::Endless => Some(self.queue.get_job()?),
            Patience::Limited(limit) => Some(self.queue.get_job_timeout(limit)?),
            Patience::None => self.queue.try_get_job()?,
        };
        let Some(job) = job else { return Ok(()) };
        assert!(self.queue.unfinished() > 0, "this one is not done");
        let worked = match dice.below(4) {
            0 => sleep(Duration::from_micros(dice.roll() % 500)),
            1 => yield_now(),
            _ => Ok(()),
        };
        self.ledger.redeem(*job);
        worked
    }
}

impl<D: Discipline<usize> + Send + Sync> Kind for Items<D> {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        match dice.below(16) {
            0..8 => self.put(dice),
            8..12 => self.get(dice),
            12..15 => self.work(dice),
            // Only with a limit: after the end nobody takes what is left.
            _ => self.queue.join_timeout(dice.limit()).map(drop),
        }
    }

    fn open(&self) {
        self.queue.close();
    }

    fn settle(&self) {
        while let Ok(Some(item)) = self.queue.try_get() {
            self.ledger.redeem(item);
        }
        self.ledger.settle();
        assert_eq!(self.queue.unfinished(), 0, "a job is not done");
    }
}

/// A channel without room: every item is got, or returned, once.
#[derive(Default)]
struct Rendezvous {
    channel: Channel<usize>,
    ledger: Ledger,
}

impl Rendezvous {
    fn put(&self, dice: &mut Dice) -> Result<()> {
        let item = self.ledger.issue();
        let put = match dice.patience() {
            Patience::Endless => self.channel.put(item),
            Patience::Limited(limit) => self.channel.put_timeout(item, limit),
            Patience::None => self.channel.try_put(item),
        };
        let Err(refused) = put else {
            return Ok(());
        };
        self.ledger.refused(item, refused, dice)
    }

    fn get(&self, dice: &mut Dice) -> Result<()> {
        let got = match dice.patience() {
            Patience::Endless => self.channel.get().map(Some),
            Patience::Limited(limit) => self.channel.get_timeout(limit).map(Some),
            Patience::None => self.channel.try_get(),
        };
        got.map(|item| self.ledger.redeem_some(item))
    }
}

impl Kind for Rendezvous {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(2) {
            self.put(dice)
        } else {
            self.get(dice)
        }
    }

    fn open(&self) {
        self.channel.close();
    }

    fn settle(&self) {
        assert_eq!(self.channel.balance(), 0, "somebody still waits");
        self.ledger.settle();
    }
}

/// Numbered messages to all who listen: what one got and what it lost are all that were
/// sent since it began to, in order.
struct News {
    channel: Broadcast<u64>,
    /// What the next message says.
    next: Mutex<u64>,
    /// Those whom nobody reads just now, and who fall behind.
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    messages: Subscriber<u64>,
    expects: u64,
}

impl News {
    fn new(capacity: usize) -> Self {
        Self {
            channel: Broadcast::new(capacity),
            next: Mutex::default(),
            idle: Mutex::default(),
        }
    }

    fn send(&self) -> Result<()> {
        let mut next = self.next.lock().unwrap();
        self.channel.send(*next)?;
        *next += 1;
        Ok(())
    }

    fn subscribe(&self) -> Reader {
        let next = self.next.lock().unwrap();
        Reader {
            messages: self.channel.subscribe(),
            expects: *next,
        }
    }
}

impl Reader {
    /// Takes what a `get` gave into the books; an error that is none of the channel's.
    fn note(&mut self, got: Result<Option<u64>>) -> Result<()> {
        match got {
            Ok(None) => Ok(()),
            Ok(Some(message)) => {
                assert_eq!(message, self.expects, "lost or doubled");
                self.expects += 1;
                Ok(())
            }
            Err(error) => {
                self.expects += error.lagged().ok_or(error)?;
                Ok(())
            }
        }
    }

    fn read(&mut self, dice: &mut Dice) -> Result<()> {
        let got = match dice.patience() {
            Patience::Endless => self.messages.get().map(Some),
            Patience::Limited(limit) => self.messages.get_timeout(limit).map(Some),
            Patience::None => self.messages.try_get(),
        };
        self.note(got)
    }
}

impl Kind for News {
    fn step(&self, dice: &mut Dice) -> Result<()> {
        if dice.once_in(2) {
            return self.send();
        }
        let reader = if dice.once_in(4) {
            None
        } else {
            self.idle.lock().unwrap().pop()
        };
        let mut reader = reader.unwrap_or_else(|| self.subscribe());
        let mut read = Ok(());
        for _ in 0..dice.below(4) {
            read = read.and_then(|()| reader.read(dice));
        }
        // Some leave for good, in the middle of it all.
        if !dice.once_in(6) {
            self.idle.lock().unwrap().push(reader);
        }
        read
    }

    fn open(&self) {
        self.channel.close();
    }

    fn settle(&self) {
        let sent = *self.next.lock().unwrap();
        let mut idle = self.idle.lock().unwrap();
        assert_eq!(self.channel.subscribers(), idle.len());
        for reader in &mut *idle {
            let end = loop {
                let got = reader.messages.try_get();
                if let Err(error) = reader.note(got) {
                    break error;
                }
            };
            assert!(end.is_closed(), "{end}");
            assert_eq!(
                reader.expects, sent,
                "received and lost are not what was sent"
            );
        }
    }
}
