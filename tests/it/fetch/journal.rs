//! The journal: what an interrupted run has left to do, and what it does not tell.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use greenloop::fetch::{Checksum, Entry, Event, Existing, Failure};

use super::*;

const JOURNAL: &str = ".greenloop.journal";

/// Answers each path with its own bytes; `/stalled` does not answer the first time.
fn origin() -> Origin {
    Origin::start(|request, wire| match (&*request.path, request.nth) {
        ("/stalled", 0) => Then::Stall,
        (path, _) => wire.answer("200 OK", &["ETag: \"a\""], &body(path)),
    })
}

fn body(path: &str) -> Vec<u8> {
    content(1000, path.bytes().map(u32::from).sum::<u32>() << 16)
}

/// A run of `entries` that is stopped when all of them are saved, but `/stalled` is not.
fn interrupted(downloader: Downloader, origin: &Origin, entries: Vec<Entry>) {
    let left = AtomicUsize::new(entries.len());
    let stop = downloader.stop_handle();
    let downloader = downloader.observer(move |_: u64, event: &Event<'_>| {
        if matches!(event, Event::Done(_)) && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            stop.stop();
        }
    });
    let saved = entries.len() as u64;
    let stalled = Entry::from(origin.url("/stalled"));
    let report = downloader
        .run(entries.into_iter().chain([stalled]))
        .unwrap();
    assert!(report.is_stopped, "{report:?}");
    assert_eq!((report.saved, report.failed), (saved, 1));
}

fn entries<const N: usize>(origin: &Origin, paths: [&str; N]) -> Vec<Entry> {
    paths.map(|path| Entry::from(origin.url(path))).into()
}

fn has_journal(folder: &Folder) -> bool {
    folder.path().join(JOURNAL).exists()
}

#[test]
fn a_list_is_gone_on_with_where_it_was_interrupted() {
    let (folder, origin) = (Folder::new(), origin());
    let first = entries(&origin, ["/a", "/b", "/c"]);
    interrupted(downloader(&folder), &origin, first);
    assert!(has_journal(&folder));
    let asked = origin.requests().len();
    let all = entries(&origin, ["/a", "/b", "/c", "/stalled", "/d"]);
    let report = downloader(&folder).run(all).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((report.saved, report.skipped), (2, 3));
    let mut paths: Vec<_> = origin.requests().split_off(asked);
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    let paths: Vec<_> = paths.iter().map(|request| &*request.path).collect();
    assert_eq!(paths, ["/d", "/stalled"]);
    let names = ["a", "b", "c", "d", "stalled"];
    let bodies = names.map(|name| body(&format!("/{name}")));
    let expected: Vec<_> = names
        .into_iter()
        .zip(bodies.iter().map(Vec::as_slice))
        .collect();
    folder.assert_holds(&expected);
    assert!(!has_journal(&folder), "everything is done");
}

#[test]
fn another_list_leaves_the_journal_to_the_one_that_was_interrupted() {
    let (folder, origin) = (Folder::new(), origin());
    interrupted(downloader(&folder), &origin, entries(&origin, ["/a", "/b"]));
    let other = entries(&origin, ["/other", "/a"]);
    assert!(downloader(&folder).run(other).unwrap().is_success());
    assert!(has_journal(&folder), "b is told of there only");
    let all = entries(&origin, ["/a", "/b", "/stalled"]);
    let report = downloader(&folder).run(all).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((report.saved, report.skipped), (1, 2));
    assert_eq!(folder.names(), ["a", "b", "other", "stalled"]);
}

