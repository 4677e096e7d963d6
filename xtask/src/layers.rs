//! Modules of `src/` import from lower layers only, by full path. So no two of them can depend on each other in a ring.

mod paths;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::layers::paths::{Found, Place};
use crate::report::{Report, Violation};
use crate::sources;

/// The layers, the lowest first. Modules of one row know nothing of each other.
const ROWS: [&[&str]; 8] =
    [&["clock"], &["causal"], &["wire"], &["cell"], &["crdt"], &["delta"], &["replica"], &["sync", "region"]];

/// The crate, as it is named from outside.
const CRATE: &str = "driftless";

/// Looks at all files of `src/`.
pub(crate) fn check(root: &Path) -> io::Result<Report> {
    let src = root.join("src");
    let files = sources::below(&src)?;
    let places: Vec<_> =
        files.iter().map(|file| Place::of(file.strip_prefix(&src).unwrap_or(file))).collect();
    let modules = places.iter().filter_map(|place| place.top().map(str::to_owned)).collect();
    let mut imports = 0;
    let mut violations = Vec::new();
    for (file, place) in files.iter().zip(places) {
        let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let source = std::fs::read_to_string(file)?;
        let checked = check_source(place, &source, &modules);
        imports += checked.imports;
        let violation = |(line, reason)| Violation { file: shown.clone(), line, reason };
        violations.extend(checked.reasons.into_iter().map(violation));
    }
    Ok(Report {
        summary: format!("{} files, {imports} imports, all from lower layers", files.len()),
        violations,
    })
}

/// What a file imports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checked {
    imports: usize,
    /// Lines, and what is wrong there.
    reasons: Vec<(usize, String)>,
}

