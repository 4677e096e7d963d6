//! The file of counts that others are compared with.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

const COMPILER: &str = "compiler: ";

/// What a piece of work costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) operations: u64,
    pub(super) instructions: u64,
}

impl Cost {
    /// Instructions for one operation.
    pub(super) fn each(&self) -> f64 {
        self.instructions as f64 / self.operations.max(1) as f64
    }

    /// By how much an operation costs more than it did, in percent.
    pub(super) fn percent_above(&self, before: &Self) -> f64 {
        (self.each() - before.each()) / before.each() * 100.0
    }
}

/// Counts by the names of the pieces, and what compiled them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline {
    /// Empty if there is no baseline.
    pub(super) compiler: String,
    pub(super) costs: BTreeMap<String, Cost>,
}

impl Baseline {
    /// Reads the file; an empty baseline if there is none.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut baseline = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(compiler) = line.strip_prefix(COMPILER) {
                baseline.compiler = compiler.to_owned();
                continue;
            }
            let (name, cost) = cost(line).ok_or_else(|| format!("no line of a baseline: `{line}`"))?;
            baseline.costs.insert(name.to_owned(), cost);
        }
        Ok(baseline)
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.to_string())
    }

    /// The line of the file that holds a piece.
    pub(super) fn line(&self, name: &str) -> usize {
        HEAD.lines().count() + 2 + self.costs.keys().take_while(|before| before.as_str() < name).count()
    }
}

const HEAD: &str =
    "# Work, its operations, their instructions. Renewed by `cargo run -p xtask -- instructions --write`.";

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\n{COMPILER}{}", self.compiler)?;
        for (name, Cost { operations, instructions }) in &self.costs {
            writeln!(f, "{name:<20} {operations:>6} {instructions:>12}")?;
        }
        Ok(())
    }
}

fn cost(line: &str) -> Option<(&str, Cost)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let [operations, instructions] = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
    let is_whole = words.next().is_none() && operations > 0 && instructions > 0;
    is_whole.then_some((name, Cost { operations, instructions }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut baseline = Baseline { compiler: "rustc 1.95.0 (of a day)".to_owned(), ..Baseline::default() };
        for (name, instructions) in [("a-name-that-is-rather-long", u64::MAX), ("read", 7)] {
            baseline.costs.insert(name.to_owned(), Cost { operations: 1_000_000, instructions });
        }
        assert_eq!(Baseline::parse(&baseline.to_string()), Ok(baseline));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["read", "read 1", "read 1 x", "read 0 1", "read 1 0", "read 1 2 3", ""] {
            let text = format!("compiler: rustc\n{line}\n");
            assert_eq!(Baseline::parse(&text), Err(format!("no line of a baseline: `{line}`")));
        }
    }

    #[test]
    fn costs_are_compared_by_the_operation() {
        let cost = |operations, instructions| Cost { operations, instructions };
        assert_eq!(cost(10, 150).percent_above(&cost(1, 10)), 50.0);
        assert_eq!(cost(10, 50).percent_above(&cost(1, 10)), -50.0);
    }
}
