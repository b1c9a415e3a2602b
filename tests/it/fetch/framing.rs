//! Answers that end too early, too late, or not at all.

use super::*;

const BODY: &[u8] = b"0123456789abcdef";

/// Case 1: a body shorter than its length, every time.
#[test]
fn a_short_body_is_a_failure_after_all_tries() {
    let (folder, origin, outcome) = fetch(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        wire.send(BODY);
        Then::Close
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    assert_eq!(origin.requests().len(), 4);
    folder.assert_holds(&[]);
}

/// Case 3.
#[test]
fn a_body_cut_once_is_whole_the_second_time() {
    let (folder, _origin, outcome) = fetch(|request, wire| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            BODY.len()
        ));
        let half = if request.nth == 0 {
            BODY.len() / 2
        } else {
            BODY.len()
        };
        wire.send(&BODY[..half]);
        Then::Close
    });
    assert_saved(&outcome);
    assert_eq!(outcome.tries, 2);
    assert_eq!(outcome.received, (BODY.len() + BODY.len() / 2) as u64);
    folder.assert_holds(&[("f", BODY)]);
}

/// Case 5.
#[test]
fn a_length_that_is_no_number_is_refused() {
    for length in ["12abc", "-5", "99999999999999999999999", "1, 2"] {
        let (folder, _origin, outcome) = fetch(move |_, wire| {
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ));
            wire.send(BODY);
            Then::Close
        });
        assert_failed(&outcome, FailureKind::BadResponse);
        assert_eq!(outcome.tries, 1, "{length}");
        folder.assert_holds(&[]);
    }
}

/// A length that nothing is allocated for.
#[test]
fn an_immense_length_is_only_a_number() {
    let (folder, _origin, outcome) = fetch(|_, wire| {
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            u64::MAX / 4
        ));
        wire.send(BODY);
        Then::Close
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    folder.assert_holds(&[]);
}

/// Case 6.
#[test]
fn chunks_win_over_a_length() {
    let outcome = fetch_saved(b"0123456789", |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n");
        wire.send("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n");
        Then::Close
    });
    assert!(outcome.is_size_verified);
}

/// Case 7: all bytes came, the last chunk did not.
#[test]
fn a_chunked_body_without_its_end_is_a_failure() {
    let (folder, origin, outcome) = fetch(|_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send("5\r\n01234\r\n");
        Then::Close
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    assert_eq!(origin.requests().len(), 4);
    folder.assert_holds(&[]);
}

/// Case 8: without a validator nothing is kept.
#[test]
fn a_body_cut_in_a_chunk_starts_over() {
    let (folder, origin, outcome) = fetch(|request, wire| {
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        if request.nth == 0 {
            wire.send("5\r\n012");
            return Then::Close;
        }
        wire.send("5\r\n01234\r\n0\r\n\r\n");
        Then::Keep
    });
    assert_saved(&outcome);
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.header("range").is_none())
    );
    folder.assert_holds(&[("f", b"01234")]);
}

/// Case 10.
#[test]
fn a_body_that_ends_with_its_connection_is_taken_and_marked() {
    let outcome = fetch_saved(BODY, |_, wire| {
        wire.send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\n\r\n");
        wire.send(BODY);
        Then::Close
    });
    assert!(!outcome.is_size_verified);
}

/// Case 12.
#[test]
fn an_empty_file_is_a_file() {
    let outcome = fetch_saved(b"", |_, wire| wire.answer("200 OK", &[], b""));
    assert_eq!(outcome.bytes, 0);
}

/// Cases 13 and 16, and a part that nobody asked for.
#[test]
fn an_answer_that_is_no_file_is_a_failure() {
    for status in ["204 No Content", "205 Reset Content", "304 Not Modified"] {
        let (folder, origin, outcome) = fetch(move |_, wire| {
            wire.send(format!("HTTP/1.1 {status}\r\n\r\n"));
            Then::Close
        });
        assert_failed(&outcome, FailureKind::BadResponse);
        assert_eq!(origin.requests().len(), 1, "{status}");
        folder.assert_holds(&[]);
    }
    let (folder, _origin, outcome) = fetch(|_, wire| {
        wire.answer(
            "206 Partial Content",
            &["Content-Range: bytes 0-15/16"],
            BODY,
        )
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    folder.assert_holds(&[]);
    let (folder, _origin, outcome) = fetch(|_, wire| {
        wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        wire.send(BODY);
        Then::Close
    });
    assert!(outcome.failure().is_some(), "{outcome:?}");
    folder.assert_holds(&[]);
}

/// Case 14.
#[test]
fn interim_answers_are_passed_over() {
    fetch_saved(BODY, |_, wire| {
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        wire.answer("200 OK", &[], BODY)
    });
}

/// Each one is no head that the limit waits for.
#[test]
fn interim_answers_without_end_are_ended_by_the_limit_on_the_head() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| {
        while wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") {
            std::thread::sleep(Duration::from_millis(5));
        }
        Then::Close
    });
    without_a_head_in_time(&folder, &origin);
    folder.assert_holds(&[]);
}

/// Case 17.
#[test]
fn bytes_without_a_head_are_not_saved() {
    let (folder, _origin, outcome) = fetch(|_, wire| {
        wire.send("just some text\n");
        Then::Close
    });
    assert_failed(&outcome, FailureKind::BadResponse);
    folder.assert_holds(&[]);
}

/// Case 18.
#[test]
fn lines_may_end_in_lf_alone() {
    fetch_saved(b"01234", |_, wire| {
        wire.send("HTTP/1.1 200 OK\nContent-Length: 5\n\n01234");
        Then::Close
    });
}

/// Case 19.
#[test]
fn header_lines_may_be_folded_or_broken() {
    for line in ["X-Long: a\r\n  b", "X-Space : a", "no colon here"] {
        fetch_saved(BODY, move |_, wire| wire.answer("200 OK", &[line], BODY));
    }
}

/// Case 60: bytes are stored as they are sent, and no encoding is asked for.
#[test]
fn an_encoding_that_nobody_asked_for_is_stored_as_it_is() {
    let (folder, origin, outcome) =
        fetch(|_, wire| wire.answer("200 OK", &["Content-Encoding: gzip"], b"\x1f\x8b..."));
    assert_saved(&outcome);
    assert_eq!(
        origin.requests()[0].header("accept-encoding"),
        Some("identity")
    );
    folder.assert_holds(&[("f", b"\x1f\x8b...")]);
}
