// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the plain bytes of a stream that may be compressed, for hashing and
//! for archives of images.
#![forbid(unsafe_code)]

use std::io::{self, BufReader, Cursor, Read};

/// Plain bytes per compressed byte, beyond the free amount.
const GROWTH_MAX: u64 = 200;
const GROWTH_FREE: u64 = 1 << 30;

/// Reads at most `size` bytes of gzip, zstd or plain data, and detects the
/// format by content. Fails if the plain bytes exceed [`GROWTH_MAX`].
pub(crate) fn inflate<'a>(mut from: impl Read + 'a, size: u64) -> io::Result<impl Read + 'a> {
    let mut magic = Vec::with_capacity(4);
    from.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = <[u8; 4]>::try_from(magic.as_slice()).unwrap_or_default();
    let whole = Cursor::new(magic).chain(from);
    let plain: Box<dyn Read + 'a> = match kind {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    };
    Ok(Bounded {
        from: plain,
        left: size.saturating_mul(GROWTH_MAX).saturating_add(GROWTH_FREE),
    })
}

struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                let why = "grows out of all proportion";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        Ok(n)
    }
}
