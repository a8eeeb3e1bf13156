// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on the helper and on its commands: program, descriptors, memory,
//! time.
#![forbid(unsafe_code)]

mod attacks;

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use attacks::{
    LONG, Stage, again, answers, assert_denied, command, everybody, is_root, probing, ran, said,
    shell,
};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tare::{Command, Sandbox, Stdin, Stdout};
use tare_oracle::again::this_program;
use tare_oracle::need;

/// Container root that may trace.
const TRACER: &str = r#"{"security": {"cap_add": ["SYS_PTRACE"]}}"#;

/// `sha256sum` of a file inside the sandbox.
fn sum(sandbox: &Sandbox, path: &str) -> String {
    said(sandbox, command(["/bin/busybox", "sha256sum", path]))
}

#[test]
fn b01_helper_cannot_be_overwritten() {
    everybody(|| {
        let stage = Stage::new();
        let own = this_program();
        let before = fs::read(&own).unwrap();
        stage.link("/proc/self/exe", "bin/link");
        stage.program("bin/script", "#!/proc/self/exe\n");
        let sandbox = stage.open("{}");
        for name in ["/bin/link", "/bin/script", "/proc/self/exe"] {
            // The helper run as a program has no host to serve.
            let run = sandbox.run(command([name]).timeout(Duration::from_secs(2)));
            assert!(run.is_ok_and(|o| o.stdout.is_empty()), "{name}");
        }
        let refused = ["EPERM", "EACCES", "ETXTBSY", "EROFS", "ENOENT"];
        assert_denied(&sandbox, "open w /proc/1/exe /proc/self/exe", &refused);
        // A process that can reach the memfd finds it sealed.
        let tracer = stage.open(TRACER);
        if is_root() {
            let helper = sum(&tracer, "/proc/1/exe");
            assert_denied(&tracer, "open w /proc/1/exe", &refused);
            ran(
                &tracer,
                shell("ln -sf /proc/1/exe /tmp/l; echo x > /tmp/l; true"),
            );
            assert_eq!(sum(&tracer, "/proc/1/exe"), helper);
        } else {
            assert_denied(&tracer, "open r /proc/1/exe", &refused);
        }
        assert_eq!(fs::read(&own).unwrap(), before);
        ran(&stage.open("{}"), shell("true"));
    });
}

#[test]
fn b01_loader_of_the_image_is_not_ours() {
    everybody(|| {
        let stage = Stage::new();
        // A dynamically linked program of the library would run this loader.
        stage.dir("lib64");
        stage.program("lib64/ld-linux-x86-64.so.2", "#!/bin/sh\necho taken over\n");
        stage.dir("etc/ld.so.conf.d");
        stage.file("etc/ld.so.preload", "/evil.so\n");
        stage.file("etc/nsswitch.conf", "passwd: evil\ngroup: evil\n");
        let sandbox = stage.open(r#"{"env": {"LD_PRELOAD": "/evil.so", "GCONV_PATH": "/"}}"#);
        assert_eq!(said(&sandbox, shell("echo fine").user("0")), "fine\n");
    });
}

/// Descriptors of the host without close-on-exec: some for this test to lose.
fn leaky(count: usize) -> Vec<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    (0..count)
        .map(|_| open("/", flags, Mode::empty()).expect("open /"))
        .collect()
}

#[test]
fn b02_directories_of_the_host_are_not_reached_by_number() {
    everybody(|| {
        let stage = Stage::new();
        let _held = leaky(200);
        let secret = stage.victim.path().join("secret");
        let sandbox = stage.open("{}");
        for n in (0..40).chain((40..1024).step_by(41)) {
            let fd = format!("/proc/self/fd/{n}");
            for cwd in [fd.clone(), format!("{fd}/../..")] {
                let run = sandbox.run(shell("pwd").cwd(&cwd));
                let error = run.expect_err(&cwd);
                assert_eq!(error.step(), "change directory", "{error}");
            }
            for up in ["", "/..", "/../../../.."] {
                let program = format!("{fd}{up}/bin/busybox");
                let run = sandbox.run(command([&program, "cat", secret.to_str().unwrap()]));
                assert!(run.is_err(), "{program}");
            }
        }
        // By way of the image.
        for n in 3..40 {
            stage.relink(format!("/proc/self/fd/{n}/../.."), "w");
            stage.relink(format!("/proc/self/fd/{n}/../../bin/busybox"), "x");
            let sandbox = stage.open("{}");
            for cwd in ["/w", "/w/new"] {
                assert!(sandbox.run(shell("pwd").cwd(cwd)).is_err(), "{n}");
            }
            assert!(sandbox.run(command(["/x", "true"])).is_err(), "{n}");
        }
        stage.victim.assert_intact();
    });
}

