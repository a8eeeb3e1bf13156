// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the tokens of a Rust file for the checks: words, functions, paths.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Tokens of one depth.
type List = Vec<TokenTree>;

/// Returns the lists of tokens in `text`: the outermost, and the inside of each
/// bracket.
fn lists(text: &str) -> Vec<List> {
    within(text.parse().unwrap_or_else(|e| panic!("{e}: {text:.80}")))
}

fn within(tokens: TokenStream) -> Vec<List> {
    let (mut found, mut open) = (Vec::new(), vec![tokens]);
    while let Some(tokens) = open.pop() {
        let list: List = tokens.into_iter().collect();
        open.extend(list.iter().filter_map(|token| match token {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        }));
        found.push(list);
    }
    found
}

fn word(token: &TokenTree) -> Option<&Ident> {
    match token {
        TokenTree::Ident(word) => Some(word),
        _ => None,
    }
}

fn is_word(token: &TokenTree, expected: &str) -> bool {
    word(token).is_some_and(|word| word == expected)
}

fn is_sign(token: &TokenTree, expected: char) -> bool {
    matches!(token, TokenTree::Punct(sign) if sign.as_char() == expected)
}

/// Returns the inside of a brace.
fn braced(token: &TokenTree) -> Option<List> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

/// Returns the lines of a keyword.
pub(crate) fn lines_of(text: &str, expected: &str) -> Vec<usize> {
    let all = lists(text).into_iter().flatten();
    all.filter(|token| is_word(token, expected))
        .map(|token| token.span().start().line)
        .collect()
}

/// A function's name, first line (from 1) and number of lines.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Returns the functions that have a body.
pub(crate) fn functions(text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for list in lists(text) {
        for (at, token) in list.iter().enumerate() {
            let Some(name) = list.get(at + 1).and_then(word) else {
                continue;
            };
            let mut rest = list[at + 2..].iter();
            let end = rest.find(|token| braced(token).is_some() || is_sign(token, ';'));
            // A function that meets its semicolon first has no body.
            let Some(body) = end.filter(|end| is_word(token, "fn") && !is_sign(end, ';')) else {
                continue;
            };
            let line = token.span().start().line;
            found.push(Function {
                name: name.to_string(),
                line,
                lines: body.span().end().line - line + 1,
            });
        }
    }
    found
}

/// Returns the paths in the crate that `text` names outside its unit tests, by
/// `use` or in place, each whole from the crate's root, with their lines.
/// `module` is the file's own path of modules, such as `["parts", "caps"]`.
pub(crate) fn paths(text: &str, module: &[&str]) -> Vec<(Vec<String>, usize)> {
    // The tests of a module may use any module, and are at the file's end.
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for list in lists(code) {
        for (at, token) in list.iter().enumerate() {
            // The second of `super::super` is seen with the first.
            let second = at > 2 && is_word(&list[at - 3], "super") && is_sign(&list[at - 1], ':');
            if second || !is_word(token, "crate") && !is_word(token, "super") {
                continue;
            }
            for path in heads(&list[at..]) {
                let up = path.iter().take_while(|word| *word == "super").count();
                let base = match up {
                    0 => &[],
                    up => &module[..module.len().saturating_sub(up)],
                };
                let base = base.iter().map(|part| (*part).to_owned());
                // A visibility is a single word.
                if path.len() > 1 {
                    let below = path[up.max(1)..].iter().cloned();
                    found.push((base.chain(below).collect(), token.span().start().line));
                }
            }
        }
    }
    found
}

/// Returns the paths at the beginning of a list: `a::{b, c::d}` is `a::b` and
/// `a::c::d`.
fn heads(list: &[TokenTree]) -> Vec<Vec<String>> {
    let Some(first) = list.first() else {
        return Vec::new();
    };
    if let Some(group) = braced(first) {
        let parts = group.split(|token| is_sign(token, ','));
        return parts.flat_map(heads).collect();
    }
    let below = match list {
        [_, a, b, rest @ ..] if is_sign(a, ':') && is_sign(b, ':') => heads(rest),
        _ => vec![Vec::new()],
    };
    let first = word(first).map(ToString::to_string);
    let with = |tail: Vec<String>| first.iter().cloned().chain(tail).collect();
    below.into_iter().map(with).collect()
}
