//! Generators and switching greenlets.
//!
//! `generator_*` are ours; `greenlet_*` carry the names of greenlet's own tests
//! (`test_greenlet.py`, `test_throw.py`, `test_generator.py`, `test_generator_nested.py`)
//! where there is one. Where we differ on purpose:
//! - switching needs a `Here`, so `switch` from a plain callback does not exist;
//! - GreenletExit arrives as `Passed::Exit`, not as an instance among the values;
//! - other threads and re-entered running greenlets are refused by type.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;

use greenloop::switch::{
    Builder, Generator, Greenlet, GreenletExit, Here, Hub, Interrupt, Passed, SetParentError, Step,
    SwitchError, Why, Yielder, pool_stats,
};

type Body<T> = Result<T, SwitchError<T>>;

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

// ---- generators ----

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

// ---- test_greenlet.py ----

/// The ping-pong of case A86: order 0 to 4.
#[test]
fn greenlet_test_simple() {
    let seen = Seen::default();
    let noted = seen.clone();
    Hub::new().run(|main| {
        let child = main.spawn(move |here, ()| {
            noted.note(1);
            here.main().switch(here, ())?;
            noted.note(3);
            Ok(())
        });
        seen.note(0);
        child.switch(main, ()).unwrap();
        seen.note(2);
        child.switch(main, ()).unwrap();
        seen.note(4);
    });
    assert_eq!(seen.take(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn greenlet_test_two_children() {
    let seen = Seen::default();
    Hub::new().run(|main| {
        let child = |seen: Seen| {
            main.spawn(move |here, ()| {
                seen.note("in");
                here.current().unwrap().parent().unwrap().switch(here, ())?;
                seen.note("again");
                Ok(())
            })
        };
        let (g1, g2) = (child(seen.clone()), child(seen.clone()));
        for greenlet in [&g1, &g2, &g1, &g2] {
            greenlet.switch(main, ()).unwrap();
        }
        assert!(g1.is_dead() && g2.is_dead());
    });
    assert_eq!(seen.take(), ["in", "in", "again", "again"]);
}

#[test]
fn greenlet_values_go_around() {
    Hub::new().run(|main| {
        let adder = main.spawn(|here, mut n: u32| {
            for _ in 0..3 {
                n = here.main().switch(here, n + 1)?.value().unwrap();
            }
            Ok(n + 1000)
        });
        let answers = [1, 10, 100, 5].map(|n| adder.switch(main, n).unwrap());
        assert_eq!(answers, [2, 11, 101, 1005].map(Passed::Value));
        // Dead: the switch goes to the parent, which is the caller itself.
        assert_eq!(adder.switch(main, 6).unwrap(), Passed::Value(6));
    });
}

#[test]
fn greenlet_switch_to_itself_returns_the_value() {
    Hub::new().run(|main| {
        assert_eq!(main.main().switch(main, 3).unwrap(), Passed::Value(3));
        let own = main.spawn(|here, n: u32| {
            let me = here.current().unwrap();
            Ok(me.switch(here, n + 1)?.value().unwrap() + 1)
        });
        assert_eq!(own.switch(main, 1).unwrap(), Passed::Value(3));
    });
}

/// test_dealloc: the last handle goes, the destructors run.
#[test]
fn greenlet_test_dealloc() {
    let seen = Seen::default();
    let noted = seen.clone();
    Hub::new().run(|main| {
        let body = move |here: &Here<'_, ()>, ()| -> Body<()> {
            let _guard = NoteDrop(noted.clone(), "dropped");
            here.main().switch(here, ())?;
            noted.note("never");
            Ok(())
        };
        let (g1, g2) = (main.spawn(body.clone()), main.spawn(body));
        g1.switch(main, ()).unwrap();
        g2.switch(main, ()).unwrap();
        drop(g1);
        assert_eq!(seen.take(), ["dropped"]);
        drop(g2);
        assert_eq!(seen.take(), ["dropped"]);
    });
}

/// Handles in a circle would leak; the hub's end unwinds them.
#[test]
fn greenlet_hub_drop_unwinds_circles() {
    let seen = Seen::default();
    let mut hub = Hub::new();
    hub.run(|main| {
        let own = Rc::new(OnceCell::<Greenlet<()>>::new());
        let (later, noted) = (own.clone(), seen.clone());
        let greenlet = main.spawn(move |here, ()| {
            let _guard = NoteDrop(noted, "dropped");
            let me = later.get().unwrap();
            assert!(!me.is_dead() && me.is_started());
            here.main().switch(here, ()).map(drop)
        });
        own.set(greenlet.clone()).unwrap();
        greenlet.switch(main, ()).unwrap();
    });
    assert!(seen.take().is_empty());
    drop(hub);
    assert_eq!(seen.take(), ["dropped"]);
}

#[test]
fn greenlet_dropped_refuses_to_switch_and_has_no_current() {
    struct SwitchInDrop<'a, 'b>(&'a Here<'b, ()>, Seen);
    impl Drop for SwitchInDrop<'_, '_> {
        fn drop(&mut self) {
            self.1.note(self.0.current().is_none());
            let error = self.0.main().switch(self.0, ()).unwrap_err();
            self.1.note(error.is_unwinding());
        }
    }
    let seen = Seen::default();
    let noted = seen.clone();
    Hub::new().run(|main| {
        let greenlet = main.spawn(move |here, ()| {
            let _guard = SwitchInDrop(here, noted);
            here.main().switch(here, ()).map(drop)
        });
        greenlet.switch(main, ()).unwrap();
        drop(greenlet);
    });
    assert_eq!(seen.take(), ["true", "true"]);
}

/// test_parent_return: a finished one returns to the parent it has then.
#[test]
fn greenlet_test_parent_return() {
    Hub::new().run(|main| {
        let middle = main.spawn(|_, n: u32| Ok(n * 2));
        let leaf = main.spawn(|_, n: u32| Ok(n + 1));
        leaf.set_parent(&middle).unwrap();
        assert_eq!(leaf.parent(), Some(middle.clone()));
        assert_eq!(leaf.switch(main, 4).unwrap(), Passed::Value(10));
        assert!(leaf.is_dead() && middle.is_dead());
        // A chain of dead ones ends at main.
        assert_eq!(leaf.switch(main, 1).unwrap(), Passed::Value(1));
    });
}

/// TestGreenletSetParentErrors
#[test]
fn greenlet_test_set_parent_errors() {
    Hub::new().run(|main| {
        let a = main.spawn(|_, ()| Ok(()));
        let b = main.spawn(|_, ()| Ok(()));
        b.set_parent(&a).unwrap();
        assert_eq!(a.set_parent(&b), Err(SetParentError::Cycle));
        assert_eq!(a.set_parent(&a), Err(SetParentError::Cycle));
        assert_eq!(main.main().set_parent(&a), Err(SetParentError::Main));
        Hub::new()
            .run(|other| assert_eq!(a.set_parent(&other.main()), Err(SetParentError::ForeignHub)));
        assert_eq!(a.parent(), Some(main.main()));
        assert_eq!(main.main().parent(), None);
    });
}

/// test_threads and test_switch_to_another_thread, for hubs.
#[test]
fn greenlet_switch_across_hubs_is_an_error_with_the_value() {
    Hub::new().run(|main| {
        let ours = main.spawn(|_, text: String| Ok(text));
        Hub::new().run(|other| {
            let error = ours.switch(other, String::from("kept")).unwrap_err();
            assert!(error.is_foreign_hub());
            assert_eq!(error.into_value().as_deref(), Some("kept"));
            assert!(
                ours.throw(other, GreenletExit)
                    .unwrap_err()
                    .is_foreign_hub()
            );
        });
        assert!(!ours.is_started());
        assert_eq!(
            ours.switch(main, String::from("now")).unwrap(),
            Passed::Value("now".into())
        );
    });
}

#[test]
fn greenlet_hubs_nest() {
    Hub::new().run(|main| {
        let outer = main.spawn(|here, n: u32| {
            let inner = Hub::new().run(|main| {
                let inner = main.spawn(|_, text: &'static str| Ok(text));
                inner.switch(main, "inner").unwrap().value().unwrap().len()
            });
            Ok(here.main().switch(here, n + inner as u32)?.value().unwrap())
        });
        assert_eq!(outer.switch(main, 1).unwrap(), Passed::Value(6));
    });
}

#[test]
fn greenlet_inside_a_generator_and_a_generator_inside_a_greenlet() {
    let outer = Generator::new(|y, ()| {
        let mut hub = Hub::new();
        hub.run(|main| {
            let worker = main.spawn(|here, mut n: u32| {
                for i in count_to(3) {
                    n = here.main().switch(here, n + i)?.value().unwrap();
                }
                Ok(n)
            });
            while let Ok(Passed::Value(n)) = worker.switch(main, 10) {
                y.yield_(n)?;
                if worker.is_dead() {
                    break;
                }
            }
            Ok(())
        })
    });
    assert_eq!(outer.collect::<Vec<_>>(), [10, 11, 12, 10]);
}

#[test]
fn greenlet_panic_reaches_the_parent() {
    Hub::new().run(|main| {
        let bad = main.spawn(|_, ()| -> Body<()> { panic!("oops") });
        assert_eq!(panic_text(|| drop(bad.switch(main, ()))), "oops");
        assert!(bad.is_dead());

        // The parent is a greenlet here, and survives by catching.
        let parent = main.spawn(|here, ()| {
            let child = here.spawn(|_, ()| -> Body<()> { panic!("child") });
            assert_eq!(panic_text(|| drop(child.switch(here, ()))), "child");
            Ok(())
        });
        parent.switch(main, ()).unwrap();
    });
}

#[test]
fn greenlet_trace_sees_every_switch_and_why() {
    let seen = Seen::default();
    let noted = seen.clone();
    let mut hub = Hub::new();
    hub.set_trace(move |s| noted.note(format!("{}>{} {}", s.from, s.to, s.why)));
    hub.run(|main| {
        let named = |name: &str| Builder::new().name(name);
        let a = named("a").greenlet(main, |here, ()| here.main().switch(here, ()).map(drop));
        let b = named("b").greenlet(main, |_, ()| Ok(()));
        a.switch(main, ()).unwrap();
        a.throw(main, GreenletExit).unwrap();
        b.throw(main, "no").unwrap_err();
        let c = named("c").greenlet(main, |_, ()| Err(SwitchError::new("bad")));
        c.switch(main, ()).unwrap_err();
    });
    let expected = [
        "main>a switch",
        "a>main switch",
        "main>a throw",
        "a>main exit",
        "main>b throw",
        "b>main dead",
        "main>c switch",
        "c>main raise",
    ];
    assert_eq!(seen.take(), expected);
    assert_eq!(Why::Return.to_string(), "return");
}

#[test]
fn greenlet_a_million_switches_need_one_stack_each() {
    const BYTES: usize = 1104 * 1024; // no other test uses this size
    let turns = Rc::new(Cell::new(0_u32));
    Hub::new().run(|main| {
        let ring: Rc<OnceCell<Vec<Greenlet<()>>>> = Rc::default();
        let make = |index: usize| {
            let (ring, turns) = (ring.clone(), turns.clone());
            Builder::new()
                .stack_bytes(BYTES)
                .greenlet(main, move |here, ()| {
                    loop {
                        turns.set(turns.get() + 1);
                        if turns.get() == 1_000_000 {
                            return Ok(());
                        }
                        ring.get().unwrap()[(index + 1) % 10].switch(here, ())?;
                    }
                })
        };
        ring.set((0..10).map(make).collect()).unwrap();
        ring.get().unwrap()[0].switch(main, ()).unwrap();
    });
    assert_eq!(turns.get(), 1_000_000);
    assert_eq!(
        (pool_stats(BYTES).mapped_total, pool_stats(BYTES).idle),
        (10, 10)
    );
}

// ---- test_throw.py ----

#[test]
fn greenlet_test_class_thrown_is_caught_in_the_body() {
    Hub::new().run(|main| {
        let catcher = main.spawn(|here, _: String| {
            let error = here.main().switch(here, "ready".into()).unwrap_err();
            Ok(format!("caught {error}"))
        });
        assert_eq!(
            catcher.switch(main, "".into()).unwrap(),
            Passed::Value("ready".into())
        );
        assert_eq!(
            catcher.throw(main, "ciao").unwrap(),
            Passed::Value("caught ciao".into())
        );
    });
}

/// test_val: uncaught, it reaches the parent, as the same error.
#[test]
fn greenlet_test_val() {
    Hub::new().run(|main| {
        let lets_out = main.spawn(|here, ()| here.main().switch(here, ()).map(drop));
        lets_out.switch(main, ()).unwrap();
        let error = lets_out
            .throw(main, std::io::Error::other("ciao"))
            .unwrap_err();
        assert!(error.thrown().unwrap().is::<std::io::Error>());
        assert_eq!(error.to_string(), "ciao");
        assert!(lets_out.is_dead());
    });
}

/// test_kill: GreenletExit is returned, not raised.
#[test]
fn greenlet_test_kill() {
    Hub::new().run(|main| {
        let forever = main.spawn(|here, ()| {
            loop {
                here.main().switch(here, ())?;
            }
        });
        forever.switch(main, ()).unwrap();
        assert_eq!(forever.throw(main, GreenletExit).unwrap(), Passed::Exit);
        assert!(forever.is_dead());
        // On a dead one as well.
        assert_eq!(forever.throw(main, GreenletExit).unwrap(), Passed::Exit);
        assert_eq!(forever.throw(main, "late").unwrap_err().to_string(), "late");
    });
}

/// test_throw_goes_to_original_parent, for one that has not started.
#[test]
fn greenlet_test_throw_goes_to_original_parent() {
    let seen = Seen::default();
    let noted = seen.clone();
    Hub::new().run(|main| {
        let parent = main.spawn(move |here, ()| {
            let error = here.main().switch(here, ()).unwrap_err();
            noted.note(format!("parent got {error}"));
            Ok(())
        });
        let child = main.spawn(|_, ()| -> Body<()> { panic!("ran") });
        child.set_parent(&parent).unwrap();
        parent.switch(main, ()).unwrap();
        child.throw(main, "early").unwrap();
        assert!(child.is_dead() && parent.is_dead());
        // Both dead now: the throw comes back to main.
        assert_eq!(child.throw(main, "late").unwrap_err().to_string(), "late");
    });
    assert_eq!(seen.take(), ["parent got early"]);
}

// ---- stack overflow, in a child process ----

fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 32]);
    if depth == 0 {
        0
    } else {
        recurse(depth - 1) + frame[5]
    }
}

