//! `test__subprocess.py`: other programs.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use greenloop::process::{Command, Stdio};
use greenloop::sync::Event;
use greenloop::{join_all, sleep, spawn, timeout, wait_any, wait_any_timeout};

use crate::support::{eventually, on_workers, on_workers_at_once};

const MS: Duration = Duration::from_millis(1);
/// Children that must not end by themselves.
const FOR_EVER: &str = "exec sleep 600";

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn test_exit() {
    // A81
    on_workers!({
        let mut child = sh("exit 10").spawn().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(10));
        assert_eq!(child.wait().unwrap().code(), Some(10), "as often as asked");
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(10));
        // A signal is not a negative code as in gevent; std tells the two apart.
        let status = sh("kill -TERM $$").status().unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(15)));
    });
}

#[test]
fn test_wait() {
    on_workers!({
        let mut child = sh(FOR_EVER).spawn().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        let before = Instant::now();
        assert_eq!(child.wait_timeout(30 * MS).unwrap(), None);
        assert!(before.elapsed() >= 30 * MS);
        let error = timeout(5 * MS, || child.wait()).unwrap_err();
        assert!(error.is_timeout());
        // Several at once.
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let handle = child.handle();
                spawn(move || handle.wait().unwrap())
            })
            .collect();
        child.kill().unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().signal(), Some(9));
        }
        child.kill().unwrap();
        child.signal(greenloop::signal::SIGTERM).unwrap();
    });
}

#[test]
fn test_child_exception() {
    // A81: gevent raises OSError with errno 2.
    on_workers!({
        let error = Command::new("*no such program*").spawn().unwrap_err();
        assert_eq!(error.io_kind(), ErrorKind::NotFound);
        assert_eq!(error.raw_os_error(), Some(2));
        let nowhere = Command::new("true").current_dir("/no/such").status();
        assert_eq!(nowhere.unwrap_err().io_kind(), ErrorKind::NotFound);
    });
}

#[test]
fn test_communicate() {
    // A81
    on_workers!({
        let script = "printf pineapple >&2; exec cat";
        let output = sh(script).input("banana").output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"banana");
        assert_eq!(output.stderr, b"pineapple");
        // The same by hand.
        let mut child = sh(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.communicate(b"banana").unwrap();
        assert_eq!(output.stdout, b"banana");
        assert_eq!(output.stderr, b"pineapple");
    });
}

#[test]
fn test_communicate_timeout() {
    // What was read is in the error, where gevent keeps it inside; the child lives on, and
    // a retry gives what comes later.
    on_workers!({
        let script = "read first; echo got $first; read second; echo got $second";
        let mut child = sh(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
        let mut first = [0; 8];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut first)
            .unwrap();
        assert_eq!(&first, b"got one\n");
        let more = vec![b'x'; 1 << 20];
        let stopped = child.handle();
        stopped.signal(greenloop::signal::SIGUSR1).unwrap();
        let _ = stopped.wait().unwrap();
        // It is gone; a child that does not read its input is no error.
        let output = child.communicate_timeout(&more, Duration::from_secs(20));
        assert_eq!(output.unwrap().status.signal(), Some(10));

        let mut child = sh("echo early; read line; echo late $line")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The input stays open as long as it is not sent: the limit passes.
        let stdin = child.stdin.take().unwrap();
        let mut early = Vec::new();
        while early != b"early\n" {
            let cut = child.communicate_timeout(b"", 20 * MS).unwrap_err();
            assert!(cut.error.is_timeout());
            assert_eq!((cut.sent, cut.status), (0, None));
            early.extend(cut.stdout);
        }
        child.stdin = Some(stdin);
        let output = child.communicate(b"bird\n").unwrap();
        assert_eq!(output.stdout, b"late bird\n");
        assert!(output.status.success());
    });
}

#[test]
fn test_timeout() {
    // A81: the child is ended and reaped, what it wrote is kept.
    on_workers_at_once!({
        let script = format!("printf out; printf err >&2; echo $$; {FOR_EVER}");
        let cut = sh(&script).output_timeout(500 * MS).unwrap_err();
        assert!(cut.error.is_timeout());
        assert_eq!(cut.stderr, b"err");
        let stdout = String::from_utf8(cut.stdout).unwrap();
        let pid = stdout.strip_prefix("out").unwrap().trim();
        assert_eq!(cut.status.unwrap().signal(), Some(9));
        assert!(!std::path::Path::new("/proc").join(pid).exists());
    });
}

