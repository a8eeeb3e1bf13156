#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Cuts the power of disks with a store on them, see cuts.py: ext4, xfs, btrfs.
# What it is given are words for that.
#
# Environment: TARE_CUTS (how many in all; default 50), TARE (the command; built
# by default). Needs root, loop devices and FUSE.
set -euo pipefail
umask 022

cd "$(dirname "$0")"
export PATH=$PATH:/usr/sbin:/sbin
target=${CARGO_TARGET_DIR:-$PWD/../../target}
tare=${TARE:-$target/debug/tare}
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

missing=()
for program in qemu-storage-daemon mkfs.ext4 mkfs.xfs mkfs.btrfs python3; do
    command -v "$program" >/dev/null || missing+=("$program")
done
[ -e /dev/fuse ] || missing+=(/dev/fuse)
[ -e /dev/loop-control ] || missing+=(/dev/loop-control)
for kind in ext4 xfs btrfs; do
    "${root[@]}" modprobe -q "$kind" 2>/dev/null || true
    grep -qw "$kind" /proc/filesystems || missing+=("the file system $kind")
done
if [ ${#missing[@]} != 0 ]; then
    IFS=, && echo "SKIPPED: cuts of the power need ${missing[*]}; try: scripts/setup.sh"
    [[ ${TARE_TESTS_REQUIRE:-} != all* ]] || exit 1
    echo "0 passed, 1 skipped"
    exit
fi

[ -n "${TARE:-}" ] || cargo build --quiet --locked --package tare-cli
echo
echo "cutting the power"
# Mounts end with the namespace, and loop devices and files with their mounts,
# however this ends.
# shellcheck disable=SC2016
exec "${root[@]}" unshare --mount --propagation private bash -euc '
    mount -t tmpfs -o mode=0700 none /dev/shm
    exec python3 cuts.py --place /dev/shm "$@"' bash --tare "$tare" --cuts "${TARE_CUTS:-50}" "$@"
