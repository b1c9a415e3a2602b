//! Lanes, files, programs and standard input: what is promised beyond gevent.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use greenloop::fs::{self, File};
use greenloop::process::Command;
use greenloop::{Config, Lane, blocking, current, spawn, stdin, timeout};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{child_var, eventually, on_workers, test_name, wait_bounded};

const MS: Duration = Duration::from_millis(1);

fn temp(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("os-{name}-{}", std::process::id()))
}

/// How many threads of this process have `name`.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("comm")).ok());
    names.filter(|n| n.trim() == name).count()
}

// Lanes

/// This process's address space in bytes.
fn size() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|l| l.strip_prefix("VmSize:"));
    let kib = size.and_then(|s| s.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() << 10
}

/// A thread that lives as long as the result.
fn held_thread() -> mpsc::Sender<()> {
    let (held, release) = mpsc::channel();
    std::thread::spawn(move || release.recv());
    held
}

#[test]
fn a_lane_without_its_first_thread_says_so_and_loses_nothing() {
    on_workers!([2], {
        // Room for nothing: a thread's stack is 2 MiB.
        // Stacks of threads that have ended are used again, and need no room: these hold
        // them.
        let held: Vec<_> = (0..8).map(|_| held_thread()).collect();
        let before = getrlimit(Resource::As);
        let none = Rlimit {
            current: Some(size() + (1 << 20)),
            ..before
        };
        let (waiting, lane) = (Lane::new("later").threads_max(0), Lane::new("first"));
        let queued = {
            let lane = waiting.clone();
            spawn(move || lane.run(|| 1))
        };
        eventually("it waits", || waiting.stats().queued == 1);
        let (captured, dropped) = mpsc::channel::<()>();
        setrlimit(Resource::As, none).unwrap();
        let refused = lane.run(move || drop(captured));
        waiting.set_threads_max(1);
        setrlimit(Resource::As, before).unwrap();
        let error = refused.unwrap_err();
        assert_eq!(error.io_kind(), std::io::ErrorKind::WouldBlock, "{error}");
        assert!(error.to_string().contains("starting a thread"), "{error}");
        assert!(dropped.recv().is_err(), "its values are dropped");
        // One that had waited for a thread hears of it, too.
        let error = queued.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("starting a thread"), "{error}");
        // And the lanes work.
        for lane in [lane, waiting] {
            assert_eq!(lane.run(|| 2).unwrap(), 2);
            assert_eq!(lane.stats().queued, 0);
        }
        drop(held);
    });
}

#[test]
fn a_late_result_that_drops_slowly_holds_nobody_up() {
    struct Slow(mpsc::Sender<()>, mpsc::Receiver<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            self.1.recv().unwrap();
        }
    }
    on_workers!({
        let lane = Lane::new("test").threads_max(2);
        let (dropping, is_dropping) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let (finish, finished) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let own = lane.clone();
        let caller = spawn(move || {
            let slow = Slow(dropping, gate);
            own.run(move || {
                started.send(()).unwrap();
                finished.recv().unwrap();
                slow
            })
            .map(drop)
        });
        has_started.recv().unwrap();
        assert!(caller.kill_and_wait(None).unwrap());
        finish.send(()).unwrap();
        is_dropping.recv().unwrap();
        // The one thread is busy with the drop; the next job gets another.
        assert_eq!(lane.run(|| 1).unwrap(), 1);
        assert_eq!(lane.stats().threads, 2);
        go.send(()).unwrap();
        eventually("both are free", || lane.stats().running == 0);
    });
}

#[test]
fn threads_of_a_dropped_lane_leave() {
    on_workers!({
        let threads = || threads_named("short-lived");
        let lane = Lane::new("short-lived").idle_timeout(Duration::MAX);
        lane.run(|| ()).unwrap();
        assert_eq!(threads(), 1);
        drop(lane.clone());
        lane.run(|| ()).unwrap();
        drop(lane);
        eventually("its thread leaves", || threads() == 0);
    });
}

