//! Through proxies: HTTP that forwards, HTTP that tunnels, SOCKS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::tls_origin::{Authority, TlsOrigin};
use super::*;

const BODY: &[u8] = b"0123456789abcdef";

/// A proxy that leads everything to one place, and what it was asked.
struct Tunnel {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// `greet` speaks with the client and returns what it wanted; `None` ends it.
    fn start(to: SocketAddr, greet: fn(&mut TcpStream) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Some(wanted) = greet(&mut stream) else {
                    continue;
                };
                log.lock().unwrap().push(wanted);
                let there = TcpStream::connect(to).unwrap();
                let (mut a, mut b) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut a, &mut b);
                });
                std::thread::spawn(move || {
                    let (mut stream, mut there) = (stream, there);
                    let _ = std::io::copy(&mut there, &mut stream);
                });
            }
        });
        Self { addr, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn connect(stream: &mut TcpStream) -> Option<String> {
    let head = read_head(stream);
    stream.write_all(b"HTTP/1.1 200 Go ahead\r\n\r\n").unwrap();
    Some(head)
}

fn connect_denied(stream: &mut TcpStream) -> Option<String> {
    read_head(stream);
    stream
        .write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    None
}

/// RFC 1928, with the name and password of RFC 1929 if they are offered.
fn socks(stream: &mut TcpStream) -> Option<String> {
    fn read(stream: &mut TcpStream, count: u8) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::from(count)];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
    fn text(stream: &mut TcpStream) -> Option<String> {
        let length = read(stream, 1)?[0];
        String::from_utf8(read(stream, length)?).ok()
    }
    let count = read(stream, 2)?[1];
    let methods = read(stream, count)?;
    let mut who = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2]).ok()?;
        read(stream, 1)?;
        who = format!("{}:{}@", text(stream)?, text(stream)?);
        stream.write_all(&[1, 0]).ok()?;
    } else {
        stream.write_all(&[5, 0]).ok()?;
    }
    let host = match read(stream, 4)?[3] {
        1 => format!("{:?}", read(stream, 4)?),
        3 => text(stream)?,
        _ => return None,
    };
    let port = read(stream, 2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{who}{host}:{port}"))
}

fn plain_origin() -> Origin {
    Origin::start(|_, wire| wire.answer("200 OK", &[], BODY))
}

#[test]
fn http_goes_through_a_proxy_by_its_whole_url() {
    let folder = Folder::new();
    let proxy = plain_origin();
    let downloader = downloader(&folder).proxy(format!("http://us%40er:p@{}", proxy.addr));
    let outcome = only(downloader.run(["http://a:b@nosuch.invalid/f"]).unwrap());
    assert_saved(&outcome);
    let requests = proxy.requests();
    assert_eq!(requests[0].path, "http://nosuch.invalid/f");
    // `us@er:p`
    let login = requests[0].header("proxy-authorization");
    assert_eq!(login, Some("Basic dXNAZXI6cA=="));
    assert_eq!(requests[0].header("authorization"), Some("Basic YTpi"));
    folder.assert_holds(&[("f", BODY)]);
}

#[test]
fn the_proxy_is_the_one_for_the_scheme_and_not_for_excepted_hosts() {
    let folder = Folder::new();
    let (proxy, origin) = (plain_origin(), plain_origin());
    let at = format!("{}", proxy.addr);
    let direct = format!("nosuch.invalid, {}", origin.addr);
    let downloader = downloader(&folder)
        .proxy("http://127.0.0.1:1")
        .http_proxy(at)
        .proxy_login("user", "pass")
        .no_proxy(direct)
        .retries(0);
    let urls = [origin.url("/direct"), "http://other.invalid/f".to_owned()];
    assert!(downloader.run(urls).unwrap().is_success());
    assert_eq!(origin.requests()[0].path, "/direct");
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "http://other.invalid/f");
    let login = requests[0].header("proxy-authorization");
    assert_eq!(login, Some("Basic dXNlcjpwYXNz"));
    // The one for https is the one for all: nothing listens there.
    let outcome = only(downloader.run(["https://other.invalid/g"]).unwrap());
    assert_failed(&outcome, FailureKind::Network);
}

#[test]
fn https_goes_through_a_tunnel_that_sees_the_host_only() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(authority.server(), |_, secured| {
        let head = crate::origin::head("200 OK", &[], BODY.len());
        let _ = secured.write_all(&[head.as_bytes(), BODY].concat());
        Then::Keep
    });
    let tunnel = Tunnel::start(origin.addr, connect);
    let folder = Folder::new();
    let downloader = downloader(&folder)
        .ca_file(authority.file())
        .header("X-Api-Key", "token")
        .proxy(format!("http://user:pass@{}", tunnel.addr));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    assert_saved(&outcome);
    let asked = &tunnel.asked()[0];
    let line = format!("CONNECT {} HTTP/1.1\r\n", origin.addr);
    assert!(asked.starts_with(&line), "{asked}");
    let lower = asked.to_ascii_lowercase();
    assert!(
        lower.contains("proxy-authorization: basic dxnlcjpwyxnz"),
        "{asked}"
    );
    assert!(!lower.contains("token"), "{asked}");
    assert!(!origin.heads()[0].to_ascii_lowercase().contains("proxy-"));
    folder.assert_holds(&[("f", BODY)]);
}

#[test]
fn a_proxy_that_wants_a_password_is_named_and_asked_once() {
    let folder = Folder::new();
    let origin = plain_origin();
    let tunnel = Tunnel::start(origin.addr, connect_denied);
    let proxy = Origin::start(|_, wire| wire.answer("407 Who are you", &[], b""));
    for (url, at) in [
        ("https://nosuch.invalid/f", tunnel.addr),
        ("http://nosuch.invalid/f", proxy.addr),
    ] {
        let downloader = downloader(&folder).proxy(format!("http://u:secret@{at}"));
        let outcome = only(downloader.run([url]).unwrap());
        assert_failed(&outcome, FailureKind::Auth);
        assert_eq!(outcome.tries, 1);
        assert!(!format!("{outcome:?} {downloader:?}").contains("secret"));
    }
}

#[test]
fn socks_proxies_resolve_names_or_do_not() {
    let origin = plain_origin();
    let proxy = Tunnel::start(origin.addr, socks);
    let folder = Folder::new();
    let run = |scheme: &str, login: &str, url: &str| {
        let downloader = downloader(&folder).proxy(format!("{scheme}://{login}{}", proxy.addr));
        assert_saved(&only(downloader.run([url]).unwrap()));
    };
    run("socks5h", "", "http://nosuch.invalid/a");
    run("socks5h", "user:pass@", "http://nosuch.invalid/b");
    run("socks5", "", "http://127.0.0.1:77/c");
    let asked = [
        "nosuch.invalid:80",
        "user:pass@nosuch.invalid:80",
        "[127, 0, 0, 1]:77",
    ];
    assert_eq!(proxy.asked(), asked);
    let paths: Vec<_> = origin.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
}

#[test]
fn a_proxy_that_is_none_is_refused_before_anything_is_asked() {
    let folder = Folder::new();
    let error = downloader(&folder)
        .proxy("ftp://user:secret@host")
        .run(["http://h/f"]);
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("a proxy is wanted as") && !text.contains("secret"),
        "{text}"
    );
}
