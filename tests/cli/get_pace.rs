//! `greenloop get`: tries, limits and rates, as people write them.

use crate::support::{Folder, Run, greenloop};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Answers the first requests with `status`, the others with 16 KiB.
struct Origin {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Origin {
    fn start(failing: usize, status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                std::thread::spawn(move || {
                    let mut out = stream.try_clone().unwrap();
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        if !line.is_empty() {
                            continue;
                        }
                        let answer = match count.fetch_add(1, Ordering::SeqCst) < failing {
                            true => format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
                            false => format!(
                                "HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n{}",
                                "x".repeat(16384)
                            ),
                        };
                        if out.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    /// Runs `get` with these arguments; returns the requests made.
    fn get(&self, args: &[&str]) -> (Run, usize) {
        let folder = Folder::new();
        let run = greenloop(["get", "--retry-wait", "1ms"].iter().chain(args))
            .arg(format!("http://{}/f", self.address))
            .folder(folder.path())
            .run();
        (run, self.requests.load(Ordering::SeqCst))
    }
}

#[test]
fn get_tries_as_often_as_it_is_told() {
    let wanted: &[(&[&str], usize)] = &[
        (&[], 5),
        (&["-m", "2"], 2),
        (&["--max-tries=3"], 3),
        (&["--tries", "1"], 1),
        (&["--retry", "2"], 3),
        (&["--retries=0"], 1),
        (&["--retry-on-http-error=!503"], 1),
    ];
    for (args, tries) in wanted {
        let (run, requests) = Origin::start(usize::MAX, "503 Busy").get(args);
        assert_ne!(run.code, 0, "{run:?}");
        assert_eq!(requests, *tries, "{args:?}");
    }
    let wanted: &[(&[&str], usize)] = &[
        (&["-m0"], 5),
        (&["--tries=inf"], 5),
        (&["--retry-on-http-error", "404,5xx", "-m", "5"], 5),
    ];
    for (args, requests) in wanted {
        let status = if args.len() > 1 { "404 No" } else { "500 Oh" };
        let (run, made) = Origin::start(4, status).get(args);
        run.succeeds();
        assert_eq!(made, *requests, "{args:?}");
    }
}

#[test]
fn get_keeps_the_limits_people_write() {
    for limit in [
        "--max-overall-download-limit",
        "--limit-rate",
        "--max-download-limit",
    ] {
        let began = Instant::now();
        let (run, _) = Origin::start(0, "").get(&[limit, "32K"]);
        run.succeeds();
        assert!(began.elapsed() >= Duration::from_millis(420), "{limit}");
    }
    let origin = Origin::start(0, "");
    let began = Instant::now();
    let folder = Folder::new();
    let urls = (0..4).map(|n| format!("http://{}/{n}", origin.address));
    let args = ["get", "--rate", "10/s", "--per-host", "0", "--auto", "-j2"];
    greenloop(args.map(str::to_owned).into_iter().chain(urls))
        .folder(folder.path())
        .run()
        .succeeds();
    assert!(began.elapsed() >= Duration::from_millis(290));
}

#[test]
fn get_stops_early_where_it_is_told() {
    for args in [
        ["--fail-early", "-j1"],
        ["--fail-fast", "-j1"],
        ["--max-failures=1", "-j1"],
    ] {
        let origin = Origin::start(1, "404 No");
        let folder = Folder::new();
        let urls = (0..20).map(|n| format!("http://{}/{n}", origin.address));
        let args = ["get"].into_iter().chain(args).map(str::to_owned);
        let run = greenloop(args.chain(urls)).folder(folder.path()).run();
        assert_ne!(run.code, 0, "{run:?}");
        let made = origin.requests.load(Ordering::SeqCst);
        assert!(made < 10, "{made}");
    }
}

#[test]
fn get_refuses_what_is_no_pace() {
    for args in [
        &["--rate", "0/s"][..],
        &["--rate", "10/x"],
        &["--max-tries", "-1"],
        &["--max-tries", "2", "--retries", "2"],
        &["--retry-on-http-error", "4O4"],
        &["--limit-rate", "fast"],
        &["--fail-early", "--max-failures", "2"],
    ] {
        let run = greenloop(["get", "http://127.0.0.1:9/"].iter().chain(args)).run();
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
    }
}

#[test]
fn get_says_that_the_quota_has_ended_it_and_how_to_go_on() {
    let (origin, folder) = (Origin::start(0, ""), Folder::new());
    let urls = (0..6).map(|n| format!("http://{}/{n}", origin.address));
    let urls: Vec<_> = urls.collect();
    let get = |more: &[&str]| {
        let get = greenloop(["get", "-j", "1"].iter().chain(more)).args(&urls);
        get.folder(folder.path()).run()
    };
    let requests = || origin.requests.load(Ordering::SeqCst);
    let run = get(&["-Q", "20K"]);
    assert_eq!((run.code, requests()), (7, 2), "{run:?}");
    let hint = "is used up: the same command goes on";
    assert!(
        run.stdout.contains("the quota of 20") && run.stdout.contains(hint),
        "{run:?}"
    );
    let run = get(&["-Q", "20K", "--json"]);
    assert_eq!((run.code, requests()), (7, 4), "{run:?}");
    let last = run.stdout.lines().last().unwrap();
    for told in [
        "\"saved\":2,\"skipped\":2",
        "\"quota_reached\":true",
        "\"exitcode\":7",
    ] {
        assert!(last.contains(told), "{run:?}");
    }
    let run = get(&["--json"]);
    let told = run.succeeds();
    assert!(told.contains("\"quota_reached\":false"), "{run:?}");
    assert_eq!(requests(), 6);
}
