//! Streams that are whole, cut, damaged, and bombs.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

/// `hello world`, from brotli's own command.
const BROTLI: &[u8] = &[
    0x0b, 0x05, 0x80, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x77, 0x6f, 0x72, 0x6c, 0x64, 0x03,
];

/// From the tests of the reference decoder.
const TENS: &[u8] = &[
    0x1b, 0x13, 0x00, 0x00, 0xa4, 0xb0, 0xb2, 0xea, 0x81, 0x47, 0x02, 0x8a,
];

fn text() -> Vec<u8> {
    (0..4000_u32)
        .flat_map(|i| format!("line {}\n", i.wrapping_mul(2_654_435_761) >> 20).into_bytes())
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn decode(encoding: &str, wire: &[u8], step: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decoder::for_encoding(encoding)?.expect("a coding");
    let mut decoded = Vec::new();
    for piece in wire.chunks(step) {
        decoder.push(piece, &mut |bytes| {
            decoded.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    decoder.finish()?;
    Ok(decoded)
}

#[test]
fn every_coding_decodes_however_it_is_cut_up() {
    let text = text();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&text).unwrap();
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(&text).unwrap();
    for (encoding, wire) in [
        ("gzip", gzip(&text)),
        ("X-GZip", gzip(&text)),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
    ] {
        for step in [1, 2, 7, 1000, wire.len()] {
            let decoded = decode(encoding, &wire, step).unwrap();
            assert!(decoded == text, "{encoding} by {step}");
        }
    }
    for step in [1, 2, BROTLI.len()] {
        assert_eq!(decode("br", BROTLI, step).unwrap(), b"hello world");
        assert_eq!(decode("br", TENS, step).unwrap(), b"XXXXXXXXXXYYYYYYYYYY");
    }
}

#[test]
fn gzip_heads_have_optional_fields_and_members_follow_each_other() {
    let plain = gzip(b"one");
    let mut full = vec![0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 0, 3];
    full.extend(b"\x03\x00abcname\x00comment\x00\x01\x02");
    full.extend(&plain[10..]);
    let mut empty_extra = vec![0x1f, 0x8b, 8, FLAG_EXTRA, 0, 0, 0, 0, 0, 3, 0, 0];
    empty_extra.extend(&plain[10..]);
    let wire = [full, plain.clone(), empty_extra].concat();
    for step in [1, 3, wire.len()] {
        assert_eq!(decode("gzip", &wire, step).unwrap(), b"oneoneone");
    }
}

#[test]
fn a_stream_cut_anywhere_is_an_error() {
    let gzip = gzip(b"some text, some more text");
    for end in 1..gzip.len() {
        assert!(decode("gzip", &gzip[..end], 5).is_err(), "cut at {end}");
    }
    for end in 1..BROTLI.len() {
        assert!(decode("br", &BROTLI[..end], 5).is_err(), "cut at {end}");
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(b"some text, some more text").unwrap();
    let zlib = zlib.finish().unwrap();
    for end in 1..zlib.len() {
        assert!(decode("deflate", &zlib[..end], 5).is_err(), "cut at {end}");
    }
    // Nothing at all is an empty file.
    assert_eq!(decode("gzip", b"", 1).unwrap(), b"");
}

#[test]
fn what_follows_the_end_is_an_error() {
    for step in [1, 1000] {
        let wire = [gzip(b"text"), b"garbage".to_vec()].concat();
        assert!(decode("gzip", &wire, step).is_err());
        let wire = [BROTLI, b"x"].concat();
        assert!(decode("br", &wire, step).is_err());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"text").unwrap();
        let wire = [zlib.finish().unwrap(), b"x".to_vec()].concat();
        assert!(decode("deflate", &wire, step).is_err());
    }
}

#[test]
fn damage_is_an_error() {
    let wire = gzip(&text());
    // The head's time, extra flags and system carry no content.
    for at in (0..4)
        .chain((10..wire.len()).step_by(97))
        .chain(wire.len() - 8..wire.len())
    {
        let mut wire = wire.clone();
        wire[at] ^= 0x55;
        assert!(decode("gzip", &wire, 4096).is_err(), "damaged at {at}");
    }
    assert!(decode("gzip", b"plain text", 100).is_err());
    assert!(decode("br", b"plain text, and quite some of it", 100).is_err());
}

#[test]
fn a_bomb_is_stopped_while_it_is_small() {
    // A block of a MiB of zeros, again and again: a GiB in all.
    let mut block = Vec::with_capacity(64 * 1024);
    let mut encoder = flate2::Compress::new(Compression::fast(), false);
    let zeros = vec![0; 1024 * 1024];
    encoder
        .compress_vec(&zeros, &mut block, flate2::FlushCompress::Full)
        .unwrap();
    assert_eq!(encoder.total_in(), 1024 * 1024);
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for _ in 0..1024 {
        bomb.extend_from_slice(&block);
    }
    let mut decoder = Decoder::for_encoding("gzip").unwrap().expect("a coding");
    let mut given = 0;
    let mut count = |bytes: &[u8]| {
        assert!(bytes.len() <= OUT_BYTES);
        given += bytes.len() as u64;
        Ok(())
    };
    let failure = bomb
        .chunks(1000)
        .find_map(|piece| decoder.push(piece, &mut count).err())
        .expect("it is a bomb");
    assert_eq!(failure.kind(), FailureKind::TooLarge);
    assert!(given <= RATIO_FREE + OUT_BYTES as u64, "{given} of 2^30");
}

#[test]
fn only_known_encodings_are_undone() {
    assert!(Decoder::for_encoding("identity").unwrap().is_none());
    assert!(Decoder::for_encoding(" ").unwrap().is_none());
    for encoding in ["zstd", "gzip, br", "compress"] {
        assert!(Decoder::for_encoding(encoding).is_err(), "{encoding}");
    }
}

#[test]
fn an_error_of_the_taker_ends_the_decoding() {
    let mut decoder = Decoder::for_encoding("gzip").unwrap().expect("a coding");
    let full = || Failure::new(FailureKind::DiskFull, "full");
    let error = decoder.push(&gzip(&text()), &mut |_| Err(full()));
    assert_eq!(error.unwrap_err().kind(), FailureKind::DiskFull);
}
