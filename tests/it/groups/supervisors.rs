//! Supervisors: who is started and stopped, in what order, and when they give up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::{
    Backoff, ChildSpec, ChildState, Event, Queue, Restart, Strategy, Supervisor, SupervisorSpec,
};
use greenloop::{shield, sleep, spawn};

use super::{LONG, MS};
use crate::support::on_workers;

/// Children that write down their starts and ends, and end as they are told.
#[derive(Clone, Default)]
struct Stage {
    log: Arc<Mutex<Vec<String>>>,
    changed: Event,
}

/// An order to a child.
#[derive(Clone, Copy)]
enum Order {
    Return,
    Fail,
    Panic,
}

impl Stage {
    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
        self.changed.set();
    }

    /// A child that waits for orders.
    fn child(&self, name: &'static str, restart: Restart) -> (ChildSpec, Queue<Order>) {
        let orders = Queue::unbounded();
        let (stage, source) = (self.clone(), orders.clone());
        let run = move || {
            stage.note(format!("{name} up"));
            let order = source.get();
            stage.note(format!("{name} down"));
            match order {
                Ok(Order::Return) => Ok(()),
                Ok(Order::Fail) => Err(format!("{name} failed")),
                Ok(Order::Panic) => panic!("{name} panicked"),
                Err(error) => Err(error.to_string()),
            }
        };
        (ChildSpec::new(name, run).restart(restart), orders)
    }

    /// Waits until so many lines are there, and gives them.
    fn lines(&self, count: usize) -> Vec<String> {
        loop {
            self.changed.clear();
            let lines = self.log.lock().unwrap().clone();
            if lines.len() >= count {
                return lines;
            }
            let came = self.changed.wait_timeout(Duration::from_secs(20)).unwrap();
            assert!(came, "only {lines:?}");
        }
    }
}

/// Three permanent children under `strategy`; the second one fails. The whole list of what
/// happened.
fn second_of_three_fails(strategy: Strategy) -> Vec<String> {
    greenloop::run(move || {
        let stage = Stage::default();
        let [(a, _), (b, orders), (c, _)] =
            ["a", "b", "c"].map(|name| stage.child(name, Restart::Permanent));
        let supervisor = SupervisorSpec::new(strategy)
            .backoff(Backoff::NONE)
            .child(a)
            .child(b)
            .child(c)
            .start();
        assert_eq!(stage.lines(3), ["a up", "b up", "c up"]);
        orders.put(Order::Fail).unwrap();
        let expected = match strategy {
            Strategy::OneForOne => 5,
            Strategy::RestForOne => 7,
            Strategy::OneForAll => 9,
        };
        stage.lines(expected);
        assert!(supervisor.stop(None).unwrap());
        supervisor.wait().unwrap();
        let states: Vec<_> = supervisor.children().iter().map(|c| c.state).collect();
        assert_eq!(states, [ChildState::Stopped; 3]);
        stage.lines(expected + 3)
    })
}

#[test]
fn one_for_one_restarts_the_child_alone() {
    on_workers!([1], {
        let log = second_of_three_fails(Strategy::OneForOne);
        let expected = [
            "a up", "b up", "c up", "b down", "b up", "c down", "b down", "a down",
        ];
        assert_eq!(log, expected);
    });
}

#[test]
fn one_for_all_restarts_everyone() {
    on_workers!([1], {
        let log = second_of_three_fails(Strategy::OneForAll);
        let expected = [
            "a up", "b up", "c up", "b down", "c down", "a down", "a up", "b up", "c up", "c down",
            "b down", "a down",
        ];
        assert_eq!(log, expected);
    });
}

#[test]
fn rest_for_one_restarts_those_after_it() {
    on_workers!([1], {
        let log = second_of_three_fails(Strategy::RestForOne);
        let expected = [
            "a up", "b up", "c up", "b down", "c down", "b up", "c up", "c down", "b down",
            "a down",
        ];
        assert_eq!(log, expected);
    });
}

