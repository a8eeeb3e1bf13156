// SPDX-License-Identifier: MIT OR Apache-2.0
//! The place in which `tests/images.sh` put the real images.
#![forbid(unsafe_code)]

use std::env;
use std::path::{Path, PathBuf};

/// The directory of the images: `$TARE_IMAGES`, else `images` in cargo's target
/// directory.
pub fn directory() -> PathBuf {
    env::var_os("TARE_IMAGES").map_or_else(|| target().join("images"), PathBuf::from)
}

/// The directory of guests' kernels: `$TARE_GUEST`, else `guest` in cargo's
/// target directory.
pub fn guests() -> PathBuf {
    env::var_os("TARE_GUEST").map_or_else(|| target().join("guest"), PathBuf::from)
}

fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two directories below the workspace");
    workspace.join(target)
}

/// The path of an image or archive, for example `image("debian")` for an OCI
/// layout or `image("busybox.oci.tar")`. The file may be missing: a test begins
/// with `need!(image("debian"))`.
pub fn image(name: &str) -> PathBuf {
    directory().join(name)
}
