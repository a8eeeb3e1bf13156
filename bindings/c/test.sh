#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the C face into a directory of the build, and runs the programs in
# tests/programs with it: by pkg-config and the shared library, with the static
# archive, without any shared library, under AddressSanitizer and under
# valgrind; as root and as ordinary users.
set -euo pipefail
umask 022

cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
mkdir -p "$target/c"
target=$(cd "$target" && pwd)
home=$target/c
images=${TARE_IMAGES:-$target/images}
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

cargo build --quiet --locked --package tare-c
rm -rf "$home"
./link.sh "$target/debug/libtare.a" "$home/linked"
DEBUGINFO=apart ./install.sh "$home/linked" "$home/dest" /usr/local
lib=$home/dest/usr/local/lib
export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$home/dest PKG_CONFIG_ALLOW_SYSTEM_LIBS=1

warnings=(-std=c11 -Wall -Wextra -pedantic -Werror -Wshadow -Wstrict-prototypes -g -O1)
sanitize=(-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all)
read -ra flags < <(pkg-config --cflags tare)
read -ra shared < <(pkg-config --libs tare)
read -ra private < <(sed -n 's/^Libs.private: //p' "$lib/pkgconfig/tare.pc")
read -ra static < <(pkg-config --static --libs tare)
# build NAME WORDS...: tests/programs/NAME.c
build() {
    gcc "${warnings[@]}" "tests/programs/$1.c" -pthread "${flags[@]}" "${@:2}"
}
build face -o "$home/face" "${shared[@]}"
build face -o "$home/face-static" "$lib/libtare.a" "${private[@]}"
build face -o "$home/face-asan" "${sanitize[@]}" "$lib/libtare.a" "${private[@]}"
build handles -o "$home/handles" "${shared[@]}"
build hosts -o "$home/hosts" "${shared[@]}"
build hosts -o "$home/hosts-asan" "${sanitize[@]}" "$lib/libtare.a" "${private[@]}"
build begins -o "$home/begins" "${shared[@]}"
build authority -o "$home/authority" "${shared[@]}"
build cancels -o "$home/cancels" "${shared[@]}"
build cancels -o "$home/cancels-static" "$lib/libtare.a" "${private[@]}"
# The loader ignores LD_LIBRARY_PATH for a set-user-id program.
build setuid -o "$home/setuid" "$lib/libtare.a" "${private[@]}"
build sizes -o "$home/sizes" "${shared[@]}"
build stacks -o "$home/stacks" "${shared[@]}"
build signals -o "$home/signals" "${shared[@]}"
build users -o "$home/users" "${shared[@]}"
build logs -o "$home/logs" "${shared[@]}"
build primitives -o "$home/primitives" "${sanitize[@]}" "$lib/libtare.a" "${private[@]}"
build face -static -o "$home/face-alone" "${static[@]}" 2>"$home/alone.log" || { cat "$home/alone.log"; exit 1; }
# The linker warns of functions that load shared libraries when they are called.
if grep "Using '[a-z_]*'" "$home/alone.log"; then exit 1; fi
# Beside another Rust library, on either side.
rustc --edition 2024 --crate-type staticlib -o "$home/libbeside.a" tests/programs/beside.rs
build beside -o "$home/beside-before" "$lib/libtare.a" "$home/libbeside.a" "${private[@]}"
build beside -o "$home/beside-behind" "$home/libbeside.a" "$lib/libtare.a" "${private[@]}"
# Each program in the documentation's own text; README's comes first.
awk -v at="$home/page" '/^```/ { inside = $0 == "```c"; n += inside; next } inside { print >(at n ".c") }' \
    ../../README.md ../../docs/c.md
cp ../../examples/epoll.c "$home/epoll.c"
for page in "$home"/page*.c "$home/epoll.c"; do
    gcc "${warnings[@]}" "$page" -o "${page%.c}" "${flags[@]}" "${shared[@]}"
    for standard in 11 17 20; do
        g++ -xc++ "-std=c++$standard" -Wall -Wextra -Wpedantic -Werror -Wshadow -fsyntax-only "${flags[@]}" "$page"
    done
