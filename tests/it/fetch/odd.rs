//! Answers that are odd, and connections that are not what they seem.

use super::*;
use crate::origin::Served;

const BODY: &[u8] = b"0123456789abcdef";

/// Case 8 with a validator: what came is kept.
#[test]
fn a_chunked_body_with_a_tag_goes_on_where_it_was_cut() {
    let (folder, origin, outcome) = fetch(|request, wire| match request.nth {
        0 => {
            wire.send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.send("5\r\n01234\r\n5\r\n56");
            Then::Close
        }
        _ => Served::new(BODY, "\"a\"").answer(request, wire),
    });
    assert_saved(&outcome);
    let requests = origin.requests();
    // The last byte once more: nobody knows whether there are others, and a range behind
    // the end would be refused.
    assert_eq!(requests[1].range_start(), Some(6));
    assert_eq!(requests[1].header("if-range"), Some("\"a\""));
    folder.assert_holds(&[("f", BODY)]);
}

/// Case 7: sizes of chunks that are none, or that no number can hold.
#[test]
fn a_chunk_of_no_size_is_refused() {
    for size in ["-1", "xyz", "", "fffffffffffffffffffff", "5 5"] {
        let (folder, _origin, outcome) = fetch(move |_, wire| {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.send(format!("5\r\n01234\r\n{size}\r\n56789\r\n0\r\n\r\n"));
            Then::Close
        });
        assert_failed(&outcome, FailureKind::BadResponse);
        folder.assert_holds(&[]);
    }
}

/// Case 6: what follows the last chunk is no part of the file.
#[test]
fn trailers_and_extensions_of_chunks_are_passed_over() {
    fetch_saved(b"0123456789", |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send("5;name=value\r\n01234\r\n5\r\n56789\r\n0\r\nX-Trailer: yes\r\n\r\n");
        Then::Keep
    });
}

/// Case 10 in the oldest dialect.
#[test]
fn http_1_0_is_understood() {
    let outcome = fetch_saved(BODY, |_, wire| {
        wire.send("HTTP/1.0 200 OK\r\n\r\n");
        wire.send(BODY);
        Then::Close
    });
    assert!(!outcome.is_size_verified);
}

/// Case 17: nothing of a conversation that TLS has not made is saved, or waited for long.
#[test]
fn tls_to_a_plain_port_is_a_failure() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], BODY));
    let url = format!("https://{}/f", origin.addr);
    let outcome = only(downloader(&folder).retries(1).run([url]).unwrap());
    assert!(outcome.failure().is_some(), "{outcome:?}");
    folder.assert_holds(&[]);
}

/// Case 17: a head without an end is not collected for ever.
#[test]
fn a_head_that_never_ends_is_refused() {
    let (folder, _origin, outcome) = fetch(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Long: {}\r\n", "a".repeat(8000));
        // 80 MB, if it were let.
        for _ in 0..10_000 {
            if !wire.send(&line) {
                break;
            }
        }
        Then::Close
    });
    assert!(outcome.failure().is_some(), "{outcome:?}");
    folder.assert_holds(&[]);
}

/// Case 46 and request smuggling the other way round: an answer belongs to the request
/// that it follows.
#[test]
fn an_answer_that_nobody_asked_for_is_not_the_next_ones() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| {
        let honest = format!(
            "{}{}",
            crate::origin::head("200 OK", &[], request.path.len()),
            request.path
        );
        let more = crate::origin::head("200 OK", &[], 4) + "evil";
        wire.send(honest + &more);
        Then::Keep
    });
    let urls: Vec<_> = (0..10).map(|n| origin.url(&format!("/{n}"))).collect();
    let report = downloader(&folder).jobs(1).run(urls).unwrap();
    assert!(report.is_success(), "{report:?}");
    for (name, found) in folder.files() {
        assert_eq!(found, format!("/{name}").as_bytes());
    }
}

/// Case 48: servers that refuse HEAD are not asked.
#[test]
fn no_other_method_than_get_is_needed() {
    let body = content(100_000, 0);
    let (folder, origin, outcome) = fetch({
        let body = body.clone();
        move |request, wire| {
            if request.method != "GET" {
                return wire.answer("405 Method Not Allowed", &[], b"");
            }
            let served = Served::new(&body, "\"a\"");
            let served = match request.nth {
                0 => served.cut(50_000, Then::Close),
                _ => served,
            };
            served.answer(request, wire)
        }
    });
    assert_saved(&outcome);
    let requests = origin.requests();
    assert!(requests.iter().all(|request| request.method == "GET"));
    assert_eq!(requests.len(), 2);
    folder.assert_holds(&[("f", &body)]);
}

/// Case 51: the head has a limit of its own, however little of it comes how often.
#[test]
fn a_head_that_drips_ends_at_its_limit() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nX-Slow: ");
        while wire.send("x") {
            std::thread::sleep(Duration::from_millis(5));
        }
        Then::Close
    });
    let outcome = without_a_head_in_time(&folder, &origin);
    let text = outcome.failure().unwrap().to_string();
    assert!(text.contains("head"), "{text}");
    assert!(outcome.elapsed < Duration::from_secs(5), "{outcome:?}");
    folder.assert_holds(&[]);
}

/// Case 3 at its ends: nothing of the body, and all of it but one byte.
#[test]
fn a_body_may_be_cut_anywhere() {
    for cut in [0, 1, BODY.len() - 1] {
        for tag in ["X-None: 1", "ETag: \"a\"", "ETag: W/\"a\""] {
            let (folder, _origin, outcome) = fetch(move |request, wire| {
                if request.nth == 0 {
                    wire.send(crate::origin::head("200 OK", &[tag], BODY.len()));
                    wire.send(&BODY[..cut]);
                    return Then::Close;
                }
                Served::new(BODY, "\"a\"").answer(request, wire)
            });
            assert_saved(&outcome);
            folder.assert_holds(&[("f", BODY)]);
        }
    }
}
