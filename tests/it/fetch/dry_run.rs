//! Dry runs: the answer is judged, and nothing is written.

use super::*;

fn dry(folder: &Folder, origin: &Origin) -> Downloader {
    let dir = folder.path().join("never");
    let there = downloader(folder).dir(dir).dry_run(true);
    assert!(origin.requests().is_empty());
    there
}

#[test]
fn a_dry_run_takes_the_head_and_leaves_the_body() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| match request.path.as_str() {
        "/f" => {
            wire.send("HTTP/1.1 302 Found\r\nLocation: /g\r\nContent-Length: 0\r\n\r\n");
            Then::Keep
        }
        _ => {
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\nAccept-Ranges: bytes\r\n\
                 Content-Type: image/png; x=y\r\n\
                 Content-Disposition: attachment; filename=\"n.png\"\r\n\r\nbegun",
            );
            // A body that is waited for would hold the run until its idle timeout.
            Then::Stall
        }
    });
    let report = dry(&folder, &origin).run([origin.url("/f")]).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!((report.checked, report.saved, report.received), (1, 0, 0));
    let outcome = only(report);
    assert!(matches!(outcome.end, End::Checked), "{outcome:?}");
    assert_eq!(outcome.path, Some(folder.path().join("never/n.png")));
    assert_eq!(
        (outcome.bytes, outcome.is_size_verified),
        (5_000_000_000, true)
    );
    assert_eq!(outcome.accepts_ranges, Some(true));
    assert_eq!(outcome.content_type.as_deref(), Some("image/png"));
    assert_eq!((outcome.redirects, outcome.status), (1, Some(200)));
    assert_eq!(outcome.http_version, Some("1.1"));
    assert!(
        outcome
            .remote
            .is_some_and(|remote| remote.ip().is_loopback())
    );
    assert!(
        outcome
            .first_byte
            .is_some_and(|first| first <= outcome.elapsed)
    );
    assert!(!folder.path().join("never").exists());
    folder.assert_holds(&[]);
}

#[test]
fn a_dry_run_fails_by_what_the_head_tells() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| match (request.path.as_str(), request.nth) {
        ("/busy", 0) => wire.answer("503 Service Unavailable", &[], b""),
        ("/none", _) => wire.answer("404 Not Found", &[], b""),
        _ => wire.answer("200 OK", &["Content-Type: text/html"], b"12345"),
    });
    let dry = dry(&folder, &origin);
    let kind = |dry: &Downloader, path: &str| {
        let outcome = only(dry.run([origin.url(path)]).unwrap());
        outcome.failure().map(|failure| failure.kind())
    };
    assert_eq!(kind(&dry, "/busy"), None, "the second try");
    assert_eq!(kind(&dry, "/none"), Some(FailureKind::NotFound));
    assert_eq!(kind(&dry.clone().size_max(5), "/f"), None);
    assert_eq!(
        kind(&dry.clone().size_max(4), "/f"),
        Some(FailureKind::TooLarge)
    );
    folder.assert_holds(&[]);
}
