#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# install.sh LINKED DESTDIR PREFIX: installs the C face below DESTDIR/PREFIX:
# header, archive, shared library, tare.pc, from the results of link.sh in
# LINKED. As root and without a DESTDIR, runs ldconfig(8), too. Environment:
# DEBUGINFO, see scripts/install-stripped.sh.
set -eu

linked=$1 root=$2$3 prefix=$3
cd "$(dirname "$0")"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)
install -D -m 0644 ../../include/tare.h "$root/include/tare.h"
../../scripts/install-stripped.sh "$linked/libtare.a" "$root/lib/libtare.a" 0644
../../scripts/install-stripped.sh "$linked/libtare.so.$version" "$root/lib/libtare.so.$version" 0755
ln -sf "libtare.so.$version" "$root/lib/libtare.so.0"
ln -sf libtare.so.0 "$root/lib/libtare.so"
install -d "$root/lib/pkgconfig"
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" tare.pc.in >"$root/lib/pkgconfig/tare.pc"
chmod 0644 "$root/lib/pkgconfig/tare.pc"
# Programs find a library by the cache of ld.so(8). A tree for a package has no
# part in this machine's.
if [ -z "$2" ] && PATH=$PATH:/usr/sbin:/sbin && command -v ldconfig >/dev/null; then
    [ "$(id -u)" != 0 ] || ldconfig
    case $(ldconfig -p) in
    *" $root/lib/libtare.so.0"*) ;;
    *) echo "programs do not find $root/lib/libtare.so.0 by themselves: docs/c.md says what to do" >&2 ;;
    esac
fi
