// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the cures that sources attach to errors: literals and their origins.

use std::collections::BTreeSet;

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Expr, FnArg, Ident, Item, Lit, Local, Member, Pat, Signature, Stmt, Token, Type};

use super::File;
use super::cure_scripts::{is_carried, of_scripts};

/// A cure in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cure {
    pub(crate) path: String,
    /// The literal or format string, else the expression.
    pub(crate) text: String,
}

/// All cures of the sources that ship.
pub(crate) fn all(files: &[File]) -> Vec<Cure> {
    const APART: [&str; 2] = ["crates/tare-init/", "src/testing"];
    let ships = |f: &&File| {
        f.ships() && !f.path.contains("/tests") && !APART.iter().any(|dir| f.path.starts_with(dir))
    };
    let shipped: Vec<&File> = files.iter().filter(ships).collect();
    let sources: Vec<syn::File> = shipped.iter().map(|file| parse(file)).collect();
    let mut known = Known::default();
    for (file, source) in shipped.iter().zip(&sources) {
        let path = &file.path;
        known.crates.push(&path[..path.find("src/").unwrap_or(0)]);
        known.visit_file(source);
    }
    let mut search = Search {
        known: &known,
        at: 0,
        scope: Vec::new(),
        found: BTreeSet::new(),
        followed: BTreeSet::new(),
    };
    for (at, source) in sources.iter().enumerate() {
        search.at = at;
        search.visit_file(source);
    }
    let found = search.found.into_iter().map(|(at, _, text)| Cure {
        path: shipped[at].path.clone(),
        text,
    });
    let mut all: Vec<Cure> = found.chain(of_scripts(files)).collect();
    all.sort();
    all
}

fn parse(file: &File) -> syn::File {
    let parsed = syn::parse_file(&file.text);
    let mut source = parsed.unwrap_or_else(|e| panic!("{}: {e}", file.path));
    let is_test = |item: &Item| match item {
        Item::Mod(module) => module
            .attrs
            .iter()
            .any(|a| text_of(a.span()) == "#[cfg(test)]"),
        _ => false,
    };
    source.items.retain(|item| !is_test(item));
    MacrosAsCalls.visit_file_mut(&mut source);
    source
}

/// The source of a node, with one space between words.
fn text_of(span: Span) -> String {
    let text = span.source_text().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes a call of each macro whose words are expressions, so that a search
/// sees them.
struct MacrosAsCalls;

impl VisitMut for MacrosAsCalls {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        type Words = Punctuated<Expr, Token![,]>;
        if let Expr::Macro(of) = expr
            && let Ok(words) = of.mac.parse_body_with(Words::parse_terminated)
        {
            let name = &of.mac.path;
            *expr = syn::parse_quote!(#name(#words));
        }
        visit_mut::visit_expr_mut(self, expr);
    }
}

/// A constant, or a function with a body.
struct Definition<'a> {
    source: usize,
    /// The type of the `impl` block around a function; empty outside.
    owner: String,
    name: &'a Ident,
    is_function: bool,
    is_method: bool,
    /// The place of the argument that is a cure, after `self`.
    cure: Option<usize>,
    results: Vec<&'a Expr>,
}

/// The definitions of all sources.
#[derive(Default)]
struct Known<'a> {
    /// The crate of each source.
    crates: Vec<&'a str>,
    definitions: Vec<Definition<'a>>,
    /// The type of the `impl` block that is being visited.
    owner: String,
}

impl<'a> Known<'a> {
    fn function(&mut self, owner: String, signature: &'a Signature, body: &'a Block) {
        let mut returns = Returns(last_of(body).into_iter().collect());
        returns.visit_block(body);
        self.definitions.push(Definition {
            source: self.crates.len() - 1,
            owner,
            name: &signature.ident,
            is_function: true,
            is_method: signature.receiver().is_some(),
            cure: cure_among(patterns(signature)),
            results: returns.0,
        });
    }
}

impl<'a> Visit<'a> for Known<'a> {
    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        if let Type::Path(of) = &*item.self_ty {
            self.owner = of.path.segments.last().expect("a type").ident.to_string();
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(String::new(), &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(self.owner.clone(), &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'a syn::ItemConst) {
        if text_of(item.ty.span()) == "&str" {
            self.definitions.push(Definition {
                source: self.crates.len() - 1,
                owner: String::new(),
                name: &item.ident,
                is_function: false,
                is_method: false,
                cure: None,
                results: vec![&item.expr],
            });
        }
    }
}

/// Expressions that leave a function.
struct Returns<'a>(Vec<&'a Expr>);

impl<'a> Visit<'a> for Returns<'a> {
    fn visit_expr_return(&mut self, of: &'a syn::ExprReturn) {
        self.0.extend(of.expr.as_deref());
    }
}

