#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the example as root and as an ordinary user with subordinate ids. Expects
# the results of bindings/python/test.sh and the image of `tests/images.sh
# postgres`. Its arguments are words for pytest.
set -euo pipefail
umask 022
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
target=$(cd "$target" && pwd)
images=${TARE_IMAGES:-$target/images}
venv=$target/python/venv
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
"$venv/bin/python" -c 'import tare' 2>/dev/null || ../../bindings/python/test.sh -e >/dev/null
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt

failed=0
for user in root tare-t-subids; do
    id "$user" >/dev/null || exit
    echo
    echo "running the PostgreSQL tests as $user"
    temp=$(mktemp -d /tmp/tare-pg.XXXXXX)
    cp conftest.py test_postgres.py "$temp"
    "${root[@]}" chown -R "$user" "$temp"
    (cd "$temp" && "${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env -i HOME="$temp" PATH=/usr/bin:/bin LANG=C.UTF-8 TARE_IMAGES="$images" PYTHONDONTWRITEBYTECODE=1 \
        "$venv/bin/python" -m pytest -p no:cacheprovider -n 2 --rootdir="$temp" --tare-store="$temp/store" \
        --basetemp="$temp/pytest" "$@" .) || failed=1
    "${root[@]}" rm -rf "$temp"
done
exit "$failed"
