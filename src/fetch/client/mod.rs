//! One GET: redirects followed by hand, every limit and error given a class.
//!
//! ```text
//!  Ask ──► Client::get ──► send ──► head ──► redirect? ──► Answer ──► chunk, chunk, …
//!             ▲                                 │ where to, what goes along
//!             └─────────────────────────────────┘
//! ```
//!
//! What a body is worth, and where it goes, is decided elsewhere.

mod answer;
mod auth;
mod certificate;
mod classify;
mod cookie_file;
mod cookies;
mod netrc;
mod no_proxy;
mod proxy;
mod redirect;
mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, Url};

pub(crate) use self::answer::Answer;
use self::classify::{Phase, chain, classify, waited};
use self::cookies::Jar;
use self::netrc::Netrc;
use super::decode::Decoder;
use super::entry::OwnOptions;
use super::failure::{Failure, FailureKind};
use super::options::{IpVersion, Network, Secret};
use super::reactor::{Held, Reactor};
use crate::error::{Error, Result};
use crate::runtime::deadline::Deadline;

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// The largest head of an answer over HTTP/2. (Over HTTP/1 hyper has its own limits: some
/// 400 KiB, and 100 fields.)
const HEAD_BYTES_MAX: u32 = 128 * 1024;

/// After how long without a sign of life an HTTP/2 connection is asked for one, and how
/// long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    /// The options of the entry that the URL belongs to.
    pub(crate) own: Option<&'a OwnOptions>,
    /// Only a part of the file.
    pub(crate) rest: Option<Rest<'a>>,
    /// Only if it is not this version.
    pub(crate) known: Option<Known<'a>>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest<'a> {
    /// The version it must be of, for `If-Range`.
    pub(crate) validator: Option<&'a str>,
    pub(crate) first: u64,
    /// Of the part, this byte included; `None`: up to the end of the file.
    pub(crate) last: Option<u64>,
}

/// The version of a file that is here already: a server that has the same answers 304.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// For `If-None-Match`.
    pub(crate) etag: Option<&'a str>,
    /// For `If-Modified-Since`.
    pub(crate) modified: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// Asks for the whole file.
    pub(crate) fn whole(url: &'a Url, own: Option<&'a OwnOptions>) -> Self {
        Self {
            url,
            own,
            rest: None,
            known: None,
        }
    }
}

/// Connections and how to make them; shared by all downloads of a run.
#[derive(Debug)]
pub(crate) struct Client {
    http: Held<reqwest::Client>,
    reactor: &'static Reactor,
    /// Sent to every host.
    headers: HeaderMap,
    /// Sent to the host of the list's URL only.
    own_headers: HeaderMap,
    /// Name and password, or a token, for hosts of the list.
    login: Option<HeaderValue>,
    netrc: Option<Netrc>,
    jar: Option<Jar>,
    accept_compressed: bool,
    redirects_max: usize,
    allow_downgrade: bool,
    head_timeout: Duration,
}

