//! Files that are there: what proves that they are the server's, and what asks for newer
//! ones.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use greenloop::fetch::{Checksum, Entry, Existing};
use greenloop::proto::http::parse_date;

use super::*;

const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// Dates of change are believed if the answer is from later.
const NOW: &str = "Date: Tue, 06 Nov 2001 08:49:37 GMT";
const LATER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

/// An answer with a date of change.
fn dated(wire: &mut Wire, date: &str, body: &[u8]) -> Then {
    wire.answer("200 OK", &[&format!("Last-Modified: {date}"), NOW], body)
}

fn set_date(folder: &Folder, name: &str, date: &str) {
    let file = File::options()
        .write(true)
        .open(folder.path().join(name))
        .unwrap();
    file.set_modified(parse_date(date).unwrap()).unwrap();
}

fn date_of(folder: &Folder, name: &str) -> SystemTime {
    folder
        .path()
        .join(name)
        .metadata()
        .unwrap()
        .modified()
        .unwrap()
}

/// Asks for `/f` only if the server has a newer one.
fn newer(folder: &Folder, origin: &Origin) -> Outcome {
    let newer = downloader(folder).newer(true);
    only(newer.run([origin.url("/f")]).unwrap())
}

#[track_caller]
fn assert_skipped(outcome: &Outcome) {
    assert!(matches!(outcome.end, End::Skipped), "{outcome:?}");
}

#[test]
fn files_get_the_servers_date_where_that_is_wanted() {
    let origin = Origin::start(|request, wire| match request.path.as_str() {
        "/future" => dated(wire, "Fri, 01 Jan 2094 00:00:00 GMT", b"x"),
        "/none" => wire.answer("200 OK", &[], b"x"),
        "/large" => dated(wire, CHANGED, &content(200_000, 1)),
        _ => dated(wire, CHANGED, b"x"),
    });
    let urls = || ["/small", "/large", "/future", "/none"].map(|path| origin.url(path));
    let folder = Folder::new();
    let before = SystemTime::now() - Duration::from_secs(60);
    assert!(
        downloader(&folder)
            .remote_time(true)
            .run(urls())
            .unwrap()
            .is_success()
    );
    let changed = parse_date(CHANGED).unwrap();
    assert_eq!(date_of(&folder, "small"), changed);
    assert_eq!(date_of(&folder, "large"), changed);
    let now = SystemTime::now();
    for name in ["future", "none"] {
        let date = date_of(&folder, name);
        assert!(date > before && date <= now, "{name}");
    }
    let folder = Folder::new();
    assert!(downloader(&folder).run(urls()).unwrap().is_success());
    assert!(date_of(&folder, "small") > before);
}

/// The date survives an interruption, after which the answer need not tell it again.
#[test]
fn a_resumed_file_gets_its_date_too() {
    let body = content(3 << 20, 2);
    let served = body.clone();
    let (folder, _origin, outcome) = {
        let folder = Folder::new();
        let origin = Origin::start(move |request, wire| {
            let total = served.len();
            match request.range_start() {
                None => {
                    let date = format!("Last-Modified: {CHANGED}");
                    wire.send(crate::origin::head(
                        "200 OK",
                        &["ETag: \"a\"", &date, NOW],
                        total,
                    ));
                    wire.send(&served[..total / 2]);
                    Then::Close
                }
                Some(start) => {
                    let range = format!("Content-Range: bytes {start}-{}/{total}", total - 1);
                    wire.answer(
                        "206 Partial Content",
                        &["ETag: \"a\"", &range],
                        &served[start..],
                    )
                }
            }
        });
        let report = downloader(&folder)
            .remote_time(true)
            .run([origin.url("/f")]);
        let outcome = only(report.unwrap());
        (folder, origin, outcome)
    };
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &body)]);
    assert_eq!(date_of(&folder, "f"), parse_date(CHANGED).unwrap());
}

