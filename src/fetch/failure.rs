//! Why a download failed: a class that programs act on, and a sentence for people.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::error::IoText;

/// The class of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// A limit passed; the text says which: connect, head, idle or total.
    Timeout,
    /// The server does not have it (404, 410).
    NotFound,
    /// Refused, reset, closed or unreachable.
    Network,
    /// The host's name did not resolve.
    Dns,
    /// The answer is none, is truncated, or has a status that brings no file.
    BadResponse,
    /// Too many redirects, or one to where we do not go.
    Redirects,
    /// The server wants credentials or denies access (401, 403, 407).
    Auth,
    /// No space, quota or file size left.
    DiskFull,
    /// A file of the name is there, and was to be left alone.
    Exists,
    /// The file or folder cannot be created or written to.
    CannotCreate,
    /// Another error of the file system.
    Io,
    /// The connection is not private: certificate, host name or protocol.
    Tls,
    /// The server has too much to do or asks for patience (429, 5xx).
    Busy,
    /// It is larger than is allowed, or a decompression bomb.
    TooLarge,
    /// It is not what its checksum or its server's digest says; or it has no checksum, and
    /// must have one.
    Checksum,
    /// What was given is no URL to fetch.
    BadUrl,
    /// An option has no meaning, or names a file that cannot be read or has none.
    BadOption,
    /// The run was stopped, or this download was killed; the partial file stays.
    Stopped,
    /// A fault of this program.
    Internal,
}

impl FailureKind {
    /// A short name, fit for reports and JSON.
    ///
    /// # Switching
    /// Never switches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotFound => "not found",
            Self::Network => "network",
            Self::Dns => "dns",
            Self::BadResponse => "bad response",
            Self::Redirects => "redirects",
            Self::Auth => "auth",
            Self::DiskFull => "disk full",
            Self::Exists => "exists",
            Self::CannotCreate => "cannot create",
            Self::Io => "file i/o",
            Self::Tls => "tls",
            Self::Busy => "server busy",
            Self::TooLarge => "too large",
            Self::Checksum => "checksum",
            Self::BadUrl => "bad url",
            Self::BadOption => "bad option",
            Self::Stopped => "stopped",
            Self::Internal => "internal",
        }
    }

    /// Its number, by which scripts tell the classes apart: aria2's, where aria2 has one.
    ///
    /// A timeout is 28, as with curl: 2 is what a shell's user expects of a wrong command
    /// line, of which a list with something that is no URL is a kind. So is a transfer that
    /// is too slow (5 in aria2). Its 8, that a download cannot be resumed, has nothing to
    /// stand for here: one that cannot begins anew; nor has 18, of a folder that cannot be
    /// made: it is 16, as for a file.
    ///
    /// # Switching
    /// Never switches.
    pub fn code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::BadUrl | Self::BadOption => 2,
            Self::NotFound => 3,
            Self::Network => 6,
            Self::Stopped => 7,
            Self::DiskFull => 9,
            Self::Exists => 13,
            Self::CannotCreate => 16,
            Self::Io => 17,
            Self::Dns => 19,
            Self::BadResponse => 22,
            Self::Redirects => 23,
            Self::Auth => 24,
            Self::Timeout => 28,
            Self::Busy => 29,
            Self::Checksum => 32,
            Self::Tls => 35,
            Self::TooLarge => 63,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why one download failed.
