//! Hashes of one file, several at once, while its bytes come by.

use digest::Digest;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::checksum::{Algorithm, Checksum};

/// Hashes under way over the front of a file.
///
/// The processor's own instructions for SHA and wide vectors are used where it has them;
/// the crates find out at run time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher {
    states: Vec<State>,
    bytes: u64,
}

#[derive(Clone)]
enum State {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    /// Two kilobytes: a stack of subtrees.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Begins a hash of each algorithm that is named, once.
    pub(crate) fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let mut wanted: Vec<_> = algorithms.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self {
            states: wanted.into_iter().map(State::new).collect(),
            bytes: 0,
        }
    }

    /// Bytes hashed so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Tells whether there is nothing to compute.
    pub(crate) fn is_idle(&self) -> bool {
        self.states.is_empty()
    }

    /// Each one once, the weakest first.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.states.iter().map(State::algorithm)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.states.iter_mut().for_each(|state| state.update(bytes));
        self.bytes += bytes.len() as u64;
    }

    /// The hashes, in the order of their algorithms.
    pub(crate) fn finish(self) -> Vec<Checksum> {
        self.states.into_iter().map(State::finish).collect()
    }
}

impl State {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::default()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Blake3(_) => Algorithm::Blake3,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
            Self::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    fn finish(self) -> Checksum {
        let algorithm = self.algorithm();
        let checksum = match self {
            Self::Md5(state) => Checksum::from_bytes(algorithm, &state.finalize()),
            Self::Sha1(state) => Checksum::from_bytes(algorithm, &state.finalize()),
            Self::Sha256(state) => Checksum::from_bytes(algorithm, &state.finalize()),
            Self::Sha512(state) => Checksum::from_bytes(algorithm, &state.finalize()),
            Self::Blake3(state) => Checksum::from_bytes(algorithm, state.finalize().as_bytes()),
        };
        checksum.expect("a hash has the size of its algorithm")
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm().name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(pieces: &[&[u8]]) -> Vec<String> {
        let mut hasher = Hasher::new(Algorithm::ALL);
        pieces.iter().for_each(|piece| hasher.update(piece));
        let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!(hasher.bytes(), whole as u64);
        hasher.finish().iter().map(Checksum::to_hex).collect()
    }

    /// From RFC 1321, FIPS 180-4's examples, and the BLAKE3 paper's test vectors.
    #[test]
    fn known_texts_have_the_known_hashes() {
        let empty = [
            "d41d8cd98f00b204e9800998ecf8427e",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ];
        assert_eq!(hashes(&[]), empty);
        let abc = [
            "900150983cd24fb0d6963f7d28e17f72",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ];
        assert_eq!(hashes(&[b"abc"]), abc);
    }

    #[test]
    fn pieces_make_the_same_hash_as_the_whole() {
        let body: Vec<u8> = (0..70_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        let whole = hashes(&[&body]);
        for size in [1, 63, 64, 65, 127, 128, 1023, 1025, 4096, 65_537] {
            let pieces: Vec<_> = body.chunks(size).collect();
            assert_eq!(hashes(&pieces), whole, "pieces of {size}");
        }
    }

    #[test]
    fn an_algorithm_named_twice_is_computed_once() {
        let twice = [Algorithm::Sha256, Algorithm::Md5, Algorithm::Sha256];
        let hasher = Hasher::new(twice);
        assert_eq!(
            hasher.algorithms().collect::<Vec<_>>(),
            [Algorithm::Md5, Algorithm::Sha256]
        );
        assert_eq!(hasher.finish().len(), 2);
    }
}