// Files

#[test]
fn a_read_whose_caller_was_killed_loses_no_byte() {
    // A fifo makes the read take as long as we like.
    on_workers!({
        let path = temp("fifo");
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        let own = path.clone();
        let opened = spawn(move || File::open(&own).unwrap());
        let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut file = opened.join().unwrap();
        // Until one was killed in the read itself, and not just before it.
        loop {
            let (give, given) = mpsc::channel();
            let reader = spawn(move || {
                let error = file.read(&mut [0; 100]).unwrap_err();
                assert!(greenloop::Error::from(error).is_cancelled());
                give.send(file).unwrap();
            });
            eventually("it reads", || Lane::for_files().stats().running == 1);
            assert!(reader.kill_and_wait(None).unwrap(), "it leaves at once");
            file = given.recv().unwrap();
            if Lane::for_files().stats().running == 1 {
                break;
            }
        }
        let error = timeout(5 * MS, || file.read(&mut [0; 100])).unwrap_err();
        assert!(greenloop::Error::from(error).is_timeout());
        writer.write_all(b"0123456789").unwrap();
        let mut buf = [0; 4];
        file.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"0123");
        writer.write_all(b"abc").unwrap();
        drop(writer);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "456789abc");
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn positions_hold_among_reads_writes_and_kills() {
    on_workers!({
        let path = temp("positions");
        fs::write(&path, vec![b'.'; 1000]).unwrap();
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true);
        let mut file = File::open_with(&path, &options).unwrap();
        let mut at = 0_u64;
        let mut lost = 0;
        for round in 0..200_u64 {
            // Limits so short that many calls end early, at every stage.
            let limit = Duration::from_micros(round * 7 % 120);
            let mut buf = [0; 3];
            match timeout(limit, || file.read(&mut buf)) {
                Ok(n) => at += n as u64,
                Err(_) => lost += 1,
            }
            assert_eq!(file.stream_position().unwrap(), at);
        }
        assert!(lost > 0, "no call ended early");
        file.write_all(b"here").unwrap();
        assert_eq!(file.stream_position().unwrap(), at + 4);
        assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 1000);
        let all = fs::read(&path).unwrap();
        assert_eq!(&all[at as usize..at as usize + 4], b"here");
        assert_eq!(all.iter().filter(|b| **b == b'.').count(), 996);
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn paths_are_worked_on() {
    on_workers!([2], {
        let folder = temp("folder");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        let (one, two) = (folder.join("one"), folder.join("two"));
        fs::write(&one, "text").unwrap();
        assert_eq!(fs::copy(&one, &two).unwrap(), 4);
        fs::rename(&two, folder.join("three")).unwrap();
        assert!(!fs::exists(&two).unwrap());
        fs::hard_link(&one, &two).unwrap();
        fs::symlink("one", folder.join("link")).unwrap();
        assert_eq!(
            fs::read_link(folder.join("link")).unwrap(),
            Path::new("one")
        );
        assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "text");
        assert!(
            fs::symlink_metadata(folder.join("link"))
                .unwrap()
                .is_symlink()
        );
        let link = fs::canonicalize(folder.join("link")).unwrap();
        assert_eq!(link, fs::canonicalize(&one).unwrap());
        let mut permissions = fs::metadata(&one).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&one, permissions).unwrap();
        assert!(fs::metadata(&one).unwrap().permissions().readonly());
        let entries = fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = entries.iter().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "link", "one", "three", "two"]);
        fs::create_dir(folder.join("c")).unwrap();
        fs::remove_dir(folder.join("c")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let error = fs::read_dir(&folder).unwrap_err();
        assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("listing "), "{error}");
    });
}

// Programs

