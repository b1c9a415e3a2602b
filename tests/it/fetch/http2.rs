//! HTTP/2, as servers speak it that do not always mean well: frames by hand.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::tls_origin::{Authority, Secured, TlsOrigin, read_head};
use super::*;

const BODY: &[u8] = b"0123456789abcdef";

// RFC 9113, section 6 and section 7.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// One connection of a server.
struct Frames<'a>(&'a mut Secured);

impl Frames<'_> {
    /// A frame: length (3 bytes), kind, flags, stream (4 bytes), payload.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.0.write_all(&frame);
    }

    /// `:status: 200` from the static table of RFC 7541, and a length as a literal.
    fn head(&mut self, stream: u32, length: Option<usize>) {
        let mut block = vec![0x88];
        if let Some(length) = length {
            let text = length.to_string();
            block.extend([0x0f, 28 - 15, u8::try_from(text.len()).unwrap()]);
            block.extend(text.as_bytes());
        }
        self.send(HEADERS, END_HEADERS, stream, &block);
    }

    fn whole(&mut self, stream: u32) {
        self.head(stream, Some(BODY.len()));
        self.send(DATA, END_STREAM, stream, BODY);
    }

    fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    fn goaway(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload);
    }

    fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// Answers until the client goes, or `script` says false to a stream.
    fn serve(&mut self, mut script: impl FnMut(&mut Self, u32) -> bool) {
        let mut preface = [0; 24];
        if self.0.read_exact(&mut preface).is_err() || !preface.starts_with(b"PRI * HTTP/2.0") {
            return;
        }
        self.send(SETTINGS, 0, 0, &[]);
        while let Some((kind, flags, stream, payload)) = self.read() {
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload),
                HEADERS if !script(self, stream) => return,
                _ => {}
            }
        }
    }
}

/// An origin that offers HTTP/2; `script` is told how many requests came before.
fn start(
    authority: &Authority,
    script: impl Fn(&mut Frames<'_>, u32, usize) -> bool + Send + Sync + 'static,
) -> TlsOrigin {
    let mut config = authority.server();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let count = Arc::new(AtomicUsize::new(0));
    TlsOrigin::raw(config, move |secured| {
        if secured.conn.alpn_protocol() != Some(b"h2") {
            read_head(secured);
            let head = crate::origin::head("200 OK", &["Connection: close"], 3);
            let _ = secured.write_all(head.as_bytes());
            let _ = secured.write_all(b"one");
            secured.conn.send_close_notify();
            let _ = secured.flush();
            return;
        }
        Frames(secured)
            .serve(|frames, stream| script(frames, stream, count.fetch_add(1, Ordering::SeqCst)));
    })
}

fn fetch_f(
    authority: &Authority,
    origin: &TlsOrigin,
    change: impl FnOnce(Downloader) -> Downloader,
) -> (Folder, Outcome) {
    let folder = Folder::new();
    let downloader = change(downloader(&folder).ca_file(authority.file()));
    let outcome = only(downloader.run([origin.url("/f")]).unwrap());
    (folder, outcome)
}

#[test]
fn downloads_share_a_connection_where_http2_is_offered() {
    let authority = Authority::new();
    let origin = start(&authority, |frames, stream, _| {
        frames.whole(stream);
        true
    });
    let folder = Folder::new();
    let urls: Vec<_> = (0..30).map(|n| origin.url(&format!("/{n}"))).collect();
    let downloader = downloader(&folder).ca_file(authority.file());
    let report = downloader.clone().jobs(1).run(urls[..10].to_vec()).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert!(
        report
            .outcomes
            .iter()
            .all(|outcome| outcome.is_size_verified)
    );
    assert_eq!(origin.connections(), 1);
    // Many at once: those that begin before the first one stands give up their own.
    let report = downloader.jobs(16).run(urls[10..].to_vec()).unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(folder.names().len(), 30);
}

#[test]
fn http2_is_not_offered_if_told_so() {
    let authority = Authority::new();
    let origin = start(&authority, |_, _, _| true);
    let (folder, outcome) = fetch_f(&authority, &origin, |d| d.http2(false));
    assert_saved(&outcome);
    folder.assert_holds(&[("f", b"one")]);
}

#[test]
fn a_stream_without_a_length_is_still_known_to_be_whole() {
    let authority = Authority::new();
    let origin = start(&authority, |frames, stream, _| {
        frames.head(stream, None);
        frames.send(DATA, 0, stream, BODY);
        frames.send(DATA, END_STREAM, stream, b"");
        true
    });
    let (folder, outcome) = fetch_f(&authority, &origin, |d| d);
    assert_saved(&outcome);
    assert!(outcome.is_size_verified);
    folder.assert_holds(&[("f", BODY)]);
}

/// Nobody's fault, and not a try: no retry is allowed here.
#[test]
fn requests_that_were_not_begun_are_sent_again() {
    let authority = Authority::new();
    let refused = start(&authority, |frames, stream, nth| {
        match nth {
            0 => frames.reset(stream, REFUSED_STREAM),
            _ => frames.whole(stream),
        }
        true
    });
    let leaving = start(&authority, |frames, stream, nth| {
        if nth == 0 {
            frames.goaway(0, NO_ERROR);
            return false;
        }
        frames.whole(stream);
        true
    });
    for origin in [refused, leaving] {
        let (folder, outcome) = fetch_f(&authority, &origin, |d| d.retries(0));
        assert_saved(&outcome);
        assert_eq!(outcome.tries, 2);
        folder.assert_holds(&[("f", BODY)]);
    }
}

#[test]
fn a_stream_that_breaks_off_is_no_file() {
    let authority = Authority::new();
    // Each begins well; `true`: the second try is good.
    type Break = fn(&mut Frames<'_>, u32) -> bool;
    let breaks: [Break; 3] = [
        |frames, stream| {
            frames.reset(stream, INTERNAL_ERROR);
            true
        },
        |frames, stream| {
            // Shorter than its length.
            frames.send(DATA, END_STREAM, stream, b"");
            true
        },
        |_, _| false,
    ];
    for break_off in breaks {
        let origin = start(&authority, move |frames, stream, nth| {
            if nth % 2 == 1 {
                frames.whole(stream);
                return true;
            }
            frames.head(stream, Some(BODY.len()));
            frames.send(DATA, 0, stream, &BODY[..5]);
            break_off(frames, stream)
        });
        let (folder, outcome) = fetch_f(&authority, &origin, |d| d.retries(0));
        assert!(outcome.failure().is_some(), "{outcome:?}");
        folder.assert_holds(&[]);
    }
}
