// SPDX-License-Identifier: MIT OR Apache-2.0
//! The header as a list of constants, structs and functions: enough of C for
//! cbindgen's output.

mod initial;
mod keys;

pub(crate) use initial::with_initializers;
pub(crate) use keys::with_spec_keys;

/// A function of the header.
pub(crate) struct Function {
    pub(crate) name: String,
    /// On one line.
    pub(crate) prototype: String,
    /// The comment above.
    pub(crate) doc: String,
}

/// The declarations of a header.
#[derive(Default)]
pub(crate) struct Header {
    /// Name, value, comment above.
    pub(crate) constants: Vec<(String, String, String)>,
    /// Names of macros that are no numbers: initializers of structs.
    pub(crate) initializers: Vec<String>,
    /// Name, and its fields in order; none for an opaque type.
    pub(crate) structs: Vec<(String, Vec<String>)>,
    pub(crate) functions: Vec<Function>,
}

/// The last word of a declaration, without its brackets.
fn last_word(text: &str) -> String {
    let end = text.trim_end_matches([';', ' ']);
    let start = end.rfind([' ', '*']).map_or(0, |at| at + 1);
    end[start..].to_owned()
}

impl Header {
    pub(crate) fn parse(text: &str) -> Self {
        let mut header = Self::default();
        let (mut doc, mut lines) = (String::new(), text.lines().map(str::trim));
        while let Some(line) = lines.next() {
            if line.starts_with("/*") {
                doc.clear();
                while let Some(said) = lines.next().filter(|l| !l.ends_with("*/")) {
                    doc += said.trim_start_matches('*').trim();
                    doc.push('\n');
                }
                continue;
            }
            if let Some(define) = line.strip_prefix("#define ") {
                if let Some((name, _)) = define.split_once(" \\") {
                    header.initializers.push(name.to_owned());
                    while lines.next().is_some_and(|l| l.ends_with('\\')) {}
                } else if let Some((name, value)) = define.split_once(' ') {
                    let value = value.to_owned();
                    header.constants.push((name.into(), value, doc.clone()));
                }
            } else if line == "typedef struct {" {
                header.read_struct(&mut lines);
            } else if line.starts_with("typedef struct ") {
                header.structs.push((last_word(line), Vec::new()));
            } else if line.contains('(') && !line.starts_with("typedef ") && !line.starts_with('#')
            {
                let mut whole = line.to_owned();
                while !whole.ends_with(';') {
                    whole.push(' ');
                    whole += lines.next().unwrap();
                }
                header.functions.push(Function {
                    name: last_word(&whole[..whole.find('(').unwrap()]),
                    prototype: whole,
                    doc: doc.clone(),
                });
            }
            doc.clear();
        }
        header
    }

    fn read_struct<'a>(&mut self, lines: &mut impl Iterator<Item = &'a str>) {
        let mut fields = Vec::new();
        while let Some(line) = lines.next() {
            if line.starts_with("/*") {
                while lines.next().is_some_and(|l| !l.ends_with("*/")) {}
            } else if let Some(name) = line.strip_prefix("} ") {
                self.structs.push((last_word(name), fields));
                return;
            } else {
                fields.push(last_word(line));
            }
        }
    }
}
