// SPDX-License-Identifier: MIT OR Apache-2.0
//! A layer's blob, unpacked by the library, and its floors: inflated to
//! nothing, and `tar xf`.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::bufread::MultiGzDecoder;
use tare::image::layer::{Options, OverlayXattr, Whiteouts};
use tare_oracle::image;

/// The largest blob of an image is its layer.
pub(crate) fn biggest(of: &str) -> PathBuf {
    let blobs = fs::read_dir(image(of).join("blobs/sha256"));
    let blobs = blobs.unwrap_or_else(|e| panic!("image {of} (tests/images.sh): {e}"));
    let blobs = blobs.map(|entry| entry.unwrap().path());
    let largest = blobs.max_by_key(|path| fs::metadata(path).unwrap().len());
    largest.expect("an image with a layer")
}

/// With the library's own inflater.
pub(crate) fn inflate(gzip: &Path, to: &mut impl io::Write) {
    let blob = BufReader::with_capacity(256 << 10, File::open(gzip).unwrap());
    let mut plain = MultiGzDecoder::new(blob);
    let mut chunk = vec![0; 256 << 10];
    loop {
        let n = io::Read::read(&mut plain, &mut chunk).unwrap();
        if n == 0 {
            break;
        }
        to.write_all(&chunk[..n]).unwrap();
    }
}

/// As in the store: both digests, whiteouts converted.
pub(crate) fn unpack(blob: &Path, into: &Path) {
    let options = Options {
        whiteouts: Whiteouts::Convert,
        overlay_xattr: OverlayXattr::Trusted,
        ..Options::default()
    };
    let blob = File::open(blob).unwrap();
    let into = File::open(into).unwrap();
    tare::image::layer::unpack(blob, into.as_fd(), &options, &mut |_| ()).unwrap();
}

/// Keeps the same data as the library.
pub(crate) fn untar(plain: &Path, into: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--xattrs", "-xpf"]).arg(plain);
    let status = tar.arg("-C").arg(into).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}
