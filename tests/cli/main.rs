//! The built command, driven as a user does: exact output, exact exit codes, real signals.

#![expect(
    clippy::disallowed_methods,
    reason = "the other side of the command is a plain program"
)]

#[path = "support/origin.rs"]
mod origin;
#[path = "support/mod.rs"]
mod support;

use origin::{Origin, content};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::{Folder, Running, example_program, greenloop};

// Demos

const YIELD: &str = "----B---\n----A---\n";
const GREENLET: &str = "---A--\n---B--\n";

fn gevent(order: &[(u32, u32)], rounds: u32) -> String {
    order
        .iter()
        .map(|(f, i)| format!("<Greenlet f-{f}: f({rounds})> {i}\n"))
        .collect()
}

#[test]
fn demo_yield_prints_b_then_a() {
    let run = greenloop(["demo", "yield", "--delay", "0"]).run();
    assert_eq!(run.succeeds(), YIELD.repeat(5));
    let run = greenloop(["demo", "yield", "--rounds", "2", "--delay", "1ms"]).run();
    assert_eq!(run.succeeds(), YIELD.repeat(2));
}

#[test]
fn demo_greenlet_switches_both_ways() {
    assert_eq!(
        greenloop(["demo", "greenlet"]).run().succeeds(),
        GREENLET.repeat(5)
    );
    let run = greenloop(["demo", "greenlet", "--rounds", "1", "--trace"]).run();
    let expected = "  [main -> test1: switch]\n---A--\n  [test1 -> test2: switch]\n---B--\n  \
                    [test2 -> test1: switch]\n  [test1 -> main: return]\n";
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_gevent_without_sleep_runs_one_after_the_other() {
    let order: Vec<_> = (1..=3).flat_map(|f| (0..5).map(move |i| (f, i))).collect();
    for _ in 0..20 {
        assert_eq!(
            greenloop(["demo", "gevent"]).run().succeeds(),
            gevent(&order, 5)
        );
    }
}

#[test]
fn demo_gevent_with_sleep_takes_turns_and_the_time_of_one() {
    let order: Vec<_> = (0..5).flat_map(|i| (1..=3).map(move |f| (f, i))).collect();
    let begun = Instant::now();
    let run = greenloop(["demo", "gevent", "--sleep", "--delay", "200ms"]).run();
    let took = begun.elapsed();
    assert_eq!(run.succeeds(), gevent(&order, 5));
    // Five pauses side by side take one second; one after the other they take three.
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_millis(2800),
        "{took:?}"
    );
}

#[test]
fn demo_gevent_trace_names_every_switch() {
    let run = greenloop(["demo", "gevent", "--rounds", "1", "--trace"]).run();
    let expected = "  [main -> f-1: join]\n<Greenlet f-1: f(1)> 0\n  [f-1 -> f-2: end]\n\
                    <Greenlet f-2: f(1)> 0\n  [f-2 -> f-3: end]\n<Greenlet f-3: f(1)> 0\n  \
                    [f-3 -> main: end]\n";
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_all_runs_the_four() {
    let run = greenloop(["demo", "all", "--rounds", "1", "--delay", "10ms"]).run();
    let three = gevent(&[(1, 0), (2, 0), (3, 0)], 1);
    let expected = format!(
        "yield: B drives A\n{YIELD}greenlet: test1 and test2 switch to each other\n{GREENLET}\
         gevent: no place to switch, one after the other\n{three}\
         gevent: with sleep, in turns\n{three}"
    );
    assert_eq!(run.succeeds(), expected);
}

#[test]
fn demo_with_a_closed_pipe_ends_quietly_like_by_sigpipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let run = greenloop(["demo", "all", "--delay", "0"])
        .stdout(writer)
        .run();
    assert_eq!((run.code, run.stderr.as_str()), (141, ""), "{run:?}");
}

#[test]
fn full_disk_under_standard_output_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = greenloop(["demo", "yield", "--delay", "0"])
        .stdout(full)
        .run();
    run.fails_with(1, &["writing to standard output", "no space left"]);
}

