//! What several test modules use.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use greenloop::Config;

/// Names the number of workers to a child.
const WORKERS: &str = "GREENLOOP_TEST_WORKERS";

/// Names the test that encloses it, as the test harness does.
macro_rules! test_name {
    () => {{
        fn here() {}
        let path = std::any::type_name_of_val(&here);
        let path = path.strip_suffix("::here").expect("the function above");
        path.split_once("::").expect("the crate's name").1
    }};
}

/// Runs the block in child processes of its own, with 1, 2 and 4 workers (or those given),
/// one after the other.
macro_rules! on_workers {
    ($body:block) => {
        $crate::support::on_workers!([1, 2, 4], $body)
    };
    ([$($count:expr),+], $body:block) => {
        $crate::support::run_on_workers($crate::support::test_name!(), &[$($count),+], 1, || $body)
    };
}

/// As `on_workers`, all children at once: for tests that do little but wait.
macro_rules! on_workers_at_once {
    ($body:block) => {
        $crate::support::run_on_workers($crate::support::test_name!(), &[1, 2, 4], 3, || $body)
    };
}

pub(crate) use {on_workers, on_workers_at_once, test_name};

/// See `on_workers!`; `at_once` children at a time.
pub(crate) fn run_on_workers(test: &str, counts: &[usize], at_once: usize, body: impl FnOnce()) {
    if let Ok(count) = std::env::var(WORKERS) {
        Config::new()
            .workers(count.parse().unwrap())
            .start()
            .unwrap();
        body();
        return;
    }
    for counts in counts.chunks(at_once) {
        run_children(test, WORKERS, counts);
    }
}

/// Runs a test in children, all at once, in each of which `name` is one of the counts.
pub(crate) fn run_children(test: &str, name: &str, counts: &[usize]) {
    let run = |count: usize| {
        let output = run_child(test, &[(name, &count.to_string())]);
        let ChildOutput { status, text } = output;
        assert!(status.success(), "with {count} workers: {status}\n{text}");
        assert!(text.contains("1 passed"), "the child ran no test:\n{text}");
    };
    // Those of a thread alone are shown by the harness only there.
    if let [count] = counts {
        return run(*count);
    }
    std::thread::scope(|scope| {
        let children = counts.iter().map(|&count| scope.spawn(move || run(count)));
        let children: Vec<_> = children.collect();
        for child in children {
            if let Err(panic) = child.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// What a child said and how it ended.
pub(crate) struct ChildOutput {
    pub(crate) status: ExitStatus,
    /// Both its outputs.
    pub(crate) text: String,
}

/// The variable `name` that makes this process a child that runs one test.
pub(crate) fn child_var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs one test of this binary in a child process with `vars` set.
pub(crate) fn run_child(test: &str, vars: &[(&str, &str)]) -> ChildOutput {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(vars.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer);
    let mut child = command.spawn().unwrap();
    // The command holds the writers' ends.
    drop(command);
    let text = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let status = wait_bounded(&mut child, CHILD_LIMIT);
    ChildOutput {
        status,
        text: text.join().unwrap(),
    }
}

/// Far longer than any test takes on a busy machine, short enough to see which one hangs.
const CHILD_LIMIT: Duration = Duration::from_secs(60);

/// Waits for a child, and ends it when it takes longer than `limit`.
pub(crate) fn wait_bounded(child: &mut Child, limit: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > limit {
            // First ask what its greenlets wait on. It may have ended just now.
            let pid = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            std::thread::sleep(Duration::from_secs(1));
            let _ = child.kill();
            return child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `condition` holds, for things that give no signal.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Like [`eventually`], for greenlets: lets others run between two looks.
pub(crate) fn before_long(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        greenloop::sleep(Duration::from_millis(1)).unwrap();
    }
}

/// Tells whether the greenlet waits for something to happen.
pub(crate) fn is_blocked(greenlet: &greenloop::Handle) -> bool {
    let turns = ["running", "its first turn", "its next turn"];
    greenloop::greenlets()
        .iter()
        .any(|g| g.id == greenlet.id() && !turns.contains(&g.state))
}
