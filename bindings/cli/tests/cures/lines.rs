// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of the shell with `tare`, and the lines that their cures give.

use tare_oracle::need;

use super::common::{Tare, everybody};
use super::{Row, follow, one, runs, valued, words};

/// Lines for every user.
const ROWS: &[Row] = &[
    ("tare --frob", |cure| one(cure)),
    ("tare store --frob", |cure| one(cure)),
    ("tare run", |cure| {
        cure.split(", or ")
            .map(|line| line.replace("host", "host true"))
            .collect()
    }),
    ("tare image import host", |cure| one(format!("{cure} true"))),
    ("tare run --ulimit core host true", |cure| {
        runs([format!(
            "--ulimit {}",
            cure.replace("NAME", "core").replace("VALUE", "0")
        )])
    }),
    ("tare run --network bridge host true", |cure| {
        let words = cure.strip_suffix(", or the path of a namespace").unwrap();
        runs(
            words
                .split(", ")
                .map(|network| format!("--network {network}")),
        )
    }),
    ("tare run --timeout 0 host true", |cure| {
        assert_eq!(cure, "no --timeout, for no limit");
        runs([String::new()])
    }),
    ("tare run --rm=maybe host true", |cure| {
        runs(words(cure).iter().map(|word| format!("--rm={word}")))
    }),
    (
        "tare run --cpu-shares 1 --best-effort limits.cpu_weight host true",
        |cure| {
            let number = cure.split(',').next().unwrap();
            runs([format!(
                "--cpu-shares {number} --best-effort limits.cpu_weight"
            )])
        },
    ),
    ("tare run --require limits.memory host true", |cure| {
        runs([cure.replace("KEYS", "limits.memory")])
    }),
    ("tare run --umask 888 host true", |cure| {
        runs([format!("--umask {cure}")])
    }),
    ("tare run --storage-opt big host true", |cure| {
        runs([format!("--storage-opt {}", cure.replace("SIZE", "1m"))])
    }),
    ("tare run --uts mine host true", |cure| {
        runs(words(cure).iter().map(|word| format!("--uts {word}")))
    }),
    ("tare run --security-opt x host true", |cure| {
        let file = "<(echo '{\"defaultAction\": \"SCMP_ACT_ALLOW\"}')";
        let options = words(cure)
            .into_iter()
            .map(|word| word.replace("FILE", file));
        runs(options.map(|option| format!("--security-opt {option}")))
    }),
    ("tare run --memory-swap 64m host true", |cure| {
        let flag = cure.strip_suffix(", too").unwrap().replace("SIZE", "32m");
        runs([format!(
            "--memory-swap 64m {flag} --best-effort limits.memory,limits.swap"
        )])
    }),
    (
        "tare run --memory 64m --memory-swap 32m host true",
        |cure| {
            let rest = "--memory 64m --best-effort limits.memory,limits.swap --memory-swap";
            assert!(cure.starts_with("the sum of "));
            runs([
                format!("{rest} 96m"),
                format!("{rest} {}", cure.rsplit(' ').next().unwrap()),
            ])
        },
    ),
    ("tare run -v /usr host true", |cure| {
        let (short, long) = cure.split_once("; ").unwrap();
        let short = short.split('[').map(|part| part.trim_end_matches(']'));
        let short: Vec<&str> = short.collect();
        let long = long.strip_suffix(" for a path with a colon").unwrap();
        let all = [
            format!("-v {}", short[0]),
            format!("-v {}", short.concat()),
            long.into(),
        ];
        runs(all.map(|flags| {
            let flags = flags.replace("SOURCE", "/usr").replace("TARGET", "/x");
            flags.replace("OPTIONS", "ro")
        }))
    }),
    ("tare run -v /usr:/x:rx host true", |cure| {
        runs(words(cure).iter().map(|word| format!("-v /usr:/x:{word}")))
    }),
    ("tare run -v $'/usr:/x:\\xff' host true", |cure| {
        runs(words(cure).iter().map(|word| format!("-v /usr:/x:{word}")))
    }),
    ("tare run -v /usr:/x:shared host true", |cure| {
        runs([format!("-v /usr:/x:{cure}")])
    }),
    (
        "tare run --mount type=bind,source=/usr,target=/x,bind-propagation=shared host true",
        |cure| {
            runs([format!(
                "--mount type=bind,source=/usr,target=/x,bind-propagation={cure}"
            )])
        },
    ),
    ("tare run --tmpfs /x:rx host true", |cure| {
        runs(
            words(cure)
                .iter()
                .map(|word| format!("--tmpfs /x:{}", valued(word))),
        )
    }),
    ("tare run --tmpfs /x:mode=9 host true", |cure| {
        runs([format!("--tmpfs /x:{cure}")])
    }),
    (
        "tare run --mount type=bind,source=/usr,goal=/x host true",
        |cure| {
            let keys = words(cure)
                .join(",")
                .replace("type=", "type=bind")
                .replace("source=", "source=/usr");
            let keys = valued(&keys.replace("target=", "target=/x"));
            let (of_bind, of_tmpfs) = keys.split_once(",tmpfs-").unwrap();
            runs([
                format!("--mount {of_bind}"),
                format!("--mount type=tmpfs,target=/x,tmpfs-{of_tmpfs}"),
            ])
        },
    ),
    ("tare run --mount type=bind,source=/usr host true", |cure| {
        runs([format!(
            "--mount type=bind,source=/usr,{}",
            cure.replace("DIRECTORY", "x")
        )])
    }),
    ("tare run --mount type=bind,target=/x host true", |cure| {
        runs([format!(
            "--mount type=bind,target=/x,{}",
            cure.replace("PATH", "usr")
        )])
    }),
    (
        "tare run --mount type=tmpfs,source=/usr,target=/x host true",
        |cure| {
            assert_eq!(cure, "no source=");
            runs(["--mount type=tmpfs,target=/x".to_owned()])
        },
    ),
    (
        "tare run --mount type=volume,source=mine,target=/x host true",
        of_types,
    ),
    (
        "tare run --mount type=npipe,source=mine,target=/x host true",
        of_types,
    ),
    (
        "tare run --mount type=bind,source=/usr,target=/x,tmpfs-size=1m host true",
        |cure| runs([format!("--mount {cure},target=/x,tmpfs-size=1m")]),
    ),
    (
        "mkdir $HOME/a,b; tare run --mount type=bind,'\"source=/a,b',target=/c host true",
        |cure| {
            let pasted = cure.replace("=/a,b", "='$HOME'/a,b");
            runs([format!("--mount type=bind,{pasted}")])
        },
    ),
    (
        "echo '=x' >$HOME/env; tare run --env-file $HOME/env host true",
        |cure| {
            one(format!(
                "echo {cure} >$HOME/env; tare run --env-file $HOME/env host true"
            ))
        },
    ),
    (
        ": >$HOME/cid; tare run --cidfile $HOME/cid host true",
        |cure| {
            one(format!(
                "{cure}; tare run --cidfile $HOME/cid host true; rm $HOME/cid"
            ))
        },
    ),
    (
        "mkdir -p $HOME/here; cd $HOME/here; tare run --tmpfs $HOME host true",
        |cure| {
            one(format!(
                "cd $HOME/here; tare run {cure} --tmpfs $HOME host true"
            ))
        },
    ),
    ("tare run --json -it host true", |cure| {
        assert_eq!(cure, "--json without -i, or without -t");
        runs(["--json -t".to_owned(), "--json -i".to_owned()])
    }),
    ("tare run -it host true", |cure| {
        assert_eq!(cure, "-i without -t, or -t without -i");
        runs(["-i".to_owned(), "-t".to_owned()])
    }),
    ("echo '{}' | tare run -i --spec - -- cat", |cure| {
        let flag = cure.replace("FILE", "$HOME/spec");
        one(format!(
            "echo '{{}}' >$HOME/spec; echo in | tare run -i {flag} -- cat"
        ))
    }),
];

