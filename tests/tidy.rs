//! Holds the source against the rules of `ARCHITECTURE.md`: who may name whom, where
//! `unsafe` and the engine may stand, what is never used, what every file begins with.
//!
//! Each rule is a function from text to complaints, tried on a bad sample beside it, so
//! that a rule which lets everything pass is noticed.

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/lex.rs"]
mod lex;

use lex::{code_of, crate_paths, lines_with};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the ground up. A module may name every module of a lower floor; on
/// its own floor only what [`NEIGHBOURS`] lists.
const FLOORS: &[&[&str]] = &[
    &["switch", "proto", "error", "util"],
    &["runtime"],
    &["sync", "net", "fs", "process"],
    &["testkit"],
    &["server", "http", "fetch", "apps"],
    &["cli", "guide", "main"],
];

/// Who may name a module of its own floor: the error type and the helpers serve the
/// ground floor too, and apps are handlers over `server`.
const NEIGHBOURS: &[(&str, &str)] = &[
    ("switch", "error"),
    ("switch", "util"),
    ("proto", "error"),
    ("proto", "util"),
    ("error", "util"),
    ("apps", "server"),
    ("main", "cli"),
];

/// The only files that may name an outside crate.
const OWNERS: &[(&str, &[&str])] = &[
    ("may::", ENGINE_FILES),
    ("may_minihttp", &["src/http/minihttp.rs"]),
    ("corosensei", &["src/switch/"]),
    ("nix::", &["src/net/", "src/apps/models/"]),
    ("reqwest", &["src/fetch/"]),
    ("rustls", &["src/net/", "src/fetch/"]),
    ("clap", &["src/cli/"]),
    ("clap_complete", &["src/cli/"]),
    ("clap_mangen", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
    ("jiff", &["src/cli/"]),
    ("env_logger", &["src/cli/"]),
];

const ENGINE_FILES: &[&str] = &[
    "src/runtime/config.rs",
    "src/runtime/io.rs",
    "src/runtime/park.rs",
    "src/runtime/spawn.rs",
];

const UNSAFE_FILES: &[&str] = &[
    "src/runtime/backtrace.rs",
    "src/runtime/overflow.rs",
    "src/runtime/spawn.rs",
    "src/switch/overflow.rs",
    "src/switch/stack.rs",
    "src/sync/scope.rs",
];

/// What the engine offers and nobody may use; `ARCHITECTURE.md` gives each reason.
const FORBIDDEN: &[&str] = &[
    "Coroutine::cancel",
    "cqueue",
    "coroutine().cancel",
    "coroutine::park",
    "coroutine::park_timeout",
    "coroutine::scope",
    "coroutine::sleep",
    "go!",
    "may::join",
    "may::net::TcpListener",
    "may::select",
    "park_timeout",
    "reqwest::blocking",
];

/// Forbidden on the engine's types; our own have methods of the same names.
const FORBIDDEN_IN_ENGINE_FILES: &[&str] = &[
    ".cancel(",
    "set_read_timeout",
    "set_write_timeout",
    "TcpListener::bind",
];

/// What only the command may do.
const COMMAND_ONLY: &[&str] = &[
    "dbg!",
    "env::args",
    "env::args_os",
    "env::var",
    "env::var_os",
    "env::vars",
    "eprint!",
    "eprintln!",
    "print!",
    "println!",
    "process::exit",
];

/// Where a thread-local stands, read only by leaf functions that are never inlined:
/// greenlets move between threads.
const THREAD_LOCAL_FILES: &[&str] = &[
    "src/runtime/lane.rs",
    "src/runtime/workers.rs",
    "src/switch/overflow.rs",
];

const UNFINISHED: &[&str] = &["#[ignore", "assert!(true)", "todo!", "unimplemented!"];

/// The examples in the docs do not count: each item's stands by itself.
const LINES_MAX: usize = 600;
/// A list of cases is read one case at a time.
const TEST_LINES_MAX: usize = 1000;
/// Without the header and empty lines.
const EXAMPLE_LINES_MAX: usize = 60;

/// A source file, with its path from the package's root.
struct File {
    path: String,
    text: String,
    code: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            code: code_of(text),
        }
    }

    /// The top module the file belongs to: `net` for `src/net/tcp.rs`; empty for `lib.rs`.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or("");
        let module = inside.split('/').next().unwrap_or("");
        let module = module.strip_suffix(".rs").unwrap_or(module);
        if module == "lib" { "" } else { module }
    }

    fn is_one_of(&self, places: &[&str]) -> bool {
        places
            .iter()
            .any(|p| self.path == *p || p.ends_with('/') && self.path.starts_with(p))
    }

    fn complain(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// A complaint for each line on which one of `words` stands.
    fn complain_of(&self, words: &[&str], why: &str) -> Vec<String> {
        let hits = |word: &&str| {
            let lines = lines_with(&self.code, word);
            lines
                .into_iter()
                .map(|line| self.complain(line, format!("{word} {why}")))
                .collect()
        };
        words
            .iter()
            .flat_map(|word| -> Vec<String> { hits(word) })
            .collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every `.rs` file below `folder`, sorted by path.
fn files(folder: &str) -> Vec<File> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let name = |path: &PathBuf| {
        path.strip_prefix(root())
            .unwrap_or(path)
            .display()
            .to_string()
    };
    found
        .iter()
        .map(|path| File::new(&name(path), &read(&name(path))))
        .collect()
}

fn expect_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Runs `rule` over the library and the command.
fn over_sources(rule: impl Fn(&File) -> Vec<String>) {
    let files = files("src");
    assert!(files.len() > 3, "the sources were not found");
    expect_none(files.iter().flat_map(rule).collect());
}

// Floors

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn may_name(from: &str, to: &str) -> bool {
    match (floor_of(from), floor_of(to)) {
        (Some(a), Some(b)) => a > b || from == to || NEIGHBOURS.contains(&(from, to)),
        _ => false,
    }
}

/// Finds out which module a name at the crate's root comes from, by `lib.rs`'s `use` lines
/// and the files that export macros.
fn home_of(name: &str, lib: &str, sources: &[File]) -> Option<String> {
    if floor_of(name).is_some() {
        return Some(name.into());
    }
    for statement in code_of(lib).split(';') {
        let Some((_, path)) = statement.split_once("use ") else {
            continue;
        };
        let path = path.trim().trim_start_matches("crate::");
        if lines_with(path, name).is_empty() {
            continue;
        }
        return path
            .split("::")
            .next()
            .map(|module| module.trim().to_owned());
    }
    let definition = format!("macro_rules! {name}");
    let exporter = sources.iter().find(|f| f.code.contains(&definition));
    exporter.map(|f| f.module().to_owned())
}

fn floor_complaints(file: &File, lib: &str, sources: &[File]) -> Vec<String> {
    let from = file.module();
    if from.is_empty() {
        return Vec::new(); // lib.rs names everybody
    }
    if floor_of(from).is_none() {
        return vec![file.complain(1, format!("{from} stands on no floor"))];
    }
    let mut complaints = Vec::new();
    for (line, name) in crate_paths(&file.code) {
        match home_of(&name, lib, sources) {
            Some(to) if may_name(from, &to) => {}
            Some(to) => complaints.push(file.complain(line, format!("{from} may not name {to}"))),
            None => complaints.push(file.complain(line, format!("crate::{name} is whose?"))),
        }
    }
    complaints.extend(climbs_out(file));
    complaints
}

/// A `super::` chain that reaches the root would go round the table.
fn climbs_out(file: &File) -> Vec<String> {
    let parts = file.path.matches('/').count();
    let depth = if file.path.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    };
    let chain = "super::".repeat(depth);
    let at_top_level = |n: &usize| {
        let line = file.code.lines().nth(n - 1).unwrap_or("");
        !line.starts_with(' ') || line.contains(&format!("super::{chain}"))
    };
    let lines = lines_with(&file.code, &chain)
        .into_iter()
        .filter(at_top_level);
    lines
        .map(|n| file.complain(n, "super:: reaches the root: write crate::"))
        .collect()
}

