// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the configuration: words that an image may use, and words that it
//! may not.
#![forbid(unsafe_code)]

use super::*;

fn read(run: &str) -> Result<ImageConfig> {
    let json = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{run},"rootfs":{{"type":"layers","diff_ids":[]}},"history":[{{"x":1}}]}}"#
    );
    parse(json.as_bytes(), "config").map(|parsed| parsed.config)
}

#[test]
fn config_as_docker_writes_it_is_read() {
    let config = read(
        r#"{"Hostname":"","Env":["PATH=/bin","A=b=c"],"Cmd":["sh"],"Entrypoint":null,"WorkingDir":"/w","User":"1:2",
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"Labels":{"a":"b"},"StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"]}"#,
    )
    .unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(config.env, [pair("PATH", "/bin"), pair("A", "b=c")]);
    assert_eq!(config.cmd, ["sh"]);
    assert_eq!(config.workdir.as_deref(), Some(Path::new("/w")));
    assert_eq!(config.stop_signal, Some(3));
    assert_eq!(config.exposed_ports, ["53/udp", "80/tcp"]);
    assert_eq!(config.notes, [""; 0]);
    assert_eq!(read("null").unwrap().env, []);
}

#[test]
fn config_env_without_equals_is_dropped_never_filled_from_the_host() {
    let config = read(r#"{"Env":["PATH","=x","A=1","HOME","A=2",""]}"#).unwrap();
    assert_eq!(config.env, [("A".to_owned(), "2".to_owned())]);
    assert_eq!(config.notes.len(), 4);
}

#[test]
fn config_label_in_our_namespace_is_dropped() {
    let config = read(r#"{"Labels":{"libtare.hook":"/bin/sh","ok":"1"}}"#).unwrap();
    assert_eq!(config.labels.len(), 1);
    assert!(config.notes[0].contains("reserved"), "{:?}", config.notes);
}

#[test]
fn config_with_a_value_of_the_wrong_kind_is_refused() {
    let table = [
        r#"{"Env":"A=1"}"#,
        r#"{"Env":{"A":"1"}}"#,
        r#"{"Env":["A\u0000=1"]}"#,
        r#"{"Env":[1]}"#,
        r#"{"Cmd":["a\u0000b"]}"#,
        r#"{"User":0}"#,
        r#"{"User":"a\nb"}"#,
        r#"{"WorkingDir":"\u0000"}"#,
        r#"{"Env":[],"Env":["A=1"]}"#,
        r#"{"Cmd":5}"#,
        r#"{"Cmd":[["x"]]}"#,
        r#"{"Entrypoint":{}}"#,
        r#"{"Volumes":{},"Volumes":{}}"#,
    ];
    for run in table {
        let error = read(run).expect_err(run);
        assert_eq!(error.kind(), Kind::Corrupt, "{run}");
    }
}

/// A remark, the value read, and the number of notes.
type Remark = (
    &'static str,
    fn(&ImageConfig) -> String,
    &'static str,
    usize,
);

#[test]
fn config_with_a_strange_remark_is_read_with_a_note() {
    let volumes = |c: &ImageConfig| format!("{:?}", c.volumes);
    let ports = |c: &ImageConfig| c.exposed_ports.join(" ");
    let labels = |c: &ImageConfig| format!("{:?}", c.labels);
    let signal = |c: &ImageConfig| format!("{:?}", c.stop_signal);
    let cmd = |c: &ImageConfig| c.cmd.join("|");
    let env = |c: &ImageConfig| format!("{:?}", c.env);
    let table: &[Remark] = &[
        (r#"{"Volumes":{"data":{}}}"#, volumes, "[]", 1),
        (
            r#"{"Volumes":{"['/data']":{},"/a":{}}}"#,
            volumes,
            r#"["/a"]"#,
            1,
        ),
        (
            r#"{"Volumes":{"[":{},"":{},"/":{},"/a/../b":{}}}"#,
            volumes,
            "[]",
            4,
        ),
        (r#"{"Volumes":["/data"]}"#, volumes, "[]", 1),
        (
            r#"{"Volumes":{"/a":null,"/b":5}}"#,
            volumes,
            r#"["/a", "/b"]"#,
            0,
        ),
        (
            r#"{"ExposedPorts":{"8080/TCP":{},"8080/tcp":{}}}"#,
            ports,
            "8080/tcp",
            0,
        ),
        (
            r#"{"ExposedPorts":{"8080,":{},"80/http":{},"1-2/udp":{}}}"#,
            ports,
            "1-2/udp",
            2,
        ),
        (
            r#"{"ExposedPorts":{"80/":{},"99999":{},"80/../x":{}}}"#,
            ports,
            "",
            3,
        ),
        (r#"{"ExposedPorts":["80"]}"#, ports, "", 1),
        (r#"{"StopSignal":"sigterm"}"#, signal, "Some(15)", 0),
        (r#"{"StopSignal":"SIGIOT"}"#, signal, "Some(6)", 0),
        (r#"{"StopSignal":"100"}"#, signal, "None", 1),
        (r#"{"StopSignal":"SIGFOO"}"#, signal, "None", 1),
        (r#"{"StopSignal":9}"#, signal, "None", 1),
        (r#"{"StopSignal":""}"#, signal, "None", 0),
        (r#"{"Labels":{"a":null}}"#, labels, r#"{"a": ""}"#, 1),
        (r#"{"Labels":{"a":5,"b":"c"}}"#, labels, r#"{"b": "c"}"#, 1),
        (r#"{"Labels":["a=b"]}"#, labels, "{}", 1),
        (r#"{"Cmd":"sh -c x"}"#, cmd, "sh -c x", 1),
        (r#"{"Cmd":["a",null]}"#, cmd, "a|", 0),
        (r#"{"Env":[null,"A=1"]}"#, env, r#"[("A", "1")]"#, 1),
    ];
    for (run, read_of, expected, notes) in table {
        let config = read(run).expect(run);
        assert_eq!(read_of(&config), *expected, "{run}");
        assert_eq!(config.notes.len(), *notes, "{run}: {:?}", config.notes);
    }
}

#[test]
fn config_words_mean_what_docker_means() {
    let entrypoint = |run: &str| read(run).unwrap().entrypoint;
    assert_eq!(entrypoint(r#"{"Entrypoint":[""]}"#), [""; 0]);
    assert_eq!(entrypoint(r#"{"Entrypoint":["","x"]}"#), ["", "x"]);
    assert_eq!(entrypoint(r#"{"Entrypoint":"/x"}"#), ["/x"]);
    let json = r#"{"architecture":"x86_64","os":"Linux","created":5,"rootfs":{"type":"layers"}}"#;
    let config = parse(json.as_bytes(), "config").unwrap().config;
    assert_eq!((&*config.architecture, &*config.os), ("amd64", "linux"));
    assert_eq!((config.created, config.notes.len()), (None, 1));
    let x86: Platform = "linux/x86_64".parse().unwrap();
    let config = ImageConfig {
        architecture: config.architecture,
        ..ImageConfig::default()
    };
    check_platform("x", &config, Some(&x86)).unwrap();
}

#[test]
fn config_values_are_never_shown() {
    let table = [
        r#"{"Env":["=hunter2","hunter2"]}"#,
        r#"{"Env":"A=hunter2"}"#,
        r#"{"Env":["A=hunter2\u0000"]}"#,
        r#"{"Cmd":["-p","hunter2\u0000"]}"#,
        r#"{"Entrypoint":"hunter2"}"#,
        r#"{"Labels":{"a":["hunter2"]}}"#,
        r#"{"Labels":"hunter2"}"#,
        r#""hunter2""#,
    ];
    for run in table {
        let said = match read(run) {
            Ok(config) => config.notes.join(" "),
            Err(error) => error.to_string(),
        };
        assert!(!said.is_empty() && !said.contains("hunter2"), "{said}");
    }
}
