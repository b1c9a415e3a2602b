//! `greenloop get`: what is wrong from the start is told before anything is asked for, and
//! nothing is written.

use crate::origin::Origin;
use crate::support::{Folder, Run, greenloop};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

/// Runs `get` for a URL where somebody listens, whom nobody may call.
#[track_caller]
fn refused(folder: &Folder, args: &[&str], code: i32, told: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let before = folder.names();
    let run = greenloop(["get"].iter().chain(args).chain(&[url.as_str()]))
        .folder(folder.path())
        .run();
    run.fails_with(code, told);
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(!run.stderr.contains("secret"), "{run:?}");
    assert_eq!(folder.names(), before, "{args:?}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "{args:?} asks");
}

#[test]
fn values_without_a_meaning_are_wrong_usage() {
    let folder = Folder::new();
    let count = "a whole number from 1 to 65535 is wanted";
    let segments = "a whole number from 1 to 1024 is wanted";
    for (args, told) in [
        (&["-H", "secret"][..], "a field is wanted"),
        (&["-H", "X Y: secret"], "\"X Y\" is not the name"),
        (&["-H", "X: secret\nY: z"], "header X: not fit"),
        (&["-U", "a\nb"], "not fit to be sent"),
        (&["--referer", "a\nb"], "referer: not fit"),
        (&["--oauth2-bearer", "secret\n"], "not a bearer token"),
        (&["--all-proxy", "ftp://u:secret@h/"], "not as ftp:"),
        (&["--https-proxy", "http://u:secret@h:x/"], "proxy"),
        (&["--user", "secret"], "the password are missing"),
        (&["--no-proxy", ",,/99"], "\"/99\" is no host"),
        (&["--speed-time", "0"], "longer than 0"),
        (&["--expect-type", ""], "a type is wanted"),
        (&["--expect-type", "image/*,zip"], "a type is wanted"),
        (&["-j0"], count),
        (&["-j", "-1"], count),
        (&["-j", "-4"], count),
        (&["--jobs=65536"], count),
        (&["-s", "0"], segments),
        (&["-x", "1025"], segments),
        (&["--max-failures", "0"], "at least 1"),
        (&["--max-redirect", "-1"], "a whole number is wanted"),
        (&["--timeout", "-1"], "a duration is wanted"),
        (&["--rate=-1/s"], "a rate is wanted"),
        (&["--report", "r", "--save-session", "./r"], "both write"),
    ] {
        refused(&folder, args, 2, &[told]);
    }
}

#[test]
fn files_that_cannot_be_read_are_wrong_usage() {
    let folder = Folder::new();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("text"), "secret text\n").unwrap();
    for (option, bad) in [
        ("--ca-certificate", "empty"),
        ("--certificate", "empty"),
        ("--check", "text"),
        ("--load-cookies", "text"),
        // Others can read it, too.
        ("--netrc-file", "text"),
    ] {
        refused(&folder, &[option, "none"], 2, &["none", "no such file"]);
        refused(&folder, &[option, bad], 2, &[bad]);
    }
    refused(
        &folder,
        &["-i", "none"],
        2,
        &["reading none", "no such file"],
    );
    refused(&folder, &["-i", "."], 2, &["reading .", "is a directory"]);
    let run = greenloop(["get", "--verify", "--check", "none"]).folder(folder.path());
    run.run().fails_with(2, &["none", "no such file"]);
}

#[test]
fn hooks_that_cannot_run_are_wrong_usage() {
    let folder = Folder::new();
    for (hook, told) in [
        (
            "no-such-program-here x",
            "no-such-program-here: no such program",
        ),
        ("/etc/passwd", "/etc/passwd: no such program"),
        ("sh -c 'echo {name}'", "{name} stands for nothing"),
        ("a 'b", "a quote is not closed"),
    ] {
        refused(&folder, &["--on-complete", hook], 2, &[told]);
        refused(&folder, &["--on-error", hook], 2, &[told]);
    }
}

#[test]
fn places_that_cannot_be_written_to_are_told_first() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("dir")).unwrap();
    for option in [
        "--report",
        "--save-session",
        "--save-cookies",
        "--write-checksums",
    ] {
        refused(&folder, &[option, "no/such/x"], 16, &["no/such/x"]);
        refused(&folder, &[option, "dir"], 16, &["dir", "is a directory"]);
    }
    // Nothing can be made there, although the permissions of root say so.
    if Path::new("/sys/kernel").is_dir() {
        refused(&folder, &["-d", "/sys/kernel"], 16, &["/sys/kernel"]);
    }
}

#[test]
fn what_was_there_stays_where_nothing_is_run() {
    let folder = Folder::new();
    for name in ["report", "session", "sums"] {
        fs::write(folder.path().join(name), "old").unwrap();
    }
    let outputs = [
        "--report",
        "report",
        "--save-session",
        "session",
        "--write-checksums",
        "sums",
    ];
    let bad = ["--netrc-file", "none"];
    refused(&folder, &[&outputs[..], &bad].concat(), 2, &["none"]);
    for name in ["report", "session", "sums"] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text, "old", "{name}");
    }
}

fn get(folder: &Folder, args: &[&str]) -> Run {
    greenloop(["get"].iter().chain(args))
        .folder(folder.path())
        .run()
}

#[test]
fn devices_are_written_to_and_not_replaced() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("file-5");
    for option in ["--report", "--save-session", "--save-cookies"] {
        get(&folder, &[option, "/dev/null", "--overwrite", &url]).succeeds();
    }
    let null = fs::metadata("/dev/null").unwrap();
    assert!(!null.is_file());
    let run = get(
        &folder,
        &["--report", "/dev/stdout", "-q", "--overwrite", &url],
    );
    assert!(run.succeeds().contains("\"event\":\"summary\""), "{run:?}");
    assert_eq!(folder.names(), ["file-5"]);
}

#[test]
fn cookies_that_cannot_be_kept_at_the_end_cost_nothing_else() {
    let folder = Folder::new();
    let kept = folder.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        fs::remove_dir(kept).unwrap();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let run = get(
        &folder,
        &["--save-cookies", "kept/c", "--report", "r", &url],
    );
    serving.join().unwrap();
    assert_eq!(run.code, 16, "{run:?}");
    assert!(run.stdout.contains("saved 1 of 1 files"), "{run:?}");
    let told = "error: writing cookies to kept/c: no such file";
    assert!(run.stderr.starts_with(told), "{run:?}");
    assert_eq!(folder.names(), ["r", "x"]);
    let report = fs::read_to_string(folder.path().join("r")).unwrap();
    let summary = report.lines().last().unwrap();
    assert!(summary.contains("\"saved\":1") && summary.contains("\"exitcode\":16"));
}

#[test]
fn an_empty_list_is_no_failure() {
    let folder = Folder::new();
    fs::write(folder.path().join("list"), "# nothing yet\n\n").unwrap();
    let run = get(&folder, &["-i", "list"]);
    assert_eq!(run.succeeds(), "nothing to do: no URL was in the input\n");
}
