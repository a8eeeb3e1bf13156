#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Times the tests with libtare and with `docker run`, in turns; the servers, the
# image and the tests are the same. Starts a separate Docker engine (Debian:
# apt-get install docker.io) with its data in a temporary directory. Needs root,
# and the image of `tests/images.sh postgres`.
#
#   compare.sh [ROUNDS]     3 by default
#
# Environment: TARE_IMAGES (where the image is), TARE_PYTHON (an interpreter
# that has libtare, pytest and psycopg).
set -euo pipefail
cd "$(dirname "$0")"
rounds=${1:-3}
python=${TARE_PYTHON:-python3}
export TARE_IMAGES=${TARE_IMAGES:-$PWD/../../target/images}
for program in dockerd docker skopeo; do
    command -v "$program" >/dev/null || { echo "compare: missing $program; try: apt-get install docker.io skopeo" >&2 && exit 1; }
done

temp=$(mktemp -d /tmp/tare-compare.XXXXXX)
export DOCKER_HOST=unix://$temp/docker.sock
engine=
finish() {
    [ -z "$engine" ] || { kill "$engine" && wait "$engine"; } || true
    rm -rf "$temp"
}
trap finish EXIT

dockerd --host="$DOCKER_HOST" --data-root="$temp/data" --exec-root="$temp/exec" --pidfile="$temp/pid" \
    --bridge=none --iptables=false --ip6tables=false >"$temp/log" 2>&1 &
engine=$!
until docker info >"$temp/info" 2>&1; do
    kill -0 "$engine" 2>/dev/null || { tail -n 5 "$temp/log" >&2 && exit 1; }
    sleep 0.2
done
skopeo copy -q "oci:$TARE_IMAGES/postgres:latest" "docker-archive:$temp/image.tar:postgres-of-libtare:latest"
docker load -q -i "$temp/image.tar" >/dev/null
rm "$temp/image.tar"
docker info --format 'Docker {{.ServerVersion}}, {{.Driver}}, {{.DefaultRuntime}}'

# seconds ENGINE: prints the medians of a server's start until its first answer,
# and of a whole test.
run() {
    "$python" -m pytest -p no:cacheprovider -q --tare-store="$temp/store" --engine="$1" --junitxml="$temp/$1.xml" \
        --basetemp="$temp/pytest" . >"$temp/said" 2>&1 || { cat "$temp/said" >&2 && exit 1; }
    "$python" - "$temp/$1.xml" >>"$temp/$1.times" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
for case in tree.parse(sys.argv[1]).iter("testcase"):
    print(case.get("name"), case.get("time"))
PYTHON
}

# The image is unpacked once.
run tare
rm "$temp/tare.times"
for ((round = 1; round <= rounds; round++)); do
    for each in tare docker; do
        printf '\rround %s of %s: %-8s' "$round" "$rounds" "$each" >&2
        run "$each"
    done
done
printf '\r%-40s\r' '' >&2
"$python" - "$temp" <<'PYTHON'
import statistics, sys
medians = {}
print(f"{'':8}{'tests':>7}{'median':>12}{'slowest':>12}{'20 tests':>12}")
for engine in ("tare", "docker"):
    with open(f"{sys.argv[1]}/{engine}.times") as file:
        times = [float(line.split()[-1]) for line in file]
    medians[engine] = statistics.median(times)
    print(f"{engine:8}{len(times):7}{medians[engine] * 1e3:9.0f} ms{max(times) * 1e3:9.0f} ms"
          f"{20 * statistics.mean(times):10.1f} s")
print(f"a test with its own server: docker / tare = {medians['docker'] / medians['tare']:.1f}")
PYTHON
