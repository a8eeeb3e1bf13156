// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures that are another place to be: another root, another user, another
//! moment.

use std::{env, fs};

use tare::{Error, Sandbox, Spec};
use tare_oracle::again::{passes_again, test_of, this_program};
use tare_oracle::{need, ordinary_user};

use super::machine::{LOOP, TOLD, TRIES, assert_cured, told};
use super::{command, cure};
use crate::harness::{Ground, line, open_default};
use crate::identity::{CALLER, again, for_callers, is_again};
use crate::odd::{CHROOT, behind, landlock, on};

fn open_host(ground: &Ground) -> Result<Sandbox, Error> {
    Sandbox::open(&ground.store, &Spec::default())
}

/// Kinds of namespaces, and the caller that meets their limit: user 0 of a user
/// namespace that stands for a machine, or an ordinary user there.
#[test]
fn machine_with_few_namespaces_is_cured() {
    need!(
        root,
        user("subids"),
        userns,
        overlay,
        kernel(5, 11),
        program("sysctl")
    );
    let ordinary = "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all";
    for kinds in ["net", "user mnt pid net uts ipc"] {
        for who in ["", ordinary] {
            let script = format!(
                "set -e; for kind in {kinds}; do sysctl -qw user.max_${{kind}}_namespaces=0; done; \
                 set -- {who} \"$@\"; {LOOP}"
            );
            let told = told();
            let mut shell = ordinary_user(true).root_command("/bin/bash");
            shell.args(["-c", &script, "bash"]).arg(this_program());
            shell
                .env(TRIES, "image")
                .env(TOLD, told.path())
                .current_dir("/");
            assert_cured(shell, &format!("{kinds}, {who}"));
        }
    }
}

/// The root that [`CHROOT`] makes, entered by pivot_root(8).
fn pivoted() -> String {
    let enters = "mount --rbind $dir $dir; cd $dir; mkdir .old; pivot_root . .old; umount -l /.old";
    CHROOT.replace("set -- chroot $dir \"$@\"", enters)
}

#[test]
fn root_that_is_pivoted_has_user_namespaces() {
    let check = || {
        let opened = open_host(&Ground::new());
        if env::var_os("TARE_TEST_PIVOTED").is_some() {
            assert_eq!(line(&opened.unwrap(), "id -u"), "0");
        } else {
            let cure = cure(&opened.unwrap_err());
            let way = "pivot_root(8) or systemd-nspawn in place of ";
            assert!(cure.starts_with(way), "{cure}");
        }
    };
    if is_again() {
        return check();
    }
    need!(callers);
    for caller in ["plain", "subids"] {
        again(test_of(&check), caller, on(CHROOT));
        again(test_of(&check), caller, |command| {
            command.env("TARE_TEST_PIVOTED", "1");
            on(&pivoted())(command);
        });
    }
}

/// Two overlays on each other are the root, so another overlay would be the
/// third.
const DEEP: &str = "dir=$(mktemp -d); mount -t tmpfs none $dir; low=/; for n in 1 2; do \
    mkdir $dir/u$n $dir/w$n $dir/m$n; \
    mount -t overlay -o lowerdir=$low,upperdir=$dir/u$n,workdir=$dir/w$n none $dir/m$n; \
    low=$dir/m$n; done; cd $low; for name in proc sys dev tmp run home; do \
    mount --rbind /$name $low/$name; done; pivot_root . mnt; umount -l /mnt";

#[test]
fn image_opens_where_the_root_is_two_overlays() {
    need!(overlay);
    for_callers(&["root"], on(DEEP), |_| {
        let ground = Ground::new();
        let cure = cure(&open_host(&ground).unwrap_err());
        assert!(cure.starts_with("an image: "), "{cure}");
        assert_eq!(line(&ground.open(), "id -u"), "0");
    });
}

#[test]
fn sandbox_that_is_open_before_landlock_runs_commands() {
    need!(landlock);
    for_callers(
        &["root", "plain", "subids"],
        |_| (),
        |_| {
            let ground = Ground::new();
            let before = ground.open();
            landlock().unwrap();
            // A limit of the calling thread, set after the helper's start.
            let other = Ground::new();
            let cure = cure(&open_host(&other).unwrap_err());
            let end = "open sandboxes before landlock_restrict_self(2)";
            assert!(cure.ends_with(end), "{cure}");
            assert_eq!(line(&before, "id -u"), "0");
        },
    );
}

#[test]
fn root_with_the_capabilities_of_the_cure_maps_ids() {
    let check = || {
        let opened = open_host(&Ground::new());
        if env::var("TARE_TEST_LACKS").unwrap().contains("setfcap") {
            let cure = cure(&opened.unwrap_err());
            for words in ["a user 0 with ", "CAP_SETFCAP", "or an ordinary user"] {
                assert!(cure.contains(words), "{cure}");
            }
        } else {
            assert_eq!(line(&opened.unwrap(), "id -u"), "0");
        }
    };
    if is_again() {
        return check();
    }
    need!(root, userns, overlay, kernel(5, 12));
    for lacks in [
        "sys_admin,-setfcap",
        "sys_admin,-setfcap,-setuid",
        "sys_admin",
    ] {
        let [bounding, inherited] =
            ["bounding-set", "inh-caps"].map(|set| format!("--{set}=-{lacks}"));
        again(test_of(&check), "root", |command| {
            command.env("TARE_TEST_LACKS", lacks);
            behind(command, &["setpriv", &bounding, &inherited, "--"]);
        });
    }
}

/// The outer user follows the cure of user 0 inside.
#[test]
fn user_with_ids_becomes_root_of_them() {
    let name = "cures::places::user_with_ids_becomes_root_of_them";
    if is_again() {
        let (_ground, sandbox) = open_default();
        let ran = sandbox.run(tare::Command::new("true").user("1000"));
        if env::var_os("TARE_TEST_MANY").is_some() {
            assert!(ran.unwrap().status.success());
        } else {
            let said = cure(&ran.unwrap_err());
            let report = tare::doctor(None);
            let ids = report
                .checks
                .into_iter()
                .find(|c| c.name == "subordinate ids");
            assert_eq!(ids.unwrap().cure.as_deref(), Some(&*said));
            fs::write(env::var_os(TOLD).unwrap(), command(&said)).unwrap();
        }
        return;
    }
    need!(root, callers);
    let told = told();
    again(name, "root-of-one", |command| {
        command.env(TOLD, told.path());
    });
    let pasted = format!("{} -- \"$@\"", fs::read_to_string(told.path()).unwrap());
    let mut shell = ordinary_user(true).command("/bin/sh");
    shell.args(["-c", &pasted, "sh"]).arg(this_program());
    shell.env(CALLER, "root-of-many").env("TARE_TEST_MANY", "1");
    passes_again(&mut shell, name);
}
