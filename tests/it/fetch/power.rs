//! What a power failure leaves behind: notes that are cut off anywhere, and less of the
//! files than the notes tell. (That no more is told than what is on the disk is for
//! `cli/get_order`.)

use super::*;
use crate::origin::Served;

const JOURNAL: &str = ".greenloop.journal";
const LENGTH: usize = 200_000;

fn first_line(url: &str, etag: &str) -> String {
    let tag = etag.replace('"', "\\\"");
    format!(
        "{{\"greenloop\":2,\"url\":\"{url}\",\"etag\":\"{tag}\",\"last_modified\":null,\"total\":{LENGTH}}}\n"
    )
}

fn serving(body: &[u8]) -> Origin {
    let body = body.to_vec();
    Origin::start(move |request, wire| Served::new(&body, "\"a\"").answer(request, wire))
}

/// Case 77: a last line that was cut off tells nothing, wherever it was cut.
#[test]
fn facts_that_were_cut_off_count_as_far_as_they_go() {
    let body = content(LENGTH, 1);
    let origin = serving(&body);
    let url = origin.url("/f");
    let first = first_line(&url, "\"a\"");
    let second = format!("{first}{{\"done\":[[0,70000]]}}\n");
    let whole = format!("{second}{{\"done\":[[0,150000]]}}\n");
    let cuts = [0, 1, first.len() - 1, first.len()]
        .into_iter()
        .chain(first.len() + 1..=whole.len());
    for cut in cuts {
        let folder = Folder::new();
        folder.write("f.part", &body[..150_000]);
        folder.write("f.part.json", &whole[..cut]);
        let outcome = only(downloader(&folder).run([&*url]).unwrap());
        assert_saved(&outcome);
        let kept = match cut {
            cut if cut == whole.len() => Some(150_000),
            cut if cut >= second.len() => Some(70_000),
            _ => None,
        };
        let asked = origin.requests().pop().unwrap();
        assert_eq!(asked.range_start(), kept, "cut at {cut}");
        let found = std::fs::read(folder.path().join("f")).unwrap();
        assert!(found == body, "cut at {cut}");
    }
}

/// Case 77: bytes that were lost are fetched again.
#[test]
fn facts_about_bytes_that_were_lost_are_not_believed() {
    let body = content(LENGTH, 2);
    let origin = serving(&body);
    let url = origin.url("/f");
    let facts = first_line(&url, "\"a\"") + "{\"done\":[[0,90000],[120000,150000]]}\n";
    for there in [0, 1, 50_000, 90_000, 130_000] {
        let folder = Folder::new();
        folder.write("f.part", &body[..there]);
        folder.write("f.part.json", &facts);
        let before = origin.requests().len();
        let outcome = only(downloader(&folder).run([&*url]).unwrap());
        assert_saved(&outcome);
        let kept = there.min(90_000);
        let asked = &origin.requests()[before];
        assert_eq!(asked.range_start(), (kept > 0).then_some(kept), "{there}");
        folder.assert_holds(&[("f", &body)]);
    }
}

/// The line of a file in the journal.
fn journalled(origin: &Origin, path: &str, bytes: usize) -> String {
    let url = origin.url(path);
    let name = &path[1..];
    format!("{{\"done\":\"{url}\",\"path\":\"{name}\",\"bytes\":{bytes},\"etag\":\"\\\"a\\\"\"}}\n")
}