#[test]
fn modules_name_only_what_stands_below() {
    let (lib, sources) = (read("src/lib.rs"), files("src"));
    over_sources(|file| floor_complaints(file, &lib, &sources));
}

#[test]
fn floor_rule_notices() {
    let lib = "pub use runtime::{spawn, Greenlet};\npub use crate::sync::Queue;";
    let sources = [File::new("src/runtime/local.rs", "macro_rules! local {}")];
    let count =
        |path: &str, text: &str| floor_complaints(&File::new(path, text), lib, &sources).len();
    assert_eq!(count("src/sync/queue.rs", "use crate::net::TcpStream;"), 1);
    assert_eq!(count("src/sync/queue.rs", "use crate::runtime::Parker;"), 0);
    assert_eq!(
        count("src/runtime/io.rs", "fn f() { crate::server::x() }"),
        1
    );
    assert_eq!(
        count("src/runtime/io.rs", "use crate::{Queue, error::Error};"),
        1
    );
    assert_eq!(
        count("src/runtime/io.rs", "use crate::{Greenlet, util::{a, b}};"),
        0
    );
    assert_eq!(
        count("src/net/tcp.rs", "crate::local!(); use crate::Nowhere;"),
        1
    );
    assert_eq!(
        count(
            "src/net/tcp.rs",
            "// use crate::cli;\nlet s = \"crate::cli\";"
        ),
        0
    );
    assert_eq!(count("src/net/tcp.rs", "use super::super::sync;"), 1);
    assert_eq!(count("src/net/mod.rs", "use super::sync;"), 1);
    assert_eq!(
        count(
            "src/net/tcp.rs",
            "use super::addr;\nmod t {\n    use super::*;\n}"
        ),
        0
    );
    assert_eq!(count("src/fetch/plan.rs", "use crate::server::Conn;"), 1);
    assert_eq!(count("src/apps/echo.rs", "use crate::server::Conn;"), 0);
    assert_eq!(count("src/misc.rs", ""), 1);
}

