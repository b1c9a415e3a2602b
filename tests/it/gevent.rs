//! gevent's own tests, under their names, held against this crate. Where a test differs on
//! purpose, it says so.

mod event;
mod lock;
mod threading;