done

# The exports are those of the version script, each in its version; the soname
# is the major version's.
listed=$(sed -n 's/^    \(tare_[a-z0-9_]*\);$/\1@@TARE_0.1/p' tare.map | sort)
exported=$(nm -D --defined-only "$lib/libtare.so" | awk '$2 != "A" { print $3 }' | sort)
diff <(echo "$listed") <(echo "$exported")
readelf -d "$lib/libtare.so" | grep -q 'SONAME.*\[libtare.so.0\]'
# Nor does the archive define any other name.
listed=$(sed -n 's/^    \(tare_[a-z0-9_]*\);$/T \1/p' tare.map | sort)
defined=$(nm -g --defined-only "$lib/libtare.a" | awk 'NF == 3 { print $2, $3 }' | sort)
diff <(echo "$listed") <(echo "$defined")
# Neither holds a switch for a defence: tests/weakened.sh alone compiles those.
weak=$(awk '/^[a-z]/ { print $1 }' ../../tests/weakened.txt | sort -u)
if strings -a "$lib/libtare.so" "$lib/libtare.a" | grep -iF -e tare_weak -e "$weak"; then
    echo "the library can be weakened" >&2
    exit 1
fi
# The installed files have no debug information, and name the place of theirs.
[[ $(readelf -SW "$lib/libtare.so" "$lib/libtare.a") != *.debug_* ]]
at=$(nm -D "$lib/libtare.so" | awk '/ tare_version@/ { print $1 }')
addr2line -e "$lib/libtare.so" "0x$at" | grep -q 'bindings/c/src/library\.rs'

