//! The panic hook that says which greenlet it was.

use std::io::Write as _;
use std::sync::Once;

use crate::runtime::park::try_current;

/// Puts a line before what the hook in force prints, for panics in greenlets.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(task) = try_current().filter(|task| task.is_greenlet()) {
                // Standard error may be closed; the panic goes on all the same.
                let _ = writeln!(
                    std::io::stderr(),
                    "\ngreenlet {} panicked; spawned at {}",
                    task.title(),
                    task.site
                );
            }
            previous(info);
        }));
    });
}
