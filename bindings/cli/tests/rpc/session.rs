// SPDX-License-Identifier: MIT OR Apache-2.0
//! Order, streams and ends of commands over the protocol.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tare_oracle::need;

use super::common::rpc::{Rpc, base64, bytes, none};
use super::common::{Said, TARE, Tare, everybody};

#[test]
fn rpc_requests_for_one_sandbox_are_begun_in_their_order() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    // Sent without waiting in between.
    let ids = [
        rpc.send("open", json!({"sandbox": "a"})),
        rpc.send_script("a", "echo kept >/new; cat", json!({"stdin": "pipe"})),
        rpc.send("stdin", json!({"command": 2, "data": "early", "eof": true})),
    ];
    assert_eq!(rpc.answer(ids[1]).out(), "early");
    let more = [
        rpc.send_script("a", "cat /new", none()),
        rpc.send("reset", json!({"sandbox": "a"})),
        rpc.send("run", json!({"sandbox": "a", "argv": ["ls", "/new"]})),
        rpc.send("run", json!({"sandbox": "a", "argv": ["sleep", "60"]})),
        rpc.send("close", json!({"sandbox": "a"})),
        rpc.send("run", json!({"sandbox": "a", "argv": ["true"]})),
    ];
    for id in [ids[0], ids[2], more[1], more[4]] {
        assert_eq!(*rpc.answer(id).ok(), none());
    }
    // `cat` was begun before the reset, and may be at its end or not.
    let before = rpc.answer(more[0]);
    assert!(["kept\n", ""].contains(&&*before.out()), "{before:?}");
    assert!(["exited", "killed"].contains(&before.ok()["reason"].as_str().unwrap()));
    let after = rpc.answer(more[2]);
    assert_ne!(after.ok()["exit_code"], 0);
    assert_eq!(rpc.answer(more[3]).ok()["reason"], "killed");
    assert_eq!(
        rpc.answer(more[5]).error(),
        ("not_found", "find sandbox", None)
    );
    // The name is free again.
    rpc.open("a");
}

#[test]
fn rpc_character_that_comes_in_two_pieces_stays_whole() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let script = "printf '\\303'; read x; printf '\\274'; printf '\\342\\202'";
    let id = rpc.send_script("a", script, json!({"stdin": "pipe"}));
    rpc.until(id, |reply| reply.events == ["started"]);
    rpc.call("stdin", json!({"command": id, "data": "\n"})).ok();
    let line = rpc.next();
    assert_eq!(line["data"], "\u{fc}", "{line}");
    let line = rpc.next();
    assert_eq!(bytes(&line["data"]), b"\xe2\x82", "{line}");
}

#[test]
fn rpc_many_sandboxes_and_commands_do_not_mix() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        let mut asked = Vec::new();
        for n in 0..6 {
            let name = format!("box {n}");
            rpc.send(
                "open",
                json!({"sandbox": name, "spec": {"hostname": format!("h{n}")}}),
            );
            for m in 0..6 {
                let script = format!(
                    "hostname; for i in 1 2 3; do echo {n}-{m}; sleep 0.01; done; exit {m}"
                );
                asked.push((n, m, rpc.send_script(&name, &script, none())));
            }
        }
        for (n, m, id) in asked {
            let reply = rpc.answer(id);
            assert_eq!(
                reply.out(),
                format!("h{n}\n{}", format!("{n}-{m}\n").repeat(3))
            );
            assert_eq!(reply.ok()["exit_code"], m);
        }
        let (_, status) = rpc.finish();
        assert_eq!(status, 0);
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn rpc_unpacking_an_image_delays_no_other_sandbox() {
    need!(root, overlay, image("debian"));
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    let image = tare_oracle::images::image("debian");
    let image = format!("oci:{}", image.display());
    let slow = rpc.send("open", json!({"sandbox": "slow", "spec": {"image": image}}));
    rpc.send("open", json!({"sandbox": "fast"}));
    let run = rpc.send_script("fast", "echo fast", none());
    loop {
        let line = rpc.next();
        assert_ne!(line["id"], slow, "the image was there first: {line}");
        if line["id"] == run && line.get("result").is_some() {
            break;
        }
    }
    rpc.answer(slow).ok();
}