#[test]
fn restart_rules_say_who_comes_back() {
    on_workers!({
        // (rule, order, comes back)
        let table = [
            (Restart::Permanent, Order::Return, true),
            (Restart::Permanent, Order::Fail, true),
            (Restart::Transient, Order::Return, false),
            (Restart::Transient, Order::Fail, true),
            (Restart::Transient, Order::Panic, true),
            (Restart::Temporary, Order::Return, false),
            (Restart::Temporary, Order::Panic, false),
        ];
        for (row, (rule, order, comes_back)) in table.into_iter().enumerate() {
            let stage = Stage::default();
            let (child, orders) = stage.child("x", rule);
            let spec = SupervisorSpec::new(Strategy::OneForOne).backoff(Backoff::NONE);
            let supervisor = spec.child(child).start();
            orders.put(order).unwrap();
            if comes_back {
                let lines = stage.lines(3);
                assert_eq!(lines, ["x up", "x down", "x up"], "row {row}");
                assert_eq!(supervisor.children()[0].restarts, 1, "row {row}");
                assert!(supervisor.stop(None).unwrap());
            }
            // Without a child left to run it ends by itself.
            supervisor.wait().unwrap();
            let state = supervisor.children()[0].state;
            let expected = match comes_back {
                true => ChildState::Stopped,
                false => ChildState::Finished,
            };
            assert_eq!(state, expected, "row {row}");
        }
    });
}

#[test]
fn a_childs_kill_is_a_failure() {
    on_workers!({
        let stage = Stage::default();
        let (child, _orders) = stage.child("x", Restart::Transient);
        let spec = SupervisorSpec::new(Strategy::OneForOne).backoff(Backoff::NONE);
        let supervisor = spec.child(child).start();
        stage.lines(1);
        greenlet_of(&supervisor, 0).kill();
        assert_eq!(stage.lines(3), ["x up", "x down", "x up"]);
        let child = &supervisor.children()[0];
        assert_eq!(child.last_failure.as_deref(), Some("greenlet was killed"));
        assert!(supervisor.stop(None).unwrap());
    });
}

fn greenlet_of(supervisor: &Supervisor, index: usize) -> greenloop::Handle {
    let children = supervisor.children();
    children[index].greenlet.clone().expect("it runs")
}

#[test]
fn too_many_restarts_stop_everyone_and_name_the_child() {
    on_workers!([1], {
        greenloop::run(|| {
            let stage = Stage::default();
            let [(a, _), (b, orders), (c, _)] =
                ["a", "b", "c"].map(|name| stage.child(name, Restart::Permanent));
            for order in [Order::Fail, Order::Return, Order::Panic] {
                orders.put(order).unwrap();
            }
            let error = SupervisorSpec::new(Strategy::OneForOne)
                .backoff(Backoff::NONE)
                .restarts_max(2, LONG)
                .child(a)
                .child(b)
                .child(c)
                .run()
                .unwrap_err();
            assert_eq!(error.child(), Some("b"));
            assert_eq!(error.failure(), Some("greenlet panicked: b panicked"));
            assert_eq!(
                error.to_string(),
                "child \"b\" failed: greenlet panicked: b panicked; \
                 it would take more than 2 restarts within 600s"
            );
            let expected = [
                "a up", "b up", "b down", "c up", "b up", "b down", "b up", "b down", "c down",
                "a down",
            ];
            assert_eq!(*stage.log.lock().unwrap(), expected);
        });
    });
}

#[test]
fn back_off_delays_each_restart_longer() {
    on_workers!({
        let starts = Arc::new(Mutex::new(Vec::new()));
        let times = starts.clone();
        let child = ChildSpec::new("x", move || {
            times.lock().unwrap().push(Instant::now());
            Err::<(), _>("no")
        });
        let error = SupervisorSpec::new(Strategy::OneForOne)
            .backoff(Backoff::new(10 * MS, 25 * MS).reset_after(LONG))
            .restarts_max(3, LONG)
            .child(child)
            .run()
            .unwrap_err();
        assert_eq!(error.failure(), Some("no"));
        let starts = starts.lock().unwrap();
        let gaps: Vec<_> = starts.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(gaps.len(), 3);
        for (gap, least) in gaps.iter().zip([10, 20, 25]) {
            assert!(*gap >= least * MS, "{gaps:?}");
        }
    });
}

#[test]
fn stop_ends_a_back_off_and_kill_ends_the_children() {
    on_workers!({
        let spec = || SupervisorSpec::new(Strategy::OneForOne).backoff(Backoff::new(LONG, LONG));
        let failed = Event::new();
        let tell = failed.clone();
        let child = ChildSpec::new("x", move || {
            tell.set();
            Err::<(), _>("once")
        });
        let supervisor = spec().child(child).start();
        failed.wait().unwrap();
        assert!(supervisor.stop(None).unwrap());
        supervisor.wait().unwrap();

        let stage = Stage::default();
        let (child, _orders) = stage.child("y", Restart::Permanent);
        let supervisor = spec().child(child).start();
        stage.lines(1);
        supervisor.handle().kill();
        let error = supervisor.wait().unwrap_err();
        assert_eq!(error.to_string(), "supervising: greenlet was killed");
        assert!(
            !greenloop::Error::from(error).is_cancelled(),
            "not the caller"
        );
        assert_eq!(stage.lines(2), ["y up", "y down"]);
    });
}

