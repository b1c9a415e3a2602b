//! `greenloop connect --tls`: whom it trusts, and both directions at once.

use crate::connect::{connect_when_there, free_port, two_ways_with};
use crate::support::{Folder, Greenloop, PATIENCE, greenloop, peer};
use greenloop::Deadline;
use greenloop::net::TcpListener;
use greenloop::net::tls::TlsAcceptor;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A certificate for `localhost` with its key, as files.
struct Identity {
    _folder: Folder,
    certificate: PathBuf,
    key: PathBuf,
    acceptor: TlsAcceptor,
}

impl Identity {
    fn new() -> Self {
        let own =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("the name is one");
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.expect("it is one"))
            .expect("they belong together");
        let folder = Folder::new();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("the folder is ours");
            path
        };
        Self {
            certificate: write("cert.pem", own.cert.pem()),
            key: write("key.pem", own.signing_key.serialize_pem()),
            acceptor: TlsAcceptor::with_config(config.into()),
            _folder: folder,
        }
    }

    /// A server that sends everything back, to one client after the other.
    fn echo(&self) -> SocketAddr {
        let mut listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = self.acceptor.clone();
        greenloop::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Ok(stream) = acceptor.accept(stream, Deadline::after(PATIENCE)) else {
                    continue;
                };
                let (mut reader, mut writer) = stream.split().expect("there are descriptors");
                let _ = std::io::copy(&mut reader, &mut writer);
                let _ = writer.shutdown();
            }
        });
        address
    }

    fn trusted(&self) -> [String; 4] {
        let path = self.certificate.display().to_string();
        [
            "--ca".into(),
            path,
            "--server-name".into(),
            "localhost".into(),
        ]
    }
}

fn connect(address: SocketAddr, more: &[String]) -> Greenloop {
    let address = address.to_string();
    let args = ["connect", &address, "--tls"].map(str::to_owned);
    greenloop(args.iter().chain(more))
}

#[test]
fn sixteen_mebibytes_pass_both_ways_through_tls() {
    let identity = Identity::new();
    let data: Vec<u8> = (0..16_u32 << 20).map(|i| ((i * 31) >> 3) as u8).collect();
    let folder = Folder::new();
    let path = folder.path().join("out");
    let run = connect(identity.echo(), &identity.trusted())
        .input(data.clone())
        .stdout(File::create(&path).unwrap())
        .run();
    run.succeeds();
    assert!(std::fs::read(path).unwrap() == data);
}

#[test]
fn only_whom_it_trusts_is_talked_to() {
    let identity = Identity::new();
    let address = identity.echo();
    let ask = |more: &[&str]| {
        let more: Vec<_> = more.iter().map(|&arg| arg.to_owned()).collect();
        connect(address, &more).input("你是who?").run()
    };
    // Mozilla does not know it, and another name is not its own.
    ask(&["--server-name", "localhost"]).fails_with(1, &["TLS with localhost", "certificate"]);
    let ca = identity.certificate.display().to_string();
    ask(&["--ca", &ca]).fails_with(1, &["TLS with 127.0.0.1", "certificate"]);
    ask(&["--insecure"]).succeeds();
    assert_eq!(ask(&["--insecure"]).stdout, "你是who?");
    let run = connect(address, &identity.trusted())
        .input("我爱Python")
        .run();
    assert_eq!(run.succeeds(), "我爱Python");
}

#[test]
fn what_is_no_tls_or_no_certificate_is_one_line() {
    let (_server, plain) = crate::serve::serve("hello", &[]);
    connect(plain, &["--insecure".into()])
        .run()
        .fails_with(1, &["TLS with 127.0.0.1"]);
    let no_file = ["--ca".into(), "/nonexistent".into()];
    connect(plain, &no_file)
        .run()
        .fails_with(1, &["/nonexistent", "no such file"]);
    let no_certificate = ["--ca".into(), file!().into()];
    connect(plain, &no_certificate)
        .folder(Path::new(env!("CARGO_MANIFEST_DIR")))
        .run()
        .fails_with(1, &[file!(), "no certificate"]);
    for (args, part) in [
        (&["udp://127.0.0.1:1", "--tls"][..], "datagrams"),
        (&["unix:/s", "--tls"], "--server-name"),
        (&["127.0.0.1:1", "--insecure"], "--tls"),
        (&["127.0.0.1:1", "--tls", "--insecure", "--ca", "x"], "--ca"),
    ] {
        let run = greenloop([&["connect"], args].concat()).run();
        run.fails_with(2, &[part]);
    }
}

#[test]
fn server_that_leaves_without_goodbye_is_told_of() {
    let identity = Identity::new();
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor.clone();
    greenloop::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut stream = acceptor.accept(stream, Deadline::after(PATIENCE)).unwrap();
        stream.write_all(b"half of it").unwrap();
    });
    // Its input stays open: a goodbye that nobody reads would make it a reset.
    let (reader, _writer) = std::io::pipe().unwrap();
    let run = connect(address, &identity.trusted()).stdin(reader).run();
    run.fails_with(1, &[&address.to_string(), "without TLS' goodbye"]);
    assert_eq!(run.stdout, "half of it");
}

/// `openssl s_server`, which turns round every line.
struct OpenSsl(Child);

impl OpenSsl {
    fn start(program: &Path, identity: &Identity, version: &str) -> (Self, SocketAddr) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let child = Command::new(program)
            .args(["s_server", "-rev", "-quiet", version, "-accept"])
            .arg(address.to_string())
            .arg("-cert")
            .arg(&identity.certificate)
            .arg("-key")
            .arg(&identity.key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was found");
        (Self(child), address)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn openssl_is_talked_to_in_both_versions() {
    let Some(openssl) = peer("openssl") else {
        return;
    };
    let identity = Identity::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let (_server, address) = OpenSsl::start(&openssl, &identity, version);
        let (address, trusted) = (address.to_string(), identity.trusted());
        let mut own = vec![address.as_str(), "--tls"];
        own.extend(trusted.iter().map(String::as_str));
        let (run, out) = connect_when_there(&own, b"hello\n");
        run.succeeds();
        assert_eq!(out, b"olleh\n");
    }
}

#[test]
fn two_ways_with_socat_through_tls() {
    let identity = Identity::new();
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    let port = free_port();
    let listen = format!(
        "OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,cert={certificate},key={key},verify=0"
    );
    let (address, trusted) = (format!("127.0.0.1:{port}"), identity.trusted());
    let mut own = vec![address.as_str(), "--tls"];
    own.extend(trusted.iter().map(String::as_str));
    two_ways_with("socat", &["-t60", "-", &listen], &own);
}
