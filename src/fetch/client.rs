//! One GET: redirects followed by hand, every limit and error given a class.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::{Failure, FailureKind};
use super::options::Network;
use super::plan::{is_http, without_password};
use super::reactor::{Held, Reactor};
use super::resume::Fields;
use crate::error::{Error, Result};
use crate::proto::http::retry_after;
use crate::runtime::bridge::block_on_deadline;
use crate::runtime::deadline::Deadline;

/// Redirects followed before giving up, as aria2 and wget do.
const REDIRECTS_MAX: usize = 20;

/// Connections and how to make them; shared by all downloads of a run.
#[derive(Debug)]
pub(crate) struct Client {
    http: Held<reqwest::Client>,
    reactor: &'static Reactor,
    /// Sent to the host of the list's URL only.
    own_headers: HeaderMap,
    head_timeout: Duration,
}

impl Client {
    #[expect(
        clippy::large_stack_frames,
        reason = "once per run; reqwest's builder is moved at each of its calls"
    )]
    pub(crate) fn new(parts: &Network) -> Result<Self> {
        let reactor = Reactor::get()?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(parts.ca_file.as_deref())?)
            .user_agent(&parts.user_agent)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(parts.connect_timeout)
            .pool_max_idle_per_host(parts.idle_connections)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true);
        let http = reactor
            .inside(|| builder.build())
            .map_err(|e| Error::message(chain(&e)).context("setting up the HTTP client"))?;
        Ok(Self {
            http: reactor.hold(http),
            reactor,
            own_headers: own_headers(&parts.headers)?,
            // The head's time begins when the connection stands.
            head_timeout: parts.connect_timeout.saturating_add(parts.head_timeout),
        })
    }

    /// Asks for `url`, from byte `rest.1` on if `rest.0` still names the version there.
    ///
    /// Any final status is an answer; an error is that there is none.
    pub(crate) fn get(
        &self,
        url: &Url,
        rest: Option<(&str, u64)>,
        total: Deadline,
    ) -> Result<Answer, Failure> {
        let mut at = url.clone();
        // Once elsewhere, what is meant for the first host stays unsent, also after a
        // redirect back: by then another host has had its say in the address.
        let mut at_home = true;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.get_one(&at, rest, at_home, total)?;
            if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let mut next = follow(&at, &answer)?;
            at_home &= same_origin(&next, url);
            carry_credentials(url, &mut next, at_home);
            at = next;
        }
        let text = format!("more than {REDIRECTS_MAX} redirects");
        Err(Failure::new(FailureKind::Redirects, text))
    }

    fn get_one(
        &self,
        url: &Url,
        rest: Option<(&str, u64)>,
        at_home: bool,
        total: Deadline,
    ) -> Result<Answer, Failure> {
        let pending = self.send(url, rest, at_home);
        let head = Deadline::after(self.head_timeout);
        match block_on_deadline(pending, head.earlier(total)) {
            Ok(Ok(response)) => Ok(Answer {
                response: self.reactor.hold(response),
            }),
            Ok(Err(error)) => Err(classify(&error, Phase::Head)),
            Err(error) => Err(waited(&error, "head", total)),
        }
    }

    /// Makes a request; it goes out when it is polled.
    // A frame of its own: the builder is large, and gone before anything waits.
    #[inline(never)]
    fn send(
        &self,
        url: &Url,
        rest: Option<(&str, u64)>,
        at_home: bool,
    ) -> Held<Pin<Box<impl Future<Output = reqwest::Result<Response>> + use<>>>> {
        let mut request = self.http.get().get(url.clone());
        if at_home {
            request = request.headers(self.own_headers.clone());
        }
        // What is stored is what the server has: no encoding that we would have to undo.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some((validator, kept)) = rest {
            request = request
                .header(header::RANGE, format!("bytes={kept}-"))
                .header(header::IF_RANGE, validator);
        }
        self.reactor
            .inside(|| self.reactor.hold(Box::pin(request.send())))
    }
}

