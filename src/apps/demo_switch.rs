//! The switch demos: two pieces of code that take turns on one OS thread.
//!
//! Here: the programs and their trace. Not here: options and standard output (`cli/`).

use std::cell::{OnceCell, RefCell};
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use crate::switch::{Builder, Greenlet, Hub, Interrupt};

/// A generator A and a plain function B that drives it, taking turns for `rounds` rounds.
///
/// B prints `----B---` and resumes A; A prints `----A---` and yields; each then waits for
/// `delay` before its next line. With `trace`, every switch is printed as
/// `  [FROM -> TO: WHY]`.
///
/// # Switching
/// Never switches the calling greenlet; `delay` blocks the OS thread.
///
/// # Errors
/// What writing to `out` gives.
///
/// # Examples
///
/// ```
/// let mut out = Vec::new();
/// greenloop::apps::demo_switch::yield_demo(&mut out, 2, std::time::Duration::ZERO, false)?;
/// assert_eq!(out, b"----B---\n----A---\n----B---\n----A---\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn yield_demo(
    out: &mut dyn Write,
    rounds: u64,
    delay: Duration,
    trace: bool,
) -> io::Result<()> {
    let screen = Screen::default();
    let a_screen = screen.clone();
    let mut a = Builder::new()
        .name("A")
        .generator(move |y, ()| -> Result<(), Interrupt> {
            loop {
                a_screen.line("----A---");
                a_screen.trace(trace, "A", "B", "yield");
                y.yield_(())?;
                pause(delay);
            }
        });
    for round in 1..=rounds {
        screen.line("----B---");
        screen.trace(trace, "B", "A", "resume");
        screen.show(out)?;
        a.next();
        screen.show(out)?;
        if round < rounds {
            pause(delay);
        }
    }
    Ok(())
}

/// Two greenlets, test1 and test2, that switch to each other for `rounds` rounds.
///
/// test1 prints `---A--`, test2 prints `---B--`. With `trace`, every switch is printed as
/// `  [FROM -> TO: WHY]`, those from and to the main greenlet included.
///
/// # Switching
/// Never switches the calling greenlet.
///
/// # Errors
/// What writing to `out` gives.
///
/// # Examples
///
/// ```
/// let mut out = Vec::new();
/// greenloop::apps::demo_switch::greenlet_demo(&mut out, 2, false)?;
/// assert_eq!(out, b"---A--\n---B--\n---A--\n---B--\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn greenlet_demo(out: &mut dyn Write, rounds: u64, trace: bool) -> io::Result<()> {
    let screen = Screen::default();
    let (screen1, screen2) = (screen.clone(), screen.clone());
    let mut hub = Hub::new();
    if trace {
        let screen = screen.clone();
        hub.set_trace(move |s| screen.trace(true, s.from, s.to, &s.why.to_string()));
    }
    hub.run(|main| {
        // Each names the other, so one name is filled in once both exist.
        let partner = Rc::new(OnceCell::<Greenlet<()>>::new());
        let test1_later = partner.clone();
        let test2 = Builder::new()
            .name("test2")
            .greenlet(main, move |here, ()| {
                while let Some(test1) = test1_later.get() {
                    screen2.line("---B--");
                    test1.switch(here, ())?;
                }
                Ok(())
            });
        let test1 = Builder::new()
            .name("test1")
            .greenlet(main, move |here, ()| {
                for round in 1..=rounds {
                    screen1.line("---A--");
                    test2.switch(here, ())?;
                    if round % ROUNDS_PER_PAGE == 0 && round < rounds {
                        here.main().switch(here, ())?;
                    }
                }
                Ok(())
            });
        partner.get_or_init(|| test1.clone());
        while !test1.is_dead() {
            test1
                .switch(main, ())
                .map_err(|error| io::Error::other(error.to_string()))?;
            screen.show(out)?;
        }
        Ok(())
    })
}

/// How often test1 lets main print: bodies cannot borrow `out`, so their lines wait on
/// the [`Screen`], and an endless run must not fill the memory.
const ROUNDS_PER_PAGE: u64 = 1000;

/// Lines on their way to the output.
#[derive(Clone, Default)]
struct Screen(Rc<RefCell<String>>);

impl Screen {
    fn line(&self, text: &str) {
        self.0.borrow_mut().extend([text, "\n"]);
    }

    fn trace(&self, on: bool, from: &str, to: &str, why: &str) {
        if on {
            self.line(&format!("  [{from} -> {to}: {why}]"));
        }
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.0.take().as_bytes())?;
        out.flush()
    }
}

fn pause(delay: Duration) {
    if !delay.is_zero() {
        #[expect(
            clippy::disallowed_methods,
            reason = "one OS thread, and nobody else on it"
        )]
        std::thread::sleep(delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(demo: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        demo(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn yield_demo_alternates_b_and_a() {
        let out = text(|out| yield_demo(out, 5, Duration::ZERO, false));
        assert_eq!(out, "----B---\n----A---\n".repeat(5));
    }

    #[test]
    fn yield_demo_waits_between_rounds_but_not_after_the_last() {
        let begin = std::time::Instant::now();
        text(|out| yield_demo(out, 2, Duration::from_millis(20), false));
        assert!(begin.elapsed() >= Duration::from_millis(40));
    }

    #[test]
    fn greenlet_demo_alternates_and_prints_in_pages() {
        assert_eq!(
            text(|out| greenlet_demo(out, 2500, false)),
            "---A--\n---B--\n".repeat(2500)
        );
        assert_eq!(text(|out| greenlet_demo(out, 0, false)), "");
    }

    #[test]
    fn trace_shows_every_switch() {
        let out = text(|out| yield_demo(out, 1, Duration::ZERO, true));
        assert_eq!(
            out,
            "----B---\n  [B -> A: resume]\n----A---\n  [A -> B: yield]\n"
        );
        let out = text(|out| greenlet_demo(out, 1, true));
        assert_eq!(
            out,
            "  [main -> test1: switch]\n---A--\n  [test1 -> test2: switch]\n---B--\n  \
             [test2 -> test1: switch]\n  [test1 -> main: return]\n"
        );
    }

    #[test]
    fn a_failing_writer_ends_the_demos() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = yield_demo(&mut Full, 9, Duration::ZERO, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let error = greenlet_demo(&mut Full, 9, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
