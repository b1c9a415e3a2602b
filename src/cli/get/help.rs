//! What `greenloop get --help` and the manual say below the options. The tables are those
//! the program goes by.

use super::{exit, json};
use std::fmt::Write as _;

/// Below the short help.
pub(crate) const SHORT: &str = "Examples:
  greenloop get https://example.com/a.iso https://example.com/b.iso -d downloads
  generate-urls | greenloop get -i - -j 64 --json
  greenloop get --no-save --brief https://example.com/ https://example.org/

Exit code: 0 only if every URL is on disk; one class of failure gives its number, several give
1, wrong usage 2 (--help has the table). After a signal the parts are kept, and the process ends
of the signal: the same command goes on where it stopped.";

/// Below the long help.
pub(crate) fn long() -> String {
    let mut text = SHORT.to_owned();
    text.push_str("\n\nExit codes:\n");
    for (code, meaning) in exit::table() {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "  {code:<7}{meaning}");
    }
    text.push_str(WATCHING);
    text.push_str("\nKeys of --json and --report (S start, R retry, W waiting, D done, F failed, P progress, E summary):\n");
    for (name, events, meaning) in json::FIELDS {
        let _ = writeln!(text, "  {name:<20}{events:<11}{meaning}");
    }
    text.truncate(text.trim_end().len());
    text
}

const WATCHING: &str = "
On a terminal, downloads that take longer than a moment have a bar on standard error; a line is
printed for each that ended. Elsewhere there are only these lines, and one that says how things
stand each --summary-interval. SIGUSR1 asks for that line at any time.

The first SIGINT, SIGTERM or SIGHUP stops: nothing new begins, and what runs leaves a part that
the same command goes on from. The second ends the process at once; parts stay all the same.

Programs of --on-download-complete and --on-download-error run at most four at once, with
GREENLOOP_ID, _URL, _PATH, _BYTES, _STATUS and _ERROR in their environment, nothing to read, and
standard error as output. (aria2 passes a number, a count and the path; here {id}, {path}.)
A program that is not there, or a place that stands for nothing, is wrong usage. After a signal no
more of them start.

--save-session writes aria2's form: a URL, tabs before its mirrors, options indented below. What
has no words in it is a JSON object on a line, from the first one on for all of them. What was
refused for its line in a list is a comment. What had not begun when a signal came is not in it:
the same command goes on with that.

With --verify, --json has an event file for each (name, path, verified, failure, exitcode,
errormsg), and a summary (verified, failed, stopped, failures).
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_help_has_both_tables_and_fits_a_terminal() {
        let text = long();
        assert!(text.starts_with(SHORT));
        for (code, meaning) in exit::table() {
            assert!(text.contains(&format!("  {code:<7}{meaning}\n")), "{code}");
        }
        for (name, _, meaning) in json::FIELDS {
            let line = text
                .lines()
                .find(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert!(line.is_some_and(|line| line.ends_with(meaning)), "{name}");
        }
        let long: Vec<_> = text.lines().filter(|line| line.len() > 100).collect();
        assert!(long.is_empty(), "{long:?}");
    }
}
