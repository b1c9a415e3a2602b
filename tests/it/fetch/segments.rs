//! One file in several segments at once, against servers that keep to ranges and such that
//! do not.

use std::sync::{Arc, Condvar, Mutex, mpsc};

use greenloop::fetch::Event;

use super::*;
use crate::dice::Dice;
use crate::origin::head;

const LENGTH: usize = 1024 * 1024;
const QUARTER: usize = LENGTH / 4;

/// More than one read of the client's HTTP takes in.
const READ_MAX: u64 = 450_000;

fn split(folder: &Folder, segments: usize, piece: usize) -> Downloader {
    downloader(folder).split(segments).split_min(piece as u64)
}

/// The range that is asked for, to the one after the last.
fn asked(request: &Request) -> Option<(usize, usize)> {
    let range = request.header("range")?.strip_prefix("bytes=")?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse().map_or(usize::MAX, |last: usize| last + 1);
    Some((first.parse().ok()?, end))
}

fn ranges(origin: &Origin) -> Vec<Option<(usize, usize)>> {
    let mut ranges: Vec<_> = origin.requests().iter().map(asked).collect();
    ranges.sort_unstable();
    ranges
}

/// The head of an answer from a server that does all as it should, and the body's place.
fn respond(request: &Request, body: &[u8], etag: &str) -> (String, usize, usize) {
    let tag = format!("ETag: {etag}");
    let fresh = request.header("if-range").is_none_or(|tag| tag == etag);
    match asked(request).filter(|_| fresh) {
        Some((start, end)) => {
            let end = end.min(body.len());
            let range = format!("Content-Range: bytes {start}-{}/{}", end - 1, body.len());
            let head = head("206 Partial Content", &[&tag, &range], end - start);
            (head, start, end)
        }
        None => (head("200 OK", &[&tag], body.len()), 0, body.len()),
    }
}

fn serve(request: &Request, wire: &mut Wire, body: &[u8], etag: &str) -> Then {
    let (head, start, end) = respond(request, body, etag);
    wire.send(head);
    wire.send(&body[start..end]);
    Then::Keep
}

/// Where requests wait until so many have come.
#[derive(Default)]
struct Meeting(Mutex<usize>, Condvar);

impl Meeting {
    fn come(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    /// False if they have not come for long.
    fn wait_for(&self, count: usize) -> bool {
        let waited =
            self.1
                .wait_timeout_while(self.0.lock().unwrap(), Duration::from_secs(10), |come| {
                    *come < count
                });
        !waited.unwrap().1.timed_out()
    }
}

#[test]
fn a_large_file_is_fetched_by_four_requests_at_once() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let meeting = Meeting::default();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| {
            let (head, start, end) = respond(request, &body, "\"a\"");
            wire.send(head);
            wire.send(&body[start..start + 1000]);
            meeting.come();
            if !meeting.wait_for(4) {
                return Then::Close;
            }
            wire.send(&body[start + 1000..end]);
            Then::Keep
        }
    });
    // Also if only one file at a time is fetched.
    let report = split(&folder, 4, QUARTER).jobs(1).run([origin.url("/f")]);
    let outcome = only(report.unwrap());
    assert_saved(&outcome);
    assert!(outcome.is_size_verified);
    assert_eq!(outcome.tries, 4);
    let quarter = |n| Some((n * QUARTER, (n + 1) * QUARTER));
    assert_eq!(
        ranges(&origin),
        [None, quarter(1), quarter(2), quarter(3)],
        "the first is asked for all"
    );
    for request in &origin.requests()[1..] {
        assert_eq!(request.header("if-range"), Some("\"a\""));
    }
    // What the first answer had on its way is all that came in vain.
    assert!(outcome.received < LENGTH as u64 + READ_MAX, "{outcome:?}");
    folder.assert_holds(&[("f", &body)]);
}