fn is_there(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_child_that_nobody_waits_for_is_no_zombie() {
    on_workers!({
        let mut pids = Vec::new();
        for _ in 0..5 {
            pids.push(Command::new("true").spawn().unwrap().id());
        }
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let handle = child.handle();
        // A killed waiter leaves the child running.
        let waiter = spawn(move || child.handle().wait().map(drop));
        assert!(waiter.kill_and_wait(None).unwrap());
        assert_eq!(handle.try_wait().unwrap(), None);
        assert!(is_there(handle.id()));
        handle.kill().unwrap();
        pids.push(handle.id());
        drop(handle);
        for pid in pids {
            eventually("it is reaped", || !is_there(pid));
        }
    });
}

#[test]
fn kill_on_drop_kills() {
    on_workers!([2], {
        let mut command = Command::new("sleep");
        let child = command.arg("600").kill_on_drop(true).spawn().unwrap();
        let handle = child.handle();
        drop(child);
        assert_eq!(handle.wait().unwrap().signal(), Some(9));
        // A start whose caller leaves brings nothing into the world that stays.
        let started = spawn(|| {
            current().kill();
            Command::new("sleep").arg("600").spawn().map(drop)
        });
        assert!(started.join().unwrap_err().is_killed());
    });
}

#[test]
fn two_hundred_children_at_once() {
    on_workers!({
        let children: Vec<_> = (0..200_u32)
            .map(|n| {
                spawn(move || {
                    let text = n.to_string();
                    let output = Command::new("cat").input(text.clone()).output().unwrap();
                    output.status.success() && output.stdout == text.into_bytes()
                })
            })
            .collect();
        for child in children {
            assert!(child.join().unwrap());
        }
    });
}

#[test]
fn kill_may_race_with_the_end() {
    on_workers!({
        for round in 0..40 {
            let mut child = Command::new("true").spawn().unwrap();
            let handle = child.handle();
            let killer = spawn(move || {
                for _ in 0..round {
                    greenloop::yield_now().unwrap();
                }
                handle.kill().unwrap();
                handle.try_wait().unwrap();
                handle.kill().unwrap();
            });
            let status = child.wait().unwrap();
            assert!(status.success() || status.signal() == Some(9), "{status}");
            killer.join().unwrap();
            assert_eq!(child.try_wait().unwrap(), Some(status));
            assert!(!is_there(child.id()));
        }
    });
}

#[test]
fn big_pipes_flow_both_ways() {
    on_workers!({
        let input: Vec<u8> = (0..(3 << 20)).map(|n: u32| (n % 251) as u8).collect();
        let script = "tee /dev/stderr";
        let output = Command::new("sh")
            .args(["-c", script])
            .input(input.clone())
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(output.stdout == input, "{} bytes out", output.stdout.len());
        assert!(output.stderr == input, "{} bytes err", output.stderr.len());
    });
}

#[test]
fn a_child_that_closed_its_input_breaks_the_pipe() {
    on_workers!({
        let mut child = Command::new("sh")
            .args(["-c", "exec <&-; echo closed; exec sleep 600"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = [0; 7];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .unwrap();
        let error = child.stdin.as_mut().unwrap().write(b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        // Children get SIGPIPE's default back: `yes` would go on for ever.
        let status = Command::new("sh")
            .args(["-c", "yes | head -n 1 >&2"])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    });
}

#[test]
fn a_grandchild_that_keeps_the_pipe_does_not_outlive_the_limit() {
    on_workers!([1, 2], {
        let path = temp("grandchild");
        let script = format!("sleep 600 & echo $! > {}; echo early; wait", path.display());
        let mut command = Command::new("sh");
        let cut = command.args(["-c", &script]).output_timeout(500 * MS);
        let cut = cut.unwrap_err();
        assert!(cut.error.is_timeout());
        assert_eq!(cut.stdout, b"early\n");
        assert_eq!(cut.status.unwrap().signal(), Some(9));
        let pid = std::fs::read_to_string(&path).unwrap();
        Command::new("kill").arg(pid.trim()).status().unwrap();
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_command_starts_again_and_a_pipe_goes_to_the_next() {
    on_workers!([2], {
        let mut echo = Command::new("echo");
        echo.arg("hello");
        for _ in 0..2 {
            assert_eq!(echo.output().unwrap().stdout, b"hello\n");
        }
        // What `output` said about the streams does not stay.
        let child = echo.stdout(Stdio::null()).spawn().unwrap();
        assert!(child.stdout.is_none() && child.stdin.is_none() && child.stderr.is_none());
        // echo | tr
        let mut first = echo.stdout(Stdio::piped()).spawn().unwrap();
        let pipe = first.stdout.take().unwrap().into_stdio().unwrap();
        let mut upper = Command::new("tr");
        upper.args(["a-z", "A-Z"]).stdin(pipe);
        assert_eq!(upper.output().unwrap().stdout, b"HELLO\n");
        // std's own, with what only it offers.
        let mut std = std::process::Command::new("sh");
        std::os::unix::process::CommandExt::arg0(&mut std, "zero");
        std.args(["-c", "echo $0"]);
        assert_eq!(Command::from(std).output().unwrap().stdout, b"zero\n");
    });
}

#[test]
fn programs_work_from_plain_threads() {
    on_workers!([1], {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| Command::new("cat").input("x").output().unwrap()))
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().stdout, b"x");
        }
        // And from inside a blocking job.
        let status = blocking(|| Command::new("true").status().unwrap()).unwrap();
        assert!(status.success());
    });
}

#[test]
fn a_child_that_cannot_be_started_leaves_nothing_behind() {
    // Without descriptors it fails at one stage after the other.
    on_workers!([2], {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let run = || Command::new("cat").input("x").output();
        run().unwrap();
        let before = getrlimit(Resource::Nofile);
        let (open, mut failed) = (count(), 0);
        for spare in 0..24 {
            let few = Rlimit {
                current: Some(open + spare),
                ..before
            };
            setrlimit(Resource::Nofile, few).unwrap();
            let ended = run();
            setrlimit(Resource::Nofile, before).unwrap();
            match ended {
                Ok(output) => assert_eq!(output.stdout, b"x"),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(24), "{error}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 3, "{failed} failed");
        run().unwrap();
        eventually("no descriptor is left open", || count() <= open);
        let children = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let of =
                |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children"));
            tasks.filter_map(|task| of(task).ok()).collect::<String>()
        };
        eventually("no child is left", || children().is_empty());
    });
}

#[test]
fn a_status_that_somebody_else_took_is_an_error() {
    // With SIGCHLD ignored the system reaps children itself.
    if child_var("GREENLOOP_TEST_SIGCHLD").is_some() {
        let error = Command::new("true").status().unwrap_err();
        assert!(error.to_string().contains("its status is lost"), "{error}");
        let output = Command::new("echo").arg("all the same").output();
        return assert!(output.is_err());
    }
    let ignoring = |program: &mut std::process::Command| program.status().unwrap().success();
    let mut env = std::process::Command::new("env");
    env.arg("--ignore-signal=CHLD");
    if !ignoring(env.arg("true")) {
        return eprintln!("SKIPPED: this env cannot ignore a signal");
    }
    let mut env = std::process::Command::new("env");
    env.arg("--ignore-signal=CHLD")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test_name!(), "--test-threads=1"])
        .env("GREENLOOP_TEST_SIGCHLD", "1")
        .stdout(Stdio::null());
    assert!(ignoring(&mut env));
}

// Standard input

const STDIN: &str = "GREENLOOP_TEST_STDIN";

/// A child of ours that runs `test` as `role` with `workers` workers.
fn reader(test: &str, role: &str, workers: usize, input: impl Into<Stdio>) -> Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STDIN, format!("{workers} {role}"))
        .env("RUST_BACKTRACE", "0")
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child says `word`.
fn await_word(child: &mut BufReader<std::process::ChildStdout>, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(child.read_line(&mut line).unwrap(), 0, "no {word}");
    }
}

