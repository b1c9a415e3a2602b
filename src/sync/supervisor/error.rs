//! How a supervisor ends badly.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Why a [`Supervisor`](crate::sync::Supervisor) ended before it was stopped, or could not
/// be waited for.
#[derive(Clone, Debug)]
pub struct SupervisorError(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// One more restart would have been too many.
    GaveUp {
        child: Arc<str>,
        failure: String,
        restarts_max: usize,
        within: Duration,
    },
    /// There was no memory, or no room, for the child's greenlet.
    NotStarted { child: Arc<str>, failure: String },
    /// The child was killed and did not end.
    StillAlive { child: Arc<str>, grace: Duration },
    /// Whoever supervised was killed or timed out.
    Interrupted(Arc<Error>),
    /// The supervisor's greenlet was killed before it began.
    Killed,
    /// Whoever waited for the supervisor was killed or timed out.
    Wait(Arc<Error>),
}

impl SupervisorError {
    /// The child it gave up on, if it did.
    pub fn child(&self) -> Option<&str> {
        match &self.0 {
            Kind::GaveUp { child, .. }
            | Kind::NotStarted { child, .. }
            | Kind::StillAlive { child, .. } => Some(child),
            Kind::Interrupted(_) | Kind::Killed | Kind::Wait(_) => None,
        }
    }

    /// The last failure of that child, in words.
    pub fn failure(&self) -> Option<&str> {
        match &self.0 {
            Kind::GaveUp { failure, .. } | Kind::NotStarted { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Tells whether it was the caller of
    /// [`Supervisor::wait`](crate::sync::Supervisor::wait) that was killed or timed out.
    pub fn is_wait_error(&self) -> bool {
        matches!(self.0, Kind::Wait(_))
    }
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::GaveUp {
                child,
                failure,
                restarts_max,
                within,
            } => write!(
                f,
                "child \"{child}\" failed: {failure}; it would take more than {restarts_max} restarts within {within:?}"
            ),
            Kind::NotStarted { child, failure } => {
                write!(f, "child \"{child}\" was not started: {failure}")
            }
            Kind::StillAlive { child, grace } => {
                write!(
                    f,
                    "child \"{child}\" was killed and did not end within {grace:?}"
                )
            }
            Kind::Interrupted(error) => write!(f, "supervising: {error}"),
            Kind::Killed => f.write_str("the supervisor was killed before it began"),
            Kind::Wait(error) => write!(f, "waiting for a supervisor: {error}"),
        }
    }
}

impl std::error::Error for SupervisorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Interrupted(error) | Kind::Wait(error) => Some(&**error),
            _ => None,
        }
    }
}

/// The caller's own kill or timeout stays what it is.
impl From<SupervisorError> for Error {
    fn from(error: SupervisorError) -> Self {
        match error.0 {
            // Shared only where somebody asks a handle: then it was the supervisor's own.
            Kind::Interrupted(error) | Kind::Wait(error) => {
                Arc::try_unwrap(error).unwrap_or_else(Self::message)
            }
            kind => Self::message(SupervisorError(kind)),
        }
    }
}
