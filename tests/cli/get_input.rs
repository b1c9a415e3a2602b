//! `greenloop get`: lists in their formats, patterns, lists that are still written.

use crate::origin::{Origin, content};
use crate::support::{Folder, greenloop};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn write(folder: &Folder, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.path().join(name), text).expect("the folder is ours");
}

fn is_whole(path: &Path, bytes: usize) -> bool {
    fs::read(path).expect("it is there") == content(bytes)
}

#[test]
fn get_reads_lists_of_every_format() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = |bytes: usize| origin.url(&format!("file-{bytes}"));
    write(&folder, "urls", format!("# plain\n{}\n", url(1)));
    write(
        &folder,
        "aria2",
        format!("{}\t{}\n  split=4\n  header=X-A: b\n", url(2), url(3)),
    );
    write(&folder, "jsonl", format!("{{\"url\": \"{}\"}}\n", url(4)));
    let sum = "d41d8cd98f00b204e9800998ecf8427e"; // of nothing
    write(&folder, "sums", format!("{sum}  {}\n", url(0)));
    let link = format!(
        "<metalink><file name=\"file-6\"><url>{}</url></file></metalink>",
        url(6)
    );
    write(&folder, "link.meta4.gz", gzip(link.as_bytes()));
    let lists = ["urls", "aria2", "jsonl", "sums", "link.meta4.gz"];
    let run = greenloop(["get", "-d", "new"].into_iter().map(str::to_owned))
        .arg(url(7))
        .arg("-i")
        .arg(lists[0]);
    let run = lists[1..]
        .iter()
        .fold(run, |run, list| run.arg("-i").arg(list));
    let run = run.folder(folder.path()).run();
    assert!(run.succeeds().contains("saved 6 of 6 files"), "{run:?}");
    for bytes in [0, 1, 2, 4, 6, 7] {
        let path = folder.path().join(format!("new/file-{bytes}"));
        assert!(is_whole(&path, bytes), "{bytes}");
    }
}

#[test]
fn get_names_what_is_bad_in_a_list_by_its_line() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("file-5");
    let long = "x".repeat(1 << 20);
    write(
        &folder,
        "a",
        format!("{url}\n{url}?1\n colour=red\n{long}\n"),
    );
    write(&folder, "b", format!("{{\"url\": \"{url}\"}}\n{{\n"));
    write(
        &folder,
        "c",
        format!("<metalink>\n<file name=\"../x\"><url>{url}</url></file>"),
    );
    let run = greenloop(["get", "-i", "a", "-i", "b", "-i", "c"])
        .folder(folder.path())
        .run();
    assert_ne!(run.code, 0, "{run:?}");
    for told in [
        "a:3: http://",
        "option \"colour\" is not known",
        "a:4: xxxxx",
        "line is longer than 65536 bytes",
        "b:2: {: not JSON",
        "c:2: ../x: its name leads out of the folder",
        "c:2: Metalink: the document breaks off",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:?}");
    }
    assert!(run.stdout.contains("saved 1 of 6 files"), "{run:?}");
}

#[test]
fn get_reads_the_other_lists_when_one_breaks() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let packed = gzip(b"# nothing\n");
    write(&folder, "broken.gz", &packed[..packed.len() - 1]);
    write(&folder, "whole", origin.url("file-5"));
    let run = greenloop(["get", "-i", "broken.gz", "-i", "whole"])
        .folder(folder.path())
        .run();
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("reading broken.gz"), "{run:?}");
    assert!(is_whole(&folder.path().join("file-5"), 5));
}

#[test]
fn get_takes_the_format_that_it_is_told() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let list = format!("{}\n  split=4\n", origin.url("file-5"));
    let run = |format| {
        greenloop([
            "get",
            "--existing",
            "overwrite",
            "-i",
            "-",
            "--input-format",
            format,
        ])
        .input(list.clone())
        .folder(folder.path())
        .run()
    };
    run("auto").succeeds();
    run("aria2").succeeds();
    let urls = run("urls");
    assert_ne!(urls.code, 0, "{urls:?}");
    let told = "standard input:2: split=4: no scheme";
    assert!(urls.stderr.contains(told), "{urls:?}");
    run("xml").fails_with(2, &["xml", "jsonl"]);
}

#[test]
fn get_starts_before_its_list_ends() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let (list, mut writer) = std::io::pipe().unwrap();
    let mut get = greenloop(["get", "-i", "-"])
        .stdin(list)
        .folder(folder.path())
        .start();
    for bytes in 1..4 {
        writeln!(writer, "{}", origin.url(&format!("file-{bytes}"))).unwrap();
        get.line_with(&format!("file-{bytes}"));
    }
    drop(writer);
    assert_eq!(get.finish().code, 0);
    assert_eq!(folder.names(), ["file-1", "file-2", "file-3"]);
}

#[test]
fn get_reads_an_endless_list_as_slots_free_up() {
    const DONE: u64 = 100;
    let (origin, folder) = (Origin::start(), Folder::new());
    let (list, mut writer) = std::io::pipe().unwrap();
    let mut get = greenloop(["get", "--no-save", "-i", "-"])
        .stdin(list)
        .folder(folder.path())
        .start();
    let written = Arc::new(AtomicU64::new(0));
    let writing = {
        let (written, url) = (written.clone(), origin.url("file-1"));
        std::thread::spawn(move || {
            while writeln!(writer, "{url}?{}", written.load(Ordering::SeqCst)).is_ok() {
                written.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for _ in 0..DONE {
        get.line_with("file-1?");
    }
    let taken = written.load(Ordering::SeqCst);
    get.signal(Signal::INT);
    assert_ne!(get.finish().code, 0);
    writing.join().unwrap();
    // The pipe's 64 KiB hold some 1600 lines, as many more stand in that of the output; few
    // hundreds are read ahead.
    assert!(taken < DONE + 5000, "{taken}");
}

#[test]
fn get_takes_patterns_if_asked() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let pattern = origin.url("file-{1,2}[0-1]");
    let get = |more: &[&str]| {
        greenloop(["get", &pattern].iter().chain(more))
            .folder(folder.path())
            .run()
    };
    let run = get(&["--glob", "--no-save"]);
    assert!(
        run.succeeds().contains("received 4 of 4 files, 62 B"),
        "{run:?}"
    );
    let run = get(&["--parameterized-uri=true"]);
    assert!(run.succeeds().contains("saved 4 of 4 files"), "{run:?}");
    assert_eq!(folder.names(), ["file-10", "file-11", "file-20", "file-21"]);
    // As it is, it is the name of nothing.
    for more in [&["--retries", "0"][..], &["--retries", "0", "--glob=false"]] {
        let run = get(more);
        assert_ne!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("file-%7B1,2%7D[0-1]"), "{run:?}");
    }
    get(&["--glob", "-o", "x"]).fails_with(2, &["stands for 4: put #1 in it"]);
    greenloop(["get", "--glob", "http://h/[1-99999999]"])
        .run()
        .fails_with(2, &["more than 10000000 URLs"]);
    greenloop(["get", "--glob", "h/[1-9]"])
        .run()
        .fails_with(2, &["\"h/1\": no scheme"]);
}
