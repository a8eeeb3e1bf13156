// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image` and `tare store` on real images, as root and as ordinary users.

mod common;

use std::path::PathBuf;

use common::{Said, TARE, Tare, everybody};
use tare_oracle::{image, need};

fn reference(kind: &str, name: &str) -> String {
    format!("{kind}:{}", image(name).display())
}

#[test]
fn image_comes_runs_and_goes() {
    need!(root, overlay, userns, image("busybox"));
    let source = reference("oci", "busybox");
    for tare in everybody() {
        let said = tare.run(&["image", "import", &source, "box"]);
        let digest = said.ok().split(' ').next().unwrap().to_owned();
        assert!(said.ok().ends_with(" box:latest"), "{said:?}");
        assert_eq!(tare.run(&["run", "box", "echo", "hi"]).ok(), "hi");
        tare.run(&["image", "tag", "box", "again:1"]).ok();
        let list = tare.run(&["image", "list", "--json"]).json();
        let names: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|i| &i["name"])
            .collect();
        assert_eq!(names, ["box:latest", "again:1"]);
        let table = tare.run(&["image", "ls"]);
        assert!(table.ok().starts_with("NAME ") && table.ok().contains("\nagain:1 "));
        let json = tare.run(&["image", "inspect", "again:1"]).json();
        assert_eq!(json["digest"], digest);
        assert_eq!(json["config"]["cmd"][0], "sh");
        let said = tare.run(&["store", "check"]);
        assert!(
            said.ok().contains("2 images") && said.ok().ends_with("0 problems"),
            "{said:?}"
        );
        tare.run(&["image", "rm", "box", "again:1"]).ok();
        tare.run(&["run", "box", "true"])
            .fails(125, &["not in the store"]);
        assert_eq!(tare.run(&["image", "list", "--json"]).ok(), "[]");
        tare.run(&["store", "recover"]).ok();
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn image_of_an_archive_has_its_names() {
    need!(
        root,
        overlay,
        image("busybox.docker.tar"),
        image("busybox.oci.tar")
    );
    let tare = Tare::new();
    let file = image("busybox.docker.tar");
    let said = tare.run(&["image", "load", "-i", file.to_str().unwrap()]);
    let name = said.ok().split(' ').nth(1).expect("a name").to_owned();
    assert_eq!(tare.run(&["run", &name, "echo", "hi"]).ok(), "hi");
    let archive = reference("archive", "busybox.oci.tar");
    assert_eq!(tare.run(&["run", &archive, "echo", "hi"]).ok(), "hi");
}

#[test]
fn image_comes_through_a_pipe() {
    need!(root, program("bash"), image("busybox.docker.tar"));
    let archive = image("busybox.docker.tar");
    let archive = archive.display();
    for tare in everybody() {
        for line in [
            format!("cat {archive} | {TARE} image load"),
            format!("gzip -c {archive} | {TARE} image load -"),
            format!("{TARE} image load <{archive}"),
            format!("{TARE} image load --input <(cat {archive})"),
            format!("{TARE} image load --input /dev/stdin <{archive}"),
            format!("{TARE} image import archive:<(cat {archive}) mine"),
        ] {
            let said = Said::of(tare.program("bash", &["-c", &line]).output().unwrap());
            assert!(said.ok().contains(":latest"), "{line}: {said:?}");
            assert_eq!(said.stderr, "", "{line}");
            tare.run(&["image", "rm", said.ok().split(' ').next().unwrap()])
                .ok();
        }
        tare.run(&["image", "load"]).fails(
            125,
            &["/dev/stdin", "neither a file nor a pipe", "docker save"],
        );
        let nothing = "docker-that-fails 2>/dev/null | ".to_owned() + TARE + " image load";
        Said::of(tare.shell(&nothing).output().unwrap())
            .fails(125, &["/dev/stdin", "an empty file, not a tar archive"]);
        let terminal = format!("script -qec '{TARE} image load' /dev/null </dev/null");
        let said = Said::of(tare.shell(&terminal).output().unwrap());
        assert!(
            said.stdout.contains("standard input is a terminal; try: "),
            "{said:?}"
        );
        assert_eq!(tare.scratch(), 0);
    }
}

/// Repairs a store without an index, and does what the repair says.
fn name_again(tare: &Tare) {
    let said = tare.run(&["store", "check", "--repair"]);
    // The store was damaged.
    assert_eq!(said.status, 1, "{said:?}");
    let cure = "try: tare image list, tare image tag DIGEST NAME\n";
    assert!(said.stdout.ends_with(cure), "{said:?}");
    let listed = tare.run(&["image", "list", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    let digest = listed[0]["digest"].as_str().unwrap();
    tare.run(&["image", "tag", digest, "box"]).ok();
}

#[test]
fn store_that_lost_a_part_is_mended_by_what_the_error_says() {
    need!(root, overlay, userns, image("busybox"));
    let source = reference("oci", "busybox");
    for tare in everybody() {
        for part in [
            "index.json",
            "blobs",
            "layers",
            "locks",
            "scratch",
            "store.json",
        ] {
            tare.run(&["image", "import", &source, "box"]).ok();
            let lose = format!("rm -r \"$TARE_STORE/{part}\"");
            Said::of(tare.shell(&lose).output().unwrap()).ok();
            let said = tare.run(&["run", "box", "true"]);
            if let Some((_, cure)) = said.stderr.split_once("; try: ") {
                assert_eq!(said.status, 125, "{part}: {said:?}");
                match cure.trim_end() {
                    "tare store check --repair" => name_again(&tare),
                    cure => {
                        assert_eq!(cure, "import the image again", "{part}");
                        tare.run(&["image", "import", &source, "box"]).ok();
                    }
                }
            }
            tare.run(&["run", "box", "true"]).ok();
            let said = tare.run(&["store", "check"]);
            assert!(said.ok().ends_with(" 0 problems"), "{part}: {said:?}");
        }
    }
}

#[test]
fn image_that_is_damaged_is_repaired_as_the_check_says() {
    need!(root, image("busybox"));
    let tare = Tare::new();
    let source = reference("oci", "busybox");
    tare.run(&["image", "import", &source, "x"]).ok();
    let blobs = || {
        let entries = std::fs::read_dir(tare.path("blobs/sha256")).unwrap();
        entries.map(|e| e.unwrap().path())
    };
    let size = |path: &PathBuf| path.metadata().unwrap().len();
    let blob = || blobs().max_by_key(size).unwrap();
    let whole = std::fs::read(blob()).unwrap();
    std::fs::write(blob(), &whole[1..]).unwrap();
    let said = tare.run(&["store", "check"]);
    assert_eq!(said.status, 1);
    let cure = "; try: tare store check --repair, then import the image again\n";
    assert!(said.stdout.contains(cure), "{said:?}");
    tare.run(&["store", "check", "--repair"]);
    tare.run(&["image", "import", &source, "x"]).ok();
    assert!(tare.run(&["store", "check"]).ok().ends_with(" 0 problems"));
    assert_eq!(std::fs::read(blob()).unwrap(), whole);
    // Only an import restores a missing document, as the next user is told.
    let documents = blobs().filter(|path| std::fs::read(path).unwrap().starts_with(b"{"));
    documents.for_each(|path| std::fs::remove_file(path).unwrap());
    tare.run(&["run", "x", "true"])
        .fails(125, &["ENOENT", "; try: import the image again"]);
}

#[test]
fn image_is_on_the_disk_unless_told_otherwise() {
    need!(root, userns, image("busybox"), program("strace"));
    let mut callers = everybody();
    callers.retain(|tare| !tare.takes_newuidmap());
    for tare in callers {
        for (flags, syncs) in [(&["x"][..], 1), (&["x", "--no-sync"], 0)] {
            assert_syncs(&tare, flags, syncs);
        }
    }
}

/// Imports twice, and counts the syncs of the store in each.
fn assert_syncs(tare: &Tare, flags: &[&str], syncs: usize) {
    let source = reference("oci", "busybox");
    let dir = tare.tempdir();
    let (log, store) = (dir.path().join("log"), dir.path().join("store"));
    let import = || {
        let mut strace = tare.program("strace", &["-f", "-y", "-qq", "-o"]);
        strace.arg(&log);
        strace.arg("--trace=syncfs,fsync,fdatasync,/rename");
        strace.args([TARE, "image", "import", "--store"]);
        strace.arg(&store).arg(&source).args(flags);
        Said::of(strace.output().expect("strace(1)")).ok();
        std::fs::read_to_string(&log).unwrap()
    };
    let said = import();
    assert_eq!(said.matches("syncfs(").count(), syncs, "{flags:?}: {said}");
    assert!(store.join("index.json").exists());
    let last = said.lines().rfind(|l| l.contains("sync(")).unwrap();
    let root = format!("<{}>)", store.canonicalize().unwrap().display());
    assert_eq!(last.contains(&root), syncs > 0, "{flags:?}: {said}");
    // Another process may have imported the present files without a sync.
    let again = import();
    assert_eq!(again.matches("sync").count(), syncs, "{flags:?}: {again}");
}

#[test]
fn image_own_command_and_entrypoint_are_dockers() {
    need!(root, overlay, image("busybox"));
    let tare = Tare::new();
    let source = reference("oci", "busybox");
    // CMD is `sh`, and there is no ENTRYPOINT.
    let said = tare.run_with(&["run", "-i", &source], b"echo from sh\n");
    assert_eq!(said.ok(), "from sh");
    let said = tare.run(&["run", "--entrypoint", "echo", &source, "a", "b"]);
    assert_eq!(said.ok(), "a b");
    let said = tare.run(&["run", "--entrypoint", "", &source, "echo", "c"]);
    assert_eq!(said.ok(), "c");
}

#[test]
fn image_unpacks_into_an_empty_directory_only() {
    need!(root, userns, image("busybox"));
    let source = reference("oci", "busybox");
    for tare in everybody() {
        let dir = tare.tempdir();
        let target = dir.path().join("root");
        let target = target.to_str().unwrap();
        tare.run(&["image", "unpack", &source, target]).ok();
        assert!(dir.path().join("root/bin/sh").exists());
        tare.run(&["image", "unpack", &source, target])
            .fails(125, &["not empty"]);
    }
}

#[test]
fn store_without_space_says_so_and_holds_nothing() {
    need!(root, image("debian"));
    let tare = Tare::new();
    let dir = tare.tempdir();
    let at = dir.path().to_str().unwrap();
    let mount = |args: &[&str]| {
        let status = std::process::Command::new(args[0])
            .args(&args[1..])
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", at]);
    let source = reference("oci", "debian");
    let said = tare.run(&["--store", at, "image", "import", &source, "big"]);
    let list = tare.run(&["--store", at, "image", "list", "--json"]);
    mount(&["umount", at]);
    said.fails(125, &["ENOSPC", at, "another store"]);
    assert_eq!(list.ok(), "[]");
}

#[test]
fn output_without_a_reader_ends_quietly() {
    let tare = Tare::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let said = tare
        .command(&["image", "list", "--json"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
}
