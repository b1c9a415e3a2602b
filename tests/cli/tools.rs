//! `greenloop help`, `completions` and `man`: the definition of the command line, shown.

use crate::support::{Folder, greenloop, peer};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What stands over a list of commands.
const TITLES: &[&str] = &["Commands:", "Demos:", "Servers:", "Clients:", "Tools:"];

/// Every command and subcommand, as its words.
fn commands() -> Vec<Vec<String>> {
    fn inner(words: &[String], found: &mut Vec<Vec<String>>) {
        let run = greenloop([words, &["--help".into()]].concat()).run();
        let help = run.succeeds();
        // A list has a title and ends with an empty line.
        let mut listing = false;
        for line in help.lines() {
            if TITLES.contains(&line) {
                listing = true;
            } else if line.is_empty() {
                listing = false;
            } else if let Some(row) = line.strip_prefix("  ").filter(|_| listing) {
                let name = row.split(' ').next().unwrap_or_default();
                if !name.is_empty() && name != "help" {
                    let words = [words, &[name.to_owned()]].concat();
                    found.push(words.clone());
                    inner(&words, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    inner(&[], &mut found);
    assert!(found.len() > 5, "{found:?}");
    found
}

#[test]
fn help_groups_the_commands() {
    let help = greenloop(["help"]).run();
    let help = help.succeeds();
    let titles = ["\nDemos:\n", "\nServers:\n", "\nClients:\n", "\nTools:\n"];
    let places = titles.map(|title| help.find(title).unwrap_or_else(|| panic!("{title}{help}")));
    assert!(places.is_sorted(), "{help}");
    assert!(
        help.lines().all(|line| line.chars().count() <= 100),
        "{help}"
    );
    assert_eq!(greenloop(["--help"]).run().succeeds(), help);
    assert_eq!(greenloop(["-h"]).run().succeeds(), help);
}

#[test]
fn help_of_a_command_is_its_own_help() {
    for words in [&["serve", "echo"][..], &["serve"], &["man"]] {
        let asked = greenloop([&["help"], words].concat()).run();
        let own = greenloop([words, &["--help"]].concat()).run();
        assert_eq!(asked.succeeds(), own.succeeds());
    }
    greenloop(["help", "fly"])
        .run()
        .fails_with(2, &["'fly'", "(see greenloop --help)"]);
    let run = greenloop(["help", "serve", "fly"]).run();
    run.fails_with(2, &["'fly'", "(see greenloop serve --help)"]);
}

/// What a bash that has sourced our script offers for the last of `words`.
fn bash_offers(bash: &Path, script: &Path, words: &[&str]) -> Vec<String> {
    let line = words.join("' '");
    let program = format!(
        "source '{}'; COMP_WORDS=('{line}'); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _greenloop greenloop \"${{COMP_WORDS[COMP_CWORD]}}\" \
         \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = Command::new(bash)
        .args(["--norc", "-c", &program])
        .output()
        .expect("bash is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let offers = String::from_utf8_lossy(&output.stdout);
    offers.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let Some(bash) = peer("bash") else { return };
    let folder = Folder::new();
    let script = folder.path().join("completions.bash");
    fs::write(&script, greenloop(["completions", "bash"]).run().succeeds()).unwrap();
    let offers = |words: &[&str]| bash_offers(&bash, &script, words);
    assert_eq!(offers(&["greenloop", "serve", "ec"]), ["echo"]);
    assert_eq!(offers(&["greenloop", "compl"]), ["completions"]);
    assert_eq!(
        offers(&["greenloop", "serve", "echo", "--li"]),
        ["--listen"]
    );
    assert_eq!(offers(&["greenloop", "demo", "gr"]), ["greenlet"]);
    assert_eq!(offers(&["greenloop", "completions", "f"]), ["fish"]);
}

#[test]
fn fish_completes_commands() {
    let Some(fish) = peer("fish") else { return };
    let folder = Folder::new();
    let script = folder.path().join("completions.fish");
    fs::write(&script, greenloop(["completions", "fish"]).run().succeeds()).unwrap();
    let program = format!(
        "source '{}'; complete -C 'greenloop serve ec'",
        script.display()
    );
    let output = Command::new(fish)
        .args(["--no-config", "-c", &program])
        .output()
        .unwrap();
    let offers = String::from_utf8_lossy(&output.stdout);
    assert!(offers.starts_with("echo\t"), "{output:?}");
}

#[test]
fn completions_name_every_command() {
    let commands = commands();
    for shell in ["bash", "zsh", "fish"] {
        let run = greenloop(["completions", shell]).run();
        let script = run.succeeds();
        for words in &commands {
            let name = words.last().expect("a command has a name");
            assert!(
                script.contains(name),
                "{name} is not in the script for {shell}"
            );
        }
        let Some(program) = peer(shell) else { continue };
        let folder = Folder::new();
        let file = folder.path().join("script");
        fs::write(&file, script).unwrap();
        // Read and not run.
        let output = Command::new(program).arg("-n").arg(&file).output().unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
    }
    let run = greenloop(["completions", "tcsh"]).run();
    run.fails_with(2, &["tcsh", "bash, zsh, fish"]);
}

#[test]
fn man_writes_a_page_for_each_command() {
    let folder = Folder::new();
    let into = folder.path().join("new/man1");
    let run = greenloop(["man"]).arg(&into).run();
    let mut expected: Vec<_> = commands()
        .iter()
        .map(|words| format!("greenloop-{}.1", words.join("-")))
        .chain(["greenloop.1".to_owned()])
        .collect();
    expected.sort();
    let told = format!("wrote {} pages into {}\n", expected.len(), into.display());
    assert_eq!(run.succeeds(), told);
    let mut names: Vec<_> = fs::read_dir(&into)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, expected, "and nothing else");
    let page = fs::read_to_string(into.join("greenloop-serve-echo.1")).unwrap();
    assert!(
        page.contains(".SH EXAMPLES\n") && page.contains(".SH NOTES\n"),
        "{page}"
    );
    // Again: every page is replaced.
    fs::write(into.join("greenloop.1"), "old").unwrap();
    greenloop(["man"]).arg(&into).run().succeeds();
    assert_ne!(fs::read(into.join("greenloop.1")).unwrap(), b"old");
}

#[test]
fn man_pages_are_rendered_without_warnings() {
    let Some(groff) = peer("groff") else { return };
    let folder = Folder::new();
    greenloop(["man"]).arg(folder.path()).run().succeeds();
    for name in folder.names() {
        let output = Command::new(&groff)
            .args(["-man", "-Kutf8", "-Tutf8", "-ww", "-rLL=100n"])
            .arg(folder.path().join(&name))
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && warnings.is_empty(),
            "{name}: {warnings}"
        );
        let page = String::from_utf8_lossy(&output.stdout);
        let title = name.replace(".1", "(1)");
        assert!(page.starts_with(&title), "{name}: {page}");
    }
}

#[test]
fn man_into_a_folder_that_cannot_be_written_fails_and_leaves_nothing() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").unwrap();
    let run = greenloop(["man"])
        .arg(folder.path().join("file/below"))
        .run();
    run.fails_with(1, &["file/below", "not a directory"]);
    greenloop(["man", "/proc/none"])
        .run()
        .fails_with(1, &["/proc/none"]);
    // A folder where a page should be.
    let page = folder.path().join("greenloop.1/x");
    fs::create_dir_all(&page).unwrap();
    greenloop(["man"])
        .arg(folder.path())
        .run()
        .fails_with(1, &["greenloop.1"]);
    assert_eq!(folder.names(), ["file", "greenloop.1"]);
}
