//! `greenloop get --dry-run`: what would happen, without any of it.

use crate::origin::Origin;
use crate::support::{Folder, greenloop};
use serde_json::Value;

#[test]
fn a_dry_run_tells_names_and_sizes_and_writes_nothing() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-7", "stall-400000"].map(|name| origin.url(name));
    // Half of the second one never comes: the bodies are not taken.
    for option in ["--dry-run", "--spider", "--dry-run=true"] {
        let run = greenloop(["get", option, "-d", "new/folder", &urls[0], &urls[1]])
            .folder(folder.path())
            .run();
        let told = run.succeeds();
        let small = format!("{} -> new/folder/file-7, 7 B, status 200\n", urls[0]);
        let large = format!(
            "{} -> new/folder/stall-400000, 390.6 KiB, status 200\n",
            urls[1]
        );
        assert!(told.contains(&small) && told.contains(&large), "{run:?}");
        assert!(
            told.contains("checked 2 of 2 files, 390.6 KiB in "),
            "{run:?}"
        );
        assert!(!folder.path().join("new").exists());
    }
}

#[test]
fn a_dry_run_fails_as_a_download_would_and_runs_no_hooks() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-7", "none"].map(|name| origin.url(name));
    let hooks = [
        "--on-download-complete",
        "touch done",
        "--on-download-error",
        "touch failed",
    ];
    let args = ["get", "--dry-run", "--json"].into_iter().chain(hooks);
    let run = greenloop(args.chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run();
    assert_eq!(run.code, 3, "{run:?}");
    let objects = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let objects: Vec<Value> = objects.collect();
    let done = objects
        .iter()
        .find(|object| object["event"] == "done")
        .unwrap();
    assert_eq!(
        (&done["end"], &done["bytes"]),
        (&"checked".into(), &7.into())
    );
    assert_eq!(done["filename_effective"], "./file-7");
    assert_eq!(
        (&done["size_download"], &done["response_code"]),
        (&0.into(), &200.into())
    );
    let summary = objects.last().unwrap();
    assert_eq!(
        (&summary["checked"], &summary["saved"]),
        (&1.into(), &0.into())
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is written, no journal either");
}
