//! The deadlock report: said when it is certain, and never otherwise.
//!
//! Without the test harness, whose main thread waits for its tests in a way that nobody
//! can see into: there no deadlock is ever certain. Each case is a process of its own, this
//! binary again, in which `main` is the case.
//!
//! gevent: `LoopExit`, "this operation would block forever".

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test in its own harness; its plain threads sleep"
)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenloop::net::TcpListener;
use greenloop::signal::{SIGUSR1, Signals};
use greenloop::sync::{Event, Mutex, Semaphore};
use greenloop::{Builder, Config, hooks, sleep, spawn};

const ROLE: &str = "GREENLOOP_TEST_ROLE";
const WORKERS: &str = "GREENLOOP_TEST_WORKERS";
const MS: Duration = Duration::from_millis(1);
/// Far longer than it takes to find a deadlock.
const LONG: Duration = Duration::from_secs(3);

/// Programs in which something may still happen, so that nothing may be reported.
const LIVELY: [(&str, Lively); 9] = [
    ("accept", accept),
    ("limit", limit),
    ("sleeper", sleeper),
    ("thread", thread),
    ("lane", lane),
    ("signal", signal),
    ("rest", rest),
    ("periodic", periodic),
    (MEMORY, memory),
];
const MEMORY: &str = "memory";

/// Sets the event after a while, by other means than a greenlet that is ready.
type Lively = fn(Event);

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    let args: Vec<_> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            println!("standstill: test");
        }
        return;
    }
    // All at once: they are processes that wait.
    std::thread::scope(|scope| {
        for workers in [1, 2, 4] {
            for case in [
                a_circle_is_named,
                waiting_for_nobody_is_told_too,
                who_locks_twice_is_told_to_wait_for_itself,
                a_deadlock_is_told_once_and_the_program_goes_on,
            ] {
                scope.spawn(move || case(workers));
            }
        }
        what_may_still_end_is_no_deadlock();
    });
    println!("standstill: ok");
}

fn play(role: &str) {
    let workers = std::env::var(WORKERS).unwrap().parse().unwrap();
    let aborts = role != "once";
    let mut config = Config::new().workers(workers).abort_on_deadlock(aborts);
    if role == MEMORY {
        config = config.greenlets_threshold(0).memory_period(LONG);
    }
    config.start().unwrap();
    match role {
        "circle" => circle(),
        "nobody" => nobody(),
        "twice" => twice(),
        "once" => once(),
        lively => {
            let (_, set_up) = LIVELY.iter().find(|(name, _)| *name == lively).unwrap();
            let event = Event::new();
            let waited = event.clone();
            let waiter = spawn(move || waited.wait());
            set_up(event);
            waiter.join().unwrap().unwrap();
        }
    }
}

