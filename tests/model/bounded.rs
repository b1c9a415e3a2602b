//! A scheduler that tries every order without a preemption, then with one, and so on.
//!
//! Nearly all mistakes need few (Musuvathi and Qadeer, "Iterative context bounding", 2007),
//! and their number bounds the orders: threads that run on until they wait are free.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

pub(crate) struct Bounded {
    /// How many are allowed now, and at last.
    preemptions_max: usize,
    preemptions_end: usize,
    orders_max: usize,
    orders: usize,
    preemptions: usize,
    /// For each step how many choices there were, and which is taken in this order.
    choices: Vec<(usize, usize)>,
    step: usize,
}

impl Bounded {
    pub(crate) fn new(preemptions_end: usize, orders_max: usize) -> Self {
        Self {
            preemptions_max: 0,
            preemptions_end,
            orders_max,
            orders: 0,
            preemptions: 0,
            choices: Vec::new(),
            step: 0,
        }
    }

    /// Takes the next choice at the last step that has one, or allows one preemption more
    /// and starts again; false if all were tried.
    fn advance(&mut self) -> bool {
        while let Some((count, taken)) = self.choices.pop() {
            if taken + 1 < count {
                self.choices.push((count, taken + 1));
                return true;
            }
        }
        self.preemptions_max += 1;
        self.preemptions_max <= self.preemptions_end
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.orders == self.orders_max || self.orders > 0 && !self.advance() {
            return None;
        }
        self.orders += 1;
        self.preemptions = 0;
        self.step = 0;
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let goes_on = runnable
            .iter()
            .position(|task| Some(task.id()) == current)
            .filter(|_| !is_yielding || runnable.len() == 1);
        // Going on comes first, so that the first order has no preemption.
        let mut choices: Vec<_> = (0..runnable.len()).collect();
        match goes_on {
            Some(own) if self.preemptions == self.preemptions_max => choices = vec![own],
            Some(own) => choices.swap(0, own),
            // Who yields lets another go first.
            None if runnable.len() > 1 => {
                choices.retain(|&task| Some(runnable[task].id()) != current);
            }
            None => {}
        }
        if self.step == self.choices.len() {
            self.choices.push((choices.len(), 0));
        }
        let (count, taken) = self.choices[self.step];
        assert_eq!(
            count,
            choices.len(),
            "a model does the same in the same order"
        );
        self.step += 1;
        let next = choices[taken];
        self.preemptions += usize::from(goes_on.is_some_and(|own| own != next));
        Some(runnable[next].id())
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("models do not roll dice")
    }
}
