//! Which folders files go to, and that they go nowhere else.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use greenloop::fetch::{Entry, Existing};

use super::*;

/// Answers every path with itself.
fn echo() -> Origin {
    Origin::start(|request, wire| wire.answer("200 OK", &[], request.path.as_bytes()))
}

/// All files below a folder, by their paths from there.
fn tree(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), std::fs::read(&path).unwrap_or_default());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder.path(), folder.path(), &mut found);
    found
}

fn paths(folder: &Folder) -> Vec<String> {
    tree(folder).into_keys().collect()
}

#[test]
fn a_tree_has_the_folders_of_its_urls() {
    let origin = echo();
    let folder = Folder::new();
    let urls = [
        "/a/b/c.txt",
        "/a/b/d.txt",
        "/x?p=1",
        "/x?p=2",
        "/a/",
        "/%2e%2e/e",
    ];
    let report = downloader(&folder)
        .tree(true)
        .run(urls.map(|path| origin.url(path)))
        .unwrap();
    assert!(report.is_success(), "{report:?}");
    let host = origin.addr.to_string();
    let expected = [
        ("a/b/c.txt", "/a/b/c.txt"),
        ("a/b/d.txt", "/a/b/d.txt"),
        ("a/index.html", "/a/"),
        ("e", "/e"),
        ("x?p=1", "/x?p=1"),
        ("x?p=2", "/x?p=2"),
    ]
    .map(|(path, content)| (format!("{host}/{path}"), content.as_bytes().to_vec()));
    assert_eq!(tree(&folder), BTreeMap::from(expected));
    for outcome in report.outcomes {
        let content = std::fs::read_to_string(outcome.path.unwrap()).unwrap();
        assert!(outcome.url.ends_with(&content), "{content}");
    }

    let folder = Folder::new();
    let flat = downloader(&folder)
        .tree_hosts(false)
        .tree_cut(1)
        .tree_protocols(true);
    assert!(flat.run([origin.url("/a/b/c.txt")]).unwrap().is_success());
    assert_eq!(paths(&folder), ["http/b/c.txt"]);
}

#[test]
fn a_template_names_files_and_folders() {
    let origin = echo();
    let folder = Folder::new();
    let report = downloader(&folder)
        .name_template("{path}/{id:3}-{stem}.x{ext}".parse().unwrap())
        .run([origin.url("/a/b.tar.gz"), origin.url("/c/d")])
        .unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(paths(&folder), ["a/001-b.x.tar.gz", "c/002-d.x"]);
}

#[test]
fn entries_have_names_and_folders_of_their_own() {
    let origin = echo();
    let folder = Folder::new();
    let entry = |path: &str| Entry::from(origin.url(path));
    let report = downloader(&folder)
        .run([
            entry("/1").out("one"),
            entry("/2").out("sub/two"),
            entry("/3").dir("sub/deep"),
            entry("/4").dir("sub").out("../../four"),
            entry("/5").dir(folder.path().join("own")),
            entry("/6").out("/etc/six"),
        ])
        .unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(
        paths(&folder),
        [
            "etc/six",
            "one",
            "own/5",
            "sub/deep/3",
            "sub/four",
            "sub/two"
        ]
    );
}

#[test]
fn the_folder_of_an_entry_leads_out_only_where_that_is_allowed() {
    let origin = echo();
    let (folder, outside) = (Folder::new(), Folder::new());
    let entries = |n: usize| {
        let up = Path::new("..").join(outside.path().file_name().unwrap());
        [outside.path().to_owned(), up]
            .map(|dir| Entry::from(origin.url(&format!("/{n}"))).dir(dir))
    };
    for entry in entries(1) {
        let outcome = only(downloader(&folder).run([entry]).unwrap());
        assert_failed(&outcome, FailureKind::CannotCreate);
    }
    assert!(origin.requests().is_empty(), "refused before any request");
    outside.assert_holds(&[]);
    for entry in entries(2) {
        let report = downloader(&folder)
            .allow_any_dir(true)
            .run([entry])
            .unwrap();
        assert!(report.is_success(), "{report:?}");
    }
    outside.assert_holds(&[("2", b"/2"), ("2.1", b"/2")]);
    folder.assert_holds(&[]);
}

/// Case 65: also not through links that stand in the folder.
#[test]
fn links_in_the_folder_lead_nowhere() {
    let origin = echo();
    let (folder, outside) = (Folder::new(), Folder::new());
    symlink(outside.path(), folder.path().join("out")).unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    symlink(outside.path(), folder.path().join("in/out")).unwrap();
    let into = |dir: &str| Entry::from(origin.url("/f")).dir(dir);
    for dir in ["out", "out/new", "in/out", "in/out/new"] {
        let outcome = only(downloader(&folder).run([into(dir)]).unwrap());
        assert_failed(&outcome, FailureKind::CannotCreate);
        let failure = outcome.failure().unwrap().to_string();
        assert!(
            failure.contains("a symbolic link, which is not followed"),
            "{failure}"
        );
    }
    let tree = downloader(&folder).tree_hosts(false);
    let outcome = only(tree.run([origin.url("/out/f")]).unwrap());
    assert_failed(&outcome, FailureKind::CannotCreate);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(origin.requests().is_empty());
}

