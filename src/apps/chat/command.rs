//! What a member's line means, and what the lines of the room look like.

use crate::util::defuse;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// An empty line.
    Nothing,
    Say(&'a str),
    Who,
    Nick(&'a str),
    Help,
    Quit,
    /// A word with a slash that nobody knows.
    Unknown(&'a str),
}

impl<'a> Command<'a> {
    /// Reads a line; a second slash makes text of one that begins with a slash.
    pub(super) fn parse(line: &'a str) -> Self {
        let line = line.trim_end();
        let Some(command) = line.trim_start().strip_prefix('/') else {
            return if line.is_empty() {
                Self::Nothing
            } else {
                Self::Say(line)
            };
        };
        if command.starts_with('/') {
            return Self::Say(command);
        }
        let (word, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        match word {
            "who" => Self::Who,
            "nick" => Self::Nick(rest.trim()),
            "help" => Self::Help,
            "quit" => Self::Quit,
            _ => Self::Unknown(word),
        }
    }
}

/// What `/help` tells.
pub(super) const HELP: &str = "* /who tells who is here, /nick NAME changes your name, /quit leaves; \
     //text says a text that begins with a slash";

/// The line in which `text` is said; nothing in it moves a cursor.
///
/// A name holds no space and no colon, so no text looks like another's line.
pub(super) fn said(clock: &str, name: &str, text: &str) -> String {
    format!("[{clock}] {name}: {}", defuse(text))
}

/// The time of day, UTC, so many seconds after the beginning of 1970.
pub(super) fn clock(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{Command, clock, said};

    #[test]
    fn lines_are_text_or_commands() {
        let table = [
            ("", Command::Nothing),
            (" \t\u{3000}", Command::Nothing),
            ("hello", Command::Say("hello")),
            ("  hello ", Command::Say("  hello")),
            ("a /who", Command::Say("a /who")),
            ("//who", Command::Say("/who")),
            ("/who", Command::Who),
            (" /who  ", Command::Who),
            ("/whom", Command::Unknown("whom")),
            ("/WHO", Command::Unknown("WHO")),
            ("/", Command::Unknown("")),
            ("/ who", Command::Unknown("")),
            ("/nick", Command::Nick("")),
            ("/nick   bob ", Command::Nick("bob")),
            ("/nick a b", Command::Nick("a b")),
            ("/help me", Command::Help),
            ("/quit", Command::Quit),
            ("exit", Command::Say("exit")),
        ];
        for (line, expected) in table {
            assert_eq!(Command::parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn said_lines_are_one_line_without_tricks() {
        let table = [
            ("你是who?", "[t] bob: 你是who?"),
            ("\u{1b}]0;x\u{7}", "[t] bob: \\u{1b}]0;x\\u{7}"),
            (
                "a\rb\u{85}\u{2028}\0",
                "[t] bob: a\\rb\\u{85}\\u{2028}\\u{0}",
            ),
            ("\u{202e}gpj", "[t] bob: \\u{202e}gpj"),
            ("[10:00:00] eve: hi", "[t] bob: [10:00:00] eve: hi"),
        ];
        for (text, expected) in table {
            assert_eq!(said("t", "bob", text), expected);
        }
    }

    #[test]
    fn clock_is_the_time_of_day() {
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(clock(86_399), "23:59:59");
        assert_eq!(clock(1_800_000_000), "08:00:00");
    }
}
