//! `greenloop get`: files held against checksums.

use crate::support::{Folder, greenloop};
use serde_json::Value;
use std::fs;

/// Of "hello\n", in the words of the tools of that name.
const MD5: &str = "b1946ac92492d2347c6235b4d2611184";
const SHA1: &str = "f572d396fae9206628714fb2ce00f72e94f2258f";
const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn hello(names: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "hello\n").unwrap();
    }
    folder
}

#[test]
fn verify_tells_of_each_listed_file_as_sha256sum_does() {
    let folder = hello(&["good", "d/with space", "bad"]);
    let none = "0".repeat(64);
    let sums = format!(
        "# from the mirror\n{SHA256}  good\n{SHA256} *d/with space\n{none}  bad\n\
         {SHA256}  missing\nMD5 (good) = {MD5}\nSHA1 (bad) = {SHA1}\n"
    );
    fs::write(folder.path().join("SHA256SUMS"), sums).unwrap();
    let run = greenloop(["get", "--verify", "--check", "SHA256SUMS"])
        .folder(folder.path())
        .run();
    let told = "good: OK\nd/with space: OK\nbad: FAILED\nmissing: FAILED open or read\n\
                good: OK\nbad: OK\n";
    assert_eq!(run.stdout, told, "{run:?}");
    assert!(
        run.stderr.contains("error: missing: no such file"),
        "{run:?}"
    );
    // Of two classes: one that differs, one that is missing.
    assert_eq!(run.code, 1, "{run:?}");

    let run = greenloop([
        "get",
        "--verify",
        "--check",
        "SHA256SUMS",
        "--ignore-missing",
    ])
    .folder(folder.path())
    .run();
    assert!(!run.stdout.contains("missing"), "{run:?}");
    assert_eq!(run.code, 32, "{run:?}");
}

#[test]
fn verify_reads_a_list_from_standard_input_and_looks_below_the_folder() {
    let folder = hello(&["sub/good"]);
    let run = greenloop(["get", "--verify", "--check", "-", "-d", "sub"])
        .input(format!("{SHA256}  good\n"))
        .folder(folder.path())
        .run();
    assert_eq!(run.succeeds(), "good: OK\n");
}

#[test]
fn verify_by_urls_looks_at_their_files_only() {
    let folder = hello(&["a", "b", "other"]);
    let sums = format!("{SHA256}  pool/a\n{SHA256}  c\n{SHA1}  other\n");
    fs::write(folder.path().join("sums"), sums).unwrap();
    let urls = [
        "http://h.invalid/pool/a",
        "http://h.invalid/c",
        "http://h.invalid/b?x",
    ];
    let run = greenloop(
        ["get", "--verify", "--check", "sums", "--json"]
            .into_iter()
            .chain(urls),
    )
    .folder(folder.path())
    .run();
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let kinds: Vec<_> = lines.iter().map(|line| &line["failure"]).collect();
    assert_eq!(
        kinds[..3],
        [&Value::Null, &"not found".into(), &"checksum".into()],
        "{run:?}"
    );
    assert_eq!(lines[0]["verified"][0], "sha-256");
    assert_eq!(
        (&lines[1]["event"], &lines[1]["exitcode"]),
        (&"file".into(), &3.into())
    );
    assert_eq!(lines[3]["event"], "summary");
    assert_eq!(
        (&lines[3]["verified"], &lines[3]["failed"]),
        (&1.into(), &2.into())
    );

    let sum = format!("md5={MD5}");
    let run = greenloop([
        "get",
        "--verify",
        "--checksum",
        &sum,
        "-o",
        "b",
        "http://h.invalid/x",
    ])
    .folder(folder.path())
    .run();
    assert_eq!(run.succeeds(), "b: OK\n");
}

