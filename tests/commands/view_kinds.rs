// SPDX-License-Identifier: MIT OR Apache-2.0
//! Views of a host with a FUSE file system that answers, another that overlayfs
//! refuses, and an idmapped mount.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::{env, process, thread};

use nix::mount::{MntFlags, umount2};
use tare::Sandbox;
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{CALLERS, caller, need};

use crate::harness::Ground;
use crate::view::{mount, mount_dead};
use crate::view_root::{alone, script, spec, told};

/// The directory with mounts in it.
const DIR: &str = "TARE_TEST_VIEW_KINDS";

const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
/// FORGET, INTERRUPT and BATCH_FORGET.
const UNANSWERED: [u32; 3] = [2, 36, 42];
/// Inodes of the directory and of its file.
const TOP: u64 = 1;
const FILE: u64 = 2;
const CONTENT: &[u8] = b"answered";

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn push(to: &mut Vec<u8>, numbers: &[u32]) {
    let bytes = numbers.iter().flat_map(|number| number.to_ne_bytes());
    to.extend(bytes);
}

/// `struct fuse_attr` of linux/fuse.h.
fn push_attributes(to: &mut Vec<u8>, inode: u64) {
    let (mode, size) = match inode {
        TOP => (0o40_777, 0),
        _ => (0o100_644, CONTENT.len() as u32),
    };
    push(to, &[inode as u32, 0, size, 0]);
    // Blocks, times; then mode, links, owner, device, block size, flags.
    push(to, &[0; 11]);
    push(to, &[mode, 1, 0, 0, 0, 4096, 0]);
}

/// `struct fuse_dirent`, padded to whole u64s.
fn push_entry(to: &mut Vec<u8>, name: &str, inode: u64, next: u64, kind: u8) {
    to.extend(inode.to_ne_bytes());
    to.extend(next.to_ne_bytes());
    push(to, &[name.len() as u32, u32::from(kind)]);
    to.extend(name.as_bytes());
    to.resize(to.len().next_multiple_of(8), 0);
}

/// Answers a request, or fails with an errno(3).
fn answer(request: &[u8], is_refused: bool) -> Result<Vec<u8>, i32> {
    let mut body = Vec::new();
    let opcode = (number(request, 0) >> 32) as u32;
    let inode = number(request, 16);
    match opcode {
        // Version 7.31, then nothing.
        INIT => {
            push(&mut body, &[7, 31]);
            push(&mut body, &[0; 14]);
        }
        LOOKUP if request[40..].starts_with(b"file\0") => {
            body.extend(FILE.to_ne_bytes());
            push(&mut body, &[0; 8]);
            push_attributes(&mut body, FILE);
        }
        LOOKUP => return Err(libc::ENOENT),
        GETATTR => {
            push(&mut body, &[0; 4]);
            push_attributes(&mut body, inode);
        }
        OPEN | OPENDIR => push(&mut body, &[0; 4]),
        READ => {
            let at = CONTENT.len().min(number(request, 48) as usize);
            body.extend(&CONTENT[at..]);
        }
        READDIR if number(request, 48) == 0 => {
            push_entry(&mut body, ".", TOP, 1, libc::DT_DIR);
            push_entry(&mut body, "file", FILE, 2, libc::DT_REG);
        }
        READDIR | RELEASE | RELEASEDIR => {}
        // Overlayfs asks for the longest name, and gives up without an answer.
        STATFS if is_refused => return Err(libc::EIO),
        STATFS => {
            push(&mut body, &[0; 10]);
            push(&mut body, &[4096, 255, 4096, 0]);
            push(&mut body, &[0; 6]);
        }
        _ => return Err(libc::ENOSYS),
    }
    Ok(body)
}

/// Mounts a FUSE file system with a file; answers until the process ends.
fn mount_answering(on: &Path, is_refused: bool) {
    let mut device = mount_dead(on);
    thread::spawn(move || {
        let mut request = vec![0; 1 << 17];
        while let Ok(len) = device.read(&mut request) {
            let opcode = (number(&request, 0) >> 32) as u32;
            if UNANSWERED.contains(&opcode) {
                continue;
            }
            let (error, body) = match answer(&request[..len], is_refused) {
                Ok(body) => (0, body),
                Err(errno) => (-errno, Vec::new()),
            };
            let mut reply = Vec::new();
            push(&mut reply, &[16 + body.len() as u32, error as u32]);
            reply.extend_from_slice(&request[8..16]);
            reply.extend(body);
            // The asker may be gone.
            let _ = device.write(&reply);
        }
    });
}

