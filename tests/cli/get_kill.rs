//! `greenloop get` killed at any byte: what is there is whole, the rest is gone on with.
//!
//! `GREENLOOP_KILL_SEED` begins with another seed, `GREENLOOP_KILLS` is their number; a
//! failure names the seed.

use crate::dice::Dice;
use crate::paced::{MIB, Paced, content};
use crate::support::{Folder, Running, greenloop};
use rustix::process::Signal;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Bytes of the large file.
const LARGE: usize = 24 * MIB;

/// What may be fetched again after a kill: what had not been written down yet, a MiB, and
/// what came while that was under way.
const AGAIN_MAX: usize = 4 * MIB;

#[test]
fn killed_fifty_times_at_any_byte_a_large_file_is_whole_in_the_end() {
    let seed = number("GREENLOOP_KILL_SEED", 1);
    let kills_wanted = number("GREENLOOP_KILLS", 50);
    let mut dice = Dice::new(seed);
    let mut kills = 0;
    for file in 0.. {
        // Every other one in segments.
        let segments = if file % 2 == 0 { "1" } else { "4" };
        kills += kill_until_whole(segments, &mut dice, kills_wanted - kills, seed);
        if kills >= kills_wanted {
            break;
        }
    }
}

/// Downloads one file, with at most `kills_max` kills; returns how many there were.
fn kill_until_whole(segments: &str, dice: &mut Dice, kills_max: u64, seed: u64) -> u64 {
    let origin = Paced::start(content(LARGE, dice.roll()));
    let folder = Folder::new();
    let url = origin.url("/large");
    let final_name = folder.path().join("large");
    let about = format!("seed {seed}, {segments} segments");
    let start = || {
        let args = ["get", "-s", segments, "-k", "1M", &url];
        greenloop(args).folder(folder.path()).start()
    };
    let mut kills = 0;
    let mut sent_to_killed = 0;
    while kills < kills_max {
        let before = origin.sent();
        let requests = origin.requests().len();
        let part = folder.path().join("large.part");
        let there = fs::metadata(&part).map_or(0, |part| part.len() as usize);
        let run = start();
        origin.wait_until(before + dice.below(3 * MIB), || final_name.exists());
        let run = kill(run);
        sent_to_killed += origin.sent() - before;
        if segments == "1"
            && let Some(first) = origin.requests().get(requests)
        {
            assert!(
                first.start + AGAIN_MAX >= there,
                "{about}: of {there} bytes {} were kept",
                first.start
            );
        }
        assert_whole_if_there(&final_name, &origin.content, &about);
        if run.code == 0 {
            break;
        }
        assert_eq!(run.code, 137, "{about}: {run:?}");
        kills += 1;
        if final_name.exists() {
            // Killed behind its last byte: the notes of the run may still be there.
            break;
        }
    }
    if names(folder.path()) != ["large"] {
        let run = start().finish();
        assert_eq!(run.code, 0, "{about}: {run:?}");
    }
    assert_whole_if_there(&final_name, &origin.content, &about);
    assert_only_files(folder.path(), &["large"], &about);
    assert!(
        sent_to_killed <= LARGE + kills as usize * 2 * AGAIN_MAX,
        "{about}: {sent_to_killed} bytes were sent"
    );
    kills
}

/// How many small files there are, and how long each is.
const SMALL_FILES: usize = 300;
const SMALL: usize = 10_000;

/// No half file under a final name, none fetched twice that was told to be there, none
/// forgotten, none twice on the disk.
#[test]
fn killed_in_the_middle_a_list_is_completed_by_the_same_command() {
    let seed = number("GREENLOOP_KILL_SEED", 1);
    let mut dice = Dice::new(seed);
    let about = format!("seed {seed}");
    let origin = Paced::start(content(SMALL, seed));
    let folder = Folder::new();
    let list: String = (0..SMALL_FILES)
        .map(|n| origin.url(&format!("/f{n}")) + "\n")
        .collect();
    fs::write(folder.path().join("list"), list).unwrap();
    let into = folder.path().join("into");
    let start = || {
        greenloop(["get", "-j", "16", "-i", "list", "-d", "into"])
            .folder(folder.path())
            .start()
    };
    // The names that each run told, and how many requests there were before the next one.
    let mut told: HashMap<String, usize> = HashMap::new();
    for n in 0..10 {
        let wanted = origin.sent() + dice.below(SMALL_FILES * SMALL / 8);
        let mut run = start();
        // What there is may be less than what is waited for.
        origin.wait_until(wanted, || finals(&into).len() == SMALL_FILES);
        if n % 2 == 0 {
            // Files are told of some time after they have come.
            run.line();
        }
        let run = kill(run);
        let requests = origin.requests().len();
        for line in run.stdout.lines() {
            if let Some((path, _)) = line.split_once("  ") {
                let name = path.trim_start_matches("into/");
                told.entry(name.to_owned()).or_insert(requests);
            }
        }
        for name in finals(&into) {
            assert_whole_if_there(&into.join(&name), &origin.content, &about);
        }
    }
    let run = start().finish();
    assert_eq!(run.code, 0, "{about}: {run:?}");
    let expected: Vec<_> = (0..SMALL_FILES).map(|n| format!("f{n}")).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_only_files(&into, &expected, &about);
    for name in &expected {
        assert_whole_if_there(&into.join(name), &origin.content, &about);
    }
    assert!(
        told.len() > 2,
        "{about}: the kills came too early to show anything: {told:?}"
    );
    for (n, request) in origin.requests().iter().enumerate() {
        let name = request.path.trim_start_matches('/');
        let told_before = told.get(name).is_some_and(|requests| *requests <= n);
        assert!(
            !told_before,
            "{about}: {name} was told to be there and fetched again"
        );
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Ends it as a crash does.
fn kill(run: Running) -> crate::support::Run {
    run.signal(Signal::KILL);
    run.finish()
}

#[track_caller]
fn assert_whole_if_there(path: &Path, content: &[u8], about: &str) {
    if let Ok(found) = fs::read(path) {
        assert!(found == content, "{about}: {} is not whole", path.display());
    }
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Names in a folder that are no work in progress.
fn finals(folder: &Path) -> Vec<String> {
    let mut names = names(folder);
    names.retain(|name| !name.starts_with('.') && !name.contains(".part"));
    names
}

#[track_caller]
fn assert_only_files(folder: &Path, expected: &[&str], about: &str) {
    let found = names(folder);
    let mut more = found
        .iter()
        .filter(|name| !expected.contains(&name.as_str()));
    assert_eq!(more.next(), None, "{about}: is more than was asked for");
    assert_eq!(found.len(), expected.len(), "{about}: there are {found:?}");
}
