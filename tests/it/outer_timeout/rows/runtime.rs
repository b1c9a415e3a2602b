//! Pauses, threads, futures, signals, and the end of greenlets.

use std::future;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::signal::{SIGUSR2, Signals};
use greenloop::sync::{Event, scope};
use greenloop::{
    Error, Greenlet, Handle, as_completed, block_on, blocking, drain, join_all, join_some,
    kill_all, shield, sleep, sleep_until, spawn, try_join_all, yield_now,
};

use super::super::pause_for_ever;
use super::{LONG, Row, Rows, later, row, soon};

/// A greenlet that ends when its event is set.
pub(super) struct Target {
    pub(super) greenlet: Option<Greenlet<u8>>,
    pub(super) handle: Handle,
    go: Event,
}

/// It does not end before its event is set, killed or not.
pub(super) fn target() -> Target {
    let (go, inside) = (Event::new(), Event::new());
    let greenlet = {
        let (go, inside) = (go.clone(), inside.clone());
        spawn(move || {
            shield(|| {
                inside.set();
                go.wait().unwrap();
            });
            7
        })
    };
    inside.wait().unwrap();
    Target {
        handle: greenlet.handle(),
        greenlet: Some(greenlet),
        go,
    }
}

pub(super) fn still_ends(target: &mut Target) {
    assert!(!target.handle.is_ready());
    target.go.set();
    target.handle.wait().unwrap();
    if let Some(Ok(value)) = target.greenlet.take().map(Greenlet::join) {
        assert_eq!(value, 7);
    }
}

type Lane = (Arc<Mutex<Receiver<()>>>, Sender<()>);

pub(in super::super) fn runtime() -> Vec<Row> {
    let mut rows = vec![
        row(
            "sleep",
            || (),
            |()| sleep(LONG),
            |()| sleep(Duration::from_millis(1)).unwrap(),
        ),
        row("sleep for_ever", || (), |()| pause_for_ever(), |()| ()),
        row(
            "sleep_until",
            || (),
            |()| sleep_until(Instant::now() + LONG),
            |()| (),
        ),
        row(
            "yield_now",
            || (),
            |()| -> Result<(), Error> {
                loop {
                    yield_now()?;
                }
            },
            |()| yield_now().unwrap(),
        ),
        row(
            "blocking",
            || -> Lane {
                let (tell, told) = channel();
                (Arc::new(Mutex::new(told)), tell)
            },
            |(told, _)| {
                let told = told.clone();
                blocking(move || told.lock().unwrap().recv())
            },
            |(_, tell)| {
                tell.send(()).unwrap();
                assert_eq!(blocking(|| 3).unwrap(), 3);
            },
        ),
        row(
            "block_on",
            || (),
            |()| block_on(future::pending::<()>()),
            |()| assert_eq!(block_on(future::ready(3)).unwrap(), 3),
        ),
    ];
    rows.extend(signals());
    rows.extend(ends());
    rows
}

fn signals() -> Vec<Row> {
    fn open() -> Signals {
        Signals::new(&[SIGUSR2]).unwrap()
    }
    fn still_arrive(signals: &mut Signals) {
        signal_hook::low_level::raise(SIGUSR2).unwrap();
        assert_eq!(signals.wait_deadline(soon()).unwrap(), Some(SIGUSR2));
    }
    Rows::on("Signals", open, still_arrive)
        .call("wait", |s| s.wait())
        .call("wait_timeout", |s| s.wait_timeout(LONG))
        .call("wait_deadline", |s| s.wait_deadline(later()))
        .waitable(|s| s)
        .rows
}

/// Waits for the end of greenlets.
fn ends() -> Vec<Row> {
    let mut rows = Rows::on("Handle", target, still_ends)
        .call("wait", |t| t.handle.wait())
        .call("wait_timeout", |t| t.handle.wait_timeout(LONG))
        .call("wait_deadline", |t| t.handle.wait_deadline(later()))
        .call("kill_and_wait", |t| t.handle.kill_and_wait(Some(LONG)))
        .waitable(|t| &t.handle)
        .rows;
    rows.extend([
        row(
            "Greenlet::join",
            target,
            |t| t.greenlet.take().map_or(Ok(7), Greenlet::join),
            still_ends,
        ),
        row("drain", target, |_| drain(Some(LONG)), still_drains),
        row("drain for_ever", target, |_| drain(None), still_drains),
        row(
            "join_all",
            Event::new,
            |e| {
                join_all([waiting_for(e)])
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>()
            },
            is_awaited,
        ),
        row(
            "try_join_all",
            Event::new,
            |e| try_join_all([waiting_for(e)]),
            is_awaited,
        ),
        row(
            "join_some",
            target,
            |t| join_some(std::slice::from_ref(&t.handle), 1, Some(LONG)),
            still_ends,
        ),
        row(
            "as_completed",
            Event::new,
            |e| {
                as_completed([waiting_for(e)])
                    .next()
                    .expect("one has not come")
            },
            is_awaited,
        ),
        row(
            "kill_all",
            target,
            |t| kill_all(std::slice::from_ref(&t.handle), Some(LONG)),
            still_ends,
        ),
        row(
            "scope",
            || (),
            |()| scope(|s| drop(s.spawn(|| sleep(LONG)))),
            |()| assert_eq!(scope(|s| s.spawn(|| 3).join().unwrap()).unwrap(), 3),
        ),
        row(
            "ScopedGreenlet::join",
            || (),
            |()| scope(|s| s.spawn(|| sleep(LONG)).join().map(drop)).and_then(|j| Ok(j?)),
            |()| (),
        ),
    ]);
    rows
}

/// Nobody is left after its end.
fn still_drains(target: &mut Target) {
    assert!(!drain(Some(Duration::ZERO)).unwrap());
    still_ends(target);
    assert!(drain(Some(Duration::from_secs(20))).unwrap());
}

fn waiting_for(event: &Event) -> Greenlet<()> {
    let event = event.clone();
    spawn(move || event.wait().unwrap())
}

/// The greenlet that was waited for goes on.
fn is_awaited(event: &mut Event) {
    event.set();
    event.wait().unwrap();
}
