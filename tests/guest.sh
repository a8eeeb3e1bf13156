#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs a command as root in a small virtual machine with another kernel and
# other cgroups.
#
#   tests/guest.sh [OPTION]... COMMAND [ARG]...
#   tests/guest.sh [-k PACKAGE] [-r RELEASE] -p
#
#   -k PACKAGE   Debian's kernel package; default linux-image-cloud-amd64
#                (6.1 on bookworm)
#   -r RELEASE   Debian's release of the package, such as bookworm-backports
#                (6.12); default this machine's
#   -o MODULE    a kernel module to load first, such as overlay or loop
#   -f FILE      an additional file or directory, at PATH; default its own
#                absolute path
#   -t SECONDS   the machine's time in all; default 300; at least 30
#   -a TEXT      more for the kernel's command line
#   -e NAME=VAL  an environment variable of the command
#   -c LAYOUT    cgroups: v2 (the default), v1, or hybrid (v1 with a bare v2
#                beside)
#   -p           only fetch and install the requirements
#
# If a command is not done 15 seconds before the machine's time is up, its
# processes are listed with their waits in the kernel. If even the list is
# missing, the kernel itself hangs.
#
# COMMAND and every FILE bring their shared libraries. The root of the guest is
# a tmpfs, so pivot_root works, with busybox for all other commands. The status
# is the command's own; 125 without a status: the guest did not start, hung, or
# lost its kernel.
#
# The kernel is fetched once, below target/guest. The machine is a plain
# emulation, because a present /dev/kvm need not work inside a virtual machine;
# the start takes about 5 seconds. Environment: TARE_GUEST (the directory of
# kernels).
set -euo pipefail
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
package=linux-image-cloud-amd64
modules=(overlay)
files=()
variables=()
arguments=
release=
qemu=(qemu-system-x86_64)
layout=v2
prepare=
seconds=300
verdict='guest: the command ended with status'
late='guest: the command still runs'

die() {
    printf 'guest: %s\n' "$*" >&2
    exit 125
}

while getopts k:r:o:f:t:a:e:c:p option; do
    case $option in
    k) package=$OPTARG ;;
    r) release=$OPTARG ;;
    o) modules+=("$OPTARG") ;;
    f) files+=("$OPTARG") ;;
    t) seconds=$OPTARG ;;
    a) arguments=$OPTARG ;;
    c) layout=$OPTARG ;;
    p) prepare=1 ;;
    e) variables+=("$OPTARG") ;;
    *) die "see the head of $0" ;;
    esac
