//! Files held against checksums, digests of their servers, and what is expected of them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use greenloop::fetch::{Algorithm, Checksum, Entry};
use sha2::{Digest, Sha256};

use super::*;
use crate::origin::{Served, head};

fn sha256(body: &[u8]) -> Checksum {
    let hex: String = Sha256::digest(body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("sha-256={hex}").parse().unwrap()
}

fn md5(body: &[u8]) -> Checksum {
    use md5::Md5;
    let hex: String = Md5::digest(body)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("md5={hex}").parse().unwrap()
}

fn repr_digest(body: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(Sha256::digest(body));
    format!("Repr-Digest: sha-256=:{encoded}:")
}

/// Downloads `/f` of the origin as an entry with these checksums.
fn with(folder: &Folder, origin: &Origin, sums: &[Checksum]) -> Outcome {
    let entry = Entry::from(origin.url("/f"));
    let entry = sums.iter().cloned().fold(entry, Entry::checksum);
    only(downloader(folder).run([entry]).unwrap())
}

/// Small files wait in memory, large ones on disk.
const SIZES: [usize; 2] = [1000, 300_000];

#[test]
fn a_file_that_is_what_it_should_be_is_saved_and_told() {
    for size in SIZES {
        let body = content(size, 1);
        let origin = Origin::start({
            let body = body.clone();
            move |_, wire| wire.answer("200 OK", &["Content-Type: a/B; c=d"], &body)
        });
        let folder = Folder::new();
        let outcome = with(&folder, &origin, &[md5(&body), sha256(&body)]);
        assert_saved(&outcome);
        assert_eq!(outcome.verified, [Algorithm::Md5, Algorithm::Sha256]);
        assert_eq!(outcome.checksums, [md5(&body), sha256(&body)]);
        assert_eq!(outcome.content_type.as_deref(), Some("a/b"));
        folder.assert_holds(&[("f", &body)]);
        assert_eq!(origin.requests().len(), 1);
    }
}

/// Case 82, first half.
#[test]
fn a_wrong_file_is_tried_once_more_and_never_gets_a_name() {
    for size in SIZES {
        let body = content(size, 1);
        let sums = [md5(&body), sha256(&content(size, 1 << 30))];
        let origin = Origin::start({
            let body = body.clone();
            move |request, wire| Served::new(&body, "\"a\"").answer(request, wire)
        });
        let folder = Folder::new();
        let outcome = with(&folder, &origin, &sums);
        assert_failed(&outcome, FailureKind::Checksum);
        let text = outcome.failure().unwrap().to_string();
        assert!(text.contains(&sums[1].to_hex()), "{text}");
        assert!(text.contains(&sha256(&body).to_hex()), "{text}");
        folder.assert_holds(&[]);
        let requests = origin.requests();
        assert_eq!(requests.len(), 2);
        // From zero: nothing that is wrong is built on.
        assert!(
            requests
                .iter()
                .all(|request| request.range_start().is_none())
        );
    }
}

#[test]
fn damage_on_the_way_passes_with_the_next_try() {
    for size in SIZES {
        let body = content(size, 1);
        let origin = Origin::start({
            let body = body.clone();
            move |request, wire| {
                let mut body = body.clone();
                if request.nth == 0 {
                    body[size / 2] ^= 1;
                }
                Served::new(&body, "\"a\"").answer(request, wire)
            }
        });
        let folder = Folder::new();
        let outcome = with(&folder, &origin, &[sha256(&body)]);
        assert_saved(&outcome);
        assert_eq!(
            (outcome.tries, &outcome.verified[..]),
            (2, &[Algorithm::Sha256][..])
        );
        folder.assert_holds(&[("f", &body)]);
    }
}

/// The front of a file that broke off is hashed once, as it comes; that of an earlier run
/// is read back.
#[test]
fn a_resumed_file_is_verified_as_a_whole() {
    let body = content(300_000, 1);
    let origin = || {
        let body = body.clone();
        Origin::start(move |request, wire| {
            let served = Served::new(&body, "\"a\"");
            match request.nth {
                0 => served.cut(200_000, Then::Reset).answer(request, wire),
                _ => served.answer(request, wire),
            }
        })
    };
    let (folder, one) = (Folder::new(), origin());
    let outcome = with(&folder, &one, &[sha256(&body)]);
    assert_saved(&outcome);
    assert!(one.requests()[1].range_start().is_some());
    folder.assert_holds(&[("f", &body)]);

    for (wanted, damaged) in [(sha256(&body), false), (sha256(&body), true)] {
        let (folder, origin) = (Folder::new(), origin());
        let entry = || Entry::from(origin.url("/f")).checksum(wanted.clone());
        let first = only(downloader(&folder).retries(0).run([entry()]).unwrap());
        assert!(first.failure().is_some() && first.bytes > 0, "{first:?}");
        if damaged {
            // On the disk, between the runs.
            let mut part = folder.files()["f.part"].clone();
            part[100] ^= 1;
            folder.write("f.part", part);
        }
        let second = only(downloader(&folder).run([entry()]).unwrap());
        assert_saved(&second);
        folder.assert_holds(&[("f", &body)]);
        // The damaged front costs a second try, from zero.
        assert_eq!(second.tries, if damaged { 2 } else { 1 }, "{second:?}");
    }
}

/// Case 64.
#[test]
fn a_digest_of_the_server_counts_where_no_checksum_is_given() {
    for size in SIZES {
        let (body, other) = (content(size, 1), content(size, 1 << 30));
        let md5_field = |body: &[u8]| {
            use md5::Md5;
            BASE64_STANDARD.encode(Md5::digest(body))
        };
        for (field, verified) in [
            (repr_digest(&body), Some(Algorithm::Sha256)),
            (
                format!("Content-MD5: {}", md5_field(&body)),
                Some(Algorithm::Md5),
            ),
            (
                format!("Digest: MD5={}", md5_field(&body)),
                Some(Algorithm::Md5),
            ),
            ("Repr-Digest: sha-256=:nonsense:".to_owned(), None),
        ] {
            let (folder, outcome) = answering(&body, &field);
            assert_saved(&outcome);
            assert_eq!(outcome.verified, Vec::from_iter(verified), "{field}");
            folder.assert_holds(&[("f", &body)]);
        }
        for field in [
            repr_digest(&other),
            repr_digest(&other).replace("Repr", "Content"),
            format!("Content-MD5: {}", md5_field(&other)),
            format!("Digest: MD5={}", md5_field(&other)),
        ] {
            let (folder, outcome) = answering(&body, &field);
            assert_failed(&outcome, FailureKind::Checksum);
            assert!(outcome.failure().unwrap().to_string().contains("server"));
            folder.assert_holds(&[]);
        }
    }
}

fn answering(body: &[u8], field: &str) -> (Folder, Outcome) {
    let (body, field) = (body.to_vec(), field.to_owned());
    let (folder, _origin, outcome) = fetch(move |_, wire| wire.answer("200 OK", &[&field], &body));
    (folder, outcome)
}

#[test]
fn a_digest_can_be_left_out_and_a_checksum_outweighs_it() {
    let body = content(1000, 1);
    let field = repr_digest(b"other");
    let origin = Origin::start({
        let body = body.clone();
        move |_, wire| wire.answer("200 OK", &[&field], &body)
    });
    let folder = Folder::new();
    let left_out = downloader(&folder).digest_fields(false);
    let outcome = only(left_out.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert!(outcome.verified.is_empty() && outcome.checksums.is_empty());
    let outcome = with(&Folder::new(), &origin, &[md5(&body)]);
    assert_saved(&outcome);
    assert_eq!(outcome.verified, [Algorithm::Md5]);
}

/// A digest of the whole that only the rest of the file brings.
#[test]
fn a_digest_that_comes_with_the_rest_is_about_the_whole() {
    for right in [true, false] {
        let body = content(300_000, 1);
        let field = repr_digest(if right { &body } else { b"other" });
        let (folder, origin, outcome) = fetch({
            let body = body.clone();
            move |request, wire| match request.range_start() {
                Some(start) => {
                    let range = format!("Content-Range: bytes {start}-299999/300000");
                    let fields = ["ETag: \"a\"", &range, &field];
                    wire.send(head("206 Partial Content", &fields, 300_000 - start));
                    wire.send(&body[start..]);
                    Then::Keep
                }
                None if request.nth == 0 => {
                    wire.send(head("200 OK", &["ETag: \"a\""], 300_000));
                    wire.send(&body[..200_000]);
                    Then::Reset
                }
                None => wire.answer("404 Gone", &[], b""),
            }
        });
        match right {
            true => {
                assert_saved(&outcome);
                assert_eq!(outcome.verified, [Algorithm::Sha256]);
                folder.assert_holds(&[("f", &body)]);
            }
            false => {
                assert!(outcome.failure().is_some());
                folder.assert_holds(&[]);
            }
        }
        assert!(origin.requests()[1].range_start().is_some());
    }
}

#[test]
fn a_list_of_checksums_is_about_names_and_urls() {
    let origin = Origin::start(|request, wire| wire.answer("200 OK", &[], request.path.as_bytes()));
    let folder = Folder::new();
    let list = Folder::new();
    let (a, b) = (sha256(b"/x/a%20a").to_hex(), sha256(b"wrong").to_hex());
    list.write("sums", format!("{a}  pool/a a\n{b} *y/b\n"));
    let urls = ["/x/a%20a", "/y/b", "/c"].map(|path| origin.url(path));
    let checked = downloader(&folder).check_list(list.path().join("sums"));
    let report = checked.clone().run(urls[..2].to_vec()).unwrap();
    assert_eq!((report.saved, report.failed), (1, 1));
    assert_eq!(report.outcomes[0].verified, [Algorithm::Sha256]);
    assert_failed(&report.outcomes[1], FailureKind::Checksum);

    assert_saved(&only(checked.clone().run([urls[2].as_str()]).unwrap()));
    let strict = checked.check_strict(true);
    let outcome = only(strict.run([urls[2].as_str()]).unwrap());
    assert_failed(&outcome, FailureKind::Checksum);
    assert_eq!(folder.names(), ["a a", "c"]);

    list.write("sums", "nonsense");
    let error = strict.run([urls[2].as_str()]).unwrap_err().to_string();
    assert!(error.contains("sums: line 1"), "{error}");
}

#[test]
fn hashes_that_are_asked_for_are_told() {
    let body = content(1000, 1);
    let served = body.clone();
    let origin = Origin::start(move |_, wire| wire.answer("200 OK", &[], &served));
    for discard in [true, false] {
        let folder = Folder::new();
        let mut downloader = downloader(&folder).hash(Algorithm::Sha256);
        if discard {
            downloader = downloader.discard();
        }
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        assert_eq!(outcome.checksums, [sha256(&body)]);
        assert!(outcome.verified.is_empty());
    }
}

/// Case 84.
#[test]
fn a_page_that_says_not_found_is_not_the_file() {
    let origin = Origin::start(|request, wire| match request.path.as_str() {
        "/zip" => wire.answer("200 OK", &["Content-Type: application/zip"], b"PK345"),
        "/page" => wire.answer("200 OK", &["Content-Type: text/html"], b"Not found"),
        _ => {
            // Chunked: the size shows only at the end.
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.send("5\r\nhello\r\n0\r\n\r\n");
            Then::Keep
        }
    });
    let run = |set: &dyn Fn(Downloader) -> Downloader, path: &str| {
        let folder = Folder::new();
        let report = set(downloader(&folder)).run([origin.url(path)]).unwrap();
        let outcome = only(report);
        assert_eq!(folder.names().is_empty(), outcome.failure().is_some());
        assert!(outcome.failure().is_none() || outcome.tries == 1);
        outcome
    };
    let zip = |d: Downloader| d.expect_type("application/*");
    assert_saved(&run(&zip, "/zip"));
    let outcome = run(&zip, "/page");
    assert_failed(&outcome, FailureKind::BadResponse);
    assert!(outcome.failure().unwrap().to_string().contains("text/html"));
    assert_failed(&run(&zip, "/none"), FailureKind::BadResponse);
    assert_failed(
        &run(&|d| d.expect_type("!text/html"), "/page"),
        FailureKind::BadResponse,
    );
    assert_saved(&run(&|d| d.expect_type("!text/html"), "/none"));
    for path in ["/zip", "/none"] {
        assert_saved(&run(&|d| d.size_min(5), path));
        assert_failed(&run(&|d| d.size_min(6), path), FailureKind::BadResponse);
    }
}

/// Case 82, second half.
#[test]
fn the_right_file_of_another_place_is_taken() {
    for size in SIZES {
        let (body, wrong) = (content(size, 1), content(size, 1 << 30));
        let origin = Origin::start({
            let body = body.clone();
            move |request, wire| {
                let served = match request.path.as_str() {
                    "/f" => Served::new(&wrong, "\"a\""),
                    _ => Served::new(&body, "\"a\""),
                };
                served.answer(request, wire)
            }
        });
        let folder = Folder::new();
        let entry = Entry::from(origin.url("/f"))
            .mirror(&origin.url("/m/f"))
            .checksum(sha256(&body));
        let outcome = only(downloader(&folder).run([entry]).unwrap());
        assert_saved(&outcome);
        folder.assert_holds(&[("f", &body)]);
        let asked = origin.requests();
        let paths: Vec<_> = asked.iter().map(|request| &request.path[..]).collect();
        assert_eq!(paths, ["/f", "/m/f"]);
        assert!(asked.iter().all(|request| request.range_start().is_none()));
    }
}

/// Their bytes come out of order, and where nothing is saved they cannot be read back.
#[test]
fn a_file_in_segments_is_verified_as_a_whole() {
    let body = content(1_000_000, 1);
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| {
            let range = request.header("range").and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                let first: usize = first.parse().ok()?;
                Some((
                    first,
                    last.parse().map_or(body.len(), |last: usize| last + 1),
                ))
            });
            let Some((start, end)) = range else {
                return wire.answer("200 OK", &["ETag: \"a\"", "Accept-Ranges: bytes"], &body);
            };
            let total = body.len();
            let field = format!("Content-Range: bytes {start}-{}/{total}", end - 1);
            wire.answer(
                "206 Partial Content",
                &["ETag: \"a\"", &field],
                &body[start..end],
            )
        }
    });
    let wrong = sha256(b"other");
    for (sum, discards) in [
        (sha256(&body), false),
        (sha256(&body), true),
        (wrong, false),
    ] {
        let folder = Folder::new();
        let mut downloader = downloader(&folder).split(4).split_min(100_000);
        if discards {
            downloader = downloader.discard();
        }
        let entry = Entry::from(origin.url("/f")).checksum(sum.clone());
        let outcome = only(downloader.run([entry]).unwrap());
        if sum == sha256(&body) {
            assert_saved(&outcome);
            assert_eq!(outcome.verified, [Algorithm::Sha256]);
        } else {
            assert_failed(&outcome, FailureKind::Checksum);
            folder.assert_holds(&[]);
        }
    }
    // Some were.
    let mut requests = origin.requests().into_iter();
    assert!(requests.any(|request| request.header("range").is_some()));
}
