#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Compares CPython's and Go's own tests outside and inside a view of the host,
# as root and as ordinary users.
#
#   run.sh [WORD...]     suites (os, asyncio, go:net, ...) and users (root,
#                        plain, subids, userns); see compare.py
#
# Environment: TARE_SUITES=all runs each suite as each user, which takes half an
# hour; the default is a part of them.
set -euo pipefail
umask 022

cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
mkdir -p "$target/suites/go"
home=$(cd "$target/suites" && pwd)
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
for user in tare-t-plain tare-t-subids; do
    id "$user" >/dev/null || exit
done

/usr/bin/python3 -m doctest compare.py
cargo build --quiet --locked --package tare-cli
cp --remove-destination "$target/debug/tare" "$home/tare"

# A test program for each of Go's packages, built anew when the toolchain
# changes.
export GOTOOLCHAIN=local
stamp=$(go version)
if [ "$(cat "$home/go/.made" 2>/dev/null)" != "$stamp" ]; then
    for package in os os/exec net syscall; do
        go test -c -o "$home/go/${package//\//.}.test" "$package"
    done
    go env GOROOT >"$home/go/goroot"
    printf '%s\n' "$stamp" >"$home/go/.made"
fi

echo
echo "running the tests of CPython and Go outside and inside"
"${root[@]}" /usr/bin/python3 compare.py "$home" "${TARE_SUITES:-ci}" "$@"