// Usage

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "needs a subcommand"),
        (&["serve"], "greenloop serve needs a subcommand"),
        (&["fly"], "fly"),
        (&["demo"], "<WHICH>"),
        (&["demo", "yield", "--rounds", "-1"], "-1"),
        (&["demo", "yield", "--delay", "5 weeks"], "500ms"),
        (&["serve", "echo", "--listen", "localhost"], "has no port"),
        (&["serve", "echo", "--listen", "udp://:7788"], "tcp://"),
        (&["serve", "echo", "--workers", "0"], "0"),
        (&["load", "localhost:http"], "port"),
        (&["load", "127.0.0.1:1", "-s", "0"], "at least 1 byte"),
        (&["get"], "no URL"),
        (&["get", "nonsense"], "http"),
        (&["get", "ftp://127.0.0.1/x"], "http"),
        (
            &["get", "http://127.0.0.1/x", "http://127.0.0.1/y", "-o", "z"],
            "--out",
        ),
        (&["get", "http://127.0.0.1/x", "-j", "0"], "0"),
        (&["tour", "now"], "now"),
    ];
    for (args, part) in cases {
        greenloop(*args).run().fails_with(2, &[part]);
    }
}

#[test]
fn help_goes_to_standard_output_with_an_example() {
    for args in [
        &["demo", "--help"][..],
        &["serve", "echo", "--help"],
        &["get", "--help"],
    ] {
        let run = greenloop(args).run();
        assert!(run.succeeds().contains("Example"), "{run:?}");
    }
    let run = greenloop(["--version"]).run();
    assert_eq!(
        run.succeeds(),
        concat!("greenloop ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

// Serve

fn serve(more: &[&str]) -> (Running, SocketAddr) {
    let args = [&["serve", "echo", "--listen", "127.0.0.1:0"], more].concat();
    let mut server = greenloop(args).start();
    let address = server.address();
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(support::PATIENCE))
        .expect("not zero");
    stream
}

fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).expect("the server reads");
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    answer
}

#[test]
fn serve_echo_answers_byte_for_byte_and_after_half_close() {
    let (server, address) = serve(&[]);
    let mut stream = connect(address);
    let text = "你是who? 我爱Python \u{1b}[2J \0\u{7f}".as_bytes();
    assert_eq!(echoed(&mut stream, text), text);
    stream.write_all(b"last").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    server.signal(Signal::TERM);
    let run = server.finish();
    let total = text.len() + 4;
    let told = format!(
        "served 1 connections: 1 finished, 0 timed out, 0 failed, 0 killed; \
                        {total} B in, {total} B out"
    );
    assert_eq!(run.succeeds().lines().last(), Some(told.as_str()));
}

#[test]
fn serve_echo_logs_data_escaped() {
    let (mut server, address) = serve(&["--log-data"]);
    let mut stream = connect(address);
    echoed(&mut stream, "我爱\u{1b}[2J\n".as_bytes());
    assert_eq!(server.line(), "recv: 我爱\\u{1b}[2J\\n");
    server.signal(Signal::INT);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn serve_echo_listens_on_several_addresses() {
    let mut server = greenloop([
        "serve",
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "tcp://localhost:0",
    ])
    .start();
    let addresses = [server.address(), server.address()];
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        assert_eq!(echoed(&mut connect(address), b"x"), b"x");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn serve_echo_closes_idle_connections() {
    let (server, address) = serve(&["--idle-timeout", "50ms"]);
    let mut stream = connect(address);
    echoed(&mut stream, b"x");
    assert_eq!(
        stream.read(&mut [0]).unwrap_or(0),
        0,
        "the server closes it"
    );
    server.signal(Signal::TERM);
    assert!(server.finish().succeeds().contains("1 timed out"));
}

#[test]
fn serve_echo_at_its_limit_lets_others_wait() {
    let (server, address) = serve(&["--max-connections", "1"]);
    let mut first = connect(address);
    echoed(&mut first, b"x");
    let mut second = connect(address);
    second.write_all(b"y").unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(second.read(&mut [0]).is_err(), "nobody serves it yet");
    second.set_read_timeout(Some(support::PATIENCE)).unwrap();
    drop(first);
    let mut answer = [0];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"y");
    server.signal(Signal::TERM);
    let run = server.finish();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("--max-connections"), "{run:?}");
}

