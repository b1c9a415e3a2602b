//! Why a certificate is not accepted, in words that help.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::util::escape;

/// Checks as rustls does; of a certificate that is not trusted it tells whether it is one
/// that its owner signed.
#[derive(Debug)]
pub(super) struct Explaining(Arc<WebPkiServerVerifier>);

impl Explaining {
    pub(super) fn new(checked: Arc<WebPkiServerVerifier>) -> Self {
        Self(checked)
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        checked.map_err(|error| match error {
            // `Other` is what is said of one that calls itself an authority, as those made
            // by `openssl req -x509` do.
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            ) if is_self_signed(end_entity) => {
                CertificateError::Other(OtherError(Arc::new(SelfSigned))).into()
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Signed by its own key, or so it says.
#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("self-signed")
    }
}

impl std::error::Error for SelfSigned {}

/// What is wrong with a connection's privacy.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::InvalidMessage(_) => format!("the server does not speak TLS here ({error})"),
        Error::AlertReceived(alert) => format!("the server refuses the TLS connection: {alert:?}"),
        error => error.to_string(),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(OtherError(why)) if why.is::<SelfSigned>() => {
            "the certificate is self-signed, and not one that is trusted".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the certificate is from an authority that is not trusted".to_owned()
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / (24 * 3600);
            format!("the certificate has expired, {days} days ago")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet: one of the two clocks is wrong".to_owned()
        }
        CertificateError::NotValidForName => "the certificate is for another host".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "the certificate is for another host: it names {}, not {}",
            escape(presented.join(", ").as_bytes()),
            expected.to_str()
        ),
        CertificateError::Revoked => "the certificate was revoked".to_owned(),
        error => format!("the certificate is not valid: {error}"),
    }
}

/// Tells whether a certificate (RFC 5280, DER) names the same as its issuer and its
/// subject. Only words depend on it.
fn is_self_signed(certificate: &[u8]) -> bool {
    let names = || {
        let (_, certificate, _) = element(certificate)?;
        let (_, mut fields, _) = element(certificate)?;
        // The version has a tag of its own and may be left out.
        if fields.first() == Some(&0xa0) {
            fields = element(fields)?.2;
        }
        let (_, _, fields) = element(fields)?; // serial number
        let (_, _, fields) = element(fields)?; // signature algorithm
        let (_, issuer, fields) = element(fields)?;
        let (_, _, fields) = element(fields)?; // validity
        let (_, subject, _) = element(fields)?;
        Some(issuer == subject)
    };
    names().unwrap_or(false)
}

/// Splits off a DER element: its tag, its content, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length & 0x80 != 0 {
        let count = length & 0x7f;
        if count > size_of::<u32>() {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits
            .iter()
            .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_signed_by_its_owner_is_told() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert!(is_self_signed(own.cert.der()));
        for end in 0..own.cert.der().len() {
            // Cut anywhere: no panic, and only whole names count.
            let _ = is_self_signed(&own.cert.der()[..end]);
        }
        assert!(!is_self_signed(b"\x30\x84\xff\xff\xff\xff"));
        assert!(!is_self_signed(b""));
    }
}
