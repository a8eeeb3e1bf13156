// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the helper program (`src/init`) that the library embeds.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/init");
    println!("cargo::rerun-if-changed=src/wire");
    println!("cargo::rustc-check-cfg=cfg(tare_init)");
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    assert!(
        target.starts_with("x86_64-"),
        "libtare runs on x86_64 only so far, not on {target}"
    );
    assert!(
        env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu"),
        "libtare is made with glibc, not for {target}; try: RUSTFLAGS=-Ctarget-feature=+crt-static cargo build \
         --target x86_64-unknown-linux-gnu, whose programs need no libc"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("tare-init");
    let mut rustc = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
    rustc
        .args([
            "src/init/main.rs",
            "--crate-name=tare_init",
            "--crate-type=bin",
            "--edition=2024",
            "--cfg=tare_init",
            "--check-cfg=cfg(tare_init, tare_weak, test, fuzzing)",
        ])
        .args([
            "--target",
            &target,
            "-Cpanic=abort",
            "-Copt-level=s",
            "-Clto=fat",
            "-Ccodegen-units=1",
            "-Crelocation-model=static",
            "-Cstrip=symbols",
        ])
        .args([
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-static",
            "-Clink-arg=-Wl,--build-id=none,-z,noexecstack",
            "-Ctarget-feature=+crt-static",
        ])
        .args(["-Cdebug-assertions=off", "-Coverflow-checks=on"])
        .arg("-o")
        .arg(&out);
    // tests/weak_rustc.sh compiles this file with it, too.
    if cfg!(tare_weak) {
        rustc.arg("--cfg=tare_weak");
    }
    let status = rustc.status().expect("rustc runs");
    assert!(status.success(), "the helper program does not build");
}
