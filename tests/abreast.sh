#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# For the scripts that go through a table, to be sourced: several lines of it at a time, and the sum at the end.

# abreast DIR FUNCTION <TABLE: calls FUNCTION with the words of each line, as many at a time as there are
# processors. FUNCTION prints a line "test NAME ... ok" or "test NAME ... FAILED" for each test, with anything else
# indented. All of it is printed as soon as FUNCTION ends, kept in DIR, and counted by `summed`.
abreast() {
    local dir=$1 function=$2 number=0 line
    mkdir -p "$dir"
    rm -f "$dir"/*.verdict
    while read -r line; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
            wait -n
        done
        number=$((number + 1))
        {
            # Words of a table are split as a shell splits them.
            # shellcheck disable=SC2086
            "$function" $line >"$dir/$number.verdict"
            cat "$dir/$number.verdict"
        } </dev/null &
    done
    wait
}

# summed DIR: prints what libtest prints at its end; fails if a test did, or if there was none.
summed() {
    local passed failed word=ok
    passed=$(cat "$1"/*.verdict | grep -c '^test .* \.\.\. ok')
    failed=$(cat "$1"/*.verdict | grep -c '^test .* \.\.\. FAILED$')
    [ "$failed" = 0 ] && [ "$passed" != 0 ] || word=FAILED
    echo
    echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in $SECONDS.00s"
    [ "$word" = ok ]
}
