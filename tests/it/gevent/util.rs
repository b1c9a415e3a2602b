//! gevent's `test__util.py`: the dump of everything that runs.

use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use greenloop::sync::{Event, Semaphore};
use greenloop::{Builder, Dump, Snapshot, dump, sleep};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(3600);

fn named<'a>(dump: &'a Dump, name: &str) -> Option<&'a Snapshot> {
    let mut all = dump.greenlets().iter();
    all.find(|one| one.name.as_deref() == Some(name))
}

/// Tells whether `site` is in this file, on one of the few lines of a statement at `line`.
fn is_near(site: &str, line: u32) -> bool {
    let place = site.strip_prefix("tests/it/gevent/util.rs:");
    let number = place.and_then(|place| place.split(':').next()?.parse().ok());
    number.is_some_and(|number: u32| (line..line + 5).contains(&number))
}

fn line_of<'a>(text: &'a str, name: &str) -> &'a str {
    let title = format!("\"{name}\" (#");
    let line = text.lines().find(|line| {
        line.trim_start_matches(['│', '├', '└', '─', ' '])
            .starts_with(&title)
    });
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

// gevent: TestTree.test_tree; A85
#[test]
fn test_tree() {
    on_workers!({
        let (tell, told) = mpsc::channel();
        let (orphan_gate, parent_gate) = (Event::new(), Event::new());
        let (orphan_wait, parent_wait) = (orphan_gate.clone(), parent_gate.clone());
        let root = Builder::new().name("root").spawn(move || {
            let parent = Builder::new().name("parent").spawn(move || {
                let child = Builder::new()
                    .name("child")
                    .spawn(move || orphan_wait.wait());
                tell.send(child).unwrap();
                parent_wait.wait()
            });
            parent.join().unwrap().unwrap();
            sleep(LONG)
        });
        let child = told.recv().unwrap();
        let waits = |name: &str, state: &str| {
            let state_of = |dump: Dump| named(&dump, name).is_some_and(|one| one.state == state);
            eventually(state, || state_of(dump()));
        };
        waits("child", "event");
        waits("parent", "event");
        waits("root", "join");
        let text = dump().to_string();
        assert!(text.starts_with("greenlets: 3\n"), "{text}");
        assert!(line_of(&text, "root").starts_with("\"root\""), "{text}");
        assert!(
            line_of(&text, "parent").starts_with("└─ \"parent\""),
            "{text}"
        );
        assert!(
            line_of(&text, "child").starts_with("   └─ \"child\""),
            "{text}"
        );
        let line = line_of(&text, "child");
        assert!(line.contains("waits on event for "), "{line}");
        assert!(line.contains(" at tests/it/gevent/util.rs:"), "{line}");
        assert!(
            line.contains("spawned at tests/it/gevent/util.rs:"),
            "{line}"
        );

        // An orphan hangs below its nearest ancestor that lives, and says so.
        parent_gate.set();
        waits("root", "sleep");
        let text = dump().to_string();
        let line = line_of(&text, "child");
        assert!(line.starts_with("└─ \"child\""), "{text}");
        assert!(line.contains(" by \"parent\" (#"), "{line}");
        assert!(line.ends_with(", which has ended"), "{line}");
        assert!(!text.contains("\"parent\" (#1)") && named(&dump(), "parent").is_none());

        root.kill_and_wait(None).unwrap();
        let text = dump().to_string();
        assert!(
            line_of(&text, "child").starts_with("\"child\""),
            "at the top: {text}"
        );
        orphan_gate.set();
        child.join().unwrap().unwrap();
        assert_eq!(dump().to_string(), "greenlets: 0\n", "the finished vanish");
    });
}

// gevent: TestFormat; A85
#[test]
fn test_print_run_info() {
    on_workers!({
        let permits = Semaphore::new(0);
        let target = Builder::new().name("target").spawn(|| sleep(LONG));
        let id = target.id();
        let handle = target.handle();
        let joiner = Builder::new().name("joiner").spawn(move || handle.wait());
        let (p, line) = (permits.clone(), line!() + 1);
        let waiter = Builder::new()
            .name("waiter")
            .spawn(move || p.acquire().map(drop));
        let all_wait = || dump().greenlets().iter().all(|one| one.waits_at.is_some());
        eventually("they wait", all_wait);
        let dump = dump();
        let waiter_is = named(&dump, "waiter").unwrap();
        assert_eq!(waiter_is.state, "semaphore");
        let site = waiter_is.waits_at.as_deref().unwrap();
        assert!(is_near(site, line), "{site}");
        assert_eq!(named(&dump, "joiner").unwrap().waits_for, Some(id));
        let json: serde_json::Value = serde_json::from_str(&dump.to_json()).unwrap();
        let all = json["greenlets"].as_array().unwrap();
        let joiner_is = all.iter().find(|one| one["name"] == "joiner").unwrap();
        assert_eq!(joiner_is["waits_for"], id);
        assert_eq!(joiner_is["state"], "join");
        target.kill();
        permits.add_permits(1);
        joiner.join().unwrap().unwrap();
        waiter.join().unwrap().unwrap();
    });
}