/// Cases 29 and 30: what is not proven is neither taken for the file nor built on.
#[test]
fn a_file_that_proves_nothing_is_left_alone_and_not_built_on() {
    let body = content(1000, 3);
    let served = body.clone();
    let origin = Origin::start(move |_, wire| dated(wire, CHANGED, &served));
    let mut changed = body.clone();
    changed[0] ^= 1;
    for (name, there, date) in [
        ("a part", &body[..500], CHANGED),
        ("longer", &[&body[..], b"x"].concat()[..], CHANGED),
        ("another date", &body[..], LATER),
        ("another file", &changed[..], LATER),
        ("empty", b"", CHANGED),
    ] {
        let folder = Folder::new();
        folder.write("f", there);
        set_date(&folder, "f", date);
        let outcome = only(
            downloader(&folder)
                .continuing(true)
                .run([origin.url("/f")])
                .unwrap(),
        );
        assert_saved(&outcome);
        folder.assert_holds(&[("f", there), ("f.1", &body)]);
        assert!(
            origin.requests().last().unwrap().header("range").is_none(),
            "{name}"
        );
    }
    let folder = Folder::new();
    folder.write("f", &body[..500]);
    let overwriting = downloader(&folder)
        .continuing(true)
        .existing(Existing::Overwrite);
    assert_saved(&only(overwriting.run([origin.url("/f")]).unwrap()));
    folder.assert_holds(&[("f", &body)]);
}

#[test]
fn a_file_of_the_servers_size_and_date_is_done() {
    let body = content(1000, 4);
    let served = body.clone();
    let origin = Origin::start(move |_, wire| dated(wire, CHANGED, &served));
    let folder = Folder::new();
    folder.write("f", &body);
    set_date(&folder, "f", CHANGED);
    let continuing = downloader(&folder).continuing(true);
    let outcome = only(continuing.run([origin.url("/f")]).unwrap());
    assert_skipped(&outcome);
    assert_eq!((outcome.bytes, outcome.received), (1000, 0));
    folder.assert_holds(&[("f", &body)]);
    // It is what the option is for.
    assert_saved(&only(downloader(&folder).run([origin.url("/f")]).unwrap()));
    folder.assert_holds(&[("f", &body), ("f.1", &body)]);
}

#[test]
fn a_file_with_its_checksum_is_done_without_a_request() {
    let body = b"hello\n";
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"hello\n"));
    let folder = Folder::new();
    folder.write("f", body);
    let sum = "sha-256=5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let sum: Checksum = sum.parse().unwrap();
    let entry = || Entry::from(origin.url("/f")).checksum(sum.clone());
    let continuing = downloader(&folder).continuing(true);
    assert_skipped(&only(continuing.run([entry()]).unwrap()));
    assert!(origin.requests().is_empty());
    folder.write("f", "hullo\n");
    assert_saved(&only(continuing.run([entry()]).unwrap()));
    folder.assert_holds(&[("f", b"hullo\n"), ("f.1", body)]);
}

#[test]
fn a_file_in_the_way_fails_where_it_shall() {
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"new"));
    let folder = Folder::new();
    folder.write("f", "old");
    let failing = downloader(&folder).existing(Existing::Fail);
    let outcome = only(failing.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Exists);
    folder.assert_holds(&[("f", b"old")]);
    assert!(origin.requests().is_empty(), "the URL alone tells the name");
    assert_saved(&only(failing.run([origin.url("/g")]).unwrap()));
}

/// A server with one file, whose version is `ETAG` and `DATE`, that honours conditions.
fn conditional(request: &Request, wire: &mut Wire, tag: &str, date: &str, body: &[u8]) -> Then {
    let fields = [format!("ETag: {tag}"), format!("Last-Modified: {date}")];
    let fields = [fields[0].as_str(), fields[1].as_str(), NOW];
    let unchanged = match request.header("if-none-match") {
        Some(known) => known == tag,
        None => request
            .header("if-modified-since")
            .and_then(parse_date)
            .is_some_and(|since| since >= parse_date(date).unwrap()),
    };
    match unchanged {
        true => {
            let head = crate::origin::head("304 Not Modified", &fields, 0);
            wire.send(head.replace("Content-Length: 0\r\n", ""));
            Then::Keep
        }
        false => wire.answer("200 OK", &fields, body),
    }
}

#[test]
fn a_file_is_fetched_again_only_when_it_has_changed() {
    let version = Arc::new(AtomicU64::new(1));
    let served = version.clone();
    let origin = Origin::start(move |request, wire| match served.load(Ordering::SeqCst) {
        1 => conditional(request, wire, "\"1\"", CHANGED, b"first"),
        // The date is the same: only the tag tells.
        _ => conditional(request, wire, "\"2\"", CHANGED, b"second"),
    });
    let folder = Folder::new();
    let newer = || newer(&folder, &origin);
    assert_saved(&newer());
    assert_eq!(date_of(&folder, "f"), parse_date(CHANGED).unwrap());
    let outcome = newer();
    assert_skipped(&outcome);
    assert_eq!(
        (outcome.status, outcome.received, outcome.bytes),
        (Some(304), 0, 5)
    );
    let asked = origin.requests();
    assert_eq!(asked[0].header("if-none-match"), None);
    assert_eq!(asked[1].header("if-none-match"), Some("\"1\""));
    assert_eq!(asked[1].header("if-modified-since"), Some(CHANGED));
    version.store(2, Ordering::SeqCst);
    assert_saved(&newer());
    assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), b"second");
    assert_skipped(&newer());
    // No second copy, and no partial file.
    let names: Vec<_> = folder
        .names()
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(names, ["f"]);
}

