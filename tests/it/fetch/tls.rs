//! Whom the downloader trusts, and what it makes of those it does not.

use std::io::Write;
use std::net::TcpListener;

use greenloop::fetch::TlsVersion;

use super::tls_origin::{Authority, Identity, Secured, TlsOrigin, config, expired, self_signed};
use super::*;

const BODY: &[u8] = b"0123456789abcdef";

fn answer(_: &str, secured: &mut Secured) -> Then {
    let head = crate::origin::head("200 OK", &[], BODY.len());
    let _ = secured.write_all(&[head.as_bytes(), BODY].concat());
    Then::Keep
}

fn get(origin: &TlsOrigin, change: impl FnOnce(Downloader) -> Downloader) -> (Folder, Outcome) {
    let folder = Folder::new();
    let outcome = only(change(downloader(&folder)).run([origin.url("/f")]).unwrap());
    (folder, outcome)
}

#[test]
fn an_authority_of_ones_own_is_trusted_besides_the_others() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(authority.server(), answer);
    let (folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
    assert_saved(&outcome);
    folder.assert_holds(&[("f", BODY)]);
    let (folder, outcome) = get(&origin, |d| d);
    assert_failed(&outcome, FailureKind::Tls);
    folder.assert_holds(&[]);
}

/// Case 83.
#[test]
fn a_bad_certificate_is_named_and_not_tried_again() {
    let authority = Authority::new();
    let other = Authority::new();
    let own = |identity: Identity| config(&identity);
    for (server, words) in [
        (own(self_signed(false)), "self-signed"),
        (own(self_signed(true)), "self-signed"),
        (other.server(), "authority that is not trusted"),
        (own(authority.sign("127.0.0.1", expired)), "has expired"),
        (
            own(authority.sign("good.example", |_| {})),
            "another host: it names DnsName(\"good.example\"), not 127.0.0.1",
        ),
    ] {
        let origin = TlsOrigin::start(server, answer);
        let (folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
        assert_failed(&outcome, FailureKind::Tls);
        let text = outcome.failure().unwrap().to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(origin.connections(), 1, "{text}");
        folder.assert_holds(&[]);
    }
}

#[test]
fn certificates_are_not_checked_if_told_so() {
    let origin = TlsOrigin::start(config(&self_signed(false)), answer);
    let (folder, outcome) = get(&origin, |d| d.check_certificate(false));
    assert_saved(&outcome);
    folder.assert_holds(&[("f", BODY)]);
}

#[test]
fn servers_that_ask_for_a_certificate_get_it() {
    let authority = Authority::new();
    let me = authority.sign("me", |_| {});
    let files = Folder::new();
    files.write("me.pem", &me.pem);
    files.write("me.key", me.key.serialize_pem());
    files.write("both.pem", me.pem.clone() + &me.key.serialize_pem());
    let origin = TlsOrigin::start(authority.strict_server(), answer);
    let at = |name: &str| files.path().join(name);
    let (_folder, outcome) = get(&origin, |d| {
        let d = d.ca_file(authority.file());
        d.certificate(at("me.pem")).private_key(at("me.key"))
    });
    assert_saved(&outcome);
    let (_folder, outcome) = get(&origin, |d| {
        d.ca_file(authority.file()).certificate(at("both.pem"))
    });
    assert_saved(&outcome);
    let (_folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
    assert_failed(&outcome, FailureKind::Tls);
    assert_eq!(origin.heads().len(), 2);
}

#[test]
fn files_that_have_no_certificate_are_named_before_anything_is_asked() {
    let files = Folder::new();
    files.write("empty.pem", "nothing in it");
    for path in [files.path().join("empty.pem"), files.path().join("none")] {
        let name = path.display().to_string();
        let error = downloader(&files)
            .ca_file(path)
            .run(["http://127.0.0.1:9/f"]);
        assert!(error.unwrap_err().to_string().contains(&name));
    }
}

#[test]
fn old_versions_of_tls_are_refused() {
    let authority = Authority::new();
    let own = authority.sign("127.0.0.1", |_| {});
    let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let old = rustls::ServerConfig::builder_with_provider(ring)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain, tls_origin::key(&own.key))
        .unwrap();
    let origin = TlsOrigin::start(old, answer);
    let (_folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
    assert_saved(&outcome);
    let (_folder, outcome) = get(&origin, |d| {
        d.ca_file(authority.file())
            .tls_version_min(TlsVersion::Tls13)
    });
    assert_failed(&outcome, FailureKind::Tls);
}

#[test]
fn a_handshake_that_stalls_ends_with_the_time_to_connect() {
    // Connects, by its queue; says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f", silent.local_addr().unwrap());
    let folder = Folder::new();
    let downloader = downloader(&folder)
        .retries(0)
        .connect_timeout(Duration::from_millis(50));
    let outcome = only(downloader.run([url]).unwrap());
    assert_failed(&outcome, FailureKind::Timeout);
    let text = outcome.failure().unwrap().to_string();
    assert!(text.contains("connect time limit"), "{text}");
}

/// Case 17.
#[test]
fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/f", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let folder = Folder::new();
    let outcome = only(downloader(&folder).run([url]).unwrap());
    assert_failed(&outcome, FailureKind::Tls);
    let text = outcome.failure().unwrap().to_string();
    assert!(text.contains("does not speak TLS"), "{text}");
}

/// Case 11: without a goodbye, anybody could have cut the connection.
#[test]
fn a_body_that_ends_with_its_connection_needs_a_goodbye() {
    let authority = Authority::new();
    for (then, is_whole) in [(Then::Close, true), (Then::Reset, false)] {
        let origin = TlsOrigin::start(authority.server(), move |_, secured| {
            let _ = secured.write_all(&[b"HTTP/1.1 200 OK\r\n\r\n", BODY].concat());
            then
        });
        let (folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
        if is_whole {
            assert_saved(&outcome);
            assert!(!outcome.is_size_verified);
            folder.assert_holds(&[("f", BODY)]);
        } else {
            assert_failed(&outcome, FailureKind::BadResponse);
            folder.assert_holds(&[]);
        }
    }
}

#[test]
fn a_redirect_to_http_is_followed_only_if_told_so() {
    let authority = Authority::new();
    let plain = Origin::start(|_, wire| wire.answer("200 OK", &[], BODY));
    let there = format!(
        "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {}\r\n\r\n",
        plain.url("/f")
    );
    let origin = TlsOrigin::start(authority.server(), move |_, secured| {
        let _ = secured.write_all(there.as_bytes());
        Then::Keep
    });
    let (folder, outcome) = get(&origin, |d| d.ca_file(authority.file()));
    assert_failed(&outcome, FailureKind::Redirects);
    assert_eq!(plain.requests().len(), 0);
    folder.assert_holds(&[]);
    let login = |d: Downloader| {
        let d = d.ca_file(authority.file()).allow_downgrade(true);
        d.basic_auth("user", "secret").header("X-Api-Key", "token")
    };
    let (folder, outcome) = get(&origin, login);
    assert_saved(&outcome);
    folder.assert_holds(&[("f", BODY)]);
    assert!(origin.heads()[1].contains("x-api-key: token"));
    for name in ["authorization", "x-api-key"] {
        assert_eq!(plain.requests()[0].header(name), None, "{name}");
    }
}
