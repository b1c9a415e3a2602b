//! What is tried again, after how long, and where redirects lead.

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use super::*;

const BODY: &[u8] = b"0123456789abcdef";

/// Fails the first `n` requests with `status` and the header, then answers.
fn failing(n: usize, status: &'static str, header: &'static str) -> (Folder, Origin, Outcome) {
    fetch(move |request, wire| match request.nth < n {
        true => wire.answer(status, &[header], b"no"),
        false => wire.answer("200 OK", &[], BODY),
    })
}

/// Case 40: the pause is kept, by all downloads from that host.
#[test]
fn a_pause_the_server_asks_for_is_kept() {
    let folder = Folder::new();
    let answered = AtomicUsize::new(0);
    // Which of the two comes first is not settled.
    let origin = Origin::start(
        move |_, wire| match answered.fetch_add(1, Ordering::SeqCst) {
            0 => wire.answer("429 Too Many Requests", &["Retry-After: 1"], b""),
            _ => wire.answer("200 OK", &[], BODY),
        },
    );
    let urls = [origin.url("/f"), origin.url("/g")];
    let report = downloader(&folder).jobs(1).run(urls).unwrap();
    assert!(report.is_success());
    let requests = origin.requests();
    assert_eq!(requests.len(), 3);
    for later in &requests[1..] {
        assert!(
            later.at - requests[0].at >= Duration::from_millis(990),
            "{later:?}"
        );
    }
}

/// Case 40: pauses do not use up the tries.
#[test]
fn pauses_are_not_tries() {
    let (folder, origin, outcome) = failing(8, "503 Service Unavailable", "Retry-After: 0");
    assert_saved(&outcome);
    assert_eq!(origin.requests().len(), 9);
    folder.assert_holds(&[("f", BODY)]);
    // But not for ever.
    let (_, origin, outcome) = failing(usize::MAX, "503 Service Unavailable", "Retry-After: 0");
    assert_failed(&outcome, FailureKind::Busy);
    assert_eq!(origin.requests().len(), 16);
}

/// Case 41.
#[test]
fn a_date_that_is_past_means_at_once_and_garbage_means_nothing() {
    for header in [
        "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT",
        "Retry-After: soon",
    ] {
        let (folder, _origin, outcome) = failing(2, "503 Service Unavailable", header);
        assert_saved(&outcome);
        assert_eq!(outcome.tries, 3);
        folder.assert_holds(&[("f", BODY)]);
    }
}

/// Case 42: it fails at once, with all of that host, and others go on.
#[test]
fn a_pause_of_a_day_is_not_waited_for() {
    let folder = Folder::new();
    let busy =
        Origin::start(|_, wire| wire.answer("429 Too Many Requests", &["Retry-After: 86400"], b""));
    let other = Origin::start(|_, wire| wire.answer("200 OK", &[], BODY));
    let urls = [busy.url("/a"), busy.url("/b"), other.url("/c")];
    let report = downloader(&folder).jobs(1).run(urls).unwrap();
    assert_eq!(report.failures, [(FailureKind::Busy, 2)].into());
    assert_eq!(busy.requests().len(), 1);
    folder.assert_holds(&[("c", BODY)]);
}

/// Case 43.
#[test]
fn passing_failures_are_tried_again() {
    for status in ["500 X", "502 X", "503 X", "504 X", "408 X", "429 X"] {
        let (folder, origin, outcome) = failing(2, status, "X-None: 1");
        assert_saved(&outcome);
        assert_eq!(origin.requests().len(), 3, "{status}");
        folder.assert_holds(&[("f", BODY)]);
    }
}

/// Case 44.
#[test]
fn lasting_failures_are_not_tried_again() {
    for (status, kind) in [
        ("404 X", FailureKind::NotFound),
        ("410 X", FailureKind::NotFound),
        ("401 X", FailureKind::Auth),
        ("403 X", FailureKind::Auth),
        ("400 X", FailureKind::BadResponse),
    ] {
        let (folder, origin, outcome) = failing(usize::MAX, status, "X-None: 1");
        assert_failed(&outcome, kind);
        assert_eq!(outcome.status, status[..3].parse().ok());
        assert_eq!(origin.requests().len(), 1);
        folder.assert_holds(&[]);
    }
}

/// Case 46: the connection is closed behind each answer, unannounced.
#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| {
        wire.answer("200 OK", &[], BODY);
        Then::Close
    });
    let urls: Vec<_> = (0..20).map(|n| origin.url(&format!("/{n}"))).collect();
    // No tries but the first: replacing a connection is none.
    let report = downloader(&folder).retries(0).jobs(1).run(urls).unwrap();
    assert_eq!(report.saved, 20, "{:?}", report.failures);
}

/// Case 49.
#[test]
fn a_server_that_never_answers_times_out() {
    let folder = Folder::new();
    let origin = Origin::start(|_, _| Then::Stall);
    let limit = Duration::from_millis(50);
    let downloader = downloader(&folder)
        .connect_timeout(limit)
        .head_timeout(limit)
        .retries(1);
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    assert!(
        outcome.failure().unwrap().to_string().contains("head"),
        "{outcome:?}"
    );
    assert_eq!(outcome.tries, 2);
    folder.assert_holds(&[]);
}

