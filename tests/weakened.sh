#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows that the tests would notice: with one defence switched off, the test that guards it must fail.
#
# tests/weakened.txt has a line for each: FEATURE, TEST-BINARY (lib, or the
# name of a file in tests/), TEST. With the feature exactly this test is run
# and must fail by itself; without the feature it must pass.
#
#   tests/weakened.sh [-1]
#
#   -1   each feature in a build of its own; without, features whose tests are in different programs are built together
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

# weakened CARGO-FLAGS... -- LIBTEST-FLAGS...: a library with its tests, kept small, since nothing of it is debugged.
weakened() {
    CARGO_TARGET_DIR=$weak CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
        cargo test --quiet --locked --package libtare "$@"
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

# what BINARY: the flags by which cargo knows it.
what() {
    if [ "$1" = lib ]; then echo --lib; else echo --test "$1"; fi
}

check() { # check FEATURES FEATURE BINARY TEST
    local features=$1 feature=$2 binary=$3 name=$4 log=$logs/$2.$3.log
    # shellcheck disable=SC2046
    weakened --features "$features" $(what "$binary") -- --exact "$name" >"$log" 2>&1
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

# Groups of features, a line each. Two features of a group have no test program in common, so that none hides behind
# another.
groups() {
    lines | awk -v alone="$1" '
        { tests[$1] = tests[$1] " " $2 }
        !($1 in seen) { seen[$1]; order[++n] = $1 }
        END {
            for (i = 1; i <= n; i++) {
                m = split(tests[order[i]], programs, " ")
                for (g = 1; ; g++) {
                    free = 1
                    for (k = 1; k <= m; k++) if ((g, programs[k]) in taken) free = 0
                    if (free && !(alone && g in group)) break
                }
                group[g] = group[g] (g in group && group[g] != "" ? "," : "") order[i]
                for (k = 1; k <= m; k++) taken[g, programs[k]]
                if (g > most) most = g
            }
            for (g = 1; g <= most; g++) print group[g]
        }'
}

# programs FEATURES: the flags for all test programs of a group.
programs() {
    lines | while read -r feature binary _; do
        [[ ,$1, != *,$feature,* ]] || what "$binary"
    done | sort -u
}

alone=
[ "${1-}" != -1 ] || alone=1
echo
echo "running $((2 * $(lines | wc -l))) tests of weakened builds"
while read -r features <&3; do
    log=$logs/build.log
    # shellcheck disable=SC2046
    if ! weakened --features "$features" $(programs "$features") --no-run >"$log" 2>&1; then
        verdict "$features build" FAILED "$log"
        continue
    fi
    while read -r feature binary name <&4; do
        [[ ,$features, != *,$feature,* ]] || check "$features" "$feature" "$binary" "$name"
    done 4< <(lines)
done 3< <(groups "$alone")
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
