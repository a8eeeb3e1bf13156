// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run` on a machine with more than one file system.

mod common;

use std::process::{Command, Stdio};

use common::{Said, TARE, Tare, everybody};
use tare_oracle::need;

#[test]
fn run_of_root_shows_what_is_mounted_on_the_machine() {
    need!(root, overlay, program("mount"), program("unshare"));
    let script =
        format!("mount -t tmpfs x /mnt && echo c >/mnt/f && {TARE} run host -- cat /mnt/f");
    let mut unshare = Tare::new().program("unshare", &["-m", "sh", "-c", &script]);
    assert_eq!(Said::of(unshare.output().unwrap()).ok(), "c");
}

/// Runs a command between two parts of root's script, in a private mount
/// namespace. The script's `$DIR` is a directory of the caller.
fn between(dir: &str, [before, after]: [&str; 2], command: &Command) -> Said {
    let script = format!("{before}\n\"$@\"\n{after}");
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-m", "sh", "-ec", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .env("DIR", dir);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            unshare.env(name, value);
        }
    }
    if let Some(place) = command.get_current_dir() {
        unshare.current_dir(place);
    }
    Said::of(unshare.output().unwrap())
}

#[test]
fn run_shows_mounts_in_a_directory_of_any_user_and_changes_none() {
    need!(
        root,
        overlay,
        userns,
        kernel(5, 11),
        program("mount"),
        program("unshare")
    );
    let before = r#"mkdir -p "$DIR/mnt"
        mount -t tmpfs none "$DIR/mnt"
        echo beside >"$DIR/file"
        echo mounted >"$DIR/mnt/file"
        chown --reference="$DIR" "$DIR/file" "$DIR/mnt" "$DIR/mnt/file""#;
    let after = r#"cat "$DIR/file" "$DIR/mnt/file"; ls "$DIR/mnt""#;
    let changes = r#"cd "$1" && cat file mnt/file && for d in . mnt; do
        echo more >>$d/file && mv $d/file $d/moved && cat $d/moved; done"#;
    let seen = "beside\nmounted\nbeside\nmore\nmounted\nmore";
    let machine = "beside\nmounted\nfile";
    for tare in everybody() {
        let dir = tare.tempdir();
        let path = dir.path().to_str().unwrap();
        let cow = &format!("{path}:/x:cow");
        for (flags, place) in [(&[][..], path), (&["-v", cow][..], "/x")] {
            let mut args = vec!["run"];
            args.extend(flags);
            args.extend(["host", "--", "sh", "-c", changes, "sh", place]);
            let said = between(path, [before, after], &tare.command(&args));
            assert_eq!(said.ok(), format!("{seen}\n{machine}"), "{args:?}");
        }
        let read_only = ["run", "-v", &format!("{path}:/x:ro"), "host", "--"];
        let args = [&read_only[..], &["cat", "/x/mnt/file"]].concat();
        let said = between(path, [before, after], &tare.command(&args));
        assert_eq!(said.ok(), format!("mounted\n{machine}"));
    }
}
