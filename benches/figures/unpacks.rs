// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacking the Debian layer, beside inflating the layer to nothing and `tar
//! xf` of the plain archive.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::layers::{biggest, inflate, unpack, untar};
use super::sample::{Arm, interleave, timed};

/// Unpacks into a new directory below `within`; all stay to the end, because
/// ext4 without a journal reuses freed inodes slowly, and the next unpack would
/// pay.
pub(crate) fn into_new(within: &Path, work: impl FnOnce(&Path) -> Duration) -> Duration {
    let into = tempfile::tempdir_in(within).unwrap().keep();
    // This one must not pay for others' dirty pages.
    nix::unistd::sync();
    work(&into)
}

pub(crate) fn measure() -> Value {
    let layer = biggest("debian");
    let temp = tempfile::tempdir().unwrap();
    let plain = temp.path().join("layer.tar");
    inflate(&layer, &mut File::create(&plain).unwrap());
    let arms = vec![
        Arm::new("floor_inflate", || {
            into_new(temp.path(), |_| timed(|| inflate(&layer, &mut io::sink())))
        }),
        Arm::new("floor_untar", || {
            into_new(temp.path(), |into| timed(|| untar(&plain, into)))
        }),
        Arm::new("unpack", || {
            into_new(temp.path(), |into| timed(|| unpack(&layer, into)))
        }),
    ];
    json!({ "arms": interleave(arms, 5, 1) })
}
