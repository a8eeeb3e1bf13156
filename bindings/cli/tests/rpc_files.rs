// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare rpc`: files in and out of sandboxes, as root and as ordinary users;
//! and refusals.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use common::rpc::{Rpc, base64, bytes};
use common::{Tare, everybody};
use serde_json::{Value, json};
use tare_oracle::need;

/// Returns every byte value, more than fit into a piece of a pipe.
fn binary() -> Vec<u8> {
    (0..=255).cycle().take(300_000).collect()
}

/// Returns a conversation with the open sandbox `a`, and a directory of the
/// host.
fn opened(tare: &Tare) -> (Rpc<'_>, tempfile::TempDir) {
    let mut rpc = Rpc::new(tare);
    rpc.open("a");
    (rpc, tare.tempdir())
}

/// Sends a request about the sandbox `a`.
fn ask(rpc: &mut Rpc<'_>, method: &str, mut params: Value) -> common::rpc::Reply {
    params["sandbox"] = "a".into();
    rpc.call(method, params)
}

fn path(path: &Path) -> Value {
    path.to_str().unwrap().into()
}

#[test]
fn rpc_files_are_written_and_read_byte_for_byte() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let (mut rpc, _host) = opened(&tare);
        let name = base64(b"/tmp/\xff name");
        let data = binary();
        let write = json!({"path": name, "data": base64(&data), "mode": "640"});
        ask(&mut rpc, "write_file", write).ok();
        let read = ask(&mut rpc, "read_file", json!({"path": name}));
        assert_eq!(bytes(&read.ok()["data"]), data);
        let more = json!({"path": name, "data": "end", "append": true});
        ask(&mut rpc, "write_file", more).ok();
        let found = ask(&mut rpc, "stat", json!({"path": name}));
        assert_eq!(found.ok()["size"], data.len() + 3);
        assert_eq!(found.ok()["mode"], "640");
        let again = json!({"path": name, "data": "", "exclusive": true});
        let again = ask(&mut rpc, "write_file", again);
        assert_eq!(again.error().2, Some(libc_errno("EEXIST")));
        // The content is replaced, not kept.
        ask(
            &mut rpc,
            "write_file",
            json!({"path": name, "data": "short"}),
        )
        .ok();
        let read = ask(&mut rpc, "read_file", json!({"path": name}));
        assert_eq!(read.ok()["data"], "short");
        let made = json!({"path": "/tmp/d/e", "parents": true, "mode": "700"});
        ask(&mut rpc, "mkdir", made).ok();
        let listed = ask(&mut rpc, "list_dir", json!({"path": "/tmp/d"}));
        assert_eq!(listed.ok()["entries"][0]["name"], "e");
        assert_eq!(listed.ok()["entries"][0]["type"], "directory");
        assert_eq!(listed.ok()["entries"].as_array().unwrap().len(), 1);
        let kept = ask(&mut rpc, "remove", json!({"path": "/tmp/d"}));
        assert_eq!(kept.error().2, Some(libc_errno("ENOTEMPTY")));
        let gone = json!({"path": "/tmp/d", "recursive": true});
        ask(&mut rpc, "remove", gone).ok();
        let gone = ask(&mut rpc, "stat", json!({"path": "/tmp/d"}));
        assert_eq!(gone.error().0, "not_found");
        assert_eq!(rpc.finish(), (vec![], 0));
    }
}

fn libc_errno(name: &str) -> i64 {
    use nix::errno::Errno;
    let errno = match name {
        "EEXIST" => Errno::EEXIST,
        "ENOTEMPTY" => Errno::ENOTEMPTY,
        "ENOENT" => Errno::ENOENT,
        "EFBIG" => Errno::EFBIG,
        "EISDIR" => Errno::EISDIR,
        "EACCES" => Errno::EACCES,
        other => panic!("{other}"),
    };
    errno as i64
}

/// Makes a directory with hard cases for a copy.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("empty")).unwrap();
    fs::create_dir(at.join("sub")).unwrap();
    fs::write(at.join("sub/binary"), binary()).unwrap();
    fs::write(at.join("program"), "#!/bin/sh\necho ran\n").unwrap();
    symlink("sub/binary", at.join("link")).unwrap();
    symlink("/nowhere", at.join("dangling")).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("program", 0o755);
    mode("sub", 0o750);
    // The ordinary user reads it.
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    mode("sub/binary", 0o644);
    mode("sub", 0o755);
    mode("empty", 0o705);
}

