//! Groups, pools, scopes, supervisors, lanes: greenlets and threads that work for others.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::sync::{
    Backoff, ChildSpec, ChildState, Event, Group, Pool, PoolStream, Strategy, Supervisor,
    SupervisorSpec, WaitGroup, try_scope,
};
use greenloop::{Error, Greenlet, Lane, shield, sleep, spawn};

use super::runtime::{Target, still_ends, target};
use super::{LONG, Row, Rows, later, row, soon};
use crate::support::before_long;

pub(in super::super) fn groups() -> Vec<Row> {
    let themes = [
        group(),
        pool(),
        pool_members(),
        stream(),
        scopes(),
        supervisor(),
    ];
    themes.into_iter().flatten().collect()
}

type Club = (Group, Target);

fn group() -> Vec<Row> {
    fn club() -> Club {
        let (group, member) = (Group::new(), target());
        group.add(&member.handle);
        (group, member)
    }
    fn still_joins((group, member): &mut Club) {
        assert!(group.contains(&member.handle));
        still_ends(member);
        assert!(group.join_deadline(soon()).unwrap());
        assert_eq!(group.spawn(|| 3).join().unwrap(), 3);
        assert!(group.is_empty());
    }
    Rows::on("Group", club, still_joins)
        .call("join", |(g, _)| g.join())
        .call("join_timeout", |(g, _)| g.join_timeout(LONG))
        .call("join_deadline", |(g, _)| g.join_deadline(later()))
        .call("try_join", |(g, _)| g.try_join())
        .call("kill", |(g, _)| g.kill())
        .call("kill_timeout", |(g, _)| g.kill_timeout(LONG))
        .call("kill_deadline", |(g, _)| g.kill_deadline(later()))
        .waitable(|(g, _)| g)
        .rows
}

/// A pool whose one place is taken, who wants to get in, and whether that has run.
struct Crowd {
    pool: Pool,
    member: Target,
    outside: Target,
    ran: Event,
}

impl Crowd {
    fn work(&self) -> impl FnOnce() + Send + use<> {
        let ran = self.ran.clone();
        move || ran.set()
    }
}

fn crowd() -> Crowd {
    let (pool, member) = (Pool::new(1), target());
    pool.add(&member.handle).unwrap();
    Crowd {
        pool,
        member,
        outside: target(),
        ran: Event::new(),
    }
}

/// Nothing of the refused call happens later, and the place is given on.
fn still_serves(crowd: &mut Crowd) {
    let pool = &crowd.pool;
    assert_eq!((pool.len(), pool.waiting()), (1, 0));
    assert!(pool.contains(&crowd.member.handle));
    still_ends(&mut crowd.member);
    assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
    assert_eq!((pool.free_count(), crowd.ran.is_set()), (1, false));
    pool.add(&crowd.outside.handle).unwrap();
    assert!(pool.is_full());
    still_ends(&mut crowd.outside);
    assert_eq!(pool.run(|| 3).unwrap(), 3);
}

fn pool() -> Vec<Row> {
    Rows::on("Pool", crowd, still_serves)
        .call("spawn", |c| c.pool.spawn(c.work()))
        .call("spawn_timeout", |c| c.pool.spawn_timeout(c.work(), LONG))
        .call("spawn_deadline", |c| {
            c.pool.spawn_deadline(c.work(), later())
        })
        .call("run", |c| c.pool.run(c.work()))
        .call("map", |c| {
            let ran = c.ran.clone();
            c.pool.map([1, 2], move |_| ran.set())
        })
        .call("add", |c| c.pool.add(&c.outside.handle))
        .call("wait_available", |c| c.pool.wait_available(None))
        .call("wait_available limit", |c| {
            c.pool.wait_available(Some(LONG))
        })
        .call("join", |c| c.pool.join())
        .call("join_timeout", |c| c.pool.join_timeout(LONG))
        .call("join_deadline", |c| c.pool.join_deadline(later()))
        .call("try_join", |c| c.pool.try_join())
        .call("kill", |c| c.pool.kill())
        .call("kill_timeout", |c| c.pool.kill_timeout(LONG))
        .call("kill_deadline", |c| c.pool.kill_deadline(later()))
        .waitable(|c| &c.pool)
        .rows
}

/// A pool with room, and what the members wait for.
type Room = (Pool, Event, WaitGroup);

