// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the cures that sources attach to errors: literals and their origins.

use std::collections::BTreeSet;
use std::ops::Range;

use super::File;
use super::cure_scripts::{is_carried, of_scripts};
use super::source::{self, is_word, words};

/// A cure in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cure {
    pub(crate) path: String,
    /// The literal or format string, else the expression.
    pub(crate) text: String,
}

/// A Rust file without comments, texts and tests, and its functions.
struct Source<'a> {
    file: &'a File,
    code: String,
    texts: Vec<Range<usize>>,
    functions: Vec<Function>,
}

struct Function {
    name: String,
    /// The type of the `impl` block; empty outside.
    owner: String,
    parameters: Vec<String>,
    /// From the function's name to the end of the body.
    span: Range<usize>,
    body: usize,
}

/// All cures of the sources that ship.
pub(crate) fn all(files: &[File]) -> Vec<Cure> {
    const APART: [&str; 2] = ["crates/tare-init/", "src/testing"];
    let ships = |f: &&File| {
        f.ships() && !f.path.contains("/tests") && !APART.iter().any(|dir| f.path.starts_with(dir))
    };
    let sources: Vec<Source<'_>> = files.iter().filter(ships).map(Source::new).collect();
    let mut search = Search {
        sources: &sources,
        found: BTreeSet::new(),
    };
    for at in 0..sources.len() {
        search.given_to_functions(at);
        search.in_fields(at);
        search.in_sentences(at);
    }
    let found = search.found.into_iter().map(|(at, _, text)| Cure {
        path: sources[at].file.path.clone(),
        text,
    });
    let mut all: Vec<Cure> = found.chain(of_scripts(files)).collect();
    all.sort();
    all
}

impl<'a> Source<'a> {
    fn new(file: &'a File) -> Self {
        let mut code = source::code(&file.text);
        let mut texts = source::strings(&file.text);
        while let Some(begin) = code.find("#[cfg(test)]\nmod ") {
            let body = begin + code[begin..].find(['{', ';']).unwrap_or(0);
            let length = match code.as_bytes()[body] {
                b'{' => source::block(&code[body..]),
                _ => 1,
            };
            code.replace_range(begin..body + length, &" ".repeat(body + length - begin));
            texts.retain(|text| !(begin..body + length).contains(&text.start));
        }
        let functions = functions(&code);
        Self {
            file,
            code,
            texts,
            functions,
        }
    }

    /// The innermost function around a place.
    fn around(&self, at: usize) -> Option<&Function> {
        let mut all = self.functions.iter().rev();
        all.find(|f| f.span.contains(&at))
    }

    fn of_crate(&self) -> &str {
        let path = &self.file.path;
        &path[..path.find("src/").unwrap_or(0)]
    }

    /// The literals in `at` that are values there: no patterns, no words of
    /// comparisons or searches.
    fn values(&self, at: &Range<usize>) -> Vec<Range<usize>> {
        const SEARCHES: [&str; 9] = [
            "Path::new(",
            ".join(",
            ".ends_with(",
            ".starts_with(",
            ".strip_prefix(",
            ".contains(",
            ".replace(",
            "== ",
            "!= ",
        ];
        let patterns = self.patterns(at);
        let texts = self.texts.iter().filter(|t| at.contains(&t.start));
        let is_value = |t: &&Range<usize>| {
            let before = &self.code[at.start..t.start];
            !patterns.iter().any(|p| p.contains(&t.start))
                && !SEARCHES.iter().any(|word| before.ends_with(word))
        };
        texts.filter(is_value).cloned().collect()
    }

    /// Returns the patterns of a match at `at`, and the statements that leave
    /// the match.
    fn patterns(&self, at: &Range<usize>) -> Vec<Range<usize>> {
        let code = &self.code[at.clone()];
        let mut found = Vec::new();
        for (arrow, _) in code.match_indices("=>") {
            let mut depth = 0;
            let begin = code[..arrow].char_indices().rev().find(|(_, c)| {
                match c {
                    ')' | ']' => depth += 1,
                    '(' | '[' => depth -= 1,
                    _ => {}
                }
                depth < 0 || depth == 0 && matches!(c, '{' | '}' | ',' | ';')
            });
            found.push(at.start + begin.map_or(0, |(n, _)| n)..at.start + arrow);
        }
        for (leaves, _) in words(code, "return") {
            let end = code[leaves..].find(';').unwrap_or(0);
            found.push(at.start + leaves..at.start + leaves + end);
        }
        found
    }
}

