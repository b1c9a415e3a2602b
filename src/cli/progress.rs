//! The bar of transfers that go one after the other: an upload, a TFTP file.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar on standard error, of what may have no known end.
pub(super) fn bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    ProgressBar::with_draw_target(None, target).with_style(style(UNSIZED))
}

/// Tells a bar where the end is.
pub(super) fn set_total(bar: &ProgressBar, total: u64) {
    if bar.length() != Some(total) {
        bar.set_length(total);
        bar.set_style(style(SIZED));
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are well formed")
}

/// Cut to the terminal's width by the library.
const SIZED: &str = "{bar:20} {percent:>3}% {binary_bytes_per_sec:>12} {eta:>4} {wide_msg}";
const UNSIZED: &str = "{binary_bytes:>20} {binary_bytes_per_sec:>17}      {wide_msg}";
/// Half of the ten a second that a terminal over a slow line can take: printing lines
/// between the bars draws them once more.
const REDRAWS_PER_SECOND: u8 = 5;
pub(super) const REDRAW_PAUSE: Duration = Duration::from_millis(1000 / REDRAWS_PER_SECOND as u64);