#[test]
fn rpc_input_and_output_of_any_size_and_kind_arrive() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let all: Vec<u8> = (0..3 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for size in [0, 1, 4096, 65_537, all.len()] {
        for encoding in ["auto", "base64"] {
            let part = &all[..size];
            let whole = json!({"sandbox": "a", "argv": ["cat"], "input": base64(part), "encoding": encoding});
            assert!(rpc.call("run", whole).stdout == part, "{size}");
            let params = json!({"sandbox": "a", "argv": ["cat"], "stdin": "pipe"});
            let id = rpc.send("run", params);
            let sent: Vec<u64> = part
                .chunks(100_000)
                .map(|chunk| rpc.send("stdin", json!({"command": id, "data": base64(chunk)})))
                .collect();
            rpc.send("stdin", json!({"command": id, "eof": true}));
            let reply = rpc.answer(id);
            assert!(reply.stdout == part, "{size}: {}", reply.stdout.len());
            for id in sent {
                rpc.answer(id).ok();
            }
        }
    }
}

#[test]
fn rpc_command_that_reads_no_input_can_be_killed() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let id = rpc.send(
        "run",
        json!({"sandbox": "a", "argv": ["sleep", "60"], "stdin": "pipe"}),
    );
    let fits = rpc.send("stdin", json!({"command": id, "data": "x".repeat(65_536)}));
    rpc.answer(fits).ok();
    let waits = rpc.send("stdin", json!({"command": id, "data": "x"}));
    rpc.call("kill", json!({"command": id})).ok();
    let reply = rpc.answer(id);
    assert_eq!(reply.ok()["reason"], "killed");
    assert_eq!(
        rpc.answer(waits).error(),
        ("broken", "send input", Some(32))
    );
    // A command that closes its input tells the writer.
    let id = rpc.send_script(
        "a",
        "exec <&-; echo closed; sleep 60",
        json!({"stdin": "pipe"}),
    );
    rpc.until(id, |reply| reply.stdout == b"closed\n");
    let refused = rpc.call("stdin", json!({"command": id, "data": "x"}));
    assert_eq!(refused.error(), ("broken", "send input", Some(32)));
}

#[test]
fn rpc_output_beyond_the_limit_or_the_end_is_not_awaited() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let limited = json!({"sandbox": "b", "spec": {"limits": {"output": "1k"}}});
    rpc.call("open", limited).ok();
    for (sandbox, more, kept) in [("b", none(), 1024), ("a", json!({"output_limit": 10}), 10)] {
        let over = rpc.script(sandbox, "yes | head -c 5000; sleep 60", more);
        assert_eq!(over.ok()["reason"], "output");
        assert_eq!(over.stdout.len(), kept);
    }
    let script = "head -c 1000 /dev/zero; head -c 24 /dev/zero >&2";
    assert_eq!(rpc.script("b", script, none()).ok()["reason"], "exited");
    // A process left in the background does not delay the answer.
    let endless = rpc.script("a", "(while :; do echo more; done) & echo done", none());
    assert_eq!(endless.ok()["reason"], "exited");
    assert!(endless.ok()["usage"]["wall_ns"].as_u64().unwrap() > 0);
}

#[test]
fn rpc_terminal_has_size_input_and_end() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        rpc.open("a");
        let more = json!({"stdin": "pipe", "tty": {"rows": 33, "columns": 101}});
        let script =
            "stty size; trap 'stty size; cat' WINCH; echo ready; while :; do sleep 0.01; done";
        let id = rpc.send_script("a", &format!("stty -echo; {script}"), more);
        rpc.until(id, |reply| reply.stdout.ends_with(b"33 101\r\nready\r\n"));
        rpc.call("resize", json!({"command": id, "rows": 10, "columns": 20}))
            .ok();
        rpc.until(id, |reply| reply.stdout.ends_with(b"10 20\r\n"));
        rpc.call(
            "stdin",
            json!({"command": id, "data": "typed\n", "eof": true}),
        )
        .ok();
        rpc.until(id, |reply| reply.stdout.ends_with(b"typed\r\n"));
        rpc.call("kill", json!({"command": id})).ok();
        assert_eq!(rpc.answer(id).ok()["reason"], "killed");
    }
}

