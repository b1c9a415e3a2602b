//! Where the command's words go: lines on standard output, errors on standard error.

use super::Failure;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes one line to standard output and hands it on at once.
///
/// # Errors
/// [`Failure::PipeClosed`] when nobody reads any more, which is no error to talk about;
/// otherwise what the system said.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(write_failure)
}

/// Writes one line to standard output of a program that must go on without a reader.
pub(crate) fn line_or_nothing(text: impl Display) {
    let _ = line(text);
}

/// Writes one line to standard error; where that is closed, nobody wants to know.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What a failed write to standard output means.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::PipeClosed;
    }
    let error = crate::Error::from(error).context("writing to standard output");
    Failure::Failed(error.to_string())
}
