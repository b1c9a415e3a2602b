//! The downloader against a hostile origin.
//!
//! The numbers in the comments are those of the cases that the peers were run against.

mod again;
mod auth;
mod cases;
mod combined;
mod cookies;
mod decode;
mod dry_run;
mod faults;
mod framing;
mod http2;
mod huge;
mod journal;
mod names;
mod odd;
mod pace;
mod places;
mod power;
mod proxy;
mod resume;
mod retry;
mod run;
mod segments;
mod tls;
mod tls_origin;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenloop::fetch::{Downloader, End, FailureKind, Outcome, Report};

use crate::origin::{Origin, Request, Then, Wire};

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenloop-fetch-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// Everything in it but the journal: name to content.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(&self.0).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .map(|file| {
                let name = file.file_name().into_string().unwrap();
                (name, std::fs::read(file.path()).unwrap())
            })
            .filter(|(name, _)| name != ".greenloop.journal")
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    #[track_caller]
    pub(crate) fn assert_holds(&self, expected: &[(&str, &[u8])]) {
        let names: Vec<_> = expected
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        assert_eq!(self.names(), names);
        let files = self.files();
        for (name, content) in expected {
            assert!(
                files[*name] == *content,
                "{name}: {} bytes",
                files[*name].len()
            );
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A downloader with small limits, for a local origin.
pub(crate) fn downloader(folder: &Folder) -> Downloader {
    Downloader::new()
        .dir(folder.path())
        .retries(3)
        .retry_delay(Duration::from_millis(1), Duration::from_millis(4))
        .connect_timeout(Duration::from_secs(5))
        .head_timeout(Duration::from_secs(10))
        .idle_timeout(Duration::from_secs(10))
        .flush(greenloop::fetch::Flush::Never)
}

/// Downloads `/f` of an origin that keeps the head back for longer than is waited.
#[track_caller]
pub(crate) fn without_a_head_in_time(folder: &Folder, origin: &Origin) -> Outcome {
    let downloader = downloader(folder)
        .retries(0)
        .connect_timeout(Duration::from_millis(100))
        .head_timeout(Duration::from_millis(100));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    outcome
}

/// Downloads `/f` from an origin with this script.
pub(crate) fn fetch(
    script: impl Fn(&Request, &mut Wire) -> Then + Send + Sync + 'static,
) -> (Folder, Origin, Outcome) {
    let folder = Folder::new();
    let origin = Origin::start(script);
    let report = downloader(&folder).run([origin.url("/f")]).unwrap();
    let outcome = only(report);
    (folder, origin, outcome)
}

/// Downloads `/f` from an origin with this script, which saves it with these bytes.
#[track_caller]
pub(crate) fn fetch_saved(
    body: &[u8],
    script: impl Fn(&Request, &mut Wire) -> Then + Send + Sync + 'static,
) -> Outcome {
    let (folder, _origin, outcome) = fetch(script);
    assert_saved(&outcome);
    folder.assert_holds(&[("f", body)]);
    outcome
}

pub(crate) fn only(mut report: Report) -> Outcome {
    assert_eq!(report.outcomes.len(), 1);
    report.outcomes.remove(0)
}

#[track_caller]
pub(crate) fn assert_saved(outcome: &Outcome) {
    assert!(matches!(outcome.end, End::Saved), "{outcome:?}");
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &Outcome, kind: FailureKind) {
    assert_eq!(
        outcome.failure().map(|failure| failure.kind()),
        Some(kind),
        "{outcome:?}"
    );
}

/// Bytes in which every position is told from its neighbours, others for each seed.
pub(crate) fn content(length: usize, seed: u32) -> Vec<u8> {
    // Only the upper bits show: small seeds have to reach them, too.
    let seed = seed.wrapping_mul(2_246_822_519);
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8)
        .collect()
}
