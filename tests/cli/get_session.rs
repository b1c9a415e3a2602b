//! `greenloop get --save-session`, and the command that tries again: what failed is asked
//! for as it was, with all that was asked of it.

use crate::origin::{Origin, content};
use crate::support::{Folder, Run, greenloop};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Of no file here.
const WRONG: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn get(folder: &Folder, args: &[&str]) -> Run {
    let always = ["get", "--retries", "0"];
    greenloop(always.iter().chain(args))
        .folder(folder.path())
        .run()
}

fn write(folder: &Folder, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("the folder is ours");
}

/// The list and the command at its head.
fn session(folder: &Folder, name: &str) -> (String, String) {
    let text = fs::read_to_string(folder.path().join(name)).expect("it is written");
    let (head, list) = text.split_once('\n').expect("it has a head");
    let head = head.strip_prefix("# ").expect("it is a comment");
    (list.to_owned(), head.to_owned())
}

/// The command that the last words tell.
fn again(run: &Run) -> &str {
    let told = run.stdout.lines().last().expect("there are last words");
    told.strip_prefix("to try again what failed: ")
        .unwrap_or_else(|| panic!("{run:?}"))
}

#[test]
fn what_is_refused_for_its_checksum_is_refused_again() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("file-5");
    write(&folder, "list", &format!("{url}\n checksum=md5={WRONG}\n"));
    write(&folder, "md5sums", &format!("{WRONG}  file-5\n"));
    let sum = format!("md5={WRONG}");
    for args in [
        &["-i", "list"][..],
        &[&url, "--checksum", &sum],
        // What a list of the run knows is written down with the entry.
        &[&url, "--check", "md5sums"],
    ] {
        let run = get(&folder, &[args, &["--save-session", "s"]].concat());
        assert_eq!(run.code, 32, "{run:?}");
        let (list, _) = session(&folder, "s");
        assert_eq!(list, format!("{url}\n checksum=md5={WRONG}\n"), "{args:?}");
        let run = get(&folder, &["-i", "s"]);
        assert_eq!(run.code, 32, "{run:?}");
        assert!(!folder.names().contains(&"file-5".to_owned()), "{args:?}");
    }
}

#[test]
fn sessions_keep_all_options_of_an_entry() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let entry = format!(
        "{}\t{}\n dir=d/e\n out=o p\n header=Authorization: Bearer t0ken\n \
         header=X-A: b\n referer=http://r/\n",
        origin.url("none-1"),
        origin.url("none-2")
    );
    let plain = format!(
        "{}\n",
        origin.url("none-3").replace("http://", "http://u:p@")
    );
    write(&folder, "list", &format!("{plain}{entry}"));
    let run = get(&folder, &["-j1", "-i", "list", "--save-session", "s"]);
    assert_eq!(run.code, 3, "{run:?}");
    // In the order of their ends.
    let is_all = |list: &str| {
        let orders = [format!("{plain}{entry}"), format!("{entry}{plain}")];
        orders.iter().any(|order| order == list)
    };
    let (list, _) = session(&folder, "s");
    assert!(is_all(&list), "{list}");
    let mode = fs::metadata(folder.path().join("s")).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    // The session of a session is the same.
    let run = get(&folder, &["-j1", "-i", "s", "--save-session", "s"]);
    assert_eq!(run.code, 3, "{run:?}");
    let (list, _) = session(&folder, "s");
    assert!(is_all(&list), "{list}");
}

#[test]
fn sessions_have_words_for_what_aria2_has_none_for() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let link = format!(
        "<metalink><file name=\"m\" ><size>7</size><url>{}</url></file></metalink>",
        origin.url("none-1")
    );
    write(&folder, "m.meta4", &link);
    write(&folder, "list", &format!("{}\n", origin.url("none-2")));
    let object = format!(
        "{{\"out\":\"m\",\"size\":7,\"url\":\"{}\"}}\n",
        origin.url("none-1")
    );
    let line = format!("{}\n", origin.url("none-2"));
    let after = format!("{{\"url\":\"{}\"}}\n", origin.url("none-2"));
    // Whichever ended first, here and in the session of the session.
    let told = [line + &object, object + &after];
    let mut input = ["-i", "m.meta4", "-i", "list"].as_slice();
    for _ in 0..3 {
        let run = get(&folder, &[input, &["--save-session", "s"]].concat());
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stdout.contains("saved 0 of 2 files"), "{run:?}");
        let (list, _) = session(&folder, "s");
        assert!(told.contains(&list), "{list}");
        input = &["-i", "s"];
    }
}

#[test]
fn sessions_leave_out_what_must_not_be_asked_for_as_it_stands() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let (bad, good) = (origin.url("none-1"), origin.url("none-2"));
    write(
        &folder,
        "list",
        &format!("{bad}\n proxy=x\nnonsense\n{good}\n"),
    );
    let run = get(&folder, &["-j1", "-i", "list", "--save-session", "s"]);
    assert_eq!(run.code, 1, "{run:?}");
    let (list, _) = session(&folder, "s");
    let mut lines: Vec<_> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with(&format!("# error: list:2: {bad}: option \"proxy\"")));
    assert!(lines[1].starts_with("# error: list:3: nonsense: no scheme"));
    assert_eq!(lines[2], good);
}

#[test]
fn trying_again_has_the_options_of_the_first_time_without_its_secrets() {
    let (origin, folder) = (Origin::start(), Folder::new());
    let url = origin.url("none");
    write(&folder, "list", &format!("{url}\n out=x\n"));
    let run = get(
        &folder,
        &["-d", "my dir", "--check-strict", &url, "--report", "r"],
    );
    let expected = format!("greenloop get --dir 'my dir' --retries 0 --check-strict {url}");
    assert_eq!(again(&run), expected);
    let run = get(
        &folder,
        &["-o", "x", "-H", "X-Key: secret", "--user=u:secret", &url],
    );
    let expected = format!(
        "greenloop get --out x --retries 0 --header 'X-Key: ***' --user '***' {url} (with what *** \
         stands for)"
    );
    assert_eq!(again(&run), expected);
    // More than a URL is needed, and the shown one has no password.
    let with_login = url.replace("http://", "http://u:p@");
    for args in [&["-i", "list"][..], &[&with_login]] {
        let run = get(&folder, args);
        assert_eq!(again(&run), "--save-session FILE lists it for -i FILE");
        let run = get(
            &folder,
            &[args, &["--save-session", "s", "--glob"]].concat(),
        );
        let expected = "greenloop get --retries 0 --save-session s --input-file s";
        assert_eq!(again(&run), expected);
        assert_eq!(session(&folder, "s").1, expected);
    }
}

#[test]
fn trying_again_saves_what_is_there_by_then() {
    let (origin, folder) = (Origin::start(), Folder::new());
    // Nobody listens at the first mirror; the session is edited as a person might.
    let dead = "http://127.0.0.1:1/x";
    let run = get(&folder, &[dead, "-o", "d/name", "--save-session", "s"]);
    assert_eq!(run.code, 6, "{run:?}");
    let (list, _) = session(&folder, "s");
    assert_eq!(list, format!("{dead}\n out=d/name\n"));
    write(&folder, "s", &list.replace(dead, &origin.url("file-9")));
    get(&folder, &["-i", "s"]).succeeds();
    let saved = fs::read(folder.path().join("d/name")).expect("it is saved");
    assert_eq!(saved, content(9));
}
