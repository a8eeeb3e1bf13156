// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of docker-run(1) that `tare run` lacks: the named replacement of each
//! works.

use std::fs;

use tare_oracle::{image, need};

use super::common::Tare;
use super::{cure, shell};

/// A cure, replacements in it, and a line with `%` for the cure.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// Cures of docker-run(1)'s flags, and the lines that a user pastes.
const FLAGS: &[Row] = &[
    (
        "Ctrl-Z, then bg",
        &[("Ctrl-Z, then ", "")],
        "set -m; tare run -v $HOME:/h:rw host touch /h/bg & kill -TSTP -- -$!; \
         until jobs -s | grep -q .; do sleep 0.05; done; %; wait; test -e $HOME/bg",
    ),
    (
        "--label NAME=TEXT",
        &[("NAME=TEXT", "a=b")],
        "tare run % host true",
    ),
    (
        "-i, for the input too",
        &[(", for the input too", "")],
        "echo x | tare run % host cat",
    ),
    (
        "--blkio-weight",
        &[],
        "tare run % 100 --best-effort limits.io host true",
    ),
    (
        "--cpus, --cpu-shares",
        &[(",", " 1")],
        "tare run % 512 host true",
    ),
    (
        "tare run ... &, or tare rpc",
        &[(" &, or tare rpc", " & wait $!")],
        "%",
    ),
    (
        "NAME@sha256:DIGEST",
        &[("NAME", "box"), ("sha256:DIGEST", "$DIGEST")],
        "tare run % true",
    ),
    (
        "-v FILE:/etc/resolv.conf:ro",
        &[("FILE", "/etc/hostname")],
        "tare run % host cat /etc/resolv.conf",
    ),
    (
        "--hostname NAME.DOMAIN",
        &[("NAME.DOMAIN", "a.example")],
        "tare run % host hostname",
    ),
    (
        "--network host, or --network /run/netns/NAME",
        &[(", or", " host true && tare run"), ("NAME", "mine")],
        "unshare -mn bash -c 'mount -t tmpfs none /run; mkdir /run/netns; : >/run/netns/mine; \
         mount --bind /proc/self/ns/net /run/netns/mine; tare run % host true'",
    ),
    (
        "no --isolation",
        &[("no --isolation", "")],
        "tare run % host true",
    ),
    ("no --pid", &[("no --pid", "")], "tare run % host true"),
    (
        "no --runtime",
        &[("no --runtime", "")],
        "tare run % host true",
    ),
    (
        "no --use-api-socket",
        &[("no --use-api-socket", "")],
        "tare run % host true",
    ),
    ("--memory", &[], "tare run % 64m host true"),
    (
        "--memory with a higher SIZE",
        &[(" with a higher SIZE", " 128m")],
        "tare run % host true",
    ),
    (
        "--memory-swap",
        &[],
        "tare run --memory 64m % 128m --best-effort limits.swap host true",
    ),
    ("tare run ... >FILE 2>&1", &[("FILE", "$HOME/log")], "%"),
    ("choom -n 500 -- tare run ...", &[], "%"),
    ("setsid tare run ...", &[("setsid", "setsid -w")], "%"),
    (
        "tare image import --platform OS/ARCHITECTURE",
        &[("OS/ARCHITECTURE", "linux/$ARCHITECTURE")],
        "% oci:$BUSYBOX",
    ),
    (
        "skopeo copy docker://NAME oci:DIR; tare image import oci:DIR NAME",
        &[
            ("docker://NAME", "docker-archive:$BUSYBOX.docker.tar"),
            ("DIR", "$HOME/dir"),
            ("NAME", "new"),
            ("skopeo", "skopeo --insecure-policy"),
        ],
        "%; tare run new true",
    ),
    (
        "until tare run ...; do sleep 1; done",
        &[
            (
                "...",
                "-v $HOME:/h:rw host sh -c \"test -e /h/x || { touch /h/x; false; }\"",
            ),
            ("sleep 1", ":"),
        ],
        "%",
    ),
    (
        "timeout -s INT -k 10s 1h COMMAND, inside",
        &[("COMMAND, inside", "true")],
        "tare run host %",
    ),
    (
        "-v DIR:TARGET",
        &[("DIR:TARGET", "/usr:/x")],
        "tare run % host true",
    ),
    (
        "-v DIR:TARGET, in both",
        &[("DIR:TARGET, in both", "/usr:/x")],
        "tare run % host true; tare run % host true",
    ),
];

/// Cures that this machine need not be able to follow; `tests/cures.txt` has
/// the reasons.
const ELSEWHERE: [&str; 5] = [
    "systemd-run --scope --slice=NAME tare run ...",
    "--cap-add SYS_NICE --ulimit rtprio=99",
    "numactl --membind=0 tare run ...",
    "--device /dev/dri/renderD128",
    "a second command in the sandbox, by tare rpc or a library",
];

/// Returns the flags that the page calls absent, each with a value that has an
/// effect.
fn refused_flags() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/docker.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split_once("` | no: "));
    let flag = |(name, rest): (&str, &str)| match rest {
        _ if rest.contains("(`true` is accepted)") => format!("--{name}=false"),
        _ if rest.contains("(`false` is accepted)") => format!("--{name}"),
        _ => format!("--{name}=1"),
    };
    rows.map(flag).collect()
}

#[test]
fn line_of_docker_with_what_its_error_offers_runs() {
    need!(
        root,
        overlay,
        image("busybox"),
        program("skopeo"),
        program("choom")
    );
    let tare = Tare::new();
    let home = tare.tempdir();
    let busybox = image("busybox");
    let import = format!("tare image import oci:{}:latest box", busybox.display());
    assert_eq!(shell(&tare, home.path(), &import).status, 0);
    let setup = format!(
        "set -e -o pipefail; BUSYBOX={}; ARCHITECTURE=$(dpkg --print-architecture); \
         DIGEST=$(tare image list --json | grep -o 'sha256:[0-9a-f]*' | head -n 1)",
        busybox.display()
    );
    let mut followed = std::collections::BTreeSet::new();
    for flag in refused_flags() {
        let cure = cure(&tare, home.path(), &format!("tare run {flag} host true"));
        if ELSEWHERE.contains(&&*cure) || !followed.insert(cure.clone()) {
            continue;
        }
        let row = FLAGS.iter().find(|row| row.0 == cure);
        let (_, replaced, line) = row.unwrap_or_else(|| panic!("{flag}: {cure}"));
        let pasted = replaced
            .iter()
            .fold(cure.clone(), |all, (from, to)| all.replace(from, to));
        let line = line.replace('%', &pasted).replace("...", "host true");
        let said = shell(&tare, home.path(), &format!("{setup}; {line}"));
        assert_eq!(said.status, 0, "{flag}; try: {cure}: {line}: {said:?}");
    }
    assert_eq!(followed.len(), FLAGS.len(), "{followed:?}");
}
