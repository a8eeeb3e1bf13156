#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Works on one store with six processes at once: import, load, run, remove,
# collect, check and repair. Each must succeed, though the others take away what
# it has just looked at; what is named by no other process must stay.
#
#   tests/stress.sh [SECONDS]     for each user; default 7
#
# Environment: TARE (the command; built by default), TARE_STRESS_USERS (default:
# root and the tests' ordinary users).
set -euo pipefail
umask 022

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
target=$(cd "$target" && pwd)
images=${TARE_IMAGES:-$target/images}
seconds=${1:-7}
read -ra users <<<"${TARE_STRESS_USERS:-root tare-t-plain tare-t-subids}"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
if [ -z "${TARE:-}" ]; then
    cargo build --quiet --locked --package tare-cli
    TARE=$target/debug/tare
fi

home=$(mktemp -d)
chmod 755 "$home"
trap '"${root[@]}" rm -rf "$home"' EXIT
# Ordinary users may not reach the sources.
install "$TARE" "$home/tare"
cp -r "$images/busybox" "$images/busybox.docker.tar" "$images/busybox.oci.tar" "$images/static" "$home"

cat >"$home/work" <<'WORK'
# work NAME: does one thing in a loop until the time is up, and writes what
# fails.
name=$1 count=0
try() {
    count=$((count + 1))
    "$HOME/tare" "$@" >"$STRESS/$name.out" 2>&1 </dev/null && return
    # Another process was faster.
    [ "$name" = remove ] && grep -q 'not in the store' "$STRESS/$name.out" && return
    { echo "\$ tare $*" && cat "$STRESS/$name.out"; } >>"$STRESS/$name.failed"
}
end=$((SECONDS + $2))
while [ "$SECONDS" -lt "$end" ]; do
    case $name in
    import)
        try image import "oci:$HOME/busybox:latest" one
        try image import "archive:$HOME/busybox.docker.tar" two
        ;;
    load)
        try image load -i "$HOME/busybox.docker.tar"
        try image load -i "$HOME/busybox.oci.tar"
        try image list
        ;;
    run)
        try run keep /hello
        try run "archive:$HOME/busybox.docker.tar" true
        try run "oci:$HOME/busybox:odd" true
        try run --write disk "oci:$HOME/busybox:latest" true
        ;;
    remove)
        for image in $("$HOME/tare" image list --json | tr ',{' '\n\n' | sed -n 's/.*"digest": *"\([^"]*\)".*/\1/p'); do
            [ "$image" = "$(cat "$STRESS/keep")" ] || try image rm "$image"
        done
        ;;
    collect)
        try store gc
        try store recover
        ;;
    check)
        try store check
        try store check --repair
        ;;
    esac
done
echo "$count" >"$STRESS/$name.count"
WORK

passed=0 failed=0
echo
echo "working on one store with six processes"
for user in "${users[@]}"; do
    export STRESS=$home/$user TARE_STORE=$home/$user/store HOME=$home
    "${root[@]}" install -d -o "$user" "$STRESS"
    as=("${root[@]}")
    [ "$user" = "$(id -un)" ] ||
        as=("${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups)
    as+=(env "STRESS=$STRESS" "TARE_STORE=$TARE_STORE" "HOME=$HOME")
    "${as[@]}" "$home/tare" image import "oci:$home/static" keep >"$STRESS.keep"
    # shellcheck disable=SC2016
    "${root[@]}" sh -c 'cut -d " " -f 1 "$1" >"$2/keep"' sh "$STRESS.keep" "$STRESS"
    workers=()
    for name in import load run remove collect check; do
        "${as[@]}" bash "$home/work" "$name" "$seconds" &
        workers+=($!)
    done
    wait "${workers[@]}" || true
    for name in import load run remove collect check; do
        if [ -s "$STRESS/$name.count" ] && [ ! -e "$STRESS/$name.failed" ]; then
            echo "test $name beside five others, $(cat "$STRESS/$name.count") times as $user ... ok"
            passed=$((passed + 1))
        else
            echo "test $name beside five others as $user ... FAILED"
            head -n 40 "$STRESS/$name.failed" | sed 's/^/    /' || true
            failed=$((failed + 1))
        fi
    done
    if "${as[@]}" "$home/tare" run keep /hello >"$STRESS.kept" && "${as[@]}" "$home/tare" store check >>"$STRESS.kept" &&
        [ -z "$("${root[@]}" ls -A "$STRESS/store/scratch")" ]; then
        echo "test nothing is lost or left as $user ... ok"
        passed=$((passed + 1))
    else
        echo "test nothing is lost or left as $user ... FAILED"
        "${root[@]}" ls -la "$STRESS/store/scratch" | cat - "$STRESS.kept" | sed 's/^/    /'
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
