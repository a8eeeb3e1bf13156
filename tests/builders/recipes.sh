# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# How each builder makes the image of base.sh and Dockerfile; sourced by
# ../builders.sh.
#
# A recipe is a function build_NAME. Its directory has ./context (Dockerfile,
# base.tar and given.txt), ./base (the tree) and ./layers/{1,2,3} (layers with
# whiteouts). For each image, a recipe calls made FORM REFERENCE [TREE]; TREE
# lists the builder's own view. A recipe calls `lacks` if a tool is missing.
# Recipes run in mount and network namespaces of their own.

# flags TOOL: the Dockerfile's last lines as flags of a tool that reads no
# Dockerfile, a line each.
flags() {
    case $1 in
    crane) printf '%s\n' --entrypoint=/entry,fixed --cmd=default --workdir=/made/by/workdir --user=app \
        --env=GREETING=hello --env=PATH=/bin --label=org.example.text=text ;;
    umoci) printf '%s\n' --config.entrypoint=/entry --config.entrypoint=fixed --config.cmd=default \
        --config.workingdir=/made/by/workdir --config.user=app --config.env=GREETING=hello \
        --config.env=PATH=/bin --config.label=org.example.text=text --config.stopsignal=SIGQUIT \
        --config.exposedports=8080/udp --config.volume=/data ;;
    esac
}

# config DIFF-ID...: the same as JSON, for builders that are scripts.
config() {
    printf '%s\n' "$@" | jq -Rn '{architecture: "amd64", os: "linux", created: "1970-01-01T00:00:01Z",
        config: {Env: ["GREETING=hello", "PATH=/bin"], Entrypoint: ["/entry", "fixed"], Cmd: ["default"],
            WorkingDir: "/made/by/workdir", User: "app", Labels: {"org.example.text": "text"}},
        rootfs: {type: "layers", diff_ids: [inputs]}}'
}

diff_id() { printf 'sha256:%s' "$(sha256sum <"$1" | cut -d ' ' -f 1)"; }

# docker_archive FILE LAYER.tar...: as nix and rules_docker write archives,
# without the files that only Docker writes.
docker_archive() {
    local file=$1 ids=() layer
    shift
    for layer; do ids+=("$(diff_id "$layer")"); done
    config "${ids[@]}" >config.json
    printf '%s\n' "$@" | jq -Rn '[{Config: "config.json", RepoTags: ["builders:latest"], Layers: [inputs]}]' >manifest.json
    tar --format=ustar --owner=0 --group=0 --mtime=@0 -cf "$file" config.json "$@" manifest.json
}

