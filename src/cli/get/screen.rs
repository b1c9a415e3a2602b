//! The lines at the lower end of a terminal that are drawn over and over.
//!
//! A frame is one write: the cursor goes up to the first of its lines, each is written over
//! the old one, and what is left below is cleared. So nothing flickers, whatever the number
//! of lines. While it is written the terminal does not wrap, so that a character which is
//! wider there than we think costs the end of its line and nothing else.

use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What stands on the terminal of ours.
#[derive(Default)]
pub(super) struct Screen {
    /// The widths of the lines as they were drawn; the cursor is at the end of the last.
    drawn: Vec<usize>,
    columns: usize,
}

impl Screen {
    /// What to write so that `lines` stand there instead, and `above` has scrolled away
    /// above them. There are never more lines than fit, the last ones win.
    pub(super) fn draw(&mut self, size: Size, above: &str, lines: &[String]) -> String {
        let fitting = size.rows.saturating_sub(1).max(1);
        let lines = &lines[lines.len().saturating_sub(fitting)..];
        let mut text = self.go_back(size.columns);
        if !above.is_empty() {
            // What is printed may be as wide as it likes, and is not ours any more.
            text.push_str(CLEAR_BELOW);
            for line in above.lines() {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        text.push_str(NO_WRAP);
        self.drawn.clear();
        self.columns = size.columns;
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                text.push_str("\r\n");
            }
            // The last column stays free: there, terminals differ in when they wrap.
            let (line, width) = cut(line, size.columns.saturating_sub(1));
            text.push_str(line);
            text.push_str(CLEAR_RIGHT);
            self.drawn.push(width);
        }
        text.push_str(CLEAR_BELOW);
        text.push_str(WRAP);
        text
    }

    /// What to write so that nothing of ours stands there.
    pub(super) fn clear(&mut self, size: Size) -> String {
        if self.drawn.is_empty() {
            return String::new();
        }
        let mut text = self.go_back(size.columns);
        text.push_str(CLEAR_BELOW);
        self.drawn.clear();
        text
    }

    /// To the beginning of the first line. A terminal that has become narrower has broken
    /// our lines, as nearly all of them do.
    fn go_back(&self, columns: usize) -> String {
        let rows: usize = if columns == self.columns {
            self.drawn.len()
        } else {
            let rows = |width: &usize| width.div_ceil(columns.max(1)).max(1);
            self.drawn.iter().map(rows).sum()
        };
        let mut text = String::from("\r");
        if rows > 1 {
            // Writing to a string cannot fail.
            let _ = write!(text, "\x1b[{}A", rows - 1);
        }
        text
    }
}

/// The beginning of `text` that is at most `columns` wide, and its width.
pub(super) fn cut(text: &str, columns: usize) -> (&str, usize) {
    let mut width = 0;
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if width + wide > columns {
            return (&text[..at], width);
        }
        width += wide;
    }
    (text, width)
}

const CLEAR_RIGHT: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    const SIZE: Size = Size {
        rows: 4,
        columns: 11,
    };

    #[test]
    fn frames_replace_each_other_in_one_write() {
        let mut screen = Screen::default();
        let first = screen.draw(SIZE, "", &lines(&["one", "two"]));
        assert_eq!(first, "\r\x1b[?7lone\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[?7h");
        let second = screen.draw(SIZE, "said\n", &lines(&["three"]));
        let expected = "\r\x1b[1A\x1b[Jsaid\r\n\x1b[?7lthree\x1b[K\x1b[J\x1b[?7h";
        assert_eq!(second, expected);
        assert_eq!(screen.clear(SIZE), "\r\x1b[J");
        assert_eq!(screen.clear(SIZE), "");
    }

    #[test]
    fn lines_are_cut_to_what_fits() {
        let mut screen = Screen::default();
        let text = screen.draw(SIZE, "", &lines(&["a", "b", "c", "0123456789abc", "e"]));
        assert!(!text.contains('a') && !text.contains('b'), "{text:?}");
        assert!(text.contains("c\x1b[K") && text.contains("0123456789\x1b[K"));
        assert_eq!(cut("我爱Python", 3), ("我", 2));
        assert_eq!(cut("我爱Python", 5), ("我爱P", 5));
        assert_eq!(cut("e\u{301}x", 1), ("e\u{301}", 1));
        assert_eq!(cut("abc", 0), ("", 0));
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let mut screen = Screen::default();
        screen.draw(SIZE, "", &lines(&["0123456789", "0123"]));
        let narrow = Size {
            rows: 4,
            columns: 5,
        };
        let text = screen.draw(narrow, "", &lines(&["x"]));
        assert!(text.starts_with("\r\x1b[2A"), "{text:?}");
    }
}
