// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a Rust file for the checks: code alone, functions, named paths.

/// Blanks comments and the insides of strings and characters in `text`; every
/// line and column stays in its place.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match token(&bytes[at..], at.checked_sub(1).map(|b| bytes[b])) {
            Some(length) => at + length,
            None => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("only whole comments and literals became blanks")
}

/// Returns the places of string literals in `text`, with their quotes.
pub(crate) fn strings(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let Some(length) = token(&bytes[at..], at.checked_sub(1).map(|b| bytes[b])) else {
            at += 1;
            continue;
        };
        if !matches!(bytes[at], b'/' | b'\'') {
            found.push(at..at + length);
        }
        at += length;
    }
    found
}

/// Length of the comment or literal that begins here, if any.
fn token(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let inside_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => Some(until(rest, b"\n")),
        [b'/', b'*', ..] => Some(block_comment(rest)),
        [b'"', ..] => Some(string(rest)),
        [b'r', b'"' | b'#', ..] if !inside_word => raw_string(rest),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !inside_word => {
            raw_string(&rest[1..]).map(|length| length + 1)
        }
        [b'\'', ..] => character(rest),
        _ => None,
    }
}

fn until(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len())
        .position(|w| w == end)
        .unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, ...; not a raw identifier such as `r#type`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let begin = 2 + hashes;
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    Some((begin + until(&rest[begin..], &end) + end.len()).min(rest.len()))
}

/// `'x'`, `'\n'`, `'\u{1b}'`; not a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(3 + until(&rest[3..], b"'") + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .unwrap_or_else(|e| std::str::from_utf8(&rest[1..1 + e.valid_up_to()]).unwrap_or(""));
    let first = text.chars().next()?;
    (rest.get(1 + first.len_utf8()) == Some(&b'\'')).then_some(2 + first.len_utf8())
}

/// A function's name, first line (from 1) and number of lines.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// The functions that have a body, in code that went through [`code`].
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for (at, _) in words(code, "fn") {
        let rest = &code[at + 2..];
        let name = rest.trim_start();
        let length = name.find(|c: char| !is_word(c)).unwrap_or(name.len());
        let Some(body) = rest.find(['{', ';']) else {
            continue;
        };
        // `fn(...)` is a type; a function that meets its semicolon first has no
        // body.
        if length == 0 || rest.as_bytes()[body] == b';' {
            continue;
        }
        let end = body + block(&rest[body..]);
        found.push(Function {
            name: &name[..length],
            line: line_of(code, at),
            lines: rest[..end].matches('\n').count() + 1,
        });
    }
    found
}

/// Length of the block that begins at the brace that `rest` begins with.
pub(crate) fn block(rest: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    rest.len()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the places of `word` as a whole word, with their lines.
pub(crate) fn words<'a>(
    code: &'a str,
    word: &'a str,
) -> impl Iterator<Item = (usize, usize)> + use<'a> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let alone = !before.is_some_and(is_word) && !after.is_some_and(is_word);
        alone.then(|| (at, line_of(code, at)))
    })
}

pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Returns `code` without its unit tests, which may use any module.
pub(crate) fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ")
        .map_or(code, |begin| &code[..begin])
}

/// The paths in the crate that `code` names, by `use` or in place, each whole
/// from the crate's root, with their lines. `module` is the file's own path of
/// modules, such as `["parts", "caps"]`.
pub(crate) fn paths(code: &str, module: &[&str]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    for (at, line) in words(code, "crate") {
        let below = tails(&code[at + "crate".len()..]);
        found.extend(below.into_iter().map(|path| (path, line)));
    }
    for (at, line) in words(code, "super") {
        // The second of `super::super` was seen with the first.
        if code[..at].trim_end().ends_with("super::") {
            continue;
        }
        let mut rest = &code[at + "super".len()..];
        let mut depth = module.len().saturating_sub(1);
        while let Some(next) = rest.strip_prefix("::super") {
            rest = next;
            depth = depth.saturating_sub(1);
        }
        let base = module[..depth].iter().map(|part| (*part).to_owned());
        for tail in tails(rest) {
            found.push((base.clone().chain(tail).collect(), line));
        }
    }
    found
}

/// The paths that follow a path's beginning: `::a::{b, c::d}` is `a::b` and
/// `a::c::d`.
fn tails(rest: &str) -> Vec<Vec<String>> {
    let Some(rest) = rest.strip_prefix("::") else {
        return Vec::new();
    };
    let rest = rest.trim_start();
    if rest.starts_with('{') {
        let group = &rest[1..block(rest) - 1];
        let parts = split(group).filter(|part| !part.trim().is_empty());
        return parts.flat_map(|part| tails(&format!("::{part}"))).collect();
    }
    let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
    let below = match tails(&rest[word.len()..]) {
        none if none.is_empty() => vec![Vec::new()],
        some => some,
    };
    let word = (!word.is_empty()).then(|| word.to_owned());
    below
        .into_iter()
        .map(|tail| word.iter().cloned().chain(tail).collect())
        .collect()
}

/// The parts between the commas of a group, but for those of groups inside.
fn split(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    group.split(move |c| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    })
}
