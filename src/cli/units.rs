//! Durations and sizes as people write them: `500ms`, `30s`, `2m`; `64`, `4K`, `1.5M`.

use std::time::Duration;

/// Reads a duration: a number and `ms`, `s`, `m` or `h`; a bare number counts seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        _ if number.is_empty() => return Err(wants("a duration", "500ms, 30s, 2m or 1h")),
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!(
                "unknown unit {unit:?}: write it as 500ms, 30s, 2m or 1h"
            ));
        }
    };
    let value = number
        .parse::<f64>()
        .map_err(|_| wants("a duration", "500ms, 30s, 2m or 1h"))?;
    Duration::try_from_secs_f64(value * seconds).map_err(|_| "too long".to_owned())
}

/// Reads a duration that lasts.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("longer than 0 is wanted".to_owned()),
        time => Ok(time),
    }
}

/// Reads a duration of which zero means that there is no limit.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    Ok(Limit(Some(duration(text)?).filter(|d| !d.is_zero())))
}

/// A limit that can be off. (Not an `Option`: the argument parser gives that its own meaning.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

/// Reads a count within bounds.
pub(crate) fn count<const MIN: u64, const MAX: u64>(text: &str) -> Result<usize, String> {
    let count = text.parse::<u64>().ok();
    let within = count.filter(|count| (MIN..=MAX).contains(count));
    within
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| match MAX {
            u64::MAX if MIN == 0 => "a whole number is wanted".to_owned(),
            u64::MAX => format!("a whole number is wanted, at least {MIN}"),
            _ => format!("a whole number from {MIN} to {MAX} is wanted"),
        })
}

/// Reads a count that may be any.
pub(crate) fn any_count(text: &str) -> Result<usize, String> {
    count::<0, { u64::MAX }>(text)
}

/// Reads a size: bytes, or a number and `K`, `M` or `G`, powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let bytes = match unit
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        _ if number.is_empty() => return Err(wants("a size", "512, 4K, 1.5M or 2G")),
        "" => 1_u64,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => {
            return Err(format!(
                "unknown unit {unit:?}: write it as 512, 4K, 1.5M or 2G"
            ));
        }
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(bytes)
            .ok_or_else(|| "too large".to_owned());
    }
    let value = number
        .parse::<f64>()
        .map_err(|_| wants("a size", "512, 4K, 1.5M or 2G"))?;
    let product = value * bytes as f64;
    // Beyond 2^53 a float skips whole bytes.
    if product < (1_u64 << 53) as f64 {
        Ok(product as u64)
    } else {
        Err("too large".into())
    }
}

/// Reads a size of at least one byte and at most `usize`.
pub(crate) fn length(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("at least 1 byte".into()),
        bytes => usize::try_from(bytes).map_err(|_| "too large".to_owned()),
    }
}

/// Splits a number from its unit; a sign counts to neither, so that it is refused.
fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn wants(what: &str, example: &str) -> String {
    format!("{what} is wanted, as in {example}")
}

/// Writes a count of bytes for people: `1.5 MiB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1023.95 {
            let digits = usize::from(unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Writes a count with separators: `1_234_567` as `1,234,567`.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a duration with three significant places: `12.3 ms`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s >= 0.9995 => (s, "s"),
        s if s >= 0.000_999_5 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in [
            "", "s", "-1", "+1s", "1d", "1e3", "1.2.3", "inf", "nan", "1 s s", "9e999",
        ] {
            assert!(duration(bad).is_err(), "{bad} passed");
        }
        assert!(duration(&"9".repeat(40)).is_err());
        assert_eq!(limit("0s"), Ok(Limit(None)));
        assert_eq!(limit("1s"), Ok(Limit(Some(Duration::from_secs(1)))));
    }

    #[test]
    fn counts_have_bounds_and_say_so() {
        assert_eq!(count::<1, 9>("9"), Ok(9));
        for bad in ["0", "10", "-1", "", "1.5", "x", "99999999999999999999"] {
            let wanted = Err("a whole number from 1 to 9 is wanted".to_owned());
            assert_eq!(count::<1, 9>(bad), wanted, "{bad}");
        }
        assert_eq!(any_count("0"), Ok(0));
        assert!(any_count("-1").is_err());
        assert!(some_time("0").is_err() && some_time("1ms").is_ok());
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("4K"), Ok(4096));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("1.5M"), Ok(3 << 19));
        assert_eq!(size("2G"), Ok(2 << 30));
        for bad in [
            "",
            "K",
            "-1",
            "1T",
            "1e3",
            "x",
            "99999999999999999999",
            "99999999999999G",
        ] {
            assert!(size(bad).is_err(), "{bad} passed");
        }
        assert!(length("0").is_err());
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(1536), "1.5 KiB");
        assert_eq!(show_bytes(5 << 30), "5.0 GiB");
        assert_eq!(show_count(7), "7");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(123_456), "123,456");
        assert_eq!(show_duration(Duration::from_micros(12)), "12.0 us");
        assert_eq!(show_duration(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(show_duration(Duration::from_millis(2500)), "2.50 s");
    }
}
