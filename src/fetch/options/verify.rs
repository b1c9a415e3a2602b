//! What files are held against.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode;

use crate::error::{Error, Result};
use crate::fetch::checksum::{Algorithm, Checksum};
use crate::fetch::expect::TypePattern;
use crate::fetch::failure::Failure;
use crate::fetch::listed::Listed;
use crate::fetch::sums::SumList;
use crate::fetch::{Downloader, Entry};
use crate::runtime::blocking::files;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::Wait;
use crate::util::escape;

/// What files are held against.
#[derive(Clone, Debug)]
pub(crate) struct Verify {
    /// Lists of checksums.
    pub(crate) lists: Vec<PathBuf>,
    pub(crate) list_algorithm: Option<Algorithm>,
    /// What is in the lists, once a run has read them.
    pub(crate) listed: Arc<Listed>,
    /// A file that no list names is a failure.
    pub(crate) strict: bool,
    /// In a verification, a file that is not there is no failure.
    pub(crate) ignore_missing: bool,
    /// The server's own digests count.
    pub(crate) digest_fields: bool,
    /// Hashes to compute although nothing is known to compare with.
    pub(crate) hashes: Vec<Algorithm>,
    pub(crate) types: Vec<TypePattern>,
    pub(crate) size_min: u64,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            list_algorithm: None,
            listed: Arc::default(),
            strict: false,
            ignore_missing: false,
            digest_fields: true,
            hashes: Vec::new(),
            types: Vec::new(),
            size_min: 0,
        }
    }
}

impl Verify {
    /// Reads the lists of checksums.
    ///
    /// # Switching
    /// May switch: they are read on a lane.
    pub(crate) fn load(&mut self) -> Result<()> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let (lists, algorithm) = (self.lists.clone(), self.list_algorithm);
        let read = move || {
            let mut listed = Listed::default();
            for path in &lists {
                read_list(path, algorithm, &mut listed)?;
            }
            listed.sort();
            Ok::<_, Error>(listed)
        };
        self.listed = Arc::new(files().run_for(Wait::Lane, Deadline::NEVER, read)??);
        Ok(())
    }
}

impl Verify {
    /// Tells whether lists know of any file.
    pub(crate) fn has_lists(&self) -> bool {
        !self.listed.is_empty()
    }

    /// What the file of an entry must hash to, if it is saved as `name`: a path below the
    /// run's folder.
    pub(crate) fn checksums(&self, entry: &Entry, name: &Path) -> Vec<Checksum> {
        let own = entry.own().map(|own| own.checksums.as_slice());
        let mut all = own.unwrap_or_default().to_vec();
        if !self.listed.is_empty() {
            let path = entry.url().map(|url| url.path().as_bytes());
            let path: Vec<u8> = percent_decode(path.unwrap_or_default()).collect();
            let names = [name.as_os_str().as_encoded_bytes(), path.as_slice()];
            all.extend(self.listed.find(&names));
        }
        all
    }
}

/// Opens a list of checksums.
pub(crate) fn open_list(
    path: &Path,
    algorithm: Option<Algorithm>,
) -> Result<SumList<Box<dyn BufRead + Send>>> {
    let file = File::open(path).map_err(|e| about(path, e))?;
    let hint = algorithm.or_else(|| Algorithm::of_list(path));
    Ok(SumList::new(Box::new(BufReader::new(file)), hint))
}

/// An error of the list at `path`.
pub(crate) fn about(path: &Path, error: io::Error) -> Error {
    let name = escape(path.as_os_str().as_encoded_bytes());
    Failure::option(Error::from(error).context(format_args!("checksums in {name}"))).into()
}

fn read_list(path: &Path, algorithm: Option<Algorithm>, listed: &mut Listed) -> Result<()> {
    for sum in open_list(path, algorithm)? {
        // A path too long for the index is too long for a file system.
        listed.add(&sum.map_err(|e| about(path, e))?);
    }
    Ok(())
}

impl Downloader {
    /// A list of checksums, as `sha256sum` and its kin or BSD's `sha256` write it; may be
    /// called for several. Read when a run starts, which fails if it cannot be read or has
    /// a bad line. A line takes some 60 bytes of memory besides its name.
    ///
    /// A line is about a file by the name that it is saved under, or by the URL: where its
    /// path is the end of theirs. The algorithm is what the line says (BSD), else the
    /// list's name (`b3sums`), else the one with hashes of that length. A file that is not
    /// what its line says fails with [`FailureKind::Checksum`](crate::fetch::FailureKind).
    pub fn check_list(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.verify.lists.push(path.into());
        self
    }

    /// The algorithm of hashes in lists whose lines do not name one, where their length
    /// fits. Default: what the list's name says, else the one of that length; of SHA-256
    /// and BLAKE3, SHA-256.
    pub fn check_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.settings.verify.list_algorithm = Some(algorithm);
        self
    }

    /// Whether a file that has no checksum, neither of its own nor in a list, fails.
    /// Default: no; where there is a list, a line in the log says so.
    pub fn check_strict(mut self, strict: bool) -> Self {
        self.settings.verify.strict = strict;
        self
    }

    /// Whether [`Downloader::verify`] passes over files that are not there. Default: no,
    /// they fail.
    pub fn ignore_missing(mut self, ignore: bool) -> Self {
        self.settings.verify.ignore_missing = ignore;
        self
    }

    /// Whether a file without a checksum is held against the digest that its server sends
    /// along (`Repr-Digest`, `Content-Digest`, `Digest`, `Content-MD5`; the strongest of
    /// them). Default: yes. Not done for answers with a content coding.
    pub fn digest_fields(mut self, check: bool) -> Self {
        self.settings.verify.digest_fields = check;
        self
    }

    /// A hash to compute of every file while it is written, for
    /// [`Outcome::checksums`](crate::fetch::Outcome). Default: those that are compared.
    ///
    /// What did not come in order (segments, the front of a resumed file) is read back.
    pub fn hash(mut self, algorithm: Algorithm) -> Self {
        self.settings.verify.hashes.push(algorithm);
        self
    }

    /// A media type that files must have, with `*` for any text: `image/*`; with a `!`
    /// before it one that they must not have: `!text/html`. Of several of the first kind,
    /// one is enough. Others are no file ([`FailureKind::BadResponse`]): a page that says
    /// "not found" in words only. Default: any.
    ///
    /// [`FailureKind::BadResponse`]: crate::fetch::FailureKind::BadResponse
    pub fn expect_type(mut self, pattern: &str) -> Self {
        self.settings.verify.types.push(TypePattern::new(pattern));
        self
    }

    /// The smallest file that is one, in bytes; smaller ones fail as in
    /// [`Downloader::expect_type`]. Default: 0.
    pub fn size_min(mut self, bytes: u64) -> Self {
        self.settings.verify.size_min = bytes;
        self
    }
}
