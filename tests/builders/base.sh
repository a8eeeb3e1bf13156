#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes the base tree of every builder, and the changes of later layers. Needs
# root.
#
#   tests/builders/base.sh DIR     a root file system with /steps/{2,3}, for its
#                                  own busybox
set -euo pipefail
umask 022

root=$1
mkdir -p "$root"/{bin,data,dev,etc,home/app,odd,proc,root,run,steps,sys,tmp,usr/bin,var}
cp "$(command -v busybox)" "$root/bin/busybox"
for name in sh cat true chmod chown echo id ln ls mkdir mkfifo mv pwd rm touch; do
    ln "$root/bin/busybox" "$root/bin/$name"
done
ln -s ../../bin/busybox "$root/usr/bin/env"
chmod 1777 "$root/tmp"
chmod 0700 "$root/root"
chown 1000:1000 "$root/home/app"
printf '%s\n' root:x:0:0:root:/root:/bin/sh app:x:1000:1000:app:/home/app:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: app:x:1000: >"$root/etc/group"
printf 'ID=builders\n' >"$root/etc/os-release"
# shellcheck disable=SC2016
printf '%s\n' '#!/bin/sh' 'echo "$*|$(pwd)|$(id -u):$(id -g)|$GREETING"' >"$root/entry"
chmod 755 "$root/entry"

cd "$root/odd"
mkdir -p none/below twice/below from-link-target wide/a/b/c/d/e 0 ...
long=$(printf 'n%.0s' {1..200})
mkdir -p "$long/$long" closed gone/below opaque/deep to-file to-link real setgid sticky given
printf 'long\n' >"$long/$long/$long"
ln -s "/odd/$long/$long/$long" long-link
printf 'name\n' | tee "naïve ß 日本語.txt" "🐳" 'a b"c\d,e;f=g' -- '-dash' \
    $'new\nline' $'tab\t end ' $'latin1 \xe9' '%41&amp;\$' .w ...wh. .../... >/dev/null
printf 'one\n' | tee closed/file gone/file gone/below/file opaque/old opaque/deep/old to-file/x to-link/x real/x \
    to-dir to-symlink to-fifo none/file none/below/file twice/file twice/below/file wide/a/b/c/d/e/f old given/file keeps attribute mode closed/shut >/dev/null
: >empty
truncate -s 1M sparse
printf 'in the middle' | dd of=sparse bs=1 seek=524288 conv=notrunc status=none
ln keeps hard
ln keeps closed/hard
ln -s real through
ln -s nothing/here dangling
ln -s ../../../../etc/passwd upward
ln -s loop loop
ln -s from-link-target from-link
mkfifo fifo from-fifo
ln fifo fifo-too
chown 12345:54321 fifo given given/file
cp "$root/bin/busybox" capable
setcap cap_net_raw+ep capable
printf 'setuid\n' >setuid
chmod 6755 setuid
chmod 2775 setgid
chmod 1777 sticky
chmod 7777 ...
chmod 0000 mode none none/below none/below/file
chmod 0000 closed/shut
setfattr -n user.tare -v odd attribute
setfattr -n user.binary -v 0x00ff attribute
setfattr -n user.dir -v dir setgid
chmod 0444 attribute
chmod 0555 closed
if [ -n "${DEVICES:-}" ]; then
    mknod null c 1 3
    mknod block b 7 200
fi
touch -h -d '1970-01-02 03:04:05 UTC' keeps dangling
touch -d '1960-01-02 03:04:05 UTC' old
touch -d '2040-01-02 03:04:05 UTC' empty

cat >"$root/steps/2" <<'STEP'
set -e
cd /odd
rm -r gone/below gone/file opaque to-dir to-file to-link to-symlink
mkdir opaque to-dir
echo new >opaque/new
echo inside >to-dir/inside
echo file >to-file
ln -s real to-link
ln -s empty to-symlink
rm to-fifo from-link from-fifo none/file
mkfifo to-fifo
mkdir from-link
echo in >from-link/in
echo file >from-fifo
rm -r twice wide/a/b
mkdir -p twice/below wide/a/b
echo again >twice/below/file
echo b >wide/a/b/b
ln keeps late
ln dangling dangling-too
ln capable again
echo added >closed/added
echo through >through/way
chown -R 2000:3000 given
chown 1000:1000 setgid
chmod 2770 setgid
chmod 700 mode
echo tmp >/tmp/left
STEP
cat >"$root/steps/3" <<'STEP'
set -e
cd /odd
mv real moved
rm through
ln -s moved through
rm -r gone closed/added
mkdir gone
chmod 0555 opaque
echo again >opaque/again
rm -r twice/below none/below wide/a/b/b
mkdir -p none/below wide/a/b/b
rm late
echo not a link >late
chmod 4711 late
mkdir -m 3777 fresh
mkfifo fresh/fifo
STEP
