//! What a run goes by: a part per question, each with the [`Downloader`](super::Downloader)
//! options that set it.

mod again;
mod disk;
mod login;
mod naming;
mod network;
mod pace;
mod proxies;
mod secret;
mod split;
mod trust;
mod verify;

pub(crate) use self::disk::Disk;
pub use self::disk::Flush;
pub(crate) use self::login::Login;
pub use self::naming::Existing;
pub(crate) use self::naming::{Naming, Tree};
pub use self::network::IpVersion;
pub(crate) use self::network::Network;
pub(crate) use self::pace::Pace;
pub(crate) use self::proxies::Proxies;
pub(crate) use self::secret::Secret;
pub(crate) use self::split::Split;
pub use self::trust::TlsVersion;
pub(crate) use self::trust::Trust;
pub(crate) use self::verify::{Verify, about, open_list};

/// What a run goes by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) naming: Naming,
    pub(crate) disk: Disk,
    pub(crate) pace: Pace,
    pub(crate) split: Split,
    pub(crate) network: Network,
    pub(crate) verify: Verify,
    pub(crate) keep_outcomes: bool,
    /// Of the dice that spread retries.
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            naming: Naming::default(),
            disk: Disk::default(),
            pace: Pace::default(),
            split: Split::default(),
            network: Network::default(),
            verify: Verify::default(),
            keep_outcomes: true,
            seed: u64::from(std::process::id()),
        }
    }
}