#[test]
fn who_has_nothing_left_takes_half_of_what_another_has_to_fetch() {
    const HALF: usize = LENGTH / 2;
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let meeting = Meeting::default();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| {
            meeting.come();
            let (head, start, end) = respond(request, &body, "\"a\"");
            wire.send(head);
            let first = if start == HALF { HALF + 1000 } else { end };
            wire.send(&body[start..first]);
            // The second half is on its way until somebody helps with it.
            if first < end && !meeting.wait_for(3) {
                return Then::Close;
            }
            wire.send(&body[first..end]);
            Then::Keep
        }
    });
    let downloader = split(&folder, 2, 64 * 1024);
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    let ranges = ranges(&origin);
    assert_eq!(ranges[..2], [None, Some((HALF, LENGTH))]);
    // Where exactly depends on how much had been read by then.
    // Who helped may be done first and help once more.
    let half = HALF + HALF / 2..=HALF + HALF / 2 + 500;
    let is_half = |range: &Option<(usize, usize)>| {
        range.is_some_and(|(start, end)| half.contains(&start) && end == LENGTH)
    };
    assert!(ranges[2..].iter().any(is_half), "{ranges:?}");
    folder.assert_holds(&[("f", &body)]);
}

/// Cases 25, 32, 34, 35, 39, and parts without their tag: the first answer goes on.
#[test]
fn a_server_that_does_not_keep_to_ranges_loses_the_segments_only() {
    const TAG: &str = "ETag: \"a\"";
    type Answer = fn(&mut Wire, &[u8], (usize, usize)) -> Then;
    let cases: [(&str, Answer); 7] = [
        ("200", |wire, body, _| wire.answer("200 OK", &[TAG], body)),
        ("416", |wire, _, _| {
            wire.answer("416 Range Not Satisfiable", &[], b"")
        }),
        ("403", |wire, _, _| wire.answer("403 Forbidden", &[], b"")),
        ("elsewhere", |wire, body, (start, end)| {
            let range = format!("Content-Range: bytes {}-{}/{LENGTH}", start - 1, end - 2);
            wire.answer("206 Partial Content", &[TAG, &range], &body[start..end])
        }),
        ("no Content-Range", |wire, body, (start, end)| {
            wire.answer("206 Partial Content", &[TAG], &body[start..end])
        }),
        ("multipart", |wire, body, (start, end)| {
            let kind = "Content-Type: multipart/byteranges; boundary=b";
            wire.answer("206 Partial Content", &[TAG, kind], &body[start..end])
        }),
        ("no tag", |wire, body, (start, end)| {
            let range = format!("Content-Range: bytes {start}-{}/{LENGTH}", end - 1);
            wire.answer("206 Partial Content", &[&range], &body[start..end])
        }),
    ];
    for (case, answer) in cases {
        let body = content(LENGTH, 0);
        let folder = Folder::new();
        let origin = Origin::start({
            let body = body.clone();
            move |request, wire| match asked(request) {
                Some(range) => answer(wire, &body, range),
                None => serve(request, wire, &body, "\"a\""),
            }
        });
        let downloader = split(&folder, 4, 64 * 1024);
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        let ranges = ranges(&origin);
        let whole = ranges.iter().filter(|range| range.is_none()).count();
        assert_eq!(whole, 1, "{case}: {ranges:?}");
        assert!((2..20).contains(&ranges.len()), "{case}: {ranges:?}");
        folder.assert_holds(&[("f", &body)]);
    }
}

/// Case 37.
#[test]
fn bytes_beyond_a_segment_are_not_written() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| match asked(request) {
            // Three quarters lie about the range, the last about the length.
            Some((start, end)) => {
                let told = if end < LENGTH { LENGTH } else { end };
                let range = format!("Content-Range: bytes {start}-{}/{LENGTH}", told - 1);
                let more = [&body[start..], b"and more".as_slice()].concat();
                wire.answer("206 Partial Content", &["ETag: \"a\"", &range], &more)
            }
            None => serve(request, wire, &body, "\"a\""),
        }
    });
    let outcome = only(split(&folder, 4, QUARTER).run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert!(ranges(&origin).len() >= 4);
    folder.assert_holds(&[("f", &body)]);
}

