//! The loop of a supervisor.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::runtime::club::Club;
use crate::runtime::deadline::Deadline;
use crate::runtime::greenlet::{Exit, Greenlet, Handle, current_handle};
use crate::runtime::kill::shield;
use crate::runtime::park::{WaitList, wait_for};
use crate::runtime::reason::Wait;
use crate::runtime::spawn::Builder;
use crate::sync::supervisor::error::{Kind, SupervisorError};
use crate::sync::supervisor::restart::{Intensity, Streak};
use crate::sync::supervisor::spec::{Restart, Strategy, SupervisorSpec};
use crate::sync::supervisor::{ChildState, ChildStatus};
use crate::util::{discard, lock};

/// Supervises in the current greenlet.
#[track_caller]
pub(super) fn run(spec: SupervisorSpec) -> Result<(), SupervisorError> {
    let shared = Arc::new(Shared::new(&spec));
    Supervision::new(spec, shared).run()
}

/// Supervises in a greenlet of its own, for handles that look on.
#[track_caller]
pub(super) fn run_shared(spec: SupervisorSpec, shared: &Arc<Shared>) {
    let mut supervision = Supervision::new(spec, shared.clone());
    let result = supervision.run();
    // Before what the children's closures own is dropped, which may panic.
    lock(&shared.state).result = Some(result);
}

/// What the supervisor, its children's ends and its handles share.
pub(super) struct Shared {
    state: Mutex<State>,
}

struct State {
    stop: bool,
    /// Children that have ended, and how.
    ends: VecDeque<(u64, Exit)>,
    line: WaitList,
    children: Vec<ChildStatus>,
    result: Option<Result<(), SupervisorError>>,
}

/// What a supervisor waits for.
enum News {
    Stop,
    Ended(u64, Exit),
}

impl Shared {
    pub(super) fn new(spec: &SupervisorSpec) -> Self {
        let children = spec.children.iter().map(|child| ChildStatus {
            name: child.name.to_string(),
            state: ChildState::Waiting,
            restarts: 0,
            last_failure: None,
            greenlet: None,
        });
        Self {
            state: Mutex::new(State {
                stop: false,
                ends: VecDeque::new(),
                line: WaitList::new(),
                children: children.collect(),
                result: None,
            }),
        }
    }

    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stop = true;
        state.line.wake_all();
    }

    pub(super) fn children(&self) -> Vec<ChildStatus> {
        lock(&self.state).children.clone()
    }

    /// How it ended, for one that has.
    pub(super) fn result(&self) -> Result<(), SupervisorError> {
        let result = lock(&self.state).result.clone();
        result.unwrap_or(Err(SupervisorError(Kind::Killed)))
    }

    fn note(&self, index: usize, change: impl FnOnce(&mut ChildStatus)) {
        change(&mut lock(&self.state).children[index]);
    }

    fn note_running(&self, index: usize, handle: &Handle) {
        self.note(index, |status| {
            if status.state == ChildState::Waiting {
                status.state = ChildState::Running;
                status.greenlet = Some(handle.clone());
            }
        });
    }

    #[track_caller]
    fn next(&self, limit: Deadline) -> Result<News> {
        wait_for(
            &self.state,
            |state| &mut state.line,
            Wait::Group,
            limit,
            |state| {
                if state.stop {
                    return Some(News::Stop);
                }
                state
                    .ends
                    .pop_front()
                    .map(|(id, exit)| News::Ended(id, exit))
            },
        )
    }
}

impl Club for Shared {
    fn left(&self, id: u64, exit: &Exit) {
        let mut state = lock(&self.state);
        state.ends.push_back((id, exit.clone()));
        state.line.wake_all();
    }
}

struct Supervision {
    spec: SupervisorSpec,
    shared: Arc<Shared>,
    intensity: Intensity,
    /// As in the spec.
    children: Vec<Child>,
    /// What the times of restarts count from.
    origin: Instant,
}

#[derive(Default)]
struct Child {
    greenlet: Option<Greenlet<Option<String>>>,
    /// When it was started last.
    since: Duration,
    /// When it is to be started.
    due: Option<Duration>,
    streak: Streak,
}

