#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Fuzzes the parsers with libFuzzer, guided by coverage, on a stable compiler.
#
#   fuzz/run.sh                     every target for a minute
#   fuzz/run.sh TARGET [SECONDS] [LIBFUZZER-FLAGS...]
#   fuzz/run.sh -m TARGET           puts new inputs into fuzz/corpus, as few as
#                                   cover the same code
#
# The inputs are in target/fuzz/TARGET, those of fuzz/corpus among them; an
# input that makes a target panic is left in target/fuzz and named. Needs a C++
# compiler.
set -euo pipefail

cd "$(dirname "$0")/.."
work=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# The flags of cargo-fuzz, without sanitizers, which are for nightly compilers:
# the parsers have no unsafe code.
flags=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") CARGO_TARGET_DIR=$work/build \
    cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml --target "$host"
program=$work/build/$host/release/tare-fuzz

unpack() {
    mkdir -p "$work/$1"
    tar --zstd -xf "fuzz/corpus/$1.tar.zst" -C "$work/$1"
}

# fuzz TARGET SECONDS FLAGS...
fuzz() {
    local name=$1 seconds=$2
    shift 2
    unpack "$name"
    TARE_FUZZ_TARGET=$name "$program" -max_total_time="$seconds" -max_len=16384 -timeout=20 \
        -rss_limit_mb=2048 -artifact_prefix="$work/$name-" -print_final_stats=1 "$@" "$work/$name"
}

minimize() {
    local least=$work/least
    unpack "$1"
    rm -rf "$least" && mkdir "$least"
    TARE_FUZZ_TARGET=$1 "$program" -set_cover_merge=1 "$least" "$work/$1"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0644 \
        -C "$least" -cf - . | zstd -q -19 -f -o "fuzz/corpus/$1.tar.zst"
}

case ${1-} in
    '') for pack in fuzz/corpus/*.tar.zst; do fuzz "$(basename "$pack" .tar.zst)" 60; done ;;
    -m) minimize "$2" ;;
    *) fuzz "$1" "${2:-60}" "${@:3}" ;;
esac