/// Cases 26, 27 and 28: another version starts all over, and is never mixed in.
#[test]
fn a_file_that_changes_under_its_segments_starts_over() {
    let old = content(LENGTH, 1 << 24);
    let other = content(LENGTH, 99 << 24);
    let shorter = content(LENGTH - 10, 7 << 24);
    // The new file, its tag, and whether If-Range is ignored.
    for (new, etag, ignores) in [
        (&other, "\"new\"", false),
        (&other, "\"new\"", true),
        (&shorter, "\"a\"", true),
    ] {
        let folder = Folder::new();
        let origin = Origin::start({
            let (old, new) = (old.clone(), new.clone());
            move |request, wire| {
                if request.nth == 0 {
                    return serve(request, wire, &old, "\"a\"");
                }
                let mut request = request.clone();
                if ignores {
                    request.headers.retain(|(name, _)| name != "if-range");
                }
                serve(&request, wire, &new, etag)
            }
        });
        let downloader = split(&folder, 4, 64 * 1024);
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        assert!(origin.requests().len() <= 8, "{:?}", ranges(&origin));
        folder.assert_holds(&[("f", new)]);
    }
}

#[test]
fn what_cannot_be_split_is_one_request() {
    let cases: [(&str, &[&str]); 4] = [
        ("no validator", &[]),
        ("a weak tag", &["ETag: W/\"a\""]),
        ("no ranges", &["ETag: \"a\"", "Accept-Ranges: none"]),
        ("small", &["ETag: \"a\""]),
    ];
    for (case, headers) in cases {
        let body = content(LENGTH, 0);
        let folder = Folder::new();
        let origin = Origin::start({
            let body = body.clone();
            move |_, wire| wire.answer("200 OK", headers, &body)
        });
        let piece = if case == "small" {
            LENGTH / 2 + 1
        } else {
            1000
        };
        let downloader = split(&folder, 4, piece);
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        assert_eq!(ranges(&origin), [None], "{case}");
        folder.assert_holds(&[("f", &body)]);
    }
}

#[test]
fn segments_take_no_slot_that_the_host_has_not_free() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| serve(request, wire, &body, "\"a\"")
    });
    let downloader = split(&folder, 4, 1000).per_host(1);
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(ranges(&origin), [None]);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 45 in small: the server serves one connection and sends the others away.
#[test]
fn a_server_that_takes_one_at_a_time_keeps_its_one() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| match asked(request) {
            Some(_) => wire.answer("503 Service Unavailable", &[], b""),
            None => serve(request, wire, &body, "\"a\""),
        }
    });
    let downloader = split(&folder, 4, 1000);
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    let ranges = ranges(&origin);
    assert_eq!(ranges.iter().filter(|range| range.is_none()).count(), 1);
    assert!((2..=16).contains(&ranges.len()), "{ranges:?}");
    folder.assert_holds(&[("f", &body)]);
}

#[test]
fn segments_that_are_not_saved_are_counted() {
    let body = content(LENGTH, 0);
    let folder = Folder::new();
    let origin = Origin::start(move |request, wire| serve(request, wire, &body, "\"a\""));
    let downloader = split(&folder, 4, QUARTER).discard();
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(outcome.bytes, LENGTH as u64);
    assert_eq!(ranges(&origin).len(), 4);
    folder.assert_holds(&[]);
}

/// What each segment sends before it stalls: holes are left in the first and third.
const SENT: [usize; 4] = [100_000, QUARTER, 50_000, QUARTER];

/// Stops a run with holes in its file; returns the origin, which has `later` from then on.
fn stopped_with_holes(folder: &Folder, body: &[u8], later: (&[u8], &'static str)) -> Origin {
    let origin = Origin::start({
        let (body, later, etag) = (body.to_vec(), later.0.to_vec(), later.1);
        move |request, wire| {
            if request.nth >= 4 {
                return serve(request, wire, &later, etag);
            }
            let (head, start, _) = respond(request, &body, "\"a\"");
            wire.send(head);
            let sent = SENT[start / QUARTER];
            wire.send(&body[start..start + sent]);
            // After a whole answer the connection is free for the next request, and the
            // client may well use it for one of these four.
            if sent == QUARTER {
                Then::Keep
            } else {
                Then::Stall
            }
        }
    });
    let (tell, told) = mpsc::sync_channel(1);
    let sent = SENT.iter().sum::<usize>() as u64;
    let downloader = split(folder, 4, QUARTER).observer(move |_: u64, event: &Event<'_>| {
        if matches!(event, Event::Progress { bytes } if *bytes == sent) {
            let _ = tell.try_send(());
        }
    });
    let stop = downloader.stop_handle();
    let url = origin.url("/f");
    let run = std::thread::spawn(move || downloader.run([url]).unwrap());
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    stop.stop();
    let outcome = only(run.join().unwrap());
    assert_failed(&outcome, FailureKind::Stopped);
    assert_eq!(outcome.bytes, sent);
    assert_eq!(folder.names(), ["f.part", "f.part.json"]);
    origin
}

