//! Whole runs: many at once, limits, stops.

use std::io::Cursor;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, mpsc};

use greenloop::fetch::{Entry, Event, UrlList};

use super::*;
use crate::origin::Served;
use crate::support::eventually;

#[test]
fn two_hundred_small_files_at_width_64() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| {
        let n: u32 = request.path[1..].parse().unwrap();
        wire.answer("200 OK", &[], &content(n as usize * 37, n << 24))
    });
    let urls = (0..200).map(|n| origin.url(&format!("/{n}")));
    let report = downloader(&folder)
        .jobs(64)
        .flush(greenloop::fetch::Flush::Each)
        .run(urls)
        .unwrap();
    assert!(report.is_success(), "{:?}", report.failures);
    assert_eq!(report.saved, 200);
    let files = folder.files();
    assert_eq!(files.len(), 200);
    for (name, found) in files {
        let n: u32 = name.parse().unwrap();
        assert!(found == content(n as usize * 37, n << 24), "{name}");
    }
    let ids: Vec<_> = report.outcomes.iter().map(|outcome| outcome.id).collect();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
}

/// The same inside a greenlet.
#[test]
fn a_run_may_be_started_by_a_greenlet() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"x"));
    let (downloader, url) = (downloader(&folder), origin.url("/a"));
    let report = greenloop::spawn(move || downloader.run([url]))
        .join()
        .unwrap()
        .unwrap();
    assert!(report.is_success());
    folder.assert_holds(&[("a", b"x")]);
}

#[test]
fn requests_at_once_are_limited_in_all_and_per_host() {
    let most = Arc::new(AtomicUsize::new(0));
    let count = |now: Arc<AtomicUsize>, most: Arc<AtomicUsize>| {
        move |_: &Request, wire: &mut Wire| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            now.fetch_sub(1, Ordering::SeqCst);
            wire.answer("200 OK", &[], b"x")
        }
    };
    let origin = Origin::start(count(Arc::default(), most.clone()));
    let urls = |n| {
        (0..n)
            .map(|n| origin.url(&format!("/{n}")))
            .collect::<Vec<_>>()
    };
    let folder = Folder::new();
    assert!(
        downloader(&folder)
            .jobs(5)
            .run(urls(50))
            .unwrap()
            .is_success()
    );
    assert!((2..=5).contains(&most.swap(0, Ordering::SeqCst)));
    let folder = Folder::new();
    assert!(
        downloader(&folder)
            .jobs(50)
            .per_host(2)
            .run(urls(50))
            .unwrap()
            .is_success()
    );
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}

/// Case 80: the input is read as slots free up, also if it never ends.
#[test]
fn an_endless_input_is_read_as_it_is_needed() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"x"));
    let done = Arc::new(AtomicUsize::new(0));
    let taken = Arc::new(AtomicUsize::new(0));
    let downloader = downloader(&folder).discard().jobs(2);
    let stop = downloader.stop_handle();
    let observer = {
        let done = done.clone();
        move |_: u64, event: &Event<'_>| {
            if matches!(event, Event::Done(_)) && done.fetch_add(1, Ordering::SeqCst) == 100 {
                stop.stop();
            }
        }
    };
    let urls = (0..).map(|n| {
        let ahead = taken.fetch_add(1, Ordering::SeqCst) - done.load(Ordering::SeqCst);
        assert!(ahead <= 16, "{ahead}");
        origin.url(&format!("/{n}"))
    });
    let report = downloader.observer(observer).run(urls).unwrap();
    assert!(report.is_stopped && report.saved > 100);
    folder.assert_holds(&[]);
}