/// Mounts a tree once more with its uid 0 shown as 5000: open_tree(2),
/// mount_setattr(2), move_mount(2).
const IDMAP: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    result = libc.syscall(*args)
    if result < 0: sys.exit(f"{args[0]}: {os.strerror(ctypes.get_errno())}")
    return result
(made, has_made), (done, is_done) = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    # The read ends with the parent, also where a call fails.
    os.close(is_done)
    libc.unshare(0x10000000)
    os.write(has_made, b"x"); os.read(done, 1); os._exit(0)
os.read(made, 1)
for kind in "ug":
    open(f"/proc/{child}/{kind}id_map", "w").write("0 5000 60000")
users = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
tree = call(428, -100, sys.argv[1].encode(), 1)
call(442, tree, b"", 0x1000, struct.pack("QQQQ", 0x100000, 0, 0, users), 32)
call(429, tree, b"", -100, sys.argv[2].encode(), 4)
os.write(is_done, b"x"); os.waitpid(child, 0)
"#;

fn mount_idmapped(dir: &Path) {
    let [from, to] = ["unmapped", "idmapped"].map(|name| dir.join(name));
    assert!(mount("tmpfs", "mode=777", &from));
    fs::write(from.join("file"), "mapped").unwrap();
    fs::create_dir(&to).unwrap();
    let mut python = process::Command::new("python3");
    let status = python.args(["-c", IDMAP]).args([from, to]).status();
    assert!(status.unwrap().success());
}

/// Mounts that are gone with this, so that their directory can be removed.
struct Mounts<'a>(&'a Path);

impl Drop for Mounts<'_> {
    fn drop(&mut self) {
        for name in ["answering", "refused", "idmapped", "unmapped"] {
            let _ = umount2(&self.0.join(name), MntFlags::MNT_DETACH);
        }
    }
}

fn mount_all(dir: &Path) -> Mounts<'_> {
    mount_answering(&dir.join("answering"), false);
    mount_answering(&dir.join("refused"), true);
    mount_idmapped(dir);
    Mounts(dir)
}

#[test]
fn views_show_mounts_of_other_kinds() {
    if let Some(dir) = env::var_os(DIR) {
        return assert_views(Path::new(&dir), "65534", &["memory"]);
    }
    need!(root, callers, fuse, kernel(6, 3), program("python3"));
    alone(|| {
        let temp = tempfile::tempdir().unwrap();
        let _mounts = mount_all(temp.path());
        assert_views(temp.path(), "5000", &["memory", "disk"]);
        for kind in CALLERS {
            let user = caller(kind);
            let temp = user.tempdir();
            let _mounts = mount_all(temp.path());
            let mut command = user.command(this_program());
            let test = "view_kinds::views_show_mounts_of_other_kinds";
            passes_again(command.env(DIR, temp.path()), test);
        }
    });
}

/// Opens a view until no mount is left out: on a busy machine an answer may
/// take longer than a trial, and the store's handle remembers that.
fn open(json: &str, dir: &Path) -> (Ground, Sandbox) {
    for _ in 0..20 {
        let ground = Ground::new();
        let sandbox = Sandbox::open(&ground.store, &spec(json)).unwrap();
        let mut names = ["answering", "refused"].iter();
        if names.all(|name| told(&sandbox, &dir.join(name)) != "left out") {
            return (ground, sandbox);
        }
    }
    panic!("left out again and again");
}

/// `owner` is uid 0 of the idmapped mount.
fn assert_views(dir: &Path, owner: &str, writes: &[&str]) {
    for write in writes {
        let (_ground, sandbox) = open(&format!(r#"{{"write": {write:?}}}"#), dir);
        let seen = "cd $1; cat answering/file refused/file idmapped/file; echo; ls answering; stat -c %u idmapped/file; \
            for d in . answering refused idmapped; do touch $d/new 2>/dev/null && mv $d/new $d/newer && echo $d; done";
        let expected = format!("answeredansweredmapped\nfile\n{owner}\n.\nanswering\nidmapped");
        assert_eq!(script(&sandbox, seen, dir), expected, "{write}");
        for (name, shown) in [
            ("answering", "cow"),
            ("refused", "read-only"),
            ("idmapped", "cow"),
        ] {
            assert_eq!(told(&sandbox, &dir.join(name)), shown, "{write} {name}");
        }
        sandbox.close().unwrap();
    }
    for name in ["newer", "answering/newer", "idmapped/newer"] {
        assert!(!dir.join(name).exists(), "{name}");
    }
}
