// SPDX-License-Identifier: MIT OR Apache-2.0
//! Content digests: the strict `sha256:` grammar, and hashing while bytes pass
//! by.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::{Error, Kind, Result, Step, shown};

const ALGORITHM: &str = "sha256:";

/// The SHA-256 of some bytes, written `sha256:` and 64 lower-case hex digits.
///
/// Rejects other algorithms and spellings, so that a digest from an image is a
/// safe file name. Source: OCI image spec, descriptor, "Digests".
///
/// ```
/// use tare::image::digest::Digest;
/// let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// assert_eq!(Digest::of(b"").to_string(), empty);
/// assert_eq!(empty.parse::<Digest>()?, Digest::of(b""));
/// assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Returns the 64 hex digits without the algorithm: the file name under
    /// `blobs/sha256`.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.map(digit).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let hex = text.strip_prefix(ALGORITHM)?.as_bytes();
            let mut bytes = [0; 32];
            if hex.len() != 2 * bytes.len() {
                return None;
            }
            for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
            Some(Self(bytes))
        };
        parse().ok_or_else(|| {
            Error::new(Kind::Invalid, Step::ParseDigest, shown(text))
                .with_cure("sha256: and 64 lower-case hex digits")
        })
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Counts and hashes bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    bytes: u64,
}

impl Hasher {
    /// Returns a hasher of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Returns the digest of all bytes, and their number.
    pub fn complete(self) -> (Digest, u64) {
        (Digest(self.state.finalize().into()), self.bytes)
    }
}

/// A reader that hashes all bytes read through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Hashes all bytes read from `inner` from now on.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Hasher::new(),
        }
    }

    /// Returns the digest of the bytes read so far, their number, and the inner
    /// reader.
    pub fn complete(self) -> (Digest, u64, R) {
        let (digest, bytes) = self.hasher.complete();
        (digest, bytes, self.inner)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digest_of_known_bytes_matches_fips_180_4() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
    }

    #[test]
    fn digest_in_any_other_spelling_is_refused() {
        let refused = [
            "",
            "sha256:",
            &ABC[7..],
            &ABC[..70],
            &format!("{ABC}0"),
            &ABC.to_uppercase(),
            &ABC.replace("sha256:", "sha256:0x"),
            &ABC.replace("sha256", "sha512"),
            &ABC.replace("ba78", "../x"),
            &ABC.replace("ba78", "BA78"),
            &format!(" {ABC}"),
            &format!("{ABC}\n"),
        ];
        for text in refused {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn digest_through_json_stays_a_string() {
        let digest: Digest = serde_json::from_str(&format!("{ABC:?}")).unwrap();
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("{ABC:?}"));
        assert!(serde_json::from_str::<Digest>("\"sha256:abc\"").is_err());
    }

    #[test]
    fn digest_of_a_stream_equals_that_of_its_bytes() {
        let mut reader = HashingReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let (read, n, _) = reader.complete();
        assert_eq!((read, n), (Digest::of(b"abc"), 3));
    }
}
