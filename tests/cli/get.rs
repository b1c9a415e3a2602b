//! `greenloop get`: whole files, lists, interrupts, bars.

use crate::origin::{Origin, content};
use crate::support::{self, Folder, Running, greenloop};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn get_saves_whole_files_and_says_so() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-0", "file-1", "file-100000"].map(|name| origin.url(name));
    let run = greenloop(["get"].into_iter().chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run();
    assert!(
        run.succeeds().contains("saved 3 of 3 files, 97.7 KiB in "),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-0", "file-1", "file-100000"]);
    assert_eq!(
        fs::read(folder.path().join("file-100000")).unwrap(),
        content(100_000)
    );
}

/// The tutorial's downloader, in its words.
#[test]
fn get_brief_counts_and_saves_nothing() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-5", "file-1000", "file-100000"].map(|name| origin.url(name));
    let options = ["get", "--no-save", "--brief"].into_iter();
    let run = greenloop(options.chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run();
    let mut lines: Vec<_> = run.succeeds().lines().collect();
    lines.sort_unstable();
    let mut expected = Vec::new();
    for (url, count) in urls.iter().zip([5, 1000, 100_000]) {
        expected.push(format!("GET: {url}"));
        expected.push(format!("{count} bytes received from {url}."));
    }
    expected.sort();
    assert_eq!(lines, expected);
    assert!(folder.names().is_empty());

    let run = greenloop(["get", "--no-save", &urls[0]])
        .folder(folder.path())
        .run();
    let shown = format!("{}  5 B in ", urls[0]);
    assert!(run.succeeds().starts_with(&shown), "{run:?}");
    assert!(run.stdout.contains("received 1 of 1 files, 5 B"), "{run:?}");
    assert!(folder.names().is_empty());
}

#[test]
fn get_brief_failures_are_errors_as_ever() {
    let origin = Origin::start();
    let url = origin.url("none");
    let run = greenloop(["get", "--no-save", "--brief", "--retries", "0", &url]).run();
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (3, format!("GET: {url}\n").as_str())
    );
    assert!(
        run.stderr.starts_with(&format!("error: {url}: ")),
        "{run:?}"
    );
    let run = greenloop(["get", "--no-save", "--out", "x", &url]).run();
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn get_reads_lists_and_names_bad_lines() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let list = folder.path().join("list.txt");
    let text = format!(
        "# a list\n{}\nnonsense\n\n{}\n",
        origin.url("file-5"),
        origin.url("none")
    );
    fs::write(&list, text).unwrap();
    let into = folder.path().join("new/folder");
    let run = greenloop(["get", "--retries", "0", "-i"])
        .arg(&list)
        .arg("-d")
        .arg(&into)
        .run();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("saved 1 of 3 files"), "{run:?}");
    assert!(
        run.stderr.contains("list.txt:3: nonsense: no scheme"),
        "{run:?}"
    );
    assert!(run.stderr.contains("list.txt:5: http://"), "{run:?}");
    assert!(
        run.stderr.lines().all(|line| line.starts_with("error: ")),
        "{run:?}"
    );
    let names = fs::read_dir(&into).unwrap().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    // The journal: the two others are still to be done.
    assert_eq!(
        names,
        [".greenloop.journal", "file-5"],
        "nothing half-written"
    );
    let run = greenloop(["get", "-i", "no-such-list"]).run();
    run.fails_with(2, &["reading no-such-list", "no such file"]);
}

#[test]
fn get_reads_standard_input_and_tells_in_json() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let run = greenloop(["get", "-i", "-", "--json"])
        .input(format!("{}\n{0}\n", origin.url("file-7")))
        .folder(folder.path())
        .run();
    let lines: Vec<Value> = run
        .succeeds()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{run:?}");
    assert_eq!(
        (&lines[1]["end"], &lines[1]["bytes"]),
        (&"saved".into(), &7.into())
    );
    assert_eq!(lines[2]["saved"], 1);
    assert_eq!(lines[2]["duplicates"], 1);
}

#[test]
fn get_out_names_the_file() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("file-9");
    greenloop(["get", &url, "-o", "other.bin"])
        .folder(folder.path())
        .run()
        .succeeds();
    assert_eq!(folder.names(), ["other.bin"]);
    // There already: kept, and the new one is numbered.
    greenloop(["get", &url, "-o", "other.bin"])
        .folder(folder.path())
        .run()
        .succeeds();
    assert_eq!(folder.names(), ["other.1.bin", "other.bin"]);
}