#[track_caller]
fn is_the_tree(at: &Path) {
    assert_eq!(fs::read(at.join("sub/binary")).unwrap(), binary());
    assert_eq!(
        fs::read_link(at.join("link")).unwrap(),
        Path::new("sub/binary")
    );
    assert_eq!(
        fs::read_link(at.join("dangling")).unwrap(),
        Path::new("/nowhere")
    );
    assert_eq!(fs::read_dir(at.join("empty")).unwrap().count(), 0);
    let mode = |name: &str| fs::metadata(at.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("program"), mode("empty")), (0o755, 0o705));
    assert_eq!(fs::read_dir(at).unwrap().count(), 5);
}

#[test]
fn rpc_trees_go_in_and_come_out_as_they_were() {
    need!(root, overlay, userns, program("tar"));
    for tare in everybody() {
        let (mut rpc, host) = opened(&tare);
        let here = |name: &str| host.path().join(name);
        fs::create_dir(here("tree")).unwrap();
        tree(&here("tree"));
        let put = json!({"local": path(&here("tree")), "path": "/tmp/put"});
        let put = ask(&mut rpc, "put", put);
        assert_eq!(put.ok()["left_out"], json!([]));
        let ran = rpc.script("a", "/tmp/put/program; ls -A /tmp/put/empty", json!({}));
        assert_eq!(ran.out(), "ran\n");
        let get = json!({"path": "/tmp/put", "local": path(&here("got"))});
        let get = ask(&mut rpc, "get", get);
        assert_eq!(get.ok()["entries"], put.ok()["entries"]);
        is_the_tree(&here("got"));

        let tar = json!({"path": "/tmp/put", "archive": path(&here("out.tar"))});
        ask(&mut rpc, "get_tar", tar.clone()).ok();
        let again = ask(&mut rpc, "get_tar", tar);
        assert_eq!(again.error().2, Some(libc_errno("EEXIST")));
        fs::create_dir(here("untarred")).unwrap();
        let status = std::process::Command::new("tar")
            .arg("-xpf")
            .arg(here("out.tar"))
            .arg("-C")
            .arg(here("untarred"))
            .status();
        assert!(status.unwrap().success());
        is_the_tree(&here("untarred"));

        let made = json!({"path": "/tmp/in"});
        ask(&mut rpc, "mkdir", made).ok();
        let tar = json!({"dir": "/tmp/in", "archive": path(&here("out.tar"))});
        ask(&mut rpc, "put_tar", tar).ok();
        let same = rpc.script("a", "diff -r --no-dereference /tmp/put /tmp/in", json!({}));
        assert_eq!(
            (same.ok()["exit_code"].clone(), same.out()),
            (json!(0), "".into())
        );
        let missing = json!({"dir": "/tmp/in", "archive": path(&here("none.tar"))});
        let missing = ask(&mut rpc, "put_tar", missing);
        assert_eq!(
            missing.error(),
            ("not_found", "open archive", Some(libc_errno("ENOENT")))
        );
        assert_eq!(rpc.finish(), (vec![], 0));
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn rpc_files_lead_nowhere_outside() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let (mut rpc, host) = opened(&tare);
        let secret = host.path().join("secret");
        fs::write(&secret, "of the host").unwrap();
        let user = fs::metadata(host.path()).unwrap();
        chown(&secret, Some(user.uid()), Some(user.gid())).unwrap();
        // Inside, the path is the sandbox's own copy; the file outside stays
        // unchanged.
        let up = "../".repeat(30);
        let link = format!("ln -s {up}{} /tmp/link", secret.display());
        rpc.script("a", &link, json!({})).ok();
        let write = json!({"path": "/tmp/link", "data": "changed"});
        ask(&mut rpc, "write_file", write).ok();
        let inside = ask(&mut rpc, "read_file", json!({"path": path(&secret)}));
        assert_eq!(inside.ok()["data"], "changed");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host");
        // A way up through procfs.
        rpc.script("a", "ln -s /proc/self/root /tmp/root", json!({}))
            .ok();
        let magic = json!({"path": format!("/tmp/root{}", secret.display())});
        let magic = ask(&mut rpc, "read_file", magic);
        assert!(
            magic.last.as_ref().unwrap().get("error").is_some(),
            "{magic:?}"
        );
        // Names in an archive that lead up.
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        let name = b"../../escaped";
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        let evil = host.path().join("evil.tar");
        fs::write(&evil, archive.into_inner().unwrap()).unwrap();
        ask(&mut rpc, "mkdir", json!({"path": "/tmp/in"})).ok();
        let put = json!({"dir": "/tmp/in", "archive": path(&evil)});
        let put = ask(&mut rpc, "put_tar", put);
        assert_eq!(put.error().0, "corrupt", "{put:?}");
        for name in ["/escaped", "/tmp/escaped", "/tmp/in/escaped"] {
            let found = ask(&mut rpc, "stat", json!({"path": name}));
            assert_eq!(found.error().0, "not_found", "{name}");
        }
        assert!(!Path::new("/escaped").exists() && !Path::new("/tmp/escaped").exists());
        assert_eq!(rpc.finish(), (vec![], 0));
    }
}

