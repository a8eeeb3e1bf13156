#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks that a program finds the library as docs/c.md says: in the default
# place, and below another prefix. Needs root; the machine's directories are
# copy-on-write in a mount namespace meanwhile.
#
#   installed.sh LINKED PROGRAM.c    prints the program's output after each
#                                    installation
#
# LINKED is the output directory of link.sh.
set -euo pipefail
umask 022
linked=$(realpath "$1") program=$(realpath "$2")
cd "$(dirname "$0")"

temp=$(mktemp -d /tmp/tare-installed.XXXXXX)
trap 'rm -rf "$temp"' EXIT
# shellcheck disable=SC2016
env -i PATH=/usr/bin:/bin TARE_STORE="$temp/store" unshare --mount --propagation private bash -euc '
    mkdir "$1/copy"
    mount -t tmpfs none "$1/copy"
    for each in etc usr/local; do
        mkdir -p "$1/copy/$each/upper" "$1/copy/$each/work"
        mount -t overlay -o "lowerdir=/$each,upperdir=$1/copy/$each/upper,workdir=$1/copy/$each/work" none "/$each"
    done
    [ ! -d /var/cache/ldconfig ] || mount -t tmpfs none /var/cache/ldconfig

    said=$(./install.sh "$2" "" /usr/local 2>&1)
    [ -z "$said" ] || echo "says: $said"
    gcc "$3" $(pkg-config --cflags --libs tare) -o "$1/copy/program"
    "$1/copy/program"
    rm -r /usr/local/{include/tare.h,lib/libtare.*,lib/pkgconfig/tare.pc}

    said=$(./install.sh "$2" "" "$1/copy/own" 2>&1)
    [[ $said == *"$1/copy/own/lib"*docs/c.md* ]] || echo "says: $said"
    export PKG_CONFIG_PATH="$1/copy/own/lib/pkgconfig"
    gcc "$3" $(pkg-config --cflags --libs tare) -Wl,-rpath,"$(pkg-config --variable=libdir tare)" -o "$1/copy/program"
    "$1/copy/program"
    gcc "$3" $(pkg-config --cflags --libs tare) -o "$1/copy/program"
    LD_LIBRARY_PATH=$1/copy/own/lib "$1/copy/program"
' bash "$temp" "$linked" "$program"
