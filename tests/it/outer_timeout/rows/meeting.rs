//! Events, results, barriers and groups of work.

use greenloop::sync::{
    AsyncResult, Barrier, BarrierWaitResult, Event, Pending, Setter, WaitGroup, wait_some,
};
use greenloop::{Error, Greenlet, spawn, wait_any_timeout};

use super::{LONG, Row, Rows, later, row, soon};
use crate::support::before_long;

pub(in super::super) fn meeting() -> Vec<Row> {
    let themes = [event(), result(), barrier(), group()];
    themes.into_iter().flatten().collect()
}

fn event() -> Vec<Row> {
    fn still_sets(event: &mut Event) {
        assert!(!event.is_set());
        event.set();
        event.wait().unwrap();
    }
    let mut rows = Rows::on("Event", Event::new, still_sets)
        .call("wait", |e| e.wait())
        .call("wait_timeout", |e| e.wait_timeout(LONG))
        .call("wait_deadline", |e| e.wait_deadline(later()))
        .waitable(|e| e)
        .rows;
    rows.extend([
        row(
            "wait_any_timeout",
            Event::new,
            |e| wait_any_timeout(&[&*e, &*e], LONG),
            still_sets,
        ),
        row(
            "wait_some",
            Event::new,
            |e| wait_some(&[&*e], 1, Some(LONG)),
            still_sets,
        ),
        row(
            "wait_some for_ever",
            Event::new,
            |e| wait_some(&[&*e, &*e], 2, None),
            still_sets,
        ),
    ]);
    rows
}

type Promise = (Option<Setter<u8>>, AsyncResult<u8>);

fn result() -> Vec<Row> {
    fn promise() -> Promise {
        let (setter, result) = AsyncResult::new();
        (Some(setter), result)
    }
    fn still_comes((setter, result): &mut Promise) {
        assert_eq!((result.is_ready(), result.waiting()), (false, 0));
        setter.take().unwrap().set(7);
        assert_eq!(result.get_deadline(soon()).unwrap(), 7);
        result.wait().unwrap();
    }
    Rows::on("AsyncResult", promise, still_comes)
        .call("get", |(_, r)| r.get())
        .call("get_timeout", |(_, r)| r.get_timeout(LONG))
        .call("get_deadline", |(_, r)| r.get_deadline(later()))
        .call("wait", |(_, r)| r.wait())
        .call("wait_timeout", |(_, r)| r.wait_timeout(LONG))
        .call("wait_deadline", |(_, r)| r.wait_deadline(later()))
        .waitable(|(_, r)| r)
        .rows
}

/// A barrier for three, and one who waits at it.
struct Meeting {
    barrier: Barrier,
    first: Option<Passing>,
}

type Passing = Greenlet<Result<BarrierWaitResult, Error>>;

fn barrier() -> Vec<Row> {
    fn coming(barrier: &Barrier) -> Passing {
        let barrier = barrier.clone();
        spawn(move || barrier.wait())
    }
    fn meeting() -> Meeting {
        let barrier = Barrier::new(3);
        let first = Some(coming(&barrier));
        before_long("one waits", || barrier.waiting() == 1);
        Meeting { barrier, first }
    }
    /// Who leaves breaks it, the other is told, and it can be made whole.
    fn is_broken(meeting: &mut Meeting) {
        let barrier = &meeting.barrier;
        let first = meeting.first.take().unwrap().join().unwrap();
        assert!(first.unwrap_err().is_broken());
        assert!(barrier.is_broken());
        assert_eq!(barrier.waiting(), 0);
        barrier.reset();
        let others = [coming(barrier), coming(barrier)];
        let mut leaders = usize::from(barrier.wait_deadline(soon()).unwrap().is_leader());
        for other in others {
            leaders += usize::from(other.join().unwrap().unwrap().is_leader());
        }
        assert_eq!(leaders, 1);
    }
    Rows::on("Barrier", meeting, is_broken)
        .call("wait", |m| m.barrier.wait())
        .call("wait_timeout", |m| m.barrier.wait_timeout(LONG))
        .call("wait_deadline", |m| m.barrier.wait_deadline(later()))
        .rows
}

type Work = (WaitGroup, Option<Pending>);

fn group() -> Vec<Row> {
    fn work() -> Work {
        let work = WaitGroup::new();
        let pending = Some(work.add());
        (work, pending)
    }
    fn still_ends((work, pending): &mut Work) {
        assert_eq!((work.pending(), work.waiting()), (1, 0));
        *pending = None;
        assert!(work.wait_deadline(soon()).unwrap());
        assert_eq!(work.pending(), 0);
    }
    Rows::on("WaitGroup", work, still_ends)
        .call("wait", |(w, _)| w.wait())
        .call("wait_timeout", |(w, _)| w.wait_timeout(LONG))
        .call("wait_deadline", |(w, _)| w.wait_deadline(later()))
        .waitable(|(w, _)| w)
        .rows
}