/// Waits until the child says `word` and ends well.
fn expect_word(child: &mut Child, word: &str) {
    // Held until the end: what else it says must find a reader.
    let mut said = BufReader::new(child.stdout.take().unwrap());
    await_word(&mut said, word);
    expect_success(child);
}

/// What a child tells its test.
#[expect(clippy::print_stdout, reason = "it is how the child says it")]
fn say(word: &str) {
    println!("{word}");
}

fn expect_success(child: &mut Child) {
    let status = wait_bounded(child, Duration::from_secs(60));
    assert!(status.success(), "{status}");
}

/// What the child does.
fn read_stdin(how: &str) {
    let [workers, by, role] = how.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{how}")
    };
    Config::new()
        .workers(workers.parse().unwrap())
        .start()
        .unwrap();
    let before = rustix::fs::fcntl_getfl(std::io::stdin()).unwrap();
    match role {
        "lines" => read_lines(),
        "all" => {
            let mut all = String::new();
            let n = stdin().read_to_string(&mut all).unwrap();
            say(&format!("read {n} bytes"));
            assert_eq!(stdin().read(&mut [0; 8]).unwrap(), 0);
        }
        _ => leave_and_read(),
    }
    let uses_thread = threads_named("greenloop-stdin") > 0;
    assert_eq!(uses_thread, by == "thread");
    let after = rustix::fs::fcntl_getfl(std::io::stdin()).unwrap();
    assert_eq!(before, after, "the shared descriptor's mode");
}

