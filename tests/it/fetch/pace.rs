//! How much at once, how patiently, how fast; dead hosts and mirrors.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use greenloop::fetch::{Entry, Event};

use super::*;

const BODY: &[u8] = b"0123456789abcdef";

fn live() -> Origin {
    Origin::start(|_, wire| wire.answer("200 OK", &[], BODY))
}

fn urls(origin: &Origin, count: usize) -> impl Iterator<Item = String> {
    let base = origin.url("");
    (0..count).map(move |n| format!("{base}/{n}"))
}

/// A URL to which nobody listens.
fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Runs until so many have been saved; returns how long that took, and the report.
fn until_saved(downloader: Downloader, count: usize, urls: Vec<String>) -> (Duration, Report) {
    let began = Instant::now();
    let took = Arc::new(Mutex::new(Duration::ZERO));
    let stop = downloader.stop_handle();
    let saved = AtomicUsize::new(0);
    let seen = took.clone();
    let downloader = downloader.observer(move |_: u64, event: &Event<'_>| {
        if let Event::Done(_) = event
            && saved.fetch_add(1, Ordering::SeqCst) + 1 == count
        {
            *seen.lock().unwrap() = began.elapsed();
            stop.stop();
        }
    });
    let report = downloader.run(urls).unwrap();
    let took = *took.lock().unwrap();
    (took, report)
}

/// Case 52, and one dead host does not eat the run: two hundred URLs of a host that takes
/// connections and says nothing stand before two hundred of one that works.
#[test]
fn a_black_hole_does_not_hold_up_a_live_host() {
    let folder = Folder::new();
    let hole = Origin::start(|_, _| Then::Stall);
    let live = live();
    let limit = Duration::from_millis(400);
    let downloader = downloader(&folder)
        .jobs(8)
        .connect_timeout(limit)
        .head_timeout(limit);
    let list = urls(&hole, 200).chain(urls(&live, 200)).collect();
    let (took, report) = until_saved(downloader, 200, list);
    assert_eq!(report.saved, 200, "{:?}", report.failures);
    assert_eq!(live.requests().len(), 200);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Half of the slots at first, then probes.
    let asked = hole.requests().len();
    assert!(asked <= 30, "{asked}");
}

/// The same with connections that are refused; and to the end this time.
#[test]
fn a_refused_host_fails_fast_and_says_why() {
    let folder = Folder::new();
    let dead = refused();
    let live = live();
    let downloader = downloader(&folder)
        .jobs(8)
        .breaker_pause(Duration::from_millis(5), Duration::from_secs(30));
    let dead = (0..200).map(|n| format!("{dead}/{n}"));
    let list: Vec<_> = dead.chain(urls(&live, 200)).collect();
    let report = downloader.run(list).unwrap();
    assert_eq!(report.saved, 200);
    assert_eq!(report.failures, [(FailureKind::Network, 200)].into());
    let asked = report.outcomes[..200]
        .iter()
        .filter(|o| o.tries > 0)
        .count();
    assert!(asked <= 40, "{asked}");
    let last = report.outcomes[199].failure().unwrap().to_string();
    assert!(last.contains("the host did not answer"), "{last}");
    assert!(last.contains("refused"), "{last}");
}

/// A host that is back after some failures is used again.
#[test]
fn a_host_that_comes_back_is_used_again() {
    let folder = Folder::new();
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_, wire| match count.fetch_add(1, Ordering::SeqCst) {
        0..7 => wire.answer("500 Oh", &[], b""),
        _ => wire.answer("200 OK", &[], BODY),
    });
    let downloader = downloader(&folder)
        .jobs(1)
        .retries(4)
        .breaker_pause(Duration::from_millis(1), Duration::from_millis(2));
    let report = downloader.run(urls(&origin, 20)).unwrap();
    assert_eq!(report.saved, 20, "{:?}", report.failures);
}

