#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes the common parts of all recipes. Needs root.
#
#   tests/builders/parts.sh DIR     DIR/{base,layers/{1,2,3},context}, anew
set -euo pipefail
umask 022

cd "$(dirname "$0")"
parts=$1
rm -rf "$parts"
mkdir -p "$parts"/{layers/2,layers/3,context}
DEVICES=${DEVICES-1} bash base.sh "$parts/base"
cp -a "$parts/base" "$parts/layers/1"
cp Dockerfile "$parts/context"
printf 'given\n' >"$parts/context/given.txt"
tar --format=pax --xattrs --xattrs-include='*' --numeric-owner --sort=name -C "$parts/base" -cf "$parts/context/base.tar" .

# Changes by a builder without RUN: whiteouts in every place, types that change,
# links to lower files.
cd "$parts/layers/2"
mkdir -p odd/gone odd/opaque odd/to-dir odd/closed odd/new/deep
touch odd/gone/.wh.below odd/gone/.wh.file odd/.wh.-dash odd/opaque/.wh..wh..opq odd/.wh.setuid
printf 'new\n' >odd/opaque/new
printf 'inside\n' >odd/to-dir/inside
printf 'file\n' >odd/to-file
ln -s real odd/to-link
ln -s empty odd/to-symlink
printf 'added\n' >odd/closed/added
printf 'again\n' >odd/keeps
ln odd/keeps odd/late
printf 'deep\n' >odd/new/deep/file
chmod 0555 odd/closed odd/new/deep
chown -R 2000:3000 odd/new
mkdir -m 1777 tmp
printf 'left\n' >tmp/left
cd ../3
mkdir -p odd/new odd/to-link made/by/workdir
touch odd/new/.wh.deep odd/closed-now odd/.wh.to-symlink
printf 'again a directory\n' >odd/to-link/inside
chmod 4711 odd/closed-now
mkfifo odd/new/fifo
setfattr -n user.late -v late odd/to-link/inside