# layout DIR [LAYER MEDIA-TYPE DIFF-ID]...: the smallest OCI layout of these
# layers.
layout() {
    local dir=$1 layers=() ids=()
    shift
    mkdir -p "$dir/blobs/sha256"
    put() {
        local digest
        digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
        cp "$1" "$dir/blobs/sha256/$digest"
        jq -nc --arg d "sha256:$digest" --argjson s "$(stat -c %s "$1")" --arg m "$2" '{mediaType: $m, digest: $d, size: $s}'
    }
    while [ $# != 0 ]; do
        layers+=("$(put "$1" "$2")")
        ids+=("$3")
        shift 3
    done
    config "${ids[@]}" >config.json
    jq -nc --argjson c "$(put config.json application/vnd.oci.image.config.v1+json)" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json", config: $c, layers: $ARGS.positional}' \
        --jsonargs "${layers[@]}" >manifest.json
    put manifest.json application/vnd.oci.image.manifest.v1+json |
        jq -c '{schemaVersion: 2, manifests: [. + {annotations: {"org.opencontainers.image.ref.name": "latest"}}]}' >"$dir/index.json"
    printf '{"imageLayoutVersion": "1.0.0"}' >"$dir/oci-layout"
}

build_umoci() {
    have umoci || lacks umoci
    version "$(umoci --version | cut -d ' ' -f 3)"
    umoci init --layout oci
    umoci new --image oci:latest
    umoci unpack --image oci:latest bundle
    cp -a base/. bundle/rootfs
    umoci repack --refresh-bundle --image oci:latest bundle
    for step in 2 3; do
        chroot bundle/rootfs /bin/sh "/steps/$step"
        [ "$step" = 3 ] || { mkdir bundle/rootfs/odd/copied && cp -a context/given.txt "bundle/rootfs/odd/copied/by chown.txt"; }
        umoci repack --refresh-bundle --image oci:latest bundle
    done
    mapfile -t words < <(flags umoci)
    umoci config --image oci:latest "${words[@]}"
    list bundle/rootfs >own
    made "oci layout" oci:oci:latest own
    umoci tag --image oci:latest inserted
    mkdir inserted
    cp -a base/odd/setgid base/odd/closed inserted
    umoci insert --image oci:inserted --opaque inserted /odd
    made "oci layout, insert --opaque" oci:oci:inserted
}

# engine_build PROGRAM...: builds with buildah or podman, whose flags are alike,
# in $format.
engine_build() {
    # Newer ones raise limits beyond what the machine allows.
    "$@" --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --isolation chroot --network host --layers=true -t "builders:$format" --format "$format" context
}

build_buildah() {
    have buildah || lacks buildah
    version "$(buildah --version | cut -d ' ' -f 3)"
    b=(buildah --root "$PWD/root" --runroot /run/containers --storage-driver "$driver")
    for format in oci docker; do
        engine_build "${b[@]}" bud
        container=$("${b[@]}" from --pull-never "localhost/builders:$format")
        list "$("${b[@]}" mount "$container")" >"own.$format"
        "${b[@]}" umount "$container"
        "${b[@]}" push -q "localhost/builders:$format" "oci-archive:$format.oci.tar:latest"
        "${b[@]}" push -q "localhost/builders:$format" "docker-archive:$format.tar:builders:latest"
        made "oci-archive, format $format" "archive:$format.oci.tar" "own.$format"
        made "docker-archive, format $format" "archive:$format.tar" "own.$format"
    done
    "${b[@]}" push -q --format oci localhost/builders:oci "oci:oci:latest"
    made "oci layout" oci:oci:latest own.oci
    "${b[@]}" commit -q --squash "$container" localhost/builders:squashed
    "${b[@]}" push -q localhost/builders:squashed oci:squashed:latest
    made "oci layout, squashed" oci:squashed:latest own.oci
    "${b[@]}" rm -a
}

build_podman() {
    have podman || lacks podman
    version "$(podman --version | cut -d ' ' -f 3)"
    p=(podman --root "$PWD/root" --runroot /run/containers --storage-driver "$driver" --cgroup-manager cgroupfs --events-backend none)
    format=oci engine_build "${p[@]}" build
    list "$("${p[@]}" image mount localhost/builders:oci)" >own
    "${p[@]}" image umount localhost/builders:oci
    for form in oci-archive docker-archive; do
        "${p[@]}" save -q --format "$form" -o "$form.tar" localhost/builders:oci
        made "save, $form" "archive:$form.tar" own
    done
    "${p[@]}" save -q --format oci-dir -o oci localhost/builders:oci
    made "save, oci-dir" oci:oci own
    "${p[@]}" save -q --compress --format docker-dir -o dir localhost/builders:oci
    container=$("${p[@]}" create --network none localhost/builders:oci)
    "${p[@]}" export "$container" | "${p[@]}" import -q -c 'ENTRYPOINT ["/entry","fixed"]' -c 'CMD ["default"]' \
        -c 'ENV GREETING=hello' -c 'ENV PATH=/bin' -c 'USER app' -c 'WORKDIR /made/by/workdir' - localhost/builders:imported
    "${p[@]}" save -q -o imported.tar localhost/builders:imported
    made "export, import" archive:imported.tar
    "${p[@]}" rm -f "$container"
    "${p[@]}" manifest create list
    "${p[@]}" manifest add --arch arm64 list containers-storage:localhost/builders:imported
    "${p[@]}" manifest add list containers-storage:localhost/builders:oci
    "${p[@]}" manifest push -q --all list oci:list:latest
    made "manifest list" oci:list own
    format=docker engine_build "${p[@]}" build --squash-all
    "${p[@]}" save -q -o squashed.tar localhost/builders:docker
    made "save, squashed" archive:squashed.tar
}

# beside PID FUNCTION: calls FUNCTION while the daemon runs, then ends the
# daemon by its process id. The function is no part of a condition, because bash
# ignores errors in there.
beside() {
    local pid=$1 status
    set +e
    (
        set -e
        "$2"
    )
    status=$?
    set -e
    kill "$pid"
    wait "$pid" || true
    return "$status"
}

# with_dockerd FUNCTION [FLAG...]: a Docker of its own.
with_dockerd() {
    local run=$1 pid
    shift
    # The client of the daemon's package: newer clients need a plugin for
    # BuildKit.
    PATH=/usr/bin:$PATH
    export DOCKER_HOST=unix://$PWD/docker.sock
    dockerd --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile "$PWD/docker.pid" -H "$DOCKER_HOST" \
        --bridge=none --iptables=false --cgroup-parent /tare-builders "$@" >dockerd.log 2>&1 &
    pid=$!
    for _ in {1..300}; do
        ! docker version >/dev/null 2>&1 || break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    beside "$pid" "$run"
}

docker_images() {
    version "$(docker version -f '{{.Server.Version}}')"
    for kit in 0 1; do
        local name=classic form="docker save"
        [ "$kit" = 0 ] || name=BuildKit
        DOCKER_BUILDKIT=$kit docker build -q --network none -t "builders:$name" context
        container=$(docker create --network none "builders:$name")
        mkdir "tree.$name"
        docker export "$container" | tar -x --numeric-owner -p -C "tree.$name"
        # Docker makes these for the container.
        rm -rf "tree.$name/.dockerenv" "tree.$name"/dev/* "tree.$name"/etc/{hostname,hosts,mtab,resolv.conf}
        list "tree.$name" >"own.$name"
        docker save -o "$name.tar" "builders:$name"
        made "$form, $name" "archive:$name.tar" "own.$name" no-attributes
        docker rm "$container"
    done
    DOCKER_BUILDKIT=1 docker build -q --network none --cache-from builders:classic --build-arg BUILDKIT_INLINE_CACHE=1 \
        -t builders:inline context
    docker save -o inline.tar builders:inline
    made "docker save, inline cache" archive:inline.tar
}

build_docker() {
    have dockerd || lacks dockerd
    have docker || lacks docker
    with_dockerd docker_images
}

containerd_images() {
    local c=(ctr -a "$PWD/c.sock")
    for _ in {1..100}; do
        ! "${c[@]}" version >/dev/null 2>&1 || break
        sleep 0.2
    done
    umoci_layout
    tar -C oci -cf in.tar .
    "${c[@]}" image import --index-name localhost/builders:latest in.tar
    "${c[@]}" image export out.tar localhost/builders:latest
    made "ctr image export" archive:out.tar
    "${c[@]}" image convert --uncompress --oci localhost/builders:latest localhost/builders:plain
    "${c[@]}" image export plain.tar localhost/builders:plain
    made "ctr image convert --uncompress" archive:plain.tar
}

build_containerd() {
    have containerd || lacks containerd
    version "$(containerd --version | cut -d ' ' -f 3)"
    containerd --root "$PWD/data" --state "$PWD/state" -a "$PWD/c.sock" >containerd.log 2>&1 &
    beside $! containerd_images
}

# umoci_layout: ./oci, an image of ./layers, for tools that convert.
umoci_layout() {
    umoci init --layout oci
    umoci new --image oci:latest
    for layer in 1 2 3; do
        tar --format=pax --xattrs --xattrs-include='*' --numeric-owner --sort=name -C "layers/$layer" -cf layer.tar .
        umoci raw add-layer --image oci:latest layer.tar
        rm layer.tar
    done
    mapfile -t words < <(flags umoci)
    umoci config --image oci:latest "${words[@]}"
}

build_skopeo() {
    have skopeo || lacks skopeo
    version "$(skopeo --version | cut -d ' ' -f 3)"
    umoci_layout
    s=(skopeo --insecure-policy copy -q)
    "${s[@]}" oci:oci:latest docker-archive:docker.tar:builders:latest
    made "oci to docker-archive" archive:docker.tar
    "${s[@]}" docker-archive:docker.tar oci:back:latest
    made "docker-archive to oci" oci:back:latest
    "${s[@]}" --dest-compress-format zstd oci:oci:latest oci-archive:zstd.tar:localhost/builders:latest
    made "oci-archive, zstd" archive:zstd.tar
    "${s[@]}" --format v2s2 oci:oci:latest oci:v2s2:latest
    made "oci layout, v2s2" oci:v2s2
    "${s[@]}" --dest-decompress oci:oci:latest dir:plain
    "${s[@]}" --dest-oci-accept-uncompressed-layers dir:plain oci:plain:latest
    made "oci layout, not compressed" oci:plain:latest
}

registry=127.0.0.1:5001/builders

# with_registry FUNCTION: calls FUNCTION beside a registry in the network
# namespace.
with_registry() {
    ip link set lo up
    crane registry serve --address "${registry%/*}" >registry.log 2>&1 &
    local pid=$!
    for _ in {1..100}; do
        ! crane catalog "${registry%/*}" >/dev/null 2>&1 || break
        sleep 0.1
    done
    beside "$pid" "$1"
}

crane_images() {
    local layer words
    for layer in 1 2 3; do
        tar --format=gnu --numeric-owner -C "layers/$layer" -cf "$layer.tar" .
    done
    gzip 2.tar
    crane append --oci-empty-base -f 1.tar -f 2.tar.gz -f 3.tar -t "$registry:appended"
    mapfile -t words < <(flags crane)
    crane mutate --set-platform linux/amd64 "${words[@]}" -t "$registry:latest" "$registry:appended"
    crane pull --format=oci "$registry:latest" oci
    made "append, pull as oci" oci:oci
    crane pull --format=tarball "$registry:latest" tarball.tar
    made "append, pull as tarball" archive:tarball.tar
    crane pull --format=legacy "$registry:latest" legacy.tar
    made "append, pull as legacy" archive:legacy.tar
    crane flatten -t "$registry:flat" "$registry:latest"
    crane pull --format=oci "$registry:flat" flat
    made "flatten" oci:flat
}

build_crane() {
    have crane || lacks crane "go install github.com/google/go-containerregistry/cmd/crane@latest"
    version "$(go version -m "$(command -v crane)" | awk '$1 == "mod" { print $3 }')"
    with_registry crane_images
}

ko_images() {
    tar --format=gnu --numeric-owner -C layers/1 -cf 1.tar .
    crane append --oci-empty-base -f 1.tar -t "$registry:base"
    mapfile -t words < <(flags crane)
    crane mutate --set-platform linux/amd64 "${words[@]}" -t "$registry:base" "$registry:base"
    mkdir -p app/kodata/below
    printf 'data\n' >app/kodata/below/file
    ln -s below/file app/kodata/link
    cp -r app/kodata/below app/kodata/naïve
    printf '%s\n' 'module example.org/app' 'go 1.21' >app/go.mod
    printf '%s\n' 'package main' 'import ("fmt"; "os")' 'func main() {' 'cwd, _ := os.Getwd()' \
        'fmt.Printf("fixed default|%s|%d:%d|%s\n", cwd, os.Getuid(), os.Getgid(), os.Getenv("GREETING"))' '}' >app/main.go
    (
        cd app
        export KO_DOCKER_REPO=$registry KO_DEFAULTBASEIMAGE=$registry:base GOFLAGS=-buildvcs=false GOPROXY=off
        ko build --sbom=none --push=false --platform=linux/amd64 --oci-layout-path=../oci --tarball=../ko.tar --bare -t latest .
    )
    made "build --oci-layout-path" oci:oci
    made "build --tarball" archive:ko.tar
}

build_ko() {
    have crane || lacks crane "go install github.com/google/go-containerregistry/cmd/crane@latest"
    have ko || lacks ko "go install github.com/google/ko@latest"
    version "$(go version -m "$(command -v ko)" | awk '$1 == "mod" { print $3 }')"
    with_registry ko_images
}

# Files without their directories, all of one owner; then a layer of GNU format,
# time 0 and mode 0555.
build_bazel() {
    have bsdtar || lacks bsdtar
    version "by bsdtar $(bsdtar --version | cut -d ' ' -f 2)"
    (cd base && find . -mindepth 1 ! -type d ! -path ./odd/mode ! -path ./odd/closed/shut -print0 | sort -z |
        bsdtar --null -T - -n --no-xattrs --no-fflags --uid 0 --gid 0 --format=pax -cf ../1.tar)
    python3 - <<'PY'
import io, tarfile
# rules_docker's build_tar.py: GNU format, names with ./, mode 0555, time 0.
with tarfile.open("2.tar", "w", format=tarfile.GNU_FORMAT) as tar:
    for name, data in (("./app/" + "d" * 120 + "/main", b"#!/bin/sh\n"), ("./app/runfiles/MANIFEST", b""), ("./odd/.wh.sticky", b"")):
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.uname, info.gname = len(data), 0o555, "", ""
        tar.addfile(info, io.BytesIO(data))
    for name, to in (("./app/link", "/app/runfiles"), ("./odd/empty", "keeps")):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, to, 0o777
        tar.addfile(info)
PY
    docker_archive rules_docker.tar 1.tar 2.tar
    made "as rules_docker" archive:rules_docker.tar
    gzip -nk 1.tar
    gzip -nk 2.tar
    local gz=application/vnd.oci.image.layer.v1.tar+gzip
    layout rules_oci 1.tar.gz $gz "$(diff_id 1.tar)" 2.tar.gz $gz "$(diff_id 2.tar)"
    made "as rules_oci" oci:rules_oci
}

# A layer for each kind of file; each entry of the first second, with the
# directories above.
build_jib() {
    have python3 || lacks python3
    version "by CPython $(python3 --version | cut -d ' ' -f 2)"
    tar --format=pax --xattrs --xattrs-include='*' --numeric-owner -C layers/1 -cf 0.tar .
    python3 - <<'PY'
import io, tarfile
def layer(file, entries):
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        known = set()
        for name, data in entries:
            parts = name.split("/")
            for i in range(1, len(parts)):
                above = "/".join(parts[:i]) + "/"
                if above not in known:
                    known.add(above)
                    info = tarfile.TarInfo(above)
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1
                    tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1
            # Java's writer repeats size and time as records if a name needs
            # some.
            info.uname, info.gname = "root", "root"
            info.pax_headers = {"mtime": "1.000", "size": str(len(data))} if "é" in name else {}
            tar.addfile(info, io.BytesIO(data))
layer("1.tar", [("app/libs/%s-1.0.jar" % ("a" * 90), b"PK"), ("app/libs/dép.jar", b"PK\3\4")])
layer("2.tar", [("app/classes/com/example/Main.class", b"\xca\xfe\xba\xbe"), ("app/resources/a.properties", b"a=b")])
layer("3.tar", [("app/jib-classpath-file", b"/app/resources:/app/classes"), ("app/jib-main-class-file", b"com.example.Main")])
PY
    local words=() n
    for n in 0 1 2 3; do gzip -nk "$n.tar"; words+=("$n.tar.gz"); done
    local ids=()
    for n in 0 1 2 3; do ids+=("$(diff_id "$n.tar")"); done
    # Archives of jib hold compressed layers.
    config "${ids[@]}" >config.json
    printf '%s\n' "${words[@]}" | jq -Rn '[{Config: "config.json", RepoTags: ["builders:latest"], Layers: [inputs]}]' >manifest.json
    tar --format=posix -cf jib.tar "${words[@]}" config.json manifest.json
    made "jib's archive" archive:jib.tar
}

# Store paths of mode 0555, one a layer, and a layer of links into them.
build_nix() {
    have python3 || lacks python3
    version "by CPython $(python3 --version | cut -d ' ' -f 2)"
    tar --format=pax --xattrs --xattrs-include='*' --numeric-owner -C layers/1 -cf 0.tar .
    python3 - <<'PY'
import io, tarfile
def add(tar, name, kind, mode, data=b"", to=""):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime, info.size, info.linkname = kind, mode, 1, len(data), to
    info.uname = info.gname = "root"
    tar.addfile(info, io.BytesIO(data))
paths = ["nix/store/%032d-%s" % (n, name) for n, name in enumerate(("glibc-2.40", "hello", "naïve"))]
for n, path in enumerate(paths):
    # Each layer lists /nix and /nix/store again; newer versions write absolute
    # names.
    root = "/" if n else "./"
    with tarfile.open("%d.tar" % (n + 1), "w", format=tarfile.PAX_FORMAT) as tar:
        for above in ("nix", "nix/store"):
            add(tar, root + above, tarfile.DIRTYPE, 0o755)
        add(tar, root + path, tarfile.DIRTYPE, 0o555)
        add(tar, root + path + "/bin", tarfile.DIRTYPE, 0o555)
        add(tar, root + path + "/bin/x", tarfile.REGTYPE, 0o555, b"x")
        add(tar, root + path + "/bin/y", tarfile.LNKTYPE, 0o555, to=root + path + "/bin/x")
        add(tar, root + path + "/lib", tarfile.SYMTYPE, 0o777, to="/" + paths[0] + "/bin")
with tarfile.open("4.tar", "w", format=tarfile.GNU_FORMAT) as tar:
    add(tar, "./", tarfile.DIRTYPE, 0o555)
    add(tar, "./opt", tarfile.SYMTYPE, 0o777, to="/" + paths[1])
    add(tar, "./etc/x", tarfile.SYMTYPE, 0o777, to="/" + paths[2] + "/bin/x")
PY
    docker_archive nix.tar 0.tar 1.tar 2.tar 3.tar 4.tar
    made "as streamLayeredImage" archive:nix.tar
}

# One layer with PAX records of checksums, in a gzip of two members.
build_apko() {
    have python3 || lacks python3
    version "by CPython $(python3 --version | cut -d ' ' -f 2)"
    python3 - <<'PY'
import os, tarfile
def filtered(info):
    info.mtime, info.uname, info.gname = 0, "root" if not info.uid else "", "root" if not info.gid else ""
    path = "base/" + info.name
    if info.isreg():
        info.pax_headers["APK-TOOLS.checksum.SHA1"] = "0" * 40
    if info.isreg() or info.isdir():
        for name in os.listxattr(path):
            value = os.getxattr(path, name)
            info.pax_headers["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
    return info
with tarfile.open("1.tar", "w", format=tarfile.PAX_FORMAT) as tar:
    for name in sorted(os.listdir("base")):
        tar.add("base/" + name, name, filter=filtered)
PY
    { head -c 100000 1.tar | gzip -n; tail -c +100001 1.tar | gzip -n; } >1.tar.gz
    layout oci 1.tar.gz application/vnd.oci.image.layer.v1.tar+gzip "$(diff_id 1.tar)"
    made "one layer, gzip of two members" oci:oci
}