/// Returns the parts between separators from the bracket at `open` to its end.
fn parts(code: &str, open: usize) -> Vec<Range<usize>> {
    let (mut depth, mut begin, mut found) = (0, open + 1, Vec::new());
    for (at, byte) in (open..).zip(code[open..].bytes()) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && byte == b',' {
            found.push(begin..at);
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    // A comma at the end of a line separates nothing; a text is blank, too.
    let is_nothing = |part: &str| part.trim().is_empty() && part.contains('\n');
    if found
        .last()
        .is_some_and(|last| is_nothing(&code[last.clone()]))
    {
        found.pop();
    }
    found
}

fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in words(code, "fn") {
        let begin = at + 3;
        let rest = code.get(begin..).unwrap_or_default();
        let length = rest.find(|c| !is_word(c)).unwrap_or(0);
        let Some(open) = rest.find('(').filter(|_| length > 0) else {
            continue;
        };
        let Some(body) = rest
            .find(['{', ';'])
            .filter(|at| rest.as_bytes()[*at] == b'{')
        else {
            continue;
        };
        let parameters = parts(code, begin + open).into_iter().map(|p| {
            let name = code[p].split(':').next().unwrap_or_default().trim();
            name.trim_start_matches("mut ")
                .trim_start_matches('&')
                .to_owned()
        });
        found.push(Function {
            name: rest[..length].to_owned(),
            owner: owner(code, at),
            parameters: parameters
                .filter(|name| name.chars().all(is_word))
                .collect(),
            span: begin..begin + body + source::block(&rest[body..]),
            body: begin + body,
        });
    }
    found
}

/// The type whose `impl` block is around a place.
fn owner(code: &str, at: usize) -> String {
    let Some((begin, _)) = words(&code[..at], "impl")
        .filter(|(n, _)| code[..*n].ends_with('\n') || *n == 0)
        .last()
    else {
        return String::new();
    };
    let open = begin + code[begin..].find('{').unwrap_or(0);
    if !(open..open + source::block(&code[open..])).contains(&at) {
        return String::new();
    }
    let head = &code[begin + 4..open];
    let name = head.rsplit(" for ").next().unwrap_or_default().trim();
    name[..name.find(|c| !is_word(c)).unwrap_or(name.len())].to_owned()
}

/// A literal's value.
fn unescaped(literal: &str) -> String {
    let begin = literal.find('"').unwrap_or(0);
    if literal[..begin].contains('r') {
        let inside = literal[begin + 1..].trim_end_matches('#');
        return inside.strip_suffix('"').unwrap_or(inside).to_owned();
    }
    let (mut out, mut rest) = (
        String::new(),
        literal[begin + 1..literal.len() - 1].chars().peekable(),
    );
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some(_)) => out.extend(rest.next()),
            _ => out.push(c),
        }
    }
    out
}

struct Search<'a> {
    sources: &'a [Source<'a>],
    /// By file and place, so that a text that two places share counts once.
    found: BTreeSet<(usize, usize, String)>,
}