#[test]
fn bad_lines_and_duplicates_are_told_and_the_rest_is_fetched() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"x"));
    let list = format!(
        "# list\n{0}/a\nnonsense\n{0}/a#again\n{0}/b\n",
        origin.url("")
    );
    let entries = UrlList::new(Cursor::new(list)).map(Result::unwrap);
    let report = downloader(&folder).run(entries).unwrap();
    assert_eq!((report.saved, report.failed, report.duplicates), (2, 1, 1));
    let bad = &report.outcomes[1];
    assert_failed(bad, FailureKind::BadUrl);
    assert_eq!((bad.line, &*bad.url), (Some(3), "nonsense"));
    assert!(!report.is_success());
    folder.assert_holds(&[("a", b"x"), ("b", b"x")]);
}

#[test]
fn events_tell_the_story_of_a_download() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| match request.nth {
        0 => wire.answer("500 Internal Server Error", &[], b""),
        _ => wire.answer("200 OK", &[], b"0123"),
    });
    let story = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let story = story.clone();
        move |id: u64, event: &Event<'_>| {
            let text = match event {
                Event::Started { url } => format!("started {}", url.rsplit('/').next().unwrap()),
                Event::Head { name, total, kept } => format!("head {name} {total:?} {kept}"),
                Event::Progress { bytes } => format!("progress {bytes}"),
                Event::Retrying { failure, .. } => format!("retrying {}", failure.kind()),
                Event::Done(outcome) => format!("done {}", outcome.bytes),
                Event::Failed(outcome) => format!("failed {:?}", outcome.failure()),
                _ => "other".to_owned(),
            };
            story.lock().unwrap().push(format!("{id}: {text}"));
        }
    };
    downloader(&folder)
        .observer(observer)
        .run([origin.url("/f")])
        .unwrap();
    assert_eq!(
        *story.lock().unwrap(),
        [
            "1: started f",
            "1: retrying server busy",
            "1: head f Some(4) 0",
            "1: progress 4",
            "1: done 4",
        ]
    );
}

/// One of three is killed; the others are not disturbed.
#[test]
fn one_download_can_be_killed() {
    let folder = Folder::new();
    let body = content(100_000, 0);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::start({
        let body = body.clone();
        move |request, wire| {
            let served = Served::new(&body, "\"a\"");
            match &*request.path {
                "/2" => served.cut(50_000, Then::Stall).answer(request, wire),
                _ => {
                    // Not before the kill.
                    let _ = released
                        .lock()
                        .unwrap()
                        .recv_timeout(Duration::from_secs(20));
                    served.answer(request, wire)
                }
            }
        }
    });
    let (tell, told) = mpsc::sync_channel(1);
    let downloader = downloader(&folder).observer(move |id: u64, event: &Event<'_>| {
        if matches!(event, Event::Progress { bytes: 50_000 }) {
            let _ = tell.try_send(id);
        }
    });
    let stop = downloader.stop_handle();
    let urls = ["/1", "/2", "/3"].map(|path| origin.url(path));
    let run = std::thread::spawn(move || downloader.run(urls).unwrap());
    let id = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(id, 2);
    assert!(stop.kill(id));
    drop(release);
    let report = run.join().unwrap();
    assert!(!report.is_stopped);
    assert_failed(&report.outcomes[1], FailureKind::Stopped);
    assert_eq!((report.saved, report.failed), (2, 1));
    assert_eq!(folder.names(), ["1", "2.part", "2.part.json", "3"]);
    assert!(!stop.kill(id), "it has ended");
}

/// The disk is slower than the net: what has come and is not there yet is bounded.
#[test]
fn files_that_wait_for_the_disk_hold_up_the_input() {
    const FILES: usize = 1500;
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"x"));
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let downloader = downloader(&folder)
        .jobs(8)
        .observer(move |_: u64, event: &Event<'_>| {
            // It is told by those who give the files their names, and holds them up.
            if matches!(event, Event::Done(_)) {
                let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
            }
        });
    let taken = Arc::new(AtomicUsize::new(0));
    let input = {
        let (taken, url) = (taken.clone(), origin.url(""));
        (0..FILES).map(move |n| {
            taken.fetch_add(1, Ordering::SeqCst);
            format!("{url}/{n}")
        })
    };
    let run = std::thread::spawn(move || downloader.run(input).unwrap());
    let mut before = 0;
    eventually("the input rests", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = taken.load(Ordering::SeqCst);
        now > 0 && std::mem::replace(&mut before, now) == now
    });
    // 256 wait, 256 are in hand, 10 are under way.
    assert!(before <= 522, "{before} were taken");
    drop(release);
    assert_eq!(run.join().unwrap().saved, FILES as u64);
}

