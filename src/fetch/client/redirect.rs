//! Redirects: where to, and what goes along.

use reqwest::Url;
use reqwest::header;

use super::answer::Answer;
use super::auth;
use crate::fetch::failure::{Failure, FailureKind};
use crate::fetch::plan::{is_http, without_password};

/// Where an answer redirects to, if we go there. Names and passwords in it
/// are a server's and not for use.
pub(super) fn follow(answer: &Answer, allow_downgrade: bool) -> Result<Url, Failure> {
    let (at, status) = (answer.url(), answer.status());
    let refuse = |text: String| Err(Failure::new(FailureKind::Redirects, text));
    let location = answer.header(header::LOCATION);
    let Some(location) = location.map(|value| String::from_utf8_lossy(value.as_bytes())) else {
        return refuse(format!("status {status} without a location"));
    };
    let Ok(mut next) = at.join(location.trim()) else {
        return refuse(format!("redirect to what is no URL: {location}"));
    };
    if !is_http(&next) || next.host_str().is_none() {
        return refuse(format!(
            "redirect to {}, which is not followed",
            without_password(&next)
        ));
    }
    if at.scheme() == "https" && next.scheme() == "http" && !allow_downgrade {
        return refuse(format!(
            "redirect from https to http: {}",
            without_password(&next)
        ));
    }
    auth::strip(&mut next);
    if next.fragment().is_none() {
        next.set_fragment(at.fragment());
    }
    Ok(next)
}

pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}
