//! Large files in segments.

use crate::cli::units;
use crate::fetch::Downloader;
use clap::Args;

/// Segments where only a limit per server was given, as aria2 has it.
const SEGMENTS: usize = 5;

/// Each has a connection and a greenlet; a server that bears more for one file is unknown.
const SEGMENTS_MAX: u64 = 1024;

#[derive(Debug, Args)]
#[command(next_help_heading = "Segments")]
pub(crate) struct SplitArgs {
    /// Fetch a large file in N segments at once, if its server has ranges [default: 1, or
    /// up to 5 with --max-connection-per-server]
    #[arg(short, long, value_name = "N", value_parser = units::count::<1, SEGMENTS_MAX>)]
    pub(crate) split: Option<usize>,

    /// At most N segments of a file at once [default: as many as --split]
    #[arg(short = 'x', long, value_name = "N", value_parser = units::count::<1, SEGMENTS_MAX>)]
    pub(crate) max_connection_per_server: Option<usize>,

    /// Make no segment of less than SIZE: 512K, 20M
    #[arg(short = 'k', long, value_name = "SIZE", default_value = "1M", value_parser = units::size)]
    pub(crate) min_split_size: u64,
}

impl SplitArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        downloader
            .split(self.segments())
            .split_min(self.min_split_size)
    }

    fn segments(&self) -> usize {
        match (self.split, self.max_connection_per_server) {
            (Some(split), Some(most)) => split.min(most),
            (Some(split), None) => split,
            (None, Some(most)) => most.min(SEGMENTS),
            (None, None) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        split: SplitArgs,
    }

    #[test]
    fn flags_mean_what_they_mean_to_aria2() {
        for (line, segments) in [
            ("get", 1),
            ("get -s 8", 8),
            ("get --split=16", 16),
            ("get -s5 -x1", 1),
            ("get -x16 -s16", 16),
            ("get -x 16", 5),
            ("get --max-connection-per-server 4", 4),
        ] {
            let args = Line::try_parse_from(line.split(' ')).unwrap().split;
            assert_eq!(args.segments(), segments, "{line}");
            assert_eq!(args.min_split_size, 1024 * 1024);
        }
        let args = Line::try_parse_from(["get", "-k", "20M"]).unwrap().split;
        assert_eq!(args.min_split_size, 20 * 1024 * 1024);
        for bad in ["-s0", "-x0", "-s-1", "-kx", "-s1025"] {
            assert!(Line::try_parse_from(["get", bad]).is_err(), "{bad}");
        }
    }
}