/// Case 77: the journal may be ahead of the folder, and end in the middle of a line.
#[test]
fn a_journal_is_believed_about_files_that_are_there() {
    let body = content(1000, 3);
    let origin = serving(&body);
    let paths = ["/there", "/gone", "/empty", "/shorter", "/cut"];
    let lines = paths.map(|path| journalled(&origin, path, 1000)).concat();
    for cut in [1, 2, 40, lines.len() / paths.len() - 1] {
        let folder = Folder::new();
        folder.write(JOURNAL, &lines[..lines.len() - cut]);
        folder.write("there", &body);
        folder.write("empty", b"");
        folder.write("shorter", &body[..999]);
        let urls = paths.map(|path| origin.url(path));
        let before = origin.requests().len();
        let report = downloader(&folder).run(urls).unwrap();
        assert!(report.is_success(), "{report:?}");
        // What stands there and is not what was saved is left alone.
        folder.assert_holds(&[
            ("cut", &body),
            ("empty", b""),
            ("empty.1", &body),
            ("gone", &body),
            ("shorter", &body[..999]),
            ("shorter.1", &body),
            ("there", &body),
        ]);
        let mut asked = origin.requests().split_off(before);
        asked.sort_by(|one, other| one.path.cmp(&other.path));
        let asked: Vec<_> = asked.iter().map(|request| &*request.path).collect();
        assert_eq!(asked, ["/cut", "/empty", "/gone", "/shorter"], "{cut}");
    }
}

/// Killed between the line in the journal and the name: the file is not done, is not
/// saved twice, and a large one is not fetched once more, if its version can be told.
#[test]
fn a_file_that_was_journalled_and_not_named_is_not_done() {
    for (length, etag) in [(1000, None), (LENGTH, Some("")), (LENGTH, Some("\"a\""))] {
        let body = content(length, 4);
        let origin = serving(&body);
        let (folder, url) = (Folder::new(), origin.url("/f"));
        folder.write(JOURNAL, journalled(&origin, "/f", length));
        folder.write("f.part", &body);
        if let Some(etag) = etag {
            let done = format!("{{\"done\":[[0,{length}]]}}\n");
            folder.write("f.part.json", first_line(&url, etag) + &done);
        }
        let outcome = only(downloader(&folder).run([url]).unwrap());
        assert_saved(&outcome);
        let is_kept = etag == Some("\"a\"");
        let expected = if is_kept { 1 } else { length };
        assert_eq!(outcome.received, expected as u64);
        folder.assert_holds(&[("f", &body)]);
        assert!(!folder.path().join(JOURNAL).exists());
    }
}

/// Facts without their bytes, beside other files: of what comes later they tell nothing,
/// also if the server names the file.
#[test]
fn facts_that_were_left_alone_are_about_nothing() {
    const NAMED: &str = "Content-Disposition: attachment; filename=f";
    for (length, field) in [
        (1000, "X-None: 1"),
        (LENGTH, "X-None: 1"),
        (1000, NAMED),
        (LENGTH, NAMED),
    ] {
        let body = content(length, 5);
        let served = body.clone();
        let origin =
            Origin::start(move |_, wire| wire.answer("200 OK", &["ETag: \"b\"", field], &served));
        let (folder, url) = (Folder::new(), origin.url("/f"));
        folder.write("other", b"other");
        let facts = first_line(&url, "\"a\"") + "{\"done\":[[0,150000]]}\n";
        folder.write("f.part.json", &facts);
        let outcome = only(downloader(&folder).run([url]).unwrap());
        assert_saved(&outcome);
        let asked = origin.requests().pop().unwrap();
        assert_eq!(asked.range_start(), None);
        folder.assert_holds(&[("f", &body), ("other", b"other")]);
    }
}

/// Facts of one version beside bytes of another would splice the two.
#[test]
fn facts_that_were_left_alone_do_not_stay_beside_new_bytes() {
    let (old, new) = (content(LENGTH, 6), content(LENGTH, 7));
    // No answer is ever whole, so that what is left is what was written.
    let origin = Origin::start(move |request, wire| match request.nth {
        0 => Served::new(&new, "\"b\"")
            .cut(100_000, Then::Close)
            .answer(request, wire),
        _ => Served::new(&old, "\"a\"").answer(request, wire),
    });
    let (folder, url) = (Folder::new(), origin.url("/f"));
    folder.write("other", b"other");
    let facts = first_line(&url, "\"a\"") + "{\"done\":[[0,150000]]}\n";
    folder.write("f.part.json", &facts);
    let outcome = only(downloader(&folder).retries(0).run([&*url]).unwrap());
    assert!(outcome.failure().is_some(), "{outcome:?}");
    let outcome = only(downloader(&folder).run([&*url]).unwrap());
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &content(LENGTH, 6)), ("other", b"other")]);
}
