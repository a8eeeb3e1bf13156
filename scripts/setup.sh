#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs missing requirements of the build, the tests and the demo, with apt.
set -euo pipefail

# A program (or file), and Debian's package that has it.
needed() {
    cat <<'END'
gcc                 gcc
g++                 g++
make                make
jq                  jq
xz                  xz-utils
zstd                zstd
python3             python3
strip               binutils
musl-gcc            musl-tools
pkg-config          pkg-config
valgrind            valgrind
debootstrap         debootstrap
umoci               umoci
go                  golang-go
bsdtar              libarchive-tools
skopeo              skopeo
busybox             busybox-static
newuidmap           uidmap
setpriv             util-linux
losetup             mount
keyctl              keyutils
setcap              libcap2-bin
setfattr            attr
strace              strace
shellcheck          shellcheck
qemu-system-x86_64  qemu-system-x86
cpio                cpio
pax                 pax
depmod              kmod
qemu-storage-daemon qemu-system-common
mkfs.ext4           e2fsprogs
mkfs.xfs            xfsprogs
mkfs.btrfs          btrfs-progs
/usr/lib/x86_64-linux-gnu/libc.a                libc6-dev
/var/lib/dpkg/info/python3-venv.list            python3-venv
/usr/share/keyrings/debian-archive-keyring.gpg  debian-archive-keyring
END
    # CPython's own tests, of the version that Debian's python3 is.
    if [ -x /usr/bin/python3 ]; then
        python=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        echo "/usr/lib/$python/test/test_os.py lib$python-testsuite"
    fi
}

export PATH=$PATH:/usr/sbin:/sbin
missing=() root=()
find_missing() {
    local file package
    missing=()
    while read -r file package; do
        [ -e "$file" ] || command -v "$file" >/dev/null || missing+=("$package")
    done < <(needed)
}

find_missing
if [ ${#missing[@]} = 0 ]; then
    echo "setup: nothing is missing"
    exit
fi

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "setup: missing ${missing[*]}; try: sudo ${install[*]}" >&2
        exit 1
    fi
    root=(sudo -n)
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: missing ${missing[*]}, and no apt-get to install them with" >&2
    exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${root[@]}" apt-get update -q
"${root[@]}" "${install[@]}"
# Checks that depend on the version of a missing package.
find_missing
[ ${#missing[@]} = 0 ] || "${root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"
