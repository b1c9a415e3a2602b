//! Generators; at the end those of greenlet's test_generator.py and
//! test_generator_nested.py.

use greenloop::switch::{Builder, Generator, Interrupt, Step, Yielder, pool_stats};

use super::{NoteDrop, Seen, count_to, panic_text};

#[test]
fn generator_iterates_and_stays_finished() {
    let mut numbers = count_to(3);
    assert!(!numbers.is_started() && !numbers.is_finished());
    assert_eq!(numbers.by_ref().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(numbers.is_finished());
    assert_eq!(numbers.next(), None);
    assert_eq!(format!("{numbers:?}"), "Generator(finished)");
}

#[test]
fn generator_passes_values_both_ways() {
    let mut echo = Generator::new(|y, mut value: String| {
        for _ in 0..2 {
            value = y.yield_(format!("<{value}>"))?;
        }
        Ok::<_, Interrupt>(value.len())
    });
    assert!(matches!(echo.send("a".into()), Ok(Step::Yield(text)) if text == "<a>"));
    assert!(matches!(echo.send("b".into()), Ok(Step::Yield(text)) if text == "<b>"));
    assert!(matches!(echo.send("four".into()), Ok(Step::Return(Ok(4)))));
}

#[test]
fn generator_resumed_after_its_end_hands_the_value_back() {
    let mut once: Generator<String, (), ()> = Generator::new(|_, _| ());
    once.send(String::new()).unwrap();
    let error = once.send(String::from("kept")).unwrap_err();
    assert!(error.is_finished());
    assert_eq!(error.into_value(), "kept");
    let error = once.throw("also kept").unwrap_err();
    assert_eq!(error.into_value().to_string(), "also kept");
    assert!(once.close().unwrap().is_none());
}

#[test]
fn generator_body_catches_what_is_thrown() {
    let mut body = Generator::new(|y, ()| {
        let mut caught = Vec::new();
        while caught.len() < 2 {
            if let Err(interrupt) = y.yield_(caught.len()) {
                caught.push(interrupt.into_thrown().unwrap().to_string());
            }
        }
        caught
    });
    body.send(()).unwrap();
    assert_eq!(body.throw("one").unwrap(), Step::Yield(1));
    assert_eq!(body.send(()).unwrap(), Step::Yield(1));
    assert_eq!(
        body.throw("two").unwrap(),
        Step::Return(vec!["one".into(), "two".into()])
    );
}

#[test]
fn generator_thrown_at_before_its_start_never_runs() {
    let mut body: Generator<(), (), ()> = Generator::new(|_, ()| panic!("ran"));
    let error = body.throw("early").unwrap_err();
    assert!(error.is_finished() && body.is_finished());
    assert_eq!(error.into_value().to_string(), "early");
}

#[test]
fn generator_close_runs_destructors_and_returns_the_result() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut body = Generator::new(move |y, ()| {
        let _guard = NoteDrop(noted.clone(), "dropped");
        let interrupt = y.yield_(()).unwrap_err();
        noted.note(interrupt.is_close());
        7
    });
    body.next_step();
    assert_eq!(body.close().unwrap(), Some(7));
    assert_eq!(seen.take(), ["true", "dropped"]);
    assert!(body.is_finished());
}

#[test]
fn generator_that_ignores_close_is_unwound() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut body = Generator::new(move |y, ()| {
        let _guard = NoteDrop(noted, "dropped");
        let _ = y.yield_(1);
        let _ = y.yield_(2);
        unreachable!("unwound from the second yield");
    });
    body.next_step();
    assert_eq!(body.close().unwrap_err().into_value(), 2);
    assert_eq!(seen.take(), ["dropped"]);
}

#[test]
fn generator_dropped_while_suspended_runs_destructors_at_every_depth() {
    fn deep(y: &Yielder<'_, (), ()>, seen: &Seen, depth: u32) -> Result<(), Interrupt> {
        let _guard = NoteDrop(seen.clone(), "frame");
        if depth == 0 {
            y.yield_(())
        } else {
            deep(y, seen, depth - 1)
        }
    }
    let seen = Seen::default();
    let noted = seen.clone();
    let mut body = Generator::new(move |y, ()| {
        deep(y, &noted, 3).unwrap();
        noted.note("never");
    });
    body.next_step();
    drop(body);
    assert_eq!(seen.take(), ["frame"; 4]);
}

#[test]
fn generator_dropped_unstarted_drops_what_it_captured() {
    let seen = Seen::default();
    let guard = NoteDrop(seen.clone(), "captured");
    drop(Generator::<(), (), ()>::new(move |_, ()| drop(guard)));
    assert_eq!(seen.take(), ["captured"]);
}

#[test]
fn generator_refuses_to_switch_while_unwinding() {
    struct YieldInDrop<'a, 'b>(&'a Yielder<'b, (), ()>, Seen);
    impl Drop for YieldInDrop<'_, '_> {
        fn drop(&mut self) {
            self.1.note(self.0.yield_(()).unwrap_err().is_unwinding());
        }
    }
    let seen = Seen::default();
    let noted = seen.clone();
    let mut body = Generator::new(move |y, ()| {
        let _guard = YieldInDrop(y, noted);
        let _ = y.yield_(());
    });
    body.next_step();
    drop(body);
    assert_eq!(seen.take(), ["true"]);

    struct ResumeInDrop(Generator<(), u32, Result<(), Interrupt>>, Seen);
    impl Drop for ResumeInDrop {
        fn drop(&mut self) {
            let error = self.0.send(()).unwrap_err();
            self.1.note(error.is_finished());
        }
    }
    let guard = ResumeInDrop(count_to(2), seen.clone());
    assert_eq!(
        panic_text(move || {
            let _guard = guard;
            panic!("outer")
        }),
        "outer"
    );
    assert_eq!(seen.take(), ["false"]);
}