/// Runs one test of this binary again, as a child; returns its last line on stderr and
/// the signal that ended it.
fn run_as_child(test: &str) -> (String, Option<i32>) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    (
        stderr.lines().last().unwrap_or_default().to_owned(),
        output.status.signal(),
    )
}

const CHILD: &str = "GREENLOOP_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn overflow_of_a_generator_is_said() {
    if is_child() {
        let mut deep: Generator<u64, (), u64> = Builder::new()
            .stack_bytes(64 * 1024)
            .generator(|_, depth| recurse(depth));
        let _ = deep.send(u64::MAX);
    }
    let (line, signal) = run_as_child("switch::overflow_of_a_generator_is_said");
    let expected = "generator overflowed its 64 KiB stack; \
                    give it more with switch::Builder::stack_bytes";
    assert_eq!((line.as_str(), signal), (expected, Some(6)));
}

#[test]
fn overflow_of_a_greenlet_is_said_with_its_name() {
    if is_child() {
        Hub::new().run(|main| {
            let others: Vec<_> = (0..300).map(|_| main.spawn(|_, n| Ok(n))).collect();
            let builder = Builder::new().name("digger").stack_bytes(128 * 1024);
            let deep = builder.greenlet(main, |_, depth| Ok(recurse(depth)));
            let _ = deep.switch(main, u64::MAX);
            drop(others);
        });
    }
    let (line, signal) = run_as_child("switch::overflow_of_a_greenlet_is_said_with_its_name");
    let expected = "greenlet \"digger\" overflowed its 128 KiB stack; \
                    give it more with switch::Builder::stack_bytes";
    assert_eq!((line.as_str(), signal), (expected, Some(6)));
}

/// A thread's own overflow is none of our business: std's report comes through.
#[test]
fn overflow_of_a_thread_keeps_the_report_of_std() {
    if is_child() {
        count_to(1).next();
        std::hint::black_box(recurse(u64::MAX));
    }
    let (_, signal) = run_as_child("switch::overflow_of_a_thread_keeps_the_report_of_std");
    assert_eq!(signal, Some(6)); // std aborts after its report; a bare fault would be 11
}