/// Case 50.
#[test]
fn a_transfer_that_stalls_is_gone_on_with() {
    let body = content(10_000, 0);
    let folder = Folder::new();
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| {
            let served = crate::origin::Served::new(&body, "\"a\"");
            let served = if request.nth == 0 {
                served.cut(1000, Then::Stall)
            } else {
                served
            };
            served.answer(request, wire)
        }
    });
    let downloader = downloader(&folder).idle_timeout(Duration::from_millis(100));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(origin.requests()[1].range_start(), Some(1000));
    folder.assert_holds(&[("f", &body)]);
}

/// Case 51: never idle, never done.
#[test]
fn a_drip_ends_at_the_lowest_speed_or_the_total_limit() {
    let script = |_: &Request, wire: &mut Wire| {
        wire.send(crate::origin::head("200 OK", &[], 1_000_000));
        while wire.send("x") {
            std::thread::sleep(Duration::from_millis(10));
        }
        Then::Close
    };
    let folder = Folder::new();
    let origin = Origin::start(script);
    let slow = downloader(&folder)
        .retries(0)
        .speed_min(100_000, Duration::from_millis(100));
    let outcome = only(slow.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    assert!(
        outcome.failure().unwrap().to_string().contains("too slow"),
        "{outcome:?}"
    );

    let total = downloader(&folder).total_timeout(Duration::from_millis(200));
    let began = Instant::now();
    let outcome = only(total.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    assert!(
        outcome.failure().unwrap().to_string().contains("total"),
        "{outcome:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    folder.assert_holds(&[]);
}

/// Case 52.
#[test]
fn refused_and_unresolvable_are_told_apart() {
    let folder = Folder::new();
    // A port that was free a moment ago.
    let gone = Origin::start(|_, _| Then::Close).url("/f");
    // A label that no resolver will ask about.
    let nowhere = format!("http://{}.invalid/f", "x".repeat(64));
    let report = downloader(&folder).retries(1).run([gone, nowhere]).unwrap();
    assert_failed(&report.outcomes[0], FailureKind::Network);
    assert_failed(&report.outcomes[1], FailureKind::Dns);
    assert_eq!(report.outcomes[0].tries, 2);
}

fn redirecting(location: Option<&'static str>) -> (Folder, Origin, Outcome) {
    fetch(move |request, wire| {
        if request.path != "/f" {
            return wire.answer("200 OK", &[], request.path.as_bytes());
        }
        let location = location.map(|to| format!("Location: {to}"));
        wire.answer(
            "302 Found",
            &[location.as_deref().unwrap_or("X-None: 1")],
            b"not this",
        )
    })
}

/// Cases 54 and 55, and loops.
#[test]
fn redirects_that_lead_nowhere_are_failures() {
    for location in [
        Some("file:///etc/passwd"),
        Some("gopher://127.0.0.1/"),
        Some("ftp://127.0.0.1/x"),
        Some("data:text/plain,x"),
        Some("javascript:alert(1)"),
        Some("http://"),
        None,
    ] {
        let (folder, origin, outcome) = redirecting(location);
        assert_failed(&outcome, FailureKind::Redirects);
        assert_eq!(origin.requests().len(), 1, "{location:?}");
        folder.assert_holds(&[]);
    }
    let (folder, origin, outcome) = redirecting(Some("/f"));
    assert_failed(&outcome, FailureKind::Redirects);
    assert_eq!(origin.requests().len(), 21);
    folder.assert_holds(&[]);
}

/// Case 56. The name is the list's, not the redirect's.
#[test]
fn relative_redirects_are_followed() {
    for (location, path) in [
        ("/g", "/g"),
        ("g?x=1", "/g?x=1"),
        ("../g", "/g"),
        ("/with space", "/with%20space"),
        ("/%2e%2e", "/"),
    ] {
        let (folder, _origin, outcome) = redirecting(Some(location));
        assert_saved(&outcome);
        folder.assert_holds(&[("f", path.as_bytes())]);
    }
    for status in ["301", "302", "303", "307", "308"] {
        let (_folder, _origin, outcome) = fetch(move |request, wire| match &*request.path {
            "/f" => wire.answer(&format!("{status} X"), &["Location: /g"], b""),
            _ => wire.answer("200 OK", &[], BODY),
        });
        assert_saved(&outcome);
    }
}

/// Case 58.
#[test]
fn what_is_meant_for_one_host_is_not_sent_to_another() {
    let folder = Folder::new();
    let other = Origin::start(|_, wire| wire.answer("200 OK", &[], BODY));
    let there = format!("Location: http://server:chosen@{}/g", other.addr);
    let origin = Origin::start(move |request, wire| match &*request.path {
        "/f" => wire.answer("302 Found", &["Location: /same"], b""),
        _ => wire.answer("302 Found", &[&there], b""),
    });
    let url = format!("http://user:secret@{}/f", origin.addr);
    let downloader = downloader(&folder)
        .header("X-Api-Key", "token")
        .header("Cookie", "session=1");
    let outcome = only(downloader.run([url]).unwrap());
    assert_saved(&outcome);
    assert!(!outcome.url.contains("secret"));
    for request in origin.requests() {
        assert_eq!(request.header("x-api-key"), Some("token"));
        assert_eq!(request.header("cookie"), Some("session=1"));
        assert_eq!(
            request.header("authorization"),
            Some("Basic dXNlcjpzZWNyZXQ=")
        );
    }
    for request in other.requests() {
        for name in ["x-api-key", "cookie", "authorization", "referer"] {
            assert_eq!(request.header(name), None, "{name}");
        }
    }
    assert_eq!((origin.requests().len(), other.requests().len()), (2, 1));
}
