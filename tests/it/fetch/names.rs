//! Under which names files appear, and what happens where a name is taken.

use std::os::unix::fs::symlink;

use greenloop::fetch::Existing;

use super::*;
use crate::origin::Served;

fn named(disposition: &str) -> Vec<String> {
    let disposition = format!("Content-Disposition: {disposition}");
    let (folder, _origin, outcome) =
        fetch(move |_, wire| wire.answer("200 OK", &[&disposition], b"x"));
    assert_saved(&outcome);
    assert_eq!(
        outcome.path.as_deref().and_then(Path::parent),
        Some(folder.path())
    );
    folder.names()
}

/// Case 65.
#[test]
fn a_name_stays_in_its_folder() {
    for (disposition, name) in [
        ("attachment; filename=\"../../x\"", "x"),
        ("attachment; filename=\"/abs/x\"", "x"),
        ("attachment; filename=\"..\\x\"", "x"),
        ("attachment; filename=\"..%2fx\"", "x"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx", "x"),
        ("attachment; filename=\"..\"", "f"),
        ("attachment; filename=\"/\"", "f"),
    ] {
        assert_eq!(named(disposition), [name], "{disposition}");
    }
}

/// Case 67.
#[test]
fn a_name_holds_nothing_that_a_terminal_obeys() {
    for (disposition, name) in [
        ("attachment; filename=\"a%00b\"", "a_b"),
        ("attachment; filename=\"a%0a%1bb\"", "a__b"),
        ("attachment; filename*=UTF-8''a%07b", "a_b"),
        (
            "attachment; filename*=UTF-8''x%E2%80%AEtxt.exe",
            "x_txt.exe",
        ),
    ] {
        assert_eq!(named(disposition), [name], "{disposition}");
    }
}

/// Case 68.
#[test]
fn a_long_name_is_cut_and_keeps_its_extension() {
    let names = named(&format!(
        "attachment; filename=\"{}.tar.gz\"",
        "ä".repeat(300)
    ));
    assert!(
        names[0].len() <= 255 - ".part".len() && names[0].ends_with("ä.tar.gz"),
        "{names:?}"
    );
}

/// Case 70.
#[test]
fn a_name_may_be_of_any_language() {
    for (disposition, name) in [
        (
            "attachment; filename=\"plain\"; filename*=UTF-8''%E2%82%AC.txt",
            "€.txt",
        ),
        (
            "attachment; filename*=UTF-8''%E2%82%AC.txt; filename=\"plain\"",
            "€.txt",
        ),
        ("attachment; filename=\"€.txt\"", "€.txt"),
        (
            "attachment; filename=\"=?UTF-8?B?eA==?=\"",
            "=?UTF-8?B?eA==?=",
        ),
        ("attachment; filename=\"a.txt\";", "a.txt"),
    ] {
        assert_eq!(named(disposition), [name], "{disposition}");
    }
}

/// Answers every path with itself.
fn echo() -> Origin {
    Origin::start(|request, wire| wire.answer("200 OK", &[], request.path.as_bytes()))
}

#[test]
fn two_urls_with_one_name_are_two_files() {
    for existing in [Existing::Number, Existing::Overwrite, Existing::Skip] {
        let folder = Folder::new();
        let origin = echo();
        let urls = (0..20).map(|n| origin.url(&format!("/{n}/a.tar.gz")));
        let report = downloader(&folder).existing(existing).run(urls).unwrap();
        assert_eq!(report.saved, 20, "{existing:?}: {report:?}");
        let files = folder.files();
        assert!(files.contains_key("a.tar.gz") && files.contains_key("a.19.tar.gz"));
        let mut contents: Vec<_> = files.into_values().collect();
        contents.sort();
        contents.dedup();
        assert_eq!(contents.len(), 20);
        for outcome in report.outcomes {
            let content = std::fs::read_to_string(outcome.path.unwrap()).unwrap();
            assert!(outcome.url.ends_with(&content), "{content}");
        }
    }
}

#[test]
fn a_file_that_is_there_is_left_replaced_or_numbered() {
    let origin = echo();
    for (existing, expected) in [
        (
            Existing::Number,
            &[("a.1.bin", "/a.bin"), ("a.bin", "old")][..],
        ),
        (Existing::Overwrite, &[("a.bin", "/a.bin")]),
        (Existing::Skip, &[("a.bin", "old")]),
    ] {
        let folder = Folder::new();
        folder.write("a.bin", "old");
        let asked = origin.requests().len();
        let report = downloader(&folder)
            .existing(existing)
            .run([origin.url("/a.bin")])
            .unwrap();
        assert!(report.is_success());
        let expected: Vec<_> = expected.iter().map(|(n, c)| (*n, c.as_bytes())).collect();
        folder.assert_holds(&expected);
        if existing == Existing::Skip {
            assert_eq!((report.skipped, origin.requests().len()), (1, asked));
        }
    }
}

#[test]
fn a_given_name_is_used_and_made_safe() {
    let origin = echo();
    for (given, name) in [("b.bin", "b.bin"), ("../../b.bin", "b.bin"), ("..", "_")] {
        let folder = Folder::new();
        let report = downloader(&folder)
            .out_name(given)
            .run([origin.url("/a.bin")])
            .unwrap();
        assert!(report.is_success());
        folder.assert_holds(&[(name, b"/a.bin")]);
    }
}

/// A file called as another one's partial file, in one run.
#[test]
fn a_name_that_ends_in_part_is_no_partial_file() {
    let origin = echo();
    for paths in [
        ["/a", "/x/a.part", "/x/a.part.json", "/y/a"],
        ["/x/a.part.json", "/x/a.part", "/a", "/y/a"],
    ] {
        let folder = Folder::new();
        let urls = paths.map(|path| origin.url(path));
        let report = downloader(&folder).jobs(1).run(urls).unwrap();
        assert!(report.is_success());
        let mut contents: Vec<_> = folder.files().into_values().collect();
        contents.sort();
        let mut expected = paths.map(|path| path.as_bytes().to_vec());
        expected.sort();
        assert_eq!(contents, expected);
    }
}

/// Case 74.
#[test]
fn links_folders_and_pipes_in_the_way_are_not_written_through() {
    let origin = echo();
    let outside = Folder::new();
    outside.write("secret", "untouched");
    let folder = Folder::new();
    symlink(outside.path().join("secret"), folder.path().join("a.part")).unwrap();
    let outcome = only(downloader(&folder).run([origin.url("/a")]).unwrap());
    assert_failed(&outcome, FailureKind::CannotCreate);

    symlink(outside.path().join("secret"), folder.path().join("b")).unwrap();
    let overwriting = downloader(&folder).existing(Existing::Overwrite);
    let outcome = only(overwriting.run([origin.url("/b")]).unwrap());
    assert_failed(&outcome, FailureKind::CannotCreate);

    std::fs::create_dir(folder.path().join("c")).unwrap();
    let outcome = only(overwriting.run([origin.url("/c")]).unwrap());
    assert_failed(&outcome, FailureKind::CannotCreate);
    folder.assert_holds(&[]);
    outside.assert_holds(&[("secret", b"untouched")]);
}

/// Case 73.
#[test]
fn a_folder_that_cannot_be_written_to_fails_before_any_request() {
    let origin = echo();
    let folder = Folder::new();
    folder.write("file", "");
    for dir in [
        folder.path().join("file/inside"),
        folder.path().join("file"),
    ] {
        let error = downloader(&folder)
            .dir(&dir)
            .run([origin.url("/a")])
            .unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
    assert!(origin.requests().is_empty());
}

/// Case 79: another process has the partial file; its bytes are not touched.
#[test]
fn a_partial_file_that_another_process_writes_is_left_to_it() {
    let folder = Folder::new();
    folder.write("a.part", "theirs");
    // A lock belongs to the open file, so a second one of our own is as good as theirs.
    let theirs = std::fs::File::open(folder.path().join("a.part")).unwrap();
    theirs.lock().unwrap();
    let body = content(100, 0);
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| Served::new(&body, "\"a\"").answer(request, wire)
    });
    let outcome = only(downloader(&folder).run([origin.url("/a")]).unwrap());
    assert_saved(&outcome);
    folder.assert_holds(&[("a.1", &body), ("a.part", b"theirs")]);
}
