//! Waits that poll or spin instead of waiting for an event.
//!
//! A comment that starts with `polling:`, on the line or above it, states the reason for an exception, for example that
//! another program offers no event to wait for.

use std::{mem, path::Path};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, ExprForLoop, ExprLoop, ExprMethodCall, ExprPath, ExprWhile, ItemFn, ItemMod, Macro, Meta,
    visit::{self, Visit},
};

use crate::source::is_compiled;

/// Calls that check something without waiting for it, or wait for no particular event.
const POLLS: [&str; 3] = ["now_or_never", "spin_loop", "yield_now"];

/// Calls that wait for time to pass. In a loop of a test, they are polling.
const SLEEPS: [&str; 2] = ["park_timeout", "sleep"];

/// Returns the lines of a file that poll, each with the call.
pub(crate) fn polls(file: &Path, text: &str) -> Vec<(usize, String)> {
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let in_tests = file.with_extension("").components().any(|part| {
        let part = part.as_os_str();
        part == "tests" || part == "testing"
    });
    let mut calls = Calls { found: Vec::new(), in_tests, time: Time::Real, loops: 0 };
    calls.visit_file(&parsed);
    let lines: Vec<_> = text.lines().collect();
    calls.found.retain(|(line, _)| !is_excused(&lines, *line));
    calls.found
}

/// Returns whether a reason is on the line or in the comment above it.
fn is_excused(lines: &[&str], line: usize) -> bool {
    let above = lines[..line - 1].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
    above.chain(lines.get(line - 1)).any(|line| line.contains("// polling: "))
}

struct Calls {
    found: Vec<(usize, String)>,
    in_tests: bool,
    time: Time,
    /// The number of enclosing loops.
    loops: usize,
}

/// The clock of a function. Under a simulated clock (`start_paused = true`), the end of a sleep is an event.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Time {
    Real,
    Simulated,
}

fn pauses_time(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let mut tokens = list.tokens.clone().into_iter();
    tokens.any(|token| matches!(token, TokenTree::Ident(name) if name == "start_paused"))
}

impl Calls {
    fn name(&mut self, name: &Ident) {
        let can_poll = self.in_tests && self.time == Time::Real && self.loops > 0;
        let sleeps = can_poll && SLEEPS.iter().any(|call| name == call);
        if sleeps || POLLS.iter().any(|call| name == call) {
            self.found.push((name.span().start().line, name.to_string()));
        }
    }

    fn in_loop(&mut self, inside: impl FnOnce(&mut Self)) {
        self.loops += 1;
        inside(self);
        self.loops -= 1;
    }

    /// Visits the names in a macro. A loop is a keyword followed by braces.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut is_loop = false;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    is_loop |= ["for", "loop", "while"].iter().any(|keyword| name == keyword);
                    self.name(&name);
                }
                TokenTree::Group(group) if is_loop && group.delimiter() == Delimiter::Brace => {
                    is_loop = false;
                    self.in_loop(|calls| calls.tokens(group.stream()));
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Calls {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.name(&call.method);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        if let Some(last) = path.path.segments.last() {
            self.name(&last.ident);
        }
        visit::visit_expr_path(self, path);
    }

    fn visit_expr_loop(&mut self, expression: &'ast ExprLoop) {
        self.in_loop(|calls| visit::visit_expr_loop(calls, expression));
    }

    fn visit_expr_while(&mut self, expression: &'ast ExprWhile) {
        self.in_loop(|calls| visit::visit_expr_while(calls, expression));
    }

    fn visit_expr_for_loop(&mut self, expression: &'ast ExprForLoop) {
        self.in_loop(|calls| visit::visit_expr_for_loop(calls, expression));
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.tokens(invocation.tokens.clone());
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        let (loops, time) = (mem::take(&mut self.loops), self.time);
        if function.attrs.iter().any(pauses_time) {
            self.time = Time::Simulated;
        }
        visit::visit_item_fn(self, function);
        (self.loops, self.time) = (loops, time);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let before = self.in_tests;
        self.in_tests |= !is_compiled(&module.attrs);
        visit::visit_item_mod(self, module);
        self.in_tests = before;
    }
}
