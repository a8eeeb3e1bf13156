#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# link.sh ARCHIVE DIR: makes libtare.a and libtare.so in DIR from rustc's
# archive, with all debug information.
#
# Not linked by rustc: its archive defines every name of std and of libzstd for
# the whole program, and its list of exports takes no symbol versions.
set -eu

archive=$1 dir=$2
cd "$(dirname "$0")"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' ../../Cargo.toml)
mkdir -p "$dir"
names=$(mktemp -d)
trap 'rm -rf "$names"' EXIT
sed -n 's/^    \(tare_[a-z0-9_]*\);$/\1/p' tare.map >"$names/exported"

# zstd's weak hooks for tracing are answered here, with "no": they would be
# found in a libzstd of the program's.
"${CC:-cc}" -xc - -c -O2 -fPIC -o "$names/hooks.o" <<'END'
unsigned long long ZSTD_trace_decompress_begin(const void *context) { (void)context; return 0; }
void ZSTD_trace_decompress_end(unsigned long long trace, const void *what) { (void)trace, (void)what; }
END
# A single object of all code that the exported functions need. Its sections
# stay apart for the program's own --gc-sections.
# shellcheck disable=SC2046 # a list of words
"${CC:-cc}" -r -nostdlib -o "$dir/tare.o" $(sed 's/^/-Wl,-u,/' "$names/exported") "$names/hooks.o" "$archive" \
    -Wl,--gc-sections -Wl,--force-group-allocation
# Undefined names of removed code: the linker of a static program warns of some.
# LLVM's bitcode of std is invalid once concatenated, and stops nm(1) and ld(1)
# where LLVM's plugin is installed.
"${NM:-nm}" --undefined-only "$dir/tare.o" | sed 's/.* //' >"$names/undefined"
"${OBJCOPY:-objcopy}" --keep-global-symbols="$names/exported" --strip-unneeded-symbols="$names/undefined" \
    --remove-section=.llvmbc --remove-section=.llvmcmd "$dir/tare.o"
rm -f "$dir/libtare.a"
"${AR:-ar}" rcsD "$dir/libtare.a" "$dir/tare.o"
rm "$dir/tare.o"

"${CC:-cc}" -shared -o "$dir/libtare.so.$version" -Wl,--whole-archive "$dir/libtare.a" -Wl,--no-whole-archive \
    -Wl,--version-script=tare.map -Wl,-soname,libtare.so.0 -Wl,--gc-sections -Wl,--no-undefined -Wl,--build-id=sha1 \
    -Wl,-z,relro,-z,now,-z,noexecstack -lpthread -ldl -lm -lc