// Outside crates, unsafe, forbidden calls

fn owner_complaints(file: &File) -> Vec<String> {
    let strangers = OWNERS.iter().filter(|(_, places)| !file.is_one_of(places));
    strangers
        .flat_map(|(name, _)| file.complain_of(&[name], "belongs elsewhere"))
        .collect()
}

#[test]
fn outside_crates_are_named_by_their_owner_only() {
    over_sources(owner_complaints);
}

#[test]
fn owner_rule_notices() {
    let count = |path: &str, text: &str| owner_complaints(&File::new(path, text)).len();
    assert_eq!(count("src/net/tcp.rs", "use may::io::CoIo;"), 1);
    assert_eq!(count("src/runtime/io.rs", "use may::io::CoIo;"), 0);
    assert_eq!(count("src/http/mod.rs", "use may_minihttp::HttpServer;"), 1);
    assert_eq!(
        count("src/http/minihttp.rs", "use may_minihttp::HttpServer;"),
        0
    );
    assert_eq!(count("src/cli/get.rs", "reqwest::get(); dismay::x();"), 1);
    assert_eq!(
        count("src/switch/generator.rs", "use corosensei::Coroutine;"),
        0
    );
}

fn unsafe_complaints(file: &File) -> Vec<String> {
    if file.is_one_of(UNSAFE_FILES) {
        return Vec::new();
    }
    file.complain_of(&["unsafe", "unsafe_code"], "is not opened in this file")
}

#[test]
fn unsafe_stands_in_the_listed_files_only() {
    over_sources(unsafe_complaints);
}