/// An answer whose head is there and whose body may still be on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Held<Response>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.get().status().as_u16()
    }

    /// The failure that the status stands for.
    pub(crate) fn refusal(&self) -> Failure {
        let status = self.response.get().status();
        let failure = Failure::status(
            status.as_u16(),
            status.canonical_reason().unwrap_or("unknown"),
        );
        let pause = self
            .text(header::RETRY_AFTER)
            .filter(|_| failure.kind() == FailureKind::Busy)
            .and_then(|at| retry_after(at, self.text(header::DATE), SystemTime::now()));
        failure.after(pause)
    }

    /// What resuming looks at.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            etag: self.text(header::ETAG),
            last_modified: self.text(header::LAST_MODIFIED),
            date: self.text(header::DATE),
            accept_ranges: self.text(header::ACCEPT_RANGES),
            content_range: self.text(header::CONTENT_RANGE),
            content_length: self.response.get().content_length(),
        }
    }

    pub(crate) fn content_disposition(&self) -> Option<&[u8]> {
        self.response
            .get()
            .headers()
            .get(header::CONTENT_DISPOSITION)
            .map(HeaderValue::as_bytes)
    }

    /// Tells whether the body says where it ends; if not, the connection's end does, and
    /// nobody knows whether all came.
    pub(crate) fn is_delimited(&self) -> bool {
        let response = self.response.get();
        response.content_length().is_some()
            || response.headers().contains_key(header::TRANSFER_ENCODING)
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.response.get().headers().get(name)?.to_str().ok()
    }

    /// The next bytes of the body, waiting at most `idle` for them; `None` at its end.
    pub(crate) fn chunk(
        &mut self,
        idle: Duration,
        total: Deadline,
    ) -> Result<Option<Bytes>, Failure> {
        let (response, reactor) = self.response.parts();
        let mut chunk = pin!(response.chunk());
        let polled = poll_fn(|context| reactor.inside(|| chunk.as_mut().poll(context)));
        match block_on_deadline(polled, Deadline::after(idle).earlier(total)) {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(classify(&error, Phase::Body)),
            Err(error) => Err(waited(&error, "idle", total)),
        }
    }
}

/// Where an answer redirects to, if we go there.
fn follow(at: &Url, answer: &Answer) -> Result<Url, Failure> {
    let status = answer.status();
    let refuse = |text: String| Err(Failure::new(FailureKind::Redirects, text));
    let location = answer.response.get().headers().get(header::LOCATION);
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
    if at.scheme() == "https" && next.scheme() == "http" {
        return refuse(format!(
            "redirect from https to http: {}",
            without_password(&next)
        ));
    }
    if next.fragment().is_none() {
        next.set_fragment(at.fragment());
    }
    Ok(next)
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// A name and password in the list's URL go on to the same host, and nowhere else; those
/// that a server puts into a redirect are never used.
fn carry_credentials(first: &Url, next: &mut Url, at_home: bool) {
    let (username, password) = if at_home {
        (first.username(), first.password())
    } else {
        ("", None)
    };
    // Both only fail for URLs without a host, which were refused.
    let _ = next.set_username(username);
    let _ = next.set_password(password);
}

fn own_headers(pairs: &[(String, String)]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let bad = || Error::message(format!("not a header: {name}"));
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.append(field, value);
    }
    Ok(headers)
}

/// TLS with the certificate check on, against Mozilla's authorities and those of
/// `ca_file`.
fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        let bad = |e: &dyn std::fmt::Display| {
            Error::message(e).context(format_args!("reading certificates from {}", path.display()))
        };
        let found = CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))?;
        for certificate in found {
            roots
                .add(certificate.map_err(|e| bad(&e))?)
                .map_err(|e| bad(&e))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::message(e).context("setting up TLS"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// How far an answer had come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body,
}

/// The failure of a wait that ended otherwise than by what it waited for.
fn waited(error: &Error, limit: &str, total: Deadline) -> Failure {
    if error.is_timeout() {
        let limit = if total.is_passed() { "total" } else { limit };
        let failure = Failure::new(FailureKind::Timeout, format!("{limit} time limit passed"));
        return failure;
    }
    Failure::new(FailureKind::Stopped, "stopped")
}

/// Sorts the errors of the HTTP client, whose own text hides the cause.
fn classify(error: &reqwest::Error, phase: Phase) -> Failure {
    let text = chain(error);
    if finds::<rustls::Error>(error).is_some() {
        return Failure::new(FailureKind::Tls, text);
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

/// Hyper's words for a head that is none; its types are not ours to name.
fn is_malformed(text: &str) -> bool {
    ["invalid", "too large", "unexpected"]
        .iter()
        .any(|word| text.contains(word))
}

/// The texts of an error and its causes, without reqwest's own and without the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
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
