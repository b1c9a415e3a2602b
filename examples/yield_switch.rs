//! A generator and the function that drives it take turns, as with Python's `yield`.
//!
//! ```text
//! cargo run --example yield_switch
//! ```
//!
//! Shows: a body that yields and keeps its place, driven as an iterator. Its partner is
//! `greenlet_switch`, where both sides say where to go next.
#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::switch::{Generator, Interrupt, Yielder};

/// Prints, then gives the turn back; goes on here when it is resumed.
fn a(y: &Yielder<'_, (), ()>) -> Result<(), Interrupt> {
    loop {
        println!("----A---");
        y.yield_(())?;
    }
}

/// Prints, then gives A a turn.
fn b(mut a: impl Iterator<Item = ()>) {
    for _ in 0..5 {
        println!("----B---");
        a.next();
    }
}

fn main() -> greenloop::Result<()> {
    b(Generator::new(|y, ()| a(y)));
    Ok(())
}
