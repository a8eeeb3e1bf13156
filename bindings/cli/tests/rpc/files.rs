// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare rpc`: files in and out of sandboxes, as root and as ordinary users.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use nix::errno::Errno;
use serde_json::{Value, json};
use tare_oracle::need;

use super::common::rpc::{Reply, Rpc, base64, bytes};
use super::common::{Tare, everybody};

/// Returns every byte value, more than fit into a piece of a pipe.
fn binary() -> Vec<u8> {
    (0..=255).cycle().take(300_000).collect()
}

/// Returns a conversation with the open sandbox `a`, and a directory of the
/// host.
fn opened(tare: &Tare) -> (Rpc, tempfile::TempDir) {
    let mut rpc = Rpc::new(tare);
    rpc.open("a");
    (rpc, tare.tempdir())
}

/// Sends a request about the sandbox `a`.
fn ask(rpc: &mut Rpc, method: &str, mut params: Value) -> Reply {
    params["sandbox"] = "a".into();
    rpc.call(method, params)
}

fn path(path: &Path) -> Value {
    path.to_str().unwrap().into()
}

#[test]
fn rpc_file_of_many_bytes_is_written_and_read() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let write = json!({"path": "/tmp/file", "data": base64(&binary())});
    ask(&mut rpc, "write_file", write).ok();
    let read = ask(&mut rpc, "read_file", json!({"path": "/tmp/file"}));
    assert_eq!(bytes(&read.ok()["data"]), binary());
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
        assert_eq!(again.error().2, Some(Errno::EEXIST as i64));
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
