#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the tests again as on older kernels: newer system calls, options and files removed by a seccomp filter.
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
# shellcheck source=tests/abreast.sh
. tests/abreast.sh

lines() { grep -vE '^[[:space:]]*(#|$)' tests/enosys.txt; }

cargo build --quiet --locked --package tare-oracle --bin enosys || exit 1
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
runner=CARGO_TARGET_${triple}_RUNNER
before=${!runner:-}

# run CALLS BINARY [WORD]...: one line of the table.
run() {
    local calls=$1 binary=$2 words=("${@:3}")
    local what=(--test "$binary") name="without $calls: $binary ${words[*]:-(all)}" log=$logs/$calls.$binary.log
    [ "$binary" = lib ] && what=(--lib)
    # A shell's background ignores two signals, and what it starts inherits that.
    if env --default-signal=INT,QUIT "$runner=$before $target/debug/enosys $calls --" \
        cargo test --quiet --locked --package libtare "${what[@]}" -- "${words[@]}" >"$log" 2>&1 &&
        ! grep -q '^test result: ok. 0 passed' "$log"; then
        echo "test $name ... ok ($(grep -o '^test result: ok. [0-9]* passed' "$log" | grep -o '[0-9]* passed'))"
    else
        echo "test $name ... FAILED"
        sed 's/^/    /' "$log"
    fi
}

echo
echo "running $(lines | wc -l) runs without newer system calls"
abreast "$logs" run < <(lines)
summed "$logs"
