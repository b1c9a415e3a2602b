//! A local certificate authority, and origins behind TLS that play scripts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::Folder;
use crate::origin::Then;

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

/// Signs certificates; its own is `ca.pem` in a folder of its own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two of one name would be taken for each other.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("local authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Folder::new();
        folder.write("ca.pem", issuer.pem());
        Self { issuer, folder }
    }

    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for `name`; `change` has the last word on it.
    pub(crate) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key,
        }
    }

    /// A server's configuration for `127.0.0.1`.
    pub(crate) fn server(&self) -> ServerConfig {
        config(&self.sign("127.0.0.1", |_| {}))
    }

    /// The same, for clients that this authority has signed for.
    pub(crate) fn strict_server(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring.clone()).build();
        let own = self.sign("127.0.0.1", |_| {});
        ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(own.chain, key(&own.key))
            .unwrap()
    }
}

pub(crate) fn key(pair: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(pair.serialize_der()).unwrap()
}

pub(crate) fn config(own: &Identity) -> ServerConfig {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain.clone(), key(&own.key))
        .unwrap()
}

pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

/// A certificate that its owner has signed; as an authority, like those of `openssl req`.
pub(crate) fn self_signed(is_authority: bool) -> Identity {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    }
}

/// The server's end of a connection.
pub(crate) type Secured = StreamOwned<ServerConnection, TcpStream>;

/// What an origin has seen.
#[derive(Default)]
struct Seen {
    /// Connections that began.
    connections: usize,
    /// Heads of requests, of those that speak HTTP/1.
    heads: Vec<String>,
}

/// An origin behind TLS. Its thread ends with the test's process.
pub(crate) struct TlsOrigin {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl TlsOrigin {
    /// Hands each connection whose handshake went well to `serve`.
    pub(crate) fn raw(
        config: ServerConfig,
        serve: impl Fn(&mut Secured) + Send + Sync + 'static,
    ) -> Self {
        Self::logged(config, move |secured, _| serve(secured))
    }

    #[expect(clippy::large_stack_frames, reason = "on a thread of its own")]
    fn logged(
        config: ServerConfig,
        serve: impl Fn(&mut Secured, &Mutex<Seen>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (config, serve) = (Arc::new(config), Arc::new(serve));
        let counted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.lock().unwrap().connections += 1;
                let (config, serve, seen) = (config.clone(), serve.clone(), counted.clone());
                std::thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let session = ServerConnection::new(config).unwrap();
                    let mut secured = StreamOwned::new(session, stream);
                    while secured.conn.is_handshaking() {
                        if secured.conn.complete_io(&mut secured.sock).is_err() {
                            return;
                        }
                    }
                    serve(&mut secured, &seen);
                });
            }
        });
        Self { addr, seen }
    }

    /// Answers requests over HTTP/1; `Then::Close` says goodbye properly, `Then::Reset`
    /// just closes.
    pub(crate) fn start(
        config: ServerConfig,
        script: impl Fn(&str, &mut Secured) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self::logged(config, move |secured, seen| {
            while let Some(head) = read_head(secured) {
                seen.lock().unwrap().heads.push(head.clone());
                match script(&head, secured) {
                    Then::Keep => {}
                    Then::Close => {
                        secured.conn.send_close_notify();
                        let _ = secured.flush();
                        return;
                    }
                    Then::Reset => return,
                    Then::Stall => {
                        let _ = secured.sock.read(&mut [0; 1024]);
                        return;
                    }
                }
            }
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().heads.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

/// The head of a request; `None` when the client has gone.
pub(crate) fn read_head(secured: &mut Secured) -> Option<String> {
    let mut head = String::new();
    let mut input = BufReader::with_capacity(1, secured);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            return Some(head);
        }
        head.push_str(&line);
    }
}
