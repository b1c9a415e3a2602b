//! `serve echo --model` and `demo models`: one suite over all eight models.

#![expect(clippy::unwrap_used, reason = "tests may fail")]

use crate::serve::{connect, serve_echo};
use crate::support::{Folder, PATIENCE, Run, Running, greenloop, peer};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const MODELS: [&str; 8] = [
    "blocking",
    "process",
    "thread",
    "nonblocking",
    "select",
    "select-queue",
    "epoll",
    "coroutine",
];

fn serve(model: &str) -> (Running, SocketAddr) {
    serve_echo(&["--model", model])
}

/// Ends the server with success; it may have said that somebody had to wait.
fn end(server: Running) -> Run {
    server.signal(Signal::TERM);
    let run = server.finish();
    assert_eq!(run.code, 0, "{run:?}");
    run
}

/// Ends the server, and gives the line in which it tells what it has done.
fn stop(server: Running) -> String {
    let summary = end(server).stdout;
    summary.lines().last().unwrap_or_default().to_owned()
}

fn echoed(mut client: &TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
}

/// Sends a text, ends the sending direction, and takes all that comes back.
fn echoed_to_the_end(client: TcpStream, text: &str) {
    (&client).write_all(text.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    (&client).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, text);
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn descriptors(server: &Running) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id()))
        .unwrap()
        .count()
}

/// The server's children, zombies included.
fn children(server: &Running) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    // A thread that has ended meanwhile has none.
    let text = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
    let texts: String = tasks.flat_map(|task| text(task.unwrap())).collect();
    texts
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Tells whether a process runs: it is there and no zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn every_model_echoes_byte_for_byte_and_after_half_close() {
    for model in MODELS {
        let (server, address) = serve(model);
        echoed_to_the_end(connect(address), "");
        let client = connect(address);
        for text in ["我爱Python", "x", "你是who?\u{1b}[2J\0\r\n"] {
            echoed(&client, text);
        }
        echoed_to_the_end(client, "last words");
        let summary = stop(server);
        assert!(
            summary.starts_with("served 2 connections: 2 finished"),
            "{model}: {summary}"
        );
    }
}

/// A client whose kernel takes little, so that the server's writes are partial.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn every_model_serves_a_slow_reader_and_then_its_end() {
    let sent: Vec<u8> = (0..8 << 20_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    for model in MODELS {
        let (server, address) = serve(model);
        let mut client = narrow(address);
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = Vec::new();
        thread::scope(|scope| {
            let (writer, sent) = (&client, &sent);
            scope.spawn(move || {
                (&mut &*writer).write_all(sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            (&client).read_to_end(&mut received).unwrap();
        });
        assert!(received == sent, "{model}: {} bytes", received.len());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        let summary = stop(server);
        assert!(summary.contains("1 finished"), "{model}: {summary}");
    }
}

#[test]
fn every_model_survives_a_reset() {
    for model in MODELS {
        let (server, address) = serve(model);
        let client = connect(address);
        echoed(&client, "x");
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        let before = descriptors(&server);
        drop(client);
        // Not at once: a process that another test starts has it too, for a moment.
        eventually("it is gone", || descriptors(&server) < before);
        echoed_to_the_end(connect(address), "still there");
        let summary = stop(server);
        for part in ["served 2 connections: 1 finished", "1 failed"] {
            assert!(summary.contains(part), "{model}: {summary}");
        }
    }
}

#[test]
fn every_model_survives_500_that_connect_and_leave() {
    for model in MODELS {
        let (server, address) = serve(model);
        echoed_to_the_end(connect(address), "first");
        eventually("the first is gone", || children(&server).is_empty());
        let before = descriptors(&server);
        for _ in 0..500 {
            drop(connect(address));
        }
        echoed_to_the_end(connect(address), "last");
        // One that was just ending may have been counted before.
        eventually("descriptors are given back", || {
            descriptors(&server) <= before
        });
        eventually("no zombie is left", || children(&server).is_empty());
        let summary = stop(server);
        let all = "served 502 connections: 502 finished";
        assert!(summary.starts_with(all), "{model}: {summary}");
    }
}

/// Each says something, and each is answered before anybody leaves.
fn crowd(model: &str, count: usize) {
    let (server, address) = serve(model);
    let clients: Vec<_> = (0..count).map(|_| connect(address)).collect();
    for round in 0..2 {
        let text = |n: usize| format!("client {n}, round {round}");
        for (n, mut client) in clients.iter().enumerate() {
            client.write_all(text(n).as_bytes()).unwrap();
        }
        for (n, mut client) in clients.iter().enumerate() {
            let mut answer = vec![0; text(n).len()];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), text(n), "{model}");
        }
    }
    drop(clients);
    echoed_to_the_end(connect(address), "after them");
    let summary = stop(server);
    assert!(summary.contains(" 0 failed"), "{model}: {summary}");
    if model != "coroutine" {
        // The last one may have come before all others were seen to be gone.
        let most = [count, count + 1].map(|n| format!("; {} at once at most", with_comma(n)));
        assert!(
            most.iter().any(|m| summary.ends_with(m)),
            "{model}: {summary}"
        );
    }
}

fn with_comma(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}

#[test]
fn fifty_clients_at_once_are_served_by_all_but_one_model() {
    for model in MODELS.iter().filter(|model| **model != "blocking") {
        crowd(model, 50);
    }
    // That one serves them too, one after the other.
    let (server, address) = serve("blocking");
    let clients: Vec<_> = (0..50).map(|_| connect(address)).collect();
    for client in clients {
        echoed_to_the_end(client, "in line");
    }
    assert!(stop(server).contains("50 finished"));
}

#[test]
fn a_thousand_clients_at_once_are_served_by_who_can() {
    let nofile = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if nofile < 1200 {
        println!("skipped: {nofile} descriptors are not enough for 1,000 clients");
        return;
    }
    for model in MODELS {
        if !["blocking", "process"].contains(&model) {
            crowd(model, 1000);
        }
    }
}

#[test]
fn signal_ends_every_model_at_once_with_clients_connected() {
    for (n, model) in MODELS.into_iter().enumerate() {
        let (server, address) = serve(model);
        let clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        let served = if model == "blocking" { 1 } else { 5 };
        for client in &clients[..served] {
            echoed(client, "x");
        }
        let children = children(&server);
        assert_eq!(children.len(), if model == "process" { 5 } else { 0 });
        let begun = Instant::now();
        server.signal([Signal::INT, Signal::TERM][n % 2]);
        let run = server.finish();
        assert!(begun.elapsed() < Duration::from_secs(8), "{model}");
        // The coroutine server drains: idle ones have finished.
        let told = match model {
            "coroutine" => "served 5 connections: 5 finished".to_owned(),
            _ => format!("served {served} connections: 0 finished, 0 failed, {served} cut off"),
        };
        assert!(run.succeeds().contains(&told), "{run:?}");
        assert!(!children.into_iter().any(is_running), "a child is left");
        for mut client in clients {
            assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)), "{model}");
        }
    }
}

