#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# install.sh ARCHIVE DESTDIR PREFIX: the C face below DESTDIR/PREFIX: header, archive, shared library, tare.pc.
set -eu

archive=$1 root=$2$3 prefix=$3
cd "$(dirname "$0")"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)
install -D -m 0644 ../../include/tare.h "$root/include/tare.h"
install -D -m 0644 "$archive" "$root/lib/libtare.a"
./link.sh "$archive" "$root/lib"
install -d "$root/lib/pkgconfig"
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" tare.pc.in >"$root/lib/pkgconfig/tare.pc"
chmod 0644 "$root/lib/pkgconfig/tare.pc"