#[test]
fn first_signal_drains_and_closes_idle_connections_at_once() {
    let (mut server, address) = serve(&["--drain", "1m"]);
    let mut stream = connect(address);
    echoed(&mut stream, b"x");
    server.signal(Signal::INT);
    assert_eq!(
        server.line_with("draining"),
        "draining 1 connection, at most 60s"
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed, and not reset");
    assert!(server.finish().succeeds().contains("1 finished"));
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn second_signal_ends_at_once() {
    let (mut server, address) = serve(&["--drain", "1h"]);
    let mut stream = connect(address);
    // More than the buffers hold, and not read: the handler is in the middle of a write.
    stream.set_nonblocking(true).unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_millis(300) {
        match stream.write(&block) {
            Ok(count) if count > 0 => last_progress = Instant::now(),
            _ => std::thread::yield_now(),
        }
    }
    server.signal(Signal::TERM);
    server.line_with("draining");
    server.signal(Signal::TERM);
    let run = server.finish();
    run.fails_with(1, &["1 connections were cut off"]);
    assert!(run.stdout.contains("1 killed"), "{run:?}");
}

#[test]
fn serve_goes_on_without_a_reader_of_its_output() {
    let (mut server, address) = serve(&["--log-data"]);
    server.stop_reading();
    let mut stream = connect(address);
    for _ in 0..10 {
        assert_eq!(echoed(&mut stream, b"x"), b"x");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn unbindable_addresses_are_one_line_and_exit_code_1() {
    let hold = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hold.local_addr().unwrap().to_string();
    let run = greenloop(["serve", "echo", "--listen", &address]).run();
    run.fails_with(1, &[&address, "address already in use"]);
    let run = greenloop(["serve", "echo", "--listen", "192.0.2.1:7788"]).run();
    run.fails_with(1, &["192.0.2.1:7788", "cannot assign requested address"]);
    let run = greenloop(["serve", "echo", "--listen", "nosuch.invalid:7788"]).run();
    run.fails_with(1, &["resolving nosuch.invalid"]);
    let run = greenloop(["serve", "echo", "--listen", "127.0.0.1:1"])
        .with_no_rights()
        .run();
    run.fails_with(1, &["127.0.0.1:1", "permission denied"]);
}

// Load

#[test]
fn load_measures_and_says_so_in_json() {
    let (_server, address) = serve(&[]);
    let args = [
        "load",
        &address.to_string(),
        "-c",
        "8",
        "-s",
        "100K",
        "-d",
        "200ms",
        "--json",
    ];
    let run = greenloop(args).run();
    let json: Value = serde_json::from_str(run.succeeds()).unwrap();
    assert_eq!(json["connections"], 8);
    let messages = json["messages"].as_u64().unwrap();
    assert!(messages > 0);
    assert_eq!(json["bytes"], messages * 100 * 1024);
    let latency = |p: &str| json["latency_seconds"][p].as_f64().unwrap();
    assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("p99.9"));
    let text = greenloop(["load", &address.to_string(), "-c", "2", "-d", "50ms"]).run();
    for word in ["connections  2\n", "rate", "p99.9", "errors       0\n"] {
        assert!(text.succeeds().contains(word), "{word} {text:?}");
    }
}

#[test]
fn load_notices_wrong_and_missing_answers() {
    let wrong = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = wrong.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in wrong.incoming().flatten() {
            let mut buffer = [0; 64];
            let _ = stream.read_exact(&mut buffer);
            buffer[63] ^= 1;
            let _ = stream.write_all(&buffer);
        }
    });
    let run = greenloop(["load", &address, "-c", "1", "-d", "1s"]).run();
    run.fails_with(1, &["1 of 1 connections", "differs"]);
    greenloop(["load", "127.0.0.1:1"])
        .run()
        .fails_with(1, &["127.0.0.1:1", "refused"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let run = greenloop(["load", &address, "-c", "1", "--timeout", "50ms"]).run();
    run.fails_with(1, &["timed out"]);
}

// Get

#[test]
fn get_saves_whole_files_and_says_so() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let urls = ["file-0", "file-1", "file-100000"].map(|name| origin.url(name));
    let run = greenloop(["get"].into_iter().chain(urls.iter().map(String::as_str)))
        .folder(folder.path())
        .run();
    assert!(
        run.succeeds().contains("saved 3 of 3 files, 97.7 KiB in "),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-0", "file-1", "file-100000"]);
    assert_eq!(
        fs::read(folder.path().join("file-100000")).unwrap(),
        content(100_000)
    );
}

#[test]
fn get_reads_lists_and_names_bad_lines() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let list = folder.path().join("list.txt");
    let text = format!(
        "# a list\n{}\nnonsense\n\n{}\n",
        origin.url("file-5"),
        origin.url("none")
    );
    fs::write(&list, text).unwrap();
    let into = folder.path().join("new/folder");
    let run = greenloop(["get", "--retries", "0", "-i"])
        .arg(&list)
        .arg("-d")
        .arg(&into)
        .run();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("saved 1 of 3 files"), "{run:?}");
    assert!(
        run.stderr.contains("list.txt:3: nonsense: no scheme"),
        "{run:?}"
    );
    assert!(run.stderr.contains("list.txt:5: http://"), "{run:?}");
    assert!(
        run.stderr.lines().all(|line| line.starts_with("error: ")),
        "{run:?}"
    );
    assert_eq!(
        fs::read_dir(&into).unwrap().count(),
        1,
        "nothing half-written"
    );
    let run = greenloop(["get", "-i", "no-such-list"]).run();
    run.fails_with(1, &["reading no-such-list", "no such file"]);
}

#[test]
fn get_reads_standard_input_and_tells_in_json() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let run = greenloop(["get", "-i", "-", "--json"])
        .input(format!("{}\n{0}\n", origin.url("file-7")))
        .folder(folder.path())
        .run();
    let lines: Vec<Value> = run
        .succeeds()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{run:?}");
    assert_eq!(
        (&lines[0]["end"], &lines[0]["bytes"]),
        (&"saved".into(), &7.into())
    );
    assert_eq!(lines[1]["summary"]["saved"], 1);
    assert_eq!(lines[1]["summary"]["duplicates"], 1);
}