fn of_types(cure: &str) -> Vec<String> {
    let mounts = words(cure).into_iter().map(|kind| match &*kind {
        "type=tmpfs" => format!("--mount {kind},target=/x"),
        _ => format!("--mount {kind},source=/usr,target=/x"),
    });
    runs(mounts)
}

#[test]
fn line_with_what_its_error_offers_runs() {
    need!(root, overlay, userns);
    for tare in everybody() {
        ROWS.iter().for_each(|row| follow(&tare, *row));
    }
}

/// Lines for root.
const OF_ROOT: &[Row] = &[
    ("tare run --network bridge host true", |cure| {
        assert!(cure.ends_with("the path of a namespace"));
        runs(["--network /proc/self/ns/net".to_owned()])
    }),
    ("tare run --cpuset-cpus 4000 host true", |cure| {
        let list = cure.strip_prefix("processors of ").unwrap();
        runs([format!("--cpuset-cpus {list}")])
    }),
    (
        "unshare -m bash -c 'mount -t tmpfs -o noexec none /mnt; tare --store /mnt/s doctor' | \
         grep 'store file system' >&2; exit 1",
        |cure| {
            let (kinds, options) = cure.split_once(", mounted ").unwrap();
            assert!(kinds.starts_with("a store on ") && kinds.ends_with("or tmpfs"));
            one(format!(
                "unshare -m bash -c 'mount -t tmpfs -o {options} none /mnt; \
                 tare --store /mnt/s doctor' | grep '^ok *store file system'"
            ))
        },
    ),
    (
        "unshare -m bash -c 'mount -t proc -o subset=pid proc /proc; mkdir $HOME/m; \
         tare mount host $HOME/m'",
        |cure| {
            let whole = cure.strip_prefix("a whole procfs: ").unwrap();
            one(format!(
                "unshare -m bash -c 'mount -t proc -o subset=pid proc /proc; {whole}; \
                 tare mount host $HOME/m && again tare umount $HOME/m'"
            ))
        },
    ),
    ("tare umount $HOME", |cure| {
        let (words, other) = cure.split_once(", ").unwrap();
        assert!(words.starts_with("the store that it was mounted from"));
        let of_other = other.replace("DIR", "$HOME/other");
        one(format!(
            "mkdir $HOME/m; {of_other} tare mount host $HOME/m && {of_other} again tare umount $HOME/m"
        ))
    }),
    (
        "mkdir $HOME/m; tare mount host $HOME/m; exec 9<$HOME/m/etc; tare umount $HOME/m",
        |cure| {
            let (ends, lazy) = cure.split_once(", or ").unwrap();
            assert!(ends.starts_with("ending what uses it ("));
            let lazy = format!("exec 9<$HOME/m/etc; tare umount {lazy} $HOME/m");
            // The first line was the only user, and has ended.
            vec![
                "again tare umount $HOME/m && tare mount host $HOME/m".into(),
                lazy,
            ]
        },
    ),
    (
        "mkdir $HOME/m; tare mount host $HOME/m; mount -t tmpfs none $HOME/m; tare umount $HOME/m",
        |cure| {
            let first = cure
                .strip_suffix(" first")
                .unwrap()
                .replace("DIR", "$HOME/m");
            one(format!("again {first}; again tare umount $HOME/m"))
        },
    ),
];

#[test]
fn line_of_root_with_what_its_error_offers_runs() {
    need!(root, overlay);
    let tare = Tare::new();
    OF_ROOT.iter().for_each(|row| follow(&tare, *row));
}