#[test]
fn children_of_a_killed_process_server_end_too() {
    let (server, address) = serve("process");
    let client = connect(address);
    echoed(&client, "x");
    let children = children(&server);
    assert_eq!(children.len(), 1);
    server.signal(Signal::KILL);
    assert_eq!(server.finish().code, 128 + 9);
    eventually("the child ends", || {
        !children.iter().copied().any(is_running)
    });
}

#[test]
fn select_models_send_away_whom_they_cannot_watch() {
    for model in ["select", "select-queue"] {
        let (server, address) = serve(model);
        let clients: Vec<_> = (0..1100).map(|_| connect(address)).collect();
        let mut answered = 0;
        for mut client in &clients {
            let _ = client.write_all(b"x"); // perhaps it was sent away already
            answered += usize::from(matches!(client.read(&mut [0]), Ok(1)));
        }
        // All but those of its standard streams, its listener and its signals.
        assert!((1000..1020).contains(&answered), "{model}: {answered}");
        let away = 1100 - answered;
        let run = end(server);
        let told = format!("{} cut off; {away} sent away", with_comma(answered));
        assert!(run.stdout.contains(&told), "{run:?}");
        assert!(run.stderr.contains("descriptors below 1024"), "{run:?}");
    }
}

/// The time that the process has spent on a core.
fn cpu(server: &Running) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    // A tick is a hundredth of a second in what Linux tells programs.
    Duration::from_millis(10 * ticks.map(|t| t.parse::<u64>().unwrap()).sum::<u64>())
}

