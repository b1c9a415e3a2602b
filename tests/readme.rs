//! What README.md shows is what happens: its console sessions are run and compared.
//!
//! In a block marked `console` a line `$ …` is a command and the lines up to the next one
//! are its output, in which `…` stands for anything (a line of its own: any lines). A
//! command that ends in `&` runs on in the background until `$ kill %1`.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::large_stack_frames,
    reason = "tests are plain threads, with large stacks, and may fail"
)]

#[path = "support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::path::PathBuf;
use support::{Folder, Greenloop, Run, Running, example_program, greenloop};

/// Commands the README shows that a test cannot run inside itself; `.ci/run` runs them.
const ELSEWHERE: &[&str] = &["cargo test"];

/// A command and the output it is shown with.
#[derive(Debug, PartialEq)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The contents of the fenced blocks with this mark.
fn blocks(text: &str, mark: &str) -> Vec<String> {
    let opened = text.split("\n```").skip(1).step_by(2);
    let marked = opened.filter_map(|b| b.split_once('\n').filter(|(m, _)| *m == mark));
    marked.map(|(_, body)| body.to_owned()).collect()
}

fn session(block: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), shown.last_mut()) {
            (Some(command), _) => shown.push(Shown {
                command: command.into(),
                output: vec![],
            }),
            (None, Some(last)) => last.output.push(line.into()),
            (None, None) => panic!("output before the first command: {line}"),
        }
    }
    shown
}

/// Tells whether `actual` is what `expected` shows.
fn matches(expected: &[String], actual: &[&str]) -> bool {
    match (expected.split_first(), actual.split_first()) {
        (None, _) => actual.is_empty(),
        (Some((any, rest)), _) if any.trim() == "…" => {
            (0..=actual.len()).any(|n| matches(rest, &actual[n..]))
        }
        (Some((line, rest)), Some((real, others))) => {
            line_matches(line, real) && matches(rest, others)
        }
        (Some(_), None) => false,
    }
}

fn line_matches(expected: &str, actual: &str) -> bool {
    match expected.split_once('…') {
        None => expected == actual,
        Some((head, tail)) => actual.strip_prefix(head).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(i, _)| i).chain([rest.len()]);
            ends.into_iter().any(|i| line_matches(tail, &rest[i..]))
        }),
    }
}

#[track_caller]
fn compare(shown: &Shown, actual: &str) {
    let lines: Vec<_> = actual.lines().collect();
    let same = matches(&shown.output, &lines);
    assert!(
        same,
        "{}\nshown:\n{}\nreal:\n{actual}",
        shown.command,
        shown.output.join("\n")
    );
}

/// A run of a command of ours.
fn ours(command: &str) -> Option<Greenloop> {
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if let Some(example) = command.strip_prefix("cargo run --example ") {
        let words = words(example);
        return Some(example_program(&words[0], &words[1..]));
    }
    let ours = command
        .strip_prefix("cargo run --release -- ")
        .or_else(|| command.strip_prefix("greenloop "))?;
    Some(greenloop(words(ours)))
}

fn run_session(block: &str, folder: &Folder) {
    // The port in the README may be taken here.
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .unwrap();
    let block = block.replace("127.0.0.1:7788", &free.to_string());
    let mut background: Option<Running> = None;
    for shown in session(&block) {
        let command = shown.command.as_str();
        if command == "kill %1" {
            let server = background.take().expect("something runs in the background");
            server.signal(rustix::process::Signal::TERM);
            let run: Run = server.finish();
            assert_eq!(run.code, 0, "{run:?}");
            let told = run.stdout.lines().count() - shown.output.len();
            compare(
                &shown,
                &run.stdout.lines().skip(told).collect::<Vec<_>>().join("\n"),
            );
        } else if let Some(in_background) = command.strip_suffix(" &") {
            let run = ours(in_background).expect("a command of ours");
            let mut server = run.folder(folder.path()).start();
            let told: Vec<_> = shown.output.iter().map(|_| server.line()).collect();
            compare(&shown, &told.join("\n"));
            background = Some(server);
        } else if let Some(run) = ours(command) {
            let run = run.folder(folder.path()).run();
            assert_eq!(run.code, 0, "{command}: {run:?}");
            compare(&shown, &run.stdout);
        } else {
            assert!(ELSEWHERE.contains(&command), "nobody runs {command}");
            assert!(read(".ci/run").contains(command), "nobody runs {command}");
        }
    }
    assert!(background.is_none(), "left in the background");
}

#[test]
fn console_sessions_happen_as_shown() {
    let readme = read("README.md");
    let sessions = blocks(&readme, "console");
    assert!(sessions.len() > 2, "the sessions were not found");
    let folder = Folder::new();
    for block in sessions {
        run_session(&block, &folder);
    }
}

#[test]
fn echo_server_is_the_example() {
    let program = blocks(&read("README.md"), "rust,no_run").remove(0);
    let example = read("examples/echo_server.rs");
    let code: Vec<_> = example
        .lines()
        .filter(|l| !l.starts_with("//!") && !l.starts_with("#!"))
        .collect();
    assert_eq!(program.trim(), code.join("\n").trim());
    assert!(program.trim().lines().count() < 20, "under 20 lines");
}

#[test]
fn the_two_commands_are_shown() {
    let readme = read("README.md");
    for command in ["$ cargo run --release -- tour", "$ cargo test"] {
        assert!(
            readme.lines().any(|line| line == command),
            "{command} is not shown"
        );
    }
}

#[test]
fn comparison_notices() {
    let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(
        &shown("a\nb … d\n…\nz"),
        &["a", "b c d", "x", "y", "z"]
    ));
    assert!(matches(&shown("a\n…"), &["a"]));
    assert!(!matches(&shown("a"), &["a", "b"]));
    assert!(!matches(&shown("a\nb"), &["a"]));
    assert!(!matches(&shown("b … d"), &["b c"]));
    assert!(!matches(&shown("a\n…\nz"), &["a", "y"]));
    let text = "x\n```console\n$ a\nb\n$ c\n```\n```rust\nd\n```\n";
    assert_eq!(blocks(text, "rust"), ["d"]);
    let expected = [("a", &["b"][..]), ("c", &[])];
    let expected = expected.map(|(command, output)| Shown {
        command: command.into(),
        output: output.iter().map(ToString::to_string).collect(),
    });
    assert_eq!(session(&blocks(text, "console")[0]), expected);
}

/// The README's inline code: `greenloop serve hello` and the like.
fn commands_in_prose(text: &str) -> Vec<Vec<String>> {
    let prose: String = text.split("\n```").step_by(2).collect();
    let code = prose.split('`').skip(1).step_by(2);
    let ours = code.filter_map(|code| code.strip_prefix("greenloop "));
    // The command's own words: what follows an option or a placeholder is not one.
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    ours.map(|code| {
        let words = code.split_whitespace().take_while(is_word);
        words.map(str::to_owned).collect()
    })
    .collect()
}

#[test]
fn commands_that_are_named_are_there() {
    let named = commands_in_prose(&read("README.md"));
    assert!(named.len() > 10, "{named:?}");
    for words in named {
        let help: Vec<_> = ["help".to_owned()].into_iter().chain(words).collect();
        greenloop(help).run().succeeds();
    }
}

#[test]
fn commands_are_found_in_prose() {
    let text = "`greenloop serve echo --x` and `other`\n```console\n$ `greenloop no`\n```\n`greenloop get URL`";
    assert_eq!(
        commands_in_prose(text),
        [vec!["serve", "echo"], vec!["get"]]
    );
}
