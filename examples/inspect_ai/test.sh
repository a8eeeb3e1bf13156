#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs this example and mini_swe_agent as root and as ordinary users, with and
# without subordinate ids. Expects the results of bindings/python/test.sh and
# the image of `tests/images.sh debian`. Its arguments are words for pytest.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/../target}
target=$(cd "$target" && pwd)
images=${TARE_IMAGES:-$target/images}
venv=$target/agents/venv
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

# Both frameworks at exactly these versions, with their imports: half of the
# rest is for other models and stores.
requirements=(--requirement inspect_ai/requirements.txt --requirement mini_swe_agent/requirements.txt)
stamp=$({ /usr/bin/python3 -VV && cat ./*/requirements.txt; } | sha256sum)
if [ "$(cat "$venv/.made" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${requirements[@]}"
    printf '%s\n' "$stamp" >"$venv/.made"
fi
compgen -G "$target/python/wheels/*.whl" >/dev/null || ../bindings/python/test.sh -e >/dev/null
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall \
    "$target"/python/wheels/*.whl

# tests_as USER DIRECTORY WORDS...: both, each in a copy that is the user's.
tests_as() {
    local user=$1 temp=$2 example status=0
    shift 2
    for example in inspect_ai mini_swe_agent; do
        echo
        echo "running the tests of $example as $user"
        mkdir "$temp/$example"
        cp "$example"/*.py "$temp/$example"
        "${root[@]}" chown -R "$user" "$temp"
        (cd "$temp/$example" && "${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
            env -i HOME="$temp" PATH=/usr/bin:/bin LANG=C.UTF-8 TARE_IMAGES="$images" TARE_STORE="$temp/store" \
            PYTHONDONTWRITEBYTECODE=1 MSWEA_SILENT_STARTUP=1 \
            "$venv/bin/python" -m pytest -p no:cacheprovider -n 2 --rootdir="$temp/$example" \
            --basetemp="$temp/pytest" "$@" .) || status=1
    done
    return "$status"
}

users=(root tare-t-plain tare-t-subids)
id "${users[@]}" >/dev/null
temp=$(mktemp -d /tmp/tare-agents.XXXXXX)
chmod 0755 "$temp"
trap '"${root[@]}" rm -rf "$temp"' EXIT
# All at once: most of the tests wait.
declare -A running
for user in "${users[@]}"; do
    mkdir "$temp/$user"
    tests_as "$user" "$temp/$user" "$@" >"$temp/$user.log" 2>&1 &
    running[$user]=$!
done
failed=0
for user in "${users[@]}"; do
    wait "${running[$user]}" || failed=1
    cat "$temp/$user.log"
done
exit "$failed"
