//! `greenloop tftp` and `greenloop serve tftp`.

use crate::support::{Folder, Run, Running, greenloop, peer};
use rustix::process::Signal;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// A server of `folder`, and where it listens.
fn serve(folder: &Folder, args: &[&str]) -> (Running, String) {
    let mut server = greenloop(["serve", "tftp", "--listen", "127.0.0.1:0", "--root"]);
    server = server.arg(folder.path());
    for arg in args {
        server = server.arg(arg);
    }
    let mut server = server.start();
    let address = server.address().to_string();
    (server, address)
}

fn stop(server: Running) -> String {
    server.signal(Signal::TERM);
    server.finish().succeeds().to_owned()
}

/// `greenloop tftp ARGS` in `folder`, which does not stay for lost ACKs.
fn tftp(folder: &Folder, args: &[&str]) -> Run {
    let mut all = vec!["tftp"];
    all.extend(args);
    if args[0] == "get" {
        all.extend(["--dally", "0"]);
    }
    greenloop(all).folder(folder.path()).run()
}

#[test]
fn a_file_goes_up_and_comes_back() {
    let (root, own) = (Folder::new(), Folder::new());
    let (mut server, address) = serve(&root, &["--writable"]);
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 7) as u8).collect();
    fs::write(own.path().join("file"), &bytes).unwrap();
    let put = tftp(&own, &["put", "file", &address]);
    assert!(put.succeeds().starts_with("file  97.7 KiB in "), "{put:?}");
    assert!(fs::read(root.path().join("file")).unwrap() == bytes);
    let line = server.line();
    assert!(
        line.contains(" write file: 97.7 KiB in ") && line.ends_with(", complete"),
        "{line}"
    );

    let get = tftp(&own, &["get", &address, "/file", "-o", "copy"]);
    assert!(get.succeeds().starts_with("copy  97.7 KiB in "), "{get:?}");
    assert!(fs::read(own.path().join("copy")).unwrap() == bytes);
    fs::remove_file(own.path().join("file")).unwrap();
    let options = ["--blksize", "8192", "--windowsize", "1", "--mode", "octet"];
    tftp(&own, &[&["get", &address, "file"][..], &options].concat()).succeeds();
    assert_eq!(own.names(), ["copy", "file"]);
    let summary = stop(server);
    assert!(
        summary.contains("served 3 transfers: 3 finished, 0 refused, 0 failed, 0 killed; 97.7 KiB in, 195.3 KiB out"),
        "{summary}"
    );
}

#[test]
fn text_goes_to_standard_output() {
    let (root, own) = (Folder::new(), Folder::new());
    fs::write(root.path().join("text"), "one\n你是who?\n").unwrap();
    let (server, address) = serve(&root, &[]);
    for mode in ["octet", "netascii"] {
        let get = tftp(&own, &["get", &address, "text", "-o", "-", "--mode", mode]);
        assert_eq!(get.succeeds(), "one\n你是who?\n");
    }
    assert!(own.names().is_empty());
    stop(server);
}

#[test]
fn what_the_server_refuses_is_one_line_and_exit_code_1() {
    let (root, own) = (Folder::new(), Folder::new());
    fs::write(root.path().join("there"), "old").unwrap();
    fs::write(own.path().join("there"), "new").unwrap();
    let (server, address) = serve(&root, &["--writable"]);
    let cases: [(&[&str], &str); 4] = [
        (
            &["get", &address, "no"],
            "no: the server says: file not found (error 1)",
        ),
        (
            &["get", &address, "../x"],
            "../x: the server says: access violation: hidden files are not served (error 2)",
        ),
        (
            &["put", "there", &address],
            "there: the server says: file already exists (error 6)",
        ),
        (
            &["put", "no", &address],
            "opening no: no such file or directory",
        ),
    ];
    for (args, text) in cases {
        tftp(&own, args).fails_with(1, &[text]);
    }
    assert_eq!(own.names(), ["there"]);
    let lines = stop(server);
    assert!(
        lines.contains("read no: 0 B in ") && lines.contains(", refused: file not found"),
        "{lines}"
    );

    let (server, address) = serve(&root, &["--writable", "--overwrite"]);
    tftp(&own, &["put", "there", &address]).succeeds();
    assert_eq!(fs::read(root.path().join("there")).unwrap(), b"new");
    stop(server);

    let (server, address) = serve(&root, &[]);
    tftp(&own, &["put", "there", &address]).fails_with(1, &["the server is read-only (error 2)"]);
    stop(server);
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let own = Folder::new();
    // Bound, and never answered.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let patience = ["--timeout", "20ms", "--retries", "1"];
    let get = tftp(&own, &[&["get", &address, "file"][..], &patience].concat());
    get.fails_with(1, &["file: no answer within 60ms"]);
    assert!(own.names().is_empty());
}

