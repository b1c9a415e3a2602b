//! Whom a client trusts.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::TlsConnector;
use crate::error::{Error, Result};

impl TlsConnector {
    /// A connector that trusts these certificates (PEM) and no others.
    ///
    /// # Errors
    /// There is none in it, or one that cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::tls::TlsConnector;
    ///
    /// let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    /// assert!(TlsConnector::trusting(own.cert.pem().as_bytes()).is_ok());
    /// let error = TlsConnector::trusting(b"no certificate").unwrap_err();
    /// assert_eq!(error.to_string(), "there is no certificate in it");
    /// ```
    ///
    /// gevent: `SSLContext.load_verify_locations(cafile)`.
    pub fn trusting(pem: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(Error::message)?;
            roots.add(certificate).map_err(Error::message)?;
        }
        if roots.is_empty() {
            return Err(Error::message("there is no certificate in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::message)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::with_config(config.into()))
    }

    /// A connector that takes anybody for whom they say they are: whoever is between the
    /// two can read and change everything. For tests.
    ///
    /// # Errors
    /// The crypto provider does not support the protocol versions.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::tls::TlsConnector;
    ///
    /// let connector = TlsConnector::trusting_anybody()?;
    /// # let _ = connector;
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    ///
    /// gevent: `ssl._create_unverified_context()`.
    pub fn trusting_anybody() -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(Error::message)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody::new(provider)))
            .with_no_client_auth();
        Ok(Self::with_config(config.into()))
    }
}

/// Accepts every certificate; that the peer has its key is still checked.
#[derive(Debug)]
pub(crate) struct Anybody(Arc<CryptoProvider>);

impl Anybody {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
