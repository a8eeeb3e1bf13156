#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the real images that the tests run in, once, under target/images.
#
#   debian/        OCI layout made by debootstrap and umoci; tags latest (a gzip
#                  layer) and two (a second layer: whiteouts, an opaque
#                  directory, changed types)
#   debian-zstd/   the same with zstd layers
#   debian-plain/  the same with uncompressed layers
#   busybox/       tags latest, entrypoint, user, odd (PAX: xattrs,
#                  capabilities, devices, long names, mode 0000), gnu (GNU tar:
#                  sparse file, long names and links; GNU tar can read gnu,
#                  umoci cannot)
#   static/        a single static program: no shell, no /etc
#   multi/         an index with a manifest for each architecture
#   oldest/        a root directory, no image: the oldest Debian for the wheel
#   postgres/      the Debian layer, and a layer with PostgreSQL and a new
#                  database cluster
#   *.docker.tar, *.oci.tar   archives of debian and busybox
#
# With arguments, builds only these: debian, busybox, ... Environment:
# TARE_IMAGES (the directory), TARE_MIRROR (Debian's mirror). Needs root; needs
# the network only for missing images.
set -euo pipefail
umask 022

cd "$(dirname "$0")/.."
images=${TARE_IMAGES:-${CARGO_TARGET_DIR:-target}/images}
mirror=${TARE_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$images/.stamps" "$images/.debs"
images=$(cd "$images" && pwd)

say() { printf 'images: %s\n' "$*"; }

die() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

# Runs the recipe build_NAME unless the same text ran before. The recipe builds
# in a directory of its own and prints nothing; files in out/ are published. A
# recipe lists its base images, so that they are rebuilt together.
image() {
    local name=$1 recipe="build_$1" stamp=$images/.stamps/$1 new=$images/.new.$1 sum began=$SECONDS
    shift
    sum=$({ declare -f "$recipe" add_layer; for from in "$@"; do cat "$images/.stamps/$from"; done; } | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then
        say "$name: cached"
        return
    fi
    [ "$(id -u)" = 0 ] || die "$name is not built yet; try: sudo $0"
    say "$name: building"
    rm -rf "$new" && mkdir "$new"
    (cd "$new" && "$recipe")
    # umoci makes blobs 0600; ordinary users read these images too.
    chmod -R a+rX "$new/out"
    (cd "$new/out" && for made in *; do rm -rf "${images:?}/$made"; mv "$made" "$images/"; done)
    rm -rf "$new"
    printf '%s\n' "$sum" >"$stamp"
    say "$name: done in $((SECONDS - began)) s"
}

# add_layer LAYOUT:TAG NEW-TAG TAR-FLAGS...: packs ./layer as an additional
# layer.
add_layer() {
    local from=$1 tag=$2
    shift 2
    tar --numeric-owner --sort=name "$@" -C layer -cf layer.tar .
    umoci raw add-layer --image "$from" --tag "$tag" layer.tar
    rm -rf layer layer.tar
}

build_debian() {
    debootstrap --variant=minbase --include=python3-minimal \
        --cache-dir="$images/.debs" bookworm root "$mirror" >debootstrap.log 2>&1 ||
        die "debootstrap: $(tail -n 3 debootstrap.log)"
    rm -rf root/var/cache/apt/archives/*.deb root/var/lib/apt/lists/* root/dev
    mkdir root/dev out
    umoci init --layout out/debian
    umoci new --image out/debian:latest
    umoci insert --image out/debian:latest root /
    umoci config --image out/debian:latest --config.cmd bash \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    mkdir -p layer/etc/issue.net layer/usr/share/info layer/usr/share/zoneinfo layer/opt
    touch layer/etc/.wh.debian_version layer/usr/share/.wh.doc layer/usr/share/zoneinfo/.wh..wh..opq
    printf 'second layer\n' | tee layer/etc/issue layer/usr/share/zoneinfo/Only >/dev/null
    printf 'file now directory\n' >layer/etc/issue.net/inside
    ln -s ../etc/issue layer/opt/link
    ln layer/etc/issue layer/opt/hard
    printf 'directory now file\n' >layer/mnt
    add_layer out/debian:latest two --format=pax --owner=0 --group=0
}

build_busybox() {
    mkdir -p root/{bin,etc,home/app,root,tmp,usr/sbin,var/spool} out
    cp "$(command -v busybox)" root/bin/busybox
    ! ldd root/bin/busybox >/dev/null 2>&1 || die "busybox is not static; try: apt-get install busybox-static"
    # Hard links, as in the image everybody uses.
    root/bin/busybox --list | while read -r applet; do
        [ "$applet" = busybox ] || ln root/bin/busybox "root/bin/$applet"
    done
    chmod 1777 root/tmp
    chmod 0700 root/root
    chown 1000:1000 root/home/app
    printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/bin/false \
        app:x:1000:1000:app:/home/app:/bin/sh nobody:x:65534:65534:nobody:/home:/bin/false >root/etc/passwd
    printf '%s\n' root:x:0: daemon:x:1: tty:x:5: audio:x:29:app staff:x:50:daemon,app \
        app:x:1000: nobody:x:65534: >root/etc/group
    umoci init --layout out/busybox
    umoci new --image out/busybox:latest
    umoci insert --image out/busybox:latest root /
    umoci config --image out/busybox:latest --config.cmd sh --config.env PATH=/bin:/usr/sbin
    umoci config --image out/busybox:latest --tag entrypoint --config.entrypoint echo \
        --config.entrypoint entry --config.cmd command --config.workingdir /made/by/workdir
    umoci config --image out/busybox:latest --tag user --config.user app \
        --config.env HOME=/home/app --config.label org.example.a=b --config.volume /data

    local long
    long=$(printf 'n%.0s' {1..200})
    mkdir -p "layer/odd/$long/$long" layer/odd/{closed,setgid,sticky}
    printf 'long\n' >"layer/odd/$long/$long/$long"
    printf 'closed\n' >layer/odd/closed/file
    printf 'pax\n' >layer/odd/xattr
    cp "$(command -v busybox)" layer/odd/capable
    chmod 4755 layer/odd/capable
    ln layer/odd/xattr layer/odd/hard
    ln -s "/$long/$long" layer/odd/longlink
    printf 'unusual\n' >"layer/odd/"$'name\twith \xff, : \\ and newline\n'
    mknod layer/odd/null c 1 3
    mknod layer/odd/block b 7 200
    mkfifo layer/odd/fifo
    setfattr -n user.tare -v odd layer/odd/xattr
    setfattr -n user.binary -v 0x00ff layer/odd/setgid
    setcap cap_net_raw+ep layer/odd/capable
    chown 12345:54321 layer/odd/fifo
    chmod 2775 layer/odd/setgid
    chmod 1777 layer/odd/sticky
    chmod 0 layer/odd/closed layer/odd/closed/file
    touch -d '1970-01-02 03:04:05.123456789' layer/odd/xattr
    add_layer out/busybox:latest odd --format=pax --xattrs --xattrs-include='*'

    mkdir -p layer/gnu
    truncate -s 8M layer/gnu/sparse
    printf 'in the middle' | dd of=layer/gnu/sparse bs=1 seek=4194304 conv=notrunc status=none
    printf 'long\n' >"layer/gnu/$long"
    ln "layer/gnu/$long" layer/gnu/hard
    ln -s "$long/$long" layer/gnu/longlink
    add_layer out/busybox:latest gnu --format=gnu --sparse
}

build_static() {
    mkdir -p root out
    printf '%s\n' '#include <stdio.h>' '#include <stdlib.h>' 'int main(int c, char **v) {' \
        '    for (int i = 1; i < c; i++) printf("%s%c", v[i], i + 1 < c ? 32 : 10);' \
        '    return c > 1 ? atoi(v[1]) : 0;' '}' >static.c
    gcc -O2 -static -s -o root/static static.c
    umoci init --layout out/static
    umoci new --image out/static:latest
    umoci insert --image out/static:latest root /
    umoci config --image out/static:latest --config.entrypoint /static
}

# An index, two manifests: this machine's architecture and another.
build_multi() {
    local arch digest ours theirs
    mkdir out
    cp -r "$images/static" out/multi
    arch=$(umoci stat --image out/multi:latest --json | jq -r '.config.architecture // empty')
    arch=${arch:-$(dpkg --print-architecture)}
    put() { # stdin becomes a blob; prints "DIGEST SIZE"
        cat >blob
        digest=$(sha256sum <blob | cut -d ' ' -f 1)
        mv blob "out/multi/blobs/sha256/$digest"
        printf 'sha256:%s %s\n' "$digest" "$(stat -c %s "out/multi/blobs/sha256/$digest")"
    }
    manifest=out/multi/blobs/sha256/$(jq -r '.manifests[0].digest' out/multi/index.json | cut -d : -f 2)
    config=out/multi/blobs/sha256/$(jq -r .config.digest "$manifest" | cut -d : -f 2)
    of_arch() { # of_arch ARCHITECTURE: prints "DIGEST SIZE" of the manifest
        read -r digest size < <(jq -c --arg a "$1" '.architecture = $a | .config.Labels.arch = $a' "$config" | put)
        jq -c --arg d "$digest" --argjson s "$size" '.config.digest = $d | .config.size = $s' "$manifest" | put
    }
    ours=$(of_arch "$arch")
    theirs=$(of_arch s390x)
    read -r digest size < <(jq -nc --arg a "$arch" --arg o "$ours" --arg t "$theirs" '
        def of($x; $a): ($x | split(" ")) as [$d, $s] | {mediaType: "application/vnd.oci.image.manifest.v1+json",
            digest: $d, size: ($s | tonumber), platform: {architecture: $a, os: "linux"}};
        {schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
         manifests: [of($t; "s390x"), of($o; $a)]}' | put)
    jq -nc --arg d "$digest" --argjson s "$size" '{schemaVersion: 2, manifests: [{
        mediaType: "application/vnd.oci.image.index.v1+json", digest: $d, size: $s,
        annotations: {"org.opencontainers.image.ref.name": "latest"}}]}' >out/multi/index.json
}

build_archives() {
    mkdir out
    for name in debian busybox; do
        skopeo copy -q "oci:$images/$name:latest" "docker-archive:out/$name.docker.tar:$name:latest"
        skopeo copy -q "oci:$images/$name:latest" "oci-archive:out/$name.oci.tar:latest"
    done
}

build_compressions() {
    mkdir out
    for tag in latest two; do
        skopeo copy -q --dest-compress-format zstd "oci:$images/debian:$tag" "oci:out/debian-zstd:$tag"
        skopeo copy -q --dest-decompress "oci:$images/debian:$tag" "dir:plain"
        skopeo copy -q --dest-oci-accept-uncompressed-layers dir:plain "oci:out/debian-plain:$tag"
        rm -rf plain
    done
}

build_postgres() {
    local root=bundle/rootfs bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/data
    mkdir out
    umoci unpack --image "$images/debian:latest" bundle >/dev/null
    # Only during the build: the parts of a running system that apt and initdb
    # need.
    cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
    mkdir "$root/dev/shm"
    mknod -m 666 "$root/dev/null" c 1 3
    mknod -m 666 "$root/dev/urandom" c 1 9
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    {
        printf 'deb %s bookworm main\n' "$mirror" >"$root/etc/apt/sources.list"
        mkdir "$root/etc/postgresql-common"
        echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
        chroot "$root" apt-get update -q
        DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -qy --no-install-recommends postgresql-15
        chroot "$root" setpriv --reuid=postgres --regid=postgres --clear-groups \
            "$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 "$data"
    } >postgres.log 2>&1 || die "postgres: $(tail -n 3 postgres.log)"
    rm -rf "$root"/dev/{shm,null,urandom} "$root"/usr/sbin/policy-rc.d "$root"/var/cache/apt/*.bin \
        "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/etc/resolv.conf
    cp -r "$images/debian" out/postgres
    umoci repack --image out/postgres:latest bundle >/dev/null
    umoci config --image out/postgres:latest --config.user postgres --config.cmd "$bin/postgres" \
        --config.cmd -D --config.cmd "$data" --config.volume /run/postgresql
    umoci rm --image out/postgres:two
    umoci gc --layout out/postgres >/dev/null
}

build_oldest() {
    mkdir out
    local suite made=
    # The oldest release goes to another archive some day.
    for suite in bullseye bookworm; do
        rm -rf out/oldest
        if debootstrap --variant=minbase --include=python3-venv,libc6-dev "$suite" out/oldest "$mirror" >debootstrap.log 2>&1; then
            made=$suite
            break
        fi
    done
    [ -n "$made" ] || die "debootstrap: $(tail -n 3 debootstrap.log)"
    rm -rf out/oldest/var/cache/apt/archives/*.deb out/oldest/var/lib/apt/lists/* out/oldest/dev
    mkdir out/oldest/dev
    # A linker that is told to look here must not look elsewhere.
    find out/oldest/usr/lib out/oldest/usr/lib64 -lname '/*' -print | while read -r link; do
        ln -snf "$(realpath -m --relative-to="$(dirname "$link")" "out/oldest$(readlink "$link")")" "$link"
    done
}

exec 9>"$images/.lock"
flock 9
if [ $# != 0 ]; then
    for name; do image "$name"; done
    exit
fi
# Beside the others, because no image depends on it, and a debootstrap keeps one
# processor busy.
image oldest &
oldest=$!
trap wait EXIT
image debian
image busybox
image static
image multi static
image postgres debian
image archives debian busybox
image compressions debian
wait "$oldest"
say "all in $images ($SECONDS s)"