impl Search<'_> {
    /// Arguments of functions and closures that have a parameter `cure`.
    fn given_to_functions(&mut self, of: usize) {
        let source = &self.sources[of];
        for function in &source.functions {
            let Some(index) = function.parameters.iter().position(|p| p == "cure") else {
                continue;
            };
            let is_method = function.parameters[0] == "self";
            let (sources, called) = match (is_method, &*function.owner) {
                (true, _) => (0..self.sources.len(), format!(".{}", function.name)),
                (false, "") => (of..of + 1, function.name.clone()),
                (false, owner) => (0..self.sources.len(), format!("{owner}::{}", function.name)),
            };
            for at in sources {
                self.calls(at, 0..usize::MAX, &called, index - usize::from(is_method));
            }
        }
        let code = &source.code;
        for (close, _) in code.match_indices("cure|") {
            let open = code[..close].rfind('|').unwrap_or(0);
            let Some(is) = code[..open].rfind("let ") else {
                continue;
            };
            let name = &code[is + 4..open];
            let name = &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())];
            let end = source.around(open).map_or(code.len(), |f| f.span.end);
            let index = code[open..close].matches(',').count();
            self.calls(of, open..end, name, index);
        }
    }

    /// The argument `index` of each call of `name` in a part of a file.
    fn calls(&mut self, of: usize, part: Range<usize>, name: &str, index: usize) {
        let source = &self.sources[of];
        let call = format!("{name}(");
        let calls = source.code.match_indices(&call).map(|(at, _)| at);
        for at in calls.filter(|at| part.contains(at)) {
            let before = &source.code[..at];
            let longer = !name.starts_with('.') && before.ends_with(|c| is_word(c) || c == '.');
            if longer || before.ends_with("fn ") {
                continue;
            }
            let arguments = parts(&source.code, at + name.len());
            let argument = arguments.get(index).filter(|a| !a.is_empty());
            if let Some(argument) = argument {
                self.resolve(of, argument.clone());
            }
        }
    }

    /// Values of fields that are called `cure`.
    fn in_fields(&mut self, of: usize) {
        let source = &self.sources[of];
        for (at, _) in words(&source.code, "cure") {
            let value = at + "cure".len();
            let is_field = source.code[value..].starts_with(": ");
            let end = source.code[value..].find([',', ')', '}', ';']).unwrap_or(0) + value;
            if is_field {
                self.constants(of, &source.code[value..end]);
            }
            for text in source.values(&(value..end)) {
                if is_field {
                    self.add(of, &text);
                }
            }
        }
    }

    /// Returns the words of sentences behind "try", or of their last argument.
    fn in_sentences(&mut self, of: usize) {
        let source = &self.sources[of];
        for text in &source.texts {
            let whole = unescaped(&source.file.text[text.clone()]);
            let Some((_, cure)) = whole.split_once("; try: ") else {
                continue;
            };
            if !is_carried(cure) {
                self.found.insert((of, text.start, cure.to_owned()));
            } else if let Some(open) = source.code[..text.start]
                .rfind('(')
                .filter(|_| cure == "{}")
                && let Some(last) = parts(&source.code, open).pop()
                && words(&source.code[last.clone()], "cure").next().is_none()
            {
                self.resolve(of, last);
            }
        }
    }

    fn add(&mut self, of: usize, text: &Range<usize>) {
        let whole = unescaped(&self.sources[of].file.text[text.clone()]);
        self.found.insert((of, text.start, whole));
    }

    /// Adds the literals of an expression, or of the expressions behind it.
    fn resolve(&mut self, of: usize, at: Range<usize>) {
        let source = &self.sources[of];
        let before = self.found.len();
        let texts = source.values(&at);
        texts.iter().for_each(|text| self.add(of, text));
        let code = &source.code[at.clone()];
        // Each value of such a field is found there.
        if code.trim().ends_with(".cure") {
            return;
        }
        let led = self.constants(of, code) | self.called(of, code) | self.variable(of, &at);
        if texts.is_empty() && !led && self.found.len() == before {
            let text = source.file.text[at.clone()]
                .split_whitespace()
                .collect::<Vec<_>>();
            self.found.insert((of, at.start, text.join(" ")));
        }
    }

    /// Constants by their names, in any file of the crate.
    fn constants(&mut self, of: usize, code: &str) -> bool {
        let mut led = false;
        for name in code
            .split(|c| !is_word(c))
            .filter(|w| w.len() > 2 && is_constant(w))
        {
            for at in 0..self.sources.len() {
                let source = &self.sources[at];
                let same = source.of_crate() == self.sources[of].of_crate();
                let found = source.code.find(&format!("const {name}: &str ="));
                if let Some(begin) = found.filter(|_| same) {
                    let end = begin + source.code[begin..].find(';').unwrap_or(0);
                    source
                        .values(&(begin..end))
                        .iter()
                        .for_each(|text| self.add(at, text));
                    led = true;
                }
            }
        }
        led
    }

    /// Returns the results of a function that is called without an owner.
    fn called(&mut self, of: usize, code: &str) -> bool {
        let mut led = false;
        for (open, _) in code.match_indices('(') {
            let name = &code[..open];
            let name = &name[name.rfind(|c| !is_word(c)).map_or(0, |n| n + 1)..];
            let place = self.sources.iter().enumerate().find_map(|(at, source)| {
                let same = source.of_crate() == self.sources[of].of_crate();
                let mut all = source.functions.iter().filter(|_| same);
                let function = all.find(|f| f.name == name && f.owner.is_empty())?;
                Some((at, function.body..function.span.end))
            });
            let free = !code[..open - name.len()].ends_with(['.', ':']);
            if let Some((at, body)) = place.filter(|_| free && !name.is_empty()) {
                self.returned(at, body);
                led = true;
            }
        }
        led
    }

    /// Returns the literals and constants of a body's last expression and of
    /// its returns.
    fn returned(&mut self, at: usize, body: Range<usize>) {
        let source = &self.sources[at];
        let mut begin = body.start + 1;
        loop {
            let end = end_of_statement(&source.code, begin);
            if source.code.as_bytes().get(end) != Some(&b';') {
                break;
            }
            begin = end + 1;
        }
        // A loop before the expression ends without a semicolon.
        let last = source.code[begin..body.end].rfind("\n    }\n    ");
        let last = begin + last.unwrap_or(0)..body.end;
        let before = words(&source.code[body.clone()], "return").map(|(n, _)| {
            let begin = body.start + n + "return".len();
            begin..end_of_statement(&source.code, begin)
        });
        for part in before.chain([last]) {
            for text in source.values(&part) {
                self.add(at, &text);
            }
            self.constants(at, &source.code[part]);
        }
    }

    /// The value of a variable that is all of the expression. A parameter
    /// `cure` leads to the calls.
    fn variable(&mut self, of: usize, at: &Range<usize>) -> bool {
        let source = &self.sources[of];
        let name = source.code[at.clone()]
            .trim()
            .trim_start_matches(['&', '*']);
        let name = name.split('.').next().unwrap_or_default();
        if name.is_empty() || !name.chars().all(is_word) || is_constant(name) {
            return false;
        }
        let Some(function) = source.around(at.start) else {
            return false;
        };
        let scope = &source.code[function.span.start..at.start];
        let binding = format!("let {name}");
        let bound = scope.rmatch_indices(&binding).find_map(|(begin, _)| {
            let longer = scope[begin + binding.len()..].starts_with(is_word);
            let begin = function.span.start + begin;
            let value = begin + source.code[begin..].find('=')? + 1;
            let end = end_of_statement(&source.code, value);
            // A variable of the same name may be made of an earlier variable.
            let is_seen = end <= at.start && stays_open(&source.code[end..at.start]);
            (is_seen && !longer).then_some(value..end)
        });
        let Some(value) = bound else {
            return name == "cure"
                && (scope.contains("cure|") || function.parameters.iter().any(|p| p == "cure"));
        };
        self.resolve(of, value);
        true
    }
}

fn is_constant(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_uppercase())
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Returns whether `code` ends no block that is open at its beginning.
fn stays_open(code: &str) -> bool {
    let mut depth = 0;
    code.bytes().all(|byte| {
        depth += i32::from(byte == b'{') - i32::from(byte == b'}');
        depth >= 0
    })
}

/// The semicolon of the statement that goes on at `at`.
fn end_of_statement(code: &str, at: usize) -> usize {
    let mut depth = 0;
    let end = code[at..].bytes().position(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        depth < 0 || depth == 0 && byte == b';'
    });
    end.map_or(code.len(), |n| n + at)
}
