//! Random files through random faults: what is saved is one of the versions that the
//! server had, bit for bit; everything else is a failure, and leaves nothing but what the
//! next run goes on from.
//!
//! `GREENLOOP_FAULTS_SEED` begins with another seed and `GREENLOOP_FAULTS_SECONDS` takes
//! longer; a failure names the seed of its round.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use super::*;
use crate::dice::Dice;
use crate::faulty::Faulty;

/// Files of a round.
const FILES: usize = 8;

#[test]
fn what_is_saved_is_whole_whatever_the_server_does() {
    let number = |name| env::var(name).ok().map(|n| n.parse().expect("a number"));
    let first: u64 = number("GREENLOOP_FAULTS_SEED").unwrap_or(1);
    let seconds = number("GREENLOOP_FAULTS_SECONDS").unwrap_or(3);
    let begun = Instant::now();
    let mut seen = Seen::default();
    for seed in first.. {
        seen.add(round(seed));
        let is_enough = seen.shows_something() || seen.rounds == ROUNDS_MAX;
        if is_enough && begun.elapsed().as_secs() >= seconds {
            break;
        }
    }
    println!("{seen:?}");
    assert!(seen.shows_something(), "{seen:?}");
}

/// After so many rounds there was everything that there can be.
const ROUNDS_MAX: u64 = 60;

/// What became of the files, so that the test shows what it has tested.
#[derive(Debug, Default)]
struct Seen {
    rounds: u64,
    saved: u64,
    failed: u64,
    /// Requests for a rest.
    resumed: u64,
    faults: u64,
}

impl Seen {
    /// Or the faults are none, or nothing gets through them.
    fn shows_something(&self) -> bool {
        self.saved > 0 && self.failed > 0 && self.resumed > 0 && self.faults > self.failed
    }

    fn add(&mut self, other: Self) {
        self.rounds += 1;
        self.saved += other.saved;
        self.failed += other.failed;
        self.resumed += other.resumed;
        self.faults += other.faults;
    }
}

/// One run through faults, and one without them that brings the rest.
fn round(seed: u64) -> Seen {
    let mut dice = Dice::new(seed);
    let server = Arc::new(Faulty::new(FILES, &mut dice));
    let is_faulty = Arc::new(AtomicBool::new(true));
    let asked_for_rest = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start({
        let (server, is_faulty, rest) = (server.clone(), is_faulty.clone(), asked_for_rest.clone());
        move |request, wire| {
            if request.range().is_some() {
                rest.fetch_add(1, Ordering::SeqCst);
            }
            server.answer(request, wire, is_faulty.load(Ordering::SeqCst))
        }
    });
    let folder = Folder::new();
    let at_once = if dice.one_in(2) { 1 } else { 4 };
    let urls: Vec<_> = (0..FILES).map(|n| origin.url(&format!("/{n}"))).collect();
    let segments = if dice.one_in(2) { 1 } else { 4 };
    let about = format!("seed {seed}, {at_once} at once, {segments} segments");
    let downloader = downloader(&folder)
        .jobs(at_once)
        .split(segments)
        .split_min(10_000);
    let report = downloader.run(urls.clone()).unwrap();
    let failed = check(&server, &folder, &report, &about);

    is_faulty.store(false, Ordering::SeqCst);
    let again = failed.iter().map(|n| urls[*n].clone());
    let healed = downloader.run(again).unwrap();
    assert!(healed.is_success(), "{about}: {healed:?}");
    check_healed(&server, &folder, &healed, &about);
    Seen {
        saved: report.saved,
        failed: report.failed,
        resumed: asked_for_rest.load(Ordering::SeqCst) as u64,
        faults: server.faults(),
        ..Seen::default()
    }
}

/// Which file an outcome is about.
fn number_of(outcome: &Outcome) -> usize {
    let (_, number) = outcome.url.rsplit_once('/').unwrap();
    number.parse().unwrap()
}

/// Compares everything in the folder; returns which files failed.
fn check(server: &Faulty, folder: &Folder, report: &Report, about: &str) -> Vec<usize> {
    let mut files = folder.files();
    let mut failed = Vec::new();
    assert_eq!(report.outcomes.len(), FILES, "{about}");
    for outcome in &report.outcomes {
        let n = number_of(outcome);
        let found = files.remove(&n.to_string());
        match &outcome.end {
            End::Saved => {
                let found = found.unwrap_or_else(|| panic!("{about}: {n} is not there"));
                assert!(
                    server.has_served(n, &found),
                    "{about}: {n} is none of its versions: {outcome:?}"
                );
            }
            End::Failed(_) => {
                assert!(found.is_none(), "{about}: {n} failed and is there");
                files.remove(&format!("{n}.part"));
                files.remove(&format!("{n}.part.json"));
                failed.push(n);
            }
            _ => panic!("{about}: {outcome:?}"),
        }
    }
    files.remove(JOURNAL);
    assert!(files.is_empty(), "{about}: left behind: {:?}", files.keys());
    failed
}

/// After a run without faults: the newest versions, and nothing else.
fn check_healed(server: &Faulty, folder: &Folder, healed: &Report, about: &str) {
    let mut files = folder.files();
    for outcome in &healed.outcomes {
        let n = number_of(outcome);
        assert!(
            files[&n.to_string()] == server.newest(n),
            "{about}: {n}, resumed, is not the newest version: {outcome:?}"
        );
    }
    files.remove(JOURNAL);
    let names: Vec<_> = (0..FILES).map(|n| n.to_string()).collect();
    assert_eq!(files.into_keys().collect::<Vec<_>>(), names, "{about}");
}

/// The notes of the runs into a folder.
const JOURNAL: &str = ".greenloop.journal";
