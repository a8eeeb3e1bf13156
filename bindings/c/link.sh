#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# link.sh ARCHIVE DIR: makes libtare.so from libtare.a, with its soname, symbol versions and links, in DIR.
#
# Not by rustc, which gives its own list of exports to the linker and takes no versions.
set -eu

archive=$1 dir=$2
cd "$(dirname "$0")"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)
mkdir -p "$dir"
# Only what the exported functions need is taken out of the archive.
exports=$(sed -n 's/^    \(tare_[a-z0-9_]*\);$/-Wl,-u,\1/p' tare.map)
# shellcheck disable=SC2086 # a list of words
"${CC:-cc}" -shared -o "$dir/libtare.so.$version" $exports "$archive" \
    -Wl,--version-script=tare.map -Wl,-soname,libtare.so.0 -Wl,--gc-sections -Wl,--no-undefined \
    -Wl,-z,relro,-z,now,-z,noexecstack -lgcc_s -lpthread -ldl -lm -lc
ln -sf "libtare.so.$version" "$dir/libtare.so.0"
ln -sf libtare.so.0 "$dir/libtare.so"
