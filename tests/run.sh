#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the parts of the suite one after the other, whether or not one fails, and
# ends with a table of them.
#
#   tests/run.sh [PART]...     all by default
#
# A part whose name has & behind it in the list runs beside those below it.
#
# The machine must be afterwards as it was before: see tests/machine.sh. The
# exit status is 0 if nothing failed. What each part wrote is in
# $CARGO_TARGET_DIR/tests/PART.log. Environment: TARE_PARTS (default
# tests/parts.txt), and that of tests/machine.sh.
set -uo pipefail

cd "$(dirname "$0")/.." || exit
parts=${TARE_PARTS:-tests/parts.txt}
target=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target/tests
mkdir -p "$logs"
logs=$(cd "$logs" && pwd)
table=$logs/table
: >"$table"

lines() { grep -vE '^[[:space:]]*(#|$)' "$parts"; }

# show LOG: prints what is written to it until `shown`.
show() {
    : >"$1"
    sleep infinity &
    marker=$!
    tail --pid="$marker" --sleep-interval=0.2 --lines=+1 --follow "$1" &
    shower=$!
}

# tail(1) reads to the end once more when the marker is gone.
shown() {
    kill "$marker"
    wait "$marker" "$shower" 2>/dev/null
}

# count PART STATUS SECONDS <LOG: rows NAME PASSED FAILED SKIPPED SECONDS, by
# the runners' own words: of cargo a row for each program of tests; of libtest,
# pytest and the scripts their last lines.
count() {
    awk -v part="$1" -v status="$2" -v seconds="$3" '
        function row(name, p, f, s, t) { printf "%s\t%d\t%d\t%d\t%d\n", name, p, f, s, t; told += p + f + s; bad += f }
        function end_program() {
            if (program == "") return
            if (!ended) { f = 1; print "no result of " program >"/dev/stderr" }
            if (p + f + s) row(part " " program, p - s, f, s, took)
            rest -= took
            program = ""; p = f = s = took = 0
        }
        BEGIN { rest = seconds }
        /^ +Running / {
            end_program()
            program = $NF; sub(/.*\//, "", program); sub(/-[0-9a-f]+\)$/, "", program)
            if ($2 == "unittests") program = program " (unit)"
            ended = 0
            next
        }
        /^ +Doc-tests / { end_program(); program = $2 " (doc)"; ended = 0; next }
        # A test that lacks something returns early, and libtest takes it for
        # passed.
        /^SKIPPED/ { if (program != "") s++; next }
        /^test result: / {
            ended = 1
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passes = $(i - 1)
                if ($i ~ /^failed/) fails = $(i - 1)
            }
            sub(/s$/, "", $NF)
            if (program != "") { p += passes; f += fails; took += $NF } else { passed += passes; failed += fails }
            next
        }
        /^(=+ )?([0-9]+ (passed|failed|skipped|deselected|xfailed|xpassed|errors?|warnings?)(, )?)+( in .*)?$/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^(failed|error)/) { failed += $(i - 1); summed += $(i - 1) }
                if ($i ~ /^skipped/) skipped += $(i - 1)
            }
            next
        }
        # What scripts tell of one by one; those with a "test result" count
        # these themselves.
        /^test .* FAILED/ { if (program == "") single++ }
        END {
            end_program()
            if (!failed) failed = single
            # Failed before, between or after its tests.
            if (status && !failed && !bad) failed = 1
            # What ran nothing shows nothing.
            if (!status && !told && passed + skipped == 0) failed = 1
            if (told && passed + failed + skipped == 0) row(part " (building)", 0, 0, 0, rest)
            else row(part, passed, failed, skipped, rest)
        }'
}

run() {
    local name=$1 command=$2 log=$logs/$1.log began=$SECONDS status=0
    printf '\n== %s: %s\n' "$name" "$command"
    show "$log"
    # In the foreground: what is in the background ignores some signals.
    bash -c "$command" >"$log" 2>&1 || status=$?
    shown
    count "$name" "$status" $((SECONDS - began)) <"$log" >>"$table"
}

# begin NAME COMMAND: runs a part beside those that follow.
begin() {
    local log=$logs/$1.log end=$logs/$1.end
    printf '\n== %s: %s (beside the others)\n' "$1" "$2"
    rm -f "$end"
    {
        began=$SECONDS status=0
        # What is in the background ignores these.
        env --default-signal=INT,QUIT bash -c "$2" </dev/null >"$log" 2>&1 || status=$?
        echo "$status $((SECONDS - began))" >"$end"
    } &
    beside+=("$1 $!")
}

# Waits for what was begun, and shows what each wrote.
finish() {
    local name pid status seconds
    for part in "${beside[@]}"; do
        read -r name pid <<<"$part"
        wait "$pid"
        read -r status seconds <"$logs/$name.end" || status=1 seconds=0
        printf '\n== %s\n' "$name"
        cat "$logs/$name.log"
        count "$name" "$status" "$seconds" <"$logs/$name.log" >>"$table"
    done
}

tell() {
    printf '\n'
    awk -F '\t' '
        BEGIN { printf "%-40s %7s %7s %7s %8s\n", "part", "passed", "failed", "skipped", "seconds" }
        { printf "%-40s %7d %7d %7d %8d%s\n", $1, $2, $3, $4, $5, $3 ? "  FAILED" : "" }
        { p += $2; f += $3; s += $4; t += $5 }
        END { printf "%-40s %7d %7d %7d %8d\n", "all", p, f, s, t; printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$table"
}

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
tests/machine.sh before "$before" || exit
beside=()
while read -r name command <&3; do
    only=${name%&}
    [ $# = 0 ] || [[ " $* " == *" $only "* ]] || continue
    if [ "$name" = "$only" ]; then run "$name" "$command"; else begin "$only" "$command"; fi
done 3< <(lines)
finish
for wanted; do
    lines | grep -qE "^${wanted}&?[[:space:]]" || {
        echo "no part $wanted in $parts" >&2
        printf '%s\t0\t1\t0\t0\n' "$wanted" >>"$table"
    }
done
run machine "tests/machine.sh after '$before'"
tell