/// Case 45. A server that takes two at a time and refuses the others.
fn take_two(auto: bool) {
    let folder = Folder::new();
    let busy = AtomicUsize::new(0);
    let origin = Origin::start(move |_, wire| {
        let then = match busy.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => {
                std::thread::sleep(Duration::from_millis(10));
                wire.answer("200 OK", &[], BODY)
            }
            _ => wire.answer("503 Service Unavailable", &[], b"full"),
        };
        busy.fetch_sub(1, Ordering::SeqCst);
        then
    });
    let downloader = downloader(&folder)
        .jobs(8)
        .auto(auto)
        .retry_delay(Duration::from_millis(5), Duration::from_millis(20));
    let report = downloader.run(urls(&origin, 8)).unwrap();
    assert_eq!(report.saved, 8, "{:?}", report.failures);
    let asked = origin.requests().len();
    assert!(asked <= 40, "{asked}");
}

#[test]
fn a_server_that_takes_two_at_a_time_gives_all_files() {
    take_two(false);
}

#[test]
fn a_server_that_takes_two_at_a_time_gives_all_files_to_auto() {
    take_two(true);
}

/// The width that is found: with 20 ms for each answer, more at once bring more.
#[test]
fn auto_widens_while_more_comes() {
    let folder = Folder::new();
    let (busy, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let origin = Origin::start(move |_, wire| {
        let now = busy.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        busy.fetch_sub(1, Ordering::SeqCst);
        wire.answer("200 OK", &[], BODY)
    });
    let downloader = downloader(&folder).jobs(32).auto(true).discard();
    let report = downloader.run(urls(&origin, 400)).unwrap();
    assert_eq!(report.saved, 400);
    let first: Vec<_> = origin.requests().iter().take(9).map(|r| r.at).collect();
    assert!(
        first[8] - first[0] >= Duration::from_millis(19),
        "it begins with few"
    );
    let most = most.load(Ordering::SeqCst);
    assert!((8..=32).contains(&most), "{most}");
}

#[test]
fn requests_are_spaced_evenly() {
    let folder = Folder::new();
    let origin = live();
    let downloader = downloader(&folder).rate(25, Duration::from_secs(1));
    let began = Instant::now();
    let report = downloader.run(urls(&origin, 8)).unwrap();
    assert_eq!(report.saved, 8);
    let mut times: Vec<_> = origin.requests().iter().map(|r| r.at - began).collect();
    times.sort();
    // Each has its moment. A slow machine may be late for one, and so nearer to the next.
    for (n, time) in times.iter().enumerate() {
        assert!(*time >= Duration::from_millis(40) * n as u32, "{times:?}");
    }
}

/// Serves as many zeros as the path says.
fn zeros() -> Origin {
    Origin::start(|request, wire| {
        let name = request.path.rsplit(['/', '-']).next();
        let bytes = name.and_then(|n| n.parse().ok()).unwrap_or(0);
        wire.answer("200 OK", &[], &vec![0; bytes])
    })
}

#[test]
fn all_files_together_keep_the_limit_and_share_it() {
    let folder = Folder::new();
    let origin = zeros();
    let list = ["/a-524288", "/b-524288"].map(|path| origin.url(path));
    let began = Instant::now();
    let report = downloader(&folder).speed_max(1 << 20).run(list).unwrap();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(report.saved, 2);
    // No faster; how much slower is a matter of what else the machine is busy with.
    assert!((0.85..3.0).contains(&took), "{took}");
    for outcome in &report.outcomes {
        assert!(outcome.elapsed.as_secs_f64() > 0.7, "{outcome:?}");
    }
}

#[test]
fn each_file_keeps_its_own_limit() {
    let folder = Folder::new();
    let origin = zeros();
    let list = ["/a-131072", "/b-131072", "/c-131072"].map(|path| origin.url(path));
    let began = Instant::now();
    let report = downloader(&folder)
        .file_speed_max(256 << 10)
        .run(list)
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    assert_eq!(report.saved, 3);
    assert!((0.4..3.0).contains(&took), "{took}");
}

/// A download that is held back by a limit of ours is not called slow.
#[test]
fn a_limit_is_no_reason_to_be_too_slow() {
    let folder = Folder::new();
    let origin = zeros();
    let downloader = downloader(&folder)
        .speed_max(64 << 10)
        .speed_min(1 << 20, Duration::from_millis(50))
        .retries(0);
    let outcome = only(downloader.run([origin.url("/a-16384")]).unwrap());
    assert_saved(&outcome);
}

/// The time limit holds while a rate limit is waited for.
#[test]
fn a_rate_limit_does_not_outlast_the_total_time() {
    let folder = Folder::new();
    let origin = zeros();
    let downloader = downloader(&folder)
        .speed_max(1024)
        .total_timeout(Duration::from_millis(150));
    let began = Instant::now();
    let outcome = only(downloader.run([origin.url("/a-131072")]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn the_first_failure_stops_all_if_asked() {
    let folder = Folder::new();
    // Whichever comes first: one that begins earlier may be overtaken on its way to a slot.
    let is_first = AtomicBool::new(true);
    let origin = Origin::start(
        move |_, wire| match is_first.swap(false, Ordering::SeqCst) {
            true => wire.answer("404 Not Found", &[], b""),
            false => Then::Stall,
        },
    );
    let report = downloader(&folder)
        .jobs(4)
        .failures_max(1)
        .run(urls(&origin, 100))
        .unwrap();
    assert!(report.is_stopped && !report.is_success());
    assert_eq!(report.failures[&FailureKind::NotFound], 1);
    // The slot of the failed one is free a moment before its failure counts.
    assert!(origin.requests().len() <= 5);
}

#[test]
fn nothing_is_begun_beyond_the_quota() {
    let folder = Folder::new();
    let origin = zeros();
    let list = (0..50).map(|n| origin.url(&format!("/{n}/1000")));
    let downloader = downloader(&folder).jobs(1).quota(2500);
    let report = downloader.run(list).unwrap();
    assert_eq!((report.saved, origin.requests().len()), (3, 3));
    assert!(report.is_over_quota && report.is_stopped && !report.is_success());
    assert_eq!(report.failure_kind(), Some(FailureKind::Stopped));
    // Those that had been taken from the input say so.
    let left = report.outcomes.iter().filter_map(Outcome::failure);
    for failure in left {
        assert!(failure.to_string().contains("the quota"), "{failure}");
    }
}

/// Retries of what has begun included.
#[test]
fn what_has_begun_goes_on_beyond_the_quota() {
    let folder = Folder::new();
    let (begun, both) = (Mutex::new(0), Condvar::new());
    let body = content(300_000, 0);
    let origin = Origin::start(move |request, wire| {
        let served = crate::origin::Served::new(&body, "\"a\"");
        if request.nth > 0 {
            return served.answer(request, wire);
        }
        let mut begun = begun.lock().unwrap();
        *begun += 1;
        both.notify_all();
        let patience = Duration::from_secs(10);
        drop(both.wait_timeout_while(begun, patience, |begun| *begun < 2));
        served.cut(200_000, Then::Close).answer(request, wire)
    });
    // Half of the slots until the host has answered.
    let downloader = downloader(&folder).jobs(4).quota(1);
    let report = downloader.run(urls(&origin, 2)).unwrap();
    assert_eq!(report.saved, 2, "{report:?}");
    assert_eq!(origin.requests().len(), 4);
}

#[test]
fn an_input_that_waits_for_more_is_ended_by_the_quota() {
    let folder = Folder::new();
    let origin = zeros();
    let (more, input) = std::sync::mpsc::channel();
    more.send(origin.url("/0/1000")).unwrap();
    let more = Mutex::new(Some(more));
    let downloader = downloader(&folder)
        .quota(1000)
        .on_stop(move || drop(more.lock().unwrap().take()));
    let report = downloader.run(input).unwrap();
    assert_eq!((report.saved, report.failed), (1, 0));
    assert!(report.is_over_quota && report.is_stopped);
    assert_eq!(report.failure_kind(), Some(FailureKind::Stopped));
}

#[test]
fn retries_end_with_their_time() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("500 Oh", &[], b""));
    let downloader = downloader(&folder)
        .retries(1000)
        .retry_delay(Duration::from_millis(40), Duration::from_millis(40))
        .retry_time_max(Duration::from_millis(200));
    let began = Instant::now();
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_failed(&outcome, FailureKind::Busy);
    assert!(outcome.tries >= 2, "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn statuses_are_tried_again_as_the_user_says() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| match request.nth {
        0 | 1 => wire.answer("403 Forbidden", &[], b""),
        _ => wire.answer("200 OK", &[], BODY),
    });
    let again = downloader(&folder).retry_on("403".parse().unwrap());
    assert_saved(&only(again.run([origin.url("/f")]).unwrap()));
    let never = downloader(&folder).retry_on("!5xx".parse().unwrap());
    let origin = Origin::start(|_, wire| wire.answer("503 Oh", &[], b""));
    let outcome = only(never.run([origin.url("/g")]).unwrap());
    assert_eq!(outcome.tries, 1);
}

#[test]
fn no_limit_on_the_tries_is_none() {
    let folder = Folder::new();
    let origin = Origin::start(|request, wire| match request.nth {
        0..30 => wire.answer("500 Oh", &[], b""),
        _ => wire.answer("200 OK", &[], BODY),
    });
    let downloader = downloader(&folder)
        .tries(0)
        .breaker_pause(Duration::from_millis(1), Duration::from_millis(2));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    assert_eq!(outcome.tries, 31);
}

/// A dying host does not get five times its load.
#[test]
fn a_host_that_fails_everything_is_not_tried_again_for_everything() {
    let folder = Folder::new();
    let origin = Origin::start(|_, wire| wire.answer("500 Oh", &[], b""));
    let downloader = downloader(&folder)
        .jobs(8)
        .retries(9)
        .total_timeout(Duration::from_millis(500))
        .breaker_pause(Duration::from_millis(1), Duration::from_millis(1));
    let report = downloader.run(urls(&origin, 100)).unwrap();
    assert_eq!(report.failed, 100);
    let asked = origin.requests().len();
    // Each once, the stock, and what time brought.
    assert!((100..=100 + 64 + 60).contains(&asked), "{asked}");
}

#[test]
fn the_next_mirror_is_asked_and_its_file_is_its_own() {
    let old = content(100_000, 1);
    let new = content(100_000, 2);
    let cut = {
        let old = old.clone();
        Origin::start(move |request, wire| {
            if request.nth > 0 {
                return wire.answer("404 Gone", &[], b"");
            }
            let served = crate::origin::Served::new(&old, "\"same\"");
            served.cut(70_000, Then::Close).answer(request, wire)
        })
    };
    // The same validator for other bytes: the two are never joined.
    let whole = {
        let new = new.clone();
        Origin::start(move |request, wire| {
            crate::origin::Served::new(&new, "\"same\"").answer(request, wire)
        })
    };
    let folder = Folder::new();
    let entry = Entry::from(cut.url("/f")).mirror(&whole.url("/elsewhere"));
    let outcome = only(downloader(&folder).run([entry]).unwrap());
    assert_saved(&outcome);
    folder.assert_holds(&[("f", &new)]);
    assert_eq!(cut.requests().len(), 2);
    assert_eq!(whole.requests().len(), 1);
    assert_eq!(whole.requests()[0].range_start(), None);
}

#[test]
fn of_many_mirrors_the_failure_that_says_most_is_told() {
    let folder = Folder::new();
    let missing = Origin::start(|_, wire| wire.answer("404 Not Found", &[], b""));
    let busy = Origin::start(|_, wire| wire.answer("503 Oh", &[], b""));
    let entry = Entry::from(format!("{}/f", refused()))
        .mirror(&missing.url("/f"))
        .mirror(&busy.url("/f"));
    let outcome = only(downloader(&folder).run([entry]).unwrap());
    assert_failed(&outcome, FailureKind::NotFound);
    let text = outcome.failure().unwrap().to_string();
    assert!(text.contains("none of its 3 places"), "{text}");
    assert_eq!(missing.requests().len(), 1);
    assert_eq!(busy.requests().len(), 4);
    folder.assert_holds(&[]);
}

/// What is left of a mirror is not taken for the first place's.
#[test]
fn a_part_of_a_mirror_is_not_left_under_the_first_url() {
    let body = content(200_000, 1);
    let folder = Folder::new();
    let served = body.clone();
    let mirror = Origin::start(move |request, wire| {
        let file = crate::origin::Served::new(&served, "\"same\"");
        file.cut(150_000, Then::Close).answer(request, wire)
    });
    let missing = Origin::start(|_, wire| wire.answer("404 Not Found", &[], b""));
    let entry = Entry::from(missing.url("/f")).mirror(&mirror.url("/f"));
    let outcome = only(downloader(&folder).retries(0).run([entry]).unwrap());
    assert_failed(&outcome, FailureKind::NotFound);
    assert!(mirror.requests().len() == 1);
    assert!(!folder.names().iter().any(|name| name.starts_with("f.part")));
}
