// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures of specs: each word, grammar and example that an error gives is a
//! value that is taken.

use std::path::Path;

use serde_json::json;
use tare::{Kind, Sandbox, Spec};

use super::{cure, expanded, quoted, words};
use crate::harness::{Ground, line, sh};
use crate::identity::for_each_caller;

/// A wrong spec, and the correction from its error's cure.
struct Row {
    wrong: &'static str,
    /// The words that the cure offers.
    offers: fn(&str) -> Vec<String>,
    /// The spec with a corrected value.
    right: fn(&str) -> String,
}

/// An example of each unit that the cure names, and the one in quotes.
fn of_units(cure: &str) -> Vec<String> {
    let units = cure.split_once(" with ").unwrap().1;
    let units = words(units.split_once(" behind ").unwrap().0);
    let numbers = units.iter().map(|unit| format!("1024{unit}"));
    numbers.chain(quoted(cure)).collect()
}

/// A device that no sandbox has already.
fn spare_device() -> &'static str {
    let names = ["kmsg", "mem", "loop-control", "fuse", "port"];
    let found = names
        .into_iter()
        .find(|name| Path::new("/dev").join(name).exists());
    found.expect("one of these")
}

fn mount(options: &str) -> String {
    json!({"mounts": [format!("/usr:/x:{options}")]}).to_string()
}

fn tmpfs(option: &str) -> String {
    json!({"mounts": [{"type": "tmpfs", "target": "/x", "options": [option]}]}).to_string()
}

const ROWS: &[Row] = &[
    Row {
        wrong: r#"{"mounts": [{"type": "bnd", "source": "/usr", "target": "/x"}]}"#,
        offers: words,
        right: |kind| match kind {
            "tmpfs" => json!({"mounts": [{"type": kind, "target": "/x"}]}).to_string(),
            _ => json!({"mounts": [{"type": kind, "source": "/usr", "target": "/x"}]}).to_string(),
        },
    },
    Row {
        wrong: r#"{"mounts": ["/usr:/x:rx"]}"#,
        offers: words,
        right: mount,
    },
    Row {
        wrong: r#"{"mounts": [{"type": "tmpfs", "target": "/x", "options": ["rx"]}]}"#,
        offers: words,
        right: |option| tmpfs(&option.replace("SIZE", "1m").replace("OCTAL", "700")),
    },
    Row {
        wrong: r#"{"mounts": [{"type": "tmpfs", "target": "/x", "options": ["mode=9"]}]}"#,
        offers: words,
        right: tmpfs,
    },
    Row {
        wrong: r#"{"mounts": ["/usr"]}"#,
        offers: expanded,
        right: |grammar| {
            let text = grammar.replace("SOURCE", "/usr").replace("TARGET", "/x");
            json!({"mounts": [text.replace("options", "ro")]}).to_string()
        },
    },
    Row {
        wrong: r#"{"security": {"readonly_paths": ["/"]}}"#,
        offers: quoted,
        right: |word| json!({"write": word}).to_string(),
    },
    Row {
        wrong: r#"{"limits": {"shm": "1q"}}"#,
        offers: of_units,
        right: |size| json!({"limits": {"shm": size}}).to_string(),
    },
    Row {
        wrong: r#"{"network": 5}"#,
        offers: words,
        right: |word| json!({"network": word}).to_string(),
    },
    Row {
        wrong: r#"{"limits": {"rlimit": {"nofile": "64"}}}"#,
        offers: quoted,
        right: |key| json!({"limits": {key: {"nofile": "64"}}}).to_string(),
    },
    Row {
        wrong: r#"{"wrte": "disk"}"#,
        offers: quoted,
        right: |key| json!({key: "disk"}).to_string(),
    },
    Row {
        wrong: r#"{"limits": {"rlimits": {"core": "x"}}}"#,
        offers: words,
        right: |limit| {
            let limit = match limit {
                "a number" => "0",
                "SOFT:HARD" => "0:0",
                "unlimited" => return json!({"limits": {"rlimits": {"core": limit}}}).to_string(),
                other => panic!("{other}"),
            };
            json!({"limits": {"rlimits": {"core": limit}}}).to_string()
        },
    },
    Row {
        wrong: r#"{"extra_hosts": ["db"]}"#,
        offers: |cure| cure.split(", such as ").map(Into::into).collect(),
        right: |host| {
            let host = host.replace("NAME", "db").replace("ADDRESS", "::1");
            json!({"extra_hosts": [host]}).to_string()
        },
    },
    Row {
        wrong: r#"{"security": {"devices": ["null"]}}"#,
        offers: expanded,
        right: |device| {
            json!({"security": {"devices": [device.replace("NAME", spare_device())]}}).to_string()
        },
    },
    Row {
        wrong: r#"{"best_effort": ["limits.memroy"]}"#,
        offers: words,
        right: |key| json!({"best_effort": [key]}).to_string(),
    },
    Row {
        wrong: r#"{"security": {"cap_add": ["FLY"]}}"#,
        offers: |cure| words(cure.split_once("such as ").unwrap().1),
        right: |name| json!({"security": {"cap_add": [name]}}).to_string(),
    },
];

/// Opens the spec of a text, because some parts are checked only then.
fn open(ground: &Ground, json: &str) -> Result<Sandbox, tare::Error> {
    Spec::from_json(json).and_then(|spec| {
        let image = ground.spec().image;
        Sandbox::open(&ground.store, &Spec { image, ..spec })
    })
}

