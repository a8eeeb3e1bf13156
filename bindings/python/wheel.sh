#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks that the wheel is enough: in an empty environment of this machine's
# Python, in an environment of each other CPython found, and in the oldest
# supported Debian, with its Python and C library. Needs root.
#
#   wheel.sh WHEEL ROOT-DIRECTORY
#
# Environment: PYENV_ROOT (where pyenv keeps interpreters; default: ~/.pyenv).
set -euo pipefail
umask 022
wheel=$(realpath "$1")
root=$(realpath "$2")
cd "$(dirname "$0")"

temp=$(mktemp -d /tmp/tare-wheel.XXXXXX)
trap 'rm -rf "$temp"' EXIT
mkdir "$temp/given"
cp "$wheel" "$temp/given"
# The program in the README's own text.
awk '/^```/ { inside = $0 == "```python"; next } inside' ../../README.md >"$temp/given/readme.py"
[ -s "$temp/given/readme.py" ]
# Steps in both: install, import, a sandbox by the package and by the command,
# the plugin's entry point.
cat >"$temp/given/check.sh" <<'END'
set -eu
given=$1 home=$2 python=${3:-python3}
"$python" -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$given"/*.whl
export TARE_STORE=$home/store
"$home/venv/bin/python" "$given/readme.py"
[ "$("$home/venv/bin/tare" run host -- id -u)" = 0 ]
"$home/venv/bin/python" - <<'PYTHON'
import asyncio, importlib.metadata, platform, tare, tare.aio
async def main():
    async with tare.aio.Sandbox("host") as sandbox:
        return (await sandbox.run(["cat"], input=b"in")).stdout
assert asyncio.run(main()) == b"in"
points = importlib.metadata.distribution("libtare").entry_points
assert [point.value for point in points if point.group == "pytest11"] == ["tare.pytest_plugin"]
print("Python", platform.python_version(), *platform.libc_ver())
PYTHON
END

passed=0 failed=0
check() { # check NAME COMMAND...
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "test wheel $name ($said) ... ok"
        passed=$((passed + 1))
    else
        printf 'test wheel %s ... FAILED\n%s\n' "$name" "$said"
        failed=$((failed + 1))
    fi
}

mkdir "$temp/here" "$temp/there"
# here PYTHON: with this interpreter.
here() {
    rm -rf "$temp/here/venv"
    env -i PATH=/usr/bin:/bin HOME="$temp/here" sh "$temp/given/check.sh" "$temp/given" "$temp/here" "$1"
}
# Interpreters that the wheel is for, besides Debian's.
others() {
    local python
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 /usr/local/bin/python3.[0-9]*; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            echo "$python"
        fi
    done
}
# In a separate mount namespace; writes go to memory.
there() {
    # shellcheck disable=SC2016
    env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin unshare --mount --propagation private sh -euc '
        mount -t tmpfs none "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" none "$1/root"
        for each in dev proc sys; do mount --rbind "/$each" "$1/root/$each"; done
        mkdir "$1/root/given"
        mount --bind "$3" "$1/root/given"
        exec chroot "$1/root" env HOME=/root sh /given/check.sh /given /root' \
        sh "$temp/there" "$root" "$temp/given"
}
check "in an empty environment" here python3
while read -r python <&3; do
    check "on another Python" here "$python"
done 3< <(others)
check "in the oldest Debian" there
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
