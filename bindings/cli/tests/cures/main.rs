// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the cures of the command's errors in a shell, and expects success.

#[path = "../common/mod.rs"]
mod common;
mod docker;
mod guest;
mod lines;
mod requests;

use std::path::Path;

use common::{Tare, everybody, shell};
use tare_oracle::{image, need};

/// Returns the cure of a line's last error.
#[track_caller]
fn cure(tare: &Tare, home: &Path, line: &str) -> String {
    let said = shell(tare, home, line);
    assert_ne!(said.status, 0, "{line}: {said:?}");
    let last = said.stderr.lines().last().unwrap_or_default();
    let cure = last.rsplit_once("; try: ").map(|(_, cure)| cure.to_owned());
    cure.unwrap_or_else(|| panic!("{line}: {said:?}"))
}

/// Returns the rows of a table behind its head: a wrong line, and the steps to
/// right lines.
fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.split("\n\n").skip(1)
}

/// Changes a cure as the steps of a row say; returns the lines to run.
fn pasted(cure: &str, steps: &str) -> Vec<String> {
    let (mut cure, mut lines) = (cure.to_owned(), Vec::new());
    for step in steps.lines().filter(|step| !step.starts_with('#')) {
        if let Some(change) = step.strip_prefix("s|") {
            let change = change.strip_suffix('|').and_then(|c| c.split_once('|'));
            let (from, to) = change.expect(step);
            assert!(cure.contains(from), "{cure:?}: {step}");
            cure = cure.replace(from, &to.replace("\\n", "\n"));
        } else {
            lines.extend(cure.split('\n').map(|part| step.replace('%', part)));
        }
    }
    assert!(!lines.is_empty(), "{cure}: {steps}");
    lines
}

/// Runs the wrong line of a row, then the lines that its cure gives.
#[track_caller]
fn follow(tare: &Tare, row: &str) {
    let (wrong, steps) = row.split_once('\n').expect(row);
    let home = tare.tempdir();
    let cure = cure(tare, home.path(), wrong);
    for line in pasted(&cure, steps) {
        let said = shell(tare, home.path(), &line);
        assert_eq!(said.status, 0, "{wrong}; try: {cure}: {line}: {said:?}");
    }
}

#[test]
fn user_who_may_not_mount_runs_a_sandbox() {
    need!(root, overlay, userns, user("plain"));
    let tare = Tare::of(tare_oracle::ordinary_user(false));
    let row = "mkdir $HOME/m; tare mount host $HOME/m\n\
               s|root; or a sandbox, which needs none||\n\
               tare run host ls /etc/passwd %";
    follow(&tare, row);
    let home = tare.tempdir();
    let at = home.path().display().to_string();
    let root = Tare::new();
    root.run(&["mount", "host", &at]).ok();
    shell(&root, home.path(), &format!("again tare umount {at}")).ok();
}

#[test]
fn user_without_a_home_names_a_store() {
    need!(root, user("plain"));
    let tare = Tare::of(tare_oracle::ordinary_user(false));
    let row = "env -u HOME -u TARE_STORE tare image list\n\
               s|/some/directory|$HOME/own|\n\
               env % sh -c 'unset HOME; tare image list'";
    follow(&tare, row);
}

#[test]
fn user_of_a_store_that_is_not_theirs_has_another() {
    need!(root, user("plain"));
    let tare = Tare::of(tare_oracle::ordinary_user(false));
    let row = "tare --store /root/none doctor | grep ' store  ' >&2; exit 1\n\
               s|, for a directory of your own||\n\
               s|DIR|$HOME/own|\n\
               s|, or | tare\\ntare |\n\
               % doctor | grep '^ok *store  '";
    follow(&tare, row);
}

/// Root has the limits if a user has no cgroup.
#[test]
fn limit_that_a_user_cannot_have_is_roots() {
    need!(root, overlay, userns, user("plain"), controller("memory"));
    let user = Tare::of(tare_oracle::ordinary_user(false));
    let root = Tare::new();
    for flags in ["-m 64m", "--pids-limit 50", "--cpus 1"] {
        let line = format!("tare run {flags} host true");
        let home = user.tempdir();
        let cure = cure(&user, home.path(), &line);
        assert!(cure.contains("run as root"), "{cure}");
        shell(&root, home.path(), &line).ok();
        // In cgroup v1 a user may have a directory, which root's shell enters.
        let Some((_, given)) = cure.split_once("or as root: ") else {
            continue;
        };
        let given = given.replace("PID", "$$");
        let dir = given.split([' ', ';']).nth(1).unwrap();
        let plain = tare_oracle::ordinary_user(false);
        let (uid, gid) = (plain.uid, plain.gid);
        let becomes = format!("setpriv --reuid={uid} --regid={gid} --init-groups --inh-caps=-all");
        let again = format!(
            "{given} && HOME={} TARE_STORE={}/s {becomes} {line}; e=$?; \
             echo $$ >${{D%/*}}/tasks; rmdir $D; exit $e",
            home.path().display(),
            home.path().display(),
        );
        let said = shell(&root, home.path(), &format!("D={dir}; {again}"));
        assert_eq!(said.status, 0, "{cure}: {said:?}");
    }
}

