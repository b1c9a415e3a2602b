//! What a switch costs, beside its floor in the same run.
//!
//! `cargo bench --bench switch` (`-- --quick` for a short run that only proves it works).
//! One OS thread, no runtime. Each figure is the best of several rounds: on a shared
//! machine the least disturbed round is the one that tells the cost.
//!
//! Not counted: what bodies do (a wrapping addition), cold caches, the first mapping of a
//! pooled stack.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::cell::OnceCell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use greenloop::switch::{Builder, Generator, Greenlet, Hub, Step, Yielder};

/// The stack of the creation benches.
const STACK_BYTES: usize = 64 * 1024;

fn main() {
    // Unknown arguments are cargo's own, such as `--bench`.
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, switches, creations) = if quick {
        (2, 10_000, 500)
    } else {
        (15, 2_000_000, 20_000)
    };

    println!(
        "{:<40} {:>8} {:<4} {:>14}",
        "name", "value", "unit", "ratio to floor"
    );
    compare(
        rounds,
        &mut [
            ("raw corosensei resume+suspend", &mut || {
                raw_resume(switches)
            }),
            ("generator send+yield_", &mut || generator_send(switches)),
            ("generator as iterator", &mut || generator_iterate(switches)),
            ("greenlet symmetric switch", &mut || {
                greenlet_switch(switches)
            }),
        ],
    );
    let mut round = 0;
    compare(
        rounds,
        &mut [
            ("raw create+run+drop, stack reused", &mut || {
                raw_create_reused(creations)
            }),
            ("generator create+run+drop, pooled stack", &mut || {
                create_pooled(creations)
            }),
            ("greenlet create+run+drop, pooled stack", &mut || {
                greenlet_create(creations)
            }),
            ("raw create+run+drop, fresh stack", &mut || {
                raw_create_fresh(creations)
            }),
            ("generator create+run, fresh stack", &mut || {
                round += 1;
                create_fresh(creations, round)
            }),
        ],
    );
}

/// What is compared: a name and a function that returns the cost of one operation.
type Bench<'a> = (&'a str, &'a mut dyn FnMut() -> f64);

