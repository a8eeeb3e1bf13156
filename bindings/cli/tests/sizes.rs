// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare` below RLIMIT_FSIZE: reports the limit, and no signal ends it.

mod common;

use common::{Said, TARE, Tare, everybody};
use tare_oracle::need;

/// Runs `tare` with a limit, in blocks of 512 bytes.
fn below(tare: &Tare, blocks: u32, words: &str) -> Said {
    let script = format!("ulimit -f {blocks}; exec {TARE} {words}");
    Said::of(tare.shell(&script).output().unwrap())
}

#[track_caller]
fn assert_refused(said: &Said) {
    assert_eq!(said.status, 125, "{said:?}");
    assert!(said.stderr.contains("EFBIG"), "{said:?}");
    assert!(
        said.stderr
            .contains("try: a higher limit of file sizes: ulimit -f"),
        "{said:?}"
    );
}

#[test]
fn sizes_that_may_not_grow_are_told() {
    need!(
        root,
        user("plain"),
        user("subids"),
        userns,
        overlay,
        program("bash")
    );
    for tare in everybody() {
        let dir = tare.tempdir();
        assert_refused(&below(&tare, 0, "image ls"));
        assert_eq!(tare.run(&["image", "ls"]).status, 0);
        // Both archives are written out before they are read.
        for archive in ["<(cat /dev/zero)", "zeros.gz"] {
            let script = format!(
                "cd {}; head -c 9999999 /dev/zero | gzip >zeros.gz; ulimit -f 400; {TARE} image load {archive}",
                dir.path().display()
            );
            assert_refused(&Said::of(
                tare.program("bash", &["-c", &script]).output().unwrap(),
            ));
        }
        for blocks in [0, 2] {
            assert_refused(&below(&tare, blocks, "run host -- true"));
        }
        // A file of the caller keeps its limit, for every process that writes.
        let file = dir.path().join("out");
        let words = format!("run host -- head -c 1000000 /dev/zero >{}", file.display());
        let said = below(&tare, 400, &words);
        assert!(said.status > 0, "{said:?}");
        assert!(file.metadata().unwrap().len() <= 400 * 512, "{said:?}");
        let words = format!(
            "run -t host -- head -c 1000000 /dev/zero >{}",
            file.display()
        );
        let said = below(&tare, 400, &words);
        assert!(said.status > 0, "{said:?}");
    }
}
