//! The exit code of a run of downloads.

use crate::cli::{EXIT_FAILURE, Failure, Outcome};
use crate::fetch::{FailureKind, Report};

/// Success only if every URL is on disk; one class of failures is told by its number, so
/// that the code does not depend on which one came last.
pub(super) fn outcome(report: &Report) -> Outcome {
    if report.is_success() {
        return Ok(());
    }
    Err(of_kind(report.failure_kind()))
}

/// What has been said already, with the code of this class; `None` for several.
pub(super) fn of_kind(kind: Option<FailureKind>) -> Failure {
    Failure::Silent(kind.map_or(EXIT_FAILURE, FailureKind::code))
}
