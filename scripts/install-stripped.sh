#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# install-stripped.sh FILE TO MODE: installs a program, a shared library or an
# archive without debug information.
#
# Environment: DEBUGINFO names the place of the debug information:
#   none      nowhere (the default)
#   apart     the directory .debug beside TO, where gdb(1), addr2line(1) and
#             backtraces of Rust look below any prefix; for an archive, which
#             cannot be split, a whole copy
#   inside    the file itself, for packagers whose own tools take it out, for
#             example dh_strip(1)
set -eu

file=$1 to=$2 mode=$3 debug=${DEBUGINFO:-none}
objcopy=${OBJCOPY:-objcopy}
name=$(basename "$to") apart=$(dirname "$to")/.debug
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
case $debug in
none | apart) ;;
inside)
    install -D -m "$mode" "$file" "$to"
    exit
    ;;
*)
    echo "DEBUGINFO=$debug is unknown; try: DEBUGINFO=none, DEBUGINFO=apart or DEBUGINFO=inside" >&2
    exit 2
    ;;
esac
case $name in
*.a)
    cp "$file" "$temp/$name.debug"
    "$objcopy" --enable-deterministic-archives --strip-debug "$file" "$temp/$name"
    kept=$apart/$name
    ;;
*)
    "$objcopy" --only-keep-debug --compress-debug-sections "$file" "$temp/$name.debug"
    "$objcopy" --strip-unneeded --add-gnu-debuglink="$temp/$name.debug" "$file" "$temp/$name"
    kept=$apart/$name.debug
    ;;
esac
install -D -m "$mode" "$temp/$name" "$to"
[ "$debug" = none ] || install -D -m 0644 "$temp/$name.debug" "$kept"
