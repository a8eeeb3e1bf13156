// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the cures that Python and Go attach to errors.

use super::File;
use super::cure_texts::Cure;

/// Cures of Python and Go: behind `cure = `, in the tables of keywords, in a
/// sentence, and as the last argument of a function of Go.
pub(crate) fn of_scripts(files: &[File]) -> Vec<Cure> {
    let ships = |f: &&File| {
        f.path.starts_with("bindings/python/python/") && f.is("py")
            || f.path.starts_with("bindings/go/") && f.is("go") && !f.path.contains("_test")
    };
    let files: Vec<&File> = files.iter().filter(ships).collect();
    let lines = files.iter().flat_map(|f| f.text.lines());
    let carriers: Vec<&str> = lines
        .filter(|line| line.contains("cure string)"))
        .filter_map(|line| Some(line.strip_prefix("func ")?.split_once('(')?.0))
        .collect();
    let mut found = Vec::new();
    for file in files {
        for line in file.text.lines() {
            let given = |name: &&str| line.contains(&format!(" {name}("));
            if let Some(text) = in_line(file, line, carriers.iter().any(given)) {
                found.push(Cure {
                    path: file.path.clone(),
                    text: text.to_owned(),
                });
            }
        }
    }
    found
}

/// The cure of a line; `is_given` if its last text is a cure.
fn in_line<'a>(file: &File, line: &'a str, is_given: bool) -> Option<&'a str> {
    let texts = quoted(line);
    let is_row =
        file.path.ends_with("_keywords.py") && line.starts_with("    \"") && line.contains("\": ");
    match texts.iter().find_map(|t| t.split_once("; try: ")) {
        Some((_, cure)) => (!is_carried(cure)).then_some(cure),
        None if is_row || is_given || line.contains("cure = ") => texts.last().copied(),
        None => None,
    }
}

/// The insides of the quoted texts of a line.
fn quoted(line: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), line);
    while let Some(begin) = rest.find(['"', '\'']) {
        let inside = &rest[begin + 1..];
        let Some(end) = inside.find(&rest[begin..=begin]) else {
            break;
        };
        found.push(&inside[..end]);
        rest = &inside[end + 1..];
    }
    found
}

/// Returns whether a sentence gets its cure from elsewhere: `{}`, `{name}`, or
/// an empty text.
pub(crate) fn is_carried(text: &str) -> bool {
    let inside = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    text.is_empty()
        || inside.is_some_and(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}