/// Stopped while some run, some wait for a slot and the rest is not yet taken.
#[test]
fn a_stop_ends_everything_and_leaves_nothing_half() {
    let folder = Folder::new();
    let answered = AtomicUsize::new(0);
    // Which one comes first is not settled.
    let origin = Origin::start(
        move |_, wire| match answered.fetch_add(1, Ordering::SeqCst) {
            0 => wire.answer("200 OK", &[], b"x"),
            _ => Then::Stall,
        },
    );
    let (tell, told) = mpsc::sync_channel(8);
    let downloader = downloader(&folder)
        .jobs(2)
        .observer(move |_: u64, event: &Event<'_>| {
            if matches!(event, Event::Started { .. }) {
                let _ = tell.try_send(());
            }
        });
    let stop = downloader.stop_handle();
    let urls: Vec<_> = (0..100).map(|n| origin.url(&format!("/{n}"))).collect();
    let run = std::thread::spawn(move || downloader.run(urls).unwrap());
    for _ in 0..3 {
        told.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    stop.stop();
    let report = run.join().unwrap();
    assert!(report.is_stopped && !report.is_success());
    assert_eq!(report.saved, 1);
    assert_eq!(
        report.failures.into_keys().collect::<Vec<_>>(),
        [FailureKind::Stopped]
    );
    assert_eq!(folder.files().into_values().collect::<Vec<_>>(), [b"x"]);
}

/// Killing the caller of `run` stops what it started.
#[test]
fn a_killed_caller_takes_its_downloads_along() {
    let folder = Folder::new();
    let origin = Origin::start(|_, _| Then::Stall);
    let (tell, told) = mpsc::sync_channel(1);
    let downloader = downloader(&folder).observer(move |_: u64, event: &Event<'_>| {
        if matches!(event, Event::Started { .. }) {
            let _ = tell.try_send(());
        }
    });
    let url = origin.url("/f");
    // What a killed greenlet returns is dropped, so the report takes another way.
    let (hand, handed) = mpsc::channel();
    let caller = greenloop::spawn(move || {
        hand.send(downloader.run([Entry::from(url)]).unwrap())
            .unwrap();
    });
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    caller.kill();
    let report = handed.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(report.is_stopped);
    assert_failed(&report.outcomes[0], FailureKind::Stopped);
    folder.assert_holds(&[]);
}

/// A timeout of the caller's stops and reports like a kill.
#[test]
fn a_caller_that_times_out_takes_its_downloads_along() {
    let folder = Folder::new();
    let origin = Origin::start(|_, _| Then::Stall);
    let (downloader, url) = (downloader(&folder), origin.url("/f"));
    let caller = greenloop::spawn(move || {
        let _limit = greenloop::Timeout::start(Duration::from_millis(20));
        downloader.run([url])
    });
    let report = caller.join().unwrap().unwrap();
    assert!(report.is_stopped);
    assert_failed(&report.outcomes[0], FailureKind::Stopped);
    folder.assert_holds(&[]);
}

#[test]
fn a_discarding_run_counts_and_saves_nothing() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("200 OK", &[], b"0123"));
    let report = downloader(&folder)
        .discard()
        .run([origin.url("/f")])
        .unwrap();
    assert_eq!((report.saved, report.received), (1, 4));
    folder.assert_holds(&[]);
}
