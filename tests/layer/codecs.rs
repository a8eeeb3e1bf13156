// SPDX-License-Identifier: MIT OR Apache-2.0
//! E16: the compressed side.

use std::io::Write as _;

use tare::image::digest::Digest;

use crate::cage::Cage;
use crate::tar::Tar;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[test]
fn layer_in_each_codec_is_unpacked_with_both_digests() {
    let plain = Tar::new().dir("d").file("d/f", "content").end();
    let half = plain.len() / 2;
    let members = [gzip(&plain[..half]), gzip(&plain[half..])].concat();
    let frames = [zstd(&plain[..half]), zstd(&plain[half..])].concat();
    for blob in [plain.clone(), gzip(&plain), members, zstd(&plain), frames] {
        let cage = Cage::new();
        let unpacked = cage.unpack(&blob).unwrap();
        assert_eq!(unpacked.blob_digest, Digest::of(&blob));
        assert_eq!(unpacked.blob_bytes, blob.len() as u64);
        assert_eq!(unpacked.diff_id, Digest::of(&plain));
        assert_eq!(unpacked.diff_bytes, plain.len() as u64);
        assert_eq!(unpacked.entries, 2);
        assert_eq!(cage.names(), ["d", "d/f"]);
    }
}
