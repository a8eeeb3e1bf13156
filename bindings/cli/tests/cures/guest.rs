// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures that change a machine for all of its users, in a virtual machine.

use std::process::Command;

use tare_oracle::need;

use super::common::TARE;

/// Breaks the guest, follows the cure, and looks again.
const SCRIPT: &str = r#"
export TARE_STORE=/root/store
fail() { echo "FAILED: $*"; exit 1; }
# What a sandbox used is let go of after its end.
soon() {
    for n in $(seq 50); do "$@" 2>/dev/null && return; sleep 0.2; done
    fail "$* is busy"
}
modprobe() { insmod "/modules/$1.ko"; }
ordinary() {
    /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp TARE_STORE=/tmp/store "$@"
}

# told WORDS...: the cure that they end with.
told() {
    "$@" >/tmp/said 2>&1 && fail "$* needs no cure"
    sed -n 's/.*; try: //p' /tmp/said | tail -n 1
}
# row NAME: the cure of a row of doctor's in /tmp/doctor.
row() { grep -v '^ok ' /tmp/doctor | sed -n "s/^[a-zA-Z]*  *$1  .*; try: //p"; }
# paste CURE: what is behind the words.
paste() {
    [ "$1" ] || fail "no cure: $(cat /tmp/said /tmp/doctor)"
    echo "pasting $1"
    eval "${1#*: }" || fail "$1"
}

mkdir -p /image/bin && cp /bin/busybox /image/bin/busybox && ln -s busybox /image/bin/true
chmod 1777 /tmp
ordinary tare run host true || fail ordinary

# Root's rows.
echo 1 >/sys/kernel/rcu_normal
sysctl -w net.core.bpf_jit_enable=0
soon rmmod overlay
tare doctor >/tmp/doctor
for name in rcu 'bpf jit' 'cgroup favordynmods'; do paste "$(row "$name")"; done
for cure in "$(row overlay)" "$(told tare run --storage overlay dir:/image true)"; do
    case $cure in
    'modprobe overlay; or --storage copy' | 'storage "copy"; or modprobe overlay, '*) ;;
    *) fail "overlay: $cure" ;;
    esac
done
tare run --storage copy dir:/image true || fail 'a copy'
paste "$(row overlay | grep -o 'modprobe overlay')"
tare run --storage overlay dir:/image true || fail 'an overlay'
tare doctor >/tmp/doctor
for name in rcu 'bpf jit' 'cgroup favordynmods' overlay; do [ -z "$(row "$name")" ] || fail "$name stays"; done

# Settings that ordinary users meet.
switches='kernel.unprivileged_userns_clone user.max_user_namespaces'
sysctl -w kernel.unprivileged_userns_clone=0
paste "$(told ordinary tare run host true)"
ordinary tare run host true || fail 'namespaces'
for switch in $switches; do sysctl -w $switch=0; done
ordinary tare doctor >/tmp/doctor
for switch in $switches; do paste "$(row $switch)"; done
ordinary tare run host true || fail "$switches"

# Limits.
losetup /dev/loop0 /bin/busybox
cure=$(told tare run --blkio-weight 100 host true)
paste "$(echo "$cure" | sed 's/DISK/loop0/')"
tare run --blkio-weight 100 host true || fail "$cure"
cure=$(told tare run --cpu-rt-runtime 950000 host true)
tare run $cure host /usr/bin/chrt -f 1 true || fail "$cure"
soon umount /sys/fs/cgroup
paste "$(told tare run -m 64m host true)"
tare run -m 64m host true || fail 'a limit'
echo all cured
"#;

#[test]
fn machine_in_a_guest_is_cured() {
    need!(guest, program("setpriv"), program("chrt"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/guest.sh");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cures.sh");
    std::fs::write(&file, SCRIPT).unwrap();
    let tare = format!("{TARE}:/bin/tare");
    let output = Command::new(script)
        .args(["-o", "loop", "-o", "bfq", "-f", &tare])
        .args(["-f", "/usr/bin/setpriv", "-f", "/usr/bin/chrt", "-f"])
        .arg(format!("{}:/cures.sh", file.display()))
        .args(["sh", "/cures.sh"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("all cured"),
        "{text}{errors}"
    );
}