#[test]
fn spec_with_what_its_error_offers_is_taken() {
    let ground = Ground::new();
    for row in ROWS {
        let error = open(&ground, row.wrong).expect_err(row.wrong);
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        let offers = (row.offers)(&cure(&error));
        assert!(!offers.is_empty(), "{error}");
        for offer in offers {
            let right = (row.right)(&offer);
            open(&ground, &right).unwrap_or_else(|e| panic!("{right}: {e}"));
        }
    }
}

#[test]
fn spec_that_may_not_write_has_a_root_that_is_read_only() {
    let ground = Ground::new();
    let wrong = r#"{"security": {"masked_paths": ["/"]}}"#;
    let offer = quoted(&cure(&Spec::from_json(wrong).unwrap_err()));
    let sandbox = ground.open_with(&json!({"write": offer[0]}).to_string());
    assert_eq!(
        line(&sandbox, "touch /x 2>/dev/null || echo denied"),
        "denied"
    );
}

#[test]
fn spec_key_that_is_flat_is_the_nearest() {
    for (wrong, value) in [
        ("memroy", json!("1g")),
        ("cap_ad", json!(["CHOWN"])),
        ("cwd", json!("/")),
    ] {
        let error = Spec::from_flat_json(&json!({wrong: value}).to_string()).unwrap_err();
        for key in quoted(&cure(&error)) {
            let json = json!({key: value}).to_string();
            Spec::from_flat_json(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
        }
    }
}

#[test]
fn duration_in_each_unit_that_its_error_names_is_taken() {
    let cure = cure(&tare::spec::parse_duration("soon").unwrap_err());
    let seconds = cure.starts_with("seconds").then(|| "90".to_owned());
    for text in seconds.into_iter().chain(of_units(&cure)) {
        let read = tare::spec::parse_duration(&text);
        assert!(!read.unwrap_or_else(|e| panic!("{text}: {e}")).is_zero());
    }
}

#[test]
fn spec_of_devices_is_cured_for_each_caller() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        let rules = |rule: &str| json!({"security": {"device_rules": [rule]}}).to_string();
        let error = open(&ground, &rules("x")).unwrap_err();
        for rule in words(&cure(&error)) {
            match open(&ground, &rules(&rule)) {
                Ok(_) => assert_eq!(caller, "root", "{rule}"),
                Err(error) => {
                    assert_ne!(caller, "root", "{error}");
                    let key = cure(&error);
                    let key = key.strip_prefix("security.").unwrap();
                    let right = json!({"security": {key: ["/dev/null:/dev/mine"]}}).to_string();
                    let sandbox = open(&ground, &right).unwrap_or_else(|e| panic!("{right}: {e}"));
                    assert_eq!(line(&sandbox, "echo x >/dev/mine; echo $?"), "0");
                }
            }
        }
    });
}

#[test]
fn spec_of_the_hosts_user_namespace_is_cured_for_ordinary_callers() {
    for_each_caller(|caller| {
        let ground = Ground::new();
        let spec = |word: &str| json!({"namespaces": {"user": word}}).to_string();
        match open(&ground, &spec("host")) {
            Ok(_) => assert_eq!(caller, "root"),
            Err(error) => {
                let word = quoted(&cure(&error));
                let sandbox = open(&ground, &spec(&word[0])).unwrap();
                assert_eq!(line(&sandbox, "id -u"), "0");
            }
        }
    });
}

/// Cgroup v1 counts swap with memory.
#[test]
fn spec_of_swap_alone_is_cured_by_memory() {
    tare_oracle::need!(root, controller("memory"));
    let ground = Ground::new();
    let mut spec = json!({"limits": {"swap": "64m"}});
    if let Err(error) = open(&ground, &spec.to_string()) {
        assert_eq!(cure(&error), "set limits.memory as well");
        spec["limits"]["memory"] = "64m".into();
        open(&ground, &spec.to_string()).unwrap_or_else(|e| panic!("{spec}: {e}"));
    }
}

/// Root alone keeps its user namespace, in which a tracer could take the init
/// over.
#[test]
fn spec_of_a_tracer_is_cured_in_both_ways() {
    tare_oracle::need!(root, userns);
    let ground = Ground::new();
    let wrong = json!({"security": {"cap_add": ["SYS_PTRACE"], "no_new_privs": false}});
    let cure = cure(&open(&ground, &wrong.to_string()).unwrap_err());
    assert!(
        cure.contains("no_new_privs true") && cure.contains("namespaces.user"),
        "{cure}"
    );
    let mut confined = wrong.clone();
    confined["security"]["no_new_privs"] = true.into();
    let mut apart = wrong;
    let ids = json!([{"inside": 0, "outside": 100_000, "count": 65536}]);
    apart["namespaces"] = json!({"user": {"maps": {"uids": ids, "gids": ids}}});
    for right in [confined, apart] {
        let sandbox = open(&ground, &right.to_string()).unwrap_or_else(|e| panic!("{right}: {e}"));
        assert_eq!(line(&sandbox, "id -u"), "0", "{right}");
    }
}

#[test]
fn spec_of_a_filter_that_is_too_long_is_cured_by_fewer_conditions() {
    let ground = Ground::new();
    let spec = |conditions: u32| {
        let rule = |n| json!({"names": ["dup"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": n}]});
        let rules: Vec<_> = (0..conditions).map(rule).collect();
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        json!({"security": {"seccomp": filter}}).to_string()
    };
    let error = open(&ground, &spec(1000)).unwrap_err();
    assert!(
        cure(&error).starts_with("fewer rules with args in security.seccomp"),
        "{error}"
    );
    let sandbox = open(&ground, &spec(100)).unwrap_or_else(|e| panic!("{e}"));
    assert!(sandbox.run(sh("true")).unwrap().status.success());
}