/// The folder of the run is the user's own choice, links and all.
#[test]
fn the_folder_of_the_run_may_be_a_link() {
    let origin = echo();
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let link = folder.path().join("link");
    symlink(elsewhere.path(), &link).unwrap();
    let report = downloader(&folder)
        .dir(&link)
        .run([origin.url("/f")])
        .unwrap();
    assert!(report.is_success());
    elsewhere.assert_holds(&[("f", b"/f")]);
}

/// Case 74.
#[test]
fn a_file_in_the_place_of_a_folder_is_named() {
    let origin = echo();
    let folder = Folder::new();
    folder.write("a", "a file");
    let tree = downloader(&folder).tree_hosts(false);
    let outcome = only(tree.run([origin.url("/a/b")]).unwrap());
    assert_failed(&outcome, FailureKind::CannotCreate);
    let failure = outcome.failure().unwrap().to_string();
    assert!(failure.ends_with("/a: a file stands there"), "{failure}");
    folder.assert_holds(&[("a", b"a file")]);
    // The other way round a file finds another name.
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    assert!(
        downloader(&folder)
            .run([origin.url("/b")])
            .unwrap()
            .is_success()
    );
    folder.assert_holds(&[("b.1", b"/b")]);
}

#[test]
fn two_urls_of_one_place_are_two_files() {
    let origin = echo();
    for existing in [Existing::Number, Existing::Overwrite, Existing::Fail] {
        let folder = Folder::new();
        let urls = (0..10).map(|n| Entry::from(origin.url(&format!("/{n}/f"))).dir("a/b"));
        let report = downloader(&folder).existing(existing).run(urls).unwrap();
        assert_eq!(report.saved, 10, "{existing:?}: {report:?}");
        assert_eq!(tree(&folder).len(), 10);
    }
}

#[test]
fn redirects_name_the_file_where_they_are_trusted() {
    let origin = Origin::start(|request, wire| match request.path.as_str() {
        "/first" => wire.answer("302 Found", &["Location: /d/.last"], b""),
        path => wire.answer("200 OK", &[], path.as_bytes()),
    });
    for (trust, name) in [(false, "first"), (true, "_last")] {
        let folder = Folder::new();
        let trusting = downloader(&folder).trust_server_names(trust);
        assert!(trusting.run([origin.url("/first")]).unwrap().is_success());
        folder.assert_holds(&[(name, b"/d/.last")]);
    }
}

#[test]
fn a_suggested_name_can_be_turned_down() {
    let origin = Origin::start(|_, wire| {
        let named = "Content-Disposition: attachment; filename=\"n.bin\"";
        wire.answer("200 OK", &[named], b"x")
    });
    let folder = Folder::new();
    let unnamed = downloader(&folder).content_disposition(false);
    assert!(unnamed.run([origin.url("/u.bin")]).unwrap().is_success());
    folder.assert_holds(&[("u.bin", b"x")]);
    let folder = Folder::new();
    let tree = downloader(&folder).tree_hosts(false);
    assert!(tree.run([origin.url("/d/u.bin")]).unwrap().is_success());
    assert!(
        tree.content_disposition(true)
            .run([origin.url("/d/v.bin")])
            .unwrap()
            .is_success()
    );
    assert_eq!(paths(&folder), ["d/n.bin", "d/u.bin"]);
}

/// Permissions are what the umask leaves, as for any other program's files.
#[test]
fn permissions_are_those_of_other_new_files() {
    let origin = echo();
    let folder = Folder::new();
    let saved = downloader(&folder)
        .run([Entry::from(origin.url("/f")).dir("d")])
        .unwrap();
    assert!(saved.is_success());
    folder.write("other", "");
    std::fs::create_dir(folder.path().join("e")).unwrap();
    let mode = |name: &str| {
        let metadata = folder.path().join(name).metadata().unwrap();
        (metadata.permissions().mode(), metadata.uid())
    };
    assert_eq!(mode("d/f"), mode("other"));
    assert_eq!(mode("d"), mode("e"));
}

/// Many folders, few descriptors.
#[test]
fn a_tree_of_many_folders_does_not_keep_them_open() {
    let origin = echo();
    let folder = Folder::new();
    let urls = (0..400).map(|n| origin.url(&format!("/d{n}/f")));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let root = folder.path().to_owned();
    let report = downloader(&folder)
        .tree_hosts(false)
        .jobs(4)
        .observer(move |id: u64, event: &greenloop::fetch::Event<'_>| {
            if matches!(event, greenloop::fetch::Event::Done(_)) && id.is_multiple_of(20) {
                seen.fetch_max(open_below(&root), Ordering::Relaxed);
            }
        })
        .run(urls)
        .unwrap();
    assert_eq!(report.saved, 400);
    assert_eq!(tree(&folder).len(), 400);
    let most = most.load(Ordering::Relaxed);
    assert!((1..=150).contains(&most), "{most} descriptors");
}

/// Descriptors of this process that are below a folder.
fn open_below(root: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(root)))
        .count()
}
