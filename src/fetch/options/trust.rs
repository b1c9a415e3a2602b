//! Whom TLS trusts, and who we say we are.

use std::path::PathBuf;

use crate::fetch::Downloader;

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 and later.
    #[default]
    Tls12,
    /// TLS 1.3 and later.
    Tls13,
}

/// Certificates, ours and others'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// PEM files with authorities to trust besides the built-in ones.
    pub(crate) ca_files: Vec<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) private_key: Option<PathBuf>,
    /// Everybody is taken for whom they say they are.
    pub(crate) insecure: bool,
    pub(crate) version_min: TlsVersion,
}

impl Downloader {
    /// A PEM file with certificate authorities to trust besides Mozilla's. May be called
    /// several times.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.trust.ca_files.push(path.into());
        self
    }

    /// A PEM file with the certificate that servers may ask us for, and those that lead
    /// from it to an authority. Its key is in the same file or in
    /// [`Downloader::private_key`].
    pub fn certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.trust.certificate = Some(path.into());
        self
    }

    /// A PEM file with the key of [`Downloader::certificate`].
    pub fn private_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.trust.private_key = Some(path.into());
        self
    }

    /// Whether the certificates of servers are checked. Default: yes. Without, whoever is
    /// between us and a server can read and change everything.
    pub fn check_certificate(mut self, check: bool) -> Self {
        self.settings.network.trust.insecure = !check;
        self
    }

    /// The oldest version of TLS that is spoken. Default: [`TlsVersion::Tls12`].
    pub fn tls_version_min(mut self, version: TlsVersion) -> Self {
        self.settings.network.trust.version_min = version;
        self
    }
}
