// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run` with the caller's streams, terminal and signals.

mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::terminal::{LONG, Terminal};
use common::{Ready, Said, TARE, Tare, everybody, send};
use nix::sys::termios::LocalFlags;
use tare_oracle::need;

/// Prints the modes, size, exclusive use (TIOCGEXCL) and flags of a terminal.
const STATE: &str = r#"stty -a; perl -MFcntl -e 'my $x = pack("i", 0); ioctl(STDIN, 0x80045440, $x) or die; print "exclusive ", unpack("i", $x), " flags ", fcntl(STDIN, F_GETFL, 0), "\n"'"#;
/// Changes size (TIOCSWINSZ), exclusive use (TIOCEXCL) and flags by each way to
/// a terminal.
const CHANGE: &str = r#"use Fcntl; open(my $tty, "+<", "/dev/tty"); my $size = pack("S4", 5, 7, 0, 0);
for my $file (*STDIN, *STDOUT, *STDERR, $tty) {
    ioctl($file, 0x5414, $size); ioctl($file, 0x540C, 0);
    fcntl($file, F_SETFL, O_NONBLOCK | (fcntl($file, F_GETFL, 0) || 0));
}
print "d-one\n""#;

/// Starts a shell with job control on a private terminal; `$T` is `tare run`.
fn job_shell(tare: &Tare) -> Terminal {
    let bash = [
        "--ctty",
        "bash",
        "--norc",
        "--noprofile",
        "--noediting",
        "-i",
    ];
    let mut command = tare.program("/usr/bin/setsid", &bash);
    command.env("T", format!("{TARE} run")).env("PS1", "$ ");
    let mut shell = Terminal::start(&mut command);
    shell.expect("$ ");
    shell
}

#[test]
fn terminal_of_the_caller_does_not_go_in() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut shell = job_shell(&tare);
        let before = shell.modes();
        assert!(before.local_flags.contains(LocalFlags::ECHO));
        // Checks all three streams, by the modes and by the device.
        shell.send("$T host -- sh -c 'for n in 0 1 2; do test -t $n && echo is-$n; readlink /proc/self/fd/$n; stty -echo rows 5 <&$n; done; (: </dev/tty) && echo is-0; echo e-nd' 2>&1; echo s-tatus-$?\n");
        let shown = shell.expect("s-tatus-0\r\n");
        let lines: Vec<&str> = shown
            .lines()
            .filter(|l| !l.contains("echo s-tatus"))
            .collect();
        assert!(
            !shown.contains("is-0\r") && !shown.contains("is-1\r") && !shown.contains("is-2\r"),
            "{lines:?}"
        );
        assert!(!lines.iter().any(|l| l.contains("pts")), "{lines:?}");
        assert_eq!(before, shell.modes());
    }
}

#[test]
fn terminal_of_the_caller_keeps_what_no_mode_tells() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let path = dir.path().display();
        std::fs::write(dir.path().join("state"), STATE).unwrap();
        std::fs::write(dir.path().join("change"), CHANGE).unwrap();
        for input in ["", "-i"] {
            let mut shell = job_shell(&tare);
            shell.send(&format!("before=$(sh {path}/state)\n"));
            shell.send(&format!(
                "$T {input} -v {path}:/m host -- perl /m/change; echo s-tatus-$?\n"
            ));
            shell.expect("d-one\r\n");
            shell.expect("s-tatus-0\r\n");
            shell.send(&format!(
                "test ${{#before}} -gt 99 -a \"$before\" = \"$(sh {path}/state)\"; echo s-ame-$?\n"
            ));
            shell.expect("s-ame-0\r\n");
        }
    }
}

#[test]
fn terminal_is_read_with_i_alone() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut shell = job_shell(&tare);
        shell.send("$T host -- sh -c 'cat; cat <&1; echo r-ead' 2>/dev/null; echo s-tatus-$?\n");
        shell.expect("s-tatus-0\r\n");
        shell.send("$T -i host -- sh -c 'echo r-eady; read x; echo got-$x'; echo s-tatus-$?\n");
        shell.expect("r-eady\r\n");
        shell.send("typed\n");
        shell.expect("got-typed\r\n");
        shell.expect("s-tatus-0\r\n");
        // The end of input, behind a part of a line as well.
        shell.send("$T -i host -- sh -c 'echo r-eady; wc -c'; echo s-tatus-$?\n");
        shell.expect("r-eady\r\n");
        shell.send("part\x04\x04");
        shell.expect("4\r\n");
        shell.expect("s-tatus-0\r\n");
    }
}

