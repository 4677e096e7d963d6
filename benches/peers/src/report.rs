//! What was measured and checked, as Markdown and as JSON, and what is running now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use crate::contestant::Contestant;
use crate::measure::median;
use crate::rows::{Line, Plan, Row};

/// All samples of one line of one contestant.
struct Cell {
    line: Line,
    contestant: &'static str,
    samples: Vec<f64>,
    details: Vec<String>,
}

/// The figures of a run.
pub(crate) struct Report {
    started: Instant,
    is_silent: bool,
    cells: Vec<Cell>,
    /// The bytes of a document with nothing but lengths beside them, and deflated.
    pub(crate) raw: Option<(f64, f64)>,
    checks: usize,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            is_silent: false,
            cells: Vec::new(),
            raw: None,
            checks: 0,
            failed: Vec::new(),
        }
    }

    /// One that tells nobody what is running.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self { is_silent: true, ..Self::new() }
    }

    fn cell(&mut self, line: Line, contestant: &'static str) -> &mut Cell {
        let is_it = |cell: &Cell| cell.line == line && cell.contestant == contestant;
        let place = self.cells.iter().position(is_it).unwrap_or_else(|| {
            self.cells.push(Cell { line, contestant, samples: Vec::new(), details: Vec::new() });
            self.cells.len() - 1
        });
        &mut self.cells[place]
    }

    /// Adds one figure; the table shows the median of all.
    pub(crate) fn sample(&mut self, line: Line, contestant: &dyn Contestant, value: f64) {
        self.cell(line, contestant.name()).samples.push(value);
    }

    /// Adds what is shown in brackets beside the figure.
    pub(crate) fn detail(&mut self, line: Line, contestant: &dyn Contestant, detail: String) {
        self.cell(line, contestant.name()).details.push(detail);
    }

    /// Notes whether what must be so is so.
    pub(crate) fn check(&mut self, row: Row, contestant: &dyn Contestant, what: &str, is_so: bool) {
        self.checks += 1;
        if !is_so {
            let failed = format!("{}, {}: not true: {what}", row.name(), contestant.name());
            eprintln!("{failed}");
            self.failed.push(failed);
        }
    }

    /// What was not as it must be.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Tells what is running now.
    pub(crate) fn progress(&self, row: Row, contestant: &dyn Contestant, what: &str) {
        if !self.is_silent {
            let elapsed = self.started.elapsed().as_secs_f64();
            eprintln!("{elapsed:7.1} s  {:<9}  {:<9}  {what}", row.name(), contestant.name());
        }
    }

    /// The median of a line, if the contestant did it.
    #[cfg(test)]
    pub(crate) fn figure(&self, line: Line, contestant: &str) -> Option<f64> {
        let cell = self.cells.iter().find(|cell| cell.line == line && cell.contestant == contestant)?;
        Some(median(&cell.samples))
    }

    fn shown(&self, line: Line, contestant: &dyn Contestant) -> String {
        let is_it = |cell: &&Cell| cell.line == line && cell.contestant == contestant.name();
        match self.cells.iter().find(is_it) {
            None => "–".to_owned(),
            Some(cell) if cell.details.is_empty() => number(median(&cell.samples)),
            Some(cell) => format!("{} ({})", number(median(&cell.samples)), cell.details.join(", ")),
        }
    }

    /// The table with its notes.
    pub(crate) fn markdown(&self, plan: &Plan) -> String {
        let mut text = format!(
            "{} documents under uuid keys, each of four last-writer-wins registers: a name of 16 B, an email of 24 B, an age \
             (i64), a flag.",
            number(plan.documents as f64)
        );
        if let Some((raw, deflated)) = self.raw {
            let _ = write!(text, " Raw, a document is {raw:.1} B, deflated {deflated:.1} B.");
        }
        let titles: Vec<_> = plan.contestants.iter().map(|contestant| title(*contestant)).collect();
        let _ =
            writeln!(text, "\n\n| work | {} |\n|---|{}", titles.join(" | "), "---:|".repeat(titles.len()));
        let mut notes: Vec<&str> = Vec::new();
        for line in Line::ALL.into_iter().filter(|line| plan.rows.contains(&line.row())) {
            let lead = if line.is_continued() { "… " } else { "" };
            let _ = write!(text, "| {lead}{} |", line.label());
            for contestant in &plan.contestants {
                let _ = write!(text, " {}", self.shown(line, *contestant));
                if let Some(note) = contestant.note(line.row()).filter(|_| !line.is_continued()) {
                    let place = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                        notes.push(note);
                        notes.len() - 1
                    });
                    let _ = write!(text, " <sup>{}</sup>", place + 1);
                }
                text.push_str(" |");
            }
            text.push('\n');
        }
        text.push('\n');
        for (place, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {note}", place + 1);
        }
        let _ = write!(text, "\n{} checks of what was read, {} failed.", self.checks, self.failed.len());
        let elapsed = self.started.elapsed().as_secs_f64();
        let _ = writeln!(text, " The run took {elapsed:.0} s.");
        text
    }

    /// All samples.
    pub(crate) fn json(&self, plan: &Plan) -> serde_json::Value {
        let versions: BTreeMap<_, _> = plan
            .contestants
            .iter()
            .filter(|contestant| contestant.is_package())
            .map(|contestant| (contestant.name(), version(contestant.name())))
            .collect();
        let cell = |cell: &Cell| {
            json!({
                "row": cell.line.row().name(),
                "line": cell.line.label(),
                "contestant": cell.contestant,
                "median": median(&cell.samples),
                "samples": cell.samples,
                "details": cell.details,
            })
        };
        json!({
            "documents": plan.documents,
            "versions": versions,
            "raw_bytes": self.raw.map(|(raw, _)| raw),
            "raw_deflated_bytes": self.raw.map(|(_, deflated)| deflated),
            "figures": self.cells.iter().map(cell).collect::<Vec<_>>(),
            "checks": self.checks,
            "failed": self.failed,
        })
    }
}

fn title(contestant: &dyn Contestant) -> String {
    match version(contestant.name()).filter(|_| contestant.is_package()) {
        Some(version) => format!("{} {version}", contestant.name()),
        None => contestant.name().to_owned(),
    }
}

/// The version of a package as it is locked.
fn version(package: &str) -> Option<&'static str> {
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| line.strip_prefix("name = ").is_some_and(|name| name.trim_matches('"') == package))?;
    lines.next()?.strip_prefix("version = ").map(|version| version.trim_matches('"'))
}

/// A figure with as many digits as mean something, in groups of three.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        size if size < 99.95 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [0.25, 3.0, 9.996, 41.25, 99.96, 808.0, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.25", "3", "10", "41.2", "100", "808", "1,234,567"]);
    }

    #[test]
    fn versions_are_the_locked_ones() {
        assert_eq!(version("driftless"), Some("0.1.0"));
        assert_eq!(version("no-such-package"), None);
    }
}
