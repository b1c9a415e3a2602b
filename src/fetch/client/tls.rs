//! TLS: whom is trusted, who we are, and how it is spoken.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, DEFAULT_VERSIONS, RootCertStore};

use super::certificate::Explaining;
use crate::error::{Error, IoText, Result};
use crate::fetch::options::{Network, TlsVersion, Trust};
use crate::net::tls::Anybody;

/// What connections are made with.
#[expect(
    clippy::large_stack_frames,
    reason = "once per run; rustls' builder is moved at each of its calls"
)]
pub(super) fn config(parts: &Network) -> Result<ClientConfig> {
    let trust = &parts.trust;
    let provider = Arc::new(ring::default_provider());
    let versions = match trust.version_min {
        TlsVersion::Tls12 => DEFAULT_VERSIONS,
        TlsVersion::Tls13 => &[&TLS13][..],
    };
    let failed = |e: rustls::Error| Error::message(e).context("setting up TLS");
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust, provider)?);
    let mut config = match &trust.certificate {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let chain = certificates(path)?;
            let key = key(trust.private_key.as_deref().unwrap_or(path))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| in_file(path, &e))?
        }
    };
    // Without the first, a server has no choice but the second.
    config.alpn_protocols = match parts.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

/// Mozilla's authorities and the user's own; or nobody's word.
fn verifier(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    if trust.insecure {
        return Ok(Arc::new(Anybody::new(provider)));
    }
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for path in &trust.ca_files {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|e| in_file(path, &e))?;
        }
    }
    let checked = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| Error::message(e).context("setting up TLS"))?;
    Ok(Arc::new(Explaining::new(checked)))
}

/// The certificates of a file, of which there is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|e| in_file(path, &words(&e)))?;
    if found.is_empty() {
        return Err(in_file(path, &"there is no certificate in it"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| {
        let name = path.display();
        Error::message(words(&e)).context(format_args!("reading a key from {name}"))
    })
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => IoText(error).to_string(),
        error => error.to_string(),
    }
}

fn in_file(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::message(error).context(format_args!("reading certificates from {}", path.display()))
}
