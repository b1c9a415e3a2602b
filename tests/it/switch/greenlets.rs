//! Switching greenlets: test_greenlet.py, then test_throw.py.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use greenloop::switch::{
    Builder, Generator, Greenlet, GreenletExit, Here, Hub, Passed, SetParentError, SwitchError,
    Why, pool_stats,
};

use super::{NoteDrop, Seen, count_to, panic_text};

type Body<T> = Result<T, SwitchError<T>>;

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