#[test]
fn generator_panic_passes_through_nested_ones_to_the_resumer() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut outer = Generator::new(move |y, ()| -> Result<(), Interrupt> {
        let _guard = NoteDrop(noted.clone(), "outer");
        y.yield_(0)?;
        let inner = Generator::new(move |y, ()| -> Result<(), Interrupt> {
            let _guard = NoteDrop(noted, "inner");
            y.yield_(1)?;
            panic!("inner boom")
        });
        y.yield_from(inner, ())?
    });
    assert_eq!(outer.by_ref().take(2).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(
        panic_text(|| {
            outer.next();
        }),
        "inner boom"
    );
    assert_eq!(seen.take(), ["inner", "outer"]);
    assert!(outer.is_finished() && outer.next().is_none());
    assert!(!std::thread::panicking());
}

#[test]
fn generator_yield_from_passes_values_throws_and_closes_inwards() {
    fn outer(seen: &Seen) -> Generator<u32, u32, Result<u32, Interrupt>> {
        let seen = seen.clone();
        Generator::new(move |y, first| {
            let inner = Generator::new(move |y: &Yielder<'_, u32, u32>, mut value| {
                let _guard = NoteDrop(seen.clone(), "inner dropped");
                loop {
                    match y.yield_(value * 10) {
                        Ok(0) => return 99,
                        Ok(next) => value = next,
                        Err(interrupt) if interrupt.is_close() => return 0,
                        Err(interrupt) => seen.note(interrupt),
                    }
                }
            });
            y.yield_from(inner, first)
        })
    }
    let seen = Seen::default();
    let mut body = outer(&seen);
    assert!(matches!(body.send(1), Ok(Step::Yield(10))));
    assert!(matches!(body.send(2), Ok(Step::Yield(20))));
    assert!(matches!(body.throw("thrown"), Ok(Step::Yield(20))));
    assert!(matches!(body.send(0), Ok(Step::Return(Ok(99)))));
    assert_eq!(seen.take(), ["thrown", "inner dropped"]);

    let mut body = outer(&seen);
    body.send(1).unwrap();
    assert!(body.close().unwrap().unwrap().unwrap_err().is_close());
    assert_eq!(seen.take(), ["inner dropped"]);
}

#[test]
fn generators_100_000_times_live_in_one_pooled_stack() {
    const BYTES: usize = 1100 * 1024; // no other test uses this size
    for i in 0..100_000_u32 {
        let mut body = Builder::new()
            .stack_bytes(BYTES)
            .generator(move |y, ()| y.yield_(i));
        assert!(matches!(body.send(()), Ok(Step::Yield(n)) if n == i));
        if i % 2 == 0 {
            body.send(()).unwrap().assert_returned();
        } else {
            body.close().unwrap();
        }
    }
    let stats = pool_stats(BYTES);
    assert_eq!((stats.mapped_total, stats.idle), (1, 1));
}

trait Steps {
    fn next_step(&mut self);
}

impl<Y, R> Steps for Generator<(), Y, R> {
    fn next_step(&mut self) {
        assert!(matches!(self.send(()), Ok(Step::Yield(_))));
    }
}

trait Returned {
    fn assert_returned(self);
}

impl<Y, R> Returned for Step<Y, R> {
    fn assert_returned(self) {
        assert!(matches!(self, Self::Return(_)));
    }
}

// ---- test_generator.py, test_generator_nested.py ----

/// test_generator: a list of two numbers each, as generators in generators see them.
#[test]
fn greenlet_test_generator() {
    let pairs = Generator::new(|y, ()| {
        for i in 0..5 {
            for _ in 0..2 {
                y.yield_(i)?;
            }
        }
        Ok(())
    });
    assert_eq!(pairs.collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
}

/// test_generator_nested: two of them in step.
#[test]
fn greenlet_test_genlet_simple() {
    let mut list = Vec::new();
    let (mut a, mut b) = (count_to(3), count_to(3));
    while let (Some(x), Some(y)) = (a.next(), b.next()) {
        list.extend([x, y]);
    }
    assert_eq!(list, [0, 0, 1, 1, 2, 2]);
}

/// test_permutations: a generator that makes generators, recursively.
#[test]
fn greenlet_test_permutations() {
    fn permutations(items: Vec<u8>) -> Generator<(), Vec<u8>, Result<(), Interrupt>> {
        Generator::new(move |y, ()| {
            let Some((first, rest)) = items.split_first() else {
                return y.yield_(Vec::new());
            };
            for tail in permutations(rest.to_vec()) {
                for at in 0..=tail.len() {
                    let mut next = tail.clone();
                    next.insert(at, *first);
                    y.yield_(next)?;
                }
            }
            Ok(())
        })
    }
    let mut all: Vec<_> = permutations(vec![1, 2, 3, 4]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 24);
}