/// A command may not have more processor time than the cgroup around it.
#[test]
fn limit_within_those_above_is_taken() {
    need!(root, overlay, controller("cpu"));
    const CPU: &str = "/sys/fs/cgroup/cpu";
    // In v2 a value may exceed those of the cgroups above, and has no effect
    // then.
    if !Path::new(CPU).join("cpu.cfs_quota_us").exists() && !Path::new(CPU).join("tasks").exists() {
        return;
    }
    let tare = Tare::new();
    let home = tare.tempdir();
    let within = |cpus: &str| {
        let line = format!(
            "D={CPU}/cures-$$; mkdir $D; echo 50000 >$D/cpu.cfs_quota_us; echo $$ >$D/tasks; \
             tare run --cpus {cpus} host true; e=$?; echo $$ >{CPU}/tasks; rmdir $D; exit $e"
        );
        shell(&tare, home.path(), &line)
    };
    let said = within("1");
    assert!(
        said.stderr
            .contains("; try: a value within those of the cgroups above\n"),
        "{said:?}"
    );
    within("0.5").ok();
}

/// The error inside names each flag that the outer sandbox needs.
#[test]
fn sandbox_with_the_flags_of_its_errors_has_another_inside() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let home = tare.tempdir();
        let inner = "tare --store $HOME/inner run host true";
        let mut flags = String::new();
        for _ in 0..4 {
            let said = shell(
                &tare,
                home.path(),
                &format!("tare run {flags} host sh -c '{inner}'"),
            );
            if said.status == 0 {
                break;
            }
            let flag = said.stderr.split("--security-opt ").nth(1);
            let flag = flag.unwrap_or_else(|| panic!("{flags}: {said:?}"));
            let flag = flag.split_whitespace().next().unwrap();
            assert!(!flags.contains(flag), "{flags}: {said:?}");
            flags.push_str(&format!(" --security-opt {flag}"));
        }
        assert!(
            flags.contains("seccomp=") && flags.contains("systempaths="),
            "{flags}"
        );
    }
}

/// Set-user-id programs map the ids of a user inside a sandbox of root.
#[test]
fn sandbox_with_the_flag_of_doctor_maps_ids() {
    need!(root, overlay, userns, user("subids"));
    let (tare, user) = (Tare::new(), tare_oracle::ordinary_user(true));
    let home = tare.tempdir();
    let ids = |flags: &str| {
        let open = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined";
        let doctor = format!(
            "tare run {open} {flags} -u {0}:{1} host tare doctor --json",
            user.uid, user.gid
        );
        let said = shell(&tare, home.path(), &doctor);
        let checks = said.json()["checks"].clone();
        let found = checks
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["name"] == "subordinate ids");
        found.unwrap_or_else(|| panic!("{said:?}")).clone()
    };
    let cure = ids("")["cure"].as_str().unwrap().to_owned();
    let (_, flag) = cure.split_once(", or ").unwrap();
    let flag = flag.strip_suffix(" for the outer sandbox").unwrap();
    assert_eq!(ids(flag)["ok"], true, "{cure}");
}

#[test]
fn image_that_comes_from_no_terminal_is_loaded() {
    need!(root, image("busybox.docker.tar"), program("script"));
    let tare = Tare::new();
    let archive = image("busybox.docker.tar");
    let home = tare.tempdir();
    let said = shell(
        &tare,
        home.path(),
        "script -qec 'tare image load' /dev/null </dev/null",
    );
    let (_, cure) = said
        .stdout
        .split_once("; try: ")
        .unwrap_or_else(|| panic!("{said:?}"));
    for line in cure.trim().split(", or: ") {
        let line = line.replace("FILE", archive.to_str().unwrap());
        let line = line.replace("docker save NAME", &format!("cat {}", archive.display()));
        let said = shell(&tare, home.path(), &line);
        assert_eq!(said.status, 0, "{line}: {said:?}");
    }
}
