//! Queues of every order, channels, and subscriptions.

use greenloop::sync::queue::{BaseQueue, Discipline, Fifo, Job, Lifo, Lowest};
use greenloop::sync::{Broadcast, Channel, Subscriber};
use greenloop::{Error, spawn, yield_now};

use super::{LONG, Row, Rows, later, soon};

pub(in super::super) fn queues() -> Vec<Row> {
    let themes = [
        queue::<Fifo<u8>>(["BaseQueue fifo, empty", "BaseQueue fifo, full"]),
        queue::<Lifo<u8>>(["BaseQueue lifo, empty", "BaseQueue lifo, full"]),
        queue::<Lowest<u8>>(["BaseQueue sorted, empty", "BaseQueue sorted, full"]),
        jobs(),
        channel(),
        subscriber(),
    ];
    themes.into_iter().flatten().collect()
}

/// An iterator ends with the wait; the next call says why it did.
fn why_it_ended<T>(item: Option<T>) -> Result<(), Error> {
    match item {
        Some(_) => Ok(()),
        None => yield_now(),
    }
}

/// Getters of an empty queue, putters of a full one.
fn queue<D>([empty_one, full_one]: [&'static str; 2]) -> Vec<Row>
where
    D: Discipline<u8> + Send + 'static,
{
    fn still_gets<D: Discipline<u8>>(queue: &mut BaseQueue<u8, D>) {
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        queue.try_put(1).unwrap();
        assert_eq!(queue.peek().unwrap(), 1);
        queue.try_put(2).unwrap();
        assert!(queue.is_full());
        let mut got = [queue.get().unwrap(), *queue.get_job().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert!(queue.is_empty());
        assert!(queue.join_deadline(soon()).unwrap());
    }
    /// The refused item is not in it.
    fn still_puts<D: Discipline<u8>>(queue: &mut BaseQueue<u8, D>) {
        assert_eq!(queue.unfinished(), 1);
        assert_eq!(queue.get().unwrap(), 1);
        assert!(queue.is_empty());
        queue.put(2).unwrap();
        assert_eq!(queue.get().unwrap(), 2);
    }
    fn full<D: Discipline<u8>>() -> BaseQueue<u8, D> {
        let queue = BaseQueue::bounded(1);
        queue.try_put(1).unwrap();
        queue
    }
    fn empty<D: Discipline<u8>>() -> BaseQueue<u8, D> {
        BaseQueue::bounded(2)
    }
    let mut rows = Rows::on(empty_one, empty::<D>, still_gets)
        .call("get", |q| q.get())
        .call("get_timeout", |q| q.get_timeout(LONG))
        .call("get_deadline", |q| q.get_deadline(later()))
        .call("get_job", |q| q.get_job())
        .call("get_job_timeout", |q| q.get_job_timeout(LONG))
        .call("get_job_deadline", |q| q.get_job_deadline(later()))
        .call("peek", |q| q.peek())
        .call("peek_timeout", |q| q.peek_timeout(LONG))
        .call("peek_deadline", |q| q.peek_deadline(later()))
        .call("iter", |q| why_it_ended(q.iter().next()))
        .call("jobs", |q| why_it_ended(q.jobs().next()))
        .waitable(|q| q)
        .rows;
    let putters = Rows::on(full_one, full::<D>, still_puts)
        .call("put", |q| q.put(9))
        .call("put_timeout", |q| q.put_timeout(9, LONG))
        .call("put_deadline", |q| q.put_deadline(9, later()));
    rows.extend(putters.rows);
    rows
}

/// A queue with an item, and a job of it that is not done.
type Begun = (BaseQueue<u8, Fifo<u8>>, Option<Job<u8>>);

fn jobs() -> Vec<Row> {
    fn begun() -> Begun {
        let queue: BaseQueue<_, _> = [1, 2].into_iter().collect();
        let job = queue.get_job().unwrap();
        (queue, Some(job))
    }
    fn still_joins((queue, job): &mut Begun) {
        assert_eq!((queue.len(), queue.unfinished()), (1, 2));
        assert_eq!(job.take().unwrap().into_item(), 1);
        assert_eq!(queue.get().unwrap(), 2);
        assert!(queue.join_deadline(soon()).unwrap());
    }
    Rows::on("BaseQueue", begun, still_joins)
        .call("join", |(q, _)| q.join())
        .call("join_timeout", |(q, _)| q.join_timeout(LONG))
        .call("join_deadline", |(q, _)| q.join_deadline(later()))
        .rows
}

fn channel() -> Vec<Row> {
    /// No refused item is in it, and both sides meet.
    fn still_hands_over(channel: &mut Channel<u8>) {
        assert_eq!(channel.balance(), 0);
        assert_eq!(channel.try_get().unwrap(), None);
        assert!(channel.try_put(8).unwrap_err().is_full());
        let other = {
            let channel = channel.clone();
            spawn(move || {
                let got = channel.get().unwrap();
                channel.put(got + 1).unwrap();
            })
        };
        channel.put_deadline(1, soon()).unwrap();
        assert_eq!(channel.get_deadline(soon()).unwrap(), 2);
        other.join().unwrap();
    }
    Rows::on("Channel", Channel::new, still_hands_over)
        .call("put", |c| c.put(9))
        .call("put_timeout", |c| c.put_timeout(9, LONG))
        .call("put_deadline", |c| c.put_deadline(9, later()))
        .call("get", |c| c.get())
        .call("get_timeout", |c| c.get_timeout(LONG))
        .call("get_deadline", |c| c.get_deadline(later()))
        .call("iter", |c| why_it_ended(c.iter().next()))
        .waitable(|c| c)
        .rows
}

type News = (Broadcast<u8>, Subscriber<u8>);

fn subscriber() -> Vec<Row> {
    fn news() -> News {
        let news = Broadcast::new(2);
        let reader = news.subscribe();
        (news, reader)
    }
    fn still_hears((news, reader): &mut News) {
        assert_eq!(reader.try_get().unwrap(), None);
        assert_eq!(news.send(1).unwrap(), 1);
        assert_eq!(news.send(2).unwrap(), 1);
        assert_eq!(reader.get_deadline(soon()).unwrap(), 1);
        assert_eq!(reader.get().unwrap(), 2);
        assert!(news.is_empty());
    }
    Rows::on("Subscriber", news, still_hears)
        .call("get", |(_, r)| r.get())
        .call("get_timeout", |(_, r)| r.get_timeout(LONG))
        .call("get_deadline", |(_, r)| r.get_deadline(later()))
        .call("iter", |(_, r)| r.iter().next().expect("not closed"))
        .waitable(|(_, r)| r)
        .rows
}
