//! Segments together with what else a download may be told.

use std::time::{Instant, SystemTime};

use greenloop::fetch::{Checksum, Entry};

use super::*;
use crate::origin::Served;

const LENGTH: usize = 640 * 1024;

fn split(folder: &Folder) -> Downloader {
    downloader(folder).split(4).split_min(64 * 1024)
}

/// The first place breaks off and has the file no more. Nothing of its version is in what the
/// mirror brings, which has the mirror's date.
#[test]
fn a_split_file_goes_on_at_a_mirror_whose_version_is_another() {
    const CHANGED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let (old, new) = (content(LENGTH, 1 << 24), content(LENGTH, 2 << 24));
    let first = Origin::start(move |request, wire| match request.nth {
        0 => Served::new(&old, "\"a\"")
            .cut(LENGTH / 2, Then::Close)
            .answer(request, wire),
        _ => wire.answer("404 Not Found", &[], b""),
    });
    let mirror = Origin::start({
        let new = new.clone();
        move |request, wire| {
            let (status, range, body) = match request.range() {
                None => ("200 OK", String::new(), &new[..]),
                Some((start, last)) => {
                    let last = last.unwrap_or(LENGTH - 1).min(LENGTH - 1);
                    let range = format!("Content-Range: bytes {start}-{last}/{LENGTH}");
                    ("206 Partial Content", range, &new[start..=last])
                }
            };
            let mut fields = vec!["ETag: \"a\"", CHANGED];
            fields.extend(Some(&*range).filter(|range| !range.is_empty()));
            wire.answer(status, &fields, body)
        }
    });
    let folder = Folder::new();
    let sum = <sha2::Sha256 as sha2::Digest>::digest(&new);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let sum: Checksum = format!("sha-256={sum}").parse().unwrap();
    // Both places give their versions the same tag.
    let entry = Entry::from(first.url("/f"))
        .mirror(&mirror.url("/f"))
        .checksum(sum);
    let report = split(&folder).remote_time(true).run([entry]).unwrap();
    let outcome = only(report);
    assert_saved(&outcome);
    assert_eq!(outcome.verified.len(), 1);
    folder.assert_holds(&[("f", &new)]);
    let modified = folder.path().join("f").metadata().unwrap().modified();
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(modified.unwrap(), date);
}

/// Whoever waits for his turn is not too slow.
#[test]
fn segments_share_the_limits_and_are_not_slow_for_that() {
    const PER_SECOND: u64 = 128 * 1024;
    let body = content(LENGTH, 0);
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| Served::new(&body, "\"a\"").answer(request, wire)
    });
    for of_each_file in [true, false] {
        let folder = Folder::new();
        let downloader = split(&folder).retries(0);
        let downloader = match of_each_file {
            true => downloader.file_speed_max(PER_SECOND),
            false => downloader.speed_max(PER_SECOND),
        };
        // More than is let through.
        let downloader = downloader.speed_min(4 * PER_SECOND, Duration::from_secs(3));
        let began = Instant::now();
        let outcome = only(downloader.run([origin.url("/f")]).unwrap());
        assert_saved(&outcome);
        folder.assert_holds(&[("f", &body)]);
        // Five seconds' worth, less what may come at once.
        assert!(began.elapsed() >= Duration::from_secs(4), "{outcome:?}");
    }
}