fn check_source(place: Place, source: &str, modules: &BTreeSet<String>) -> Checked {
    let mut checked = Checked::default();
    // The root declares and exports all modules; it is above them all.
    let Some(module) = place.top().map(str::to_owned) else {
        return checked;
    };
    if row(&module).is_none() {
        checked.reasons.push((1, not_in_table(&module)));
        return checked;
    }
    let found = match paths::of(place, source) {
        Ok(found) => found,
        Err(error) => {
            checked.reasons.push((error.span().start().line, format!("it cannot be read: {error}")));
            return checked;
        }
    };
    for found in found {
        checked.imports += usize::from(found.segments[0] == "crate");
        checked.reasons.extend(fault(&module, &found, modules).map(|reason| (found.line, reason)));
    }
    checked
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// What is wrong with a path in `module`, if anything.
fn fault(module: &str, found: &Found, modules: &BTreeSet<String>) -> Option<String> {
    let Found { place, segments, .. } = found;
    let shown = segments.join("::");
    if segments[0] == CRATE {
        return (!place.is_test()).then(|| format!("`{shown}` names its own crate: name `crate` instead"));
    }
    if segments[0] != "crate" {
        let is_up = |word: &&String| *word == "super" || *word == "self";
        let ups = segments.iter().take_while(is_up).filter(|word| *word == "super").count();
        return (ups >= place.depth()).then(|| format!("`{shown}` leaves `{module}`: name the full path"));
    }
    let imported = segments.get(1).map(String::as_str).unwrap_or_default();
    match (row(imported), row(module)) {
        _ if imported == module => None,
        (Some(below), Some(own)) if below < own => None,
        (Some(_), _) => Some(format!("`{shown}` is not of a layer below `{module}`")),
        (None, _) if modules.contains(imported) => Some(not_in_table(imported)),
        (None, _) => Some(format!("`{shown}` is a crate-root import: name the module that owns it")),
    }
}

fn not_in_table(module: &str) -> String {
    format!("`{module}` is not in the table of layers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(file: &str, source: &str) -> Checked {
        let modules = ["clock", "causal", "cell", "crdt", "region", "sync", "extra"].map(str::to_owned);
        check_source(Place::of(Path::new(file)), source, &modules.into())
    }

    /// The one fault of a file of `crdt`, and its line.
    fn fault_of(source: &str) -> (usize, String) {
        let mut reasons = checked("crdt/map/mod.rs", source).reasons;
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons.remove(0)
    }

    fn assert_imports(file: &str, source: &str, imports: usize) {
        assert_eq!(checked(file, source), Checked { imports, reasons: Vec::new() });
    }

    #[test]
    fn lower_layers_and_the_module_itself_may_be_named() {
        let source = "use crate::causal::{dot::Dot, id::ReplicaId};\nuse crate::crdt::map::row::Row;\n\
            pub(crate) fn f(at: crate::clock::Timestamp) {}\n\
            pub(in crate::replica) struct S(pub(crate) u8, pub (crate::cell::Cell));\n";
        assert_imports("crdt/map/mod.rs", source, 4);
        assert_imports("clock.rs", "use std::fmt;\npub(super) fn f() { self::g(); }", 0);
    }

    #[test]
    fn higher_layers_and_the_same_row_may_not() {
        let not_below = "`crate::replica::held::Held` is not of a layer below `crdt`".to_owned();
        assert_eq!(fault_of("use std::fmt;\n\nuse crate::replica::held::Held;"), (3, not_below.clone()));
        assert_eq!(fault_of("fn f() {\n  let x: crate::replica::held::Held = y;\n}"), (2, not_below.clone()));
        assert_eq!(
            fault_of("macro_rules! m { () => { $crate::replica::held::Held } }"),
            (1, not_below.clone())
        );
        assert_eq!(fault_of("use {crate::cell::Cell, crate::replica::held::Held};"), (1, not_below.clone()));
        assert_eq!(fault_of("vec![crate::replica::held::Held::new()]").0, 1);
        assert_eq!(fault_of("#[cfg(test)]\nmod tests { use crate::replica::held::Held; }"), (2, not_below));
        assert_eq!(checked("sync/mod.rs", "use crate::region::Lag;").reasons.len(), 1);
    }

    #[test]
    fn the_root_may_not_be_imported_from() {
        for (source, shown) in [
            ("use crate::Crdt;", "crate::Crdt"),
            ("use crate::{cell::Cell, clock};", "crate::{..}"),
            ("use crate::*;", "crate::*"),
            ("use crate as root;", "crate"),
            ("fn f() { crate::helper() }", "crate::helper"),
        ] {
            let reason = format!("`{shown}` is a crate-root import: name the module that owns it");
            assert_eq!(fault_of(source), (1, reason));
        }
    }

    #[test]
    fn a_module_may_not_be_left_upwards() {
        let leaves = |shown: &str| (1, format!("`{shown}` leaves `crdt`: name the full path"));
        assert_eq!(fault_of("use super::super::clock::Timestamp;"), leaves("super::super::clock::Timestamp"));
        assert_eq!(fault_of("use super::{Crdt, super::clock};"), leaves("super::super::clock"));
        assert_eq!(fault_of("use self::super::super::clock;"), leaves("self::super::super::clock"));
        assert_eq!(
            fault_of("mod a { use super::super::super::clock; }"),
            leaves("super::super::super::clock")
        );
        for source in ["use super::clock::Timestamp;", "use super as root;"] {
            assert_eq!(checked("cell.rs", source).reasons.len(), 1);
        }
        assert_imports(
            "crdt/map/mod.rs",
            "use super::{Crdt, change::*}; mod a { use super::super::Crdt; }",
            0,
        );
        assert_imports("cell.rs", "#[cfg(test)]\nmod tests { use super::*; }", 0);
    }

    #[test]
    fn the_crate_may_be_named_from_outside_in_tests_only() {
        let reason = "`driftless::Crdt` names its own crate: name `crate` instead".to_owned();
        assert_eq!(fault_of("use driftless::Crdt;"), (1, reason.clone()));
        assert_eq!(fault_of("fn f() { ::driftless::Crdt::g() }").0, 1);
        assert_eq!(fault_of("#[cfg(test)]\nuse driftless::Flag;\nuse driftless::Crdt;"), (3, reason.clone()));
        assert_eq!(
            fault_of("#[cfg(test)]\nmod a { use driftless::Flag; }\nuse driftless::Crdt;"),
            (3, reason)
        );
        assert_imports("crdt/map/mod.rs", "mod tests { use driftless::Crdt; }", 0);
        assert_imports("crdt/map/tests.rs", "use driftless::Crdt;", 0);
        assert_imports("crdt/map/mod.rs", "fn f() { other::driftless::g() }", 0);
    }

    #[test]
    fn comments_and_texts_are_passed_over() {
        let source = "//! See [`Crdt`](crate::Crdt).\n/// ```\n/// use driftless::Crdt;\n/// ```\n\
            fn f() { /* crate::Crdt */ g(\"crate::Crdt\") } // crate::Crdt";
        assert_imports("crdt/map/mod.rs", source, 0);
    }

    #[test]
    fn every_module_has_a_layer() {
        let reason = "`extra` is not in the table of layers".to_owned();
        assert_eq!(checked("extra/mod.rs", "use crate::Crdt;").reasons, [(1, reason.clone())]);
        assert_eq!(fault_of("use crate::extra::Thing;"), (1, reason));
        assert_imports("lib.rs", "extern crate self as driftless; pub use crate::crdt::Crdt;", 0);
    }

    #[test]
    fn what_is_not_rust_is_a_fault() {
        assert_eq!(fault_of("fn f() {\n  (]\n}").0, 2);
    }
}