fn start(role: &str, workers: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .env(WORKERS, workers.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a child, which is ended if it takes too long.
fn end(mut child: Child) -> (ExitStatus, String) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < 60_000 * MS {
        std::thread::sleep(5 * MS);
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

/// The line of a report that begins so, without its indentation.
fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let line = text.lines().map(str::trim).find(|l| l.starts_with(start));
    line.unwrap_or_else(|| panic!("no {start} in {text}"))
}

const SIGABRT: Option<i32> = Some(6);
const HEAD: &str = "deadlock: nothing can ever run again";

// Two greenlets that wait for each other's end, and the thread that waits for one.

fn circle() {
    let (give, take) = mpsc::channel::<greenloop::Handle>();
    let _guard = hooks::on_deadlock(|deadlock| {
        let mut err = std::io::stderr();
        let (count, cycles) = (deadlock.waiting.len(), deadlock.cycles.len());
        std::io::Write::write_fmt(&mut err, format_args!("hook: {count} {cycles}\n")).unwrap();
    });
    let a = Builder::new().name("a").spawn(move || {
        let other = greenloop::blocking(move || take.recv().unwrap()).unwrap();
        other.wait()
    });
    let a = a.handle();
    let b = Builder::new().name("b").spawn(move || a.wait());
    give.send(b.handle()).unwrap();
    b.join().unwrap().unwrap();
}

fn a_circle_is_named(workers: usize) {
    let (status, text) = end(start("circle", workers));
    assert_eq!(status.signal(), SIGABRT, "{text}");
    assert_eq!(text.matches(HEAD).count(), 1, "{text}");
    let a = line(&text, "greenlet \"a\" (#");
    assert!(a.contains("waits on join at tests/standstill.rs:"), "{a}");
    assert!(a.contains(": the end of greenlet \"b\" (#"), "{a}");
    let main = line(&text, "thread \"main\" (#");
    assert!(main.contains(": the end of greenlet \"b\" (#"), "{main}");
    let circle = line(&text, "in a circle: greenlet \"a\" (#");
    assert_eq!(circle.matches(" -> ").count(), 2, "{circle}");
    line(&text, "hook: 3 1");
}

// A permit and an event that nobody is left to give.

fn nobody() {
    let permits = Semaphore::new(1);
    let waiter = Builder::new().name("waiter").spawn(move || {
        let first = permits.acquire().unwrap();
        let second = permits.acquire();
        drop((first, second));
    });
    let event = Event::new();
    let setter = event.clone();
    Builder::new().name("setter").spawn(move || {
        waiter.join().unwrap();
        setter.set();
    });
    greenloop::run(move || event.wait()).unwrap();
}

fn waiting_for_nobody_is_told_too(workers: usize) {
    let (status, text) = end(start("nobody", workers));
    assert_eq!(status.signal(), SIGABRT, "{text}");
    let waiter = line(&text, "greenlet \"waiter\" (#");
    assert!(
        waiter.contains("waits on semaphore at tests/standstill.rs:"),
        "{waiter}"
    );
    let setter = line(&text, "greenlet \"setter\" (#");
    assert!(
        setter.contains(": the end of greenlet \"waiter\" (#"),
        "{setter}"
    );
    let main = line(&text, "greenlet \"main\" (#");
    assert!(
        main.contains("waits on event at tests/standstill.rs:"),
        "{main}"
    );
    assert!(!text.contains("in a circle"), "{text}");
}

// A mutex that its holder locks again.

fn twice() {
    let greenlet = Builder::new().name("again").spawn(|| {
        let data = Mutex::new(());
        let first = data.lock().unwrap();
        let second = data.lock().unwrap();
        drop((first, second));
    });
    greenlet.join().unwrap();
}

fn who_locks_twice_is_told_to_wait_for_itself(workers: usize) {
    let (status, text) = end(start("twice", workers));
    assert_eq!(status.signal(), SIGABRT, "{text}");
    let again = line(&text, "greenlet \"again\" (#");
    assert!(
        again.contains("waits on mutex at tests/standstill.rs:"),
        "{again}"
    );
    assert!(again.contains(": held by greenlet \"again\" (#"), "{again}");
    let circle = line(&text, "in a circle: greenlet \"again\" (#");
    assert_eq!(circle.matches(" -> ").count(), 1, "{circle}");
}

// By default the process lives on, and who can still help does: here, the hook's thread.

fn once() {
    let event = Event::new();
    let setter = event.clone();
    let _guard = hooks::on_deadlock(move |_| {
        let setter = setter.clone();
        std::thread::spawn(move || {
            // Long enough for a second report, if there were one.
            std::thread::sleep(LONG);
            setter.set();
        });
    });
    event.wait().unwrap();
}

fn a_deadlock_is_told_once_and_the_program_goes_on(workers: usize) {
    let (status, text) = end(start("once", workers));
    assert!(status.success(), "{status} {text}");
    assert_eq!(text.matches(HEAD).count(), 1, "{text}");
    let main = line(&text, "thread \"main\" (#");
    assert!(
        main.contains("waits on event at tests/standstill.rs:"),
        "{main}"
    );
}

fn what_may_still_end_is_no_deadlock() {
    let children = LIVELY.map(|(role, _)| (role, start(role, 2)));
    for (role, child) in children {
        let (status, text) = end(child);
        assert!(status.success(), "{role}: {status} {text}");
        assert!(!text.contains(HEAD), "{role}: {text}");
    }
}

/// Runs a command of the shell's in a process of its own.
#[expect(clippy::zombie_processes, reason = "this process ends just after it")]
fn shell(script: &str) {
    Command::new("bash").args(["-c", script]).spawn().unwrap();
}

fn accept(event: Event) {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(move || {
        listener.accept().unwrap();
        event.set();
    });
    shell(&format!("sleep 3; exec 3<>/dev/tcp/127.0.0.1/{port}"));
}

fn limit(event: Event) {
    spawn(move || {
        assert!(!Event::new().wait_timeout(LONG).unwrap());
        event.set();
    });
}

fn sleeper(event: Event) {
    spawn(move || {
        sleep(LONG).unwrap();
        event.set();
    });
}

fn thread(event: Event) {
    std::thread::spawn(move || {
        std::thread::sleep(LONG);
        event.set();
    });
}

/// The caller leaves, and the job goes on.
fn lane(event: Event) {
    let early = greenloop::timeout(10 * MS, || {
        greenloop::blocking(move || {
            std::thread::sleep(LONG);
            event.set();
        })
    });
    assert!(early.unwrap_err().is_timeout());
}

fn signal(event: Event) {
    let signals = Signals::new(&[SIGUSR1]).unwrap();
    spawn(move || {
        greenloop::wait_any(&[&signals]).unwrap();
        event.set();
    });
    shell(&format!("sleep 3; kill -USR1 {}", std::process::id()));
}

/// A program whose greenlets sleep for good is at rest.
fn rest(event: Event) {
    let sleeper = spawn(|| sleep(Duration::MAX));
    assert!(!sleeper.wait_timeout(LONG).unwrap());
    event.set();
    sleeper.kill();
}

/// The watchdog's own thread does something now and then.
fn periodic(event: Event) {
    hooks::every(LONG, move || event.set()).keep();
}

/// So it does where it looks at memory.
fn memory(event: Event) {
    hooks::on_memory(move |_| event.set()).keep();
}