#[test]
fn get_out_names_the_file() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("file-9");
    greenloop(["get", &url, "-o", "other.bin"])
        .folder(folder.path())
        .run()
        .succeeds();
    assert_eq!(folder.names(), ["other.bin"]);
    // There already: kept, and the new one is numbered.
    greenloop(["get", &url, "-o", "other.bin"])
        .folder(folder.path())
        .run()
        .succeeds();
    assert_eq!(folder.names(), ["other.1.bin", "other.bin"]);
}

#[test]
fn get_with_unwritable_folders_fails_before_any_request() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").unwrap();
    let into = folder.path().join("file/below");
    let run = greenloop(["get", "http://127.0.0.1:1/x", "-d"])
        .arg(&into)
        .run();
    run.fails_with(1, &["file/below"]);
    let run = greenloop(["get", "http://127.0.0.1:1/x", "-d", "/proc/none"]).run();
    run.fails_with(1, &["/proc/none"]);
}

#[test]
fn get_of_unknown_hosts_and_closed_ports_fails_with_the_reason() {
    let folder = Folder::new();
    let cases = [
        ("http://nosuch.invalid/x", "resolv"),
        ("http://127.0.0.1:1/x", "refused"),
    ];
    for (url, reason) in cases {
        let run = greenloop(["get", "--retries", "0", url])
            .folder(folder.path())
            .run();
        run.fails_with(1, &[url, reason]);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

fn interrupted(origin: &Origin, folder: &Folder) -> Running {
    let urls = [origin.url("file-10"), origin.url("stall-400000")];
    let get = greenloop(["get", &urls[0], &urls[1], "--existing", "skip"]).folder(folder.path());
    let mut get = get.start();
    get.line_with("file-10");
    origin
        .stalled
        .recv_timeout(support::PATIENCE)
        .expect("the origin stalls");
    // What was sent may not have arrived; once more than a buffer has, the file shows it.
    let part = folder.path().join("stall-400000.part");
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) == 0 {
        assert!(start.elapsed() < support::PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(1));
    }
    get
}

#[test]
fn ctrl_c_leaves_a_part_that_the_same_command_resumes() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let get = interrupted(&origin, &folder);
    get.signal(Signal::INT);
    let run = get.finish();
    assert_eq!(run.code, 130, "{run:?}");
    assert!(
        run.stderr
            .contains("the same command with --existing skip goes on"),
        "{run:?}"
    );
    let left = ["file-10", "stall-400000.part", "stall-400000.part.json"];
    assert_eq!(
        folder.names(),
        left,
        "nothing half-written under a final name"
    );

    let urls = [origin.url("file-10"), origin.url("stall-400000")];
    let get = greenloop(["get", &urls[0], &urls[1], "--existing", "skip", "--json"]);
    let run = get.folder(folder.path()).run();
    let told = run.succeeds();
    assert!(
        told.contains("\"skipped\":1") && told.contains("\"saved\":1"),
        "{run:?}"
    );
    assert_eq!(folder.names(), ["file-10", "stall-400000"]);
    assert_eq!(
        fs::read(folder.path().join("stall-400000")).unwrap(),
        content(400_000)
    );
}