#[test]
fn job_in_the_background_stops_when_it_reads() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut shell = job_shell(&tare);
        shell.send("$T -i host -- cat &\n");
        shell.expect("$ ");
        shell.send("until jobs -s | grep -q Stopped; do sleep 0.1; done; echo h-alted\n");
        shell.expect("h-alted\r\n");
        shell.send("fg\n");
        shell.send("typed\n");
        shell.expect("typed\r\n");
        shell.expect("typed\r\n");
        shell.send("\x04");
        shell.expect("$ ");
        // Without -i the keyboard is not read.
        shell.send("$T host -- cat & wait $!; echo s-tatus-$?\n");
        shell.expect("s-tatus-0\r\n");
    }
}

#[test]
fn job_that_is_stopped_stops_the_command() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let file = dir.path().join("count");
        let path = dir.path().display();
        let mut shell = job_shell(&tare);
        shell.send(&format!(
            "$T -v {path}:/m host -- sh -c 'while :; do echo x >>/m/count; sleep 0.01; done'\n"
        ));
        let count = || std::fs::metadata(&file).map_or(0, |m| m.len());
        let grows_from = |from: u64| {
            let began = Instant::now();
            while count() <= from {
                assert!(began.elapsed() < LONG, "it does not go on");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        grows_from(3);
        shell.send("\x1a");
        shell.expect("Stopped");
        shell.expect("$ ");
        // A running command would write a hundred lines.
        let began = Instant::now();
        loop {
            let before = count();
            std::thread::sleep(Duration::from_secs(1));
            if count() == before {
                break;
            }
            assert!(began.elapsed() < LONG, "it goes on");
        }
        let stopped = count();
        shell.send("fg\n");
        grows_from(stopped);
        shell.send("\x03");
        shell.expect("$ ");
        shell.send("echo s-tatus-$?\n");
        shell.expect("s-tatus-130\r\n");
    }
}

#[test]
fn interrupt_key_reaches_the_whole_group() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut shell = job_shell(&tare);
        let dir = tare.tempdir();
        let child = "trap 'echo c-hild; exit' INT; echo r-eady; while :; do sleep 0.05; done\n";
        std::fs::write(dir.path().join("child"), child).unwrap();
        // A shell runs its trap after the command that it waits for.
        let parent = "trap 'echo p-arent; exit 3' INT; sh /m/child\n";
        std::fs::write(dir.path().join("parent"), parent).unwrap();
        let path = dir.path().display();
        shell.send(&format!(
            "$T -v {path}:/m host sh /m/parent; echo s-tatus-$?\n"
        ));
        shell.expect("r-eady\r\n");
        shell.send("\x03");
        shell.expect("c-hild\r\n");
        shell.expect("p-arent\r\n");
        shell.send("echo s-tatus-$?\n");
        shell.expect("s-tatus-3\r\n");
    }
}

/// SIGRTMIN+1 of glibc, signal(7).
const REAL_TIME: &str = "35";

/// Shells without job control start commands behind `&` with INT and QUIT
/// ignored, and nohup(1) ignores HUP.
#[test]
fn signals_that_the_caller_ignores_stay_ignored() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let inside = "echo ready; read x </m/fifo; grep SigIgn /proc/self/status";
        let path = dir.path().display();
        let line = format!("{TARE} run -v {path}:/m host -- sh -c '{inside}'");
        let own = &["HUP", "INT", "TERM", "USR1"][..];
        for (script, signals, mask) in [
            (
                "trap '' HUP INT TERM USR1; echo $$ >&2; exec TARE",
                own,
                0x4203_u64,
            ),
            ("TARE & echo $! >&2; wait $!", &["INT", "QUIT"], 0x6),
            (
                "nohup TARE & echo $! >&2; wait $!",
                &["HUP", "INT", "QUIT"],
                0x7,
            ),
            (
                "trap '' 35; TARE & echo $! >&2; wait $!",
                &[REAL_TIME],
                0x4_0000_0006,
            ),
        ] {
            let mut command = tare.shell(&script.replace("TARE", &line));
            let mut ready = Ready::start(&mut command).unwrap();
            let mut pid = String::new();
            let mut errors = BufReader::new(ready.child.stderr.take().unwrap());
            errors.read_line(&mut pid).unwrap();
            signals.iter().for_each(|name| send(pid.trim(), name));
            std::fs::write(&fifo, "go\n").unwrap();
            let ended = (format!("SigIgn:\t{mask:016x}\n"), Some(0));
            assert_eq!(ready.end(), ended, "{script}");
        }
    }
}