/// Waits for what runs in the pool, not for a place.
fn pool_members() -> Vec<Row> {
    fn room() -> Room {
        (Pool::new(2), Event::new(), WaitGroup::new())
    }
    /// The one that ran is not disturbed, the pool is as it was.
    fn runs_on((pool, go, work): &mut Room) {
        assert_eq!(pool.len(), work.pending());
        go.set();
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert_eq!((pool.free_count(), work.pending()), (2, 0));
        assert_eq!(pool.run(|| 3).unwrap(), 3);
    }
    /// What runs is killed.
    fn is_empty_soon((pool, _, work): &mut Room) {
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert_eq!((pool.free_count(), work.pending()), (2, 0));
        assert_eq!(pool.run(|| 3).unwrap(), 3);
    }
    vec![
        row(
            "Pool::run member",
            room,
            |(pool, go, work)| {
                let (go, pending) = (go.clone(), work.add());
                pool.run(move || {
                    let waited = go.wait();
                    drop(pending);
                    waited.unwrap();
                })
            },
            runs_on,
        ),
        row(
            "Pool::map member",
            room,
            |(pool, _, work)| {
                let work = work.clone();
                pool.map([1, 2, 3], move |_| {
                    let _pending = work.add();
                    sleep(LONG)
                })
            },
            is_empty_soon,
        ),
    ]
}

/// A stream of two, its pool, and what its items wait for.
type Flow = (PoolStream<std::vec::IntoIter<u8>, u8>, Pool, Event);

fn stream() -> Vec<Row> {
    fn flow_of(ordered: bool) -> Flow {
        let (pool, go) = (Pool::new(1), Event::new());
        let f = {
            let go = go.clone();
            move |n| go.wait().map_or(0, |()| n)
        };
        let stream = match ordered {
            true => pool.stream(vec![7, 8], f),
            false => pool.stream_unordered(vec![7, 8], f),
        };
        (stream, pool, go)
    }
    /// No result is lost.
    fn goes_on((stream, _, go): &mut Flow) {
        go.set();
        for n in [7, 8] {
            let next = stream.next_deadline(soon()).unwrap();
            assert_eq!(next.unwrap().unwrap(), n);
        }
        assert!(stream.next().is_none());
    }
    /// The iterator has ended, and what it began with it.
    fn has_ended((stream, pool, _): &mut Flow) {
        assert!(stream.next().is_none());
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert_eq!(pool.free_count(), 1);
    }
    let mut rows = Rows::on("PoolStream", || flow_of(true), goes_on)
        .call("next_timeout", |(s, ..)| s.next_timeout(LONG))
        .call("next_deadline", |(s, ..)| s.next_deadline(later()))
        .rows;
    let unordered = Rows::on("PoolStream unordered", || flow_of(false), goes_on)
        .call("next_timeout", |(s, ..)| s.next_timeout(LONG));
    let steps = Rows::on("Pool", || flow_of(true), has_ended)
        .call("stream", |(s, ..)| s.next().expect("the reason"));
    rows.extend(unordered.rows);
    rows.extend(steps.rows);
    rows
}

fn scopes() -> Vec<Row> {
    /// Its children have ended.
    fn is_done(work: &mut WaitGroup) {
        assert_eq!(work.pending(), 0);
        let three = try_scope(|s| s.spawn(|| Ok::<_, Error>(3)).join());
        assert_eq!(three.unwrap(), 3);
    }
    fn wait(work: &WaitGroup) -> Result<(), Error> {
        let _pending = work.add();
        sleep(LONG)
    }
    vec![
        row(
            "try_scope",
            WaitGroup::new,
            |work| {
                try_scope(|s| {
                    s.spawn(|| wait(work));
                    Ok::<_, Error>(())
                })
            },
            is_done,
        ),
        row(
            "TryScopedGreenlet::join",
            WaitGroup::new,
            |work| try_scope(|s| s.spawn(|| wait(work)).join()),
            is_done,
        ),
    ]
}

type Supervised = (Supervisor, Event);

