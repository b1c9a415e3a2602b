//! The errors of the HTTP client, sorted.

use std::error::Error as StdError;
use std::io;

use super::certificate::explain;
use crate::error::{Error, IoText};
use crate::fetch::failure::{Failure, FailureKind};
use crate::runtime::deadline::Deadline;

/// How far an answer had come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Head,
    Body,
}

/// The failure of a wait that ended otherwise than by what it waited for.
pub(super) fn waited(error: &Error, limit: &str, total: Deadline) -> Failure {
    if error.is_timeout() {
        let limit = if total.is_passed() { "total" } else { limit };
        let failure = Failure::new(FailureKind::Timeout, format!("{limit} time limit passed"));
        return failure;
    }
    Failure::new(FailureKind::Stopped, "stopped")
}

/// Sorts the errors of the HTTP client, whose own text hides the cause.
pub(super) fn classify(error: &reqwest::Error, phase: Phase) -> Failure {
    let text = chain(error);
    if let Some(error) = finds::<rustls::Error>(error) {
        return Failure::new(FailureKind::Tls, explain(error));
    }
    if text.contains("proxy authorization required") {
        return Failure::new(FailureKind::Auth, text);
    }
    if error.is_dns() {
        return Failure::new(FailureKind::Dns, text);
    }
    if error.is_timeout() {
        let limit = if error.is_connect() {
            "connect time limit passed"
        } else {
            &text
        };
        return Failure::new(FailureKind::Timeout, limit);
    }
    if error.is_connect() {
        if let Some(why) = tunnel(&text) {
            return Failure::new(FailureKind::Network, why);
        }
        let refused =
            finds::<io::Error>(error).is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
        let failure = Failure::new(FailureKind::Network, text);
        return match refused {
            true => failure.refused(),
            false => failure,
        };
    }
    let reset = finds::<io::Error>(error).is_some_and(|e| {
        matches!(
            e.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    });
    match phase {
        // The server closes its HTTP/2 connection, or has too much to do on it: it has not
        // looked at the request.
        Phase::Head if is_unprocessed(&text) => {
            Failure::new(FailureKind::Network, text).lost_connection()
        }
        Phase::Body if reset => Failure::new(FailureKind::Network, text),
        // Cut off, or a framing that makes no sense: the next try may be whole.
        Phase::Body => Failure::new(FailureKind::BadResponse, text).transient(),
        Phase::Head if reset || text.contains("closed before message completed") => {
            Failure::new(FailureKind::Network, text).lost_connection()
        }
        Phase::Head if is_malformed(&text) => Failure::new(FailureKind::BadResponse, text),
        Phase::Head => Failure::new(FailureKind::Network, text),
    }
}

/// What a proxy does instead of making way: its crate's words say it to nobody.
fn tunnel(text: &str) -> Option<&'static str> {
    let (_, what) = text.split_once("tunnel error: ")?;
    Some(match what {
        "unsuccessful" => "the proxy does not connect us: it refuses to, or its answer is none",
        "unexpected end of file" => "the proxy does not connect us: it closes the connection",
        _ => return None,
    })
}

/// The words of HTTP/2's error codes (its crate is not ours to name) that say that a request
/// was not begun.
fn is_unprocessed(text: &str) -> bool {
    text.contains("refused stream")
        || text.contains("connection error received: not a result of an error")
}

/// Hyper's words for a head that is none; its types are not ours to name.
fn is_malformed(text: &str) -> bool {
    ["invalid", "too large", "unexpected"]
        .iter()
        .any(|word| text.contains(word))
}

/// The texts of an error and its causes, without reqwest's own and without the URL.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = match error.downcast_ref::<io::Error>() {
            Some(error) => IoText(error).to_string(),
            None => error.to_string(),
        };
        // Which part of the client it was in is no news to anybody.
        let is_news = !text.starts_with("client error (");
        if is_news && !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() {
        return error.to_string();
    }
    texts.join(": ")
}

/// Looks for an error of type `E` among the causes, also inside I/O errors.
fn finds<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error gives its content's cause as its own and leaves the content out.
        cause = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
