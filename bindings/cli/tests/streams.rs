// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run` with the caller's streams, terminal and signals.

mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Said, TARE, Tare, everybody};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use tare_oracle::need;

/// Longer than any wait here, even on a busy machine.
const LONG: Duration = Duration::from_secs(60);

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

/// A shell with job control on a private terminal.
struct Shell {
    child: Child,
    master: File,
    slave: OwnedFd,
    chunks: Receiver<Vec<u8>>,
    seen: String,
}

impl Shell {
    /// Starts the shell; `$T` is `tare run`.
    fn start(tare: &Tare) -> Self {
        let pty = openpty(None, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let bash = [
            "--ctty",
            "bash",
            "--norc",
            "--noprofile",
            "--noediting",
            "-i",
        ];
        let child = tare
            .program("/usr/bin/setsid", &bash)
            .env("T", format!("{TARE} run"))
            .env("PS1", "$ ")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let master = File::from(pty.master);
        let mut reader = master.try_clone().unwrap();
        let (sender, chunks) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut shell = Self {
            child,
            master,
            slave: pty.slave,
            chunks,
            seen: String::new(),
        };
        shell.expect("$ ");
        shell
    }

    /// Reads until `text` comes, and drops all up to it.
    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.seen.push_str(&String::from_utf8_lossy(&chunk)),
                Err(why) => panic!("no {text:?} in {:?}: {why}", self.seen),
            }
        }
    }

    fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn terminal_of_the_caller_does_not_go_in() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut shell = Shell::start(&tare);
        let before = tcgetattr(shell.slave.as_fd()).unwrap();
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
        let after = tcgetattr(shell.slave.as_fd()).unwrap();
        assert_eq!(before, after);
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
            let mut shell = Shell::start(&tare);
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
        let mut shell = Shell::start(&tare);
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
        let mut shell = Shell::start(&tare);
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
        let mut shell = Shell::start(&tare);
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
        let mut shell = Shell::start(&tare);
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

#[test]
fn signals_that_the_caller_ignores_stay_ignored() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let script = format!(
            "trap '' HUP INT TERM USR1; exec {TARE} run host -- sh -c 'echo ready; read x </tmp/fifo; echo survived; grep SigIgn /proc/self/status'"
        );
        let dir = tare.tempdir();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let script = script.replace(
            "run host",
            &format!("run -v {}:/m host", dir.path().display()),
        );
        let script = script.replace("/tmp/fifo", "/m/fifo");
        let mut command = tare.shell(&script);
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        out.read_exact(&mut ready).unwrap();
        for number in [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGUSR1,
        ] {
            signal(&child, number);
        }
        std::fs::write(&fifo, "go\n").unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "survived\nSigIgn:\t0000000000004203\n");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// Sends a signal by name, or a real-time signal by number.
#[track_caller]
fn send(pid: &str, signal: &str) {
    let mut kill = Command::new("kill");
    let status = kill.args([&format!("-{signal}"), pid]).status();
    assert!(status.unwrap().success(), "{signal}");
}

/// SIGRTMIN+1 of glibc, signal(7).
const REAL_TIME: &str = "35";

/// Shells without job control start commands behind `&` with INT and QUIT
/// ignored, and nohup(1) ignores HUP.
#[test]
fn signals_ignored_for_jobs_of_a_script_stay_ignored() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let path = dir.path().display();
        let inside = "echo ready; read x </m/fifo; grep SigIgn /proc/self/status";
        for (before, prefix, signals, mask) in [
            ("", "", &["INT", "QUIT"][..], 0x6_u64),
            ("", "nohup", &["HUP", "INT", "QUIT"], 0x7),
            ("trap '' 35;", "", &[REAL_TIME], 0x4_0000_0006),
        ] {
            let script = format!(
                "{before} {prefix} {TARE} run -v {path}:/m host -- sh -c '{inside}' & echo $! >&2; wait $!"
            );
            let mut child = tare.shell(&script).spawn().unwrap();
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            let mut pid = String::new();
            errors.read_line(&mut pid).unwrap();
            let mut out = child.stdout.take().unwrap();
            let mut ready = [0; 6];
            out.read_exact(&mut ready).unwrap();
            signals.iter().for_each(|name| send(pid.trim(), name));
            std::fs::write(&fifo, "go\n").unwrap();
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, format!("SigIgn:\t{mask:016x}\n"), "{script}");
            assert_eq!(child.wait().unwrap().code(), Some(0), "{script}");
        }
    }
}

#[test]
fn signals_are_all_passed_on() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for name in ["ALRM", "VTALRM", "IO", "WINCH", "CONT", "ABRT", REAL_TIME] {
            let script = format!(
                "trap 'echo caught; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
            );
            let mut child = tare
                .command(&["run", "host", "sh", "-c", &script])
                .spawn()
                .unwrap();
            let mut out = child.stdout.take().unwrap();
            let mut ready = [0; 6];
            out.read_exact(&mut ready).unwrap();
            send(&child.id().to_string(), name);
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            assert_eq!(
                (rest.as_str(), child.wait().unwrap().code()),
                ("caught\n", Some(7)),
                "{name}"
            );
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