#[test]
fn a_child_that_outlives_its_grace_is_left_behind_and_named() {
    on_workers!({
        let (begun, go) = (Event::new(), Event::new());
        let stubborn = {
            let (begun, go) = (begun.clone(), go.clone());
            move || {
                begun.set();
                shield(|| go.wait())
            }
        };
        let supervisor = SupervisorSpec::new(Strategy::OneForOne)
            .grace(10 * MS)
            .child(ChildSpec::new("stubborn", stubborn))
            .start();
        begun.wait().unwrap();
        let greenlet = greenlet_of(&supervisor, 0);
        assert!(supervisor.stop(None).unwrap());
        let error = supervisor.wait().unwrap_err();
        assert_eq!(error.child(), Some("stubborn"));
        assert_eq!(supervisor.children()[0].state, ChildState::StillAlive);
        assert!(!greenlet.is_ready());
        go.set();
        greenlet.wait().unwrap();
    });
}

#[test]
fn stop_gives_up_waiting_but_not_stopping() {
    on_workers!({
        let (begun, go) = (Event::new(), Event::new());
        let slow = {
            let (begun, go) = (begun.clone(), go.clone());
            move || {
                begun.set();
                shield(|| go.wait())
            }
        };
        let spec = SupervisorSpec::new(Strategy::OneForOne).grace(LONG);
        let supervisor = spec.child(ChildSpec::new("slow", slow)).start();
        begun.wait().unwrap();
        assert!(!supervisor.stop(Some(5 * MS)).unwrap());
        go.set();
        supervisor.wait().unwrap();
    });
}

#[test]
fn nested_supervisors_escalate_and_stop_from_the_inside_out() {
    on_workers!([1], {
        greenloop::run(|| {
            let stage = Stage::default();
            let (outer, _) = stage.child("outer", Restart::Permanent);
            let (first, _) = stage.child("first", Restart::Permanent);
            let (second, orders) = stage.child("second", Restart::Permanent);
            let inner = move || {
                SupervisorSpec::new(Strategy::OneForOne)
                    .restarts_max(0, LONG)
                    .child(first.clone())
                    .child(second.clone())
                    .run()
            };
            let supervisor = SupervisorSpec::new(Strategy::OneForAll)
                .backoff(Backoff::NONE)
                .child(outer)
                .child(ChildSpec::new("inner", inner))
                .start();
            stage.lines(3);
            orders.put(Order::Fail).unwrap();
            stage.lines(9);
            assert!(supervisor.stop(None).unwrap());
            let expected = [
                "outer up",
                "first up",
                "second up",
                "second down",
                "first down",
                "outer down",
                "outer up",
                "first up",
                "second up",
                "second down",
                "first down",
                "outer down",
            ];
            assert_eq!(*stage.log.lock().unwrap(), expected);
            let failure = supervisor.children()[1].last_failure.clone().unwrap();
            assert!(
                failure.starts_with("child \"second\" failed: second failed"),
                "{failure}"
            );
        });
    });
}

#[test]
fn supervised_children_are_restarted_under_fire() {
    on_workers!({
        let supervisor = {
            let mut spec = SupervisorSpec::new(Strategy::RestForOne)
                .backoff(Backoff::NONE)
                .restarts_max(usize::MAX, LONG);
            for name in ["a", "b", "c", "d"] {
                spec = spec.child(ChildSpec::new(name, || sleep(LONG)));
            }
            spec.start()
        };
        let mut dice = super::Dice::new(11);
        for _ in 0..200 {
            let index = usize::try_from(dice.below(4)).unwrap();
            if let Some(greenlet) = &supervisor.children()[index].greenlet {
                greenlet.kill();
            }
            let _ = sleep(Duration::from_micros(dice.below(200)));
        }
        let stopper = {
            let supervisor = supervisor.clone();
            spawn(move || supervisor.stop(None))
        };
        assert!(stopper.join().unwrap().unwrap());
        supervisor.wait().unwrap();
        let children = supervisor.children();
        assert!(
            children
                .iter()
                .all(|child| child.state == ChildState::Stopped)
        );
        // Who comes later in the list goes with everyone before.
        assert!(children.is_sorted_by_key(|child| child.restarts));
        assert!(children[3].restarts > 0);
    });
}
