//! `greenloop get`: how servers are spoken to. What the flags lead to is tested with the
//! library; here, that they lead to it.

use crate::support::{Folder, Greenloop, PATIENCE, Run, greenloop};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const BODY: &str = "0123456789abcdef";

/// An origin or a proxy: it tells the head of each request and answers with `BODY`.
struct Listener {
    address: SocketAddr,
    heads: Receiver<String>,
}

impl Listener {
    fn start(fields: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let (tell, heads) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || {
                    let Some(head) = read_head(&stream) else {
                        return;
                    };
                    let _ = tell.send(head);
                    let length = BODY.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n{fields}\r\n{BODY}"
                    );
                    let _ = (&stream).write_all(answer.as_bytes());
                });
            }
        });
        Self { address, heads }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn head(&self) -> String {
        self.heads.recv_timeout(PATIENCE).expect("a request comes")
    }
}

fn read_head(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn get<const N: usize>(folder: &Folder, args: [&str; N]) -> Greenloop {
    let all = ["get", "--retries", "0"].into_iter().chain(args);
    greenloop(all).folder(folder.path())
}

/// Each of `fields` stands in the head, in whichever case.
#[track_caller]
fn assert_has(head: &str, fields: &[&str]) {
    let lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    for field in fields {
        assert!(
            lines.contains(&field.to_ascii_lowercase()),
            "{field}: {head}"
        );
    }
}

fn saved(run: &Run) {
    assert!(run.succeeds().contains("saved 1 of 1 file"), "{run:?}");
}

#[test]
fn get_sends_the_fields_it_is_given() {
    let (origin, folder) = (Listener::start(""), Folder::new());
    let url = origin.url("f");
    let fields = [
        "-H",
        "X-One: 1",
        "--header",
        "X-Two:2",
        "-U",
        "me/1",
        "--referer",
        "http://r/",
    ];
    let run = get(&folder, [&url]).args(fields);
    saved(
        &run.args(["--http-user", "user", "--http-passwd", "secret"])
            .run(),
    );
    assert_has(
        &origin.head(),
        &[
            "GET /f HTTP/1.1",
            "X-One: 1",
            "X-Two: 2",
            "User-Agent: me/1",
            "Referer: http://r/",
            "Accept-Encoding: identity",
            // `user:secret`
            "Authorization: Basic dXNlcjpzZWNyZXQ=",
        ],
    );
    saved(&get(&folder, ["--user", "user:secret", "--compressed", &url]).run());
    assert_has(
        &origin.head(),
        &[
            "Authorization: Basic dXNlcjpzZWNyZXQ=",
            "Accept-Encoding: gzip, deflate, br",
        ],
    );
    saved(&get(&folder, ["--bearer", "t0ken", &url]).run());
    assert_has(&origin.head(), &["Authorization: Bearer t0ken"]);
    let run = get(&folder, ["--header", "secret without a colon", &url]).run();
    run.fails_with(2, &["a field is wanted"]);
}

#[test]
fn get_takes_logins_and_cookies_from_files() {
    let (origin, folder) = (
        Listener::start("Set-Cookie: new=2; Path=/\r\n"),
        Folder::new(),
    );
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).expect("the folder is ours");
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).expect("so is the file");
    };
    write(".netrc", "machine 127.0.0.1 login user password secret\n");
    write("other", "machine 127.0.0.1 login a password b\n");
    write("in.txt", "127.0.0.1\tFALSE\t/\tFALSE\t0\told\t1\n");
    let url = origin.url("f");
    let cookies = ["--load-cookies", "in.txt", "--save-cookies", "out.txt"];
    let run = get(&folder, [&url, "--netrc", "-d", "into"]).args(cookies);
    saved(&run.env("HOME", folder.path()).run());
    assert_has(
        &origin.head(),
        &["Authorization: Basic dXNlcjpzZWNyZXQ=", "Cookie: old=1"],
    );
    let kept = fs::read_to_string(path("out.txt")).expect("it is written");
    assert!(
        kept.contains("\told\t1\n") && kept.contains("\tnew\t2\n"),
        "{kept}"
    );
    for run in [
        get(&folder, [&url, "--netrc-file", "other", "-d", "into"]),
        get(&folder, [&url, "--netrc", "-d", "into"]).env("NETRC", path("other")),
    ] {
        saved(&run.run());
        // `a:b`
        assert_has(&origin.head(), &["Authorization: Basic YTpi"]);
    }
    fs::set_permissions(path("other"), fs::Permissions::from_mode(0o644)).expect("ours");
    let run = get(&folder, [&url, "--netrc-file", "other"]).run();
    run.fails_with(2, &["other", "chmod 600"]);
}

