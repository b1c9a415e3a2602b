//! `greenloop get` for programs and logs: lines, JSON, reports, hooks.

use crate::origin::Origin;
use crate::support::{self, Folder, Run, greenloop};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

fn get(folder: &Folder, args: &[&str], urls: &[String]) -> Run {
    let args = ["get"].iter().chain(args).copied();
    let urls = urls.iter().map(String::as_str);
    greenloop(args.chain(urls)).folder(folder.path()).run()
}

fn objects(text: &str) -> Vec<Value> {
    let parsed = text.lines().map(serde_json::from_str::<Value>);
    parsed.map(|line| line.unwrap()).collect()
}

fn events(objects: &[Value]) -> Vec<&str> {
    let events = objects.iter().map(|object| object["event"].as_str());
    events.map(|event| event.unwrap()).collect()
}

/// What a time such as `40.9 ms` says.
fn seconds(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').unwrap();
    let number: f64 = number.parse().unwrap();
    match unit {
        "s" => number,
        "ms" => number / 1e3,
        "us" => number / 1e6,
        _ => panic!("{text}"),
    }
}

#[test]
fn logs_get_plain_lines_and_the_whole_at_the_end() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-2000000", "none", "none-2", "file-1"].map(|name| origin.url(name));
    let run = get(&folder, &["--slowest", "1"], &urls);
    assert_eq!(run.code, 3, "{run:?}");
    let all = run.stdout.clone() + &run.stderr;
    assert!(!all.contains(['\r', '\x1b']), "{all:?}");
    let lines: Vec<_> = run.stdout.lines().collect();
    let sum = lines
        .iter()
        .position(|line| line.starts_with("saved 2 of 4 files, 1.9 MiB in "));
    let sum = sum.unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(sum, 2, "{lines:#?}");
    assert!(
        lines[sum].ends_with("/s; 2 failed (2 not found)"),
        "{lines:#?}"
    );
    assert_eq!(lines[sum + 1], "slowest:");
    // Which of them that is, the disk decides: the last flush counts, too.
    let slowest = lines[sum + 2].rsplit(' ').next().unwrap();
    let taken = |line: &&str| seconds(line.rsplit_once(" in ").unwrap().1);
    let named = lines[..sum].iter().find(|line| line.starts_with(slowest));
    let most = lines[..sum].iter().map(taken).fold(0.0, f64::max);
    assert_eq!(named.map(taken), Some(most), "{lines:#?}");
    assert_eq!(lines[sum + 3], "failed:");
    let group = format!(
        "2 x not found at {}, as {}/none",
        origin.address,
        origin.url("")
    );
    let group = group.replace("//none", "/none");
    assert!(
        lines[sum + 4].trim_start().starts_with(&group),
        "{lines:#?}"
    );
    let again = "to try again what failed: greenloop get --slowest 1 ";
    let again = lines[sum + 5].strip_prefix(again);
    let mut again: Vec<_> = again.unwrap().split(' ').collect();
    again.sort_unstable();
    assert_eq!(again, [&urls[1], &urls[2]]);
}

#[test]
fn quiet_says_errors_only() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let run = get(
        &folder,
        &["-q"],
        &[origin.url("file-7"), origin.url("none")],
    );
    assert_eq!((run.code, run.stdout.as_str()), (3, ""));
    let lines: Vec<_> = run.stderr.lines().collect();
    assert!(
        lines.len() == 1 && lines[0].starts_with("error: "),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-7"]);
}

