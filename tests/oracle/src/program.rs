// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the programs that this workspace builds, and builds them when they are
//! not there.
#![forbid(unsafe_code)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of this build's programs, for example `target/debug`.
fn output_dir() -> PathBuf {
    let mut dir = env::current_exe().expect("a running program has a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// The path of `program` from the workspace's `package`, for example
/// `built("tare-oracle", "enosys")`; built now if no earlier step did.
///
/// # Panics
/// When the program cannot be built.
pub fn built(package: &str, program: &str) -> PathBuf {
    let path = output_dir().join(program);
    if !path.exists() {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--quiet", "--package", package, "--bin", program])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
        if output_dir().ends_with("release") {
            cargo.arg("--release");
        }
        if let Some(target) = output_dir().parent() {
            cargo.env("CARGO_TARGET_DIR", target);
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "cargo build {package} --bin {program}");
    }
    path
}
