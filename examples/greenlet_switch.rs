//! Two greenlets that switch to each other, as with Python's `greenlet` package.
//!
//! ```text
//! cargo run --example greenlet_switch
//! ```
//!
//! Shows: symmetric switching, and what happens at the end: test1 returns to its parent,
//! and test2, still suspended, is unwound with the hub. Its partner is `yield_switch`,
//! where the turn always goes back to the resumer.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::cell::OnceCell;
use std::error::Error;
use std::rc::Rc;

use greenloop::switch::{Greenlet, Hub};

fn main() -> Result<(), Box<dyn Error>> {
    Hub::new().run(|main| {
        // Each body names the other greenlet, so one name is filled in afterwards.
        let partner = Rc::new(OnceCell::<Greenlet<()>>::new());
        let later = partner.clone();

        let test2 = main.spawn(move |here, ()| {
            let test1 = later.get().expect("set before the first switch");
            loop {
                println!("---B--");
                test1.switch(here, ())?;
            }
        });
        let test1 = main.spawn(move |here, ()| {
            for _ in 0..5 {
                println!("---A--");
                test2.switch(here, ())?;
            }
            Ok(())
        });
        partner.set(test1.clone()).map_err(|_| "set twice")?;

        test1.switch(main, ()).map_err(|error| error.to_string())?;
        Ok(())
    })
}
