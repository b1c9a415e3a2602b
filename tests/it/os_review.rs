//! What an attack on the runtime's dealings with the system found, and what held.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use greenloop::process::{Command, Stdio};
use greenloop::sync::{Backoff, ChildSpec, Strategy, SupervisorSpec};
use greenloop::{Builder, Exit, Lane, hooks, sleep, spawn};

use crate::support::{before_long, eventually, on_workers};

const MS: Duration = Duration::from_millis(1);
const SOON: Duration = Duration::from_secs(20);
const SIGURG: i32 = 23;

/// Holds the worker up until the hook has told of it.
fn stall() -> hooks::Blocked {
    let (tell, told) = mpsc::channel();
    let gate = Arc::new(AtomicBool::new(false));
    let guard = hooks::on_blocked(move |blocked| {
        let _ = tell.send(blocked.clone());
    });
    let closed = gate.clone();
    let greenlet = spawn(move || {
        while !closed.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    let blocked = told.recv_timeout(SOON).unwrap();
    gate.store(true, Ordering::SeqCst);
    greenlet.join().unwrap();
    drop(guard);
    blocked
}

// The watchdog's signal became the program's own when that took SIGURG after the start.
#[test]
fn a_program_that_takes_sigurg_gets_none_of_ours() {
    on_workers!([1, 2], {
        spawn(|| ()).join().unwrap();
        if cfg!(all(target_env = "gnu", target_arch = "x86_64")) {
            assert!(stall().backtrace.is_some());
        }
        let got = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGURG, got.clone()).unwrap();
        let blocked = stall();
        assert!(!got.load(Ordering::SeqCst), "the program was signalled");
        assert_eq!(blocked.backtrace, None);
    });
}

// Who was told of a greenlet that then could not be started waited for it for ever.
#[test]
fn a_greenlet_that_cannot_start_has_ended() {
    on_workers!({
        let seen = Arc::new(Mutex::new(None));
        let place = seen.clone();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let list = ended.clone();
        let _spawns = hooks::on_spawn(move |handle| {
            let list = list.clone();
            handle.on_exit(move |exit| list.lock().unwrap().push(exit.clone()));
            *place.lock().unwrap() = Some(handle.clone());
        });
        let huge = Builder::new().stack_bytes(1 << 50);
        assert!(huge.try_spawn(|| ()).is_err());
        let handle = seen.lock().unwrap().take().unwrap();
        assert!(handle.wait_timeout(10 * MS).unwrap());
        assert_eq!(handle.exit(), Some(Exit::Killed));
        assert_eq!(*ended.lock().unwrap(), [Exit::Killed]);
        assert!(greenloop::drain(Some(SOON)).unwrap());
    });
}

// A supervisor has seen the panics that it answers.
#[test]
fn a_supervised_panic_is_not_unhandled() {
    on_workers!({
        let (tell, told) = mpsc::channel();
        let guard = hooks::on_unhandled(move |failure| {
            tell.send(failure.message.clone()).unwrap();
        });
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let child = move || {
            assert!(counted.fetch_add(1, Ordering::SeqCst) > 1, "supervised");
            sleep(Duration::MAX)
        };
        let supervisor = SupervisorSpec::new(Strategy::OneForOne)
            .backoff(Backoff::NONE)
            .child(ChildSpec::new("child", child))
            .start();
        eventually("the third run", || runs.load(Ordering::SeqCst) == 3);
        assert!(supervisor.stop(Some(SOON)).unwrap());
        drop(guard);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
    });
}

// Held: hooks that take themselves back, that spawn, and that panic while others run.
#[test]
fn hooks_may_remove_themselves() {
    on_workers!({
        let guard = Arc::new(Mutex::new(None));
        let (own, count) = (guard.clone(), Arc::new(AtomicU32::new(0)));
        let counted = count.clone();
        *guard.lock().unwrap() = Some(hooks::on_exit(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(own.lock().unwrap().take());
            spawn(|| ());
        }));
        for _ in 0..3 {
            spawn(|| ()).join().unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(greenloop::drain(Some(SOON)).unwrap());
    });
}

// An `on_exit` hook that started a greenlet was told of its end, and started the next.
#[test]
fn what_a_hook_starts_is_told_to_no_hook() {
    on_workers!({
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let guard = hooks::on_exit(move |_, _| {
            // A bound, for when it goes on.
            if counted.fetch_add(1, Ordering::SeqCst) < 100 {
                spawn(|| drop(spawn(|| ())));
            }
        });
        for _ in 0..3 {
            spawn(|| ()).join().unwrap();
        }
        assert!(greenloop::drain(Some(SOON)).unwrap());
        drop(guard);
        assert_eq!(count.load(Ordering::SeqCst), 3);
    });
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// Held: a job runs at most once and is dropped exactly once, whenever its caller is killed.
#[test]
fn callers_killed_at_any_moment_leave_no_job_behind() {
    on_workers!({
        let lane = Lane::new("kill").threads_max(2);
        let (runs, drops) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        for round in 0..400_u32 {
            let (lane, runs, counted) = (lane.clone(), runs.clone(), Counted(drops.clone()));
            let caller = spawn(move || {
                lane.run(move || {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let dropped_late = counted;
                    std::hint::black_box(&dropped_late);
                    dropped_late
                })
                .map(drop)
            });
            for _ in 0..(round % 40) * 50 {
                std::hint::spin_loop();
            }
            caller.kill();
            let _ = caller.join();
        }
        eventually("every job is dropped", || {
            drops.load(Ordering::SeqCst) == 400
        });
        assert!(runs.load(Ordering::SeqCst) <= 400);
        assert_eq!(lane.stats().queued, 0);
    });
}

// Held: megabytes both ways, with a limit that cuts in again and again; nothing is lost or
// doubled.
#[test]
fn a_talk_that_is_cut_goes_on_where_it_was() {
    on_workers!({
        let input: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let command = || {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command
        };
        let mut child = command().spawn().unwrap();
        let (mut sent, mut read, mut cuts) = (0, Vec::new(), 0_u32);
        let status = loop {
            match child.communicate_timeout(&input[sent..], 3 * MS) {
                Ok(output) => {
                    read.extend(output.stdout);
                    break output.status;
                }
                Err(cut) => {
                    assert!(cut.error.is_timeout(), "{cut}");
                    cuts += 1;
                    sent += cut.sent;
                    read.extend(cut.stdout);
                }
            }
        };
        assert!(status.success());
        assert!(read == input, "{cuts} cuts");
        // And killed in the middle: the child ends with its owner.
        let (tell, told) = mpsc::channel();
        let talker = spawn(move || {
            let mut command = command();
            let mut child = command.kill_on_drop(true).spawn().unwrap();
            tell.send(child.handle()).unwrap();
            let cut = child.communicate(&input[..65536].repeat(4000)).unwrap_err();
            assert!(cut.error.is_cancelled());
            assert!(cut.sent >= cut.stdout.len());
        });
        let child = told.recv().unwrap();
        assert!(child.wait_timeout(20 * MS).unwrap().is_none());
        talker.kill();
        assert!(!child.wait_timeout(SOON).unwrap().unwrap().success());
        talker.wait().unwrap();
    });
}

// Held: many wait for one child, some leave, others end it and wait as well.
#[test]
fn a_child_may_be_waited_for_by_many() {
    on_workers!({
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let waiter = |_| {
            let child = child.handle();
            spawn(move || child.wait())
        };
        let waiters: Vec<_> = (0..50).map(waiter).collect();
        before_long("all wait", || {
            let all = greenloop::greenlets();
            all.iter().filter(|g| g.state == "child process").count() == 50
        });
        waiters[..25].iter().for_each(|waiter| waiter.kill());
        let killers: Vec<_> = (0..10)
            .map(|_| {
                let child = child.handle();
                spawn(move || child.kill())
            })
            .collect();
        for killer in killers {
            killer.join().unwrap().unwrap();
        }
        for (number, waiter) in waiters.into_iter().enumerate() {
            match waiter.join() {
                Ok(status) => assert!(!status.unwrap().success()),
                Err(error) => assert!(error.is_killed() && number < 25),
            }
        }
        child.kill().unwrap();
        assert!(child.try_wait().unwrap().is_some());
    });
}

// Held: a child that takes no SIGTERM is ended all the same, with what it wrote.
#[test]
fn a_stubborn_child_does_not_outlive_its_limit() {
    on_workers!([2], {
        let cut = Command::new("sh")
            .args([
                "-c",
                "trap '' TERM INT; echo here; while :; do sleep 600; done",
            ])
            .output_timeout(1000 * MS)
            .unwrap_err();
        assert_eq!(cut.stdout, b"here\n");
        assert_eq!(cut.status.unwrap().code(), None);
    });
}

// To kill a child that had ended failed, if somebody else had reaped it just before.
#[test]
fn killing_what_somebody_else_has_reaped_is_no_error() {
    on_workers!([2], {
        for _ in 0..200 {
            let child = Command::new("true").spawn().unwrap();
            let pid = rustix::process::Pid::from_raw(child.id().cast_signed());
            // It or the reaper: whoever is faster.
            let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
            child.kill().unwrap();
        }
    });
}
