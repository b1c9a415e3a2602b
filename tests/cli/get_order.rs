//! In which order `greenloop get` has things on the disk, seen by `strace`: nothing is told
//! that a power failure could make untrue.

use crate::paced::{MIB, Paced, content};
use crate::support::{Folder, peer, peer_program};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const CALLS: &str = "trace=write,pwrite64,fdatasync,syncfs,renameat2";

/// The disk, as far as the calls of a run tell.
#[derive(Default)]
struct Disk {
    /// What was written to each file, start and end; and of that what is on the disk.
    written: HashMap<String, Vec<(u64, u64)>>,
    synced: HashMap<String, Vec<(u64, u64)>>,
    /// What a flush that has begun will have on the disk, by thread.
    flushing: HashMap<String, HashMap<String, Vec<(u64, u64)>>>,
    /// Files of which the journal tells.
    journalled: HashSet<String>,
    notes: usize,
    renames: usize,
}

impl Disk {
    /// A call that begins; `named` is the file's name, and `text` what stands behind it.
    fn begins(&mut self, thread: &str, call: &str, named: &str, text: &str) {
        match call {
            "write" if named.ends_with(".part.json") => self.notes_of_a_part(named, text),
            "fdatasync" => {
                let one = self.written.get_key_value(named);
                let one = one.map(|(name, bytes)| (name.clone(), bytes.clone()));
                self.flushing
                    .insert(thread.to_owned(), one.into_iter().collect());
            }
            "syncfs" => {
                let all = self.written.clone();
                self.flushing.insert(thread.to_owned(), all);
            }
            "renameat2" => self.gets_its_name(text),
            _ => {}
        }
    }

    /// A call that has succeeded.
    fn ends(&mut self, thread: &str, call: &str, named: &str, text: &str) {
        match call {
            "pwrite64" => {
                // `…, 1000, 0)   = 1000`: wished for, place, written.
                let (before, written) = text.rsplit_once(" = ").unwrap();
                let before = before.trim_end().trim_end_matches(')');
                let place: u64 = before.rsplit(", ").next().unwrap().parse().unwrap();
                let end = place + written.trim().parse::<u64>().unwrap();
                self.written
                    .entry(named.to_owned())
                    .or_default()
                    .push((place, end));
            }
            "fdatasync" | "syncfs" => {
                self.synced
                    .extend(self.flushing.remove(thread).unwrap_or_default());
            }
            "write" if named == ".greenloop.journal" => {
                for line in unquoted(text).lines() {
                    let line: Value = serde_json::from_str(line).unwrap();
                    self.journalled
                        .insert(line["path"].as_str().unwrap().to_owned());
                }
            }
            _ => {}
        }
    }

    /// What is told of a part is on the disk.
    fn notes_of_a_part(&mut self, named: &str, text: &str) {
        let line: Value = serde_json::from_str(&unquoted(text)).unwrap();
        let Some(done) = line["done"].as_array() else {
            return;
        };
        let part = named.strip_suffix(".json").unwrap();
        for range in done {
            let (start, end) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
            assert!(
                covers(self.synced.get(part), start, end),
                "{part}: {start}-{end} is told of and not on the disk"
            );
        }
        self.notes += 1;
    }

    /// A file that gets its name is on the disk and in the journal.
    fn gets_its_name(&mut self, text: &str) {
        let mut names = text.split('"').skip(1).step_by(2);
        let (from, to) = (names.next().unwrap(), names.next().unwrap());
        for (start, end) in &self.written[from] {
            assert!(
                covers(self.synced.get(from), *start, *end),
                "{to}: {start}-{end} is not on the disk"
            );
        }
        assert!(self.journalled.contains(to), "{to} is not in the journal");
        self.renames += 1;
    }
}

