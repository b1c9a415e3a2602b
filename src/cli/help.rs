//! `greenloop help`: the commands in groups, which the parser cannot do by itself.

use super::args::{Cli, GROUPS};
use clap::{Arg, ArgAction, Command, CommandFactory};

/// The definition of the command line.
pub(crate) fn definition() -> Command {
    let command = shaped(Cli::command());
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}\n\n\
         See greenloop help COMMAND for what a command takes, with examples.{{after-help}}",
        listing(&groups())
    ))
}

/// What options of all commands have in common: `-1` is a value where one is wanted, so that
/// the error is about what it is; and a truth can be left out, which says yes.
fn shaped(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        if matches!(arg.get_value_names(), Some([name]) if name == BOOL) {
            return truth(arg);
        }
        match arg.is_positional() || !arg.get_action().takes_values() {
            true => arg,
            false => arg.allow_negative_numbers(true),
        }
    });
    command.mut_subcommands(shaped)
}

/// `--option`, `--option=true`, `--option=false`.
#[expect(
    clippy::large_stack_frames,
    reason = "an argument's builder moves it at each call, on the OS thread's stack"
)]
fn truth(arg: Arg) -> Arg {
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true");
    match is_flag {
        true => arg.default_value("false").hide_default_value(true),
        // May be neither.
        false => arg,
    }
}

/// The name of values that are true or false.
const BOOL: &str = "BOOL";

/// The titles, each with the names and the descriptions of its commands.
fn groups() -> Vec<(&'static str, Vec<(String, String)>)> {
    let rows = |augment: fn(Command) -> Command| {
        let commands = augment(Command::new("group"));
        commands.get_subcommands().map(row).collect::<Vec<_>>()
    };
    let mut groups: Vec<_> = GROUPS
        .iter()
        .map(|(title, add)| (*title, rows(*add)))
        .collect();
    if let Some((_, tools)) = groups.last_mut() {
        tools.push(("help".into(), "Print this, or the help of a command".into()));
    }
    groups
}

/// A command with commands of its own names them.
fn row(command: &Command) -> (String, String) {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let inner: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
    let about = match inner.is_empty() {
        true => about,
        false => format!("{about}: {}", inner.join(", ")),
    };
    (command.get_name().to_owned(), about)
}

fn listing(groups: &[(&str, Vec<(String, String)>)]) -> String {
    let names = groups
        .iter()
        .flat_map(|(_, rows)| rows)
        .map(|(name, _)| name.len());
    let column = names.max().unwrap_or(0) + 4;
    let mut text = String::new();
    for (title, rows) in groups {
        text.push_str(&format!("{title}:\n"));
        for (name, about) in rows {
            let mut begin = format!("  {name}");
            for line in wrap(about, WIDTH - column) {
                text.push_str(&format!("{begin:column$}{line}\n"));
                begin.clear();
            }
        }
        text.push('\n');
    }
    text
}

/// Breaks a text between its words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Terminals are at least so wide.
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut definition = definition();
        definition.build();
        let mut known: Vec<_> = definition
            .get_subcommands()
            .map(Command::get_name)
            .collect();
        let groups = groups();
        let mut shown: Vec<_> = groups
            .iter()
            .flat_map(|(_, rows)| rows)
            .map(|(name, _)| name.as_str())
            .collect();
        known.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, known);
    }

    #[test]
    fn listing_is_aligned_and_narrow() {
        let long = "word ".repeat(30);
        let rows = vec![
            ("a".to_owned(), "First".to_owned()),
            ("longer".to_owned(), long),
        ];
        let text = listing(&[("Some", rows)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["Some:", "  a       First"]);
        assert!(lines[2].starts_with("  longer  word word"), "{text}");
        assert!(lines[3].starts_with("          word word"), "{text}");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{text}");
    }

    #[test]
    fn braces_in_descriptions_are_shown() {
        let text = Command::new("x").help_template("a {} {b} c").render_help();
        assert_eq!(text.to_string(), "a {} {b} c\n");
    }
}
