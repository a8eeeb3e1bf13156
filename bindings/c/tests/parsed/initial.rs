// SPDX-License-Identifier: MIT OR Apache-2.0
//! `TARE_..._INIT`: an initializer behind each struct with a size that the
//! caller sets, because cbindgen cannot write them.

use std::fmt::Write as _;

/// Width of a line of the header.
const WIDTH: usize = 100;

/// The header of cbindgen with the initializers.
pub(crate) fn with_initializers(text: &str) -> String {
    let mut out = String::new();
    let mut members: Option<Vec<&str>> = None;
    let mut sized = false;
    for line in text.lines() {
        out += line;
        out.push('\n');
        let word = line.trim();
        if word == "typedef struct {" {
            (members, sized) = (Some(Vec::new()), false);
        } else if word.ends_with(", set by the caller.") {
            sized = true;
        } else if let Some(name) = word.strip_prefix("} ").filter(|_| members.is_some()) {
            let members = members.take().unwrap_or_default();
            if sized {
                out += &initializer(name.trim_end_matches(';'), &members);
            }
        } else if let Some(members) = members.as_mut().filter(|_| word.ends_with(';')) {
            members.push(word);
        }
    }
    out
}

/// Names every member: compilers with -Wextra miss those that are left out.
fn initializer(name: &str, members: &[&str]) -> String {
    let mut text = format!(
        "\n/**\n * Initializer of a {name}: its size, and zero for all else.\n */\n\
         #define {}_INIT",
        name.to_uppercase()
    );
    let mut line = format!("{{sizeof({name})");
    for member in &members[1..] {
        let value = match member.contains('*') || member.contains("_fn ") {
            true => "NULL",
            false => "0",
        };
        if line.len() + value.len() + " \\, }".len() > WIDTH - 2 {
            let _ = write!(text, " \\\n  {line},");
            line.clear();
        } else {
            line += ", ";
        }
        line += value;
    }
    let _ = writeln!(text, " \\\n  {line}}}");
    text
}
