#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the tests again as on older kernels: newer system calls, options and
# files removed by a seccomp filter.
#
# tests/enosys.txt has a line for each run: WORDS (as `enosys` takes them),
# TEST-BINARY (lib, or the name of a file in tests/), then words for the test
# harness, such as filters or --skip NAME.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target
export TARE_IMAGES=${TARE_IMAGES:-$target/images}
logs=$target/enosys
mkdir -p "$logs"
passed=0 failed=0 began=$SECONDS

lines() { grep -vE '^[[:space:]]*(#|$)' tests/enosys.txt; }

cargo build --quiet --locked --package tare-oracle --bin enosys || exit 1
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
runner=CARGO_TARGET_${triple}_RUNNER
before=${!runner:-}

echo
echo "running $(lines | wc -l) runs without newer system calls"
while read -r calls binary words <&3; do
    what=(--test "$binary")
    [ "$binary" = lib ] && what=(--lib)
    read -ra flags <<<"$words"
    log=$logs/$calls.$binary.log
    name="without $calls: $binary ${words:-(all)}"
    if env "$runner=$before $target/debug/enosys $calls --" \
        cargo test --quiet --locked --package libtare "${what[@]}" -- "${flags[@]}" >"$log" 2>&1 &&
        ! grep -q '^test result: ok. 0 passed' "$log"; then
        echo "test $name ... ok ($(grep -o '^test result: ok. [0-9]* passed' "$log" | grep -o '[0-9]* passed'))"
        passed=$((passed + 1))
    else
        echo "test $name ... FAILED"
        sed 's/^/    /' "$log"
        failed=$((failed + 1))
    fi
done 3< <(lines)

word=ok
[ "$failed" = 0 ] || word=FAILED
echo
echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in $((SECONDS - began)).00s"
[ "$failed" = 0 ]