#[test]
fn get_goes_through_the_proxies_of_its_flags_and_environment() {
    let (proxy, folder) = (Listener::start(""), Folder::new());
    let at = format!("http://{}", proxy.address);
    let dead = "http://127.0.0.1:1";
    let url = "http://nosuch.invalid/f";
    let through = |run: Greenloop| {
        saved(&run.run());
        assert_has(&proxy.head(), &["GET http://nosuch.invalid/f HTTP/1.1"]);
    };
    through(get(&folder, [url, "--all-proxy", &at]).env("http_proxy", dead));
    through(get(
        &folder,
        [url, "--http-proxy", &at, "--all-proxy", dead],
    ));
    through(
        get(&folder, [url])
            .env("http_proxy", &at)
            .env("ALL_PROXY", dead),
    );
    through(get(&folder, [url]).env("ALL_PROXY", &at));
    // A server's environment has this one from a field of the request.
    let run = get(&folder, [url]).env("HTTP_PROXY", &at).run();
    run.fails_with(19, &["nosuch.invalid"]);
    let run = get(&folder, [url])
        .env("http_proxy", &at)
        .env("NO_PROXY", ".invalid")
        .run();
    run.fails_with(19, &["nosuch.invalid"]);
    let run = get(&folder, [url, "--no-proxy", "*"])
        .env("http_proxy", &at)
        .run();
    run.fails_with(19, &["nosuch.invalid"]);
    let run = get(&folder, [url, "--all-proxy", ""])
        .env("http_proxy", &at)
        .run();
    run.fails_with(19, &["nosuch.invalid"]);
}

#[test]
fn get_refuses_what_is_too_large() {
    let (origin, folder) = (Listener::start(""), Folder::new());
    let run = get(&folder, [&origin.url("f"), "--max-filesize", "15"]).run();
    run.fails_with(63, &["larger than the 15 bytes"]);
    saved(&get(&folder, [&origin.url("f"), "--max-size", "16"]).run());
}

/// A server for one connection after the other, with a certificate for `localhost`.
fn tls_server(folder: &Folder) -> SocketAddr {
    let own =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("the name is one");
    fs::write(folder.path().join("own.pem"), own.cert.pem()).expect("the folder is ours");
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.expect("it is one"));
    let config = Arc::new(config.expect("they belong together"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(config.clone()).expect("it is valid");
            let mut secured = rustls::StreamOwned::new(session, stream);
            let mut head = String::new();
            let mut lines = BufReader::new(&mut secured);
            while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).is_ok_and(|n| n > 0) {}
            let length = BODY.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{BODY}");
            let _ = secured.write_all(answer.as_bytes());
            secured.conn.send_close_notify();
            let _ = secured.flush();
        }
    });
    address
}

#[test]
fn get_trusts_whom_it_is_told_to_and_is_loud_about_trusting_all() {
    let folder = Folder::new();
    let address = tls_server(&folder);
    let url = format!("https://localhost:{}/f", address.port());
    let run = get(&folder, [&url]).run();
    run.fails_with(35, &["self-signed"]);
    saved(&get(&folder, [&url, "--ca-certificate", "own.pem"]).run());
    saved(&get(&folder, [&url]).env("SSL_CERT_FILE", "own.pem").run());
    saved(&get(&folder, [&url]).env("CURL_CA_BUNDLE", "own.pem").run());
    for flag in [
        "--insecure",
        "--no-check-certificate",
        "--check-certificate=false",
    ] {
        let run = get(&folder, [&url, flag]).run();
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains("saved 1 of 1 file"), "{run:?}");
        assert!(
            run.stderr.contains("certificates are NOT checked"),
            "{run:?}"
        );
    }
    let run = get(
        &folder,
        [
            &url,
            "--check-certificate=true",
            "--min-tls-version",
            "TLSv1.3",
        ],
    )
    .run();
    run.fails_with(35, &["self-signed"]);
    assert!(!run.stderr.contains("NOT checked"), "{run:?}");
}

#[test]
fn get_says_what_a_proxy_does_instead_of_a_tunnel() {
    let folder = Folder::new();
    for (answer, code, told) in [
        ("rubbish\r\n\r\n", 6, "the proxy does not connect us"),
        ("", 6, "the proxy does not connect us: it closes"),
        (
            "HTTP/1.1 403 No\r\n\r\n",
            6,
            "the proxy does not connect us",
        ),
        (
            "HTTP/1.1 407 Who\r\n\r\n",
            24,
            "proxy authorization required",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let proxy = format!("http://{}", listener.local_addr().expect("it is bound"));
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            read_head(&stream);
            stream.write_all(answer.as_bytes()).expect("it is read");
        });
        let run = get(&folder, ["--all-proxy", &proxy, "https://nosuch.invalid/x"]).run();
        serving.join().expect("it has served");
        run.fails_with(code, &[told]);
    }
}
