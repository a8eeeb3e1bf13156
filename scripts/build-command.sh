#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# build-command.sh: builds the command as users get it, target/release/tare: a
# static position-independent program, which starts in two thirds of the time
# that ld.so(8) takes. Without an archive of the C library it is linked
# dynamically.
#
# Environment: CARGO, CC.
set -eu
cd "$(dirname "$0")/.."

for archive in libc.a libgcc_eh.a; do
    if ! [ -f "$("${CC:-cc}" -print-file-name="$archive")" ]; then
        echo "without $archive, tare starts slower; try: apt-get install libc6-dev gcc" >&2
        exec "${CARGO:-cargo}" build --quiet --locked --release --package tare-cli
    fi
done
exec "${CARGO:-cargo}" rustc --quiet --locked --release --package tare-cli --bin tare -- \
    -C target-feature=+crt-static
