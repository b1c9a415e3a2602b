//! Other people's clients and servers, directly and over a network that loses, doubles and
//! delays. Each is skipped with a line where it is not installed.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use greenloop::proto::tftp::{Mode, Retry};

use super::relay::{Faults, Relay};
use super::{Dice, Site, client};
use crate::peers::peer;
use crate::support::wait_bounded;

/// What is demanded of the network between us and them.
const BAD: Faults = Faults {
    lost: 5,
    doubled: 5,
    delayed: 5,
    cut: 0,
};
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of others, ended when it is dropped.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts what `command` makes for a free port, and waits until it answers.
    fn start(command: impl Fn(SocketAddr) -> Command) -> Self {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let mut command = command(addr);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, addr };
        let begun = Instant::now();
        loop {
            probe
                .send_to(b"\x00\x01no-such-file\x00octet\x00", addr)
                .unwrap();
            if probe.recv_from(&mut [0; 600]).is_ok() {
                return server;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not answer");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hpa(site: &Site) -> Option<Server> {
    let program = peer("in.tftpd")?;
    Some(Server::start(|addr| {
        let mut command = Command::new(&program);
        command.args([
            "-L",
            "-c",
            "-s",
            "-u",
            "root",
            "--address",
            &addr.to_string(),
        ]);
        command.arg(site.root());
        command
    }))
}

fn atftpd(site: &Site) -> Option<Server> {
    let program = peer("atftpd")?;
    Some(Server::start(|addr| {
        let port = addr.port().to_string();
        let mut command = Command::new(&program);
        command.args(["--daemon", "--no-fork", "--user", "root", "--group", "root"]);
        command.args(["--bind-address", "127.0.0.1", "--port", &port]);
        command.arg(site.root());
        command
    }))
}

#[test]
fn our_client_reads_from_and_writes_to_tftpd_hpa() {
    let site = Site::new();
    if !rustix::process::geteuid().is_root() {
        println!("skipped: in.tftpd wants to be started by root");
        return;
    }
    let Some(server) = hpa(&site) else { return };
    check_server(&site, &server, true);
}

#[test]
fn our_client_reads_from_and_writes_to_atftpd() {
    let site = Site::new();
    let Some(server) = atftpd(&site) else { return };
    check_server(&site, &server, false);
}

fn check_server(site: &Site, server: &Server, has_blocks_of_8: bool) {
    for length in [0, 1, 512 * 4, 1428 * 3, 200_000] {
        let file = Dice(length as u64).file(length);
        let name = format!("file-{length}");
        site.write(&name, &file);
        for block_size in [8, 512, 1428, 8192] {
            if block_size == 8 && (length > 10_000 || !has_blocks_of_8) {
                continue;
            }
            let client = client(server.addr).block_size(block_size);
            client.get(&name, site.local("got")).unwrap();
            assert!(site.read_local("got") == file, "{name} by {block_size}");
            let put = format!("put-{length}-{block_size}");
            client.put(site.local("got"), &put).unwrap();
            until_there(site, &put, &file);
        }
    }
    check_text(site, server);
    check_losses(site, server);
}

fn check_text(site: &Site, server: &Server) {
    let text = b"one\ntwo\r\nthree\n".repeat(100);
    site.write("text", &text);
    let netascii = client(server.addr).mode(Mode::Netascii);
    netascii.get("text", site.local("text")).unwrap();
    assert!(site.read_local("text") == text);
    let error = netascii.get("no", site.local("no")).unwrap_err();
    assert!(error.to_string().contains("(error 1)"), "{error}");
}

fn check_losses(site: &Site, server: &Server) {
    let relay = Relay::new(server.addr, 5, BAD);
    let file = Dice(6).file(60_000);
    site.write("lossy", &file);
    // Two ends that wait for each other, one of which waits a second at least.
    let retry = Retry::new(Duration::from_millis(100), 9);
    let client = client(relay.addr()).retry(retry);
    client.get("lossy", site.local("lossy")).unwrap();
    assert!(site.read_local("lossy") == file);
    client.put(site.local("lossy"), "lossy-put").unwrap();
    until_there(site, "lossy-put", &file);
}

/// Servers that confirm before they have written need a moment.
fn until_there(site: &Site, name: &str, file: &[u8]) {
    crate::support::eventually("the file is there", || {
        fs::read(site.root().join(name)).is_ok_and(|copy| copy == file)
    });
}

/// A client of others: how it is told to get and to put.
struct Client {
    name: &'static str,
    get: fn(&Path, SocketAddr, &str, &Path) -> Command,
    put: fn(&Path, SocketAddr, &Path, &str) -> Command,
}

fn command<const N: usize>(program: &Path, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

const CURL: Client = Client {
    name: "curl",
    get: |program, server, far, near| {
        let url = format!("tftp://{server}/{far}");
        command(program, ["-sS", "--max-time", "50", "-o", text(near), &url])
    },
    put: |program, server, near, far| {
        let url = format!("tftp://{server}/{far}");
        command(program, ["-sS", "--max-time", "50", "-T", text(near), &url])
    },
};

const HPA: Client = Client {
    name: "tftp",
    get: |program, server, far, near| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        command(
            program,
            ["-m", "binary", &host, &port, "-c", "get", far, text(near)],
        )
    },
    put: |program, server, near, far| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        command(
            program,
            ["-m", "binary", &host, &port, "-c", "put", text(near), far],
        )
    },
};