#[test]
fn b03_descriptors_of_the_host_stay_outside() {
    everybody(|| {
        let stage = Stage::new();
        let held = leaky(300);
        let _listening = UnixListener::bind(stage.beside("socket")).unwrap();
        let (mine, _other) = nix::unistd::pipe().unwrap();
        let sandbox = stage.open("{}");
        ran(&sandbox, shell("true"));
        let seen = said(&sandbox, probing("fds"));
        let numbers = |text: &str| -> Vec<u32> {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.map(|(n, _)| n.parse().unwrap()).collect()
        };
        assert_eq!(numbers(&seen), [0, 1, 2], "{seen}");
        for number in [3, 5, 9, 200, 1000] {
            let passed = mine.try_clone().unwrap();
            let seen = said(&sandbox, probing("fds").fd(passed, number));
            assert_eq!(numbers(&seen), [0, 1, 2, number], "{seen}");
        }
        // A library may not repair this in the host: the flag is not ours to
        // set.
        for fd in &held {
            let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD);
            assert_eq!(flags, Ok(0));
        }
    });
}

/// The process behind a pidfd, by the host's number.
fn pid_of(pidfd: &OwnedFd) -> String {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.expect("a pidfd says whose it is").trim().to_owned()
}

#[test]
fn b03_null_device_of_the_host_is_not_handed_in() {
    everybody(|| {
        let stage = Stage::new();
        let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
        let modes = || fs::metadata("/dev/null").unwrap().permissions();
        let before = modes();
        let sandbox = stage.open("{}");
        let given = || {
            let line = "for n in 0 1 2 7; do busybox chmod 4600 /proc/self/fd/$n; done; true";
            let all = shell(line).stdout(Stdout::Null).stderr(Stdout::Fd(null()));
            all.fd(null(), 7)
        };
        for stdin in [Stdin::Null, Stdin::Fd(null()), Stdin::Bytes(vec![])] {
            ran(&sandbox, given().stdin(stdin));
        }
        let changed = modes() != before;
        if changed {
            fs::set_permissions("/dev/null", before).unwrap();
        }
        assert!(!changed);
        // The descriptor is still open, for reading and writing.
        let line = "cat <&0; echo gone >&7; echo gone >&2; test -c /proc/self/fd/0 && echo one";
        assert_eq!(said(&sandbox, shell(line).fd(null(), 7)), "one\n");
    });
}

/// Returns a process's open descriptors by number: target and mount.
fn opened(pid: &str) -> Vec<(String, String, String)> {
    let mut all = vec![];
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let number = entry.file_name().into_string().unwrap();
        let target = fs::read_link(entry.path());
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
        // A descriptor may be closed meanwhile.
        if let (Ok(target), Ok(info)) = (target, info) {
            let mount = info.lines().find_map(|l| l.strip_prefix("mnt_id:"));
            let target = target.into_os_string().into_string().unwrap();
            all.push((number, target, mount.unwrap().trim().to_owned()));
        }
    }
    all
}

#[test]
fn b03_init_holds_nothing_of_the_host() {
    need!(root);
    let stage = Stage::new();
    let _held = leaky(300);
    let sandbox = stage.open("{}");
    ran(&sandbox, shell("true"));
    let pid = pid_of(&sandbox.pidfd().unwrap());
    let is_own = |target: &str| {
        let own = ["socket:", "anon_inode:[signalfd]", "/dev/null", "/"];
        own.iter().any(|o| target.starts_with(o))
    };
    // The init reports the end of a command before it closes that pipe.
    let began = Instant::now();
    let mut held = opened(&pid);
    while !held.iter().all(|(_, target, _)| is_own(target))
        && began.elapsed() < Duration::from_secs(20)
    {
        std::thread::sleep(Duration::from_millis(10));
        held = opened(&pid);
    }
    // Standard streams, the control socket, its signals, the sandbox's devpts,
    // dev and proc.
    assert!(held.len() >= 8, "{held:?}");
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for (number, target, mount) in &held {
        assert!(is_own(target), "{held:?}");
        // Its directories are mounts of the sandbox.
        let is_host = |line: &str| line.split(' ').next() == Some(mount);
        assert!(!host.lines().any(is_host), "{number} {target}");
    }
}