// gevent: none; there a stack is the interpreter's.
#[test]
fn stack_use_is_what_was_touched() {
    on_workers!([1], {
        #[inline(never)]
        fn deep(levels: usize) -> usize {
            let block = std::hint::black_box([levels as u8; 1024]);
            if levels == 0 {
                0
            } else {
                deep(levels - 1) + usize::from(block[0] > 0)
            }
        }
        // A size of their own, so that nobody has used their stacks before.
        let spawn = |name, levels| {
            Builder::new()
                .name(name)
                .stack_bytes(512 * 1024)
                .spawn(move || {
                    std::hint::black_box(deep(levels));
                    sleep(LONG)
                })
        };
        let (flat, steep) = (spawn("flat", 0), spawn("steep", 200));
        let sleeps = |name: &str| named(&dump(), name).is_some_and(|one| one.state == "sleep");
        eventually("they sleep", || sleeps("flat") && sleeps("steep"));
        let used = |name: &str| named(&dump(), name).unwrap().stack_used.unwrap();
        assert!(
            used("flat") >= 4096 && used("flat") < 100 * 1024,
            "{}",
            used("flat")
        );
        assert!(
            used("steep") >= 200 * 1024 && used("steep") <= 512 * 1024,
            "{}",
            used("steep")
        );
        flat.kill_and_wait(None).unwrap();
        steep.kill_and_wait(None).unwrap();
    });
}

#[test]
fn waits_on_sockets_names_and_lanes_show_the_callers_line() {
    on_workers!({
        let mut listener = greenloop::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, opened) = mpsc::channel::<()>();
        let mut lines = Vec::new();
        lines.push(("accept", line!() + 1));
        let accept = Builder::new()
            .name("accept")
            .spawn(move || listener.accept());
        let client = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = accept.join().unwrap().unwrap();
        let mut read_half = stream;
        lines.push(("read", line!() + 1));
        let read = Builder::new()
            .name("read")
            .spawn(move || read_half.read(&mut [0]));
        lines.push(("lane", line!() + 1));
        let lane = Builder::new()
            .name("lane")
            .spawn(|| greenloop::blocking(move || opened.recv()));
        lines.push(("future", line!() + 1));
        let future = Builder::new()
            .name("future")
            .spawn(|| greenloop::block_on(std::future::pending::<()>()));
        for (name, line) in &lines[1..] {
            eventually(name, || {
                named(&dump(), name).is_some_and(|one| one.waits_at.is_some())
            });
            let dump = dump();
            let site = named(&dump, name).unwrap().waits_at.as_deref().unwrap();
            assert!(is_near(site, *line), "{name}: {site}");
        }
        drop((client, gate));
        assert_eq!(read.join().unwrap().unwrap(), 0);
        assert!(lane.join().unwrap().unwrap().is_err());
        future.kill_and_wait(None).unwrap();
    });
}

#[test]
fn threads_that_wait_are_in_the_tree() {
    on_workers!({
        let gate = Event::new();
        let opened = gate.clone();
        let builder = std::thread::Builder::new().name("waiter".into());
        let thread = builder.spawn(move || {
            let below = Builder::new().name("below").spawn(|| sleep(LONG));
            opened.wait().unwrap();
            below.kill_and_wait(None).unwrap();
        });
        let waits = || dump().threads().iter().any(|one| one.state == "event");
        eventually("it waits", waits);
        let text = dump().to_string();
        assert!(text.contains("\nthread \"waiter\" (#"), "{text}");
        assert!(
            line_of(&text, "below").starts_with("└─ \"below\""),
            "{text}"
        );
        gate.set();
        thread.unwrap().join().unwrap();
        assert!(dump().threads().is_empty());
    });
}
