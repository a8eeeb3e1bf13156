#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds an image with every builder found here, and examines each result as
# each kind of user. The results of import, load, run, mount and unpack must
# equal umoci's, and the builder's own view.
#
#   tests/builders.sh [BUILDER]...
#
# The default is all_builders of builders/newer.sh.
#
# `make test` runs only umoci's; the rest takes minutes and many packages. A
# missing builder is SKIPPED with a cure. Builders newer/NAME are Debian 13's,
# in a root directory made so:
#   debootstrap --variant=minbase --include=buildah,podman,skopeo,umoci,\
#   docker.io,docker-cli,docker-buildx,crun,jq,attr,busybox-static,iptables,\
#   libcap2-bin,python3-minimal trixie target/builders/trixie
# Daemons and mounts live in namespaces that end with the script. Environment:
# TARE (the command; built by default), TARE_BUILDERS_ROOT (the root directory
# of Debian 13), TARE_BUILDERS_KEEP (not empty: looks at images of an earlier
# run again), TARE_BUILDERS_USERS (default: root and the tests' ordinary users).
# Needs root, Go, umoci, skopeo, jq, setfattr, setcap and a static busybox.
set -euo pipefail
umask 022
shopt -s inherit_errexit

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target/builders"
work=$(cd "$target/builders" && pwd)
newer=${TARE_BUILDERS_ROOT:-$work/trixie}
driver=overlay
read -ra users <<<"${TARE_BUILDERS_USERS:-root tare-t-subids tare-t-plain}"
export PATH=$work/tools:$PATH
. tests/builders/recipes.sh
. tests/builders/newer.sh
. tests/builders/verify.sh

have() { command -v "$1" >/dev/null; }
# lacks PROGRAM [CURE]: leaves out the builder.
lacks() {
    printf 'SKIPPED %s: no %s; try: %s\n' "$builder" "$1" "${2:-apt-get install --no-install-recommends $1}" >&3
    exit 0
}
version() { version=$1; }
list() { "$work/tools/tree" list "$1"; }
# made FORM REFERENCE [TREE [no-attributes]]: adds an image for verify.sh; paths
# are below the recipe's directory.
made() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$builder" "${version:--}" "$1" "$2" "${3-}" "${4-}" >>made
}

# build [newer/]NAME: builds in a directory and in namespaces of its own.
build() {
    local builder=$1 dir=$work/images/${1//\//-}
    if [ -n "${TARE_BUILDERS_KEEP:-}" ] && [ -s "$dir/made" ]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir"
    cp -a "$work/parts/." "$dir"
    local root=/
    case $builder in
    newer/*)
        [ -d "$newer/usr" ] || {
            echo "SKIPPED $builder: no Debian 13 in $newer; try: the debootstrap in the head of tests/builders.sh"
            return
        }
        root=$newer
        ;;
    esac
    unshare --mount --net --propagation private bash "$PWD/tests/builders.sh" --inside "$root" "$builder" "$dir" 3>&1 >"$dir/log" 2>&1 || {
        echo "test build $builder ... FAILED"
        tail -n 5 "$dir/log" | sed 's/^/    /'
        failed=$((failed + 1))
    }
}

# inside ROOT BUILDER DIR: runs the recipe in the namespaces; the mounts go with
# the last process.
inside() {
    local root=$1
    if [ "$root" != / ]; then
        # Builders remount `/`, so that the root directory must be a mount.
        mount --rbind "$root" "$root"
        for shown in "$PWD" "$work" /proc /sys /dev; do
            mkdir -p "$root$shown"
            mountpoint -q "$root$shown" || mount --rbind "$shown" "$root$shown"
        done
        mount -t tmpfs tmpfs "$root/tmp"
        mount -t tmpfs tmpfs "$root/run"
        local here=$PWD
        cd "$root"
        pivot_root . mnt
        # shellcheck disable=SC2016 # the inner shell expands it
        exec chroot . /bin/sh -c 'umount -l /mnt && cd "$0" && exec "$@"' "$here" \
            bash "$here/tests/builders.sh" --recipe "$2" "$3"
    fi
    # Podman wants a short path for its runroot.
    mount -t tmpfs tmpfs /run
    exec bash "$PWD/tests/builders.sh" --recipe "$2" "$3"
}

recipe() {
    builder=$1
    cd "$2"
    "build_$(basename "$1")"
}

case ${1-} in
--inside) shift; inside "$@" ;;
--recipe) shift; recipe "$@"; exit ;;
esac

for program in go umoci skopeo jq setfattr setcap busybox; do
    have "$program" || { echo "builders: no $program; try: apt-get install golang-go umoci skopeo jq attr libcap2-bin busybox-static" >&2; exit 2; }
done
if [ -z "${TARE:-}" ]; then
    cargo build --quiet --locked --package tare-cli
    TARE=$target/debug/tare
fi
[ "$(id -u)" = 0 ] || exec sudo -E env "PATH=$PATH" "TARE=$TARE" bash "$PWD/tests/builders.sh" "$@"
mkdir -p "$work/tools" "$work/images"
(cd tests/builders && CGO_ENABLED=0 go build -o "$work/tools/tree" tree.go)
tests/builders/parts.sh "$work/parts"

passed=0 failed=0
mapfile -t wanted < <([ $# = 0 ] && all_builders || printf '%s\n' "$@")
for name in "${wanted[@]}"; do build "$name"; done
# Docker leaves its empty cgroups.
find /sys/fs/cgroup -depth -type d -path '*/tare-builders*' -exec rmdir {} + 2>/dev/null || true
verify "${wanted[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
