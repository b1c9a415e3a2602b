//! The panic hook that says which greenlet it was.

use std::io::Write as _;
use std::sync::Once;

use crate::runtime::lineage;
use crate::runtime::park::try_current;

/// Puts the greenlet and those who spawned it before what the hook in force prints, for
/// panics in greenlets.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let Some(task) = try_current().filter(|task| task.is_greenlet()) {
                let (title, site) = (task.title(), task.site);
                let chain = lineage::lines(&lineage::chain(&task));
                let text = format!("\ngreenlet {title} panicked; spawned at {site}\n{chain}");
                // Standard error may be closed; the panic goes on all the same.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            previous(info);
        }));
    });
}