/// Runs all of them in each round, so that a slow phase of the machine meets all alike;
/// prints the lowest result of each and its ratio to that of the first, the floor.
fn compare(rounds: usize, benches: &mut [Bench<'_>]) {
    let mut costs = vec![f64::INFINITY; benches.len()];
    for _ in 0..rounds {
        for (cost, (_, run)) in costs.iter_mut().zip(benches.iter_mut()) {
            *cost = cost.min(run());
        }
    }
    for (cost, (name, _)) in costs.iter().zip(benches) {
        println!(
            "{name:<40} {cost:>8.1} {:<4} {:>13.2}x",
            "ns",
            cost / costs[0]
        );
    }
}

fn each(total: Duration, count: u64) -> f64 {
    total.as_secs_f64() * 1e9 / count as f64
}

fn raw_resume(count: u64) -> f64 {
    let mut coroutine = Coroutine::<u64, u64, ()>::new(|y, mut i| {
        loop {
            i = y.suspend(i.wrapping_add(1));
        }
    });
    let begin = Instant::now();
    let mut value = 0;
    for _ in 0..count {
        match coroutine.resume(value) {
            CoroutineResult::Yield(next) => value = next,
            CoroutineResult::Return(()) => break,
        }
    }
    black_box(value);
    each(begin.elapsed(), count)
}

fn generator_send(count: u64) -> f64 {
    let mut generator = Generator::<u64, u64, ()>::new(|y, mut i| {
        while let Ok(next) = y.yield_(i.wrapping_add(1)) {
            i = next;
        }
    });
    let begin = Instant::now();
    let mut value = 0;
    for _ in 0..count {
        match generator.send(value) {
            Ok(Step::Yield(next)) => value = next,
            _ => break,
        }
    }
    black_box(value);
    each(begin.elapsed(), count)
}

fn generator_iterate(count: u64) -> f64 {
    let generator = Generator::new(|y, ()| {
        for i in 0_u64.. {
            y.yield_(i)?;
        }
        Ok(())
    });
    let begin = Instant::now();
    black_box(generator.take(count as usize).fold(0, u64::wrapping_add));
    each(begin.elapsed(), count)
}

/// Two greenlets that switch to each other; the cost of one switch, not of the pair.
///
/// Beyond the raw resume+suspend pair it pays for: the loop between two resumes, a
/// reference count taken and given back, the target's hub, state and parent looked at,
/// and the moves of value and target through the suspend.
fn greenlet_switch(count: u64) -> f64 {
    Hub::new().run(|main| {
        let ping_later = Rc::new(OnceCell::<Greenlet<u64>>::new());
        let later = ping_later.clone();
        let pong = main.spawn(move |here, mut i| {
            let ping = later.get().expect("set before the first switch");
            loop {
                i = ping.switch(here, i.wrapping_add(1))?.value().unwrap_or(0);
            }
        });
        let ping = main.spawn(move |here, mut i| {
            for _ in 0..count / 2 {
                i = pong.switch(here, i.wrapping_add(1))?.value().unwrap_or(0);
            }
            Ok(i)
        });
        ping_later.set(ping.clone()).expect("set once");
        let begin = Instant::now();
        black_box(ping.switch(main, 0).expect("nothing throws"));
        each(begin.elapsed(), count)
    })
}

fn raw_create_reused(count: u64) -> f64 {
    let mut stack = DefaultStack::new(STACK_BYTES).expect("one stack");
    let begin = Instant::now();
    for i in 0..count {
        let mut coroutine = Coroutine::<(), (), u64, _>::with_stack(stack, move |_, ()| i);
        black_box(coroutine.resume(()));
        stack = coroutine.into_stack();
    }
    each(begin.elapsed(), count)
}

fn raw_create_fresh(count: u64) -> f64 {
    let begin = Instant::now();
    for i in 0..count {
        let stack = DefaultStack::new(STACK_BYTES).expect("one stack");
        black_box(Coroutine::<(), (), u64, _>::with_stack(stack, move |_, ()| i).resume(()));
    }
    each(begin.elapsed(), count)
}

fn create_pooled(count: u64) -> f64 {
    let begin = Instant::now();
    for i in 0..count {
        let builder = Builder::new().stack_bytes(STACK_BYTES);
        let mut generator = builder.generator(move |_: &Yielder<'_, (), ()>, ()| i);
        black_box(generator.send(()).expect("first resume"));
    }
    each(begin.elapsed(), count)
}

/// A stack size that no other round has used, so each generator maps a stack of its own.
/// They live until the end: the pool would hand a dropped one's stack to the next.
fn create_fresh(count: u64, round: usize) -> f64 {
    let stack_bytes = STACK_BYTES + 4096 * round;
    let count = count.min(1000);
    let mut alive = Vec::with_capacity(count as usize);
    let begin = Instant::now();
    for i in 0..count {
        let builder = Builder::new().stack_bytes(stack_bytes);
        let mut generator = builder.generator(move |y, ()| y.yield_(i).is_ok());
        black_box(generator.send(()).expect("first resume"));
        alive.push(generator);
    }
    let made = begin.elapsed();
    alive
        .iter_mut()
        .for_each(|generator| drop(generator.close()));
    drop(alive);
    each(made, count)
}

fn greenlet_create(count: u64) -> f64 {
    Hub::new().run(|main| {
        let begin = Instant::now();
        for i in 0..count {
            let builder = Builder::new().stack_bytes(STACK_BYTES);
            let greenlet = builder.greenlet(main, move |_, first: u64| Ok(first + i));
            black_box(greenlet.switch(main, i).expect("nothing throws"));
        }
        each(begin.elapsed(), count)
    })
}
