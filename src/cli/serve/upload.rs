//! `greenloop serve upload`.

use super::ServerArgs;
use crate::apps::upload::{Received, UploadHandler};
use crate::cli::Outcome;
use crate::cli::units::{self, show_bytes};
use crate::server::ConnInfo;
use crate::util::escape;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7789")))]
pub(crate) struct UploadArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Folder that the files go to; created if need be
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Refuse larger files before a byte of them comes: 512, 4K, 1.5M, 2G
    #[arg(long, value_name = "BYTES", default_value = "1G", value_parser = units::size)]
    max_size: u64,

    /// Refuse clients that send fewer bytes a second, for longer than --idle-timeout: 512, 4K;
    /// 0: any speed
    #[arg(long, value_name = "BYTES", default_value = "1K", value_parser = units::size)]
    min_speed: u64,

    /// Replace a file of the same name instead of numbering the new one: photo.1.jpg
    #[arg(long)]
    overwrite: bool,
}

/// Takes files until a signal.
pub(super) fn run(args: &UploadArgs) -> Outcome {
    let (dir, overwrite) = (args.dir.clone(), args.overwrite);
    let (max_size, min_speed) = (args.max_size, args.min_speed);
    super::run(&args.server, move |lines| {
        let lines = lines.clone();
        let handler = UploadHandler::open(dir)?
            .size_max(max_size)
            .speed_min(min_speed)
            .overwrite(overwrite)
            .observer(move |conn, received| lines.say(line(conn, received)));
        Ok(handler)
    })
}

fn line(conn: &ConnInfo, received: &Received<'_>) -> String {
    let peer = &conn.peer;
    match received {
        Received::Stored { name, size } => {
            let (name, size) = (escape(name.as_bytes()), show_bytes(*size));
            format!("stored {name} ({size}) from {peer}")
        }
        Received::Refused { name, answer } => {
            let (name, text) = (escape(name.as_bytes()), escape(answer.text.as_bytes()));
            format!("refused {name:?} from {peer}: {text}")
        }
        Received::Cut { name, error } => {
            let name = escape(name.as_bytes());
            format!("nothing is left of {name:?} from {peer}: {error}")
        }
    }
}
