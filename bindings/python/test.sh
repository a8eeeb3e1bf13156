#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the wheel, installs it in a fresh environment, compares it with its
# types, and runs the tests as root and as ordinary users. Its arguments are
# words for pytest.
#
#   -e   only make the environment, with the wheel in it, and print where it is
#   -w   only make the wheel, for speed, and print where it is
#   -b   build for speed, and run bench.py with the other words
#   -l   only what needs no wheel: format, lint, types
#   -u   only the tests as uid 0 of a user namespace
#   -v   only make the environment, without the wheel, and print where it is
#
# Environment: TARE_IMAGES (the output of tests/images.sh), TARE_PYTHON (the
# interpreter; default: Debian's, which ordinary users can reach).
set -euo pipefail
umask 022

cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
export TARE_IMAGES=${TARE_IMAGES:-$target/images}
home=$target/python
mkdir -p "$home"
home=$(cd "$home" && pwd)
python=${TARE_PYTHON:-/usr/bin/python3}
venv=$home/venv
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

# The tools, at exactly the versions that are asked for.
environment() {
    local stamp
    stamp=$({ "$python" -VV && cat requirements.txt; } | sha256sum)
    [ "$(cat "$venv/.made" 2>/dev/null)" != "$stamp" ] || return 0
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
    printf '%s\n' "$stamp" >"$venv/.made"
}

# wheel PROFILE: installs the wheel as users do. Tests take an unoptimized
# wheel, because the tests of Rust have built most of that.
wheel() {
    # As in a new clone, and in pip's order.
    rm -rf "$home/wheels" "$home/metadata" data
    mkdir "$home/wheels" "$home/metadata"
    PATH=$venv/bin:$PATH "$venv/bin/python" - "$home/wheels" "$1" "$TARE_IMAGES/oldest" "$home/metadata" <<'PYTHON'
import sys, build_backend
build_backend.prepare_metadata_for_build_wheel(sys.argv[4])
build_backend.build_wheel(sys.argv[1], {"build-args": "--profile " + sys.argv[2], "sysroot": sys.argv[3]})
PYTHON
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall \
        "$home"/wheels/*.whl
}

# tests_as USER WORDS...: the tests as this user; userns is uid 0 of a user
# namespace.
tests_as() {
    local user=$1 temp status=0 as=()
    shift
    echo
    echo "running the Python tests as $user"
    [ "$user" != userns ] || user=tare-t-plain as=(unshare --map-root-user)
    temp=$(mktemp -d /tmp/tare-python.XXXXXX)
    "${root[@]}" chown "$user" "$temp"
    # Not from here, because the tested package is the installed one.
    "${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env -i HOME="$temp" PATH="$venv/bin:/usr/bin:/bin:/usr/sbin:/sbin" LANG=C.UTF-8 TARE_IMAGES="$TARE_IMAGES" \
        PYTHONDONTWRITEBYTECODE=1 \
        "${as[@]}" "$venv/bin/python" -m pytest --config-file="$PWD/pyproject.toml" --rootdir="$PWD" \
        --basetemp="$temp/pytest" "$@" || status=$?
    "${root[@]}" rm -rf "$temp"
    return "$status"
}

lint() {
    "$venv/bin/python" spec_types.py --check
    local each
    for each in . ../../tests/{faces/python,power,suites} ../../scripts/prose ../../examples/{postgres,inspect_ai,mini_swe_agent}; do
        "$venv/bin/ruff" format --quiet --no-cache --config pyproject.toml --check "$each"
        "$venv/bin/ruff" check --quiet --no-cache --config pyproject.toml "$each"
    done
    "$venv/bin/mypy" --cache-dir="$home/mypy" python/tare tests ./*.py ../../tests/power/cuts.py \
        ../../tests/suites/compare.py
    "$venv/bin/python" check_types.py
}

environment
if [ "${1-}" = -v ]; then
    echo "$venv"
    exit
fi
if [ "${1-}" = -l ]; then
    lint
    exit
fi
if [ "${1-}" = -w ]; then
    wheel release >&2
    echo "$home"/wheels/*.whl
    exit
fi
if [ "${1-}" = -b ]; then
    shift
    wheel release
    exec "$venv/bin/python" "$PWD/bench.py" "$@"
fi
wheel dev
if [ "${1-}" = -e ]; then
    echo "$venv"
    exit
fi
if [ "${1-}" = -u ]; then
    shift
    [ $# != 0 ] || set -- -n 4 tests
    tests_as userns -m 'not root' "$@"
    exit
fi
(cd "$home" && "$venv/bin/python" -m mypy.stubtest --concise tare)
failed=0
if [ $# = 0 ]; then
    "${root[@]}" ./wheel.sh "$home"/wheels/*.whl "$TARE_IMAGES/oldest" || failed=1
    # Most of them wait for something.
    set -- -n 4 tests
fi
tests_as root "$@" || failed=1
for user in tare-t-plain tare-t-subids; do
    id "$user" >/dev/null || exit
    tests_as "$user" -m 'not root' "$@" || failed=1
done
exit "$failed"
