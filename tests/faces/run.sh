#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs cases.txt in every face: the Rust, C, Python, asyncio and Go APIs and the
# JSON protocol, as root and as ordinary users, one of them user 0 of a user
# namespace. Expects the results of bindings/{c,python}/test.sh.
#
#   run.sh [FACE...]     rust, c, sync, aio, go, rpc; all by default
set -euo pipefail
umask 022

cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
target=$(cd "$target" && pwd)
home=$target/faces
prefix=$target/c/dest/usr/local
venv=$target/python/venv
mkdir -p "$home"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
[ $# != 0 ] || set -- rust c sync aio go rpc

[ -e "$prefix/lib/libtare.so" ] || ../../bindings/c/test.sh >/dev/null
"$venv/bin/python" -c 'import tare' 2>/dev/null || ../../bindings/python/test.sh -e >/dev/null
cargo build --quiet --locked --package libtare --example face
cargo build --quiet --locked --package tare-cli
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$target/c/dest PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
read -ra flags < <(pkg-config --cflags --libs tare)
gcc -static -std=c11 -Wall -Wextra -Werror -D_GNU_SOURCE -O1 -pthread ../probes/traced.c -o "$home/traced"
if [[ " $* " == *" c "* ]]; then
    gcc -std=c11 -Wall -Wextra -pedantic -Werror -Wshadow -Wstrict-prototypes -D_GNU_SOURCE -O1 -pthread c.c -o "$home/c" "${flags[@]}"
fi
if [[ " $* " == *" go "* ]]; then
    unformatted=$(gofmt -l go)
    [ -z "$unformatted" ] || { echo "gofmt: $unformatted"; exit 1; }
    (cd go && GOFLAGS=-mod=mod GOTOOLCHAIN=local go vet . && GOFLAGS=-mod=mod GOTOOLCHAIN=local go build -race -o "$home/go" .)
fi
# Ordinary users may not reach the sources.
cp "$target/debug/examples/face" "$home/rust"
cp "$target/debug/tare" "$home/tare"
rm -rf "$home/python"
cp -r python "$home/python"

# program FACE STORE: how a face is started.
program() {
    case $1 in
    rust | c | go) words=("$home/$1" "$2") ;;
    sync | aio) words=("$venv/bin/python" "$home/python/$1.py" "$2") ;;
    rpc) words=("$venv/bin/python" "$home/python/rpc.py" "$2" "$home/tare") ;;
    *) echo "no such face: $1" >&2 && exit 2 ;;
    esac
}

# A small image and a directory with a file in it.
ground() {
    mkdir -p "$1"/root/{bin,etc,home/alice,tmp,proc,sys,dev} "$1/data"
    cp "$(command -v busybox)" "$1/root/bin/busybox"
    cp "$home/traced" "$1/root/bin/traced"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/root/bin/$applet"
    done
    printf '%s\n' root:x:0:0::/:/bin/sh alice:x:1000:1000::/home/alice:/bin/sh bob:x:1001:100::/:/bin/sh \
        >"$1/root/etc/passwd"
    printf '%s\n' root:x:0: wheel:x:10:alice,bob staff:x:50:alice alice:x:1000: >"$1/root/etc/group"
    chmod 1777 "$1/root/tmp"
    echo of the host >"$1/data/file"
}

# cases_for USER FACE: without those that are only for others.
cases_for() {
    awk -v user="${1#tare-t-}" -v face="$2" '
        function named(i) { for (i = 2; i <= NF; i++) if ($i == user || $i == face) return 1; return 0 }
        function flush() { if (wanted) printf "%s", text; text = "" }
        /^case / { flush(); wanted = 1 }
        /^(only|faces) / { if (!named()) wanted = 0; next }
        /^#/ || /^$/ { next }
        { text = text $0 "\n" }
        END { flush() }' cases.txt
}

# compare NAME EXPECTED SEEN: tells each case that differs; the last line is how
# many did not and did.
compare() {
    awk -v name="$1" '
        function add(line) { if (FILENAME == ARGV[1]) want[at] = want[at] line "\n"; else seen[at] = seen[at] line "\n" }
        /^case / { at = $2; if (FILENAME == ARGV[1]) order[++n] = at; known[FILENAME, at] = 1; next }
        /^>/ || FILENAME != ARGV[1] { add($0) }
        END {
            for (i = 1; i <= n; i++) {
                at = order[i]
                if (known[ARGV[2], at] && want[at] == seen[at]) { same++; continue }
                differ++
                printf "test %s: %s ... FAILED\n    wanted:\n%s    seen:\n%s", name, at, want[at], seen[at]
            }
            printf "%d %d\n", same, differ
        }' "$2" "$3"
}

# as_kind FACE KIND: runs the cases of a face as one kind of caller. Prints the
# differences; the last line has the figures.
as_kind() {
    local face=$1 kind=$2 user=$2 as=() status=0 at=$home/$1.$2 temp
    [ "$kind" != userns ] || user=tare-t-plain as=(unshare --map-root-user)
    temp=$(mktemp -d /tmp/tare-face.XXXXXX)
    ground "$temp"
    cases_for "$user" "$face" | sed -e "s|@BOX@|\"image\": \"dir:$temp/root\"|g" -e "s|@DATA@|$temp/data|g" >"$temp/cases"
    "${root[@]}" chown -R "$user": "$temp"
    program "$face" "$temp/store"
    (cd / && "${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env -i HOME="$temp" PATH=/usr/bin:/bin LD_LIBRARY_PATH="$prefix/lib" FACE_OF_HOST=1 \
        PYTHONDONTWRITEBYTECODE=1 timeout 60 "${as[@]}" "${words[@]}") <"$temp/cases" >"$at.seen" 2>"$at.errors" || status=$?
    compare "$face as $kind" "$temp/cases" "$at.seen" >"$at.compared"
    sed '$d' "$at.compared"
    read -r same differ < <(tail -n 1 "$at.compared")
    if [ "$status" != 0 ] || [ -s "$at.errors" ]; then
        echo "test $face as $kind ... FAILED: exit $status"
        cat "$at.errors"
        differ=$((differ + 1))
    fi
    [ "$differ" != 0 ] || echo "test $face as $kind: $same cases ... ok"
    "${root[@]}" rm -rf "$temp"
    echo "$same $differ"
}

kinds=(root tare-t-plain tare-t-subids userns)
id "${kinds[@]:1:2}" >/dev/null || exit
echo
echo "running the cases in every face"
passed=0 failed=0 began=$SECONDS
for face in "$@"; do
    # Beside each other, because cases sleep most of the time.
    for kind in "${kinds[@]}"; do
        as_kind "$face" "$kind" >"$home/$face.$kind" &
    done
    wait
    for kind in "${kinds[@]}"; do
        sed '$d' "$home/$face.$kind"
        read -r same differ < <(tail -n 1 "$home/$face.$kind")
        passed=$((passed + same)) failed=$((failed + differ))
    done
done
word=ok
[ "$failed" = 0 ] || word=FAILED
echo
echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in $((SECONDS - began)).00s"
[ "$failed" = 0 ]
