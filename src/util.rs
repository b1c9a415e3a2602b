//! Small helpers that every floor may use.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic of an earlier holder.
///
/// The crate's critical sections run no user code, so a poisoned lock only says that a
/// holder's thread ended in between: the data behind it is whole.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What threads share, for the files that are checked in every order.
///
/// In the product all of it is std's. The models in `tests/model/` compile the same files
/// with a checker's in its place.
pub(crate) mod sync {
    pub(crate) use std::sync::{Condvar, Mutex, Once, atomic};
    pub(crate) use std::thread;

    /// A static that is made anew for each order in which a model runs.
    macro_rules! global {
        (static $name:ident: $type:ty = $value:expr;) => {
            static $name: $type = $value;
        };
    }
    pub(crate) use global;
}

/// Drops a value of the user's where its panic must not get through.
///
/// The panic was reported when it was raised. Its payload is a value of the user's, too.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value)))
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(payload);
    }
}

/// Escapes what a terminal or a log line must not see raw: control characters, invalid
/// UTF-8, bidirectional overrides and zero-width characters.
///
/// Line ends and the backslash are escaped too, so that one message stays one line and
/// the escaping can be told from the text.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_unsafe_on_a_terminal(c) || c == '\\' {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Escapes the same in what people have written, and leaves their backslashes alone.
pub(crate) fn defuse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe_on_a_terminal(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Says how much of a text is not shown, to stand behind what is.
pub(crate) fn and_more(bytes: usize) -> String {
    match bytes {
        1 => " … and 1 byte".to_owned(),
        bytes => format!(" … and {bytes} bytes"),
    }
}

/// Tells whether `c` can move the cursor, hide text or turn its direction.
pub(crate) fn is_unsafe_on_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}'      // zero width, direction marks
            | '\u{2028}'..='\u{202e}'    // line and paragraph separators, bidi overrides
            | '\u{2060}'..='\u{2069}'    // word joiner, bidi isolates
            | '\u{feff}') // byte order mark
}

#[cfg(test)]
mod tests {
    use super::{defuse, escape};

    #[test]
    fn text_passes_and_controls_are_escaped() {
        assert_eq!(escape("我爱Python".as_bytes()), "我爱Python");
        assert_eq!(escape(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escape(b"\xff\\"), "\\xff\\\\");
        assert_eq!(escape("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        assert_eq!(
            defuse("C:\\我 \u{1b}[2J\u{9b}\u{202e}"),
            "C:\\我 \\u{1b}[2J\\u{9b}\\u{202e}"
        );
    }
}
