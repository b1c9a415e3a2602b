//! What client and server agree on: RFC 2347's options as data, on both sides.
//!
//! The client proposes; the server takes what it knows, with the same or a smaller value,
//! and says so in its OACK; what it does not name holds as in RFC 1350. A value that is not
//! a plain decimal number in its range (`-5`, `1e3`, an empty text) is as good as no
//! option for the server, and breaks the agreement for the client, who must not guess.

use std::time::Duration;

use super::packet::OptionList;

/// What a transfer runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bytes in a block; the block with fewer is the last. 512 if nothing was agreed on.
    pub block_size: usize,
    /// Blocks that are sent before an ACK is waited for. 1 if nothing was agreed on.
    pub window: u16,
    /// The wait before something is sent again, if the two agreed on it.
    pub timeout: Option<Duration>,
    /// The file's size in bytes, if it was told.
    pub size: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            block_size: 512,
            window: 1,
            timeout: None,
            size: None,
        }
    }
}

/// What a client asks for; what is `None` is not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// `blksize`: 8 to 65,464 bytes.
    pub block_size: Option<u16>,
    /// `windowsize`: 1 to 32,767 blocks. RFC 7440 allows more, which 16-bit block numbers
    /// could not tell apart after a loss.
    pub window: Option<u16>,
    /// `timeout`: 1 to 255 seconds.
    pub timeout: Option<u8>,
    /// `tsize`: 0 asks for the size of the file that is read; else the size of the one that
    /// is written.
    pub size: Option<u64>,
}

/// What a server takes.
///
/// # Examples
///
/// ```
/// use greenloop::proto::tftp::{Limits, Size};
///
/// let limits = Limits { block_size_max: 1468, ..Limits::default() };
/// let asked = vec![(&b"blksize"[..], &b"8192"[..]), (b"tsize", b"0"), (b"odd", b"1")];
/// let (terms, answer) = limits.agree(&asked, Size::Known(70_000));
/// assert_eq!((terms.block_size, terms.window), (1468, 1));
/// assert_eq!(answer, [("blksize", 1468), ("tsize", 70_000)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest block; a larger one that is asked for becomes this.
    pub block_size_max: u16,
    /// The largest window in blocks; a larger one becomes this.
    pub window_max: u16,
    /// The largest window in bytes: memory that a transfer holds.
    pub window_bytes_max: usize,
    /// The longest `timeout` that is taken; longer ones would keep a silent peer's transfer.
    pub timeout_max: Duration,
}

/// 65,464 bytes, 64 blocks, 512 KiB, 30 s.
impl Default for Limits {
    fn default() -> Self {
        Self {
            block_size_max: BLOCK_SIZE_MAX,
            window_max: 64,
            window_bytes_max: 512 << 10,
            timeout_max: Duration::from_secs(30),
        }
    }
}

/// What a server has to say about a file's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It sends so many bytes.
    Known(u64),
    /// It sends a file, and cannot tell how long it gets on the way (netascii).
    Unknown,
    /// It gets a file, and is told.
    Told,
}

/// The smallest block of RFC 2348.
const BLOCK_SIZE_MIN: u16 = 8;
/// The largest block of RFC 2348: a UDP datagram in an IP packet of 65,535 bytes, less the
/// headers (with 20 bytes to spare).
const BLOCK_SIZE_MAX: u16 = 65_464;
/// Half of the block numbers, less one: see `absolute`.
const WINDOW_MAX: u16 = 32_767;

