//! TFTP: a server that never answers, and one that cannot end.

use std::fs;
use std::time::Duration;

use greenloop::apps::tftp::{Client, Handle, Server};
use greenloop::net::UdpSocket;
use greenloop::proto::tftp::Retry;

use super::files::Disk;
use super::{LONG, Row, Rows, row};

/// A client, and the socket that does not answer it.
struct Silent {
    client: Client,
    _server: UdpSocket,
    folder: Folder,
}

/// Removed with its files.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenloop-rows-tftp-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "text").unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn silent() -> Silent {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = Client::new(server.local_addr().unwrap().into());
    Silent {
        client: client.retry(Retry::new(LONG, 0)),
        _server: server,
        folder: Folder::new(),
    }
}

fn left_nothing(silent: &mut Silent) {
    assert_eq!(fs::read_dir(&silent.folder.0).unwrap().count(), 1);
}

/// A server on a disk that does not answer.
fn unmade() -> (Disk, Option<Server>) {
    let disk = Disk::new();
    let server = Server::new(disk.at("."));
    (disk, Some(server))
}

/// A server with a client that takes its time.
fn busy() -> (Handle, UdpSocket, Folder) {
    let folder = Folder::new();
    let server = Server::new(&folder.0).retry(Retry::new(LONG, 0));
    let server = server.start("127.0.0.1:0").unwrap();
    let mut client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .send_to(b"\x00\x01file\x00octet\x00", server.addr())
        .unwrap();
    client.recv(&mut [0; 100]).unwrap();
    (server, client, folder)
}

pub(in super::super) fn tftp() -> Vec<Row> {
    let clients = Rows::on("Client", silent, left_nothing)
        .call("get", |s| s.client.get("file", s.folder.0.join("new")))
        .call("get_to", |s| s.client.get_to("file", &mut Vec::new()))
        .call("put", |s| s.client.put(s.folder.0.join("file"), "new"));
    let servers = Rows::on("Server", unmade, |_| {})
        .call("start", |(_, server)| {
            server.take().unwrap().start("127.0.0.1:0")
        })
        .call("start_all", |(_, server)| {
            server.take().unwrap().start_all(["127.0.0.1:0"])
        });
    let drain = row(
        "Handle::drain",
        busy,
        |(server, ..)| server.drain(LONG),
        |(server, ..)| assert_eq!(server.drain(Duration::ZERO).unwrap().killed, 1),
    );
    let mut rows = clients.rows;
    rows.extend(servers.rows);
    rows.push(drain);
    rows
}
