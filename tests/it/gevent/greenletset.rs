//! gevent's `test__greenletset`: members of a group come, leave, are joined and killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenloop::sync::{Event, Group};
use greenloop::{shield, sleep, spawn};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

#[test]
fn test_basic() {
    on_workers!({
        let (group, go) = (Group::new(), Event::new());
        let members: Vec<_> = (0..2)
            .map(|_| {
                let go = go.clone();
                group.spawn(move || go.wait())
            })
            .collect();
        assert_eq!(group.len(), 2);
        let listed: Vec<_> = group.into_iter().map(|member| member.id()).collect();
        assert_eq!(listed, [members[0].id(), members[1].id()]);
        assert!(members.iter().all(|member| group.contains(member)));
        go.set();
        for member in members {
            let handle = member.handle();
            member.join().unwrap().unwrap();
            // Who has joined a member does not find it in the group.
            assert!(!group.contains(&handle));
        }
        assert!(group.is_empty());
    });
}

#[test]
fn test_waitall() {
    on_workers!({
        let group = Group::new();
        let members: Vec<_> = (1..=3)
            .map(|n| group.spawn(move || sleep(n * MS)))
            .collect();
        group.join().unwrap();
        assert!(members.iter().all(|member| member.is_ready()));
        // Without members it is empty at once, whatever the limit.
        assert!(group.join_timeout(Duration::ZERO).unwrap());
    });
}

/// Table 1.9: `join` tells whether the group was empty at least once.
#[test]
fn test_join_timeout() {
    on_workers!({
        let group = Group::new();
        group.spawn(|| sleep(LONG));
        let before = Instant::now();
        assert!(!group.join_timeout(10 * MS).unwrap());
        assert!(before.elapsed() >= 10 * MS);
        assert_eq!(group.len(), 1);
        group.kill().unwrap();
    });
}

/// Table 1.9: others that come at once do not hide that it was empty.
#[test]
fn test_join_sees_a_moment_without_members() {
    on_workers!({
        let (group, go) = (Group::new(), Event::new());
        let first = {
            let go = go.clone();
            group.spawn(move || go.wait())
        };
        {
            // Starts the next member as soon as the first has left.
            let group = group.clone();
            first.on_exit(move |_| drop(group.spawn(|| sleep(LONG))));
        }
        let joiner = {
            let group = group.clone();
            spawn(move || group.join_timeout(Duration::from_secs(20)))
        };
        eventually("the joiner waits", || waits_for_group(joiner.id()));
        go.set();
        assert!(joiner.join().unwrap().unwrap());
        eventually("the second member", || group.len() == 1);
        group.kill().unwrap();
    });
}

fn waits_for_group(id: u64) -> bool {
    greenloop::dump()
        .to_string()
        .lines()
        .any(|line| line.contains(&format!("#{id}")) && line.contains("group"))
}

/// Table 1.9: `join(raise_error=True)`. Ours comes with the first failure, and does not
/// wait for the rest.
#[test]
fn test_join_raise_error() {
    on_workers!({
        let group = Group::new();
        group.spawn(|| sleep(LONG));
        group.spawn(|| panic!("first"));
        let error = group.try_join().unwrap_err();
        assert_eq!(error.to_string(), "greenlet panicked: first");
        assert_eq!(group.len(), 1);
        // What the group kills itself has not failed.
        group.kill().unwrap();
        group.try_join().unwrap();
        let member = group.spawn(|| sleep(LONG));
        member.kill();
        assert!(group.try_join().unwrap_err().is_killed());
    });
}

/// A08, through a group: drop guards run, the call returns, joiners see the kill.
#[test]
fn test_kill_block() {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    on_workers!({
        let (group, begun) = (Group::new(), Arc::new(AtomicUsize::new(0)));
        let dropped = Arc::new(AtomicUsize::new(0));
        let members: Vec<_> = (0..20)
            .map(|_| {
                let (begun, guard) = (begun.clone(), Guard(dropped.clone()));
                group.spawn(move || {
                    let _guard = guard;
                    begun.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_secs(10))
                })
            })
            .collect();
        eventually("all sleep", || begun.load(Ordering::SeqCst) == 20);
        let before = Instant::now();
        group.kill().unwrap();
        assert!(before.elapsed() < Duration::from_secs(8));
        assert!(group.is_empty());
        assert_eq!(dropped.load(Ordering::SeqCst), 20);
        for member in members {
            assert!(member.join().unwrap_err().is_killed());
        }
    });
}

