// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files with the rights of a user of the sandbox.

use tare::files::OpenOptions;
use tare::{Kind, Sandbox};

use crate::harness::{Ground, run, sh};
use crate::{everywhere, fails, shell, single_id};

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nusers:x:100:\nstaff:x:50:alice\n";

/// Users, and files that some of them may read.
fn users(sandbox: &Sandbox) {
    let files = sandbox.files();
    files.write("/etc/passwd", PASSWD).unwrap();
    files.write("/etc/group", GROUP).unwrap();
    let script =
        "mkdir -p /d/shut && cd /d && for f in root staff alice all shut/in; do echo $f >$f; done
        chmod 600 root alice; chmod 640 staff; chmod 644 all; chmod 700 shut
        chmod 755 . && ln -s root link && chmod 1777 /tmp && echo x >/tmp/roots";
    let output = shell(sandbox, script);
    assert!(output.status.success(), "{output:?}");
    // Not a command, which may lack CAP_CHOWN.
    files.set_owner("/d/staff", 0, 50).unwrap();
    files.set_owner("/d/alice", 1000, 0).unwrap();
}

#[test]
fn user_reads_and_writes_what_a_command_of_the_user_could() {
    if single_id() {
        return;
    }
    everywhere(|_, sandbox| {
        users(sandbox);
        let alice = sandbox.files().as_user("alice");
        for user in ["alice", "1000", "alice:staff", "1000:50", "root", "0", ""] {
            let files = sandbox.files().as_user(user);
            let root = ["root", "0", ""].contains(&user);
            // /bin/cat as the same user is the judge.
            for name in ["root", "staff", "alice", "all", "shut/in", "link"] {
                let path = format!("/d/{name}");
                let user = if user.is_empty() { "0" } else { user };
                let cat = run(sandbox, sh(&format!("cat {path}")).user(user));
                let read = files.read(&path);
                let may = cat.status.success();
                assert_eq!(read.is_ok(), may, "{user} {path}: {read:?}");
                if !may {
                    fails(read, libc::EACCES);
                }
            }
            assert_eq!(files.write("/d/root", "root\n").is_ok(), root);
            assert_eq!(files.read_dir("/d/shut").is_ok(), root);
        }
        fails(alice.write("/d/new", "x"), libc::EACCES);
        fails(alice.create_dir("/d/new", 0o755), libc::EACCES);
        fails(alice.remove_file("/tmp/roots"), libc::EPERM);
        fails(alice.set_permissions("/d/all", 0o777), libc::EPERM);
        fails(alice.set_owner("/d/alice", 0, 0), libc::EPERM);
        fails(alice.metadata("/d/shut/in"), libc::EACCES);
        assert!(alice.metadata("/d/root").is_ok());
        alice.set_permissions("/d/alice", 0o604).unwrap();
        // Without a user all is as before.
        assert_eq!(sandbox.files().read("/d/shut/in").unwrap(), b"shut/in\n");
    });
}

#[test]
fn user_root_has_no_more_capabilities_than_its_commands() {
    let ground = Ground::new();
    for (json, may) in [
        ("{}", true),
        (r#"{"security": {"cap_drop": ["DAC_OVERRIDE"]}}"#, false),
        (r#"{"security": {"profile": "strict"}}"#, false),
    ] {
        let sandbox = ground.open_with(json);
        let files = sandbox.files();
        files.write("/tmp/shut", "x").unwrap();
        files.set_permissions("/tmp/shut", 0o000).unwrap();
        let cat = shell(&sandbox, "cat /tmp/shut");
        assert_eq!(cat.status.success(), may, "{json}");
        for user in ["root", "0"] {
            let root = files.as_user(user);
            let read = root.read("/tmp/shut").map(drop);
            for done in [read, root.write("/tmp/shut", "y")] {
                match may {
                    true => done.unwrap(),
                    false => fails(done, libc::EACCES),
                }
            }
        }
        // Without a user, the rights of process 1 count.
        assert!(files.read("/tmp/shut").is_ok(), "{json}");
    }
}

#[test]
fn user_owns_what_the_user_makes() {
    if single_id() {
        return;
    }
    everywhere(|_, sandbox| {
        users(sandbox);
        let alice = sandbox.files().as_user("alice");
        alice.create_dir_all("/tmp/a/b", 0o750).unwrap();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o640);
        alice.write_with("/tmp/a/b/file", "mine", &options).unwrap();
        alice.symlink("file", "/tmp/a/b/link").unwrap();
        alice.rename("/tmp/a/b/file", "/tmp/a/file").unwrap();
        for (path, mode) in [
            ("/tmp/a", 0o750),
            ("/tmp/a/b", 0o750),
            ("/tmp/a/file", 0o640),
            ("/tmp/a/b/link", 0o777),
        ] {
            let seen = sandbox.files().symlink_metadata(path).unwrap();
            let found = (seen.uid(), seen.gid(), seen.mode() & 0o7777);
            assert_eq!(found, (1000, 100, mode), "{path}");
        }
        for (user, ids) in [
            ("alice", (1000, 100)),
            ("alice:staff", (1000, 50)),
            ("1000:7", (1000, 7)),
            ("", (0, 0)),
        ] {
            assert_eq!(sandbox.files().user_ids(user).unwrap(), ids, "{user}");
        }
        alice.remove_dir_all("/tmp/a").unwrap();
        assert!(!sandbox.files().exists("/tmp/a").unwrap());
    });
}

#[test]
fn user_that_is_none_is_told() {
    let ground = Ground::new();
    let sandbox = ground.open();
    for (user, kind) in [
        ("nosuch", Kind::NotFound),
        ("root:nosuch", Kind::NotFound),
        ("12x", Kind::Invalid),
        ("a\0b", Kind::Invalid),
    ] {
        let unknown = sandbox.files().user_ids(user).unwrap_err();
        assert_eq!(unknown.kind(), kind, "{unknown}");
        let files = sandbox.files().as_user(user);
        let error = files.read("/etc/passwd").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("user"), "{error}");
    }
    if single_id() {
        let files = sandbox.files().as_user("1000");
        let error = files.read("/etc/passwd").unwrap_err();
        let told = (error.step(), error.errno());
        assert_eq!(told, ("set user and groups", Some(libc::EINVAL)));
        assert!(error.cure().unwrap().contains("usermod --add-subuids"));
    }
}