done
shift $((OPTIND - 1))
[ "$seconds" -ge 30 ] || die "-t $seconds is less than 30"
case $layout in v1 | v2 | hybrid) ;; *) die "-c $layout is not v1, v2 or hybrid" ;; esac
[ $# -gt 0 ] || [ "$prepare" ] || die "no command; see the head of $0"

kernels=${TARE_GUEST:-${CARGO_TARGET_DIR:-$top/target}/guest}
mkdir -p "$kernels"
kernels=$(cd "$kernels" && pwd)
kernel=$kernels/$package${release:+.$release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/initrd/root

# Installs missing packages, if possible.
ensure_tools() {
    local missing=()
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
    command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 || missing+=(busybox-static)
    command -v cpio >/dev/null || missing+=(cpio)
    command -v depmod >/dev/null || missing+=(kmod)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "${missing[*]} missing; try: sudo apt-get install ${missing[*]}"
    apt-get -qq update >&2
    apt-get -qq install -y --no-install-recommends "${missing[@]}" >&2
}

# fetch DIRECTORY PACKAGE...: downloads packages of $release and unpacks them
# there; DIRECTORY must not be there.
fetch() {
    local to=$1 options=(-o APT::Sandbox::User=root) lists=$work/lists debs
    shift
    debs=$(mktemp -d -p "$work")
    # Another release has its own lists, so that the machine installs nothing
    # from it.
    if [ -n "$release" ]; then
        options+=(-o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$lists"
            -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache=)
        if [ ! -d "$lists" ]; then
            mkdir -p "$lists/partial"
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >"$work/sources"
            apt-get -qq "${options[@]}" update >&2 || die "cannot read what $release has"
        fi
    fi
    # A metapackage names the real package.
    local real
    real=$(apt-cache "${options[@]}" depends "$1" | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -z "$real" ] || set -- "$real"
    (cd "$debs" && apt-get -qq "${options[@]}" download "$@") >&2 || die "cannot fetch $*; try: apt-get update"
    for deb in "$debs"/*.deb; do
        dpkg -x "$deb" "$debs/tree"
    done
    # Newer packages have modules where /lib leads.
    [ -d "$debs/tree/lib" ] || ln -sT usr/lib "$debs/tree/lib"
    # Another run may have been faster; its copy is as good.
    mv -T "$debs/tree" "$to" 2>/dev/null || [ -d "$to" ]
}

# The kernel: $kernel holds boot/ and lib/modules/ then. A kernel of another
# release comes with its QEMU: under QEMU 7.2, Linux 6.12 mostly died within
# seconds, while patching its own text.
ensure_kernel() {
    [ -d "$kernel" ] || fetch "$kernel" "$package"
    [ -n "$release" ] || return 0
    local own=$kernels/qemu.$release
    [ -d "$own" ] || fetch "$own" qemu-system-x86 qemu-system-data seabios
    qemu=("$own/usr/bin/qemu-system-x86_64" -L "$own/usr/share/qemu" -L "$own/usr/share/seabios")
}

# add FILE [PATH]: puts a file or a directory in, with its libraries.
add() {
    local from to library
    from=$(realpath "$1")
    to=$root${2:-$from}
    [ -e "$to" ] && return
    mkdir -p "$(dirname "$to")"
    cp -aL "$from" "$to"
    [ -f "$from" ] || return 0
    # A static program has no libraries.
    { ldd "$from" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r library; do
        add "$library" "$library"
    done
    # Debug information is most of a test binary, and all of it would be in
    # memory.
    if [ -x "$from" ] && command -v strip >/dev/null; then
        strip --strip-debug "$to" 2>/dev/null || true
    fi
}

# Modules in the order in which they can be loaded.
add_modules() {
    local version module file name
    version=$(basename "$kernel"/lib/modules/*)
    [ -e "$kernel/lib/modules/$version/modules.dep" ] || depmod -b "$kernel" "$version"
    mkdir -p "$root/modules"
    for module in "${modules[@]}"; do
        modprobe -d "$kernel" -S "$version" --show-depends "$module" | while read -r _ file _; do
            [ -f "$file" ] || continue # built in
            name=$(basename "$file" .xz)
            case $file in
            *.xz) xz -dc "$file" >"$root/modules/$name" ;;
            *) cp "$file" "$root/modules/" ;;
            esac
            echo "$name" >>"$root/modules/order"
        done
    done
}

# The guest's commands for $layout. Controllers that v1 does not get stay with
# v2, so hybrid gives v1 all of them.
write_cgroups() {
    [ "$layout" = v2 ] && echo 'mount -t cgroup2 cgroup2 /sys/fs/cgroup' && return
    cat <<'CGROUPS'
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for controller in $(sed 1d /proc/cgroups | cut -f 1); do
    mkdir /sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
done
CGROUPS
    [ "$layout" = v1 ] && return
    echo 'mkdir /sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified'
}

# The guest's commands that list running processes when time is almost up.
write_watch() {
    printf '(\nfrom=%d\nlate="%s"\n' $((seconds - 15)) "$late"
    cat <<'WATCH'
# Time counts from the start of the machine, which may be slow.
sleep $((from - $(cut -d . -f 1 /proc/uptime)))
echo "$late"
ps
for task in /proc/[0-9]*/task/*; do
    # The kernel's own threads have no command line.
    [ "$(head -c 1 "${task%/task/*}/cmdline")" ] || continue
    echo "$task $(cat "$task/comm") in:"
    cat "$task/stack"
done
) 2>/dev/null &
WATCH
}

# The first program of the guest: copies itself into a tmpfs, since an initramfs
# cannot be pivoted.
write_init() {
    cat >"$work/initrd/init" <<'INIT'
#!/busybox sh
/busybox mkdir /new
/busybox mount -t tmpfs -o size=80%,mode=755 root /new
/busybox mv /root/* /new/
exec /busybox switch_root /new /guest
INIT
    {
        cat <<'GUEST'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mkdir -p /proc /sys /dev /tmp /run /root /etc
chmod 1777 /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
ip link set lo up
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >/etc/passwd
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >/etc/group
[ -f /modules/order ] && while read -r module; do insmod "/modules/$module"; done </modules/order
exec </dev/null
GUEST
        write_cgroups
        write_watch
        [ ${#variables[@]} -eq 0 ] || printf 'export %q\n' "${variables[@]}"
        printf '%q ' "$@"
        printf '\nprintf "\\n%%s %%s\\n" "%s" $?\n' "$verdict"
        printf 'poweroff -f\n'
    } >"$root/guest"
    chmod 755 "$work/initrd/init" "$root/guest"
}

ensure_tools
ensure_kernel
[ -z "$prepare" ] || exit 0
mkdir -p "$root/bin"
cp -L "$(command -v busybox)" "$root/bin/busybox"
cp "$root/bin/busybox" "$work/initrd/busybox"
command=$1
case $command in */*) add "$command" && command=$(realpath "$command") ;; esac
shift
for file in "${files[@]}"; do
    case $file in
    *:*) add "${file%%:*}" "${file#*:}" ;;
    *) add "$file" ;;
    esac
done
add_modules
write_init "$command" "$@"
(cd "$work/initrd" && find . | cpio --quiet -o -H newc) >"$work/initrd.cpio"

# Both processors run by turns in a single thread. With a thread for each (QEMU
# 7.2), 2 of 120 starts on a busy machine ended in an endless trap: int3, at an
# instruction that the guest's kernel had patched (a static key). The handler
# found other bytes there, as if QEMU ran a stale translation. The timer is not
# checked: a guest without a processor for the first ticks takes the timer for
# broken, and panics ("IO-APIC + timer doesn't work!").
status=0
timeout --foreground "$seconds" "${qemu[@]}" -accel tcg,thread=single -cpu max -smp 2 -m 1024 \
    -nodefaults -no-user-config -display none -serial stdio -no-reboot \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initrd.cpio" \
    -append "console=ttyS0 quiet panic=-1 no_timer_check $arguments" </dev/null |
    tr -d '\r' | tee "$work/log" || status=$?
ended=$(sed -n "s/^$verdict \([0-9]*\)$/\1/p" "$work/log" | tail -n 1)
if [ -z "$ended" ] && [ "$status" = 124 ] && ! grep -q "^$late" "$work/log"; then
    die "no verdict in $seconds seconds, nor a list of what runs: the guest's kernel hangs, or is too slow"
fi
[ -n "$ended" ] || die "no verdict from the guest (qemu: $status)"
exit "$ended"