#[test]
fn verify_of_nothing_is_no_success() {
    let folder = Folder::new();
    fs::write(folder.path().join("empty"), "# nothing\n").unwrap();
    let run = greenloop(["get", "--verify", "--check", "empty"])
        .folder(folder.path())
        .run();
    run.fails_with(1, &["no file was verified"]);
    let run = greenloop(["get", "--verify"]).run();
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn what_is_told_of_downloads_does_not_go_with_verify() {
    let told = [
        "--report=r",
        "--save-session=s",
        "--on-download-complete=true",
        "--on-download-error=true",
    ];
    for told in told {
        let run = greenloop(["get", "--verify", "--check", "sums", told]).run();
        run.fails_with(2, &["--verify", "cannot be used with"]);
    }
}

#[test]
fn a_bad_line_of_a_list_is_named_before_anything_is_fetched() {
    let folder = Folder::new();
    let sums = format!("{SHA256}  a\n\nnot a checksum\n");
    fs::write(folder.path().join("sums"), sums).unwrap();
    for verify in [
        &["--verify"][..],
        &["http://127.0.0.1:1/a"],
        &["--verify", "http://h/a"],
    ] {
        let args = ["get", "--check", "sums"]
            .into_iter()
            .chain(verify.iter().copied());
        let run = greenloop(args).folder(folder.path()).run();
        assert_eq!(run.code, 2, "{run:?}");
        assert!(
            run.stderr.contains("checksums in sums: line 3: "),
            "{run:?}"
        );
    }
    let run = greenloop(["get", "--verify", "--check", "none"])
        .folder(folder.path())
        .run();
    run.fails_with(2, &["checksums in none", "no such file"]);
}

#[test]
fn what_is_no_checksum_is_a_wrong_command() {
    for args in [
        &["--checksum", "md5=abc", "http://h/a"][..],
        &["--checksum", "crc32=00000000", "http://h/a"],
        &[
            "--checksum",
            &format!("md5={MD5}"),
            "http://h/a",
            "http://h/b",
        ],
        &["--check-algorithm", "md4", "--check", "x", "http://h/a"],
    ] {
        let run = greenloop(["get"].into_iter().chain(args.iter().copied())).run();
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
    }
}

/// What `/file-6` holds at the origin of these tests.
fn sha256_of_file_6() -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(crate::origin::content(6));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn downloads_are_held_against_checksums_and_lists() {
    let (origin, folder) = (crate::origin::Origin::start(), Folder::new());
    let (url, sum) = (origin.url("file-6"), sha256_of_file_6());
    let right = format!("sha-256={sum}");
    let run = greenloop(["get", "--json", "--checksum", &right, &url])
        .folder(folder.path())
        .run();
    let told = run.succeeds();
    assert!(told.contains(r#""verified":["sha-256"],"#), "{told}");
    assert!(told.contains(r#""content_type":null,"#), "{told}");
    let wrong = format!("sha-256={SHA256}");
    let run = greenloop([
        "get",
        "--retry-wait",
        "0",
        "--checksum",
        &wrong,
        "-o",
        "x",
        &url,
    ])
    .folder(folder.path())
    .run();
    run.fails_with(32, &["sha-256", SHA256, &sum]);
    assert_eq!(folder.names(), ["file-6"]);

    let lists = Folder::new();
    let list = lists.path().join("b3sums");
    fs::write(&list, format!("SHA256 (file-6) = {sum}\n")).unwrap();
    let get = |strict: &str, url: &str| {
        let run = greenloop(["get", strict, "--check"]).arg(&list).arg(url);
        run.folder(folder.path()).run()
    };
    get("--check-strict", &url).succeeds();
    let other = origin.url("file-7");
    let run = get("--no-digest-fields", &other);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("no list has its checksum"), "{run:?}");
    get("--check-strict", &other).fails_with(32, &["it has no checksum"]);
}

#[test]
fn the_list_that_a_run_writes_verifies_it() {
    let (origin, folder) = (crate::origin::Origin::start(), Folder::new());
    let urls = ["file-6", "file-100000"].map(|name| origin.url(name));
    let options = ["get", "-d", "to", "--write-checksums", "SHA256SUMS"].into_iter();
    greenloop(options.chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run()
        .succeeds();
    let list = fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
    assert!(
        list.contains(&format!("{}  file-6\n", sha256_of_file_6())),
        "{list}"
    );
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(folder.names(), ["SHA256SUMS", "to"]);
    let run = greenloop(["get", "--verify", "--check", "SHA256SUMS", "-d", "to"])
        .folder(folder.path())
        .run();
    assert_eq!(
        run.succeeds()
            .lines()
            .filter(|line| line.ends_with(": OK"))
            .count(),
        2
    );
    fs::write(folder.path().join("to/file-6"), "damage").unwrap();
    let run = greenloop(["get", "--verify", "--check", "SHA256SUMS", "-d", "to"])
        .folder(folder.path())
        .run();
    assert_eq!(run.code, 32, "{run:?}");
    let run = greenloop([
        "get",
        "--write-checksums",
        "none/SUMS",
        "http://127.0.0.1:1/x",
    ])
    .folder(folder.path())
    .run();
    run.fails_with(16, &["writing none/SUMS.part"]);
}

#[test]
fn a_page_in_place_of_a_file_fails() {
    let (origin, folder) = (crate::origin::Origin::start(), Folder::new());
    let url = origin.url("file-5");
    for guard in [["--min-size", "6"], ["--expect-type", "image/*,video/*"]] {
        let run = greenloop(["get", guard[0], guard[1], &url])
            .folder(folder.path())
            .run();
        run.fails_with(22, &[&url]);
        assert!(folder.names().is_empty());
    }
    greenloop([
        "get",
        "--min-size",
        "5",
        "--expect-type",
        "!text/html",
        &url,
    ])
    .folder(folder.path())
    .run()
    .succeeds();
}
