//! Floor 1 as the models see it: the files that are checked are the product's own; what
//! they only name is a stand-in that does the least that keeps their promises.

#[path = "../../src/runtime/context.rs"]
pub(crate) mod context;
#[path = "../../src/runtime/deadline.rs"]
pub(crate) mod deadline;
#[path = "../../src/runtime/park.rs"]
pub(crate) mod park;
#[path = "../../src/runtime/reason.rs"]
pub(crate) mod reason;
#[path = "../../src/runtime/task.rs"]
pub(crate) mod task;
#[path = "../../src/runtime/watch.rs"]
pub(crate) mod watch;

#[path = "clock.rs"]
pub(crate) mod clock;
#[path = "relay.rs"]
pub(crate) mod relay;
#[path = "workers.rs"]
pub(crate) mod workers;

// The one that differs: see each model's root.
pub(crate) use crate::timer;

/// How a greenlet ends is no part of the models.
pub(crate) mod completion {
    #[derive(Default)]
    pub(crate) struct Completion(());
}

pub(crate) use completion as greenlet;

/// Nor is how often one switches.
pub(crate) mod meter {
    #[derive(Default)]
    pub(crate) struct Meter(());

    impl Meter {
        pub(crate) fn stop(&self) {}

        pub(crate) fn go_on(&self) {}
    }
}

/// Nor is waiting on descriptors.
pub(crate) mod io {
    #[derive(Default)]
    pub(crate) struct IoSeat(());

    impl IoSeat {
        pub(crate) fn wake(&self) {}

        pub(crate) fn is_used(&self) -> bool {
            false
        }
    }
}
