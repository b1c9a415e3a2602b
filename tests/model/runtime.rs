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

/// Nor is who started whom.
pub(crate) mod lineage {
    use std::sync::Arc;

    use crate::runtime::task::Task;

    pub(crate) struct Link(());

    impl Link {
        pub(crate) fn of(_: &Task, _: Option<&Arc<Self>>) -> Arc<Self> {
            Arc::new(Self(()))
        }
    }

    pub(crate) fn title(id: u64, _: Option<&str>) -> String {
        format!("#{id}")
    }
}

/// Nor is who can see that an OS thread waits.
pub(crate) mod registry {
    use std::sync::Arc;

    use crate::runtime::task::Task;

    pub(crate) fn add_thread(_: &Arc<Task>) {}

    pub(crate) fn remove_thread(_: &Arc<Task>) {}
}

pub(crate) mod watchdog {
    pub(crate) fn stir() {}
}

pub(crate) mod procfs {
    pub(crate) fn own_tid() -> u32 {
        1
    }
}

pub(crate) mod threads {
    pub(crate) struct OwnThread(());

    impl OwnThread {
        pub(crate) fn enlist() -> Self {
            Self(())
        }

        pub(crate) fn set_idle(&self, _: bool) {}
    }
}

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