#[test]
fn signals_are_all_passed_on() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let names = ["ALRM", "VTALRM", "IO", "WINCH", "CONT", "ABRT", REAL_TIME];
        // For ordinary users a uid of 1000 inside is a subordinate one outside.
        let cases = names.map(|name| ("0", name)).into_iter();
        for (user, name) in cases.chain([("0", "TERM"), ("1000", "TERM")]) {
            let script = format!(
                "trap 'echo caught; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
            );
            let args = ["run", "-u", user, "host", "sh", "-c", &script];
            match Ready::start(&mut tare.command(&args)) {
                Ok(ready) => {
                    ready.signal(name);
                    assert_eq!(ready.end(), ("caught\n".into(), Some(7)), "{user} {name}");
                }
                // A single id allows no user but 0.
                Err(said) => said.fails(125, &["1000", "subuid"]),
            }
        }
    }
}

#[test]
fn streams_open_by_name_for_any_user() {
    need!(root, overlay, userns);
    let script = "cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr";
    for tare in everybody() {
        let group = if tare.ids().len() > 1 { "7:8" } else { "0:0" };
        for user in tare.ids().iter().chain([&group]) {
            let args = ["run", "-i", "-u", user, "host", "--", "sh", "-c", script];
            let said = tare.run_with(&args, b"in\n");
            assert_eq!(
                (said.ok(), said.stderr.as_str()),
                ("in\nout", "err\n"),
                "{user}"
            );
        }
    }
}

/// Properties of a descriptor that other holders see: mode, owner, group,
/// flags.
fn descriptor(fd: &OwnedFd) -> (u32, u32, u32, i32) {
    let stat = nix::sys::stat::fstat(fd).unwrap();
    let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    (stat.st_mode, stat.st_uid, stat.st_gid, flags)
}

#[test]
fn streams_of_the_caller_stay_as_they_are() {
    need!(root, overlay, userns);
    let script = r#"chmod 640 /dev/stdout; chown 7 /dev/stdout; chmod 640 /proc/self/fd/1
        perl -MFcntl -e 'fcntl(STDOUT, F_SETFL, O_NONBLOCK | O_APPEND)'
        echo a; echo b >/dev/stdout"#;
    for tare in everybody() {
        let dir = tare.tempdir();
        let owner = std::fs::metadata(tare.store.path()).unwrap();
        let path = dir.path().join("file");
        // The caller's own id gets the descriptors themselves.
        for user in &tare.ids()[1..] {
            let file = OwnedFd::from(File::create(&path).unwrap());
            let (read, pipe) = nix::unistd::pipe().unwrap();
            for fd in [&file, &pipe] {
                std::os::unix::fs::fchown(fd, Some(owner.uid()), Some(owner.gid())).unwrap();
                let before = descriptor(fd);
                let args = ["run", "-u", user, "host", "--", "sh", "-c", script];
                let mut command = tare.command(&args);
                let said = Said::of(command.stdout(fd.try_clone().unwrap()).output().unwrap());
                assert_eq!(said.status, 0, "{said:?}");
                assert_eq!(descriptor(fd), before, "{user}: {said:?}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
            let mut piped = [0; 5];
            assert_eq!(File::from(read).read(&mut piped).unwrap(), 4);
            assert_eq!(&piped[..4], b"a\nb\n");
        }
    }
}

#[test]
fn output_is_whole_for_a_slow_and_non_blocking_reader() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let script = "head -c 1000000 /dev/zero | tr '\\0' x; sleep 60 & yes >&2 & exit 5";
        let flags = [&["-t"][..], &["-u", "1000"]];
        for flags in flags.into_iter().take(tare.ids().len()) {
            let (read, write) = nix::unistd::pipe().unwrap();
            let nonblocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
            nix::fcntl::fcntl(&write, nonblocking).unwrap();
            let script = if flags == ["-t"] {
                script.replace("yes >&2 & ", "")
            } else {
                script.to_owned()
            };
            let args = [&["run"][..], flags, &["host", "--", "sh", "-c", &script]].concat();
            let mut child = tare
                .command(&args)
                .stdout(write)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let (mut file, mut total) = (File::from(read), 0);
            let mut chunk = [0; 9000];
            loop {
                match file.read(&mut chunk).unwrap() {
                    0 => break,
                    n => total += n,
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(total, 1_000_000, "{flags:?}");
            assert_eq!(child.wait().unwrap().code(), Some(5), "{flags:?}");
        }
    }
}

#[test]
fn output_whose_reader_is_gone_ends_the_command() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for user in tare.ids() {
            let args = ["run", "-u", user, "host", "yes"];
            let mut child = tare.command(&args).spawn().unwrap();
            let mut out = child.stdout.take().unwrap();
            out.read_exact(&mut [0; 2]).unwrap();
            drop(out);
            let said = Said::of(child.wait_with_output().unwrap());
            assert_eq!((said.status, said.stderr.as_str()), (141, ""), "{user}");
        }
    }
}
