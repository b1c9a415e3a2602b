//! Cookies: from one redirect to the next, from one file to the next.

use std::os::unix::fs::PermissionsExt;

use super::*;

const BODY: &[u8] = b"0123456789abcdef";

/// Case 59.
#[test]
fn a_cookie_that_a_redirect_sets_is_sent_on() {
    let script = |request: &Request, wire: &mut Wire| match request.header("cookie") {
        Some("seen=1") => wire.answer("200 OK", &[], BODY),
        _ => wire.answer(
            "302 Found",
            &["Set-Cookie: seen=1; Path=/", "Location: /f"],
            b"",
        ),
    };
    let (folder, origin, outcome) = fetch(script);
    assert_saved(&outcome);
    assert_eq!(origin.requests().len(), 2);
    folder.assert_holds(&[("f", BODY)]);
    // Without, it goes round and round.
    let outcome = only(
        downloader(&folder)
            .cookies(false)
            .run([origin.url("/f")])
            .unwrap(),
    );
    assert_failed(&outcome, FailureKind::Redirects);
}

#[test]
fn cookies_stay_with_their_host() {
    let folder = Folder::new();
    let other = Origin::start(|_, wire| wire.answer("200 OK", &[], BODY));
    let there = format!("Location: http://localhost:{}/g", other.addr.port());
    let origin = Origin::start(move |_, wire| {
        let fields = [
            "Set-Cookie: a=1",
            "Set-Cookie: b=2; Domain=localhost",
            &there,
        ];
        wire.answer("302 Found", &fields, b"")
    });
    let downloader = downloader(&folder).header("Cookie", "mine=0");
    assert!(
        downloader
            .run([origin.url("/1"), origin.url("/2")])
            .unwrap()
            .is_success()
    );
    assert_eq!(other.requests().len(), 2);
    for request in other.requests() {
        assert_eq!(request.header("cookie"), None);
    }
}

#[test]
fn cookies_are_read_from_a_file_and_written_to_one() {
    let (folder, files) = (Folder::new(), Folder::new());
    files.write(
        "in.txt",
        "# Netscape HTTP Cookie File\n\
         #HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t4000000000\told\t1\n\
         127.0.0.1\tFALSE\t/elsewhere\tFALSE\t0\thidden\t1\n\
         other.example\tFALSE\t/\tFALSE\t0\tother\t1\n",
    );
    let origin = Origin::start(|_, wire| {
        wire.answer("200 OK", &["Set-Cookie: new=2; Path=/; Max-Age=1000"], BODY)
    });
    let out = files.path().join("out.txt");
    let downloader = downloader(&folder)
        .load_cookies(files.path().join("in.txt"))
        .save_cookies(&out);
    assert_saved(&only(downloader.run([origin.url("/f")]).unwrap()));
    assert_eq!(origin.requests()[0].header("cookie"), Some("old=1"));
    let saved = std::fs::read_to_string(&out).unwrap();
    let names: Vec<_> = saved
        .lines()
        .filter_map(|line| line.split('\t').nth(5))
        .collect();
    assert_eq!(names.len(), 4, "{saved}");
    for name in ["old", "new", "hidden", "other"] {
        assert!(names.contains(&name), "{saved}");
    }
    assert_eq!(
        std::fs::metadata(&out).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(files.names(), ["in.txt", "out.txt"]);
}

#[test]
fn a_file_that_has_no_cookies_is_refused() {
    let files = Folder::new();
    files.write("in.txt", "no cookie at all\n");
    let error = downloader(&files)
        .load_cookies(files.path().join("in.txt"))
        .run(["http://h/f"]);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("in.txt") && text.contains("line 1"), "{text}");
}
