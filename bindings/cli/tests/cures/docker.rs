// SPDX-License-Identifier: MIT OR Apache-2.0
//! Flags of docker-run(1) that `tare run` lacks: the named replacement of each
//! works.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tare_oracle::{image, need};

use super::common::{Tare, shell};
use super::{cure, pasted, rows};

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
    let table = rows(include_str!("docker.txt")).filter_map(|row| row.split_once('\n'));
    let followed_by: BTreeMap<&str, &str> = table.collect();
    let mut followed = BTreeSet::new();
    for flag in refused_flags() {
        let cure = cure(&tare, home.path(), &format!("tare run {flag} host true"));
        if ELSEWHERE.contains(&&*cure) || !followed.insert(cure.clone()) {
            continue;
        }
        let steps = followed_by.get(&*cure);
        let steps = steps.unwrap_or_else(|| panic!("{flag}: {cure}"));
        let line = pasted(&cure, steps).concat();
        let said = shell(&tare, home.path(), &format!("{setup}; {line}"));
        assert_eq!(said.status, 0, "{flag}; try: {cure}: {line}: {said:?}");
    }
    assert_eq!(followed.len(), followed_by.len(), "{followed:?}");
}
