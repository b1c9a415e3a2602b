//! What is kept of a broken transfer, and what is not.

use std::sync::mpsc;

use greenloop::fetch::Event;

use super::*;
use crate::origin::Served;

const LENGTH: usize = 200_000;

fn ranges(origin: &Origin) -> Vec<Option<usize>> {
    origin.requests().iter().map(Request::range_start).collect()
}

/// Case 22: the second request starts at the byte that is missing.
#[test]
fn a_reset_transfer_goes_on_where_it_stopped() {
    let body = content(LENGTH, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            let served = Served::new(&body, "\"a\"");
            // Closed, not reset, so that what was sent surely arrives.
            let served = if request.nth == 0 {
                served.cut(LENGTH / 2, Then::Close)
            } else {
                served
            };
            served.answer(request, wire)
        }
    });
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(LENGTH / 2)]);
    assert_eq!(origin.requests()[1].header("if-range"), Some("\"a\""));
    assert_eq!(outcome.received, LENGTH as u64);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 22 with a date instead of a tag.
#[test]
fn a_date_of_change_serves_where_there_is_no_tag() {
    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let body = content(1000, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            let changed = format!("Last-Modified: {CHANGED}");
            if request.nth == 0 {
                let date = "Date: Sun, 06 Nov 1994 08:50:37 GMT";
                wire.send(crate::origin::head("200 OK", &[&changed, date], 1000));
                wire.send(&body[..400]);
                return Then::Close;
            }
            wire.answer(
                "206 Partial Content",
                &["Content-Range: bytes 400-999/1000"],
                &body[400..],
            )
        }
    });
    assert_saved(&outcome);
    assert_eq!(origin.requests()[1].header("if-range"), Some(CHANGED));
    folder.assert_holds(&[("f", &body)]);
}

/// Who does not say when it answered may have changed the file in the same second: its date
/// is asked about by nobody, and nothing is kept.
#[test]
fn a_date_of_change_without_the_answers_own_is_not_built_on() {
    const CHANGED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let (old, new) = (content(1000, 1), content(1000, 2));
    let (folder, origin, outcome) = fetch({
        let new = new.clone();
        move |request, wire| match (request.nth, request.range_start()) {
            (0, _) => {
                wire.send(crate::origin::head("200 OK", &[CHANGED], 1000));
                wire.send(&old[..400]);
                Then::Close
            }
            (_, Some(start)) => {
                // It would be spliced: the date is the same.
                let range = format!("Content-Range: bytes {start}-999/1000");
                wire.answer("206 Partial Content", &[CHANGED, &range], &new[start..])
            }
            (_, None) => wire.answer("200 OK", &[CHANGED], &new),
        }
    });
    assert_saved(&outcome);
    let second = &origin.requests()[1];
    assert_eq!(
        (second.header("range"), second.header("if-range")),
        (None, None)
    );
    folder.assert_holds(&[("f", &new)]);
}

/// Case 23: progress gives new tries.
#[test]
fn a_transfer_reset_again_and_again_gets_there() {
    let body = content(LENGTH, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            Served::new(&body, "\"a\"")
                .cut(LENGTH / 20, Then::Close)
                .answer(request, wire)
        }
    });
    assert_saved(&outcome);
    assert_eq!(origin.requests().len(), 20);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 23 with real resets: what the kernel throws away is fetched again.
#[test]
fn real_resets_lose_nothing() {
    let body = content(LENGTH, 0);
    let (folder, _origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            let served = Served::new(&body, "\"a\"");
            let served = if request.nth < 3 {
                served.cut(LENGTH / 4, Then::Reset)
            } else {
                served
            };
            served.answer(request, wire)
        }
    });
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 25.
#[test]
fn a_server_that_ignores_ranges_is_taken_from_the_start() {
    let body = content(LENGTH, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            let plain = Request {
                headers: Vec::new(),
                ..request.clone()
            };
            let served = Served::new(&body, "\"a\"");
            let served = if request.nth == 0 {
                served.cut(1000, Then::Close)
            } else {
                served
            };
            served.answer(&plain, wire)
        }
    });
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(1000)]);
    folder.assert_holds(&[("f", &body)]);
}