fn supervisor() -> Vec<Row> {
    fn spec(work: impl Fn() -> Result<(), Error> + Send + Sync + 'static) -> SupervisorSpec {
        SupervisorSpec::new(Strategy::OneForOne)
            .backoff(Backoff::NONE)
            .grace(LONG)
            .child(ChildSpec::new("child", work))
    }
    /// Its child cannot be stopped before the event is set.
    fn supervised() -> Supervised {
        let (go, inside) = (Event::new(), Event::new());
        let work = {
            let (go, inside) = (go.clone(), inside.clone());
            move || {
                shield(|| {
                    inside.set();
                    go.wait()
                })
            }
        };
        let supervisor = spec(work).start();
        inside.wait().unwrap();
        (supervisor, go)
    }
    fn still_stops((supervisor, go): &mut Supervised) {
        assert_eq!(supervisor.children()[0].state, ChildState::Running);
        // Stopped first: the child would be started again.
        assert!(!supervisor.stop(Some(Duration::ZERO)).unwrap());
        go.set();
        assert!(supervisor.stop(Some(Duration::from_secs(20))).unwrap());
        supervisor.wait().unwrap();
        assert!(supervisor.children()[0].greenlet.is_none());
    }
    /// However it ends, no child is left.
    fn is_over(work: &mut WaitGroup) {
        assert_eq!(work.pending(), 0);
    }
    let mut rows = Rows::on("Supervisor", supervised, still_stops)
        .call("wait", |(s, _)| s.wait())
        .call("stop", |(s, _)| s.stop(Some(LONG)))
        .call("stop for_ever", |(s, _)| s.stop(None))
        .waitable(|(s, _)| s)
        .rows;
    rows.push(row(
        "SupervisorSpec::run",
        WaitGroup::new,
        |work| {
            let work = work.clone();
            spec(move || {
                let _pending = work.add();
                sleep(LONG)
            })
            .run()
        },
        is_over,
    ));
    rows
}

// ---- lanes ----

/// A lane without threads, and whether a job has run.
type Closed = (Lane, Event);

/// A lane whose one thread is busy until it is told something.
type Busy = (Lane, Arc<Mutex<Receiver<()>>>, Sender<()>);

/// A lane whose queue is full, and those in it.
type Crammed = (Lane, Vec<Greenlet<Result<(), Error>>>);

pub(in super::super) fn lanes() -> Vec<Row> {
    fn closed() -> Closed {
        (Lane::new("rows").threads_max(0), Event::new())
    }
    /// The job was taken back.
    fn still_runs((lane, ran): &mut Closed) {
        assert_eq!(lane.stats().queued, 0);
        lane.set_threads_max(1);
        assert_eq!(lane.run(|| 3).unwrap(), 3);
        assert_eq!((lane.stats().done, ran.is_set()), (1, false));
    }
    fn busy() -> Busy {
        let (tell, told) = channel();
        let lane = Lane::new("rows").threads_max(1);
        (lane, Arc::new(Mutex::new(told)), tell)
    }
    /// The job that ran comes to its end.
    fn goes_on((lane, _, tell): &mut Busy) {
        // Nobody listens if the job has not begun.
        let _ = tell.send(());
        assert_eq!(lane.run(|| 3).unwrap(), 3);
        assert_eq!(lane.stats().running, 0);
    }
    fn crammed() -> Crammed {
        let lane = Lane::new("rows").threads_max(0);
        let jobs = (0..1024).map(|_| {
            let lane = lane.clone();
            spawn(move || lane.run(|| ()))
        });
        let jobs = jobs.collect();
        before_long("the queue is full", || lane.stats().queued == 1024);
        (lane, jobs)
    }
    /// All jobs but the refused one are run.
    fn is_worked_off((lane, jobs): &mut Crammed) {
        assert_eq!(lane.stats().queued, 1024);
        lane.set_threads_max(2);
        for job in jobs.drain(..) {
            job.join().unwrap().unwrap();
        }
        assert_eq!(lane.stats().done, 1024);
    }
    fn note(ran: &Event) -> impl FnOnce() + Send + 'static {
        let ran = ran.clone();
        move || ran.set()
    }
    let mut rows = Rows::on("Lane", closed, still_runs)
        .call("run", |(l, ran)| l.run(note(ran)))
        .call("run_timeout", |(l, ran)| l.run_timeout(LONG, note(ran)))
        .call("run_deadline", |(l, ran)| {
            l.run_deadline(later(), note(ran))
        })
        .rows;
    let busy = Rows::on("Lane", busy, goes_on).call("run job", |(lane, told, _)| {
        let told = told.clone();
        lane.run(move || told.lock().unwrap().recv())
    });
    let crammed =
        Rows::on("Lane", crammed, is_worked_off).call("run no_room", |(lane, _)| lane.run(|| ()));
    rows.extend(busy.rows);
    rows.extend(crammed.rows);
    rows
}
