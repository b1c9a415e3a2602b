//! What the bars of single transfers have in common.

use indicatif::ProgressStyle;
use std::time::Duration;

pub(super) fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("the templates are constants that are well formed")
}

/// Cut to the terminal's width by the library.
pub(super) const SIZED: &str =
    "{bar:20} {percent:>3}% {binary_bytes_per_sec:>12} {eta:>4} {wide_msg}";
pub(super) const UNSIZED: &str = "{binary_bytes:>20} {binary_bytes_per_sec:>17}      {wide_msg}";
/// Half of the ten a second that a terminal over a slow line can take: printing lines
/// between the bars draws them once more.
pub(super) const REDRAWS_PER_SECOND: u8 = 5;
pub(super) const REDRAW_PAUSE: Duration = Duration::from_millis(1000 / REDRAWS_PER_SECOND as u64);
