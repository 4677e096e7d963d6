//! What a check found.

use std::fmt;
use std::io;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) reason: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// What a check looked at, and all that breaks its rules.
#[derive(Debug)]
pub(crate) struct Report {
    /// In one line.
    pub(crate) summary: String,
    pub(crate) violations: Vec<Violation>,
}

/// Prints the result of a check. Returns whether nothing breaks its rules.
pub(crate) fn show(name: &str, report: io::Result<Report>) -> bool {
    match report {
        Err(error) => {
            eprintln!("{name}: {error}");
            false
        }
        Ok(Report { summary, violations }) if violations.is_empty() => {
            println!("{name}: {summary}");
            true
        }
        Ok(Report { violations, .. }) => {
            violations.iter().for_each(|violation| eprintln!("{violation}"));
            eprintln!("{name}: {} violations", violations.len());
            false
        }
    }
}
