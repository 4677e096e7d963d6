//! Each public function of `src/` is called in an example of the documentation, which is compiled and run by the tests.
//!
//! Functions are told by name: an example of `len` of one type stands for that of another. What is exported is what the root
//! names in a `pub use`; what is hidden in the documentation needs no example.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::report::{Report, Violation};
use crate::sources;

/// Stands for the type where a macro writes the same methods for several.
const ANY_TYPE: &str = "$name";

/// Looks at all files of `src/`.
pub(crate) fn check(root: &Path) -> io::Result<Report> {
    let src = root.join("src");
    let exported = exported(&std::fs::read_to_string(src.join("lib.rs"))?);
    let files = sources::below(&src)?;
    let (mut functions, mut examples) = (Vec::new(), String::new());
    for file in files {
        let source = std::fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let public = public_functions(&source, &exported);
        functions.extend(public.into_iter().map(|(line, name)| (shown.clone(), line, name)));
        examples.push_str(&code_of_examples(&source));
    }
    let summary = format!("{} public functions, each called in an example", functions.len());
    let missing = functions.into_iter().filter(|(_, _, name)| !is_called(&examples, name));
    let violations = missing.map(|(file, line, name)| {
        let reason =
            format!("`{name}` is called in no example: add one to its documentation, or to its type's");
        Violation { file, line, reason }
    });
    Ok(Report { summary, violations: violations.collect() })
}

/// The types that the root exports: names of its `pub use` lines, but not of those within a module.
fn exported(root: &str) -> BTreeSet<String> {
    let lines = root.lines().filter(|line| line.starts_with("pub use "));
    let names = lines.flat_map(|line| line.split(|c: char| !is_of_name(c)));
    names.filter(|name| name.starts_with(char::is_uppercase)).map(str::to_owned).collect()
}

/// The public functions of exported types, each with its line.
fn public_functions(source: &str, exported: &BTreeSet<String>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut is_exported, mut is_hidden) = (false, false);
    for (line, number) in source.lines().zip(1..) {
        let line = line.trim_start();
        if line == "#[cfg(test)]" {
            break;
        }
        if line.starts_with("impl") {
            let implemented = implemented_type(line);
            is_exported = implemented == ANY_TYPE || exported.contains(implemented);
        }
        let function = line.strip_prefix("pub const fn ").or(line.strip_prefix("pub fn "));
        if let Some(function) = function {
            let end = function.find(|c: char| !is_of_name(c)).unwrap_or(function.len());
            if is_exported && !is_hidden {
                found.push((number, function[..end].to_owned()));
            }
        }
        is_hidden = line == "#[doc(hidden)]" || (is_hidden && line.starts_with("#["));
    }
    found
}

/// The name of the type in the first line of an `impl`, without generics.
fn implemented_type(line: &str) -> &str {
    let rest = after_generics(line.strip_prefix("impl").unwrap_or(line));
    let target = rest.split_once(" for ").map_or(rest, |(_, target)| target).trim_start();
    let end = target.find(|c: char| !is_of_name(c) && c != '$').unwrap_or(target.len());
    &target[..end]
}

/// What follows the generics that a line begins with, if it does.
fn after_generics(line: &str) -> &str {
    let mut depth = 0_usize;
    let end = line.char_indices().find_map(|(place, c)| {
        depth = if c == '<' { depth + 1 } else { depth.saturating_sub(usize::from(c == '>')) };
        (depth == 0).then_some(if c == '>' { place + 1 } else { place })
    });
    &line[end.unwrap_or(0)..]
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The code in the documentation that is compiled.
fn code_of_examples(source: &str) -> String {
    let mut code = String::new();
    let (mut is_inside, mut is_compiled) = (false, false);
    for line in source.lines() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or(line.strip_prefix("//!")) else {
            // A macro may put lines of an example together.
            is_inside &= line.starts_with("#[doc");
            continue;
        };
        if let Some(language) = text.trim_start().strip_prefix("```") {
            (is_inside, is_compiled) = (!is_inside, language.is_empty());
        } else if is_inside && is_compiled {
            code.push_str(text);
            code.push('\n');
        }
    }
    code
}

/// Whether code calls a function of that name, as a method or by a path.
fn is_called(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(start, _)| {
        let (before, after) = (&code[..start], &code[start + name.len()..]);
        (before.ends_with('.') || before.ends_with("::"))
            && (after.starts_with('(') || after.starts_with("::<"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
/// A box.
///
/// ```
/// let opened = Crate::new().open();
/// ```
/// ```text
/// opened.burn()
/// ```
pub struct Crate;

impl Crate {
    pub const fn new() -> Self {}
    pub(crate) fn weigh(&self) {}
    pub fn open(&self) -> Self {}
    pub fn burn(&self) {}
    #[doc(hidden)]
    #[inline]
    pub fn look_inside(&self) {}
}

impl<T: Into<Vec<u8>>> Inner<T> {
    pub fn hidden(&self) {}
}

impl<'a, T> Iterator for Crate<'a, T> {
    pub fn stack(&self) {}
}
";

    #[test]
    fn public_functions_of_exported_types_are_found() {
        let exported = exported("pub use a::{Crate, Lid};\npub mod derived {\n    pub use a::Inner;\n}\n");
        assert_eq!(exported, ["Crate", "Lid"].map(str::to_owned).into());
        let names: Vec<_> = public_functions(SOURCE, &exported).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["new", "open", "burn", "stack"]);
        assert_eq!(implemented_type("impl<T: Datum> Writer<'_, $name<T>> {"), "Writer");
        assert_eq!(implemented_type("impl<T> $name<T> {"), ANY_TYPE);
    }

    #[test]
    fn a_call_counts_only_in_code_that_is_compiled() {
        let code = code_of_examples(SOURCE);
        assert!(is_called(&code, "new") && is_called(&code, "open"));
        assert!(!is_called(&code, "burn") && !is_called(&code, "ope") && !is_called(&code, "opened"));
        assert!(is_called("doc.names::<&str>(&[])", "names"));
    }
}
