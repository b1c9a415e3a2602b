//! Unix sockets: names, files, and servers on them.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use greenloop::Error;
use greenloop::apps::echo::Echo;
use greenloop::net::{Addr, ListenOptions, UnixAddr, UnixListener, UnixStream};
use greenloop::server::{ServerConfig, StreamServer};

use crate::support::on_workers;

const LONG: Duration = Duration::from_secs(20);

/// A folder of the test's own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gl-unix-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a server that was killed leaves.
fn leave_a_file(path: &std::path::Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

#[test]
fn dead_servers_file_is_replaced_and_a_live_ones_is_not() {
    let folder = Folder::new("stale");
    let path = folder.path("s");
    leave_a_file(&path);
    let listener = UnixListener::bind(path.as_path()).unwrap();
    let error = UnixListener::bind(path.as_path()).unwrap_err();
    let expected = format!(
        "listening on unix:{}: address already in use",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(UnixStream::connect(path.as_path()).is_ok());
    listener.close();
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_is_never_replaced() {
    let folder = Folder::new("file");
    for (name, is_folder) in [("notes.txt", false), ("folder", true)] {
        let path = folder.path(name);
        if is_folder {
            std::fs::create_dir(&path).unwrap();
        } else {
            std::fs::write(&path, "keep").unwrap();
        }
        let error = UnixListener::bind(path.as_path()).unwrap_err();
        assert!(
            error.to_string().ends_with("address already in use"),
            "{error}"
        );
        assert!(path.exists());
    }
}

#[test]
fn datagram_sockets_file_is_not_taken_for_dead() {
    let folder = Folder::new("type");
    let path = folder.path("s");
    let _live = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    assert!(UnixListener::bind(path.as_path()).is_err());
}

#[test]
fn file_of_another_server_stays() {
    let folder = Folder::new("other");
    let path = folder.path("s");
    let first = UnixListener::bind(path.as_path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = UnixListener::bind(path.as_path()).unwrap();
    drop(first);
    assert!(UnixStream::connect(path.as_path()).is_ok());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn of_many_servers_that_find_a_dead_file_one_wins() {
    on_workers!({
        let folder = Folder::new("race");
        let path = folder.path("s");
        for _ in 0..20 {
            leave_a_file(&path);
            let binding: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    greenloop::spawn(move || UnixListener::bind(path.as_path()))
                })
                .collect();
            let bound: Vec<_> = binding
                .into_iter()
                .filter_map(|greenlet| greenlet.join().unwrap().ok())
                .collect();
            assert_eq!(bound.len(), 1);
            assert!(UnixStream::connect(path.as_path()).is_ok());
        }
    });
}

/// As above, with nothing left behind: who has bound and does not listen yet
/// must not be taken for dead.
#[test]
fn of_many_servers_that_start_at_once_one_wins() {
    on_workers!([4], {
        let folder = Folder::new("start");
        for round in 0..200 {
            let path = folder.path(&round.to_string());
            let go = Arc::new(Barrier::new(4));
            let starting: Vec<_> = (0..4)
                .map(|_| {
                    let (path, go) = (path.clone(), go.clone());
                    std::thread::spawn(move || {
                        go.wait();
                        UnixListener::bind(path.as_path())
                    })
                })
                .collect();
            let bound: Vec<_> = starting
                .into_iter()
                .filter_map(|thread| thread.join().unwrap().ok())
                .collect();
            assert_eq!(bound.len(), 1);
            assert!(UnixStream::connect(path.as_path()).is_ok());
        }
    });
}

#[test]
fn permissions_are_as_asked_before_anybody_connects() {
    let folder = Folder::new("mode");
    let path = folder.path("s");
    let _listener = ListenOptions::new()
        .unix_mode(0o640)
        .bind_unix(path.as_path())
        .unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn names_that_cannot_be_are_errors() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
    let error = UnixListener::bind(long.as_path()).unwrap_err();
    assert!(
        error.to_string().ends_with("longer than 107 bytes"),
        "{error}"
    );
    let error = UnixStream::connect(long.as_path()).unwrap_err();
    assert!(
        error.to_string().ends_with("longer than 107 bytes"),
        "{error}"
    );
    let error = UnixListener::bind(UnixAddr::Unnamed).unwrap_err();
    assert!(error.to_string().contains("listening on unix:"), "{error}");
}

#[test]
fn one_server_listens_on_tcp_a_file_and_a_name() {
    on_workers!({
        let folder = Folder::new("server");
        let path = folder.path("s");
        let name = format!("@greenloop-server-{}", std::process::id());
        let server = ServerConfig::new()
            .bind_all([
                "127.0.0.1:0".to_owned(),
                format!("unix:{}", path.display()),
                format!("unix:{name}"),
            ])
            .unwrap()
            .start(Echo::new())
            .unwrap();
        let shown: Vec<_> = server.addrs().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown[1..],
            [format!("unix:{}", path.display()), format!("unix:{name}")]
        );
        for addr in &server.addrs()[1..] {
            let Addr::Unix(addr) = addr.clone() else {
                panic!("{addr}")
            };
            let mut client = UnixStream::connect_timeout(addr, LONG).unwrap();
            client.write_all("我爱Python".as_bytes()).unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, "我爱Python".as_bytes());
        }
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.accepted, report.finished), (2, 2));
        assert!(!path.exists());
    });
}

#[test]
fn server_of_connections_refuses_datagram_addresses() {
    let error: Error = StreamServer::bind("udp://127.0.0.1:0")
        .map(drop)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a server of connections cannot listen on udp://127.0.0.1:0"
    );
}
