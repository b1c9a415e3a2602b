//! `greenloop get`: what files are called and where they go.

use crate::origin::{Origin, content};
use crate::support::{Folder, Run, greenloop};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Runs `get` with `options` on the URLs of `names`, in `folder`.
fn get(folder: &Folder, origin: &Origin, options: &[&str], names: &[&str]) -> Run {
    let urls: Vec<_> = names.iter().map(|name| origin.url(name)).collect();
    let arguments = ["get", "--retries", "0"].iter().chain(options).copied();
    greenloop(arguments.chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run()
}

/// All files below a folder, by their paths from there; hidden ones left out.
fn files(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).expect("it is there").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("it is below");
            let name = name.to_str().expect("it is text").to_owned();
            if path.is_dir() {
                walk(root, &path, found);
            } else if !name.starts_with('.') {
                found.insert(name, fs::read(&path).expect("it can be read"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder.path(), folder.path(), &mut found);
    found
}

#[track_caller]
fn assert_names(folder: &Folder, expected: &[&str]) {
    let names: Vec<_> = files(folder).into_keys().collect();
    assert_eq!(names, expected);
}

#[test]
fn get_lays_out_trees_and_templates() {
    let origin = Origin::start();
    let folder = Folder::new();
    get(&folder, &origin, &["--tree"], &["file-3", "file-4"]).succeeds();
    let host = origin.address;
    assert_names(
        &folder,
        &[&format!("{host}/file-3"), &format!("{host}/file-4")],
    );

    let folder = Folder::new();
    let wget = [
        "--force-directories",
        "--no-host-directories",
        "--protocol-directories",
    ];
    get(&folder, &origin, &wget, &["file-3"]).succeeds();
    assert_names(&folder, &["http/file-3"]);

    let folder = Folder::new();
    let template = ["--name-template", "{scheme}/{id:2}_{name}.bin"];
    get(&folder, &origin, &template, &["file-3", "file-4"]).succeeds();
    assert_names(&folder, &["http/01_file-3.bin", "http/02_file-4.bin"]);
}

#[test]
fn get_takes_a_name_with_folders_but_none_outside() {
    let origin = Origin::start();
    let folder = Folder::new();
    get(
        &folder,
        &origin,
        &["-d", "into", "-o", "sub/x"],
        &["file-3"],
    )
    .succeeds();
    assert_names(&folder, &["into/sub/x"]);
    for out in ["../x", "/tmp/x", "a/../x", "", ".", "sub/.."] {
        let run = get(&folder, &origin, &["-o", out], &["file-3"]);
        run.fails_with(2, &["not the name of a file below --dir"]);
    }
}

#[test]
fn get_says_what_is_wrong_with_names() {
    let (origin, folder) = (Origin::start(), Folder::new());
    for (options, reason) in [
        (
            &["--name-template", "{nmae}"][..],
            "{nmae}: there are name, stem",
        ),
        (&["--name-template", "{id"], "a single brace"),
        (&["--cut-dirs", "1"], "--tree"),
        (
            &["--existing", "skip", "--overwrite"],
            "cannot be used with",
        ),
        (&["--newer", "--no-clobber"], "cannot be used with"),
        (
            &["--name-template", "{name}", "--tree"],
            "cannot be used with",
        ),
    ] {
        get(&folder, &origin, options, &["file-3"]).fails_with(2, &[reason]);
    }
    assert_names(&folder, &[]);
}

#[test]
fn get_knows_the_words_of_other_tools_for_files_that_are_there() {
    let origin = Origin::start();
    let new = content(3);
    for (options, code, expected) in [
        (
            &[][..],
            0,
            &[("file-3", &b"old"[..]), ("file-3.1", &new)][..],
        ),
        (
            &["--allow-overwrite=false"],
            0,
            &[("file-3", b"old"), ("file-3.1", &new)],
        ),
        (&["--allow-overwrite"], 0, &[("file-3", &new)]),
        (&["--overwrite=true"], 0, &[("file-3", &new)]),
        (&["--no-clobber"], 0, &[("file-3", b"old")]),
        (&["--skip-existing"], 0, &[("file-3", b"old")]),
        (&["--auto-file-renaming=false"], 13, &[("file-3", b"old")]),
        (&["--existing", "fail"], 13, &[("file-3", b"old")]),
        (&["-c"], 0, &[("file-3", b"old"), ("file-3.1", &new)]),
    ] {
        let folder = Folder::new();
        fs::write(folder.path().join("file-3"), "old").unwrap();
        let run = get(&folder, &origin, options, &["file-3"]);
        assert_eq!(run.code, code, "{options:?}: {run:?}");
        let expected = expected.iter().map(|(n, c)| ((*n).to_owned(), c.to_vec()));
        assert_eq!(files(&folder), expected.collect(), "{options:?}");
    }
}

#[test]
fn get_newer_fetches_nothing_twice() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let first = get(&folder, &origin, &["--newer"], &["file-3", "file-200000"]);
    assert!(first.succeeds().contains("saved 2 of 2"), "{first:?}");
    for option in ["-N", "--timestamping", "--conditional-get=true"] {
        let again = get(&folder, &origin, &[option], &["file-3", "file-200000"]);
        assert!(
            again.succeeds().contains("saved 0 of 2 files, 0 B"),
            "{again:?}"
        );
    }
    assert_names(&folder, &["file-200000", "file-3"]);
}

#[test]
fn get_confines_the_folders_of_a_list() {
    let (origin, folder, outside) = (Origin::start(), Folder::new(), Folder::new());
    let list = format!(
        "{url}\n  dir={}\n  out=x\n",
        outside.path().display(),
        url = origin.url("file-3")
    );
    fs::write(folder.path().join(".list"), list).unwrap();
    let run = get(&folder, &origin, &["-i", ".list"], &[]);
    run.fails_with(16, &["leads out of the folder", "--allow-any-dir"]);
    assert_names(&outside, &[]);
    get(&folder, &origin, &["-i", ".list", "--allow-any-dir"], &[]).succeeds();
    assert_names(&outside, &["x"]);
    assert_names(&folder, &[]);
}