/// `kill(block=False)` is a kill that waits no time at all.
#[test]
fn test_kill_noblock() {
    on_workers!([1], {
        greenloop::run(|| {
            let group = Group::new();
            let members: Vec<_> = (0..2).map(|_| group.spawn(|| sleep(LONG))).collect();
            assert!(!group.kill_timeout(Duration::ZERO).unwrap());
            assert!(!members.iter().any(|member| member.is_ready()));
            group.join().unwrap();
            assert!(members.iter().all(|member| member.is_ready()));
        });
    });
}

/// A member that shields itself is killed once, and its end waited for.
#[test]
fn test_kill_fires_once() {
    on_workers!({
        let group = Group::new();
        let kills = Arc::new(AtomicUsize::new(0));
        let begun = Event::new();
        {
            let (kills, begun) = (kills.clone(), begun.clone());
            group.spawn(move || {
                begun.set();
                assert!(sleep(LONG).unwrap_err().is_cancelled());
                kills.fetch_add(1, Ordering::SeqCst);
                shield(|| sleep(20 * MS)).unwrap();
            });
        }
        begun.wait().unwrap();
        let killers: Vec<_> = (0..3)
            .map(|_| {
                let group = group.clone();
                spawn(move || group.kill())
            })
            .collect();
        for killer in killers {
            killer.join().unwrap().unwrap();
        }
        assert!(group.is_empty());
        assert_eq!(kills.load(Ordering::SeqCst), 1);
    });
}

/// Table 1.9: the kill goes on until nobody is left, and reaches who comes meanwhile.
#[test]
fn test_kill_reaches_members_added_meanwhile() {
    on_workers!({
        let group = Group::new();
        let (begun, late) = (Event::new(), Arc::new(AtomicUsize::new(0)));
        {
            let (group2, begun, late) = (group.clone(), begun.clone(), late.clone());
            group.spawn(move || {
                begun.set();
                let _ = sleep(LONG);
                // Clean-up that starts others: they never run.
                for _ in 0..3 {
                    let late = late.clone();
                    group2.spawn(move || late.fetch_add(1, Ordering::SeqCst));
                }
            });
        }
        begun.wait().unwrap();
        group.kill().unwrap();
        assert!(group.is_empty());
        assert_eq!(late.load(Ordering::SeqCst), 0);
        // The kill is over: who comes now runs.
        assert_eq!(group.spawn(|| 7).join().unwrap(), 7);
    });
}

#[test]
fn test_killall_not_started() {
    on_workers!([1], {
        greenloop::run(|| {
            let group = Group::new();
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..10 {
                let ran = ran.clone();
                group.spawn(move || ran.fetch_add(1, Ordering::SeqCst));
            }
            group.kill().unwrap();
            assert!(group.is_empty());
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        });
    });
}

#[test]
fn test_add_discard() {
    on_workers!({
        let (group, go) = (Group::new(), Event::new());
        let wait = |go: &Event| {
            let go = go.clone();
            move || go.wait()
        };
        let (own, other) = (group.spawn(wait(&go)), spawn(wait(&go)));
        group.add(&other);
        group.add(&other);
        assert_eq!(group.len(), 2);
        assert!(group.discard(&own));
        assert!(!group.discard(&own), "it is no member any more");
        assert_eq!(group.len(), 1);
        group.kill().unwrap();
        // Discarded, it was not reached by the kill.
        go.set();
        own.join().unwrap().unwrap();
        assert!(other.join().unwrap_err().is_killed());
        let ended = spawn(|| ());
        ended.wait().unwrap();
        group.add(&ended);
        assert!(group.is_empty(), "one that has ended does not come in");
    });
}

/// gevent would wait for ever (a `LoopExit`); ours says so.
#[test]
fn test_join_from_a_member() {
    on_workers!({
        let group = Group::new();
        let inner = group.clone();
        let member = group.spawn(move || inner.join().unwrap_err().to_string());
        let text = member.join().unwrap();
        assert_eq!(text, "a member cannot wait for the end of all members");
        // Its kill includes itself.
        let inner = group.clone();
        let member = group.spawn(move || inner.kill().is_err());
        assert!(member.join().unwrap_err().is_killed());
    });
}
