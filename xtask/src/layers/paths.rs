//! The paths of a source file that lead out of a module.
//!
//! They are sought among the tokens, so those inside of macros are found as well; comments hold none.

use std::path::Path;

use proc_macro2::{Delimiter, Group, LexError, Spacing, TokenStream, TokenTree};

use crate::layers::CRATE;

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its path from the root.
    modules: Vec<String>,
    is_test: bool,
}

impl Place {
    /// The module that a file holds, by its path in `src/`.
    pub(crate) fn of(file: &Path) -> Self {
        let names = file.with_extension("");
        let mut modules: Vec<_> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let is_root = modules.len() == 1 && modules[0] == "lib";
        modules.pop_if(|last| is_root || last == "mod");
        let is_test = modules.iter().any(|name| name == "tests");
        Self { modules, is_test }
    }

    /// The module below the root that it is, or lies in.
    pub(crate) fn top(&self) -> Option<&str> {
        self.modules.first().map(String::as_str)
    }

    /// A module in this one.
    fn inner(&self, name: String, is_test: bool) -> Self {
        let is_test = self.is_test || is_test || name == "tests";
        let modules = self.modules.iter().cloned().chain([name]).collect();
        Self { modules, is_test }
    }

    /// How many `super` lead to the root.
    pub(crate) fn depth(&self) -> usize {
        self.modules.len()
    }

    /// Whether it is compiled for tests only.
    pub(crate) fn is_test(&self) -> bool {
        self.is_test
    }
}

/// A path that begins with `crate`, `super`, `self` or the name of the crate.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) line: usize,
    pub(crate) place: Place,
    pub(crate) segments: Vec<String>,
}

/// All such paths of a file, in order.
pub(crate) fn of(place: Place, source: &str) -> Result<Vec<Found>, LexError> {
    let mut found = Vec::new();
    collect(&place, source.parse()?, &mut found);
    Ok(found)
}

fn collect(place: &Place, tokens: TokenStream, found: &mut Vec<Found>) {
    let trees: Vec<_> = tokens.into_iter().collect();
    // Set from `#[cfg(test)]` to the end of what it stands on.
    let mut is_test = false;
    let mut at = 0;
    while at < trees.len() {
        match &trees[at..] {
            [TokenTree::Punct(hash), TokenTree::Group(group), ..] if hash.as_char() == '#' => {
                is_test |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                at += 2;
            }
            [TokenTree::Ident(word), TokenTree::Group(group), ..]
                if word == "pub" && is_visibility(group) =>
            {
                at += 2;
            }
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..] if word == "mod" => {
                collect(&place.inner(name.to_string(), is_test), body.stream(), found);
                is_test = false;
                at += 3;
            }
            [TokenTree::Ident(word), TokenTree::Ident(next), ..] if word == "extern" && next == "crate" => {
                at += 2
            }
            [TokenTree::Ident(first), ..] if is_start(&trees, at) => {
                let line = first.span().start().line;
                let place = Place { is_test: place.is_test || is_test, ..place.clone() };
                at = follow(&trees, at, Vec::new(), &mut |segments| {
                    if segments.len() > 1 || segments[0] == "crate" || segments[0] == "super" {
                        found.push(Found { line, place: place.clone(), segments });
                    }
                });
            }
            [TokenTree::Group(group), ..] => {
                let inner = Place { is_test: place.is_test || is_test, ..place.clone() };
                collect(&inner, group.stream(), found);
                is_test &= group.delimiter() != Delimiter::Brace;
                at += 1;
            }
            [TokenTree::Punct(end), ..] if end.as_char() == ';' => {
                is_test = false;
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether it is the rest of `pub(crate)`, `pub(super)`, `pub(in ..)`.
fn is_visibility(group: &Group) -> bool {
    let trees: Vec<_> = group.stream().into_iter().collect();
    match &trees[..] {
        [TokenTree::Ident(_)] => true,
        [TokenTree::Ident(word), ..] => word == "in",
        _ => false,
    }
}

/// Whether a path of those that are sought begins here.
fn is_start(trees: &[TokenTree], at: usize) -> bool {
    let TokenTree::Ident(word) = &trees[at] else {
        return false;
    };
    let is_inside = at >= 3 && is_separator(trees, at - 2) && matches!(trees[at - 3], TokenTree::Ident(_));
    word == "crate" || word == "super" || word == "self" || word == CRATE && !is_inside
}

fn is_separator(trees: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| match trees.get(at) {
        Some(TokenTree::Punct(punct)) if punct.as_char() == ':' => Some(punct.spacing()),
        _ => None,
    };
    colon(at) == Some(Spacing::Joint) && colon(at + 1).is_some()
}

/// Follows a path from its first word on and hands its segments to `found`; a group after anything but `self` and `super` is
/// one segment. Returns where it ends.
fn follow(
    trees: &[TokenTree],
    mut at: usize,
    mut segments: Vec<String>,
    found: &mut dyn FnMut(Vec<String>),
) -> usize {
    loop {
        match trees.get(at) {
            Some(TokenTree::Ident(word)) => segments.push(word.to_string()),
            Some(TokenTree::Group(group))
                if segments.iter().all(|word| word == "super" || word == "self") =>
            {
                let parts: Vec<_> = group.stream().into_iter().collect();
                let is_comma =
                    |tree: &TokenTree| matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ',');
                for part in parts.split(is_comma) {
                    follow(part, 0, segments.clone(), found);
                }
                return at + 1;
            }
            Some(TokenTree::Group(_)) => segments.push("{..}".to_owned()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => segments.push("*".to_owned()),
            _ => {}
        }
        at += 1;
        if !is_separator(trees, at) {
            found(segments);
            return at;
        }
        at += 2;
    }
}
