//! `greenloop serve upload` and `greenloop upload`: what they say, and how they end.

use crate::serve::{connect, serve};
use crate::support::{Folder, Run, Running, greenloop};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

fn serve_upload(folder: &Folder, more: &[&str]) -> (Running, SocketAddr) {
    let inbox = inbox(folder);
    serve("upload", &[&["--dir", &inbox], more].concat())
}

fn inbox(folder: &Folder) -> String {
    folder.path().join("in").display().to_string()
}

fn upload(folder: &Folder, args: &[&str]) -> Run {
    let args = [&["upload"], args].concat();
    greenloop(args).folder(folder.path()).run()
}

fn names(folder: &Folder) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(inbox(folder))
        .expect("the server made it")
        .map(|entry| entry.expect("it is ours").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Begins an upload by hand and sends half of it.
fn half_an_upload(address: SocketAddr) -> std::net::TcpStream {
    let mut stream = connect(address);
    let header = b"\0\0\0\x0d\x01\0\0\0\0\0\0\0\x08half";
    stream.write_all(header).expect("it reads");
    let mut answer = [0; 4 + 1 + 7];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"\0\0\0\x08\0send it");
    stream.write_all(b"four").expect("it reads");
    stream
}

#[test]
fn upload_sends_several_files_and_both_sides_say_so() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    std::fs::write(folder.path().join("我爱.bin"), vec![7; 1 << 20]).unwrap();
    let (mut server, address) = serve_upload(&folder, &[]);
    let run = upload(
        &folder,
        &["a.txt", "我爱.bin", "a.txt", &address.to_string()],
    );
    assert_eq!(
        run.succeeds(),
        "uploaded a.txt as a.txt (4 B)\nuploaded 我爱.bin as 我爱.bin (1.0 MiB)\n\
         uploaded a.txt as a.1.txt (4 B)\n"
    );
    assert!(
        server
            .line()
            .starts_with("stored a.txt (4 B) from 127.0.0.1:")
    );
    let run = upload(
        &folder,
        &["a.txt", "--name", "../b.txt", &address.to_string()],
    );
    assert_eq!(run.succeeds(), "uploaded a.txt as b.txt (4 B)\n");
    server.signal(Signal::TERM);
    assert!(server.finish().succeeds().contains("served 2 connections"));
    assert_eq!(names(&folder), ["a.1.txt", "a.txt", "b.txt", "我爱.bin"]);
}

#[test]
fn upload_over_a_unix_socket_replaces_if_told() {
    let folder = Folder::new();
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let args = [
        "serve",
        "upload",
        "--dir",
        &inbox(&folder),
        "--overwrite",
        "--listen",
        &socket,
    ];
    let mut server = greenloop(args).start();
    assert_eq!(server.endpoint(), socket);
    for text in ["one", "two"] {
        std::fs::write(folder.path().join("a.txt"), text).unwrap();
        let run = upload(&folder, &["a.txt", &socket]);
        assert_eq!(run.succeeds(), "uploaded a.txt as a.txt (3 B)\n");
    }
    let got = std::fs::read(Path::new(&inbox(&folder)).join("a.txt")).unwrap();
    assert_eq!(got, b"two");
    server.signal(Signal::INT);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn what_cannot_be_sent_has_a_line_and_the_others_arrive() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("small"), "1").unwrap();
    std::fs::write(folder.path().join("large"), "12345").unwrap();
    let (mut server, address) = serve_upload(&folder, &["--max-size", "4"]);
    let run = upload(
        &folder,
        &["no", ".", "large", "small", &address.to_string()],
    );
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (1, "uploaded small as small (1 B)\n")
    );
    let errors: Vec<_> = run.stderr.lines().collect();
    assert_eq!(
        errors,
        [
            "error: uploading no: opening no: no such file or directory",
            "error: uploading .: . is no regular file",
            "error: large: the server refuses it: 5 bytes, and at most 4 are taken",
        ]
    );
    let line = server.line();
    assert!(
        line.starts_with("refused \"large\" from 127.0.0.1:"),
        "{line}"
    );
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn upload_usage_errors_are_exit_code_2_and_no_server_is_1() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("a"), "1").unwrap();
    let fails = |args: &[&str], code, parts: &[&str]| upload(&folder, args).fails_with(code, parts);
    fails(&[], 2, &["upload --help"]);
    fails(&["127.0.0.1:1"], 2, &["upload --help"]);
    fails(&["a", "b"], 2, &["\"b\" has no port", "upload --help"]);
    fails(&["a", "udp://127.0.0.1:1"], 2, &["datagrams"]);
    fails(&["a", "a", "127.0.0.1:1", "--name", "b"], 2, &["--name"]);
    fails(&["a", "127.0.0.1:1"], 1, &["uploading a", "refused"]);
    greenloop(["serve", "upload"])
        .run()
        .fails_with(2, &["--dir"]);
    let file = folder.path().join("a").display().to_string();
    let args = ["serve", "upload", "--listen", "127.0.0.1:0", "--dir", &file];
    greenloop(args)
        .run()
        .fails_with(1, &["folder", "file exists"]);
}

#[test]
fn server_that_drains_or_is_killed_leaves_nothing_of_half_an_upload() {
    let folder = Folder::new();
    let (mut server, address) = serve_upload(&folder, &["--drain", "50ms"]);
    let gone = half_an_upload(address);
    drop(gone);
    let line = server.line();
    assert!(
        line.starts_with("nothing is left of \"half\" from "),
        "{line}"
    );
    let _stalled = half_an_upload(address);
    assert_eq!(names(&folder).len(), 1);
    server.signal(Signal::TERM);
    server.finish().fails_with(1, &["1 connection was cut off"]);
    assert!(names(&folder).is_empty());

    // Nobody can tidy up in a process that is killed so: the next one does.
    let (server, address) = serve_upload(&folder, &[]);
    let _stalled = half_an_upload(address);
    server.signal(Signal::KILL);
    assert_eq!(server.finish().code, 128 + 9);
    assert_eq!(names(&folder).len(), 1);
    let (server, _) = serve_upload(&folder, &[]);
    assert!(names(&folder).is_empty());
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn clients_that_drip_are_refused_and_said() {
    let folder = Folder::new();
    let args = ["--min-speed", "1G", "--idle-timeout", "300ms"];
    let (mut server, address) = serve_upload(&folder, &args);
    let mut stream = half_an_upload(address);
    let mut dripping = stream.try_clone().unwrap();
    let drips = std::thread::spawn(move || {
        // The last of four stays away.
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(80));
            let _ = dripping.write_all(b"x");
        }
    });
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.contains("\u{6}slower than 1073741824 bytes"),
        "{text:?}"
    );
    let line = server.line();
    assert!(
        line.starts_with("refused \"half\" from 127.0.0.1:"),
        "{line}"
    );
    drips.join().unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn answers_of_a_hostile_server_are_escaped() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("a"), "1").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for answer in [&b"\0\0\0\x05\x06\x1b[2J"[..], b"\xff\xff\xff\xff"] {
            let mut stream = listener.accept().unwrap().0;
            stream.read_exact(&mut [0; 4 + 9 + 1]).unwrap();
            stream.write_all(answer).unwrap();
            let _ = stream.read(&mut [0]);
        }
    });
    let refused = "the server refuses it: \\u{1b}[2J";
    upload(&folder, &["a", &address]).fails_with(1, &[refused]);
    upload(&folder, &["a", &address]).fails_with(1, &["a frame of 4294967295 bytes"]);
}
