#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs tests again as on other machines and by other callers.
#
#   tests/again.sh TABLE
#
# The table has a line for each run: HOW, TEST-BINARY (lib, or the name of a
# file in tests/), then words for the test harness, such as filters or --skip
# NAME.
# HOW is root-of-one or root-of-many: uid 0 of a user namespace with one id or
# with subordinate ids. Or it is words as `enosys` takes them: an older kernel;
# a seccomp filter removes newer system calls, options and files.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
table=$1
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR=$target
export TARE_IMAGES=${TARE_IMAGES:-$target/images}
logs=$target/$(basename "$table" .txt)
mkdir -p "$logs"
passed=0 failed=0 began=$SECONDS

lines() { grep -vE '^[[:space:]]*(#|$)' "$table"; }

cargo build --quiet --locked --package tare-oracle --bin enosys || exit 1
triple=$(rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
runner=CARGO_TARGET_${triple}_RUNNER
before=${!runner:-}

# root_of USER FLAGS: prints the words that start a program as uid 0 of a user
# namespace of that user.
root_of() {
    local home
    home=$(getent passwd "$1" | cut -d: -f6)
    echo "/usr/bin/setpriv --reuid=$1 --regid=$(id -g "$1") --init-groups --inh-caps=-all -- /usr/bin/env -i" \
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=$home USER=$1 LOGNAME=$1 TARE_IMAGES=$TARE_IMAGES" \
        "/usr/bin/unshare --map-root-user $2 --"
}

# words HOW: those that start a test program so.
words() {
    case $1 in
    root-of-one) root_of tare-t-plain "" ;;
    root-of-many) root_of tare-t-subids --map-auto ;;
    *) echo "$target/debug/enosys $1 --" ;;
    esac
}

echo
echo "running $(lines | wc -l) runs of $table"
while read -r how binary flags <&3; do
    what=(--test "$binary")
    [ "$binary" = lib ] && what=(--lib)
    name="$how: $binary ${flags:-(all)}"
    read -ra flags <<<"$flags"
    log=$logs/$how.$binary.log
    if env "$runner=$before $(words "$how")" \
        cargo test --quiet --locked --package libtare "${what[@]}" -- "${flags[@]}" >"$log" 2>&1 &&
        ! grep -q '^test result: ok. 0 passed' "$log"; then
        ran=$(grep -oP '^test result: ok. \K[0-9]+' "$log")
        # A test that lacks something returns early: passed, to libtest.
        skipped=$(grep -o 'SKIPPED: ' "$log" | wc -l)
        echo "test $name ... ok ($((ran - skipped)) passed, $skipped skipped)"
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