#[test]
fn rpc_terminal_input_ends_behind_a_partial_line() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        rpc.open("a");
        for (modes, data, seen) in [
            ("-echo", "part", "part[end]got-next\r\n"),
            ("-echo", "line\n", "line\r\n[end]got-next\r\n"),
            ("-echo", "", "[end]got-next\r\n"),
            // In raw mode the program gets each key at once, not by lines.
            ("-echo raw", "x", "x\u{4}next\n"),
        ] {
            let script = match modes {
                "-echo" => "cat; printf '[end]'; read x; echo got-$x",
                _ => "head -c 7",
            };
            let script = format!("stty {modes}; echo ready >&2; {script}");
            let more = json!({"stdin": "pipe", "tty": {"rows": 1, "columns": 80}});
            let id = rpc.send_script("a", &script, more);
            rpc.until(id, |reply| reply.out().contains("ready"));
            let first = json!({"command": id, "data": data, "eof": true});
            rpc.call("stdin", first).ok();
            let next = json!({"command": id, "data": "next\n"});
            rpc.call("stdin", next).ok();
            let reply = rpc.answer(id);
            let out = reply.out().replacen("ready", "", 1);
            assert_eq!(out.trim_start(), seen, "{modes}, {data:?}");
        }
    }
}

#[test]
fn rpc_fast_command_waits_for_a_slow_client() {
    need!(root, overlay);
    let tare = Tare::new();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (sender, lines) = std::sync::mpsc::sync_channel(4);
    let (first, counted) = std::sync::mpsc::channel();
    let mut rpc = Rpc::start(&tare, move |stdout| {
        std::thread::spawn(move || {
            use std::io::BufRead as _;
            let mut total = 0;
            for line in std::io::BufReader::new(stdout).lines() {
                let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
                if line["event"] == "stdout" {
                    if total == 0 {
                        gone.recv().unwrap();
                    }
                    total += bytes(&line["data"]).len();
                } else if line.get("result").is_some() && total > 0 {
                    return first.send(total).unwrap();
                } else {
                    sender.send(line).unwrap();
                }
            }
        });
        lines
    });
    rpc.open("a");
    let pid = rpc.child.id();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = peak();
    let size = 8 << 20;
    let id = rpc.send_script("a", &format!("yes | head -c {size}"), none());
    // The writing command has filled its pipe, and so has tare.
    let blocked = || {
        let out = Command::new("ps")
            .args(["-eo", "comm,wchan:30,args"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).lines().any(|l| {
            l.contains(&format!("head -c {size}")) && l.starts_with("head") && l.contains("pipe_w")
        })
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !blocked() {
        assert!(
            std::time::Instant::now() < deadline,
            "head is never blocked"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = peak() - before;
    assert!(grown < 4096, "{grown} KiB more");
    go.send(()).unwrap();
    rpc.until(id, |reply| reply.events == ["started"]);
    assert_eq!(counted.recv_timeout(Duration::from_secs(60)).unwrap(), size);
}

#[test]
fn rpc_standard_streams_keep_their_flags() {
    need!(root, overlay);
    let tare = Tare::new();
    // Other descriptors of the same open file descriptions, as a shell has.
    let script = format!(
        "exec 3<&0 4>&1; {TARE} rpc <&3 >&4; \
         grep flags /proc/self/fdinfo/3 /proc/self/fdinfo/4 >&2"
    );
    let requests = r#"{"id":1,"method":"open","params":{"sandbox":"a"}}
{"id":2,"method":"run","params":{"sandbox":"a","argv":["true"]}}
"#;
    let flags = Said::with_input(&mut tare.shell(&script), requests.as_bytes()).stderr;
    let flags: Vec<u32> = flags
        .lines()
        .map(|l| u32::from_str_radix(l.split_whitespace().last().unwrap(), 8).unwrap())
        .collect();
    assert_eq!(flags.len(), 2);
    assert!(
        flags.iter().all(|f| f & 0o4000 == 0),
        "O_NONBLOCK: {flags:?}"
    );
}