#[test]
fn test_timeout_of_the_caller() {
    // An outer limit, a kill: the child of `output` and `status` does not stay behind.
    on_workers_at_once!({
        let file = std::env::temp_dir().join(format!("os-pid-{}", std::process::id()));
        let script = format!(
            "echo $$ > {}.new; mv {0}.new {0}; {FOR_EVER}",
            file.display()
        );
        for by_kill in [true, false] {
            let own = script.clone();
            let (tell, told) = std::sync::mpsc::channel();
            let caller = spawn(move || {
                let limit = if by_kill { Duration::MAX } else { 700 * MS };
                let ended = timeout(limit, || sh(&own).status());
                tell.send(ended.unwrap_err()).unwrap();
            });
            if by_kill {
                eventually("it runs", || file.exists());
                caller.kill();
            }
            let error = told.recv().unwrap();
            assert_eq!(error.is_cancelled(), by_kill, "{error}");
            assert_eq!(error.is_timeout(), !by_kill, "{error}");
            let pid = std::fs::read_to_string(&file).unwrap();
            let process = std::path::Path::new("/proc").join(pid.trim());
            eventually("the child is gone", || !process.exists());
            std::fs::remove_file(&file).unwrap();
        }
    });
}

#[test]
fn test_leak() {
    // A81: descriptors of this process.
    on_workers!({
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let round = || {
            let output = Command::new("cat").input("x").output().unwrap();
            assert_eq!(output.stdout, b"x");
            Command::new("true").status().unwrap();
            sh("exec cat").stdin(Stdio::piped()).spawn().unwrap();
            Command::new("no such program").spawn().unwrap_err();
        };
        round();
        let before = count();
        for _ in 0..20 {
            round();
        }
        eventually("as many descriptors as before", || count() <= before);
    });
}

#[test]
fn test_not_inheritable() {
    // A81: a child has its three streams and nothing else, whatever is open here.
    on_workers!({
        let baseline = std::process::Command::new("ls")
            .arg("/proc/self/fd")
            .output()
            .unwrap()
            .stdout;
        let _listener = greenloop::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _file = greenloop::fs::File::open("Cargo.toml").unwrap();
        let _others: Vec<_> = (0..5)
            .map(|_| {
                sh("exec cat")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let lists: Vec<_> = (0..8)
            .map(|_| spawn(|| Command::new("ls").arg("/proc/self/fd").output().unwrap()))
            .collect();
        for list in lists {
            let list = list.join().unwrap().stdout;
            assert_eq!(
                String::from_utf8_lossy(&list),
                String::from_utf8_lossy(&baseline)
            );
        }
    });
}

#[test]
fn test_nonblock_removed() {
    // Our end of a pipe is non-blocking, the child's is not.
    on_workers!({
        let mut child = sh("cat /proc/self/fdinfo/0; cat >&2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut info = String::new();
        let stdin = child.stdin.take();
        drop(stdin);
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut info).unwrap();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & 0o4000, 0, "O_NONBLOCK on the child's input");
    });
}

#[test]
fn test_issue148() {
    // Starts that fail do not disturb the ones that follow.
    on_workers!({
        for _ in 0..7 {
            let error = Command::new("this_name_must_not_exist").spawn();
            assert_eq!(error.unwrap_err().io_kind(), ErrorKind::NotFound);
        }
        assert!(Command::new("true").status().unwrap().success());
    });
}

#[test]
fn test_wait_beside_greenlets() {
    // A81: a child is waitable next to greenlets.
    on_workers!({
        let child = sh(FOR_EVER).kill_on_drop(true).spawn().unwrap();
        let never = Event::new();
        let sleeper = spawn(|| sleep(30 * MS).unwrap());
        assert_eq!(wait_any(&[&never, &child, &sleeper]).unwrap(), 2);
        let limit = wait_any_timeout(&[&never, &child], 5 * MS).unwrap();
        assert_eq!(limit, None);
        child.kill().unwrap();
        assert_eq!(wait_any(&[&never, &child]).unwrap(), 1);
        let ended = child.handle();
        assert_eq!(wait_any(&[&never, &ended]).unwrap(), 1, "also afterwards");
    });
}

#[test]
fn test_concurrency_of_children() {
    // Two that sleep take as long as one: gevent's example.
    on_workers!({
        let before = Instant::now();
        let waiters: Vec<_> = (0..4)
            .map(|_| spawn(|| sh("sleep 1").status().unwrap()))
            .collect();
        for ended in join_all(waiters) {
            assert!(ended.unwrap().success());
        }
        let took = before.elapsed();
        assert!(took >= Duration::from_secs(1));
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}
