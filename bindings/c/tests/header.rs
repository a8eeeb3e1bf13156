// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/tare.h`: made from the sources, complete as a manual, welcome in
//! every C and C++, and the same for programs that were compiled long ago.

mod parsed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use parsed::{Header, with_initializers, with_spec_keys};

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    crate_dir().join("../../include/tare.h")
}

fn committed() -> Header {
    Header::parse(&fs::read_to_string(header_path()).unwrap())
}

/// Derived files; `TARE_BLESS=1` writes them anew.
fn bless() -> Option<String> {
    std::env::var("TARE_BLESS").ok()
}

/// Generates the header from the present sources.
fn generated() -> String {
    let config = cbindgen::Config::from_file(crate_dir().join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_crate(crate_dir())
        .with_config(config)
        .generate();
    let mut text = Vec::new();
    bindings.unwrap().write(&mut text);
    with_spec_keys(&with_initializers(&String::from_utf8(text).unwrap()))
}

#[test]
fn header_is_what_the_sources_say() {
    let now = generated();
    if bless().is_some() {
        fs::write(header_path(), &now).unwrap();
    }
    let committed = fs::read_to_string(header_path()).unwrap_or_default();
    let differs = now.lines().zip(committed.lines()).position(|(a, b)| a != b);
    assert!(
        now == committed,
        "include/tare.h is old, see its line {}; try: TARE_BLESS=1 cargo test -p tare-c --test header",
        differs.map_or(0, |at| at + 1)
    );
}

#[test]
fn header_says_of_each_function_what_a_manual_must() {
    let header = committed();
    assert!(header.functions.len() > 80, "{}", header.functions.len());
    for function in &header.functions {
        let (name, doc) = (&function.name, &function.doc);
        let says = |word: &str| doc.lines().any(|line| line.starts_with(word));
        assert!(says("Since: "), "{name} does not say since when: {doc}");
        assert!(says("Threads: "), "{name} says nothing of threads: {doc}");
        let returns = !function.prototype.starts_with("void ");
        assert_eq!(
            says("Returns: "),
            returns,
            "{name} and what it returns: {doc}"
        );
        // Every value to and from the caller has an owner.
        let last = function.prototype.rsplit(',').next().unwrap_or_default();
        let gives = last.contains("**") || function.prototype.starts_with("const char *");
        let takes = name.ends_with("_free") || name.ends_with("_close");
        if gives || takes {
            assert!(
                says("Ownership: "),
                "{name} does not say who owns what: {doc}"
            );
        }
    }
    for thing in header.constants.iter().map(|(name, _, doc)| (name, doc)) {
        assert!(!thing.1.is_empty(), "{} is not explained", thing.0);
    }
}

#[test]
fn header_takes_only_names_of_its_own() {
    let header = committed();
    let functions = header.functions.iter().map(|f| &f.name);
    let structs = header.structs.iter().map(|(name, _)| name);
    for name in functions.chain(structs) {
        assert!(name.starts_with("tare_"), "{name}");
    }
    for (name, ..) in &header.constants {
        assert!(name.starts_with("TARE_"), "{name}");
    }
}

#[test]
fn exports_are_the_functions_of_the_header() {
    let map = fs::read_to_string(crate_dir().join("tare.map")).unwrap();
    let words = map.lines().filter_map(|l| l.trim().strip_suffix(';'));
    let words: Vec<&str> = words.filter(|word| word.starts_with("tare_")).collect();
    let exported: BTreeSet<&str> = words.iter().copied().collect();
    assert_eq!(exported.len(), words.len(), "tare.map has a name twice");
    let header = committed();
    let declared: BTreeSet<&str> = header.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(exported, declared, "left tare.map, right include/tare.h");
}

/// Compiles a source file as strictly as any program may; `Err` has the
/// compiler's words.
fn compile(compiler: &str, source: &str, text: &str, more: &[&str]) -> Result<(), String> {
    const STRICT: &[&str] = &[
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-Wconversion",
        "-Wshadow",
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(source);
    fs::write(&file, text).unwrap();
    let done = Command::new(compiler)
        .args(STRICT)
        .args(more)
        .arg("-I")
        .arg(crate_dir().join("../../include"))
        .args(["-fsyntax-only"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{compiler} {more:?}: {said}")),
    }
}

/// A program with a struct of each initializer, beside those of zeros.
fn initialized() -> String {
    // Twice, and before anything else: the header is self-contained and
    // guarded.
    let mut code = String::from("#include <tare.h>\n#include <tare.h>\nint main(void) {\n");
    let names = committed().initializers;
    assert!(names.len() >= 7, "{names:?}");
    for (n, name) in names.iter().enumerate() {
        let what = name.trim_end_matches("_INIT").to_lowercase();
        code += &format!("{what} s{n} = {name};\nif (s{n}.size != sizeof s{n}) return 1;\n");
    }
    code + "tare_status z = {0}; z.size = sizeof z; return z.size != sizeof z; }\n"
}

#[test]
fn header_compiles_in_every_c_and_cpp() {
    let text = initialized();
    for standard in ["-std=c99", "-std=c11", "-std=c17", "-std=gnu99"] {
        let more = [standard, "-Wstrict-prototypes", "-Wc++-compat"];
        compile("gcc", "a.c", &text, &more).unwrap();
    }
    let text = text.replace("= {0}", "{}");
    for standard in ["-std=c++11", "-std=c++14", "-std=c++17", "-std=c++20"] {
        compile("g++", "a.cc", &text, &[standard, "-Wold-style-cast"]).unwrap();
    }
}

#[test]
fn header_tells_a_program_of_musl_what_to_do() {
    let said = compile("musl-gcc", "a.c", &initialized(), &[]).unwrap_err();
    assert!(said.contains("not musl; try: gcc -static"), "{said}");
}

#[test]
fn every_struct_that_the_caller_sizes_has_an_initializer() {
    let header = committed();
    let sized = header.structs.iter().filter(|(name, fields)| {
        fields.first().is_some_and(|first| first == "size") && name != "tare_progress"
    });
    let sized: Vec<String> = sized
        .map(|(name, _)| format!("{}_INIT", name.to_uppercase()))
        .collect();
    assert_eq!(sized, header.initializers);
}

/// Every constant, the place and width of every field, every prototype: all
/// facts that a compiled program relies on.
fn abi(header: &Header) -> Vec<String> {
    let mut code = String::from("#include <tare.h>\n#include <stdio.h>\nint main(void) {\n");
    let fixed = |name: &str| !name.starts_with("TARE_VERSION_");
    for (name, ..) in header.constants.iter().filter(|c| fixed(&c.0)) {
        code += &format!("printf(\"{name} = %lld\\n\", (long long)({name}));\n");
    }
    for (name, fields) in &header.structs {
        for field in fields {
            code += &format!(
                "printf(\"{name}.{field} at %zu, %zu bytes\\n\", offsetof({name}, {field}), \
                 sizeof((({name} *)0)->{field}));\n"
            );
        }
    }
    code += "return 0; }\n";
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("abi.c"), dir.path().join("abi"));
    fs::write(&source, code).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.arg("-I").arg(crate_dir().join("../../include"));
    assert!(
        gcc.arg(&source)
            .arg("-o")
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    let told = Command::new(&program).output().unwrap();
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    let mut lines: Vec<String> = told.lines().map(str::to_owned).collect();
    lines.extend(header.functions.iter().map(|f| f.prototype.clone()));
    lines.sort();
    lines
}

#[test]
fn abi_is_the_committed_one() {
    let path = crate_dir().join("abi.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let before: BTreeSet<String> = text.lines().skip(3).map(str::to_owned).collect();
    let now = abi(&committed());
    let kept: BTreeSet<String> = now.iter().cloned().collect();
    // Versions from 0.1.0 on only add; unreleased parts may change with
    // TARE_BLESS=anew.
    let gone: Vec<_> = before.difference(&kept).collect();
    let anew = bless().as_deref() == Some("anew");
    assert!(
        anew || gone.is_empty(),
        "programs rely on what is gone: {gone:#?}"
    );
    if bless().is_some() {
        let head = "# SPDX-License-Identifier: MIT OR Apache-2.0\n\
                    # What compiled programs rely on; lines are only ever added. Made from tare.h by\n\
                    # TARE_BLESS=1 cargo test -p tare-c --test header\n";
        fs::write(&path, format!("{head}{}\n", now.join("\n"))).unwrap();
        return;
    }
    let added: Vec<_> = kept.difference(&before).collect();
    assert!(
        added.is_empty(),
        "not in abi.txt; try: TARE_BLESS=1: {added:#?}"
    );
}