/// Whether the pieces hold all of `start..end`.
fn covers(pieces: Option<&Vec<(u64, u64)>>, start: u64, end: u64) -> bool {
    let mut pieces = pieces.cloned().unwrap_or_default();
    pieces.sort_unstable();
    let reached = pieces
        .into_iter()
        .fold(start, |reached, piece| match piece.0 <= reached {
            true => reached.max(piece.1),
            false => reached,
        });
    reached >= end
}

/// The text between the first quotes, as it was before it was quoted.
fn unquoted(text: &str) -> String {
    let (from, to) = (text.find('"').unwrap(), text.rfind('"').unwrap());
    serde_json::from_str(&text[from..=to]).unwrap()
}

/// Holds the calls against the rules, each where it begins and where it ends.
fn replay(trace: &str, folder: &Path) -> Disk {
    let mut disk = Disk::default();
    // The first half of calls that ended later than others, by thread.
    let mut begun: HashMap<&str, &str> = HashMap::new();
    for line in trace.lines() {
        let (thread, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("<... ") {
            let first = begun.remove(thread).unwrap();
            let rest = rest.split_once("resumed>").unwrap().1;
            ends(&mut disk, thread, &format!("{first}{rest}"), folder);
        } else if let Some(first) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
            parse(first, folder, |call, named, text| {
                disk.begins(thread, call, named, text);
            });
        } else {
            parse(line, folder, |call, named, text| {
                disk.begins(thread, call, named, text);
            });
            ends(&mut disk, thread, line, folder);
        }
    }
    disk
}

fn ends(disk: &mut Disk, thread: &str, line: &str, folder: &Path) {
    let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
    if result.starts_with(['-', '?']) {
        return;
    }
    parse(line, folder, |call, named, text| {
        disk.ends(thread, call, named, text);
    });
}

/// Takes `call(3</folder/name>…` apart; calls about files elsewhere are no matter here.
fn parse(line: &str, folder: &Path, mut take: impl FnMut(&str, &str, &str)) {
    let Some((call, rest)) = line.split_once('(') else {
        return;
    };
    let named = rest
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let Some((path, text)) = named else {
        return;
    };
    if let Ok(name) = Path::new(path).strip_prefix(folder) {
        take(call, name.to_str().unwrap(), text);
    }
}

/// Case 77: bytes are on the disk before the notes tell of them, and a file gets its name
/// when it is on the disk and in the journal.
#[test]
fn nothing_is_told_before_it_is_on_the_disk() {
    const SMALL: usize = 40;
    let Some(strace) = peer("strace") else {
        return;
    };
    let usable = Command::new(&strace)
        .args(["-o", "/dev/null", "true"])
        .output();
    if !usable.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: the order of writes, as strace may not trace here");
        return;
    }
    let (large, small) = (
        Paced::start(content(6 * MIB, 1)),
        Paced::start(content(5000, 2)),
    );
    let folder = Folder::new();
    let into = folder.path().join("into");
    let mut list = format!("{}\n{}\n", large.url("/one"), large.url("/two"));
    for n in 0..SMALL {
        list += &(small.url(&format!("/f{n}")) + "\n");
    }
    fs::write(folder.path().join("list"), list).unwrap();
    let options = [
        "-f",
        "-y",
        "-qq",
        "-s",
        "20000",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
        "trace",
    ];
    let run = peer_program(strace.to_str().unwrap(), options)
        .arg(env!("CARGO_BIN_EXE_greenloop"))
        .args(["get", "-s", "2", "-k", "1M", "-i", "list", "-d", "into"])
        .folder(folder.path())
        .run();
    assert_eq!(run.code, 0, "{run:?}");
    let trace = fs::read(folder.path().join("trace")).unwrap();
    let into = into.canonicalize().unwrap();
    let disk = replay(&String::from_utf8_lossy(&trace), &into);
    assert_eq!(disk.renames, SMALL + 2);
    // Of each large file at least once, behind its first MiB.
    assert!(
        disk.notes >= 2,
        "only {} notes of what is there",
        disk.notes
    );
}
