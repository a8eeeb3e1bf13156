#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints cargo's target directory: target, unless ordinary users, whom the tests
# become, could not reach files there.
set -eu

cd "$(dirname "$0")/.."
dir=$PWD
while [ "$dir" != / ]; do
    case $(stat -c %A "$dir") in
    *[xt]) ;;
    *)
        echo "/var/tmp/libtare-target-$(id -u)-$(pwd | cksum | cut -d ' ' -f 1)"
        exit
        ;;
    esac
    dir=$(dirname "$dir")
done
echo "$PWD/target"
