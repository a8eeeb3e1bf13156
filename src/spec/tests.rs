// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading, refusing and writing specs.
use super::*;
use crate::error::Kind;

#[test]
fn spec_empty_is_the_default_and_round_trips() {
    let spec = Spec::from_json("{}").unwrap();
    assert_eq!(spec, Spec::default());
    assert_eq!(Spec::from_json(&spec.to_json()).unwrap(), spec);
}

#[test]
fn spec_full_round_trips() {
    let text = r#"{"image":"oci:images/debian:12","write":"disk","storage":"copy",
        "mounts":["/src:/w:cow","/a\\:b:/c:ro",{"type":"tmpfs","target":"/t","options":["size=1m","mode=755"]}],
        "env":{"A":"1"},"workdir":"/w","user":"nobody:users","hostname":"box","network":{"join":"/run/netns/x"},
        "limits":{"memory":"256m","swap":0,"cpus":"1.5","cpuset":"0-1,3","pids":64,"io":200,"disk":"1g","output":"1.5k",
        "rlimits":{"nofile":"10:20","core":"unlimited","cpu":5}},
        "security":{"profile":"strict","cap_add":["NET_ADMIN"],"cap_drop":["ALL"],"seccomp":"off","no_new_privs":false,
        "masked_paths":["/proc/x"],"readonly_paths":[],"devices":["/dev/fuse","/dev/a:/dev/b:r"]},
        "namespaces":{"user":{"maps":{"uids":[{"inside":0,"outside":1000,"count":1}],"gids":[]}},"ipc":false},
        "best_effort":["limits.io"],"labels":{"a":"b"}}"#;
    let spec = Spec::from_json(text).unwrap();
    assert_eq!(spec.limits.output.bytes(), 1536);
    assert_eq!(spec.limits.cpus, Some(1.5));
    assert_eq!(spec.mounts[1].kind, MountKind::Bind("/a:b".into()));
    assert_eq!(spec.limits.rlimits["core"].hard, u64::MAX);
    assert!(may_leave_out(&spec.best_effort, "limits.io"));
    assert!(!may_leave_out(&spec.best_effort, "limits.memory"));
    assert_eq!(Spec::from_json(&spec.to_json()).unwrap(), spec);
}

/// Right specs, and wrong specs with words of the message; the schema's tests
/// read them, too.
fn rows() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/data/specs.json")).unwrap()
}

#[test]
fn spec_right_rows_round_trip() {
    let rows = rows();
    for row in rows["right"].as_array().unwrap() {
        let spec = Spec::from_json(&row.to_string()).unwrap_or_else(|e| panic!("{row}: {e}"));
        assert_eq!(Spec::from_json(&spec.to_json()).unwrap(), spec);
    }
}

#[test]
fn spec_wrong_text_is_refused_by_name() {
    let rows = rows();
    for row in rows["wrong"].as_array().unwrap() {
        let (text, part) = (row["text"].as_str().unwrap(), row["says"].as_str().unwrap());
        let error = Spec::from_json(text).expect_err(text);
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
        let line = error.to_string();
        assert!(line.contains(part), "{text}: {line:?} lacks {part:?}");
        assert!(!line.contains('\n'), "{line:?}");
    }
}

#[test]
fn units_usual_notations_are_read() {
    let sizes = [
        ("0", 0),
        ("10", 10),
        ("1b", 1),
        ("1k", 1024),
        ("1KiB", 1024),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        (" 3 mb ", 3 << 20),
    ];
    for (text, bytes) in sizes {
        assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
    }
    for text in ["", "k", "-1", "1.2.3", "1 1", "99999999999t", "0x10"] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    let times = [
        ("1", 1000),
        ("1.5", 1500),
        ("500ms", 500),
        ("2m", 120_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
    ];
    for (text, ms) in times {
        assert_eq!(parse_duration(text).unwrap().as_millis(), ms, "{text}");
    }
    for text in ["", "s", "-1", "1y", "1m30", "1e3"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn size_shown_is_read_back() {
    for bytes in [0, 1, 1023, 1024, 1 << 20, 3 << 29, (1 << 40) + 1] {
        let size = ByteSize::new(bytes);
        assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
    }
}

#[test]
fn json_errors_say_what_and_where_and_keep_the_cure() {
    let said = |text: &str| Spec::from_json(text).unwrap_err().to_string();
    assert_eq!(
        said(r#"{"limits":{"memory":"1e9"}}"#),
        r#"parse spec: limits.memory: parse size: "1e9" is not a size; try: a number with b, k, m, g or t behind it, such as "256m""#
    );
    // A text of a single line needs no column.
    let wrong = said("{\n \"limits\": {\"pids\": \"5\"}}");
    assert!(
        wrong.contains("limits.pids: expected a whole number, got \"5\"")
            && wrong.contains("line 2"),
        "{wrong}"
    );
    assert!(!said(r#"{"limits":{"pids":"5"}}"#).contains("line"));
    assert_eq!(
        said("root:x:0:0"),
        "parse spec: not JSON: expected value at line 1 column 1"
    );
    assert!(said(r#"{"imge":"host"}"#).ends_with("; try: \"image\""));
    // A word without a near neighbour gets no suggestion.
    assert!(!said(r#"{"frob":1}"#).contains("try:"));
}

#[test]
fn spec_errors_print_no_value_of_the_environment() {
    for text in [
        r#"{"env": "SECRET"}"#,
        r#"{"env": {"A": ["SECRET"]}}"#,
        r#"{"env": "; try: SECRET"}"#,
        r#"{"env": {"A": 5318008}}"#,
        r#"{"env": ["A=SECRET"]}"#,
        r#"{"env": {"A": "SECRET\u0000"}}"#,
        r#"{"env": {"A=SECRET": "x"}}"#,
        r#"{"env": {"A": "SECRET"}, "memroy": 1}"#,
        r#"{"env": {"A": "SECRET", }"#,
    ] {
        for read in [Spec::from_json, Spec::from_flat_json] {
            let line = read(text).expect_err(text).to_string();
            let tells = line.contains("SECRET") || line.contains("5318008");
            assert!(!tells, "{text}: {line:?}");
        }
    }
    let error = Spec::from_json(r#"{"env": {"A": 5}}"#).unwrap_err();
    let said = "parse spec: env.A: expected a string, got a number";
    assert_eq!(error.to_string(), said);
}
