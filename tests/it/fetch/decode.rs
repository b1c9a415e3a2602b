//! Bodies that come compressed, and bodies that are too large.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(
    change: impl FnOnce(Downloader) -> Downloader,
    script: impl Fn(&Request, &mut Wire) -> Then + Send + Sync + 'static,
) -> (Folder, Origin, Outcome) {
    let folder = Folder::new();
    let origin = Origin::start(script);
    let downloader = change(downloader(&folder).accept_compressed(true));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    (folder, origin, outcome)
}

#[test]
fn a_body_that_was_asked_for_compressed_is_stored_decompressed() {
    let text = content(200_000, 1);
    let wire_text = gzip(&text);
    let (folder, origin, outcome) = compressed(
        |d| d,
        move |_, wire| {
            wire.answer(
                "200 OK",
                &["Content-Encoding: gzip", "ETag: \"a\""],
                &wire_text,
            )
        },
    );
    assert_saved(&outcome);
    assert_eq!(outcome.bytes, 200_000);
    let asked = origin.requests();
    assert_eq!(
        asked[0].header("accept-encoding"),
        Some("gzip, deflate, br")
    );
    folder.assert_holds(&[("f", &text)]);
}

#[test]
fn a_server_need_not_compress() {
    let (folder, _origin, outcome) =
        compressed(|d| d, |_, wire| wire.answer("200 OK", &[], b"plain"));
    assert_saved(&outcome);
    folder.assert_holds(&[("f", b"plain")]);
}

/// Nothing of it is kept: what is on disk is not what the server counts in.
#[test]
fn a_compressed_body_that_breaks_off_starts_over() {
    let text = content(50_000, 1);
    let wire_text = gzip(&text);
    let (folder, origin, outcome) = compressed(
        |d| d,
        move |request, wire| {
            let fields = ["Content-Encoding: gzip", "ETag: \"a\""];
            wire.send(crate::origin::head("200 OK", &fields, wire_text.len()));
            let end = match request.nth {
                0 => wire_text.len() / 2,
                _ => wire_text.len(),
            };
            wire.send(&wire_text[..end]);
            Then::Close
        },
    );
    assert_saved(&outcome);
    assert!(
        origin
            .requests()
            .iter()
            .all(|r| r.header("range").is_none())
    );
    folder.assert_holds(&[("f", &text)]);
}

#[test]
fn a_stream_that_is_cut_off_or_damaged_is_no_file() {
    let whole = gzip(b"some text, some more text");
    let cut = whole[..whole.len() - 3].to_vec();
    let more = [&whole[..], b"garbage"].concat();
    for body in [cut, more, b"no gzip at all".to_vec()] {
        let (folder, _origin, outcome) = compressed(
            |d| d,
            move |_, wire| wire.answer("200 OK", &["Content-Encoding: gzip"], &body),
        );
        assert_failed(&outcome, FailureKind::BadResponse);
        folder.assert_holds(&[]);
    }
    let (folder, _origin, outcome) = compressed(
        |d| d,
        |_, wire| wire.answer("200 OK", &["Content-Encoding: zstd"], b"x"),
    );
    assert_failed(&outcome, FailureKind::BadResponse);
    folder.assert_holds(&[]);
}

/// Case 62.
#[test]
fn a_bomb_is_no_file_and_asked_for_once() {
    let bomb = gzip(&vec![0; 20 * 1024 * 1024]);
    let (folder, origin, outcome) = compressed(
        |d| d,
        move |_, wire| wire.answer("200 OK", &["Content-Encoding: gzip"], &bomb),
    );
    assert_failed(&outcome, FailureKind::TooLarge);
    assert_eq!(origin.requests().len(), 1);
    folder.assert_holds(&[]);
}

#[test]
fn a_file_that_is_too_large_is_refused_by_its_length_or_by_its_bytes() {
    let small = gzip(&vec![0; 10_000]);
    assert!(small.len() < 1000);
    let (folder, _origin, outcome) = compressed(
        |d| d.size_max(9999),
        move |_, wire| wire.answer("200 OK", &["Content-Encoding: gzip"], &small),
    );
    assert_failed(&outcome, FailureKind::TooLarge);
    folder.assert_holds(&[]);

    // By its length alone: no body comes.
    let (folder, _origin, outcome) = compressed(
        |d| d.size_max(9999),
        |_, wire| {
            wire.send(crate::origin::head("200 OK", &[], 10_000));
            Then::Stall
        },
    );
    assert_failed(&outcome, FailureKind::TooLarge);
    folder.assert_holds(&[]);

    let (folder, _origin, outcome) = compressed(
        |d| d.size_max(9),
        |_, wire| {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.send("5\r\n01234\r\n5\r\n56789\r\n");
            Then::Stall
        },
    );
    assert_failed(&outcome, FailureKind::TooLarge);
    folder.assert_holds(&[]);
}