/// Case 79, in one process.
#[test]
fn a_folder_has_one_run_at_a_time() {
    let (folder, origin) = (Folder::new(), origin());
    let other = Mutex::new(Some((downloader(&folder), origin.url("/b"))));
    let refused = Arc::new(Mutex::new(None));
    let error = refused.clone();
    let observer = move |_: u64, event: &Event<'_>| {
        if matches!(event, Event::Done(_))
            && let Some((other, url)) = other.lock().unwrap().take()
        {
            let run = std::thread::spawn(move || other.run([url]).unwrap_err());
            *error.lock().unwrap() = Some(run.join().unwrap());
        }
    };
    let first = entries(&origin, ["/a", "/c"]);
    let run = downloader(&folder).jobs(1).observer(observer).run(first);
    assert!(run.unwrap().is_success());
    let error = refused.lock().unwrap().take().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("another run") && text.contains(&*folder.path().to_string_lossy()),
        "{text}"
    );
    let failure = std::error::Error::source(&error).unwrap();
    let failure = failure.downcast_ref::<Failure>().unwrap();
    assert_eq!(failure.kind(), FailureKind::CannotCreate);
    let paths = |origin: &Origin| origin.requests().len();
    assert_eq!(paths(&origin), 2, "the other one asked for nothing");
    // And the next one has it, right after the end of the first.
    let report = downloader(&folder).run(entries(&origin, ["/b"])).unwrap();
    assert!(report.is_success());
    assert!(!has_journal(&folder));
}

#[test]
fn one_url_under_two_names_is_two_files() {
    let (folder, origin) = (Folder::new(), origin());
    let f = || Entry::from(origin.url("/f"));
    interrupted(downloader(&folder), &origin, vec![f().out("b")]);
    let all = vec![f().out("a"), f().out("b"), f().dir("sub").out("b"), f()];
    let report = downloader(&folder).run(all).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((report.saved, report.skipped), (3, 1));
    let body = body("/f");
    folder.assert_holds(&[("a", &body), ("b", &body), ("f", &body)]);
    let below = std::fs::read(folder.path().join("sub/b")).unwrap();
    assert!(below == body);
}

#[test]
fn the_name_of_the_run_tells_files_apart_as_well() {
    let (folder, origin) = (Folder::new(), origin());
    interrupted(downloader(&folder), &origin, entries(&origin, ["/f"]));
    let named = || {
        let run = downloader(&folder).out_name("x").run([origin.url("/f")]);
        only(run.unwrap())
    };
    assert_saved(&named());
    assert_eq!(folder.names(), ["f", "x"]);
    assert!(
        matches!(named().end, End::Skipped),
        "the journal is kept for f"
    );
}

#[test]
fn what_was_done_before_is_held_against_its_checksum() {
    let right = body("/f");
    let sum = |body: &[u8]| -> Checksum {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(body);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha-256={hex}").parse().unwrap()
    };
    for existing in [Existing::Number, Existing::Overwrite] {
        for is_changed in [false, true] {
            let (folder, origin) = (Folder::new(), origin());
            interrupted(downloader(&folder), &origin, entries(&origin, ["/f"]));
            let mut there = right.clone();
            if is_changed {
                there[7] ^= 1;
                folder.write("f", &there);
            }
            let entry = Entry::from(origin.url("/f")).checksum(sum(&right));
            let run = downloader(&folder).existing(existing).run([entry]);
            let outcome = only(run.unwrap());
            let about = format!("{existing:?} {is_changed} {outcome:?}");
            assert_eq!(matches!(outcome.end, End::Skipped), !is_changed, "{about}");
            match (existing, is_changed) {
                (Existing::Number, true) => folder.assert_holds(&[("f", &there), ("f.1", &right)]),
                _ => folder.assert_holds(&[("f", &right)]),
            }
        }
    }
}

/// The server is asked, and what is the same is not fetched again.
#[test]
fn what_is_to_be_replaced_is_not_done_before() {
    let origin = Origin::start(|request, wire| match (&*request.path, request.nth) {
        ("/stalled", 0) => Then::Stall,
        ("/new", 1..) => wire.answer("200 OK", &["ETag: \"b\""], &content(1000, 9)),
        (path, _) => wire.answer("200 OK", &["ETag: \"a\""], &body(path)),
    });
    let folder = Folder::new();
    interrupted(
        downloader(&folder),
        &origin,
        entries(&origin, ["/new", "/old"]),
    );
    let replacing = downloader(&folder).existing(Existing::Overwrite);
    let report = replacing.run(entries(&origin, ["/new", "/old"])).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((report.saved, report.skipped), (1, 1));
    folder.assert_holds(&[("new", &content(1000, 9)), ("old", &body("/old"))]);
}