#[test]
fn unsafe_rule_notices() {
    let count = |path: &str, text: &str| unsafe_complaints(&File::new(path, text)).len();
    assert_eq!(count("src/net/tcp.rs", "let x = unsafe { f() };"), 1);
    assert_eq!(count("src/net/tcp.rs", "#![allow(unsafe_code)]"), 1);
    assert_eq!(
        count("src/net/tcp.rs", "// unsafe\nis_unsafe_on_a_terminal()"),
        0
    );
    assert_eq!(count("src/switch/stack.rs", "unsafe {}"), 0);
}

fn forbidden_complaints(file: &File) -> Vec<String> {
    let mut complaints = file.complain_of(FORBIDDEN, "is not safe to use");
    if file.is_one_of(ENGINE_FILES) {
        complaints.extend(file.complain_of(FORBIDDEN_IN_ENGINE_FILES, "is not safe to use"));
    }
    if !file.is_one_of(THREAD_LOCAL_FILES) {
        complaints.extend(file.complain_of(&["thread_local!"], "is not for greenlets"));
    }
    complaints
}

#[test]
fn what_is_not_safe_to_use_is_absent() {
    over_sources(forbidden_complaints);
}

#[test]
fn forbidden_rule_notices() {
    for bad in FORBIDDEN {
        let file = File::new("src/net/tcp.rs", &format!("fn f() {{ {bad} }}"));
        assert!(!forbidden_complaints(&file).is_empty(), "{bad} passed");
    }
    let file = File::new("src/net/tcp.rs", "std::thread_local! { static X: u8 = 0; }");
    assert_eq!(forbidden_complaints(&file).len(), 1);
    for bad in FORBIDDEN_IN_ENGINE_FILES {
        let text = format!("x {bad} y");
        let inside = File::new("src/runtime/io.rs", &text);
        assert_eq!(forbidden_complaints(&inside).len(), 1, "{bad} passed");
        assert!(forbidden_complaints(&File::new("src/net/tcp.rs", &text)).is_empty());
    }
}

fn command_complaints(file: &File) -> Vec<String> {
    if matches!(file.module(), "cli" | "main") {
        return Vec::new();
    }
    file.complain_of(COMMAND_ONLY, "is for the command only")
}

#[test]
fn only_the_command_prints_exits_and_reads_the_environment() {
    over_sources(command_complaints);
}

#[test]
fn command_rule_notices() {
    for bad in COMMAND_ONLY {
        let text = format!("std::{bad}(\"x\");");
        assert_eq!(
            command_complaints(&File::new("src/net/tcp.rs", &text)).len(),
            1,
            "{bad}"
        );
        assert!(command_complaints(&File::new("src/cli/mod.rs", &text)).is_empty());
    }
    assert!(command_complaints(&File::new("src/lib.rs", "env!(\"X\"); writeln!(f)")).is_empty());
}

// Form

fn form_complaints(file: &File) -> Vec<String> {
    let mut complaints = file.complain_of(UNFINISHED, "is unfinished work");
    let lines = docs::lines_without_examples(&file.text);
    let max = if file.path.starts_with("tests/") {
        TEST_LINES_MAX
    } else {
        LINES_MAX
    };
    if lines > max {
        complaints.push(file.complain(lines, format!("{lines} lines, at most {max}")));
    }
    if !file.text.starts_with("//!") {
        complaints.push(file.complain(1, "begins without a module doc"));
    }
    complaints
}

#[test]
fn files_are_finished_short_and_say_what_they_are() {
    let all = ["src", "tests", "examples", "benches"]
        .into_iter()
        .flat_map(files);
    let others = all.filter(|f| !f.path.starts_with("tests/tidy"));
    expect_none(others.flat_map(|f| form_complaints(&f)).collect());
}

#[test]
fn form_rule_notices() {
    let count = |text: &str| form_complaints(&File::new("src/x.rs", text)).len();
    assert_eq!(count("//! Doc.\nfn f() {}\n"), 0);
    assert_eq!(count("fn f() {}\n"), 1);
    assert_eq!(
        count(&format!("//! Long.{}", "\n".repeat(LINES_MAX + 1))),
        1
    );
    let example = "/// ```\n/// x\n/// ```\n".repeat(LINES_MAX);
    assert_eq!(count(&format!("//! Doc.\n{example}fn f() {{}}\n")), 0);
    for bad in UNFINISHED {
        assert_eq!(count(&format!("//! Doc.\n{bad}()]\n")), 1, "{bad} passed");
    }
}