fn last_of(block: &Block) -> Option<&Expr> {
    match block.stmts.last() {
        Some(Stmt::Expr(last, None)) => Some(last),
        _ => None,
    }
}

fn patterns(signature: &Signature) -> impl Iterator<Item = &Pat> {
    signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(&*typed.pat),
        FnArg::Receiver(_) => None,
    })
}

/// Returns the variable of a pattern that is nothing else.
fn variable(pattern: &Pat) -> Option<&Ident> {
    match pattern {
        Pat::Ident(name) => Some(&name.ident),
        Pat::Type(typed) => variable(&typed.pat),
        _ => None,
    }
}

fn cure_among<'a>(patterns: impl IntoIterator<Item = &'a Pat>) -> Option<usize> {
    let mut variables = patterns.into_iter().map(variable);
    variables.position(|name| name.is_some_and(|name| name == "cure"))
}

fn is_cure(member: &Member) -> bool {
    matches!(member, Member::Named(name) if name == "cure")
}

/// The literals and names that an expression may result in: no patterns,
/// conditions, or words of searches.
#[derive(Default)]
struct Values<'a> {
    texts: Vec<&'a syn::LitStr>,
    variables: Vec<&'a Ident>,
    functions: Vec<&'a Ident>,
    /// A field `cure` is among them, each of whose values is found elsewhere.
    is_field: bool,
}

