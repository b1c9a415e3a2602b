//! Who we say we are, and to whom.

use std::os::unix::fs::PermissionsExt;

use super::*;

const BODY: &[u8] = b"0123456789abcdef";
/// `user:secret`
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn plain_origin() -> Origin {
    Origin::start(|_, wire| wire.answer("200 OK", &[], BODY))
}

/// Sends everybody to `there`.
fn redirecting(there: String) -> Origin {
    let field = format!("Location: {there}");
    Origin::start(move |_, wire| wire.answer("302 Found", &[&field], b""))
}

fn authorizations(origin: &Origin) -> Vec<Option<String>> {
    let requests = origin.requests().into_iter();
    let field = |request: Request| request.header("authorization").map(str::to_owned);
    requests.map(field).collect()
}

fn netrc(folder: &Folder, text: &str) -> PathBuf {
    folder.write("netrc", text);
    let path = folder.path().join("netrc");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn the_nearest_login_is_sent() {
    let (folder, files) = (Folder::new(), Folder::new());
    let origin = plain_origin();
    let path = netrc(&files, "machine 127.0.0.1 login net password rc");
    let in_url = |user: &str| format!("http://{user}@{}/{user}", origin.addr);
    let run = |downloader: Downloader, url: String| {
        assert!(downloader.run([url]).unwrap().is_success());
        authorizations(&origin).pop().unwrap()
    };
    let all = || {
        downloader(&folder)
            .basic_auth("user", "secret")
            .netrc(&path)
    };
    let with_header = all().header("Authorization", "own");
    assert_eq!(run(with_header, in_url("a:1")).as_deref(), Some("own"));
    assert_eq!(run(all(), in_url("a:2")).as_deref(), Some("Basic YToy"));
    let plain = |path: &str| origin.url(path);
    assert_eq!(run(all(), plain("/1")).as_deref(), Some(BASIC));
    let bearer = all().bearer_auth("t0ken");
    assert_eq!(run(bearer, plain("/2")).as_deref(), Some("Bearer t0ken"));
    let only_netrc = downloader(&folder).netrc(&path);
    // `net:rc`
    assert_eq!(
        run(only_netrc, plain("/3")).as_deref(),
        Some("Basic bmV0OnJj")
    );
    assert_eq!(run(downloader(&folder), plain("/4")), None);
}

/// Case 58.
#[test]
fn no_login_goes_where_a_redirect_leads() {
    let folder = Folder::new();
    let other = plain_origin();
    // Another port of the same host is another origin.
    let origin = redirecting(other.url("/g"));
    for downloader in [
        downloader(&folder).basic_auth("user", "secret"),
        downloader(&folder).bearer_auth("t0ken"),
    ] {
        let downloader = downloader.referer("http://private.example/");
        assert_saved(&only(downloader.run([origin.url("/f")]).unwrap()));
    }
    assert!(authorizations(&origin).iter().all(Option::is_some));
    for request in origin.requests() {
        assert!(request.header("referer").is_some());
    }
    for request in other.requests() {
        for name in ["authorization", "referer"] {
            assert_eq!(request.header(name), None, "{name}");
        }
    }
    assert_eq!(other.requests().len(), 2);
}

#[test]
fn netrc_is_looked_up_for_each_host_anew_and_its_default_for_none_but_the_first() {
    let (folder, files) = (Folder::new(), Folder::new());
    let other = plain_origin();
    let there = format!("http://localhost:{}/g", other.addr.port());
    let origin = redirecting(there);
    let run = |text: &str| {
        let downloader = downloader(&folder).netrc(netrc(&files, text));
        assert_saved(&only(downloader.run([origin.url("/f")]).unwrap()));
        let last = |origin| authorizations(origin).pop().unwrap();
        (last(&origin), last(&other))
    };
    let (here, there) =
        run("machine 127.0.0.1 login a password 1 machine localhost login a password 2");
    assert_eq!(here.as_deref(), Some("Basic YTox"));
    assert_eq!(there.as_deref(), Some("Basic YToy"));
    let (here, there) = run("default login a password 1");
    assert_eq!(here.as_deref(), Some("Basic YTox"));
    assert_eq!(there, None);
}

#[test]
fn a_netrc_that_others_can_read_is_refused() {
    let files = Folder::new();
    let path = netrc(&files, "default login a password secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = downloader(&files)
        .netrc(&path)
        .run(["http://127.0.0.1:9/f"]);
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("chmod 600") && !text.contains("secret"),
        "{text}"
    );
    let error = downloader(&files)
        .netrc(files.path().join("none"))
        .run(["http://127.0.0.1:9/f"]);
    assert!(error.unwrap_err().to_string().contains("none"));
}

#[test]
fn passwords_are_not_shown() {
    let folder = Folder::new();
    let downloader = downloader(&folder)
        .basic_auth("user", "secret")
        .bearer_auth("secret")
        .proxy("http://user:secret@127.0.0.1:1")
        .proxy_login("user", "secret")
        .header("Authorization", "secret")
        .retries(0);
    let report = downloader
        .run(["http://user:secret@nosuch.invalid/f"])
        .unwrap();
    let shown = format!("{downloader:?} {report:?}");
    assert!(!shown.contains("secret"), "{shown}");
}
