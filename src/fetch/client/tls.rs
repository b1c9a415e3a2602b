//! TLS: whom is trusted, and how it is spoken.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};
use crate::fetch::options::Network;

/// TLS with the certificate check on, against Mozilla's authorities and those of
/// `ca_file`.
pub(super) fn config(parts: &Network) -> Result<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = &parts.ca_file {
        let bad = |e: &dyn std::fmt::Display| {
            Error::message(e).context(format_args!("reading certificates from {}", path.display()))
        };
        let found = CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))?;
        for certificate in found {
            roots
                .add(certificate.map_err(|e| bad(&e))?)
                .map_err(|e| bad(&e))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::message(e).context("setting up TLS"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
