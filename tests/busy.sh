#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs tests that wait for others, or count, three times in a row beside
# scripts/busy.sh: guards, commands, crashes, leftovers, faces. A test that
# fails here now and then is wrong, or its subject is.
#
#   tests/busy.sh [-a]
#
#   -a   all of these, for an hour by hand; the default is a part of each, for
#        the four minutes of CI
#
# Expects the results of bindings/{c,python}/test.sh. Logs of failures are in
# $CARGO_TARGET_DIR/busy.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/busy
mkdir -p "$logs"
passed=0 failed=0

# Built first: a compiler is no test, and needs no company.
cargo test --quiet --locked --package libtare --test guards --test commands --test crashes --test leftovers --no-run
cargo build --quiet --locked --package libtare --example face
cargo build --quiet --locked --package tare-cli

# beside NAME COMMAND...: one test of this script.
beside() {
    local name=$1 log=$logs/$1.log began=$SECONDS
    shift
    if scripts/busy.sh "$@" >"$log" 2>&1; then
        echo "test $name beside other work, $((SECONDS - began)) s ... ok"
        passed=$((passed + 1))
    else
        echo "test $name beside other work, $((SECONDS - began)) s ... FAILED"
        sed 's/^/    /' "$log"
        cp "$log" "$log.$round"
        failed=$((failed + 1))
    fi
}

# rust NAME FILTERS...: a program of tests.
rust() {
    beside "$1" cargo test --quiet --locked --package libtare --test "$1" -- "${@:2}"
}

echo
for round in 1 2 3; do
    if [ "${1-}" = -a ]; then
        rust guards
        rust commands
        rust crashes
        rust leftovers
        beside faces tests/faces/run.sh
    else
        rust guards calls_of_root voluntary allocations page_faults
        rust commands kills terminal
        # One call in 25.
        TARE_CRASHES=25 rust crashes b05_helper_may_be_killed_at_any_call
        rust leftovers ends descriptors pools
        # Another face each time.
        faces=(aio rust c)
        beside faces tests/faces/run.sh "${faces[round - 1]}"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