#[test]
fn an_interrupted_transfer_leaves_nothing() {
    let own = Folder::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let get = greenloop(["tftp", "get", &address, "file"])
        .folder(own.path())
        .start();
    // It has asked, so it has its partial file, too.
    let mut buffer = [0; 600];
    let (_, client) = silent.recv_from(&mut buffer).unwrap();
    silent
        .send_to(&[&b"\x00\x03\x00\x01"[..], &[0; 512]].concat(), client)
        .unwrap();
    silent.recv_from(&mut buffer).unwrap();
    assert_eq!(own.names(), ["file.part"]);
    get.signal(Signal::INT);
    let run = get.finish();
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (130, "", "")
    );
    assert!(own.names().is_empty());
    let (length, _) = silent.recv_from(&mut buffer).unwrap();
    assert_eq!(
        &buffer[..length],
        b"\x00\x05\x00\x00the client was stopped\x00"
    );
}

#[test]
fn a_drain_cuts_off_what_does_not_end() {
    let root = Folder::new();
    fs::write(root.path().join("file"), vec![0; 2000]).unwrap();
    let (server, address) = serve(&root, &["--timeout", "20s", "--drain", "100ms"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    client
        .send_to(b"\x00\x01file\x00octet\x00", &address)
        .unwrap();
    let mut buffer = [0; 600];
    client.recv(&mut buffer).unwrap();
    server.signal(Signal::TERM);
    let run = server.finish();
    run.fails_with(1, &["1 transfer was cut off"]);
    assert!(
        run.stdout.contains("draining 1 transfer, at most 100ms"),
        "{run:?}"
    );
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"\x00\x05\x00\x00the server stops\x00");
}

#[test]
fn wrong_arguments_are_said() {
    let own = Folder::new();
    for (args, text) in [
        (&["get", "h"][..], "<FILE>"),
        (&["get", "h:x", "file"], "has the port \"x\""),
        (&["get", "h", "folder/"], "give one with -o PATH"),
        (
            &["get", "h", "file", "--blksize", "7"],
            "7 is not in 8..=65464",
        ),
        (
            &["get", "h", "file", "--windowsize", "0"],
            "0 is not in 1..=32767",
        ),
        (&["get", "h", "file", "--timeout", "0"], "at least 10ms"),
        (&["put", "/", "h"], "give one with -o REMOTE"),
    ] {
        let mut all = vec!["tftp"];
        all.extend(args);
        greenloop(all)
            .folder(own.path())
            .run()
            .fails_with(2, &[text]);
    }
    for (args, text) in [
        (&[][..], "--root <DIR>"),
        (
            &["--root", ".", "--listen", "tcp://:69"],
            "TFTP is spoken over UDP",
        ),
        (&["--root", ".", "--overwrite"], "--writable"),
    ] {
        let mut all = vec!["serve", "tftp"];
        all.extend(args);
        greenloop(all).run().fails_with(2, &[text]);
    }
    let missing = greenloop([
        "serve",
        "tftp",
        "--listen",
        "127.0.0.1:0",
        "--root",
        "/no/such",
    ])
    .run();
    missing.fails_with(1, &["folder /no/such: no such file or directory"]);
}

#[test]
fn curl_reads_what_the_command_serves() {
    let Some(curl) = peer("curl") else { return };
    let root = Folder::new();
    fs::write(root.path().join("file"), vec![7; 512 * 3]).unwrap();
    let (server, address) = serve(&root, &[]);
    let output = Command::new(curl)
        .args(["-sS", "--max-time", "20"])
        .arg(format!("tftp://{address}/file"))
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout == vec![7; 512 * 3]);
    stop(server);
}