impl Client {
    #[expect(
        clippy::large_stack_frames,
        reason = "once per run; reqwest's builder is moved at each of its calls"
    )]
    pub(crate) fn new(parts: &Network) -> Result<Self> {
        let option = |e: Error| Error::from(Failure::option(e));
        let reactor = Reactor::get()?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(parts).map_err(option)?)
            .redirect(reqwest::redirect::Policy::none())
            // Whether to try again is decided where tries are counted.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .no_proxy()
            .connect_timeout(parts.connect_timeout)
            .pool_max_idle_per_host(parts.idle_connections)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            // As much as the path holds, measured while it is used.
            .http2_adaptive_window(true)
            .http2_max_header_list_size(HEAD_BYTES_MAX)
            // Many downloads share a connection: one that is dead must not hold them all
            // for the length of an idle timeout, one after the other.
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL)
            // A connection from an address of one version reaches only such addresses.
            .local_address(match parts.ip_version {
                IpVersion::Any => None,
                IpVersion::V4 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                IpVersion::V6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            });
        if let Some(rule) = proxy::rule(&parts.proxies).map_err(option)? {
            builder = builder.proxy(rule);
        }
        let http = reactor
            .inside(|| builder.build())
            .map_err(|e| Error::message(chain(&e)).context("setting up the HTTP client"))?;
        let netrc = parts.login.netrc.as_deref().map(Netrc::read);
        Ok(Self {
            http: reactor.hold(http),
            reactor,
            headers: common_headers(parts).map_err(option)?,
            own_headers: own_headers(parts).map_err(option)?,
            login: auth::login(&parts.login).map_err(option)?,
            netrc: netrc.transpose().map_err(option)?,
            jar: Jar::open(&parts.login)?,
            accept_compressed: parts.accept_compressed,
            redirects_max: parts.redirects_max,
            allow_downgrade: parts.allow_downgrade,
            // The head's time begins when the connection stands.
            head_timeout: parts.connect_timeout.saturating_add(parts.head_timeout),
        })
    }

    /// Asks, and goes where the answers point to, until one does not.
    ///
    /// Any final status is an answer; an error is that there is none.
    #[expect(
        clippy::large_stack_frames,
        reason = "without optimization each arm has a copy of its own"
    )]
    pub(crate) fn get(&self, ask: &Ask<'_>, total: Deadline) -> Result<Answer, Failure> {
        let mut at = ask.url.clone();
        let in_url = auth::take(&mut at);
        // Once elsewhere, what is meant for the first host stays unsent, also after a
        // redirect back: by then another host has had its say in the address.
        let mut at_home = true;
        for redirects in 0..=self.redirects_max {
            let mut request = self.request(ask, at.clone(), at_home)?;
            self.identify(&mut request, in_url.as_ref(), at_home);
            let answer = match self.exchange(request, at, total) {
                Err(failure) if !at_home => return Err(failure.elsewhere()),
                answer => answer?,
            };
            if let Some(jar) = &self.jar {
                jar.take(answer.headers(), answer.url());
            }
            if !answer.is_redirect() {
                return Ok(answer.after_redirects(redirects));
            }
            at = redirect::follow(&answer, self.allow_downgrade)?;
            at_home &= redirect::same_origin(&at, ask.url);
        }
        let text = format!("more than {} redirects", self.redirects_max);
        Err(Failure::new(FailureKind::Redirects, text))
    }

    /// Writes down what is to outlive the run; called at its end.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        self.jar.as_ref().map_or(Ok(()), Jar::save)
    }

    fn request(&self, ask: &Ask<'_>, url: Url, at_home: bool) -> Result<Request, Failure> {
        let mut request = Request::new(Method::GET, url);
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if at_home {
            overlay(headers, &self.own_headers);
            if let Some(own) = ask.own {
                add_own(headers, own)?;
            }
        }
        if let Some(rest) = ask.rest {
            let last = rest.last.map(|last| last.to_string()).unwrap_or_default();
            let range = format!("bytes={}-{last}", rest.first);
            // A part of what is on disk, which was stored as the server has it.
            headers.insert(header::ACCEPT_ENCODING, IDENTITY);
            headers.insert(header::RANGE, value(&range)?);
            if let Some(validator) = rest.validator {
                headers.insert(header::IF_RANGE, value(validator)?);
            }
        }
        if let Some(known) = ask.known {
            if let Some(etag) = known.etag {
                headers.insert(header::IF_NONE_MATCH, value(etag)?);
            }
            if let Some(modified) = known.modified {
                headers.insert(header::IF_MODIFIED_SINCE, value(modified)?);
            }
        }
        Ok(request)
    }

    /// Says who asks: the nearest of what the user has given for this host.
    fn identify(&self, request: &mut Request, in_url: Option<&HeaderValue>, at_home: bool) {
        if let Some(jar) = &self.jar
            && let Some(field) = jar.field(request.url(), request.headers().get(header::COOKIE))
        {
            request.headers_mut().insert(header::COOKIE, field);
        }
        if request.headers().contains_key(header::AUTHORIZATION) {
            return;
        }
        let known = in_url.or(self.login.as_ref()).filter(|_| at_home).cloned();
        let known = known.or_else(|| {
            let host = request.url().host_str()?;
            self.netrc.as_ref()?.credentials(host, at_home)
        });
        if let Some(value) = known {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
    }

    /// Sends a request and waits for the head of its answer.
    fn exchange(&self, request: Request, url: Url, total: Deadline) -> Result<Answer, Failure> {
        let pending = self.send(request);
        let head = Deadline::after(self.head_timeout);
        match self.reactor.block_on(pending, head.earlier(total)) {
            Ok(Ok(response)) => Ok(Answer::new(
                self.reactor.hold(response),
                url,
                self.accept_compressed,
            )),
            Ok(Err(error)) => Err(classify(&error, Phase::Head)),
            Err(error) => Err(waited(&error, "head", total)),
        }
    }

    /// Makes the future of an answer; the request goes out when it is polled.
    // A frame of its own: what is moved here is large, and gone before anything waits.
    #[inline(never)]
    fn send(
        &self,
        request: Request,
    ) -> Held<Pin<Box<impl Future<Output = reqwest::Result<Response>> + use<>>>> {
        self.reactor.inside(|| {
            self.reactor
                .hold(Box::pin(self.http.get().execute(request)))
        })
    }
}