fn example_complaints(file: &File) -> Vec<String> {
    let name = file
        .path
        .trim_start_matches("examples/")
        .trim_end_matches(".rs");
    let header: String = file
        .text
        .lines()
        .take_while(|l| l.starts_with("//!"))
        .collect();
    let mut complaints = Vec::new();
    if !header.contains(&format!("cargo run --example {name}")) {
        complaints.push(file.complain(1, "the header does not say how to run it"));
    }
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//!");
    let lines = file.text.lines().filter(is_code).count();
    if lines > EXAMPLE_LINES_MAX {
        complaints.push(file.complain(lines, format!("at most {EXAMPLE_LINES_MAX} lines")));
    }
    complaints
}

#[test]
fn examples_are_short_and_say_how_to_run_them() {
    expect_none(
        files("examples")
            .iter()
            .flat_map(example_complaints)
            .collect(),
    );
}

#[test]
fn example_rule_notices() {
    let count = |text: &str| example_complaints(&File::new("examples/echo.rs", text)).len();
    let header = "//! Echoes.\n//!\n//! Run: `cargo run --example echo`\n";
    assert_eq!(count(header), 0);
    assert_eq!(count("//! Echoes.\n\n// cargo run --example echo\n"), 1);
    assert_eq!(count(&header.replace("example echo", "example other")), 1);
    assert_eq!(
        count(&format!(
            "{header}{}",
            "x();\n".repeat(EXAMPLE_LINES_MAX + 1)
        )),
        1
    );
}

// Package

/// The version of `name` in a `Cargo.lock`.
fn locked(lock: &str, name: &str) -> Option<[u64; 3]> {
    let entry = lock
        .split("[[package]]")
        .find(|e| e.contains(&format!("name = \"{name}\"\n")))?;
    let version = entry.split("version = \"").nth(1)?.split('"').next()?;
    let mut numbers = version
        .split(['.', '-', '+'])
        .map(|n| n.parse().unwrap_or(0));
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[test]
fn generator_is_new_enough() {
    // The engine was measured with this one; older ones resolve with an older lock file.
    assert!(locked(&read("Cargo.lock"), "generator") >= Some([0, 8, 11]));
}

#[test]
fn lock_reader_reads() {
    let lock = "[[package]]\nname = \"generator\"\nversion = \"0.8.9\"\n[[package]]\n";
    assert_eq!(locked(lock, "generator"), Some([0, 8, 9]));
    assert_eq!(locked(lock, "gen"), None);
    assert!(None < Some([0, 8, 11]));
}

fn has_heading(changelog: &str, version: &str) -> bool {
    let wanted = format!("## [{version}]");
    changelog.lines().any(|line| line.starts_with(&wanted))
}

#[test]
fn changelog_tells_of_this_version() {
    let changelog = read("CHANGELOG.md");
    assert!(has_heading(&changelog, env!("CARGO_PKG_VERSION")));
    assert!(has_heading(&changelog, "Unreleased"));
    assert!(!has_heading(&changelog, "99.0.0"));
}

#[test]
fn lexer_tells_code_from_text() {
    let code = code_of("a /* b /* c */ */ d // e\n\"f\\\"\" r#\"g\"# 'h' b'\\n' &'i j r#k");
    let words: Vec<_> = code.split_whitespace().collect();
    assert_eq!(words, ["a", "d", "b", "&'i", "j", "r#k"]);
    assert_eq!(lines_with("x\nunsafe {\nis_unsafe()", "unsafe"), [2]);
    assert_eq!(
        crate_paths("use crate::{a::{B, C}, d};\ncrate::e()").len(),
        3
    );
}
