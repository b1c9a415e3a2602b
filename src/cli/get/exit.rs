//! The exit code of a run of downloads.

use crate::cli::{EXIT_FAILURE, EXIT_PIPE_CLOSED, EXIT_USAGE, Failure, Outcome, complain};
use crate::error::Error;
use crate::fetch::{Failure as Cause, FailureKind, Report};
use std::error::Error as _;
use std::fmt::Display;
use std::io;

/// Success only if every URL is on disk; one class of failures is told by its number, so
/// that the code does not depend on which one came last.
pub(super) fn outcome(report: &Report, hooks_failed: u64, list_error: Option<String>) -> Outcome {
    if let Some(error) = list_error {
        return Err(Failure::Failed(error));
    }
    if !report.is_success() {
        return Err(of_kind(report.failure_kind()));
    }
    if let Some(failure) = &report.cookies_failure {
        return Err(of_kind(Some(failure.kind())));
    }
    match hooks_failed {
        0 => Ok(()),
        _ => Err(Failure::Silent(EXIT_FAILURE)),
    }
}

/// Says why there was no run; a failure of a class has its number here, too.
pub(super) fn not_run(error: &Error) -> Failure {
    let text = error.to_string();
    let failure = error
        .source()
        .and_then(|source| source.downcast_ref::<Cause>());
    match failure {
        Some(failure) => Failure::Silent(complain(&text, failure.kind().code())),
        None => Failure::Failed(text),
    }
}

/// Says what went wrong with a file of this program's own; `what` was going on.
pub(in crate::cli) fn of_file(error: &io::Error, what: impl Display) -> Failure {
    let failure = Cause::file(error, what);
    Failure::Silent(complain(&failure.to_string(), failure.kind().code()))
}

/// What has been said already, with the code of this class; `None` for several.
pub(super) fn of_kind(kind: Option<FailureKind>) -> Failure {
    Failure::Silent(kind.map_or(EXIT_FAILURE, FailureKind::code))
}

/// The code that `outcome` will give the process, as a shell sees it.
pub(super) fn code(outcome: &Outcome) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(Failure::Usage(_)) => EXIT_USAGE,
        Err(Failure::Failed(_)) => EXIT_FAILURE,
        Err(Failure::Silent(code)) => *code,
        Err(Failure::Signal(signal)) => u8::try_from(128 + signal).unwrap_or(EXIT_FAILURE),
        Err(Failure::PipeClosed) => EXIT_PIPE_CLOSED,
    }
}

/// Every code and what it says, for the help.
pub(super) fn table() -> Vec<(String, &'static str)> {
    let mut rows = vec![
        (
            0,
            "every URL is on disk, or was there and is left alone; or would be (--dry-run)",
        ),
        (
            EXIT_FAILURE,
            "failures of several classes; a fault of this program; a hook failed",
        ),
        (
            EXIT_USAGE,
            "wrong usage: an option, its value, a file that it names to be read; no URL",
        ),
    ];
    let kinds = KINDS.iter().filter(|kind| kind.code() > EXIT_USAGE);
    rows.extend(kinds.map(|kind| (kind.code(), meaning(*kind))));
    rows.sort_unstable();
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(code, meaning)| (code.to_string(), meaning))
        .collect();
    rows.push((EXIT_PIPE_CLOSED.to_string(), "nobody reads the output"));
    rows.push((
        "128+N".into(),
        "ended by signal N, as a shell tells it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP",
    ));
    rows
}

/// Every class.
const KINDS: &[FailureKind] = &[
    FailureKind::Timeout,
    FailureKind::NotFound,
    FailureKind::Network,
    FailureKind::Dns,
    FailureKind::BadResponse,
    FailureKind::Redirects,
    FailureKind::Auth,
    FailureKind::DiskFull,
    FailureKind::CannotCreate,
    FailureKind::Io,
    FailureKind::Tls,
    FailureKind::Busy,
    FailureKind::BadUrl,
    FailureKind::BadOption,
    FailureKind::Stopped,
    FailureKind::TooLarge,
    FailureKind::Exists,
    FailureKind::Checksum,
    FailureKind::Internal,
];

fn meaning(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Timeout => "too slow, or a time limit passed (2, 5 in aria2; 28 is curl's)",
        FailureKind::NotFound => "the server does not have it (404, 410)",
        FailureKind::Network => "refused, reset, closed or unreachable",
        FailureKind::Dns => "the host's name did not resolve",
        FailureKind::BadResponse => "the answer is none, is cut, or brings no file",
        FailureKind::Redirects => "too many redirects, or one to where we do not go",
        FailureKind::Auth => "the server denies access (401, 403, 407)",
        FailureKind::DiskFull => "no space, quota or file size left",
        FailureKind::CannotCreate => {
            "a file or folder cannot be created or written to (18 in aria2)"
        }
        FailureKind::Io => "another error of the file system",
        FailureKind::Tls => "the connection is not private: certificate, host name, protocol",
        FailureKind::Busy => "the server asks for patience (429, 5xx)",
        FailureKind::BadUrl => "what was given is no URL",
        FailureKind::BadOption => "an option has no meaning, or its file none",
        FailureKind::Stopped => "stopped before its end, by what was asked for",
        FailureKind::TooLarge => "larger than is allowed, or a decompression bomb",
        FailureKind::Exists => "a file of the name is there, and was to be an error",
        FailureKind::Checksum => "the content has not the checksum it should have",
        FailureKind::Internal => "a fault of this program",
        // Lacks words of its own, which a test notices.
        #[allow(unreachable_patterns, reason = "there is none at the moment")]
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn classes_have_codes_of_their_own() {
        let codes: BTreeSet<_> = KINDS.iter().map(|kind| kind.code()).collect();
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.name()).collect();
        let told: BTreeSet<_> = KINDS.iter().map(|kind| meaning(*kind)).collect();
        // Two of them are wrong usage.
        assert_eq!(codes.len(), KINDS.len() - 1);
        assert_eq!((names.len(), told.len()), (KINDS.len(), KINDS.len()));
        assert!(codes.iter().all(|code| (1..128).contains(code)));
    }

    #[test]
    fn no_class_is_missing() {
        let source = include_str!("../../fetch/failure.rs");
        let codes = source.split("pub fn code(self)").nth(1).unwrap();
        let codes = codes.split("impl ").next().unwrap();
        assert_eq!(codes.matches("Self::").count(), KINDS.len(), "{codes}");
        for kind in KINDS {
            assert_ne!(meaning(*kind), kind.name());
        }
    }

    #[test]
    fn one_class_gives_its_code_and_several_give_one() {
        let outcome = |kinds: &[FailureKind], hooks| {
            let report = Report {
                failed: kinds.len() as u64,
                failures: kinds.iter().map(|kind| (*kind, 1)).collect(),
                ..Report::default()
            };
            code(&outcome(&report, hooks, None))
        };
        assert_eq!(outcome(&[], 0), 0);
        assert_eq!(outcome(&[], 1), 1);
        for kind in KINDS {
            assert_eq!(outcome(&[*kind], 1), kind.code(), "{kind}");
        }
        assert_eq!(outcome(&[FailureKind::Dns, FailureKind::Tls], 0), 1);
        assert_eq!(
            code(&super::outcome(&Report::default(), 0, Some("x".into()))),
            1
        );
        assert_eq!(code(&Err(Failure::Signal(15))), 143);
    }
}