#[test]
fn json_tells_each_event_in_keys_that_the_help_explains() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let run = get(
        &folder,
        &["--json"],
        &[origin.url("file-7"), origin.url("none")],
    );
    assert_eq!((run.code, run.stderr.as_str()), (3, ""), "{run:?}");
    let objects = objects(&run.stdout);
    let mut told = events(&objects);
    assert_eq!(told.pop(), Some("summary"));
    told.sort_unstable();
    assert_eq!(told, ["done", "failed", "start", "start"]);
    let of = |event: &str| {
        objects
            .iter()
            .find(|object| object["event"] == event)
            .unwrap()
    };
    let done = of("done");
    assert_eq!(done["url"], origin.url("file-7"));
    assert_eq!(done["urlnum"], 0);
    assert_eq!(done["response_code"], 200);
    assert_eq!(done["filename_effective"], "./file-7");
    assert_eq!(
        (&done["size_download"], &done["num_retries"]),
        (&7.into(), &0.into())
    );
    assert_eq!(
        (&done["exitcode"], &done["errormsg"]),
        (&0.into(), &Value::Null)
    );
    assert_eq!(
        (&done["remote_ip"], &done["http_version"]),
        (&"127.0.0.1".into(), &"1.1".into())
    );
    assert_eq!(done["num_redirects"], 0);
    let first_byte = done["time_starttransfer"].as_f64().unwrap();
    assert!(first_byte > 0.0 && first_byte <= done["time_total"].as_f64().unwrap());
    let failed = of("failed");
    assert_eq!(
        (&failed["exitcode"], &failed["response_code"]),
        (&3.into(), &404.into())
    );
    assert_eq!(failed["errormsg"], "status 404: Not Found");
    let summary = of("summary");
    assert_eq!(
        (&summary["exitcode"], &summary["failures"]["not found"]),
        (&3.into(), &1.into())
    );

    let help = greenloop(["get", "--help"]).run();
    for object in &objects {
        assert_eq!(object["version"], 1);
        for key in object.as_object().unwrap().keys() {
            let explained = help
                .stdout
                .lines()
                .any(|line| line.starts_with(&format!("  {key} ")));
            assert!(explained, "{key} is not in the help");
        }
    }
}

#[test]
fn json_says_how_things_stand_while_they_last() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("stall-400000");
    let args = ["get", "--json", "--summary-interval", "10ms", &url];
    let mut get = greenloop(args).folder(folder.path()).start();
    let line = get.line_with("\"running\":1");
    assert_eq!(objects(&line)[0]["event"], "progress");
    get.signal(Signal::INT);
    assert_eq!(get.finish().signal, Some(2));
}

#[test]
fn reports_and_sessions_are_whole_also_after_a_signal() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let args = ["get", "--report", "r", "--save-session", "s", "-q"];
    let urls = ["file-7", "none", "stall-400000"].map(|name| origin.url(name));
    let all = args.iter().copied().chain(urls.iter().map(String::as_str));
    let get = greenloop(all).folder(folder.path()).start();
    origin.stalled.recv_timeout(support::PATIENCE).unwrap();
    // The others have ended when they are in it.
    let part = folder.path().join("r.part");
    let begun = Instant::now();
    while fs::read_to_string(&part).map_or(0, |text| text.lines().count()) < 2 {
        assert!(
            begun.elapsed() < support::PATIENCE,
            "the report does not grow"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!folder.names().contains(&"r".to_owned()));
    get.signal(Signal::TERM);
    let run = get.finish();
    assert_eq!((run.signal, run.stdout.as_str()), (Some(15), ""), "{run:?}");
    let objects = objects(&fs::read_to_string(folder.path().join("r")).unwrap());
    let mut told = events(&objects);
    assert_eq!(told.pop(), Some("summary"));
    told.sort_unstable();
    assert_eq!(told, ["done", "failed", "failed"]);
    let summary = &objects[3];
    assert_eq!(
        (&summary["stopped"], &summary["exitcode"]),
        (&true.into(), &143.into())
    );
    let mut session: Vec<_> = fs::read_to_string(folder.path().join("s"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    session.sort();
    assert_eq!(session, [&*urls[1], &*urls[2]]);
    let names = folder.names();
    assert!(
        !names
            .iter()
            .any(|name| name == "r.part" || name == "s.part"),
        "{names:?}"
    );
}

#[test]
fn a_reader_that_leaves_ends_a_get_that_waits_for_more() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let (input, mut writer) = std::io::pipe().unwrap();
    let get = greenloop(["get", "-i", "-"]).stdin(input);
    let mut get = get.folder(folder.path()).start();
    writeln!(writer, "{}", origin.url("file-3")).unwrap();
    get.line_with("file-3");
    get.stop_reading();
    let id = get.id();
    // Lines until the pipe breaks; the input stays open.
    let writing = std::thread::spawn(move || {
        let url = |n| origin.url(&format!("file-{n}"));
        let mut lines = (4..10_000).map(url);
        let pause = Duration::from_millis(5);
        while writeln!(writer, "{}", lines.next().unwrap()).is_ok() && is_running(id) {
            std::thread::sleep(pause);
        }
    });
    let run = get.finish();
    assert_eq!(run.code, 141, "{run:?}");
    writing.join().unwrap();
}

fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|after| !after.is_empty() && !after.starts_with('Z'))
}