/// Downloads what is cut once and has changed by the second request.
fn changed(
    second: impl Fn(&[u8], &Request, &mut Wire) -> Then + Send + Sync + 'static,
) -> (Folder, Origin, Outcome) {
    fetch(move |request, wire| {
        let (old, new) = (content(LENGTH, 1 << 24), content(LENGTH, 99 << 24));
        match request.nth {
            0 => Served::new(&old, "\"old\"")
                .cut(LENGTH / 2, Then::Close)
                .answer(request, wire),
            _ => second(&new, request, wire),
        }
    })
}

/// Cases 26, 27 and 28: one version, the new one, whatever the server does.
#[test]
fn two_versions_are_never_joined() {
    let new = content(LENGTH, 99 << 24);
    let (folder, origin, outcome) =
        changed(|new, request, wire| Served::new(new, "\"new\"").answer(request, wire));
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(LENGTH / 2)]);
    folder.assert_holds(&[("f", &new)]);

    let (folder, origin, outcome) = changed(|new, request, wire| {
        Served::new(new, "\"new\"")
            .ignoring_if_range()
            .answer(request, wire)
    });
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(LENGTH / 2), None]);
    folder.assert_holds(&[("f", &new)]);

    let (folder, _origin, outcome) = changed(|new, request, wire| {
        Served::new(&new[..LENGTH - 10], "\"old\"")
            .ignoring_if_range()
            .answer(request, wire)
    });
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &new[..LENGTH - 10])]);
}

/// Case 32: bounded.
#[test]
fn a_server_that_refuses_every_range_is_asked_for_the_whole() {
    let body = content(LENGTH, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            if request.range_start().is_some() {
                return wire.answer(
                    "416 Range Not Satisfiable",
                    &["Content-Range: bytes */5"],
                    b"",
                );
            }
            let served = Served::new(&body, "\"a\"");
            let served = if request.nth == 0 {
                served.cut(1000, Then::Close)
            } else {
                served
            };
            served.answer(request, wire)
        }
    });
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(1000), None]);
    folder.assert_holds(&[("f", &body)]);

    // Cut at the same place every time: it ends.
    let (folder, origin, outcome) = fetch(move |request, wire| {
        if request.range_start().is_some() {
            return wire.answer("416 Range Not Satisfiable", &[], b"");
        }
        Served::new(&body, "\"a\"")
            .cut(1000, Then::Close)
            .answer(request, wire)
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    assert!(origin.requests().len() <= 10, "{}", origin.requests().len());
    // What came may still be of use to a later run.
    assert_eq!(folder.names(), ["f.part", "f.part.json"]);
}

/// Cases 34, 35 and 39.
#[test]
fn a_part_that_is_not_the_one_asked_for_is_not_written() {
    const MULTIPART: &str = "Content-Type: multipart/byteranges; boundary=b";
    for header in [
        "Content-Range: bytes 5-199999/200000",
        "X-None: 1",
        MULTIPART,
    ] {
        let body = content(LENGTH, 0);
        let (folder, origin, outcome) = fetch({
            let body = body.clone();
            move |request, wire| match request.nth {
                1 => wire.answer("206 Partial Content", &["ETag: \"a\"", header], &body[5..]),
                0 => Served::new(&body, "\"a\"")
                    .cut(1000, Then::Close)
                    .answer(request, wire),
                _ => Served::new(&body, "\"a\"").answer(request, wire),
            }
        });
        assert_saved(&outcome);
        assert_eq!(ranges(&origin), [None, Some(1000), None], "{header}");
        folder.assert_holds(&[("f", &body)]);
    }
}

/// Case 37.
#[test]
fn bytes_beyond_the_range_are_not_written() {
    let body = content(LENGTH, 0);
    let (folder, _origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| match request.range_start() {
            Some(start) => {
                let range = format!("Content-Range: bytes {start}-{}/{LENGTH}", LENGTH - 1);
                let more = [&body[start..], b"and more".as_slice()].concat();
                wire.answer("206 Partial Content", &["ETag: \"a\"", &range], &more)
            }
            None => Served::new(&body, "\"a\"")
                .cut(1000, Then::Close)
                .answer(request, wire),
        }
    });
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &body)]);
}

