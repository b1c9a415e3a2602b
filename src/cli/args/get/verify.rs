//! What files are held against.

use crate::cli::units;
use crate::fetch::{Algorithm, Checksum, Downloader};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(next_help_heading = "Verification")]
pub(crate) struct VerifyArgs {
    /// What the one URL's file must hash to: sha-256=HEX; also md5, sha-1, sha-512, blake3;
    /// may be given more than once
    #[arg(long, value_name = "ALG=HEX")]
    pub(crate) checksum: Vec<Checksum>,

    /// Hold files against a list of checksums: SHA256SUMS, md5sums, BSD's form; may be given
    /// more than once
    #[arg(long, value_name = "FILE", visible_alias = "checksums")]
    pub(crate) check: Vec<PathBuf>,

    /// The algorithm of lists that do not name one [default: by the list's name, else by length]
    #[arg(long, value_name = "ALG", requires = "check")]
    pub(crate) check_algorithm: Option<Algorithm>,

    /// Fail files that have no checksum
    #[arg(long)]
    pub(crate) check_strict: bool,

    /// Download nothing: hold the files that are there against their checksums, all those of
    /// the --check lists, or those of the URLs
    // What is told of downloads only, nobody would find there.
    #[arg(
        long,
        visible_alias = "verify-only",
        conflicts_with_all = [
            "no_save",
            "write_checksums",
            "report",
            "save_session",
            "on_download_complete",
            "on_download_error",
        ]
    )]
    pub(crate) verify: bool,

    /// With --verify: pass over files that are not there
    #[arg(long, requires = "verify")]
    pub(crate) ignore_missing: bool,

    /// Hold files without a checksum against the digest that their server sends [default: true]
    #[arg(long, value_name = "BOOL")]
    pub(crate) digest_fields: Option<bool>,

    /// The same as --digest-fields=false
    #[arg(long, conflicts_with = "digest_fields")]
    pub(crate) no_digest_fields: bool,

    /// Write the checksums of what was saved to a file, as sha256sum does; its name tells the
    /// algorithm, else it is sha-256
    #[arg(
        long,
        value_name = "FILE",
        visible_alias = "manifest",
        conflicts_with = "no_save"
    )]
    pub(crate) write_checksums: Option<PathBuf>,

    /// Fail answers of another type: image/*, application/zip; with ! before it, of this type:
    /// !text/html; several with commas
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = media_type)]
    pub(crate) expect_type: Vec<String>,

    /// Fail files that are smaller
    #[arg(long, value_name = "SIZE", value_parser = units::size, visible_alias = "min-filesize")]
    pub(crate) min_size: Option<u64>,
}

/// What is no pattern of a type would refuse everything.
fn media_type(text: &str) -> Result<String, String> {
    let pattern = text.trim().trim_start_matches('!').trim();
    let is_one = match pattern.split_once('/') {
        Some((kind, rest)) => !kind.is_empty() && !rest.is_empty(),
        None => pattern.contains('*'),
    };
    match is_one && !pattern.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => Err("a type is wanted, as in image/*, application/zip or !text/html".to_owned()),
    }
}

impl VerifyArgs {
    pub(crate) fn apply(&self, mut downloader: Downloader) -> Downloader {
        for path in &self.check {
            let is_stdin = path == Path::new("-");
            downloader = downloader.check_list(if is_stdin {
                Path::new("/dev/stdin")
            } else {
                path
            });
        }
        if let Some(algorithm) = self.check_algorithm {
            downloader = downloader.check_algorithm(algorithm);
        }
        for pattern in &self.expect_type {
            downloader = downloader.expect_type(pattern);
        }
        if self.write_checksums.is_some() {
            downloader = downloader.hash(self.written_algorithm());
        }
        downloader
            .check_strict(self.check_strict)
            .ignore_missing(self.ignore_missing)
            .digest_fields(self.digest_fields.unwrap_or(!self.no_digest_fields))
            .size_min(self.min_size.unwrap_or(0))
    }

    /// The algorithm of the list that is written.
    pub(crate) fn written_algorithm(&self) -> Algorithm {
        self.write_checksums
            .as_deref()
            .and_then(Algorithm::of_list)
            .unwrap_or(Algorithm::Sha256)
    }
}