#[test]
fn full_descriptor_table_is_waited_out_by_every_model() {
    // The blocking one needs two, however many there are.
    for model in MODELS.iter().filter(|model| **model != "blocking") {
        let (server, address) = serve(model);
        echoed_to_the_end(connect(address), "x");
        let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
        let limits = |extra| Rlimit {
            current: Some(extra),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        let old = prlimit(
            pid,
            Resource::Nofile,
            limits(descriptors(&server) as u64 + 6),
        )
        .unwrap();
        let clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
        let before = cpu(&server);
        thread::sleep(Duration::from_millis(400));
        let spent = cpu(&server) - before;
        assert!(
            spent < Duration::from_millis(160),
            "{model} spins: {spent:?}"
        );
        drop(clients);
        prlimit(pid, Resource::Nofile, old).unwrap();
        echoed_to_the_end(connect(address), "well again");
        server.signal(Signal::TERM);
        let run = server.finish();
        assert_eq!(run.code, 0, "{run:?}");
        assert!(
            run.stderr.contains("too many open files"),
            "{model}: {run:?}"
        );
    }
}

#[test]
fn limit_of_connections_is_said_and_honoured() {
    for model in ["process", "thread", "epoll"] {
        let (server, address) = serve_echo(&["--model", model, "--max-connections", "1"]);
        let first = connect(address);
        echoed(&first, "x");
        let mut second = connect(address);
        second.write_all(b"y").unwrap();
        drop(first);
        let mut answer = [0];
        second.read_exact(&mut answer).unwrap();
        drop(second);
        echoed_to_the_end(connect(address), "third");
        let run = end(server);
        assert!(run.stdout.ends_with("; 1 at once at most\n"), "{run:?}");
        assert!(
            run.stderr.contains("limit of clients is reached (1)"),
            "{run:?}"
        );
    }
}

/// The tutorials' client: sends what it is told, prints what comes back.
const PYTHON_CLIENT: &str = "
import socket, sys
client = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
for text in ['你是who?', '我爱Python']:
    client.sendall(text.encode('utf-8'))
    left = len(text.encode('utf-8'))
    answer = b''
    while len(answer) < left:
        answer += client.recv(1024)
    print(answer.decode('utf-8'))
client.close()
";

#[test]
fn clients_of_others_get_their_echo_from_every_model() {
    let (python, socat) = (peer("python3"), peer("socat"));
    for model in MODELS {
        let (server, address) = serve(model);
        if let Some(python) = &python {
            let port = address.port().to_string();
            let output = Command::new(python)
                .args(["-X", "utf8", "-c", PYTHON_CLIENT, &port])
                .output()
                .unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(printed, "你是who?\n我爱Python\n", "{model}: {output:?}");
        }
        if let Some(socat) = &socat {
            let folder = Folder::new();
            let (file, sent) = (folder.path().join("sent"), vec![7; 1 << 20]);
            fs::write(&file, &sent).unwrap();
            let output = Command::new(socat)
                .args(["-t60", "-", &format!("TCP:{address}")])
                .stdin(fs::File::open(file).unwrap())
                .output()
                .unwrap();
            assert!(output.stdout == sent, "{model}: {}", output.stdout.len());
        }
        assert!(stop(server).contains(" 0 failed, 0 "), "{model}");
    }
}

#[test]
fn standard_input_is_served_only_if_it_is_a_connection() {
    let run = greenloop(["serve", "echo", "--standard-input"]).run();
    run.fails_with(1, &["standard input", "socket operation on non-socket"]);
}

#[test]
fn options_that_a_model_has_not_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["--model", "select", "--idle-timeout", "60s"],
            "--idle-timeout cannot be used",
        ),
        (
            &["--model", "epoll", "--workers", "2"],
            "--workers cannot be used",
        ),
        (&["--model", "thread", "--log-data"], "--model thread"),
        (&["--model", "process", "--drain", "1s"], "--drain"),
        (
            &["--model", "thread", "--write-timeout", "30s"],
            "--write-timeout",
        ),
        (
            &["--model", "blocking", "--max-connections", "9"],
            "serves one",
        ),
        (
            &["--model", "epoll", "--listen", "unix:@x"],
            "one TCP address",
        ),
        (
            &["--model", "epoll", "--listen", ":0", "--listen", ":0"],
            "one TCP address",
        ),
        (&["--model", "poll"], "select-queue"),
    ];
    for (args, part) in cases {
        let run = greenloop([&["serve", "echo"], *args].concat()).run();
        run.fails_with(2, &[part, "--help"]);
    }
    let (taken, address) = serve("epoll");
    let run = greenloop([
        "serve",
        "echo",
        "--model",
        "thread",
        "--listen",
        &address.to_string(),
    ])
    .run();
    run.fails_with(1, &[&address.to_string(), "address already in use"]);
    stop(taken);
}

#[test]
fn demo_models_prints_a_row_for_each() {
    let args = [
        "demo",
        "models",
        "--duration",
        "100ms",
        "--connections",
        "4",
    ];
    let run = greenloop(args).run();
    let lines: Vec<_> = run.succeeds().lines().collect();
    for (line, model) in lines[1..].iter().zip(MODELS) {
        let cells: Vec<_> = line.split_whitespace().collect();
        let connections = if model == "blocking" { "1" } else { "4" };
        assert_eq!((cells[0], cells[1]), (model, connections), "{run:?}");
        assert_eq!(cells[5] == "1", model != "process", "{run:?}");
        assert_eq!(cells.last(), Some(&"0"), "{run:?}");
    }
    assert_eq!(lines.len(), 1 + MODELS.len() + 1, "{run:?}");
    assert!(
        lines[9].starts_with("blocking serves one client"),
        "{run:?}"
    );
}

#[test]
fn demo_models_gives_json_of_those_asked_for() {
    let args = [
        "demo", "models", "-d", "300ms", "-c", "3", "-s", "1K", "--json",
    ];
    let run = greenloop(args).arg("--only").arg("thread,coroutine").run();
    let object: Value = serde_json::from_str(run.succeeds()).unwrap();
    let models = object["models"].as_array().unwrap();
    let names: Vec<_> = models
        .iter()
        .map(|m| m["model"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["thread", "coroutine"]);
    for model in models {
        assert_eq!(model["connections"], 3, "{model}");
        for figure in ["messages", "threads", "processes", "memory_bytes"] {
            assert!(model[figure].as_u64().is_some_and(|n| n > 0), "{model}");
        }
        assert_eq!(model["errors"], serde_json::json!({}), "{model}");
    }
    assert_eq!(models[0]["threads"], 4, "one per client, and who accepts");
    greenloop(["demo", "models", "--only", "fork"])
        .run()
        .fails_with(2, &["fork", "--only"]);
}