#[test]
fn only_the_holes_of_a_stopped_run_are_fetched() {
    for segments in [4, 1] {
        let body = content(LENGTH, 0);
        let folder = Folder::new();
        let origin = stopped_with_holes(&folder, &body, (&body, "\"a\""));
        let downloader = split(&folder, segments, QUARTER);
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        let mut again: Vec<_> = origin.requests()[4..].iter().map(asked).collect();
        again.sort_unstable();
        let holes = [
            Some((SENT[0], QUARTER)),
            Some((2 * QUARTER + SENT[2], 3 * QUARTER)),
        ];
        assert_eq!(again, holes, "{segments} segments");
        let missing = LENGTH - SENT.iter().sum::<usize>();
        assert_eq!(outcome.received, missing as u64);
        folder.assert_holds(&[("f", &body)]);
    }
}

/// Case 29 with holes.
#[test]
fn holes_of_a_file_that_changed_are_not_filled() {
    let old = content(LENGTH, 1 << 24);
    let new = content(LENGTH, 99 << 24);
    let folder = Folder::new();
    let origin = stopped_with_holes(&folder, &old, (&new, "\"b\""));
    let downloader = split(&folder, 4, QUARTER);
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &new)]);
}

/// What a random number makes of one answer.
fn faulty(request: &Request, wire: &mut Wire, body: &[u8], mut dice: Dice) -> Then {
    if dice.below(12) == 0 {
        return wire.answer("503 Service Unavailable", &["Retry-After: 0"], b"");
    }
    let mut request = request.clone();
    if let Some((start, end)) = asked(&request).filter(|_| dice.below(4) == 0) {
        // Less than was asked for, and it says so.
        let end = start + 1 + dice.below(end.min(body.len()) - start);
        request.headers.retain(|(name, _)| name != "range");
        let range = format!("bytes={start}-{}", end - 1);
        request.headers.push(("range".to_owned(), range));
    }
    let (head, mut at, end) = respond(&request, body, "\"a\"");
    wire.send(head);
    let (stop, then) = match dice.below(4) {
        0 => (at + dice.below(end - at), Then::Close),
        1 => (at + dice.below(end - at), Then::Reset),
        _ => (end, Then::Keep),
    };
    while at < stop {
        let next = (at + 1 + dice.below(30_000)).min(stop);
        if !wire.send(&body[at..next]) {
            return Then::Close;
        }
        at = next;
    }
    then
}

/// Answers are cut, reset, shortened and refused at random: the file is right, or there is
/// none.
#[test]
fn random_faults_leave_the_right_file_or_none() {
    const ROUNDS: u64 = 10;
    let body = Arc::new(content(400_000, 0));
    let mut saved = 0;
    for round in 0..ROUNDS {
        let folder = Folder::new();
        let origin = Origin::start({
            let body = body.clone();
            move |request, wire| {
                let dice = Dice::new(round << 32 | request.nth as u64);
                faulty(request, wire, &body, dice)
            }
        });
        let downloader = split(&folder, 2 + round as usize % 5, 16 * 1024).retries(8);
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        if outcome.failure().is_some() {
            assert!(!folder.names().contains(&"f".to_owned()), "{round}");
            continue;
        }
        saved += 1;
        assert_eq!(outcome.bytes, body.len() as u64);
        folder.assert_holds(&[("f", &body)]);
    }
    assert!(saved >= ROUNDS * 8 / 10, "{saved} of {ROUNDS}");
}
