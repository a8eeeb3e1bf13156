// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the cures that Python and Go attach to errors.

use super::File;
use super::cure_texts::Cure;
use super::source::is_word;

/// Cures of Python and Go: behind `cure = `, in the tables of keywords, or in a sentence.
pub(crate) fn of_script(file: &File) -> Vec<Cure> {
    let ships = file.path.starts_with("bindings/python/python/") && file.is("py")
        || file.path.starts_with("bindings/go/") && file.is("go") && !file.path.contains("_test");
    let mut found = Vec::new();
    for line in file.text.lines().filter(|_| ships) {
        let texts = quoted(line);
        let Some(last) = texts.last() else { continue };
        let in_table = file.path.ends_with("_keywords.py")
            && line.starts_with("    \"")
            && line.contains("\": ");
        let text = match texts.iter().find_map(|t| t.split_once("; try: ")) {
            Some((_, cure)) if is_carried(cure) => continue,
            Some((_, cure)) => cure,
            None if in_table || line.contains("cure = ") => last,
            None => continue,
        };
        found.push(Cure {
            path: file.path.clone(),
            text: text.to_owned(),
        });
    }
    found
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

/// Whether the cure of a sentence comes from elsewhere: `{}`, `{name}`, or nothing.
pub(crate) fn is_carried(text: &str) -> bool {
    let inside = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    text.is_empty() || inside.is_some_and(|name| name.chars().all(is_word))
}
