//! The arguments of `greenloop get`, a part per question.

mod disk;
mod input;
mod naming;
mod network;
mod pace;
mod secret;
mod split;
mod verify;
mod watch;

pub(crate) use disk::DiskArgs;
pub(crate) use input::InputArgs;
pub(crate) use naming::NamingArgs;
pub(crate) use network::NetworkArgs;
pub(crate) use pace::PaceArgs;
pub(crate) use secret::{SECRET, shown};
pub(crate) use split::SplitArgs;
pub(crate) use verify::VerifyArgs;
pub(crate) use watch::WatchArgs;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) naming: NamingArgs,
    #[command(flatten)]
    pub(crate) disk: DiskArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) split: SplitArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) verify: VerifyArgs,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}
