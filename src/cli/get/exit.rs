//! The exit code of a run of downloads.

use crate::cli::{EXIT_FAILURE, Failure, Outcome};
use crate::fetch::Report;

/// Success only if every URL is on disk; one class of failures is told by its number, so
/// that the code does not depend on which one came last.
pub(super) fn outcome(report: &Report) -> Outcome {
    if report.is_success() {
        return Ok(());
    }
    let code = report
        .failure_kind()
        .map_or(EXIT_FAILURE, |kind| kind.code());
    Err(Failure::Silent(code))
}
