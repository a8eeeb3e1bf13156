# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Recipes that need programs newer than Debian 12's, and the list of all;
# sourced by ../builders.sh.

all_builders() {
    printf '%s\n' umoci buildah podman docker containerd skopeo crane ko bazel jib nix apko \
        newer/umoci newer/buildah newer/podman newer/docker newer/containerd newer/skopeo newer/buildx newer/chunked
}

# Docker on containerd's store, which saves OCI layouts, and BuildKit's own
# writers.
buildx_images() {
    version "$(docker version -f '{{.Server.Version}}'), buildx $(docker buildx version | cut -d ' ' -f 2)"
    local compression
    docker buildx build -q --network none -t builders:latest context
    docker save -o saved.tar builders:latest
    made "docker save, containerd's store" archive:saved.tar
    for compression in gzip zstd estargz uncompressed; do
        docker buildx build -q --network none --output "type=oci,dest=$compression.tar,compression=$compression,force-compression=true" context
        made "BuildKit type=oci, $compression" "archive:$compression.tar"
    done
    docker buildx build -q --network none --output type=docker,dest=docker.tar,name=builders:latest context
    made "BuildKit type=docker" archive:docker.tar
    docker buildx build -q --network none --provenance=true --output type=oci,dest=provenance.tar context
    made "BuildKit type=oci, provenance" archive:provenance.tar
    # Nothing of another architecture runs here.
    sed '/^RUN/d' context/Dockerfile >context/still
    docker buildx build -q -f context/still --platform linux/arm64,linux/amd64 --output type=oci,dest=platforms.tar context
    made "BuildKit type=oci, two platforms" archive:platforms.tar
    docker buildx build -q --network none --output type=oci,dest=oci,tar=false,oci-mediatypes=false context
    made "BuildKit type=oci, layout of Docker's media types" oci:oci
    docker buildx build -q --network none --build-arg SOURCE_DATE_EPOCH=1 \
        --output type=oci,dest=epoch.tar,rewrite-timestamp=true context
    made "BuildKit type=oci, rewrite-timestamp" archive:epoch.tar
}

build_buildx() {
    have dockerd || lacks dockerd
    docker buildx version >/dev/null || lacks docker-buildx
    echo '{"features": {"containerd-snapshotter": true}}' >daemon.json
    with_dockerd buildx_images --config-file "$PWD/daemon.json"
}

# zstd with a table of contents in skippable frames.
build_chunked() {
    have skopeo || lacks skopeo
    version "skopeo $(skopeo --version | cut -d ' ' -f 3)"
    umoci_layout
    skopeo --insecure-policy copy -q --dest-compress --dest-compress-format zstd:chunked oci:oci:latest oci:chunked:latest
    made "oci layout, zstd:chunked" oci:chunked:latest
    skopeo --insecure-policy copy -q --dest-compress --dest-compress-format zstd:chunked oci:oci:latest oci-archive:chunked.tar:builders:latest
    made "oci-archive, zstd:chunked" archive:chunked.tar
}
