#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows the main job: a command in a copy-on-write view of this machine, then a
# command in Debian. Prints the isolation and the time of each step. Needs the
# results of `make demo`.
set -euo pipefail

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
images=${TARE_IMAGES:-$target/images}
tare=$target/release/tare
store=$(mktemp -d /var/tmp/tare-demo.XXXXXX)
trap 'rm -rf "$store"' EXIT
export TARE_STORE=$store

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# step WORDS -- COMMAND...: runs the command and prints its time.
step() {
    local words=() began=$EPOCHREALTIME us shown
    while [ "$1" != -- ]; do words+=("$1"); shift; done
    shift
    # Of a script of several lines, the first is enough.
    shown=${*/#$tare/tare}
    printf '$ %s\n' "${shown%%$'\n'*}"
    "$@"
    us=$((${EPOCHREALTIME/./} - ${began/./}))
    printf '  %s: %d.%03d ms\n' "${words[*]}" $((us / 1000)) $((us % 1000))
}

# State of this machine that must be the same at the end.
seen_outside() {
    awk '{ $1 = $2 = ""; print }' /proc/self/mountinfo
    find /sys/fs/cgroup -type d -name 'tare*' 2>/dev/null
    # Not the dead that only wait for process 1 to look at them.
    awk '/^Name:/ { ours = $2 ~ /^tare-/ } /^State:/ && ours && $2 != "Z" { print FILENAME }' \
        /proc/[0-9]*/status 2>/dev/null || true
}

# Run inside; prints the view of a command there.
# shellcheck disable=SC2016  # expanded inside, not here
look='# look around
echo "  user        $(id)"
echo "  host name   $(cat /proc/sys/kernel/hostname)"
echo "  processes   $(ls /proc | grep -c "^[0-9]"), the first is $(cat /proc/1/comm)"
echo "  interfaces  $(tail -n +3 /proc/net/dev | cut -d : -f 1 | xargs)"
echo "  devices     $(ls /dev | xargs)"
echo "  $(grep CapEff /proc/self/status)  $(grep NoNewPrivs /proc/self/status)  $(grep -w Seccomp /proc/self/status)"
echo written inside >/etc/tare-demo && echo "  writes      /etc/tare-demo holds: $(cat /etc/tare-demo)"
'

bold "1. Build"
step "build" -- scripts/build-command.sh
before=$(seen_outside)

bold "2. A command in a copy-on-write view of this machine, without any image"
step "run" -- "$tare" run host -- id
step "run" -- "$tare" run host -- sh -c "$look"
if [ -e /etc/tare-demo ]; then
    echo "the write came through to this machine" >&2
    exit 1
fi
echo "  outside     there is no /etc/tare-demo"

bold "3. The same in Debian"
step "import" -- "$tare" image import "oci:$images/debian:latest" debian
step "run" -- "$tare" run debian -- sh -c "$look"
step "run" -- "$tare" run debian -- python3 -c 'import platform; print(" ", platform.freedesktop_os_release()["PRETTY_NAME"])'

bold "4. A hundred more, one after the other"
hundred() { for _ in $(seq 100); do "$tare" run debian -- true; done; }
step "100 runs" -- hundred

bold "5. What is left"
for _ in $(seq 50); do
    left=$(comm -13 <(sort <<<"$before") <(seen_outside | sort))
    [ -n "$left" ] || break
    sleep 0.1
done
if [ -z "$left" ]; then
    echo "  nothing: mounts, cgroups and processes are as before"
else
    printf '%s\n' "$left"
    exit 1
fi