/// An option with the value that holds.
pub type Agreed = (&'static str, u64);

impl Limits {
    /// What holds for a request with the options `asked`, and what the OACK says; if that
    /// is empty, no OACK is to be sent.
    pub fn agree(&self, asked: &OptionList<'_>, size: Size) -> (Terms, Vec<Agreed>) {
        let (mut terms, mut answer) = (Terms::default(), Vec::new());
        for (at, (name, value)) in asked.iter().enumerate() {
            let is_first = !asked[..at]
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name));
            if let Some(value) = decimal(value).filter(|_| is_first)
                && let Some(agreed) = self.take(name, value, size, &mut terms)
            {
                answer.push(agreed);
            }
        }
        self.bound_window(&mut terms, &mut answer);
        (terms, answer)
    }

    fn take(&self, name: &[u8], value: u64, size: Size, terms: &mut Terms) -> Option<Agreed> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is(BLKSIZE) && value >= BLOCK_SIZE_MIN.into() {
            let most = self.block_size_max.clamp(BLOCK_SIZE_MIN, BLOCK_SIZE_MAX);
            terms.block_size = value.min(most.into()) as usize;
            Some((BLKSIZE, terms.block_size as u64))
        } else if is(WINDOWSIZE) && (1..=65_535).contains(&value) {
            let most = self.window_max.clamp(1, WINDOW_MAX);
            terms.window = value.min(most.into()) as u16;
            Some((WINDOWSIZE, terms.window.into()))
        } else if is(TIMEOUT) && (1..=255).contains(&value) {
            let timeout = Duration::from_secs(value);
            (timeout <= self.timeout_max).then(|| {
                terms.timeout = Some(timeout);
                (TIMEOUT, value)
            })
        } else if is(TSIZE) {
            terms.size = match size {
                Size::Known(size) => Some(size),
                Size::Unknown => None,
                Size::Told => Some(value),
            };
            terms.size.map(|size| (TSIZE, size))
        } else {
            None
        }
    }

    /// Only now is it known which of the two the other one limits.
    fn bound_window(&self, terms: &mut Terms, answer: &mut [Agreed]) {
        let blocks = (self.window_bytes_max / terms.block_size).max(1);
        terms.window = terms
            .window
            .min(u16::try_from(blocks).unwrap_or(WINDOW_MAX));
        for (name, value) in answer {
            if *name == WINDOWSIZE {
                *value = terms.window.into();
            }
        }
    }
}

impl Proposal {
    /// The options of the request.
    pub fn options(&self) -> Vec<Agreed> {
        let all = [
            (BLKSIZE, self.block_size.map(u64::from)),
            (WINDOWSIZE, self.window.map(u64::from)),
            (TIMEOUT, self.timeout.map(u64::from)),
            (TSIZE, self.size),
        ];
        let given = |(name, value): (&'static str, Option<u64>)| Some((name, value?));
        all.into_iter().filter_map(given).collect()
    }

    /// What holds after the OACK `answer`.
    ///
    /// # Errors
    /// Says what is wrong with the answer: an option that was not asked for, twice the same
    /// one, a value that was not offered.
    pub fn accept(&self, answer: &OptionList<'_>) -> Result<Terms, &'static str> {
        let mut terms = Terms::default();
        for (at, (name, value)) in answer.iter().enumerate() {
            if answer[..at]
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
            {
                return Err("an option is answered twice");
            }
            let value = decimal(value).ok_or("the value of an option is no number")?;
            self.check(name, value, &mut terms)?;
        }
        Ok(terms)
    }

    fn check(&self, name: &[u8], value: u64, terms: &mut Terms) -> Result<(), &'static str> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match (self.block_size, self.window, self.timeout, self.size) {
            (Some(asked), ..) if is(BLKSIZE) => {
                if !(BLOCK_SIZE_MIN.into()..=u64::from(asked)).contains(&value) {
                    return Err("the block size is not what was asked for");
                }
                terms.block_size = value as usize;
            }
            (_, Some(asked), ..) if is(WINDOWSIZE) => {
                if !(1..=u64::from(asked)).contains(&value) {
                    return Err("the window is not what was asked for");
                }
                terms.window = (value as u16).min(WINDOW_MAX);
            }
            (_, _, Some(asked), _) if is(TIMEOUT) => {
                if value != u64::from(asked) {
                    return Err("the timeout is not what was asked for");
                }
                terms.timeout = Some(Duration::from_secs(value));
            }
            (.., Some(_)) if is(TSIZE) => terms.size = Some(value),
            _ => return Err("an option is answered that was not asked for"),
        }
        Ok(())
    }
}

/// The bytes of an OACK's or a request's options.
pub(super) fn as_texts(options: &[Agreed]) -> Vec<(&'static str, String)> {
    let text = |(name, value): &Agreed| (*name, value.to_string());
    options.iter().map(text).collect()
}

/// Digits only: no sign, no space, no point.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

const BLKSIZE: &str = "blksize";
const WINDOWSIZE: &str = "windowsize";
const TIMEOUT: &str = "timeout";
const TSIZE: &str = "tsize";

#[cfg(test)]
mod tests {
    use super::*;

