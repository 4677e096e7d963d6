//! The table of scenarios in `docs/testing.md`: each number that must be there has a row, each row a test or a reason, and each
//! test with a number a row.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::report::{Report, Violation};
use crate::sources;

const PAGE: &str = "docs/testing.md";

/// The numbers that must be there.
const REQUIRED: [&str; 117] = [
    "T01", "T02", "T03", "T04", "T05", "T06", "T07", "T08", "T09", "T10", "T11", "T12", "T13", "T14", "T15",
    "T16", "T17", "T18", "T19", "T20", "T21", "T22", "T23", "T24", "T25", "T26", "T27", "T28", "T29", "T30",
    "T31", "T32", "T33", "T34", "T35", "T36", "T39", "T40", "T41", "T42", "T43", "T44", "T45", "T46", "T47",
    "T48", "T50", "T51", "T52", "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11",
    "B12", "B13", "B14", "B15", "B16", "B17", "B18", "B19", "B20", "B21", "B22", "B23", "B24", "B25", "B26",
    "B27", "B28", "B29", "B30", "B31", "B32", "B33", "B34", "B35", "B36", "B37", "B38", "B39", "B41", "B42",
    "B43", "B44", "B45", "B46", "B47", "B48", "B49", "B50", "B51", "B52", "B53", "B54", "B55", "B56", "B57",
    "B58", "B59", "B60", "B61", "B62", "B63", "B64", "B65", "B66", "B70", "B71", "B72",
];

/// What the last cell of a row begins with if there is no test, followed by the reason.
const NOT_APPLICABLE: &str = "not applicable:";

/// Where tests are.
const FOLDERS: [&str; 3] = ["src", "tests", "testkit/src"];

/// Compares the table with the tests.
pub(crate) fn check(root: &Path) -> io::Result<Report> {
    let mut tests = Tests::new();
    for folder in FOLDERS {
        collect(root, &root.join(folder), &mut tests)?;
    }
    Ok(compare(&std::fs::read_to_string(root.join(PAGE))?, &tests))
}

/// The numbers of the tests in each file.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn collect(root: &Path, folder: &Path, tests: &mut Tests) -> io::Result<()> {
    for path in sources::below(folder)? {
        let file = path.strip_prefix(root).unwrap_or(&path).components();
        let file: Vec<_> = file.map(|part| part.as_os_str().to_string_lossy()).collect();
        tests.insert(file.join("/"), numbers(&std::fs::read_to_string(&path)?));
    }
    Ok(())
}

/// The numbers that names of test functions begin with, as `T07`: of `fn t07_..` and of `fn t7_..`.
fn numbers(source: &str) -> BTreeSet<String> {
    let mut is_test = false;
    let mut numbers = BTreeSet::new();
    for line in source.lines().map(str::trim_start) {
        if let Some(name) = line.strip_prefix("fn ") {
            numbers.extend(number(name).filter(|_| is_test));
            is_test = false;
        } else {
            is_test = line == "#[test]" || (is_test && (line.starts_with("#[") || line.starts_with("//")));
        }
    }
    numbers
}

fn number(name: &str) -> Option<String> {
    let (number, _) = name.split_once('_')?;
    let kind = number.chars().next().filter(|kind| "tb".contains(*kind))?;
    let digits = &number[1..];
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{}{digits:0>2}", kind.to_ascii_uppercase()))
}

fn compare(page: &str, tests: &Tests) -> Report {
    let mut violations = Vec::new();
    let mut refuse = |file: &str, line: usize, reason: String| {
        violations.push(Violation { file: file.to_owned(), line, reason });
    };
    let mut rows = BTreeSet::new();
    let mut reasons = 0;
    for (line, text) in (1..).zip(page.lines()) {
        let Some((number, named)) = row(text) else {
            continue;
        };
        if !rows.insert(number.to_owned()) {
            refuse(PAGE, line, format!("{number} has a row already"));
        }
        if named.strip_prefix(NOT_APPLICABLE).is_some_and(|reason| !reason.trim().is_empty()) {
            reasons += 1;
            continue;
        }
        let files: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if files.is_empty() {
            refuse(
                PAGE,
                line,
                format!("{number} names no file and gives no reason after `{NOT_APPLICABLE}`"),
            );
        }
        for file in files.iter().filter(|file| !tests.get(**file).is_some_and(|tests| tests.contains(number)))
        {
            refuse(PAGE, line, format!("{number} has no test in `{file}` whose name begins with it"));
        }
    }
    for number in REQUIRED.iter().filter(|number| !rows.contains(**number)) {
        refuse(PAGE, 1, format!("{number} has no row"));
    }
    for (file, numbers) in tests {
        for number in numbers.iter().filter(|number| !rows.contains(*number)) {
            refuse(file, 1, format!("{number} has a test here and no row in {PAGE}"));
        }
    }
    let summary = format!("{} scenarios have tests, {reasons} a reason why not", rows.len() - reasons);
    Report { summary, violations }
}