/// A server that gives less than was asked for, and says so, is asked for the rest.
#[test]
fn a_shorter_range_is_taken_and_the_rest_asked_for() {
    let body = content(1000, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| match request.range_start() {
            Some(start) => {
                let end = (start + 300).min(1000);
                let range = format!("Content-Range: bytes {start}-{}/1000", end - 1);
                wire.answer(
                    "206 Partial Content",
                    &["ETag: \"a\"", &range],
                    &body[start..end],
                )
            }
            None => Served::new(&body, "\"a\"")
                .cut(100, Then::Close)
                .answer(request, wire),
        }
    });
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(100), Some(400), Some(700)]);
    folder.assert_holds(&[("f", &body)]);
}

/// Stops a run when `bytes` have come, and returns what is left behind.
fn interrupted(folder: &Folder, origin: &Origin, bytes: u64) -> Report {
    let (tell, told) = mpsc::sync_channel(1);
    let downloader = downloader(folder).observer(move |_: u64, event: &Event<'_>| {
        if matches!(event, Event::Progress { bytes: there } if *there >= bytes) {
            let _ = tell.try_send(());
        }
    });
    let stop = downloader.stop_handle();
    let url = origin.url("/f");
    let run = std::thread::spawn(move || downloader.run([url]).unwrap());
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    stop.stop();
    run.join().unwrap()
}

/// Sends half and stalls, then serves ranges of whatever `body` says.
fn stalling_at_half(body: Vec<u8>, later: Vec<u8>, later_etag: &'static str) -> Origin {
    Origin::start(move |request, wire| match request.nth {
        0 => Served::new(&body, "\"a\"")
            .cut(LENGTH / 2, Then::Stall)
            .answer(request, wire),
        _ => Served::new(&later, later_etag).answer(request, wire),
    })
}

#[test]
fn a_stopped_run_is_resumed_by_the_next_one() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = stalling_at_half(body.clone(), body.clone(), "\"a\"");
    let report = interrupted(&folder, &origin, LENGTH as u64 / 2);
    assert!(report.is_stopped);
    let outcome = only(report);
    assert_failed(&outcome, FailureKind::Stopped);
    assert_eq!(outcome.bytes, LENGTH as u64 / 2);
    assert_eq!(outcome.path, Some(folder.path().join("f.part")));
    assert_eq!(folder.names(), ["f.part", "f.part.json"]);

    let outcome = only(downloader(&folder).run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, Some(LENGTH / 2)]);
    assert_eq!(outcome.received, LENGTH as u64 / 2);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 29.
#[test]
fn a_file_that_changed_between_runs_is_fetched_anew() {
    let new = content(LENGTH, 99 << 24);
    let folder = Folder::new();
    let origin = stalling_at_half(content(LENGTH, 1 << 24), new.clone(), "\"b\"");
    interrupted(&folder, &origin, LENGTH as u64 / 2);
    let outcome = only(downloader(&folder).run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &new)]);
}

