#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Measures installed peers (bwrap, crun, runc, podman, docker, umoci, skopeo)
# beside tare: the same program, the same layer, each as a process, in turn.
# With -i installs missing peers first, with apt. Groups named behind it
# (peers-start, peers-unpack) are measured alone. Needs root. All files are
# below a temporary directory, and go with it.
set -euo pipefail

cd "$(dirname "$0")/.."
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
images=${TARE_IMAGES:-$target/images}
cargo=${CARGO:-cargo}

if [ "${1-}" = -i ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q --no-install-recommends bubblewrap crun runc podman conmon docker.io umoci skopeo
    shift
fi
groups=("$@")
[ $# -gt 0 ] || groups=(peers-start peers-unpack)

work=$(mktemp -d /var/tmp/tare-peers.XXXXXX)
list=$work/peers
dockerd=
apart=
groups_before=$(find /sys/fs/cgroup -mindepth 1 -maxdepth 3 -type d | sort)

clean() {
    local pid
    for pid in $dockerd $apart; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    # Mounts of containers' storage, the last first.
    awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r dir; do umount -l "$dir" || true; done
    rm -rf "$work"
    # Their parents of cgroups stay when the last container is gone; an rmdir
    # takes only empty ones.
    comm -13 <(echo "$groups_before") <(find /sys/fs/cgroup -mindepth 1 -maxdepth 3 -type d | sort) |
        grep -E '/(docker|libpod[^/]*|crun|runc|tare-bench[^/]*)(/|$)' | sort -r |
        while read -r dir; do rmdir "$dir" 2>/dev/null || true; done
}
trap clean EXIT

# peer GROUP NAME ROUNDS ARGV...: adds a line to the list of
# benches/figures/peers.rs, if the peer works here.
peer() {
    local line new try=("${@:4}")
    new=$(mktemp -d "$work/new.XXXXXX")
    try=("${try[@]//'{id}'/tare-bench-try}")
    if "${try[@]//'{new}'/$new}" >/dev/null 2>"$work/said"; then
        printf -v line '%s\t' "$@"
        printf '%s\n' "${line%$'\t'}" >>"$list"
        printf 'peers: %s at %s\n' "$2" "$1"
    else
        printf 'peers: %s does not work here: %s\n' "$2" "$(tail -n 1 "$work/said")"
    fi
}

has() {
    command -v "$1" >/dev/null || {
        echo "peers: no $1 here (-i installs it)"
        return 1
    }
}

# The bundle that `runc spec` writes, for a program without a terminal.
bundle() {
    mkdir "$work/bundle"
    runc spec -b "$work/bundle"
    jq --arg root "$work/image" \
        '.process.terminal = false | .process.args = ["/exit"] | .root.path = $root' \
        "$work/bundle/config.json" >"$work/config.json"
    mv "$work/config.json" "$work/bundle/config.json"
}

# crun refuses machines with a v2 controller beside v1. There crun gets a mount
# namespace without v2, and a row beside it tells the cost of entering.
bench_crun() {
    local words=(crun --root "$work/crun" run -b "$work/bundle" '{id}') v2 enter
    v2=$(awk '/ - cgroup2 / { print $5 }' /proc/self/mountinfo)
    if [ "$v2" = /sys/fs/cgroup ] || [ -z "$(cat "$v2/cgroup.controllers")" ]; then
        peer start crun 1 "${words[@]}"
        return
    fi
    # shellcheck disable=SC2016  # expanded by that shell
    unshare --mount sh -c 'umount "$1" && exec sleep infinity' sh "$v2" &
    apart=$!
    enter=(nsenter "--mount=/proc/$apart/ns/mnt" --)
    sleep 0.2
    peer start crun 1 "${enter[@]}" "${words[@]}"
    peer start "crun: nsenter alone" 1 "${enter[@]}" "$work/image/exit"
}

# A separate daemon, sharing nothing with a running one.
start_docker() {
    local socket=unix://$work/docker.sock
    docker=$(command -v /usr/bin/docker || command -v docker)
    dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" \
        -H "$socket" --iptables=false --ip6tables=false --bridge=none >"$work/docker.log" 2>&1 &
    dockerd=$!
    for _ in $(seq 300); do
        if "$docker" -H "$socket" info >/dev/null 2>&1; then
            tar -C "$work/image" -c . | "$docker" -H "$socket" import - tare-bench >/dev/null
            return
        fi
        kill -0 "$dockerd" 2>/dev/null || break
        sleep 0.1
    done
    echo "peers: dockerd does not start: $(tail -n 1 "$work/docker.log")"
    return 1
}

starts() {
    local root=$work/image
    peer start "tare run" 1 "$target/release/tare" run --store "$work/store" "dir:$root" -- /exit
    if has bwrap; then
        peer start bwrap 1 bwrap --unshare-all --ro-bind "$root" / --proc /proc --dev /dev -- /exit
    fi
    # crun takes the bundle that runc writes.
    if has runc; then
        bundle
        peer start runc 1 runc --root "$work/runc" run -b "$work/bundle" '{id}'
        if has crun; then
            bench_crun
        fi
    fi
    if has podman && has conmon; then
        local podman=(podman --root "$work/podman" --runroot "$work/podman-run" --tmpdir "$work/podman-tmp"
            --runtime runc --cgroup-manager cgroupfs --events-backend none)
        tar -C "$root" -c . | "${podman[@]}" import -q - tare-bench >/dev/null
        # With limits that a root without CAP_SYS_RESOURCE can set, too.
        peer start "podman run" 2 "${podman[@]}" run --rm --network none --log-driver none \
            --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 tare-bench /exit
    fi
    if has dockerd && start_docker; then
        peer start "docker run" 2 "$docker" -H "unix://$work/docker.sock" run --rm --network none tare-bench /exit
    fi
}

unpacks() {
    local layout=$images/debian
    # shellcheck disable=SC1083  # filled in by the bench
    peer unpack "tare image unpack" 1 "$target/release/tare" image unpack --store {new}/store \
        "oci:$layout:latest" {new}/root
    # shellcheck disable=SC1083
    peer unpack "tare image import --no-sync" 1 "$target/release/tare" image import --no-sync --store {new}/store \
        "oci:$layout:latest" x
    # shellcheck disable=SC1083
    peer unpack "tare image import" 1 "$target/release/tare" image import --store {new}/store "oci:$layout:latest" x
    if has umoci; then
        # shellcheck disable=SC1083
        peer unpack umoci 1 umoci unpack --image "$layout:latest" {new}/bundle
    fi
    if has skopeo; then
        # shellcheck disable=SC1083
        peer unpack skopeo 1 skopeo --insecure-policy copy -q "oci:$layout:latest" \
            "containers-storage:[overlay@{new}/storage+{new}/run]localhost/x:latest"
    fi
}

bench=("$cargo" bench --locked --package libtare --bench figures --)
CARGO=$cargo scripts/build-command.sh
"${bench[@]}" image "$work"
case ${groups[*]} in *peers-start*) starts ;; esac
case ${groups[*]} in *peers-unpack*) unpacks ;; esac
TARE_BENCH_PEERS=$list "${bench[@]}" "${groups[@]}"