/// What is no rule in a list of hosts that are asked without a proxy.
#[cfg(feature = "cli")]
pub(crate) fn no_proxy_nonsense(list: &str) -> Option<&str> {
    no_proxy::NoProxy::nonsense(list)
}

/// What every server is told.
fn common_headers(parts: &Network) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::from_str(&parts.user_agent)
        .map_err(|_| Error::message("not a user agent: it has control characters"))?;
    headers.insert(header::USER_AGENT, agent);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    // What is stored is what the server has: no encoding that we would have to undo.
    let accepted = match parts.accept_compressed {
        true => HeaderValue::from_static(Decoder::ACCEPTED),
        false => IDENTITY,
    };
    headers.insert(header::ACCEPT_ENCODING, accepted);
    Ok(headers)
}

/// What the hosts of the list are told besides.
fn own_headers(parts: &Network) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let bad = |name: &str| Error::message(format_args!("not a header: {name}"));
    for (name, Secret(value)) in &parts.headers {
        let (field, value) = parse_header(name, value).ok_or_else(|| bad(name))?;
        headers.append(field, value);
    }
    if let Some(referer) = &parts.referer {
        let value = HeaderValue::from_str(referer).map_err(|_| bad("Referer"))?;
        headers.insert(header::REFERER, value);
    }
    Ok(headers)
}

fn parse_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let field = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((field, value))
}

/// Puts `own` in the place of fields of the same name; several of one name all stay.
fn overlay(headers: &mut HeaderMap, own: &HeaderMap) {
    for name in own.keys() {
        headers.remove(name);
    }
    for (name, value) in own {
        headers.append(name, value.clone());
    }
}

/// Adds the fields of one entry.
fn add_own(headers: &mut HeaderMap, own: &OwnOptions) -> Result<(), Failure> {
    let mut fields = HeaderMap::new();
    for (name, value) in &own.headers {
        let (field, value) = parse_header(name, value)
            .ok_or_else(|| Failure::new(FailureKind::BadUrl, format!("not a header: {name}")))?;
        fields.append(field, value);
    }
    overlay(headers, &fields);
    if let Some(referer) = &own.referer {
        headers.insert(header::REFERER, value(referer)?);
    }
    Ok(())
}

/// A value from the network or the user that is sent back.
fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| {
        Failure::new(
            FailureKind::BadUrl,
            "a header value with control characters",
        )
    })
}