/// The name comes with the answer, so the partial file is found after it.
#[test]
fn a_partial_file_named_by_the_server_is_found_again() {
    const NAMED: &str = "Content-Disposition: attachment; filename=named.bin";
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| match request.range_start() {
            None => {
                wire.send(crate::origin::head(
                    "200 OK",
                    &["ETag: \"a\"", NAMED],
                    LENGTH,
                ));
                wire.send(&body[..LENGTH / 2]);
                Then::Stall
            }
            Some(_) => Served::new(&body, "\"a\"").answer(request, wire),
        }
    });
    interrupted(&folder, &origin, LENGTH as u64 / 2);
    assert_eq!(folder.names(), ["named.bin.part", "named.bin.part.json"]);
    let outcome = only(downloader(&folder).run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None, None, Some(LENGTH / 2)]);
    folder.assert_holds(&[("named.bin", &body)]);
}

/// Cases 29 and 30, without facts: nobody knows what the bytes are, or whose.
#[test]
fn a_partial_file_of_unknown_origin_is_left_alone() {
    // One that waits in memory, and one that is a partial file itself.
    for length in [1000, LENGTH] {
        let body = content(length, 0);
        let note = "{\"some\":\"thing\"}\n";
        for (foreign, note) in [
            (vec![0_u8; 500], None),
            (vec![0_u8; 2 * LENGTH], None),
            (vec![0_u8; 500], Some(note)),
            (body.clone(), Some(note)),
            (Vec::new(), Some(note)),
        ] {
            let folder = Folder::new();
            folder.write("f.part", &foreign);
            let mut expected = vec![("f.1", &*body), ("f.part", &*foreign)];
            if let Some(note) = note {
                folder.write("f.part.json", note);
                expected.push(("f.part.json", note.as_bytes()));
            }
            let served = body.clone();
            let origin = Origin::start(move |request, wire| {
                Served::new(&served, "\"a\"").answer(request, wire)
            });
            let outcome = only(downloader(&folder).run([origin.url("/f")]).unwrap());
            assert_saved(&outcome);
            assert_eq!(ranges(&origin), [None]);
            folder.assert_holds(&expected);
        }
    }
}

/// What a run leaves that is killed just before a small file has its name, or just after a
/// large one has begun.
#[test]
fn a_partial_file_with_nothing_of_its_own_is_taken() {
    let body = content(1000, 0);
    let facts = |url: &str| {
        format!(
            "{{\"greenloop\":2,\"url\":\"{url}\",\"etag\":null,\"last_modified\":null,\
             \"total\":null}}\n"
        )
    };
    for (part, has_facts) in [
        (Some(&body[..]), false),
        (Some(&body[..500]), false),
        (Some(&b""[..]), false),
        (Some(&b"something else"[..]), true),
        // Of a file that has its name by now: they say nothing about the next one.
        (None, true),
    ] {
        let folder = Folder::new();
        let served = body.clone();
        let origin =
            Origin::start(move |request, wire| Served::new(&served, "\"a\"").answer(request, wire));
        let url = origin.url("/f");
        if let Some(part) = part {
            folder.write("f.part", part);
        }
        if has_facts {
            folder.write("f.part.json", facts(&url));
        }
        let outcome = only(downloader(&folder).run([url]).unwrap());
        assert_saved(&outcome);
        folder.assert_holds(&[("f", &body)]);
    }
}

/// A whole partial file, from a run that was killed before it could rename.
#[test]
fn a_partial_file_that_is_whole_is_verified_with_one_byte() {
    let body = content(1000, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| Served::new(&body, "\"a\"").answer(request, wire)
    });
    let url = origin.url("/f");
    folder.write("f.part", &body);
    let facts = format!(
        "{{\"greenloop\":2,\"url\":\"{url}\",\"etag\":\"\\\"a\\\"\",\"last_modified\":null,\"total\":1000}}\n{{\"done\":[[0,1000]]}}\n"
    );
    folder.write("f.part.json", facts);
    let outcome = only(downloader(&folder).run([url]).unwrap());
    assert_saved(&outcome);
    assert_eq!(outcome.received, 1);
    folder.assert_holds(&[("f", &body)]);
}