fn read_lines() {
    let mut first = String::new();
    assert_eq!(stdin().read_line(&mut first).unwrap(), 6);
    assert_eq!(first, "first\n");
    let mut lock = stdin().lock().unwrap();
    assert!(lock.fill_buf().unwrap().starts_with(b"s"));
    let mut part = [0; 3];
    lock.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"sec");
    let lines: Vec<_> = lock.lines().take(2).map(Result::unwrap).collect();
    assert_eq!(lines, ["ond", "third ü"]);
    say("lines read");
}

/// Readers that are killed or time out take nothing along.
fn leave_and_read() {
    let killed = spawn(|| {
        let error = stdin().read_line(&mut String::new()).unwrap_err();
        assert!(greenloop::Error::from(error).is_cancelled());
    });
    let readers = || {
        greenloop::dump()
            .to_string()
            .matches("waits on read")
            .count()
    };
    eventually("it waits", || readers() == 1);
    // One more stands in line for the input.
    let second = spawn(|| stdin().lock().map(drop));
    eventually("both wait", || readers() == 2);
    assert!(second.kill_and_wait(None).unwrap());
    say("half please");
    std::thread::sleep(20 * MS);
    assert!(killed.kill_and_wait(None).unwrap());
    let mut line = String::new();
    let error = timeout(20 * MS, || stdin().read_line(&mut line)).unwrap_err();
    assert!(greenloop::Error::from(error).is_timeout());
    let mut lock = stdin().lock().unwrap();
    lock.set_read_timeout(Some(5 * MS));
    let error = lock.read_line(&mut line).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(line, "");
    lock.set_read_timeout(None);
    say("the rest please");
    lock.read_line(&mut line).unwrap();
    assert_eq!(line, "half and whole\n");
    say("all there");
}

#[test]
fn stdin_may_be_a_pipe() {
    if let Some(how) = child_var(STDIN) {
        return read_stdin(&how);
    }
    for workers in [1, 2, 4] {
        let mut child = reader(test_name!(), "events lines", workers, Stdio::piped());
        let mut input = child.stdin.take().unwrap();
        input
            .write_all("first\nsecond\nthird ü\n".as_bytes())
            .unwrap();
        expect_success(&mut child);
        let mut child = reader(test_name!(), "events all", workers, Stdio::piped());
        let mut input = child.stdin.take().unwrap();
        input.write_all(&vec![b'x'; 300_000]).unwrap();
        drop(input);
        expect_word(&mut child, "read 300000 bytes");
        let mut child = reader(test_name!(), "events leave", workers, Stdio::piped());
        let input = child.stdin.take().unwrap();
        leave_in_the_middle(&mut child, input);
    }
}