impl<'a> Visit<'a> for Values<'a> {
    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.texts.push(text);
    }

    fn visit_expr_path(&mut self, of: &'a syn::ExprPath) {
        self.variables
            .extend(of.path.segments.last().map(|s| &s.ident));
    }

    fn visit_expr_array(&mut self, _: &'a syn::ExprArray) {}

    fn visit_expr_field(&mut self, field: &'a syn::ExprField) {
        self.is_field |= is_cure(&field.member);
    }

    fn visit_block(&mut self, block: &'a Block) {
        last_of(block)
            .into_iter()
            .for_each(|last| self.visit_expr(last));
    }

    fn visit_expr_match(&mut self, of: &'a syn::ExprMatch) {
        of.arms.iter().for_each(|arm| self.visit_expr(&arm.body));
    }

    fn visit_expr_if(&mut self, of: &'a syn::ExprIf) {
        self.visit_block(&of.then_branch);
        let other = of.else_branch.iter();
        other.for_each(|(_, other)| self.visit_expr(other));
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        let name = match &*call.func {
            Expr::Path(of) => of.path.get_ident(),
            _ => None,
        };
        self.functions.extend(name);
        // Of a macro, the first argument is the text.
        let is_text = name.is_some_and(|name| name == "format" || name == "format_args");
        let count = if is_text { 1 } else { call.args.len() };
        let values = call.args.iter().take(count);
        values.for_each(|value| self.visit_expr(value));
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        const OF_VALUES: [&str; 5] = ["chain", "map_or", "or", "then_some", "unwrap_or"];
        let is_value = OF_VALUES.iter().any(|method| call.method == method);
        self.visit_expr(&call.receiver);
        let given = call.args.iter();
        let given = given.filter(|arg| is_value || matches!(arg, Expr::Closure(_)));
        given.for_each(|arg| self.visit_expr(arg));
    }

    fn visit_expr_binary(&mut self, _: &'a syn::ExprBinary) {}

    fn visit_expr_return(&mut self, _: &'a syn::ExprReturn) {}

    fn visit_pat(&mut self, _: &'a Pat) {}
}

/// Variables, each with its value; none for parameters.
type Scope<'a> = Vec<(&'a Ident, Option<&'a Expr>)>;

struct Search<'a> {
    known: &'a Known<'a>,
    /// The source that is being visited.
    at: usize,
    scope: Scope<'a>,
    /// By file and place, so that a text that two places share counts once.
    found: BTreeSet<(usize, (usize, usize), String)>,
    /// Definitions whose results are found.
    followed: BTreeSet<usize>,
}

impl<'a> Search<'a> {
    fn add(&mut self, place: Span, text: String) {
        let start = place.start();
        self.found
            .insert((self.at, (start.line, start.column), text));
    }

    /// Adds the literals behind an argument that is a cure, else the argument
    /// as it is.
    fn cure(&mut self, argument: Option<&'a Expr>) {
        if let Some(argument) = argument
            && !self.leads(argument, self.scope.len())
        {
            self.add(argument.span(), text_of(argument.span()));
        }
    }

    /// Adds the literals that an expression may result in, where `seen`
    /// variables of the scope exist. Returns whether there are any, or other
    /// places bring them.
    fn leads(&mut self, expr: &'a Expr, seen: usize) -> bool {
        let mut values = Values::default();
        values.visit_expr(expr);
        for text in &values.texts {
            self.add(text.span(), text.value());
        }
        let mut led = values.is_field || !values.texts.is_empty();
        for name in values.variables {
            led |= self.has_value(name, seen) || self.is_defined(name, false);
        }
        for name in values.functions {
            led |= self.is_defined(name, true);
        }
        led
    }

    /// Follows a variable. A parameter `cure` leads to the calls.
    fn has_value(&mut self, name: &'a Ident, seen: usize) -> bool {
        let known = &self.scope[..seen];
        match known.iter().rposition(|(known, _)| *known == name) {
            // A variable of the same name may be made of an earlier one.
            Some(at) => match self.scope[at].1 {
                Some(value) => self.leads(value, at),
                None => name == "cure",
            },
            None => false,
        }
    }

    /// Follows the constants, or the functions, of the crate by their name.
    fn is_defined(&mut self, name: &'a Ident, is_function: bool) -> bool {
        let (known, of) = (self.known, self.known.crates[self.at]);
        let all = known.definitions.iter().enumerate().filter(|(_, d)| {
            let is_free = d.owner.is_empty() && d.is_function == is_function;
            is_free && d.name == name && known.crates[d.source] == of
        });
        let mut defined = false;
        for (number, definition) in all {
            defined = true;
            if self.followed.insert(number) {
                let at = std::mem::replace(&mut self.at, definition.source);
                for result in &definition.results {
                    self.leads(result, 0);
                }
                self.at = at;
            }
        }
        defined
    }

    /// Returns which argument of a call by a path is a cure.
    fn cure_of(&self, call: &syn::ExprCall) -> Option<usize> {
        let Expr::Path(of) = &*call.func else {
            return None;
        };
        let mut words = of.path.segments.iter().rev().map(|segment| &segment.ident);
        let (name, owner) = (words.next()?, words.next());
        let closure = self.scope.iter().rfind(|(known, _)| *known == name);
        if let Some((_, Some(Expr::Closure(closure)))) = closure {
            return cure_among(&closure.inputs);
        }
        let is_called = |d: &&Definition<'_>| {
            let of_file = d.owner.is_empty() && d.source == self.at;
            let of_type = owner.is_some_and(|owner| *owner == d.owner);
            d.name == name && d.cure.is_some() && !d.is_method && (of_file || of_type)
        };
        self.known.definitions.iter().find(is_called)?.cure
    }
}

impl<'a> Visit<'a> for Search<'a> {
    fn visit_signature(&mut self, signature: &'a Signature) {
        let names = patterns(signature).filter_map(variable);
        self.scope = names.map(|name| (name, None)).collect();
    }

    fn visit_block(&mut self, block: &'a Block) {
        let outer = self.scope.len();
        visit::visit_block(self, block);
        self.scope.truncate(outer);
    }

    fn visit_local(&mut self, local: &'a Local) {
        visit::visit_local(self, local);
        let value = local.init.as_ref().map(|init| &*init.expr);
        let name = variable(&local.pat).filter(|_| value.is_some());
        self.scope.extend(name.map(|name| (name, value)));
    }

    fn visit_expr_closure(&mut self, closure: &'a syn::ExprClosure) {
        let outer = self.scope.len();
        let names = closure.inputs.iter().filter_map(variable);
        self.scope.extend(names.map(|name| (name, None)));
        visit::visit_expr_closure(self, closure);
        self.scope.truncate(outer);
    }

    /// Documentation is no text of the program.
    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_field_value(&mut self, field: &'a syn::FieldValue) {
        if is_cure(&field.member) {
            self.leads(&field.expr, self.scope.len());
        }
        visit::visit_field_value(self, field);
    }

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        if let Some((_, cure)) = text.value().split_once("; try: ")
            && !is_carried(cure)
        {
            self.add(text.span(), cure.to_owned());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let mut all = self.known.definitions.iter();
        let method = all.find(|d| d.is_method && d.cure.is_some() && call.method == *d.name);
        let at = method.and_then(|d| d.cure);
        self.cure(at.and_then(|at| call.args.iter().nth(at)));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        let at = self.cure_of(call);
        self.cure(at.and_then(|at| call.args.iter().nth(at)));
        // The cure of a sentence may be its last argument.
        let is_sentence = |arg: &Expr| match arg {
            Expr::Lit(of) => matches!(&of.lit, Lit::Str(t) if t.value().ends_with("; try: {}")),
            _ => false,
        };
        if call.args.iter().any(is_sentence) {
            let last = call.args.last();
            self.cure(last.filter(|last| !text_of(last.span()).contains("cure")));
        }
        visit::visit_expr_call(self, call);
    }
}