#[test]
fn hooks_get_each_file_and_each_failure_as_arguments() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let complete = "cp -- {path} 'copy of {id} {bytes} {status}'";
    let error = "sh -c 'echo \"$1 $GREENLOOP_ERROR $GREENLOOP_STATUS\" > error' sh";
    let options = ["--on-download-complete", complete, "--on-error", error];
    let run = get(
        &folder,
        &options,
        &[origin.url("file-7"), origin.url("none")],
    );
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(folder.names(), ["copy of 1 7 200", "error", "file-7"]);
    let told = fs::read_to_string(folder.path().join("error")).unwrap();
    let expected = format!("{} status 404: Not Found 404\n", origin.url("none"));
    assert_eq!(told, expected);
}

#[test]
fn hooks_that_fail_or_hang_are_told_and_counted() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = [origin.url("file-7")];
    for (hook, told) in [
        ("sh -c 'exit 3'", "sh: exit status: 3"),
        ("sh -c 'exec sleep 100'", "sh: killed after 50ms"),
    ] {
        let options = ["--on-complete", hook, "--hook-timeout", "50ms"];
        let run = get(&folder, &options, &urls);
        run.fails_with(1, &["the hook for ./file-7", told]);
        assert!(run.stdout.contains("saved 1 of 1 files"), "{run:?}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_hooks() {
    let (origin, folder) = (Origin::start(), Folder::new());
    // Only what says so on purpose keeps our standard error open.
    let hook = "sh -c 'touch begun; exec sleep 20 >/dev/null 2>&1'";
    let urls = [origin.url("file-7"), origin.url("stall-400000")];
    let args = ["get", "--on-complete", hook, &urls[0], &urls[1]];
    let get = greenloop(args).folder(folder.path()).start();
    let begun = Instant::now();
    while !folder.names().contains(&"begun".to_owned()) {
        assert!(begun.elapsed() < support::PATIENCE, "no hook");
        std::thread::sleep(Duration::from_millis(2));
    }
    let begun = Instant::now();
    get.signal(Signal::INT);
    // Another one, lest the two become one.
    get.signal(Signal::TERM);
    let run = get.finish();
    assert!(run.signal.is_some(), "{run:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{run:?}");
    assert!(!run.stderr.contains("interrupted"), "{run:?}");
}

#[test]
fn the_log_tells_what_happens_and_when() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = [origin.url("file-7"), origin.url("none")];
    let run = get(&folder, &["-v", "-j1", "--log", "log"], &urls);
    assert_eq!(run.code, 3, "{run:?}");
    // On standard error is what is there without it.
    assert!(!run.stderr.contains("begins"), "{run:?}");
    let told = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<_> = told
        .lines()
        .filter(|line| line.contains(" INFO "))
        .collect();
    let expected = [
        format!("1: begins: {}", urls[0]),
        "1: file-7: 0 of 7 bytes are here".to_owned(),
        "1: done: ./file-7  7 B in ".to_owned(),
        format!("2: begins: {}", urls[1]),
        format!("2: error: {}: status 404: Not Found", urls[1]),
    ];
    for line in &expected {
        let of = |told: &&str| told.starts_with('[') && told.contains(line.as_str());
        assert_eq!(
            lines.iter().copied().filter(of).count(),
            1,
            "{line}: {told}"
        );
    }
    // It is added to.
    get(&folder, &["-l", "log", "--overwrite"], &urls[..1]).succeeds();
    let longer = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(longer.starts_with(&told) && longer.len() > told.len());
    for place in ["no/such/log", "."] {
        let run = get(&folder, &["--log", place], &urls);
        run.fails_with(16, &["opening the log", place]);
    }
}
