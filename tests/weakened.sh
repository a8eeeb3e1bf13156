#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows that the tests would notice: with one defence switched off, the test that guards it must fail.
#
# tests/weakened.txt has a line for each: FEATURE, TEST-BINARY (lib, or the
# name of a file in tests/), TEST. With the feature exactly this test is run
# and must fail by itself; without the feature it must pass.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
normal=${CARGO_TARGET_DIR:-$PWD/target}
# Not beside the real programs: what is built here must never be run for them.
weak=$normal/weakened
export TARE_IMAGES=${TARE_IMAGES:-$normal/images}
logs=$weak/logs
mkdir -p "$logs"
passed=0 failed=0 began=$SECONDS

lines() { grep -vE '^[[:space:]]*(#|$)' tests/weakened.txt; }

# test_of BINARY TARGET-DIR CARGO-FLAGS... -- LIBTEST-FLAGS...
test_of() {
    local what=(--test "$1") target=$2
    [ "$1" = lib ] && what=(--lib)
    shift 2
    CARGO_TARGET_DIR=$target cargo test --quiet --locked --package libtare "${what[@]}" "$@"
}

# weakened BINARY FEATURE CARGO-FLAGS... -- LIBTEST-FLAGS...: ten libraries with their tests, kept small,
# since nobody debugs them.
weakened() {
    local binary=$1 feature=$2
    shift 2
    CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 test_of "$binary" "$weak" --features "$feature" "$@"
}

verdict() { # verdict NAME WORD [LOG]
    echo "test $1 ... $2"
    if [ "$2" = ok ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        sed 's/^/    /' "$3"
    fi
}

# Whether the log tells of one test that ran and ended as said.
ended() { grep -q "^test result: $1. $2 passed; $3 failed;" "$4"; }

check() {
    local feature=$1 binary=$2 name=$3 log=$logs/$1.$2.log
    if ! weakened "$binary" "$feature" --no-run >"$log" 2>&1; then
        verdict "$feature::$name builds" FAILED "$log"
        return
    fi
    weakened "$binary" "$feature" -- --exact "$name" >"$log" 2>&1
    if ended FAILED 0 1 "$log"; then
        verdict "$feature turns $name red" ok
    else
        verdict "$feature turns $name red" FAILED "$log"
    fi
    test_of "$binary" "$normal" -- --exact "$name" >"$log" 2>&1
    if ended ok 1 0 "$log"; then
        verdict "without $feature $name is green" ok
    else
        verdict "without $feature $name is green" FAILED "$log"
    fi
}

echo
echo "running $((2 * $(lines | wc -l))) tests of weakened builds"
# Sorted, so that each feature is built once.
while read -r feature binary name <&3; do
    check "$feature" "$binary" "$name"
done 3< <(lines | sort)
# A feature that no line names switches something off that nothing guards.
while read -r feature; do
    if ! lines | grep -q "^${feature}[[:space:]]"; then
        verdict "$feature has a line in tests/weakened.txt" FAILED /dev/null
    fi
done < <(sed -n 's/^\(weak_[a-z0-9_]*\) *=.*/\1/p' Cargo.toml)

word=ok
[ "$failed" = 0 ] || word=FAILED
echo
echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in $((SECONDS - began)).00s"
[ "$failed" = 0 ]
