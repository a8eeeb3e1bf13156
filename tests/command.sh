#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks the command as `make install` links it: static, at an address that
# changes, and with users from elsewhere than /etc/passwd. Needs root.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
target=${CARGO_TARGET_DIR:-$PWD/target}
temp=$(mktemp -d /tmp/tare-command.XXXXXX)
trap 'rm -rf "$temp"' EXIT
chmod 755 "$temp"
tare=$temp/tare passed=0 failed=0

# check NAME COMMAND...: the command must succeed.
check() {
    if "${@:2}" >"$temp/log" 2>&1; then
        echo "test $1 ... ok"
        passed=$((passed + 1))
    else
        echo "test $1 ... FAILED"
        sed 's/^/    /' "$temp/log"
        failed=$((failed + 1))
    fi
}

links_nothing() {
    readelf --wide --file-header --segments "$tare" >"$temp/elf"
    cat "$temp/elf"
    grep -q 'Type: *DYN' "$temp/elf" && ! grep -q INTERP "$temp/elf"
}

# The user is in none of the machine's files: getent(1) answers.
names_other_users() {
    # shellcheck disable=SC2016
    mkdir "$temp/bin" && printf '#!/bin/sh\necho "elsewhere:x:$2:$2::/nowhere:"\n' >"$temp/bin/getent"
    chmod 755 "$temp/bin/getent"
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -euc '
        mount --bind "$1/bin/getent" /usr/bin/getent
        setpriv --reuid 47110815 --regid 47110815 --clear-groups "$1/tare" --store "$1/none" doctor
    ' sh "$temp" | tee "$temp/doctor"
    grep -q 'elsewhere (47110815)' "$temp/doctor"
}

echo
echo "running 4 tests of the installed command"
check "command is built" scripts/build-command.sh
cp "$target/release/tare" "$tare"
check "command links nothing and may be loaded anywhere" links_nothing
check "command runs a command" "$tare" --store "$temp/store" run host -- true
check "command names users of other sources" names_other_users
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
