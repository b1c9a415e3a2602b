//! x
pub(crate) fn resolve(target: &str) -> Result<Vec<std::net::SocketAddr>, super::Failure> { Ok(vec![target.parse().unwrap()]) }