#[test]
fn the_date_is_asked_about_where_no_tag_is_known() {
    let origin =
        Origin::start(|request, wire| conditional(request, wire, "\"1\"", CHANGED, b"body"));
    let folder = Folder::new();
    folder.write("f", "body");
    set_date(&folder, "f", LATER);
    let newer = || newer(&folder, &origin);
    assert_skipped(&newer());
    assert_eq!(
        origin.requests()[0].header("if-modified-since"),
        Some(LATER)
    );
    set_date(&folder, "f", "Sat, 05 Nov 1994 08:49:37 GMT");
    folder.write("f", "elder");
    set_date(&folder, "f", "Sat, 05 Nov 1994 08:49:37 GMT");
    assert_saved(&newer());
    assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), b"body");
}

/// A file that was cut since is no reason to believe in it.
#[test]
fn a_file_that_is_not_what_was_saved_is_fetched_again() {
    let origin =
        Origin::start(|request, wire| conditional(request, wire, "\"1\"", CHANGED, b"body"));
    let folder = Folder::new();
    let newer = || newer(&folder, &origin);
    assert_saved(&newer());
    folder.write("f", "bo");
    assert_saved(&newer());
    assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), b"body");
    let second = &origin.requests()[1];
    assert_eq!(second.header("if-none-match"), None);
    assert_eq!(second.header("if-modified-since"), None);
}

/// A server that knows no conditions is not a reason to fetch the same file again.
#[test]
fn an_answer_that_brings_the_same_file_is_not_read() {
    let body = content(1000, 7);
    let served = body.clone();
    let origin = Origin::start(move |_, wire| dated(wire, CHANGED, &served));
    let folder = Folder::new();
    let newer = || newer(&folder, &origin);
    assert_saved(&newer());
    let outcome = newer();
    assert_skipped(&outcome);
    assert_eq!(outcome.received, 0);
}

/// The tag is of what was saved: it says nothing of a file that somebody has changed since,
/// also if that has the same length, and whether or not the server knows conditions.
#[test]
fn a_file_that_was_changed_here_does_not_have_its_tag_any_more() {
    for knows_conditions in [true, false] {
        let origin = Origin::start(move |request, wire| match knows_conditions {
            true => conditional(request, wire, "\"1\"", CHANGED, b"body"),
            false => wire.answer("200 OK", &["ETag: \"1\""], b"body"),
        });
        let folder = Folder::new();
        assert_saved(&newer(&folder, &origin));
        folder.write("f", "bady");
        set_date(&folder, "f", LATER);
        assert_saved(&newer(&folder, &origin));
        assert_eq!(std::fs::read(folder.path().join("f")).unwrap(), b"body");
        let second = &origin.requests()[1];
        assert_eq!(second.header("if-none-match"), None);
        assert_skipped(&newer(&folder, &origin));
    }
}

/// Case 13: 304 to nobody's question is no file.
#[test]
fn an_answer_of_nothing_new_is_a_failure_where_nothing_was_asked() {
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 304 Not Modified\r\n\r\n");
        Then::Keep
    });
    let folder = Folder::new();
    assert_failed(&newer(&folder, &origin), FailureKind::BadResponse);
}

/// The name is the server's, and the journal tells which.
#[test]
fn a_suggested_name_is_found_again() {
    let origin = Origin::start(|request, wire| {
        let named = "Content-Disposition: attachment; filename=\"n.bin\"";
        match request.header("if-none-match") {
            Some("\"1\"") => {
                wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
                Then::Keep
            }
            _ => wire.answer("200 OK", &[named, "ETag: \"1\""], b"body"),
        }
    });
    let folder = Folder::new();
    let newer = || newer(&folder, &origin);
    assert_saved(&newer());
    let outcome = newer();
    assert_skipped(&outcome);
    assert_eq!(outcome.path, Some(folder.path().join("n.bin")));
}
