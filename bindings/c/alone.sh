#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# alone.sh PROGRAM WORDS...: runs a program in a root directory without
# libraries: only the kernel's file systems, /tmp and the program. Needs root.
set -euo pipefail

# shellcheck disable=SC2016
exec unshare --mount bash -euc '
    mount -t tmpfs none /mnt
    mkdir /mnt/{proc,sys,dev,tmp}
    for each in proc sys dev tmp; do mount --rbind "/$each" "/mnt/$each"; done
    cp "$1" /mnt/program
    PATH=$PATH:/usr/sbin exec chroot /mnt /program "${@:2}"' bash "$@"