passed=0
# run_as USER NAME LAST WORDS...: runs the words with a fresh store and LAST,
# made from a busybox tree. The user userns is uid 0 of a user namespace.
run_as() {
    local who=$1 user=$1 name=$2 last=$3 temp said status=0 apart=() as=()
    shift 3
    [ "$who" != userns ] || user=tare-t-plain as=(unshare --map-root-user)
    # The test compares all mounts, and other tests of the machine mount, too.
    [[ $name != hosts* ]] || apart=(unshare --mount --propagation private)
    temp=$(mktemp -d /tmp/tare-c.XXXXXX)
    mkdir -p "$temp"/root/{bin,etc,tmp,proc,sys,dev}
    cp "$(command -v busybox)" "$temp/root/bin/busybox"
    for applet in sh cat echo id sleep yes hostname wc true kill pwd; do
        ln -s busybox "$temp/root/bin/$applet"
    done
    echo root:x:0:0::/:/bin/sh >"$temp/root/etc/passwd"
    chmod 1777 "$temp/root/tmp"
    tar -C "$temp/root" -cf "$temp/root.tar" .
    zstd -q "$temp/root.tar"
    "${root[@]}" chown -R "$user:" "$temp"
    said=$("${root[@]}" "${apart[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env -i HOME="$temp" PATH=/usr/bin:/bin LD_LIBRARY_PATH="$lib" IMAGE="oci:$images/busybox" \
        "${as[@]}" "$@" "$temp/store" "$temp/$last" 2>&1) || status=$?
    "${root[@]}" rm -rf "$temp"
    if [ "$status" = 0 ] && [[ $said == *": ok"* ]]; then
        echo "test $name as $who ... ok"
        passed=$((passed + 1))
    else
        echo "test $name as $who ... FAILED"
        printf '%s\n' "$said" | tail -n 60
        return 1
    fi
}

echo
echo "running the C programs"
failed=0
id tare-t-plain tare-t-subids >/dev/null || exit
for user in root tare-t-plain tare-t-subids userns; do
    run_as "$user" face root "$home/face" || failed=1
    run_as "$user" handles root.tar "$home/handles" || failed=1
    run_as "$user" hosts root "$home/hosts" || failed=1
    run_as "$user" begins root "$home/begins" || failed=1
    run_as "$user" authority root "$home/authority" || failed=1
    run_as "$user" sizes root "$home/sizes" || failed=1
    run_as "$user" stacks root "$home/stacks" || failed=1
    run_as "$user" signals root "$home/signals" || failed=1
    run_as "$user" users root "$home/users" || failed=1
    run_as "$user" cancels root "$home/cancels" || failed=1
done
# says NAME EXPECTED WORDS...: compares the output of a program of the
# documentation.
says() {
    local name=$1 expected=$2 temp said
    shift 2
    temp=$(mktemp -d /tmp/tare-c.XXXXXX)
    said=$("${root[@]}" env LD_LIBRARY_PATH="$lib" TARE_STORE="$temp/store" "$@" 2>&1) || said="exit $?: $said"
    "${root[@]}" rm -rf "$temp"
    if [ "$said" = "$expected" ]; then
        echo "test $name ... ok"
        passed=$((passed + 1))
    else
        echo "test $name ... FAILED: $said"
        return 1
    fi
}
run_as root logs root "$home/logs" || failed=1
says README.md 0 "$home/page1" || failed=1
says docs/c.md:1 0 "$home/page2" || failed=1
says docs/c.md:2 hello "$home/page3" || failed=1
says "make install" $'0\n0\n0' ./installed.sh "$home/linked" "$home/page2.c" || failed=1
stores=$(mktemp -d /tmp/tare-c.XXXXXX)
says examples/epoll.c "100 sandboxes, sum 328350" "$home/epoll" "$stores/store" '{"image": "host"}' || failed=1
"${root[@]}" rm -rf "$stores"
run_as root face-static root "$home/face-static" || failed=1
# set_user_id OWNER EXPECTED: the program belongs to OWNER, an ordinary user
# runs it. Root's default store is of this test alone.
set_user_id() {
    local temp said
    temp=$(mktemp -d /tmp/tare-c.XXXXXX)
    chmod 755 "$temp"
    "${root[@]}" install -o "$1" -m 4755 "$home/setuid" "$temp/setuid"
    said=$("${root[@]}" unshare --mount sh -c 'mount -t tmpfs none /var/lib && exec "$@"' sh \
        setpriv --reuid=tare-t-plain --regid="$(id -g tare-t-plain)" --clear-groups \
        env -i HOME="$temp/home" XDG_DATA_HOME="$temp/data" TARE_STORE="$temp/store" "$temp/setuid" "$2" 2>&1) ||
        said="exit $?: $said"
    [ ! -e "$temp/store" ] && [ ! -e "$temp/home" ] && [ ! -e "$temp/data" ] || said="$said; a store was made"
    "${root[@]}" rm -rf "$temp"
    if [ "$said" = "setuid: ok" ]; then
        echo "test setuid to $1 ... ok"
        passed=$((passed + 1))
    else
        echo "test setuid to $1 ... FAILED: $said"
        return 1
    fi
}
set_user_id root /var/lib/tare || failed=1
set_user_id tare-t-subids none || failed=1
run_as root beside-before root "$home/beside-before" || failed=1
run_as root beside-behind root "$home/beside-behind" || failed=1
run_as root face-alone root ./alone.sh "$home/face-alone" || failed=1
run_as root cancels-static root "$home/cancels-static" || failed=1
run_as root face-asan root "$home/face-asan" || failed=1
run_as root hosts-asan root "$home/hosts-asan" || failed=1
run_as root primitives-asan root "$home/primitives" || failed=1
# Debian 12's lacks pidfd_open(2), without which no sandbox opens: programs
# without a sandbox run.
run_as root handles-valgrind root.tar valgrind --quiet --error-exitcode=9 --leak-check=full \
    --errors-for-leak-kinds=definite "$home/handles" || failed=1
echo "$passed passed"
exit "$failed"