const ATFTP: Client = Client {
    name: "atftp",
    get: |program, server, far, near| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        let option = ["--option", "blksize 1428"];
        command(
            program,
            [
                option[0],
                option[1],
                "--get",
                "-r",
                far,
                "-l",
                text(near),
                &host,
                &port,
            ],
        )
    },
    put: |program, server, near, far| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        let option = ["--option", "blksize 1428"];
        command(
            program,
            [
                option[0],
                option[1],
                "--put",
                "-r",
                far,
                "-l",
                text(near),
                &host,
                &port,
            ],
        )
    },
};

const BUSYBOX: Client = Client {
    name: "busybox",
    get: |program, server, far, near| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        command(
            program,
            [
                "tftp",
                "-g",
                "-b",
                "1428",
                "-r",
                far,
                "-l",
                text(near),
                &host,
                &port,
            ],
        )
    },
    put: |program, server, near, far| {
        let (host, port) = (server.ip().to_string(), server.port().to_string());
        command(
            program,
            [
                "tftp",
                "-p",
                "-b",
                "1428",
                "-r",
                far,
                "-l",
                text(near),
                &host,
                &port,
            ],
        )
    },
};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn curl_reads_from_and_writes_to_our_server() {
    check_client(&CURL);
}

#[test]
fn tftp_hpa_reads_from_and_writes_to_our_server() {
    check_client(&HPA);
}

#[test]
fn atftp_reads_from_and_writes_to_our_server() {
    check_client(&ATFTP);
}

#[test]
fn busybox_reads_from_and_writes_to_our_server() {
    check_client(&BUSYBOX);
}

fn check_client(client: &Client) {
    let Some(program) = peer(client.name) else {
        return;
    };
    let site = Site::new();
    let server = site.start(|server| server.writable(true).overwrite(true));
    for length in [0, 1, 511, 512 * 4, 1428 * 3, 200_000] {
        let file = Dice(length as u64).file(length);
        exchange(client, &program, server.addr(), &site, &file, 1);
    }
    let relay = Relay::new(server.addr(), 7, BAD);
    // Some of them give up at a packet that comes twice or late; then they may try again.
    let file = Dice(8).file(8_000);
    exchange(client, &program, relay.addr(), &site, &file, 8);
    assert!(server.drain(Duration::from_secs(30)).is_ok());
    assert_eq!(site.hidden(), 0);
}

/// Gets and puts the file, with so many tries.
fn exchange(
    client: &Client,
    program: &Path,
    server: SocketAddr,
    site: &Site,
    file: &[u8],
    tries: u32,
) {
    let what = format!("{}, {} bytes", client.name, file.len());
    site.write("file", file);
    let got = (0..tries).any(|_| {
        let _ = fs::remove_file(site.local("got"));
        let ended = run((client.get)(program, server, "file", &site.local("got")));
        // Of an empty file some make none.
        ended.success() && fs::read(site.local("got")).unwrap_or_default() == file
    });
    assert!(got, "{what} read");
    fs::write(site.local("put"), file).unwrap();
    let put = (0..tries).any(|_| {
        run((client.put)(program, server, &site.local("put"), "copy"));
        let copy = fs::read(site.root().join("copy"));
        // What is there is whole.
        copy.is_ok_and(|copy| {
            assert!(copy == file, "{what} written");
            true
        })
    });
    assert!(put, "{what} written");
    fs::remove_file(site.root().join("copy")).unwrap();
}

fn run(mut command: Command) -> ExitStatus {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = quiet.stderr(Stdio::null()).spawn().unwrap();
    wait_bounded(&mut child, PATIENCE)
}
