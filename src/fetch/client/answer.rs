//! An answer: its head, read as fields; its body, a chunk at a time.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url, Version};

use super::classify::{Phase, classify, waited};
use crate::fetch::decode::Decoder;
use crate::fetch::failure::{Failure, FailureKind};
use crate::fetch::heard::{self, Heard};
use crate::fetch::reactor::Held;
use crate::fetch::resume::Fields;
use crate::proto::http::retry_after;
use crate::runtime::deadline::Deadline;

/// An answer whose head is there and whose body may still be on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Held<Response>,
    url: Url,
    /// Encodings are undone: those that were asked for.
    decodes: bool,
    redirects: u32,
}

impl Answer {
    pub(super) fn new(response: Held<Response>, url: Url, decodes: bool) -> Self {
        Self {
            response,
            url,
            decodes,
            redirects: 0,
        }
    }

    /// Notes how many redirects led to it.
    pub(super) fn after_redirects(mut self, redirects: usize) -> Self {
        self.redirects = u32::try_from(redirects).unwrap_or(u32::MAX);
        self
    }

    /// What of its head is told.
    pub(crate) fn heard(&self) -> Heard {
        let response = self.response.get();
        Heard {
            status: self.status(),
            redirects: self.redirects,
            remote: response.remote_addr(),
            version: heard::number(response.version()),
            accepts_ranges: match self.status() {
                206 => Some(true),
                _ => self
                    .text(header::ACCEPT_RANGES)
                    .and_then(heard::accepts_ranges),
            },
        }
    }

    /// Whence it came, after all redirects.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.get().status().as_u16()
    }

    /// Tells whether it is to be looked for elsewhere.
    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status(), 301 | 302 | 303 | 307 | 308)
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

    /// What resuming looks at. Of a body that is decoded nothing can be resumed, and its
    /// length is that of something else.
    pub(crate) fn fields(&self) -> Fields<'_> {
        if self.is_decoded() {
            return Fields::default();
        }
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
        self.header(header::CONTENT_DISPOSITION)
            .map(HeaderValue::as_bytes)
    }

    /// Tells whether the body says where it ends; if not, the connection's end does, and
    /// nobody knows whether all came.
    pub(crate) fn is_delimited(&self) -> bool {
        let response = self.response.get();
        response.version() >= Version::HTTP_2
            || response.content_length().is_some()
            || response.headers().contains_key(header::TRANSFER_ENCODING)
    }

    /// The encoding of the body, as the server names it, if it has one.
    pub(crate) fn encoding(&self) -> Option<&str> {
        let encoding = self.text(header::CONTENT_ENCODING)?.trim();
        (!encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")).then_some(encoding)
    }

    /// Tells whether what is stored is not what is sent.
    pub(crate) fn is_decoded(&self) -> bool {
        self.decodes && self.status() == 200 && self.encoding().is_some()
    }

    /// What the body goes through before it is stored, if it does.
    pub(crate) fn decoder(&self) -> Result<Option<Decoder>, Failure> {
        match self.encoding() {
            Some(encoding) if self.is_decoded() => Decoder::for_encoding(encoding),
            _ => Ok(None),
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.get().headers()
    }

    /// A field of the head; the first one of its name.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&HeaderValue> {
        self.response.get().headers().get(name)
    }

    /// A field that is plain text.
    pub(crate) fn text(&self, name: HeaderName) -> Option<&str> {
        self.header(name)?.to_str().ok()
    }

    /// A field of plain text, all its lines joined as the one they stand for.
    pub(crate) fn joined(&self, name: HeaderName) -> Option<Cow<'_, str>> {
        let mut lines = self.response.get().headers().get_all(name).into_iter();
        let mut whole = Cow::from(lines.next()?.to_str().ok()?);
        for line in lines {
            let text = line.to_str().ok()?;
            whole = Cow::from(format!("{whole}, {text}"));
        }
        Some(whole)
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
        match reactor.block_on(polled, Deadline::after(idle).earlier(total)) {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(classify(&error, Phase::Body)),
            Err(error) => Err(waited(&error, "idle", total)),
        }
    }
}
