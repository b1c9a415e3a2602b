//! Bytes in, values out: no I/O, no clock, no runtime, so that everything here is tested
//! by tables and can be fuzzed byte by byte.

pub mod crc32;
pub mod frame;
#[cfg(feature = "http")]
pub mod http;
pub mod line;
pub mod rate;
pub mod tftp;
pub mod upload;