fn leave_in_the_middle(child: &mut Child, mut input: impl Write) {
    let mut said = BufReader::new(child.stdout.take().unwrap());
    await_word(&mut said, "half please");
    input.write_all(b"half").unwrap();
    await_word(&mut said, "the rest please");
    input.write_all(b" and whole\n").unwrap();
    await_word(&mut said, "all there");
    expect_success(child);
}

#[test]
fn stdin_may_be_a_socket() {
    // It cannot be opened again: the thread reads it.
    if let Some(how) = child_var(STDIN) {
        return read_stdin(&how);
    }
    for workers in [1, 2, 4] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut child = reader(test_name!(), "thread leave", workers, OwnedFd::from(theirs));
        leave_in_the_middle(&mut child, ours);
        // Also one that somebody has made non-blocking.
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut child = reader(test_name!(), "thread lines", workers, OwnedFd::from(theirs));
        ours.write_all("first\nsecond\nthird ü\n".as_bytes())
            .unwrap();
        expect_success(&mut child);
    }
}

#[test]
fn stdin_may_be_a_file_or_nothing() {
    if let Some(how) = child_var(STDIN) {
        return read_stdin(&how);
    }
    let path = temp("stdin");
    std::fs::write(&path, "first\nsecond\nthird ü\n").unwrap();
    for workers in [1, 2, 4] {
        let file = std::fs::File::open(&path).unwrap();
        let mut child = reader(test_name!(), "thread lines", workers, file);
        expect_success(&mut child);
        // From where the descriptor stands, which is shared.
        let mut file = std::fs::File::open(&path).unwrap();
        file.seek(SeekFrom::Start(6)).unwrap();
        let mut child = reader(
            test_name!(),
            "thread all",
            workers,
            file.try_clone().unwrap(),
        );
        expect_word(&mut child, "read 16 bytes");
        assert_eq!(file.stream_position().unwrap(), 22);
        let mut child = reader(test_name!(), "thread all", workers, Stdio::null());
        expect_word(&mut child, "read 0 bytes");
    }
    std::fs::remove_file(&path).unwrap();
    // Closed: std opens /dev/null in its place before `main`.
    let mut child = std::process::Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" --exact \"$1\" --nocapture --test-threads=1 <&-",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(test_name!())
        .env(STDIN, "1 thread all")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    expect_word(&mut child, "read 0 bytes");
}

#[test]
fn stdin_may_be_a_terminal() {
    if let Some(how) = child_var(STDIN) {
        return read_stdin(&how);
    }
    for workers in [1, 2, 4] {
        let (mut ours, theirs) = terminal();
        let mut child = reader(test_name!(), "events lines", workers, theirs);
        ours.write_all("first\nsecond\nthird ü\n".as_bytes())
            .unwrap();
        expect_success(&mut child);
        let (mut ours, theirs) = terminal();
        let mut child = reader(test_name!(), "events leave", workers, theirs);
        let mut said = BufReader::new(child.stdout.take().unwrap());
        await_word(&mut said, "half please");
        ours.write_all(b"half").unwrap();
        await_word(&mut said, "the rest please");
        ours.write_all(b" and whole\n").unwrap();
        await_word(&mut said, "all there");
        expect_success(&mut child);
        // Ctrl-D is the end.
        let (mut ours, theirs) = terminal();
        let mut child = reader(test_name!(), "events all", workers, theirs);
        ours.write_all(b"text\n\x04").unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        await_word(&mut said, "read 5 bytes");
        ours.write_all(b"\x04").unwrap();
        expect_success(&mut child);
    }
}

/// Both ends of a new terminal: what the user types, what the program reads.
fn terminal() -> (std::fs::File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
    (ours.into(), theirs)
}