#[derive(Clone, Debug)]
pub struct Failure {
    kind: FailureKind,
    text: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    transient: bool,
    no_room: bool,
    lost_connection: bool,
    refused: bool,
    shed: bool,
    final_word: bool,
    elsewhere: bool,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            status: None,
            retry_after: None,
            transient: false,
            no_room: false,
            lost_connection: false,
            refused: false,
            shed: false,
            final_word: false,
            elsewhere: false,
        }
    }

    /// The failure that a status other than 200 and 206 stands for.
    pub(crate) fn status(status: u16, reason: &str) -> Self {
        let kind = match status {
            404 | 410 => FailureKind::NotFound,
            401 | 403 | 407 => FailureKind::Auth,
            408 => FailureKind::Timeout,
            425 | 429 | 500 | 502 | 503 | 504 | 520..=524 => FailureKind::Busy,
            300..=399 if status != 304 => FailureKind::Redirects,
            _ => FailureKind::BadResponse,
        };
        let text = match status {
            204 | 205 | 304 => "the answer has no content",
            206 => "a part was sent, and none was asked for",
            _ => reason,
        };
        let mut failure = Self::new(kind, format!("status {status}: {text}"));
        failure.status = Some(status);
        failure
    }

    /// The failure that an error of the file system stands for; `what` was going on.
    pub(crate) fn file(error: &io::Error, what: impl fmt::Display) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => FailureKind::DiskFull,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => FailureKind::CannotCreate,
            // ELOOP, from O_NOFOLLOW: the name is a symbolic link.
            _ if error.raw_os_error() == Some(libc::ELOOP) => FailureKind::CannotCreate,
            _ => FailureKind::Io,
        };
        let mut failure = Self::new(kind, format!("{what}: {}", IoText(error)));
        // Not a limit on the size of files: that stays as it is.
        failure.no_room =
            kind == FailureKind::DiskFull && error.kind() != io::ErrorKind::FileTooLarge;
        failure
    }

    /// The failure of a run that an option does not let begin.
    pub(crate) fn option(why: impl fmt::Display) -> Self {
        Self::new(FailureKind::BadOption, why.to_string())
    }

    /// Marks a failure that may pass although its class says no.
    #[must_use]
    pub(crate) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Marks a connection that closed before the first byte of its answer.
    #[must_use]
    pub(crate) fn lost_connection(mut self) -> Self {
        self.lost_connection = true;
        self
    }

    /// Marks a connection that nobody listened for.
    #[must_use]
    pub(crate) fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    /// Marks the refusal of a server that was serving others meanwhile.
    #[must_use]
    pub(crate) fn shed(mut self) -> Self {
        self.shed = true;
        self
    }

    /// Marks a failure that no further try can change.
    #[must_use]
    pub(crate) fn final_word(mut self) -> Self {
        self.final_word = true;
        self
    }

    /// Marks what happened at a host to which a redirect led.
    #[must_use]
    pub(crate) fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// Adds to the sentence.
    #[must_use]
    pub(crate) fn noting(mut self, what: impl fmt::Display) -> Self {
        self.text = format!("{}; {what}", self.text);
        self
    }

    /// Adds the pause that the server asked for.
    #[must_use]
    pub(crate) fn after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// The class.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The HTTP status, if it was the status that failed it.
    pub fn http_status(&self) -> Option<u16> {
        self.status
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.transient
    }

    /// Tells whether there is no room now, and may be later.
    pub(crate) fn is_no_room(&self) -> bool {
        self.no_room
    }

    pub(crate) fn is_lost_connection(&self) -> bool {
        self.lost_connection
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub(crate) fn is_final_word(&self) -> bool {
        self.final_word
    }

    pub(crate) fn is_shed(&self) -> bool {
        self.shed
    }
}

/// One sentence, lower case; holds nothing that moves a terminal's cursor.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::util::escape(self.text.as_bytes()))?;
        match self.retry_after {
            Some(pause) => write!(f, " (to be asked again after {pause:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Its [`source`](std::error::Error::source) is the failure.
impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        io::Error::other(failure).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_classes() {
        for (status, kind) in [
            (101, FailureKind::BadResponse),
            (204, FailureKind::BadResponse),
            (205, FailureKind::BadResponse),
            (206, FailureKind::BadResponse),
            (304, FailureKind::BadResponse),
            (302, FailureKind::Redirects),
            (400, FailureKind::BadResponse),
            (401, FailureKind::Auth),
            (403, FailureKind::Auth),
            (404, FailureKind::NotFound),
            (408, FailureKind::Timeout),
            (410, FailureKind::NotFound),
            (429, FailureKind::Busy),
            (500, FailureKind::Busy),
            (501, FailureKind::BadResponse),
            (503, FailureKind::Busy),
        ] {
            assert_eq!(Failure::status(status, "x").kind(), kind, "{status}");
        }
    }

    #[test]
    fn file_errors_fall_into_classes() {
        for (errno, kind) in [
            (libc::ENOSPC, FailureKind::DiskFull),
            (libc::EDQUOT, FailureKind::DiskFull),
            (libc::EFBIG, FailureKind::DiskFull),
            (libc::EACCES, FailureKind::CannotCreate),
            (libc::EPERM, FailureKind::CannotCreate),
            (libc::EROFS, FailureKind::CannotCreate),
            (libc::ENOTDIR, FailureKind::CannotCreate),
            (libc::EISDIR, FailureKind::CannotCreate),
            (libc::ENAMETOOLONG, FailureKind::CannotCreate),
            (libc::ELOOP, FailureKind::CannotCreate),
            (libc::EIO, FailureKind::Io),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(Failure::file(&error, "x").kind(), kind, "{error}");
        }
    }
}
