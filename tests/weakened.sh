#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows that the tests would notice: with one defence switched off, the test
# that guards it must fail.
#
# tests/weakened.txt has a line for each: DEFENCE, TEST-BINARY (lib, or the
# name of a file in tests/), TEST. All are built once with tests/weak_rustc.sh.
# With TARE_WEAK=DEFENCE exactly this test is run and must fail by itself;
# without, it must pass.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export TARE_IMAGES=${TARE_IMAGES:-$CARGO_TARGET_DIR/images}
logs=$CARGO_TARGET_DIR/weakened
mkdir -p "$logs"
passed=0 failed=0 began=$SECONDS
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
runner=CARGO_TARGET_${triple}_RUNNER
read -ra runner <<<"${!runner:-}"

lines() { grep -vE '^[[:space:]]*(#|$)' tests/weakened.txt; }

verdict() { # verdict NAME WORD [LOG]
    echo "test $1 ... $2"
    if [ "$2" = ok ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        sed 's/^/    /' "$3"
    fi
}

# build BINARY...: writes lines of BINARY and its path to $logs/programs.
build() {
    local what=() name
    for name; do
        if [ "$name" = lib ]; then what+=(--lib); else what+=(--test "$name"); fi
    done
    RUSTC_WORKSPACE_WRAPPER=$PWD/tests/weak_rustc.sh cargo test --quiet --locked --package libtare "${what[@]}" \
        --no-run --message-format=json |
        jq -r 'select(.executable and .profile.test) | [if .target.kind == ["lib"] then "lib" else .target.name end,
            .executable] | @tsv' >"$logs/programs"
}

# check DEFENCE BINARY TEST [PASSES FAILURES]: one test with a defence off, or
# with all if DEFENCE is empty, ends so.
check() {
    local defence=$1 program log=$logs/${1:-none}.$2.log
    program=$(awk -v name="$2" '$1 == name { print $2 }' "$logs/programs")
    TARE_WEAK=$defence "${runner[@]}" "$program" --exact "$3" >"$log" 2>&1
    if grep -q "^test result: [a-zA-Z]*. $4 passed; $5 failed;" "$log"; then
        verdict "$3 ${defence:+without $defence }is $([ "$5" = 0 ] && echo green || echo red)" ok
    else
        verdict "$3 ${defence:+without $defence }is $([ "$5" = 0 ] && echo green || echo red)" FAILED "$log"
    fi
}

echo
echo "running $((2 * $(lines | wc -l) + 2)) tests of a weakened build"
# shellcheck disable=SC2046
if build $(lines | awk '{ print $2 }' | sort -u) 2>"$logs/build.log"; then
    while read -r defence binary name <&3; do
        check "$defence" "$binary" "$name" 0 1
        check "" "$binary" "$name" 1 0
    done 3< <(lines)
else
    verdict "weakened build" FAILED "$logs/build.log"
fi
# A switch that no line names is a defence that nothing guards.
if diff <(lines | awk '{ print $1 }' | sort -u) \
    <(grep -rhoE 'is_weak!\("[a-z_]+"\)' --include='*.rs' src crates 2>/dev/null | cut -d '"' -f 2 | sort -u) >"$logs/named.log"; then
    verdict "each switch has a line in tests/weakened.txt" ok
else
    verdict "each switch has a line in tests/weakened.txt" FAILED "$logs/named.log"
fi
# Features unify: a feature would be a switch for every crate of a program.
if cargo metadata --locked --no-deps --format-version 1 | jq '[.packages[].features | keys[] | select(test("weak"))]' \
    >"$logs/features.log" && [ "$(jq length "$logs/features.log")" = 0 ]; then
    verdict "no cargo feature switches a defence off" ok
else
    verdict "no cargo feature switches a defence off" FAILED "$logs/features.log"
fi

word=ok
[ "$failed" = 0 ] || word=FAILED
echo
echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in $((SECONDS - began)).00s"
[ "$failed" = 0 ]
