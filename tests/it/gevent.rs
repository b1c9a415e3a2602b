//! gevent's own test suite, case by case: a module for each of its modules, tests with its
//! names. Where we differ on purpose, the test says so; `docs/coming-from-gevent.md` lists
//! all differences.

mod core;
mod event;
mod greenlet;
mod greenletset;
mod hub;
mod hub_join;
mod iwait;
mod joinall;
mod lock;
mod monitor;
mod order;
mod os;
mod pool;
mod queue;
mod signal;
mod subprocess;
mod threading;
mod threadpool;
mod timeout;
mod util;
