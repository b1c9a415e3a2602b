//! How much at once, how patiently, how fast.

use crate::cli::units::{self, Limit};
use crate::fetch::{Downloader, Statuses};
use clap::Args;
use clap::builder::ArgPredicate;
use std::num::NonZeroU64;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct PaceArgs {
    /// Downloads at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "16",
        visible_alias = "max-concurrent-downloads",
        alias = "parallel-max",
        value_parser = units::count::<1, AT_ONCE_MAX>
    )]
    pub(crate) jobs: usize,

    /// Downloads at once from one host and port [default: as many as --jobs]
    #[arg(
        long,
        value_name = "N",
        visible_alias = "max-per-host",
        alias = "parallel-max-host",
        value_parser = units::count::<0, AT_ONCE_MAX>
    )]
    pub(crate) per_host: Option<usize>,

    /// Find out how many at once bring the most, up to --jobs and --per-host
    #[arg(long, value_name = "BOOL")]
    pub(crate) auto: bool,

    /// Begin at most so many requests to one host and port: 10/s, 30/m, 600/h; without a unit
    /// it is per hour, as curl has it
    #[arg(long, value_name = "N/UNIT", value_parser = rate)]
    pub(crate) rate: Option<Rate>,

    /// Receive at most so many bytes a second in all; 0 has no limit
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "0",
        hide_default_value = true,
        visible_alias = "limit-rate",
        value_parser = units::size
    )]
    pub(crate) max_overall_download_limit: u64,

    /// Receive at most so many bytes a second of each file; 0 has no limit
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "0",
        hide_default_value = true,
        value_parser = units::size
    )]
    pub(crate) max_download_limit: u64,

    /// Begin nothing more once so many bytes have come; 0 has no limit
    #[arg(
        short = 'Q',
        long,
        value_name = "SIZE",
        default_value = "0",
        hide_default_value = true,
        value_parser = units::size
    )]
    pub(crate) quota: u64,

    /// Tries of a URL, the first one included, as long as failures may pass; 0 has no limit
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "5",
        default_value_if("retries", ArgPredicate::IsPresent, None::<&str>),
        visible_alias = "tries",
        value_parser = tries
    )]
    pub(crate) max_tries: Option<u32>,

    /// Tries after the first one
    #[arg(
        long,
        value_name = "N",
        visible_alias = "retry",
        conflicts_with = "max_tries"
    )]
    pub(crate) retries: Option<u32>,

    /// Wait so long before the second try, twice as long before each further one, less by
    /// chance
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "500ms",
        visible_alias = "retry-delay",
        value_parser = units::duration
    )]
    pub(crate) retry_wait: Duration,

    /// Give up a host that asks for a longer pause than this
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::duration)]
    pub(crate) retry_max_wait: Duration,

    /// Begin no further try of a URL after so long; 0 has no limit
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0",
        hide_default_value = true,
        value_parser = units::limit
    )]
    pub(crate) retry_max_time: Limit,

    /// Statuses that are tried again (404, 5xx, *) or are not (!501), besides the usual ones
    #[arg(long, value_name = "LIST")]
    pub(crate) retry_on_http_error: Option<Statuses>,

    /// Try a refused connection as often as others, not just three times
    #[arg(long)]
    pub(crate) retry_connrefused: bool,

    /// Stop everything at the first failure
    #[arg(long, visible_alias = "fail-fast", conflicts_with = "max_failures")]
    pub(crate) fail_early: bool,

    /// Stop everything when so many downloads have failed
    #[arg(long, value_name = "N", value_parser = units::count::<1, { u64::MAX }>)]
    pub(crate) max_failures: Option<usize>,
}

/// As curl has it: more sockets than ports serve nobody.
const AT_ONCE_MAX: u64 = 65_535;

/// Requests in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u64, Duration);

impl PaceArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let longest = Duration::from_secs(30).max(self.retry_wait);
        let mut downloader = downloader
            .jobs(self.jobs)
            .auto(self.auto)
            .speed_max(self.max_overall_download_limit)
            .file_speed_max(self.max_download_limit)
            .quota(self.quota)
            .retry_delay(self.retry_wait, longest)
            .pause_max(self.retry_max_wait)
            .retry_time_max(self.retry_max_time.0)
            .retry_refused(self.retry_connrefused);
        if let Some(tries) = self.max_tries {
            downloader = downloader.tries(tries);
        }
        if let Some(retries) = self.retries {
            downloader = downloader.retries(retries);
        }
        // As in curl, 0 is no limit of its own.
        if let Some(count) = self.per_host.filter(|count| *count > 0) {
            downloader = downloader.per_host(count);
        }
        if let Some(Rate(requests, time)) = self.rate {
            downloader = downloader.rate(requests, time);
        }
        if let Some(statuses) = &self.retry_on_http_error {
            downloader = downloader.retry_on(statuses.clone());
        }
        let failures = match self.fail_early {
            true => Some(1),
            false => self.max_failures,
        };
        match failures {
            Some(count) => downloader.failures_max(count as u64),
            None => downloader,
        }
    }
}

/// Reads a number of tries; wget says `inf` where others say 0.
fn tries(text: &str) -> Result<u32, String> {
    match text {
        "inf" => Ok(0),
        _ => text
            .parse()
            .map_err(|_| "a number is wanted, or 0 for no limit".to_owned()),
    }
}

/// Reads a rate as curl does: `N`, `N/s`, `N/m`, `N/h`, `N/d`, also `N/5m`.
fn rate(text: &str) -> Result<Rate, String> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "h"));
    let wants = || "a rate is wanted, as in 10/s, 30/m or 600/h".to_owned();
    let count = count.trim().parse::<NonZeroU64>().map_err(|_| wants())?;
    let unit = unit.trim();
    let digits = unit.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match digits {
        "" => 1,
        _ => digits.parse::<u32>().map_err(|_| wants())?.max(1),
    };
    let seconds = match &unit[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wants()),
    };
    let time = Duration::from_secs(seconds).saturating_mul(factor);
    Ok(Rate(count.get(), time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_curl_reads_them() {
        let rates = [
            ("2", (2, 3600)),
            ("10/s", (10, 1)),
            ("30/m", (30, 60)),
            ("600/h", (600, 3600)),
            ("1/d", (1, 86_400)),
            ("3/15s", (3, 15)),
        ];
        for (text, (count, seconds)) in rates {
            assert_eq!(rate(text), Ok(Rate(count, Duration::from_secs(seconds))));
        }
        for bad in [
            "", "/s", "0/s", "-1/s", "1/", "1/x", "1/ms", "1.5/s", "x/s", "1/s/s",
        ] {
            assert!(rate(bad).is_err(), "{bad} passed");
        }
    }
}
