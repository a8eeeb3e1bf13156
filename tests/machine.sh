#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# The machine before and after the suite, which must leave no change.
#
#   tests/machine.sh before DIR    writes a snapshot into DIR
#   tests/machine.sh after DIR     removes new users of the tests, and fails if
#                                  anything else differs
#
# Changes by others are listed, too: only cgroups with processes and mounts
# elsewhere are left to others. Environment: TARE_KEEP_USERS (not empty: the
# tests' users stay), TARE_TEST_USERS (their names).
set -uo pipefail

read -ra users <<<"${TARE_TEST_USERS-tare-t-plain tare-t-subids}"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)

schedulers() { grep -H . /sys/block/*/queue/scheduler 2>/dev/null; }
accounts() { getent passwd && getent group && grep -H . /etc/subuid /etc/subgid; }
loops() { losetup --list --noheadings --output NAME,BACK-FILE | tr -s ' '; }
sysctls() {
    grep -rs . /proc/sys/user/max_* /proc/sys/kernel/{core_pattern,hostname,domainname,keys/maxkeys} \
        /proc/sys/kernel/{unprivileged_userns_clone,apparmor_restrict_unprivileged_userns} \
        /proc/sys/fs/{inotify/max_user_instances,aio-max-nr} /proc/sys/vm/{overcommit_memory,max_map_count}
}
# Without ids, which come and go.
mounts() { cut -d ' ' -f 3- /proc/self/mountinfo | sed 's/ \(shared\|master\):[0-9]*//g'; }
cgroups() { find /sys/fs/cgroup -mindepth 1 -type d 2>/dev/null; }

each=(schedulers accounts loops sysctls mounts cgroups)

exists() { getent passwd "$1" >/dev/null; }

before() {
    local what user
    for what in "${each[@]}"; do
        "$what" | sort >"$1/$what"
    done
    for user in "${users[@]}"; do
        if exists "$user"; then echo "$user"; fi
    done >"$1/users"
}

# remove_users DIR: those that were not there.
remove_users() {
    local user
    [ -z "${TARE_KEEP_USERS:-}" ] || return 0
    for user in "${users[@]}"; do
        if exists "$user" && ! grep -qx "$user" "$1/users"; then
            # --remove complains that there is no mail.
            "${root[@]}" userdel --remove "$user" 2>"$1/userdel" ||
                echo "cannot remove the user $user: $(cat "$1/userdel")"
        fi
    done
}

# Cgroups without processes, also below: cgroups of others come with their
# processes.
empty_only() {
    local dir
    while read -r dir; do
        [ -d "${dir#> }" ] || continue
        [ -n "$(find "${dir#> }" -name cgroup.procs -exec cat {} + 2>/dev/null)" ] || echo "$dir"
    done
}

# differences DIR WHAT: lines that came (>) and went (<).
differences() {
    local lines
    lines=$("$2" | sort | diff "$1/$2" - | grep '^[<>]')
    case $2 in
    # Mounts of the suite are below its own directories.
    mounts) grep '^> ' <<<"$lines" | grep -E "tare|$PWD" ;;
    cgroups) grep '^> ' <<<"$lines" | empty_only ;;
    accounts) [ -n "${TARE_KEEP_USERS:-}" ] || printf '%s' "${lines:+$lines$'\n'}" ;;
    *) printf '%s' "${lines:+$lines$'\n'}" ;;
    esac
}

after() {
    local what lines passed=0 failed=0
    remove_users "$1"
    for what in "${each[@]}"; do
        lines=$(differences "$1" "$what")
        # Late work of the kernel and of helpers.
        for _ in 1 2 3 4 5; do
            [ -n "$lines" ] || break
            sleep 1
            lines=$(differences "$1" "$what")
        done
        if [ -z "$lines" ]; then
            echo "test $what are as they were ... ok"
            passed=$((passed + 1))
        else
            echo "test $what are as they were ... FAILED"
            printf '%s\n' "$lines" | sed 's/^/    /'
            failed=$((failed + 1))
        fi
    done
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

case ${1-} in
before | after) "$1" "${2:?a directory}" ;;
*)
    echo "machine: see the head of $0" >&2
    exit 2
    ;;
esac