#[test]
fn ctrl_c_ends_a_get_that_waits_for_its_list() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let (input, mut writer) = std::io::pipe().unwrap();
    let get = greenloop(["get", "-i", "-"])
        .stdin(input)
        .folder(folder.path());
    let mut get = get.start();
    writeln!(writer, "{}", origin.url("file-3")).unwrap();
    get.line_with("file-3");
    get.signal(Signal::INT);
    assert_eq!(get.finish().code, 130);
    assert_eq!(folder.names(), ["file-3"]);
}

#[test]
fn get_on_a_terminal_draws_bars_at_most_ten_times_a_second() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let list: String = (1..500)
        .map(|n| origin.url(&format!("file-{n}")) + "\n")
        .collect();
    fs::write(folder.path().join("list"), list).unwrap();
    let get = concat!(env!("CARGO_BIN_EXE_greenloop"), " get -i list --no-sync");
    let mut command = std::process::Command::new("script");
    command
        .args(["-qec", &format!("stty cols 80; {get}"), "/dev/null"])
        .current_dir(folder.path());
    let begun = Instant::now();
    let Ok(output) = command.stdin(std::process::Stdio::null()).output() else {
        return println!("SKIPPED: script(1), which gives a terminal, is not installed");
    };
    let took = begun.elapsed().as_secs_f64();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("saved 499 of 499 files"),
        "{shown}"
    );
    assert!(shown.contains("file-499  499 B in"), "{shown}");
    let draws = shown.matches(" running  ").count();
    assert!(draws as f64 <= 10.0 * took + 2.0, "{draws} in {took} s");
}

// Tour

#[test]
fn tour_holds_and_tells_figures() {
    let begun = Instant::now();
    let run = greenloop(["tour"]).run();
    let told = run.succeeds();
    assert!(begun.elapsed() < Duration::from_secs(20), "{run:?}");
    for part in [
        "demo yield",
        "demo gevent --sleep",
        "echo server",
        "200 files",
        "all 6 parts",
    ] {
        assert!(told.contains(part), "{part} {run:?}");
    }
}

// Examples

#[test]
fn examples_of_the_demos_print_their_order() {
    let lines = |order: &[(usize, u32)]| -> String {
        let names = ["one", "two", "three"];
        order
            .iter()
            .map(|(f, i)| format!("{} {i}\n", names[*f]))
            .collect()
    };
    let one_after_the_other: Vec<_> = (0..3).flat_map(|f| (0..5).map(move |i| (f, i))).collect();
    let in_turns: Vec<_> = (0..5).flat_map(|i| (0..3).map(move |f| (f, i))).collect();
    let run = |name: &str| example_program(name, None::<&str>).run();
    assert_eq!(run("gevent_spawn").succeeds(), lines(&one_after_the_other));
    assert_eq!(run("gevent_switch").succeeds(), lines(&in_turns));
}

#[test]
fn example_download_saves_files() {
    let run = example_program("download", None::<&str>).run();
    assert!(run.succeeds().contains("20 saved, 0 failed in "), "{run:?}");
}