impl Supervision {
    fn new(spec: SupervisorSpec, shared: Arc<Shared>) -> Self {
        let children = spec.children.iter().map(|_| Child {
            due: Some(Duration::ZERO),
            ..Child::default()
        });
        Self {
            children: children.collect(),
            intensity: Intensity::new(spec.restarts_max, spec.within),
            shared,
            spec,
            origin: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    #[track_caller]
    fn run(&mut self) -> Result<(), SupervisorError> {
        let supervised = self.supervise();
        let stopped = self.stop(0..self.children.len());
        supervised.and(stopped)
    }

    #[track_caller]
    fn supervise(&mut self) -> Result<(), SupervisorError> {
        loop {
            self.start_due()?;
            if self.children.iter().all(Child::is_over) {
                return Ok(());
            }
            match self.shared.next(self.next_start()) {
                Ok(News::Stop) => return Ok(()),
                Ok(News::Ended(id, exit)) => self.see_end(id, &exit)?,
                Err(error) if error.is_own_limit() => {}
                Err(error) => return Err(SupervisorError(Kind::Interrupted(Arc::new(error)))),
            }
        }
    }

    /// When the next child is to be started.
    fn next_start(&self) -> Deadline {
        let due = self.children.iter().filter_map(|child| child.due).min();
        due.and_then(|due| self.origin.checked_add(due))
            .map_or(Deadline::NEVER, Deadline::at)
    }

    /// Starts those whose time has come, in order.
    fn start_due(&mut self) -> Result<(), SupervisorError> {
        let now = self.now();
        for index in 0..self.children.len() {
            if self.children[index].due.is_some_and(|due| due <= now) {
                self.start(index)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> Result<(), SupervisorError> {
        let spec = &self.spec.children[index];
        let run = spec.run.clone();
        let mut builder = Builder::new().name(spec.name.to_string());
        builder.panic_is_told = true;
        // Whichever comes first: a child finds itself running, and one that is killed before
        // it begins was.
        let shared = self.shared.clone();
        let gate = move || {
            shared.note_running(index, &current_handle());
            Ok(())
        };
        let greenlet = builder
            .try_spawn_behind(gate, move || run())
            .map_err(|error| {
                SupervisorError(Kind::NotStarted {
                    child: spec.name.clone(),
                    failure: error.to_string(),
                })
            })?;
        let handle = greenlet.handle();
        self.shared.note_running(index, &handle);
        let now = self.now();
        let child = &mut self.children[index];
        child.since = now;
        child.due = None;
        child.greenlet = Some(greenlet);
        handle.enrol(self.shared.clone());
        Ok(())
    }

    /// A greenlet has ended; a child, if it was not stopped before.
    fn see_end(&mut self, id: u64, exit: &Exit) -> Result<(), SupervisorError> {
        let is_it = |child: &Child| child.greenlet.as_ref().is_some_and(|g| g.id() == id);
        let Some(index) = self.children.iter().position(is_it) else {
            return Ok(());
        };
        let failure = match exit {
            Exit::Killed => Some("greenlet was killed".to_owned()),
            Exit::Panicked(text) => Some(format!("greenlet panicked: {text}")),
            Exit::Returned => {
                let greenlet = self.children[index].greenlet.take();
                // It has ended: this neither waits nor fails.
                greenlet.and_then(|greenlet| greenlet.join().ok().flatten())
            }
        };
        // With the payload of a panic, if it ended so.
        discard(self.children[index].greenlet.take());
        let starts_again = match self.spec.children[index].restart {
            Restart::Permanent => true,
            Restart::Transient => failure.is_some(),
            Restart::Temporary => false,
        };
        self.shared.note(index, |status| {
            status.state = ChildState::Finished;
            status.greenlet = None;
            if failure.is_some() {
                status.last_failure.clone_from(&failure);
            }
        });
        if let Some(failure) = &failure {
            let name = &self.spec.children[index].name;
            log::warn!("supervised child \"{name}\" failed: {failure}");
        }
        if starts_again {
            self.restart(index, failure)?;
        }
        Ok(())
    }

    /// Stops those that go with child `index`, and has all of them started later.
    fn restart(&mut self, index: usize, failure: Option<String>) -> Result<(), SupervisorError> {
        let now = self.now();
        if !self.intensity.allows(now) {
            return Err(SupervisorError(Kind::GaveUp {
                child: self.spec.children[index].name.clone(),
                failure: failure.unwrap_or_else(|| "it returned".to_owned()),
                restarts_max: self.spec.restarts_max,
                within: self.spec.within,
            }));
        }
        let child = &mut self.children[index];
        let up = now.saturating_sub(child.since);
        let delay = child.streak.fail(&self.spec.backoff, up);
        let count = self.children.len();
        let along = match self.spec.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..count,
            Strategy::RestForOne => index..count,
        };
        self.stop(along.clone())?;
        // From now: stopping may have taken its time.
        let due = self.now().saturating_add(delay);
        for index in along {
            if self.spec.children[index].restart != Restart::Temporary {
                self.children[index].due = Some(due);
                self.shared.note(index, |status| {
                    status.state = ChildState::Waiting;
                    status.restarts += 1;
                });
            }
        }
        Ok(())
    }

    /// Kills those of `range` that run and waits for them, the last one first.
    ///
    /// Nothing but their grace ends these waits: what is stopped halfway would be lost.
    fn stop(&mut self, range: Range<usize>) -> Result<(), SupervisorError> {
        let mut left = Ok(());
        for index in range.rev() {
            let child = &mut self.children[index];
            let was_due = child.due.take().is_some();
            let Some(greenlet) = child.greenlet.take() else {
                if was_due {
                    self.shared.note(index, |s| s.state = ChildState::Stopped);
                }
                continue;
            };
            let state = if self.ends_in_time(&greenlet) {
                ChildState::Stopped
            } else {
                left = left.and_then(|()| self.still_alive(index));
                ChildState::StillAlive
            };
            self.shared.note(index, |status| {
                status.state = state;
                if state == ChildState::Stopped {
                    status.greenlet = None;
                }
            });
            discard(greenlet);
        }
        left
    }

    fn still_alive(&self, index: usize) -> Result<(), SupervisorError> {
        Err(SupervisorError(Kind::StillAlive {
            child: self.spec.children[index].name.clone(),
            grace: self.spec.grace,
        }))
    }

    fn ends_in_time(&self, greenlet: &Handle) -> bool {
        shield(|| greenlet.kill_and_wait(Some(self.spec.grace))).unwrap_or(false)
    }
}

impl Child {
    /// Tells whether it does not run and will not.
    fn is_over(&self) -> bool {
        self.greenlet.is_none() && self.due.is_none()
    }
}