/// The number of a row of the table and its last cell.
fn row(text: &str) -> Option<(&str, &str)> {
    let mut cells = text.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').map(str::trim);
    let number = cells.next()?;
    let is_number = self::number(&format!("{}_", number.to_lowercase())).as_deref() == Some(number);
    Some((number, cells.next_back().filter(|_| is_number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(files: &[(&str, &str)]) -> Tests {
        files.iter().map(|(file, source)| ((*file).to_owned(), numbers(source))).collect()
    }

    /// A table with all that must be there, as if one file held all tests.
    fn page(change: impl Fn(&str) -> String) -> String {
        REQUIRED.iter().map(|number| format!("{}\n", change(number))).collect()
    }

    fn reasons(page: &str, source: &str) -> Vec<String> {
        let all: String = REQUIRED
            .iter()
            .map(|number| format!("#[test]\nfn {}_x() {{}}\n", number.to_lowercase()))
            .collect();
        let tests = tests(&[("tests/a.rs", &all), ("tests/b.rs", source)]);
        compare(page, &tests).violations.into_iter().map(|violation| violation.reason).collect()
    }

    fn good(number: &str) -> String {
        format!("| {number} | something | `tests/a.rs` |")
    }

    #[test]
    fn a_test_is_a_function_with_the_attribute_and_a_number() {
        let source = "#[test]\nfn t07_names() {}\n    #[test]\n    #[should_panic]\n    // why\n    fn b9_x() {}\n\
            fn t08_helper() {}\n#[test]\nfn total_of() {}\n#[test]\nlet x;\nfn b10_x() {}\n#[test]\nfn b100_x() {}";
        assert_eq!(numbers(source).into_iter().collect::<Vec<_>>(), ["B09", "B100", "T07"]);
    }

    #[test]
    fn a_full_table_is_in_order() {
        assert_eq!(reasons(&page(good), ""), [""; 0]);
        let with_reason = page(|number| match number {
            "T24" => "| T24 | something | not applicable: there are no clocks |".to_owned(),
            _ => good(number),
        });
        assert_eq!(reasons(&with_reason, ""), [""; 0]);
    }

    #[test]
    fn a_row_without_a_test_is_found() {
        for (row, reason) in [
            ("| T24 | x | – |", "T24 names no file and gives no reason after `not applicable:`"),
            (
                "| T24 | x | not applicable: |",
                "T24 names no file and gives no reason after `not applicable:`",
            ),
            ("| T24 | x | `tests/b.rs` |", "T24 has no test in `tests/b.rs` whose name begins with it"),
            (
                "| T24 | x | `tests/a.rs`, `tests/c.rs` |",
                "T24 has no test in `tests/c.rs` whose name begins with it",
            ),
            ("T24 is nothing", "T24 has no row"),
        ] {
            let page = page(|number| if number == "T24" { row.to_owned() } else { good(number) });
            let found = reasons(&page, "");
            assert_eq!(found.iter().filter(|found| *found == reason).count(), 1, "{found:?}");
        }
        let twice = format!("{}{}\n", page(good), good("B09"));
        assert_eq!(reasons(&twice, ""), ["B09 has a row already"]);
    }

    #[test]
    fn a_test_without_a_row_is_found() {
        let found = reasons(&page(good), "#[test]\nfn b99_x() {}\n#[test]\nfn t07_y() {}");
        assert_eq!(found, ["B99 has a test here and no row in docs/testing.md"]);
    }
}
