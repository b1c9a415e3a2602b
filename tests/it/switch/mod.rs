//! Generators and switching greenlets.
//!
//! Greenlet's own tests (`test_greenlet.py`, `test_throw.py`, `test_generator.py`,
//! `test_generator_nested.py`) are here under their names where there is one. Where we
//! differ on purpose:
//! - switching needs a `Here`, so `switch` from a plain callback does not exist;
//! - GreenletExit arrives as `Passed::Exit`, not as an instance among the values;
//! - other threads and re-entered running greenlets are refused by type.

mod generators;
mod greenlets;
mod overflow;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use greenloop::switch::{Generator, Interrupt};

/// A list that bodies and the test share.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn note(&self, text: impl ToString) {
        self.0.borrow_mut().push(text.to_string());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Notes its own drop.
struct NoteDrop(Seen, &'static str);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

fn count_to(limit: u32) -> Generator<(), u32, Result<(), Interrupt>> {
    Generator::new(move |y, ()| {
        for i in 0..limit {
            y.yield_(i)?;
        }
        Ok(())
    })
}

fn panic_text(action: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("no panic");
    panic.downcast_ref::<&str>().expect("a literal").to_string()
}