    fn list<'a>(options: &'a [(&'a str, &'a str)]) -> OptionList<'a> {
        let bytes = |(name, value): &(&'a str, &'a str)| (name.as_bytes(), value.as_bytes());
        options.iter().map(bytes).collect()
    }

    #[test]
    fn a_server_takes_what_is_in_range_and_ignores_the_rest() {
        let cases: &[(&str, &str, Option<u64>)] = &[
            ("blksize", "8", Some(8)),
            ("BlkSize", "0512", Some(512)),
            ("blksize", "65464", Some(65_464)),
            ("blksize", "65535", Some(65_464)),
            ("blksize", "99999999999999999999", None),
            ("blksize", "7", None),
            ("blksize", "0", None),
            ("blksize", "-5", None),
            ("blksize", "+512", None),
            ("blksize", "1e3", None),
            ("blksize", " 512", None),
            ("blksize", "", None),
            ("blksize", "512\n", None),
            ("timeout", "1", Some(1)),
            ("timeout", "30", Some(30)),
            ("timeout", "31", None),
            ("timeout", "0", None),
            ("timeout", "256", None),
            ("windowsize", "1", Some(1)),
            ("windowsize", "65535", Some(64)),
            ("windowsize", "65536", None),
            ("windowsize", "0", None),
            ("tsize", "0", Some(77)),
            ("tsize", "zero", None),
            ("utimeout", "100000", None),
            ("", "", None),
        ];
        for (name, value, wanted) in cases {
            let (terms, answer) = Limits::default().agree(&list(&[(name, value)]), Size::Known(77));
            let values: Vec<_> = answer.iter().map(|(_, value)| *value).collect();
            assert_eq!(values, Vec::from_iter(*wanted), "{name}={value:?}");
            if wanted.is_none() {
                assert_eq!(terms, Terms::default(), "{name}={value:?}");
            }
        }
    }

    #[test]
    fn the_first_of_two_options_holds() {
        let asked = list(&[("blksize", "1024"), ("BLKSIZE", "9999"), ("tsize", "5")]);
        let (terms, answer) = Limits::default().agree(&asked, Size::Told);
        assert_eq!((terms.block_size, terms.size), (1024, Some(5)));
        assert_eq!(answer, [("blksize", 1024), ("tsize", 5)]);
    }

    #[test]
    fn a_window_is_bounded_in_bytes_whatever_the_order() {
        for asked in [
            [("windowsize", "64"), ("blksize", "65464")],
            [("blksize", "65464"), ("windowsize", "64")],
        ] {
            let (terms, answer) = Limits::default().agree(&list(&asked), Size::Unknown);
            assert_eq!(terms.window, 8);
            assert!(answer.contains(&("windowsize", 8)));
        }
    }

    #[test]
    fn no_size_is_told_where_it_is_not_known() {
        let (terms, answer) = Limits::default().agree(&list(&[("tsize", "0")]), Size::Unknown);
        assert_eq!((terms.size, answer), (None, vec![]));
    }

    #[test]
    fn a_client_takes_only_what_it_asked_for() {
        let proposal = Proposal {
            block_size: Some(1428),
            window: Some(8),
            timeout: Some(2),
            size: Some(0),
        };
        let full = [
            ("blksize", "1024"),
            ("WINDOWSIZE", "8"),
            ("timeout", "2"),
            ("tsize", "12"),
        ];
        let terms = proposal.accept(&list(&full)).unwrap();
        assert_eq!(
            terms,
            Terms {
                block_size: 1024,
                window: 8,
                timeout: Some(Duration::from_secs(2)),
                size: Some(12)
            }
        );
        assert_eq!(proposal.accept(&list(&[])), Ok(Terms::default()));
        for bad in [
            ("blksize", "1429"),
            ("blksize", "7"),
            ("blksize", "-5"),
            ("windowsize", "0"),
            ("windowsize", "9"),
            ("timeout", "3"),
            ("tsize", "1e3"),
            ("other", "1"),
        ] {
            assert!(proposal.accept(&list(&[bad])).is_err(), "{bad:?}");
        }
        assert!(proposal.accept(&list(&[full[0], full[0]])).is_err());
        let nothing = Proposal::default();
        assert!(nothing.accept(&list(&[("tsize", "1")])).is_err());
    }
}