#[test]
fn get_with_unwritable_folders_fails_before_any_request() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").unwrap();
    let into = folder.path().join("file/below");
    let run = greenloop(["get", "http://127.0.0.1:1/x", "-d"])
        .arg(&into)
        .run();
    run.fails_with(16, &["file/below"]);
    let run = greenloop(["get", "http://127.0.0.1:1/x", "-d", "/proc/none"]).run();
    run.fails_with(16, &["/proc/none"]);
}

#[test]
fn get_of_unknown_hosts_and_closed_ports_fails_with_the_reason() {
    let folder = Folder::new();
    let cases = [
        ("http://nosuch.invalid/x", "resolv", 19),
        ("http://127.0.0.1:1/x", "refused", 6),
    ];
    for (url, reason, code) in cases {
        let run = greenloop(["get", "--retries", "0", url])
            .folder(folder.path())
            .run();
        run.fails_with(code, &[url, reason]);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

fn interrupted(origin: &Origin, folder: &Folder) -> Running {
    let urls = [origin.url("file-10"), origin.url("stall-400000")];
    let get = greenloop(["get", &urls[0], &urls[1]]).folder(folder.path());
    let mut get = get.start();
    get.line_with("file-10");
    origin
        .stalled
        .recv_timeout(support::PATIENCE)
        .expect("the origin stalls");
    // What was sent may not have arrived; once more than a buffer has, the file shows it.
    let part = folder.path().join("stall-400000.part");
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) == 0 {
        assert!(start.elapsed() < support::PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
    get
}

#[test]
fn ctrl_c_leaves_a_part_that_the_same_command_resumes() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let get = interrupted(&origin, &folder);
    get.signal(Signal::INT);
    let run = get.finish();
    assert_eq!((run.code, run.signal), (130, Some(2)), "{run:?}");
    assert!(
        run.stderr
            .contains("partial files are kept; the same command goes on"),
        "{run:?}"
    );
    let left = ["file-10", "stall-400000.part", "stall-400000.part.json"];
    assert_eq!(
        folder.names(),
        left,
        "nothing half-written under a final name"
    );

    let urls = [origin.url("file-10"), origin.url("stall-400000")];
    let get = greenloop(["get", &urls[0], &urls[1], "--json"]);
    let run = get.folder(folder.path()).run();
    let told = run.succeeds();
    assert!(
        told.contains("\"skipped\":1") && told.contains("\"saved\":1"),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-10", "stall-400000"]);
    assert_eq!(
        fs::read(folder.path().join("stall-400000")).unwrap(),
        content(400_000)
    );
}

#[test]
fn ctrl_c_ends_a_get_that_waits_for_its_list() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let (input, mut writer) = std::io::pipe().unwrap();
    let get = greenloop(["get", "-i", "-"])
        .stdin(input)
        .folder(folder.path());
    let mut get = get.start();
    writeln!(writer, "{}", origin.url("file-3")).unwrap();
    get.line_with("file-3");
    get.signal(Signal::INT);
    assert_eq!(get.finish().code, 130);
    assert_eq!(folder.names(), ["file-3"]);
}

/// Case 79: the second one brings nothing twice, and says why.
#[test]
fn two_gets_of_one_list_into_one_folder_do_not_both_run() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let first = interrupted(&origin, &folder);
    let urls = [origin.url("file-10"), origin.url("stall-400000")];
    let get = |more: &[&str]| {
        let get = greenloop(["get", &urls[0], &urls[1]].iter().chain(more));
        get.folder(folder.path()).run()
    };
    let before = folder.names();
    let run = get(&[]);
    run.fails_with(
        16,
        &["another run is saving to this folder", "--no-journal"],
    );
    assert_eq!((run.stdout.as_str(), folder.names()), ("", before));
    // Killed, it leaves the folder to the next one, which goes on.
    first.signal(Signal::KILL);
    assert_eq!(first.finish().signal, Some(9));
    let run = get(&["--json", "--timeout", "1"]);
    let told = run.succeeds();
    assert!(
        told.contains("\"skipped\":1") && told.contains("\"saved\":1"),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-10", "stall-400000"]);
}
