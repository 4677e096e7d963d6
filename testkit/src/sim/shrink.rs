//! A failing run made smaller: actions are left out as long as it still fails.

use std::collections::BTreeSet;

use crate::sim::Plan;

/// The most runs that are made to shrink one.
const MOST_RUNS: usize = 400;

impl Plan {
    /// The plan with as few actions as can be found with which `fails` still holds.
    #[must_use]
    pub fn shrunk(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut runs = 0;
        let mut size = self.remaining().len().div_ceil(2);
        while size > 0 {
            let mut is_smaller = false;
            // The last ones first: what comes after the fault has nothing to do with it.
            let remaining: Vec<_> = self.remaining();
            for part in remaining.rchunks(size) {
                if runs >= MOST_RUNS {
                    return self;
                }
                runs += 1;
                let left_out = self.left_out.iter().chain(part).copied().collect();
                let smaller = self.clone().without(&left_out);
                if fails(&smaller) {
                    self = smaller;
                    is_smaller = true;
                }
            }
            size = if size == 1 && !is_smaller { 0 } else { (size / 2).max(1) };
        }
        self
    }

    /// The numbers of the actions that are not left out.
    pub fn remaining(&self) -> Vec<usize> {
        (0..self.actions.len()).filter(|number| !self.left_out.contains(number)).collect()
    }

    /// The actions that are left, a line each.
    pub fn show(&self) -> String {
        let line = |number: &usize| {
            let planned = &self.actions[*number];
            format!("  {:>4} at {:>9.3} s: {:?}", number, planned.at_ms as f64 / 1_000.0, planned.action)
        };
        let lines: Vec<_> = self.remaining().iter().map(line).collect();
        format!("  {:?}\n{}", self.setting, lines.join("\n"))
    }

    /// What to say to run this plan again.
    pub fn replay(&self) -> String {
        let without = if self.left_out.is_empty() {
            String::new()
        } else {
            format!(" --without {}", ranges(&self.left_out))
        };
        format!("--trace {}{without}", self.seed)
    }
}

/// Numbers as text: `0-3,7`.
fn ranges(numbers: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let shown = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    shown.collect::<Vec<_>>().join(",")
}

/// Numbers from text, as a replay line names them.
///
/// # Errors
/// It is no list of numbers and ranges.
pub fn read_ranges(text: &str) -> Result<BTreeSet<usize>, std::num::ParseIntError> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_actions_that_matter_are_left() {
        let plan = Plan::new(5);
        assert!(plan.actions.len() > 60);
        let matter = [3, 17, 40];
        let shrunk = plan.shrunk(|plan| matter.iter().all(|number| !plan.left_out.contains(number)));
        assert_eq!(shrunk.remaining(), matter);
        assert_eq!(shrunk.show().lines().count(), 1 + matter.len());
        let text = shrunk.replay();
        let without = text.strip_prefix("--trace 5 --without ").expect("it names the seed");
        assert_eq!(read_ranges(without), Ok(shrunk.left_out));
    }

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let numbers: BTreeSet<usize> = [0, 1, 2, 7, 9, 10].into();
        assert_eq!(ranges(&numbers), "0-2,7,9-10");
        assert_eq!(read_ranges("0-2,7,9-10"), Ok(numbers));
        assert!(read_ranges("0-x").is_err());
        assert_eq!(read_ranges(""), Ok(BTreeSet::new()));
    }
}