#[test]
fn b04_helper_cannot_be_looked_into() {
    everybody(|| {
        // A tracer in root's own user namespace may look; the gain is checked
        // below.
        for spec in [Some("{}"), (!is_root()).then_some(TRACER)] {
            let Some(spec) = spec else { continue };
            let stage = Stage::new();
            let sandbox = stage.open(spec);
            let spying = sandbox.spawn(probing("spy 1500")).unwrap();
            let began = Instant::now();
            let mut runs = 0;
            while began.elapsed() < Duration::from_millis(1500) {
                // The spy stops each process for a moment; no more is required
                // here.
                let _ = sandbox.run(command(["/bin/true"]).user("0"));
                runs += 1;
            }
            let (seen, _) = output_of(spying);
            let looks: Vec<_> = seen.lines().filter(|l| l.starts_with("looks")).collect();
            assert!(
                looks.len() == 1 && !looks[0].ends_with(" 0") && runs > 10,
                "{seen}"
            );
            assert!(!seen.contains("breach"), "{spec}: {seen}");
        }
    });
}

/// Returns the output of a started command until its end.
fn output_of(process: tare::Process) -> (String, tare::Status) {
    use std::io::Read as _;
    let mut text = String::new();
    let mut pipe = fs::File::from(process.take_stdout().unwrap());
    pipe.read_to_string(&mut text).unwrap();
    (text, process.wait().unwrap())
}

#[test]
fn b04_init_is_closed_to_root() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        for (what, answer) in answers(&sandbox, "process 1") {
            // Any process may open a pidfd, which grants nothing; a signal is
            // discarded.
            let harmless = ["pidfd_open", "kill"].contains(&what.as_str());
            let denied = ["EPERM", "EACCES", "ENOENT"].contains(&answer.as_str());
            assert!(harmless || denied, "{what} {answer}");
        }
        for signal in ["KILL", "STOP", "SEGV", "TERM", "CHLD", "ALRM"] {
            ran(&sandbox, shell(&format!("kill -{signal} 1; true")));
        }
        ran(&sandbox, shell("true"));
    });
}

#[test]
fn b04_tracer_gains_nothing_from_the_init() {
    need!(root);
    let stage = Stage::new();
    let sandbox = stage.open(TRACER);
    let status = said(&sandbox, shell("cat /proc/1/status"));
    let value = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // SETUID, SETGID and the like are Docker's default too; no process here has
    // the others.
    let docker = 0xa804_25fb | 1 << 19;
    assert_eq!(value("CapPrm:") & !docker, 0, "{status}");
    assert_eq!(value("CapEff:") & !docker, 0, "{status}");
    // The default needs them, and no process inside may look.
    ran(&sandbox, command(["/bin/id"]).user("1000:1000"));
    let terminal = tare::Size {
        rows: 1,
        columns: 9,
    };
    ran(&sandbox, command(["/bin/true"]).tty(terminal));
}

#[test]
fn b04_tracer_without_no_new_privs_is_refused() {
    need!(root);
    let stage = Stage::new();
    let why = stage.refused(r#"{"security": {"cap_add": ["SYS_PTRACE"], "no_new_privs": false}}"#);
    assert!(
        why.contains("SYS_PTRACE") && why.contains("; try:"),
        "{why}"
    );
}

#[test]
fn b04_stopped_commands_do_not_stop_the_init() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        let stopping = sandbox.spawn(probing("stop")).unwrap();
        let began = Instant::now();
        for _ in 0..30 {
            let limited = command(["/bin/true"]).timeout(Duration::from_millis(300));
            // The command ends by itself, in time, or fails to start.
            let _ = sandbox.run(limited);
        }
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        drop(stopping.take_stdout());
        stopping.kill().unwrap();
        assert!(stopping.wait_timeout(LONG).unwrap().is_some());
        ran(&sandbox, shell("true"));
    });
}

