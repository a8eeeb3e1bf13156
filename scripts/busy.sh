#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs a command beside four busy loops and a disk writer, as on a machine with
# other work to do.
#
#   scripts/busy.sh COMMAND [ARG]...
#
# The exit status is the command's. The loops and the writer end with this
# script, even by SIGKILL. Environment: TMPDIR (where the disk is written to;
# default /tmp).
set -euo pipefail

[ $# -gt 0 ] || {
    echo "busy: no command; see the head of $0" >&2
    exit 125
}

file=$(mktemp)
exec 3>"$file"
# Without a name: gone at any end of this script.
rm "$file"
others=()
end() {
    kill -KILL "${others[@]}" 2>/dev/null || true
    wait "${others[@]}" 2>/dev/null || true
}
trap end EXIT

# beside COMMAND...: runs the command until this script ends.
beside() {
    setpriv --pdeathsig KILL "$@" </dev/null >/dev/null 2>&1 &
    others+=($!)
}

for _ in 1 2 3 4; do
    beside bash -c 'while :; do :; done'
done
# 256 MiB at a time, each on the disk before the next, for which other writers
# wait.
beside python3 -c 'import os
block = bytes(1 << 20)
while True:
    for at in range(256):
        os.pwrite(3, block, at << 20)
    os.fsync(3)'
exec 3>&-

"$@"
