//! Files past 32 bits. They are sparse on the disk, and what comes over the wire is the
//! last of them: nobody reads or writes their zeros.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex};

use greenloop::fetch::Event;

use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TOTAL: u64 = 6 * GIB;

/// What is at `start..end`: each eight bytes say where they are, so that bytes in the wrong
/// place are seen.
fn bytes(start: u64, end: u64) -> Vec<u8> {
    (start..end)
        .map(|at| (!(at & !7)).to_le_bytes()[(at % 8) as usize])
        .collect()
}

/// Serves parts of the file; whoever asks for the whole gets its head and some bytes.
fn origin() -> Origin {
    const PIECE: u64 = 64 * 1024;
    Origin::start(|request, wire| {
        let Some((start, last)) = request.range() else {
            let head = crate::origin::head("200 OK", &["ETag: \"a\""], TOTAL as usize);
            wire.send(head);
            wire.send(bytes(0, PIECE));
            return Then::Stall;
        };
        let (mut at, end) = (start as u64, last.map_or(TOTAL, |last| last as u64 + 1));
        let range = format!("Content-Range: bytes {at}-{}/{TOTAL}", end - 1);
        let length = (end - at) as usize;
        let status = "206 Partial Content";
        wire.send(crate::origin::head(
            status,
            &["ETag: \"a\"", &range],
            length,
        ));
        while at < end {
            let next = (at + PIECE).min(end);
            if !wire.send(bytes(at, next)) {
                // It has what it needs.
                return Then::Close;
            }
            at = next;
        }
        Then::Keep
    })
}

/// Leaves what an earlier run would have: a partial file without the bytes of `holes`.
fn leave_part(folder: &Folder, url: &str, holes: &[(u64, u64)]) {
    let part = File::create(folder.path().join("f.part")).unwrap();
    part.set_len(holes.last().unwrap().0).unwrap();
    let (mut done, mut at) = (Vec::new(), 0);
    for (start, end) in holes {
        done.push(format!("[{at},{start}]"));
        at = *end;
    }
    let facts = format!(
        "{{\"greenloop\":2,\"url\":\"{url}\",\"etag\":\"\\\"a\\\"\",\"last_modified\":null,\"total\":{TOTAL}}}\n{{\"done\":[{}]}}\n",
        done.join(",")
    );
    folder.write("f.part.json", facts);
}

/// What came stands where it belongs, and nothing stands anywhere else.
#[track_caller]
fn assert_filled(folder: &Folder, holes: &[(u64, u64)]) {
    let file = File::open(folder.path().join("f")).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), TOTAL);
    let there = |start: u64, end: u64| {
        let mut found = vec![0; usize::try_from(end - start).unwrap()];
        file.read_exact_at(&mut found, start).unwrap();
        found
    };
    let mut came = 0;
    for (start, end) in holes {
        assert!(there(*start, *end) == bytes(*start, *end), "{start}");
        assert!(there(start - 4096, *start) == vec![0; 4096], "{start}");
        came += end - start;
    }
    // Blocks of 512 bytes; a file system may take some more for a hole's ends.
    let taken = metadata.blocks() * 512;
    assert!(taken <= came + MIB, "{taken} bytes for {came}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Of an answer: what is kept, the whole size, and how far it got.
type Seen = (u64, Option<u64>, u64);

/// Case 75: gone on with a MiB before its end.
#[test]
fn a_file_past_32_bits_is_gone_on_with_where_it_was_cut() {
    const KEPT: u64 = TOTAL - MIB;
    let (folder, origin) = (Folder::new(), origin());
    let url = origin.url("/f");
    leave_part(&folder, &url, &[(KEPT, TOTAL)]);
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let heads = seen.clone();
    let observer = move |_: u64, event: &Event<'_>| match event {
        Event::Head { total, kept, .. } => heads.lock().unwrap().push((*kept, *total, 0)),
        Event::Progress { bytes } => {
            if let Some(last) = heads.lock().unwrap().last_mut() {
                last.2 = *bytes;
            }
        }
        _ => {}
    };
    let run = downloader(&folder).observer(observer).run([url]);
    let outcome = only(run.unwrap());
    assert_saved(&outcome);
    assert_eq!((outcome.bytes, outcome.received), (TOTAL, MIB));
    let requests = origin.requests();
    let ranges: Vec<_> = requests.iter().map(Request::range_start).collect();
    assert_eq!(ranges, [Some(KEPT as usize)]);
    // What a percentage is made of.
    assert_eq!(*seen.lock().unwrap(), [(KEPT, Some(TOTAL), TOTAL)]);
    assert_filled(&folder, &[(KEPT, TOTAL)]);
}

/// Case 75 in segments: holes on both sides of 4 GiB and across it.
#[test]
fn holes_past_32_bits_are_filled_in_segments() {
    let holes = [
        (2 * GIB - MIB, 2 * GIB + MIB),
        (4 * GIB - MIB, 4 * GIB + MIB),
        (TOTAL - MIB, TOTAL),
    ];
    let (folder, origin) = (Folder::new(), origin());
    let url = origin.url("/f");
    leave_part(&folder, &url, &holes);
    let split = downloader(&folder).split(4).split_min(MIB / 2);
    let outcome = only(split.run([url]).unwrap());
    assert_saved(&outcome);
    assert_eq!(outcome.bytes, TOTAL);
    assert!(outcome.received >= 5 * MIB, "{outcome:?}");
    assert_filled(&folder, &holes);
}

/// Case 75: nothing is taken for what is left of a size when its upper bits are gone.
#[test]
fn sizes_past_32_bits_are_told_and_held_against_limits() {
    let (folder, origin) = (Folder::new(), origin());
    let run = |downloader: Downloader| only(downloader.run([origin.url("/f")]).unwrap());
    // 6 GiB are 2 GiB in 32 bits.
    let outcome = run(downloader(&folder).size_max(3 * GIB));
    assert_failed(&outcome, FailureKind::TooLarge);
    assert_eq!((outcome.tries, outcome.received), (1, 0));
    let outcome = run(downloader(&folder).dry_run(true));
    assert!(outcome.failure().is_none(), "{outcome:?}");
    assert_eq!(outcome.bytes, TOTAL);
    folder.assert_holds(&[]);
}
