#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs clippy on the helper program, which build.rs compiles and cargo does not
# know.
set -eu

cd "$(dirname "$0")/.."
# Not /dev/null: the compiler writes beside its output and renames, which as
# root replaces the device.
out=${CARGO_TARGET_DIR:-target}/lint-helper
mkdir -p "$out"
exec clippy-driver src/init/main.rs --crate-name=tare_init --crate-type=bin --edition=2024 \
    --cfg=tare_init '--check-cfg=cfg(tare_init, tare_weak, test, fuzzing)' \
    --target "$(rustc -vV | sed -n 's/^host: //p')" -Cpanic=abort \
    --emit=metadata --out-dir "$out" -Dwarnings -Wclippy::all -Dclippy::undocumented_unsafe_blocks