#[test]
fn b05_host_memory_and_environment_are_not_inside() {
    again(&["env"], ("TARE_CANARY", "canary-5f1e"), || {
        // In the heap, too.
        let canary = std::env::var("TARE_CANARY").unwrap();
        let stage = Stage::new();
        for spec in ["{}", TRACER] {
            let sandbox = stage.open(spec);
            let files = "/proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/auxv";
            let line = shell(&format!("cat {files} 2>/dev/null; true"));
            let seen = String::from_utf8_lossy(&ran(&sandbox, line).stdout).into_owned();
            assert!(!seen.contains(&canary[7..]), "{spec}");
            let kept = said(&sandbox, command(["/bin/busybox", "env"]));
            assert!(!kept.contains("TARE_CANARY"), "{kept}");
        }
        // Not in the helper either, which began without capabilities.
        let sandbox = stage.open("{}");
        let pid = pid_of(&sandbox.pidfd().unwrap());
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert_eq!(environ, b"");
    });
}

#[test]
fn b05_crash_leaves_no_core() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open(r#"{"workdir": "/tmp"}"#);
        let crash = sandbox.run(probing("crash")).unwrap();
        assert_eq!(crash.status.signal, Some(11));
        let limit = said(&sandbox, shell("ulimit -c; ls /tmp"));
        assert_eq!(limit, "0\n");
    });
}

/// The errno of a program that does not start.
#[track_caller]
fn errno(sandbox: &Sandbox, command: Command) -> i32 {
    let error = sandbox.run(command).expect_err("it started");
    assert_eq!(error.step(), "execute", "{error}");
    error.errno().expect("an errno")
}

#[test]
fn b10_what_cannot_be_executed_says_why() {
    everybody(|| {
        let stage = Stage::new();
        stage.program("bin/s0", "#!/bin/busybox true\n");
        for n in 1..=6 {
            stage.program(&format!("bin/s{n}"), format!("#!/bin/s{}\n", n - 1));
        }
        stage.program("bin/orphan", "#!/bin/none\n");
        stage.program("bin/noise", [0u8; 64]);
        stage.program("bin/empty", "");
        stage.file("bin/plain", "#!/bin/sh\n");
        stage.link("loop", "bin/loop");
        let sandbox = stage.open("{}");
        ran(
            &sandbox,
            shell("busybox mkfifo /tmp/fifo; busybox chmod 777 /tmp/fifo"),
        );
        for (program, expected) in [
            ("/bin/s6", libc::ELOOP),
            ("/bin/orphan", libc::ENOENT),
            ("/bin/noise", libc::ENOEXEC),
            ("/bin/empty", libc::ENOEXEC),
            ("/bin/plain", libc::EACCES),
            ("/bin/loop", libc::ELOOP),
            ("/bin", libc::EACCES),
            ("/tmp/fifo", libc::EACCES),
            ("/dev/null", libc::EACCES),
            ("/proc/self/mem", libc::EACCES),
            ("/none", libc::ENOENT),
            ("none", libc::ENOENT),
            ("/bin/true/x", libc::ENOTDIR),
        ] {
            assert_eq!(errno(&sandbox, command([program])), expected, "{program}");
        }
        ran(&sandbox, command(["/bin/s3"]));
    });
}

#[test]
fn b10_sizes_at_the_edge_are_answered() {
    everybody(|| {
        let stage = Stage::new();
        let sandbox = stage.open("{}");
        let many = vec!["x".repeat(1000); 2100];
        let run = |args: &[String]| sandbox.run(command(["/bin/true"]).args(args));
        // A stack of 8 MiB takes 2 MiB of arguments, each at most 128 KiB.
        let errno = |result: tare::Result<tare::Output>| result.expect_err("too big").errno();
        assert_eq!(errno(run(&["x".repeat(131_072)])), Some(libc::E2BIG));
        assert_eq!(errno(run(&many)), Some(libc::E2BIG));
        assert!(run(&many[..1000]).is_ok());
        let long = "/none:".repeat(100_000);
        let began = Instant::now();
        let lost = sandbox.run(command(["none"]).env("PATH", &long));
        assert!(lost.is_err() && began.elapsed() < LONG);
        let name = "x".repeat(5000);
        assert!(sandbox.run(command([&name])).is_err());
        assert!(sandbox.run(command([format!("/{name}")])).is_err());
        assert!(sandbox.run(shell("true").cwd(format!("/{name}"))).is_err());
        assert!(sandbox.run(shell("true").cwd("/x".repeat(3000))).is_err());
        ran(&sandbox, shell("true"));
    });
}
