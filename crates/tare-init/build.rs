// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles the helper program that the library embeds: `tare-wire`, then
//! `src/main.rs`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    // Of `tare-wire`, cargo knows: this script depends on it.
    println!("cargo::rerun-if-changed=src");
    check_target();
    let out = PathBuf::from(variable("OUT_DIR"));
    let wire = out.join("libtare_wire.rlib");
    let source = Path::new(tare_wire::MANIFEST_DIR).join("src/lib.rs");
    run(&mut compile("tare_wire", "rlib", &source, &wire));
    let source = Path::new("src/main.rs");
    let mut program = compile("tare_init", "bin", source, &out.join("tare-init"));
    program
        .arg(format!("--extern=tare_wire={}", wire.display()))
        .arg("--cfg=freestanding")
        .args(["-Clto=fat", "-Crelocation-model=static", "-Cstrip=symbols"])
        .arg("-Ctarget-feature=+crt-static")
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib"])
        .arg("-Clink-arg=-static")
        .arg("-Clink-arg=-Wl,--build-id=none,-z,noexecstack");
    // tests/weak_rustc.sh compiles this file with it, too.
    if cfg!(tare_weak) {
        program.arg("--cfg=tare_weak");
    }
    run(&mut program);
}

fn check_target() {
    let target = variable("TARGET");
    assert!(
        target.starts_with("x86_64-"),
        "libtare runs on x86_64 only so far, not on {target}"
    );
    assert!(
        env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu"),
        "libtare is made with glibc, not for {target}; try: RUSTFLAGS=-Ctarget-feature=+crt-static cargo build \
         --target x86_64-unknown-linux-gnu, whose programs need no libc"
    );
}

/// Compiles one crate for size and without unwinding, with checks of
/// arithmetic, in every profile. Warnings are cargo's to tell, which compiles
/// the same sources.
fn compile(name: &str, kind: &str, source: &Path, out: &Path) -> Command {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .arg(source)
        .arg(format!("--crate-name={name}"))
        .arg(format!("--crate-type={kind}"))
        .args(["--edition=2024", "--cap-lints=allow", "--target"])
        .arg(variable("TARGET"))
        .args(["-Cpanic=abort", "-Copt-level=s", "-Ccodegen-units=1"])
        .args(["-Cdebug-assertions=off", "-Coverflow-checks=on"])
        .arg("-o")
        .arg(out);
    rustc
}

fn run(rustc: &mut Command) {
    let status = rustc.status().expect("rustc runs");
    assert!(status.success(), "the helper program does not build");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
