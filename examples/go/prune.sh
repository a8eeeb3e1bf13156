#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Keeps the newest three backups in a directory and deletes the others.
set -eu
dir=${1:?usage: prune.sh DIRECTORY}
cd "$dir"
# Backups have names without newlines.
# shellcheck disable=SC2012
ls -t -- *.bak | tail -n +4 | while IFS= read -r old; do
    rm -f -- "$old"
done
