//! gevent's own test suite, case by case: a module for each of its modules, tests with its
//! names. Where we differ on purpose, the test says so.

mod greenletset;
mod pool;
