//! Instruction counts of the pieces of work in `benches/instructions`, beside those of a baseline that is committed.
//!
//! Times differ from run to run by more than a change of the code costs; instructions do not differ at all. So each piece is
//! run once, under callgrind, which counts what runs within one function. The counts hold for one compiler, C library and
//! family of processors: the baseline says which compiler it was made with.

mod baseline;
mod callgrind;

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::report::{Report, Violation};
use baseline::{Baseline, Cost};
use callgrind::Counter;

const BASELINE: &str = "benches/instructions/baseline.txt";

/// By how much a piece may cost more than in the baseline, in percent.
const ALLOWED: f64 = 2.0;

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    /// Counts everything twice: any difference is a violation.
    is_twice: bool,
    /// Renews the baseline with what was counted.
    is_written: bool,
    /// A part of the names of the pieces; all of them if it is empty.
    name: String,
}

impl Options {
    /// Reads arguments. `None` if there is another than those known.
    fn read(arguments: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        for argument in arguments {
            match *argument {
                "--twice" => options.is_twice = true,
                "--write" => options.is_written = true,
                name if !name.starts_with('-') && options.name.is_empty() => options.name = name.to_owned(),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Counts, prints a table and compares. `None` if the arguments are not understood.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Option<io::Result<Report>> {
    Options::read(arguments).map(|options| measure(root, &options))
}

fn measure(root: &Path, options: &Options) -> io::Result<Report> {
    let path = root.join(BASELINE);
    let mut baseline = Baseline::read(&path)?;
    let compiler = compiler()?;
    let is_same_compiler = baseline.compiler == compiler;
    if options.is_written && !is_same_compiler && !options.name.is_empty() {
        let reason = "the baseline is of another compiler, or missing: renew all of it, without a name";
        return Err(io::Error::other(reason));
    }
    let counter = Counter::new(root)?;
    let mut pieces = counter.pieces()?;
    let names: Vec<_> = pieces.iter().map(|piece| piece.name.clone()).collect();
    pieces.retain(|piece| piece.name.contains(&options.name));
    if pieces.is_empty() {
        return Err(io::Error::other(format!("no piece of work is named `{}`", options.name)));
    }

    let (mut rows, mut violations) = (Vec::new(), Vec::new());
    for (piece, number) in pieces.iter().zip(1..) {
        let start = Instant::now();
        let instructions = counter.count(&piece.name)?;
        if options.is_twice {
            let again = counter.count(&piece.name)?;
            if again != instructions {
                let reason = format!("{}: {instructions} instructions, then {again}", piece.name);
                violations.push(Violation { file: BASELINE.to_owned(), line: 1, reason });
            }
        }
        let cost = Cost { operations: piece.operations, instructions };
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("[{number}/{}] {}: {instructions} instructions, {seconds:.1} s", pieces.len(), piece.name);
        rows.push((piece, cost, baseline.costs.get(&piece.name).copied()));
    }
    println!("{}", table(&rows));
    let mut summary = format!("{} pieces of work", rows.len());
    if options.is_twice {
        summary += ", each the same twice";
    }
    if !violations.is_empty() {
        return Ok(Report { summary, violations });
    }

    let costs: Vec<_> = rows.iter().map(|(piece, cost, _)| (piece.name.clone(), *cost)).collect();
    if options.is_written {
        baseline.compiler = compiler;
        baseline.costs.extend(costs);
        baseline.costs.retain(|name, _| names.contains(name));
        baseline.write(&path)?;
        summary += &format!(", written to {BASELINE}");
    } else if is_same_compiler {
        violations = regressions(&baseline, &costs);
        summary += &format!(", none more than {ALLOWED} % above {BASELINE}");
    } else {
        let other = if baseline.compiler.is_empty() { "missing" } else { &baseline.compiler };
        summary += &format!("; nothing fails, as this is {compiler} and {BASELINE} is {other}");
    }
    Ok(Report { summary, violations })
}

/// What costs more than is allowed.
fn regressions(baseline: &Baseline, costs: &[(String, Cost)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, cost) in costs {
        let Some(before) = baseline.costs.get(name) else { continue };
        let percent = cost.percent_above(before);
        if percent > ALLOWED {
            let reason = format!(
                "{name} costs {percent:.1} % more: {} instructions an operation, {} in the baseline",
                decimal(cost.each()),
                decimal(before.each()),
            );
            violations.push(Violation { file: BASELINE.to_owned(), line: baseline.line(name), reason });
        }
    }
    violations
}

/// A table in Markdown.
fn table(rows: &[(&callgrind::Piece, Cost, Option<Cost>)]) -> String {
    let head = ["work", "operations", "instructions each", "to the baseline"].map(str::to_owned);
    let line = |(piece, cost, before): &(&callgrind::Piece, Cost, Option<Cost>)| {
        let difference = before.map_or("new".to_owned(), |before| percent(cost.percent_above(&before)));
        [piece.what.clone(), decimal(cost.operations as f64), decimal(cost.each()), difference]
    };
    let lines: Vec<_> = [head].into_iter().chain(rows.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, [work, others @ ..]) in lines.iter().enumerate() {
        text += &format!("\n| {work:<width$} |", width = widths[0]);
        for (other, width) in others.iter().zip(&widths[1..]) {
            text += &format!(" {other:>width$} |");
        }
        if number == 0 {
            text += &format!("\n|{}|", "-".repeat(widths[0] + 2));
            widths[1..].iter().for_each(|width| text += &format!("{}:|", "-".repeat(width + 1)));
        }
    }
    text
}

fn percent(percent: f64) -> String {
    // Without this a difference that rounds to nothing would have a sign.
    let rounded = (percent * 10.0).round() / 10.0;
    if rounded == 0.0 { "0.0 %".to_owned() } else { format!("{rounded:+.1} %") }
}

/// A whole number with a comma after each thousand.
fn decimal(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The compiler and the platform that it compiles for, in one line.
fn compiler() -> io::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    Ok(format!("{version} {host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let mut baseline = Baseline { compiler: "rustc 1.95.0".to_owned(), ..Baseline::default() };
        let cost = |operations, instructions| Cost { operations, instructions };
        baseline.costs.insert("read".to_owned(), cost(10, 1_000));
        baseline.costs.insert("write".to_owned(), cost(1, 5_000));
        baseline
    }

    #[test]
    fn arguments_are_options_and_at_most_one_name() {
        let read = |arguments: &[&str]| Options::read(arguments);
        assert_eq!(read(&[]), Some(Options::default()));
        let all = Options { is_twice: true, is_written: true, name: "set".to_owned() };
        assert_eq!(read(&["--write", "set", "--twice"]), Some(all));
        assert_eq!(read(&["--wirte"]), None);
        assert_eq!(read(&["set", "delta"]), None);
    }

    #[test]
    fn a_piece_that_costs_more_than_is_allowed_is_found_with_its_line() {
        let costs = |read: u64, write: u64| {
            let cost = |operations, instructions| Cost { operations, instructions };
            [("read".to_owned(), cost(20, 2 * read)), ("write".to_owned(), cost(1, write))]
        };
        assert_eq!(regressions(&baseline(), &costs(1_020, 5_000)), []);
        assert_eq!(regressions(&baseline(), &costs(500, 1)), []);
        let found = regressions(&baseline(), &costs(1_021, 5_101));
        let reasons: Vec<_> = found.iter().map(|violation| violation.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "read costs 2.1 % more: 102 instructions an operation, 100 in the baseline",
                "write costs 2.0 % more: 5,101 instructions an operation, 5,000 in the baseline",
            ]
        );
        let text = baseline().to_string();
        for (violation, name) in found.iter().zip(["read", "write"]) {
            let line = text.lines().nth(violation.line - 1);
            assert!(line.is_some_and(|line| line.starts_with(name)), "{line:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_baseline_is_new() {
        let costs = [("delta".to_owned(), Cost { operations: 1, instructions: 1 })];
        assert_eq!(regressions(&baseline(), &costs), []);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0.4, 999.6, 1_234.0, 1_234_567.0].map(decimal), ["0", "1,000", "1,234", "1,234,567"]);
        assert_eq!([-0.04, 1.96, -12.34].map(percent), ["0.0 %", "+2.0 %", "-12.3 %"]);
    }
}
