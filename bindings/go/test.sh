#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the Go package's tests by pkg-config and with the static archive, as root
# and as ordinary users. Expects what bindings/c/test.sh installed below the
# build's directory.
set -euo pipefail
umask 022

cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../../target}
target=$(cd "$target" && pwd)
prefix=$target/c/dest/usr/local
home=$target/go
images=${TARE_IMAGES:-$target/images}
mkdir -p "$home"
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
[ -e "$prefix/lib/libtare.so" ] || ../c/test.sh >/dev/null

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$target/c/dest PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
export GOFLAGS=-mod=mod GOTOOLCHAIN=local
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt: $unformatted"; exit 1; }
go vet ./...
go test -c -race -o "$home/shared.test" .
# What is passed to C is looked at: by the build since Go 1.21, before that when
# it runs.
checks=()
GOEXPERIMENT=cgocheck2 go test -c -o "$home/checked.test" . 2>"$home/checked.log" || {
    go test -c -o "$home/checked.test" .
    checks=(GODEBUG=cgocheck=2)
}
private=$(sed -n 's/^Libs.private: //p' "$prefix/lib/pkgconfig/tare.pc")
CGO_CFLAGS="-I$prefix/include" CGO_LDFLAGS="$prefix/lib/libtare.a $private" \
    go test -c -tags tare_static -o "$home/static.test" .

# A program in a page's own text, as a module of its own.
program() { # program PAGE NAME [WHICH]
    local page=$home/$2
    rm -rf "$page"
    mkdir -p "$page"
    awk -v which="${3:-1}" '/^```/ { inside = $0 == "```go"; n += inside; next } inside && n == which' \
        "../../$1" >"$page/main.go"
    cat >"$page/go.mod" <<END
module page

go 1.19

require github.com/libtare/libtare/bindings/go v0.0.0

replace github.com/libtare/libtare/bindings/go => $PWD
END
    (cd "$page" && go build -o "$home/$2.bin" .)
}
program README.md readme
program docs/go.md manual
program docs/go.md image 2

passed=0 failed=0
tell() { echo "test go $1 ... $2"; }
if said=$(CGO_ENABLED=0 go build ./... 2>&1); then
    tell "without cgo" "FAILED: it builds"
    failed=1
elif [[ $said == *needs_cgo_set_CGO_ENABLED_1* && $(wc -l <<<"$said") == 2 ]]; then
    tell "without cgo says why" ok
    passed=1
else
    tell "without cgo" "FAILED: $said"
    failed=1
fi
# Each function of tare.h is called, or it is said why not.
header=$(grep -v '^ \*\|^/\*' "$prefix/include/tare.h" | grep -oE '\btare_[a-z0-9_]+\(' | tr -d '(' | sort -u)
called=$(grep -ohE '\btare_[a-z0-9_]+\(' c*.go | tr -d '(' | grep -v ^tare_go_ | sort -u)
uncalled=$(sed -nE 's/^(tare_[a-z0-9_]+) +[^ ].*/\1/p' uncalled.txt | sort)
if said=$(diff <(echo "$header") <(sort <(echo "$called") <(echo "$uncalled"))); then
    tell "every function of tare.h" "ok ($(wc -l <<<"$called") called, $(wc -l <<<"$uncalled") not)"
    passed=$((passed + 1))
else
    tell "every function of tare.h" "FAILED: not in c*.go nor in uncalled.txt (<), in both or no function (>)
$said"
    failed=1
fi
# says PAGE NAME EXPECTED: what its program prints, beside the images.
says() {
    local stores said
    stores=$(mktemp -d /tmp/tare-go.XXXXXX)
    ln -s "$images" "$stores/images"
    said=$(cd "$stores" && "${root[@]}" env LD_LIBRARY_PATH="$prefix/lib" TARE_STORE="$stores/s" "$home/$2.bin" \
        2>"$home/$2.errors") || said="exit $?: $said, $(<"$home/$2.errors")"
    "${root[@]}" rm -rf "$stores"
    if [ "$said" = "$3" ]; then
        tell "$1" ok
        passed=$((passed + 1))
    else
        tell "$1" "FAILED: $said"
        failed=1
    fi
}
if said=$(cd ../../examples/go && gofmt -l . && go vet . && "${root[@]}" env LD_LIBRARY_PATH="$prefix/lib" \
    TARE_STORE="$home/example.store" go test -count=1 -v . 2>&1) && [[ $said == *"--- PASS: TestPrune/odd"* ]]; then
    tell examples/go ok
    passed=$((passed + 1))
else
    tell examples/go "FAILED: $said"
    failed=1
fi
"${root[@]}" rm -rf "$home/example.store"
says README.md readme '"0\n" <nil>'
says docs/go.md manual '"box\n0\n" <nil>'
says "docs/go.md, an image" image 'box:latest "hi\n" <nil>'
id tare-t-plain tare-t-subids >/dev/null || exit
for run in root:shared root:static root:checked tare-t-plain:shared tare-t-subids:shared userns:shared; do
    who=${run%:*} kind=${run#*:}
    user=$who as=()
    # Uid 0 of a user namespace.
    [ "$who" != userns ] || user=tare-t-plain as=(unshare --map-root-user)
    temp=$(mktemp -d /tmp/tare-go.XXXXXX)
    "${root[@]}" chown "$user" "$temp"
    if said=$(cd "$temp" && "${root[@]}" setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups \
        env -i HOME="$temp" TMPDIR="$temp" PATH=/usr/bin:/bin LD_LIBRARY_PATH="$prefix/lib" "${checks[@]}" \
        "${as[@]}" "$home/$kind.test" -test.timeout 120s -test.v 2>&1) && [[ $said != *SKIP* ]]; then
        tell "$kind as $who" "ok ($(grep -c '^--- PASS' <<<"$said") passed)"
        passed=$((passed + 1))
    else
        tell "$kind as $who" FAILED
        tail -n 60 <<<"$said"
        failed=1
    fi
    "${root[@]}" rm -rf "$temp"
done
echo "$passed passed"
exit "$failed"