#[test]
fn rpc_files_that_cannot_be_had_are_refused_with_a_reason() {
    need!(root, overlay);
    let tare = Tare::new();
    let (mut rpc, host) = opened(&tare);
    let nowhere = host.path().join("no/where");
    for (method, params, kind, errno) in [
        ("read_file", json!({"path": "/none"}), "not_found", "ENOENT"),
        ("read_file", json!({"path": "/tmp"}), "os", "EISDIR"),
        ("list_dir", json!({"path": "/none"}), "not_found", "ENOENT"),
        (
            "get",
            json!({"path": "/none", "local": path(&host.path().join("x"))}),
            "not_found",
            "ENOENT",
        ),
        (
            "get_tar",
            json!({"path": "/none", "archive": path(&host.path().join("x.tar"))}),
            "not_found",
            "ENOENT",
        ),
        (
            "get_tar",
            json!({"path": "/etc", "archive": path(&nowhere)}),
            "not_found",
            "ENOENT",
        ),
        (
            "put",
            json!({"path": "/tmp/x", "local": path(&nowhere)}),
            "not_found",
            "ENOENT",
        ),
    ] {
        let reply = ask(&mut rpc, method, params.clone());
        let (seen, _, number) = reply.error();
        assert_eq!(
            (seen, number),
            (kind, Some(libc_errno(errno))),
            "{method} {params}: {reply:?}"
        );
    }
    // No partial file stays.
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
    rpc.script("a", "truncate -s 9M /tmp/big", json!({})).ok();
    let big = ask(&mut rpc, "read_file", json!({"path": "/tmp/big"}));
    assert_eq!(big.error().2, Some(libc_errno("EFBIG")));
    let cure = &big.last.as_ref().unwrap()["error"]["cure"];
    assert_eq!(cure, "\"get\"");
    let limit = ask(
        &mut rpc,
        "read_file",
        json!({"path": "/tmp/big", "limit": "16m"}),
    );
    assert_eq!(limit.error().1, "check request: limit");
    let data = json!({"path": "/tmp/x", "data": {"base64": "no base64!"}});
    assert_eq!(ask(&mut rpc, "write_file", data).error().0, "invalid");
    for path in ["relative", "", "/a\0b"] {
        let reply = ask(&mut rpc, "stat", json!({"path": path}));
        assert_eq!(reply.error().0, "invalid", "{path:?}: {reply:?}");
    }
    assert_eq!(rpc.script("a", "echo fine", json!({})).out(), "fine\n");
}

#[test]
fn rpc_files_of_a_user_are_what_the_user_may_have() {
    need!(root, overlay);
    let tare = Tare::new();
    let (mut rpc, host) = opened(&tare);
    let script = "umask 077; mkdir /d; echo x >/d/file";
    rpc.script("a", script, json!({})).ok();
    fs::write(host.path().join("file"), "x").unwrap();
    let local = path(&host.path().join("file"));
    let (new, tar) = (host.path().join("new"), host.path().join("new.tar"));
    let all = path(&host.path().join("all.tar"));
    ask(
        &mut rpc,
        "get_tar",
        json!({"path": "/d/file", "archive": all}),
    )
    .ok();
    for (method, params) in [
        ("read_file", json!({"path": "/d/file"})),
        ("write_file", json!({"path": "/d/file", "data": "y"})),
        ("list_dir", json!({"path": "/d"})),
        ("stat", json!({"path": "/d/file"})),
        ("mkdir", json!({"path": "/d/new"})),
        ("remove", json!({"path": "/d/file"})),
        ("put", json!({"path": "/d/new", "local": local})),
        ("get", json!({"path": "/d/file", "local": path(&new)})),
        ("get_tar", json!({"path": "/d/file", "archive": path(&tar)})),
        ("put_tar", json!({"dir": "/d", "archive": all})),
    ] {
        let mut of_user = params.clone();
        of_user["user"] = "65534:65534".into();
        let reply = ask(&mut rpc, method, of_user);
        let (kind, _, number) = reply.error();
        assert_eq!(
            (kind, number),
            ("permission", Some(libc_errno("EACCES"))),
            "{method}: {reply:?}"
        );
    }
    let made = json!({"path": "/tmp/mine", "user": "65534:65534"});
    ask(&mut rpc, "mkdir", made).ok();
    let owner = rpc.script("a", "stat -c %u:%g /tmp/mine; cat /d/file", json!({}));
    assert_eq!(owner.out(), "65534:65534\nx\n");
    let unknown = json!({"path": "/d/file", "user": "nosuch"});
    let refused = ask(&mut rpc, "read_file", unknown);
    assert_eq!(
        (refused.error().0, refused.error().1),
        ("not_found", "look up user")
    );
}
