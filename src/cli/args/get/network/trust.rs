//! Certificates: whose are trusted, which is ours.

use super::variable;
use crate::cli::out;
use crate::fetch::{Downloader, TlsVersion};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TrustArgs {
    /// Trust these certificate authorities too, a PEM file [default: $SSL_CERT_FILE or
    /// $CURL_CA_BUNDLE]; may be given more than once
    #[arg(long, value_name = "FILE", visible_alias = "cacert")]
    pub(crate) ca_certificate: Vec<PathBuf>,

    /// Show servers that ask for one this certificate, a PEM file
    #[arg(long, value_name = "FILE", visible_alias = "cert")]
    pub(crate) certificate: Option<PathBuf>,

    /// The certificate's key, a PEM file [default: in the certificate's file]
    #[arg(
        long,
        value_name = "FILE",
        visible_alias = "key",
        requires = "certificate"
    )]
    pub(crate) private_key: Option<PathBuf>,

    /// Check who servers are; without, anybody on the way can read and change everything
    /// [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) check_certificate: Option<bool>,

    /// As --check-certificate=false
    #[arg(
        long,
        visible_alias = "no-check-certificate",
        conflicts_with = "check_certificate"
    )]
    pub(crate) insecure: bool,

    /// Refuse older versions of TLS
    #[arg(
        long,
        value_enum,
        value_name = "VERSION",
        default_value = "TLSv1.2",
        ignore_case = true
    )]
    pub(crate) min_tls_version: VersionArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VersionArg {
    /// The oldest that is spoken at all
    #[value(name = "TLSv1.2", aliases = ["1.2", "TLSv1", "TLSv1.1", "1.0", "1.1"])]
    Tls12,
    /// The newest
    #[value(name = "TLSv1.3", alias = "1.3")]
    Tls13,
}

impl TrustArgs {
    pub(super) fn apply(&self, downloader: Downloader) -> Downloader {
        let insecure = self.insecure || self.check_certificate == Some(false);
        if insecure {
            out::note(
                "warning: certificates are NOT checked (--insecure): anybody on the way can read \
                 and change what is downloaded",
            );
        }
        let mut downloader =
            downloader
                .check_certificate(!insecure)
                .tls_version_min(match self.min_tls_version {
                    VersionArg::Tls12 => TlsVersion::Tls12,
                    VersionArg::Tls13 => TlsVersion::Tls13,
                });
        for path in &self.ca_certificate {
            downloader = downloader.ca_file(path);
        }
        if self.ca_certificate.is_empty()
            && let Some(path) = variable("SSL_CERT_FILE").or_else(|| variable("CURL_CA_BUNDLE"))
        {
            downloader = downloader.ca_file(path);
        }
        if let Some(path) = &self.certificate {
            downloader = downloader.certificate(path);
        }
        match &self.private_key {
            Some(path) => downloader.private_key(path),
            None => downloader,
        }
    }
}
