//! Tables in plain text.

/// A table: two lines of heads, and rows of cells.
#[derive(Debug)]
pub(crate) struct Table {
    /// What is counted, and in which unit.
    heads: Vec<[String; 2]>,
    /// The columns that hold text stand at the left; numbers stand at the right.
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of which the first `text_columns` columns hold text.
    pub(crate) fn new<const N: usize>(text_columns: usize, heads: [[&str; 2]; N]) -> Self {
        Self::of(text_columns, heads.into_iter().map(|head| head.map(str::to_owned)).collect())
    }

    /// The same, for heads that are made up.
    pub(crate) fn of(text_columns: usize, heads: Vec<[String; 2]>) -> Self {
        Self { heads, text_columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn print(&self) {
        let lines = || {
            let heads = (0..2).map(|line| self.heads.iter().map(|head| &head[line]).collect::<Vec<_>>());
            heads.chain(self.rows.iter().map(|row| row.iter().collect()))
        };
        let mut widths = vec![0; self.heads.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in lines() {
            let mut text = String::new();
            for (column, (cell, width)) in line.into_iter().zip(&widths).enumerate() {
                text += &match column < self.text_columns {
                    true => format!("  {cell:<width$}"),
                    false => format!("  {cell:>width$}"),
                };
            }
            println!("{}", text.trim_end());
        }
    }
}

/// A number with a comma before each three digits.
pub(crate) fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds, with a digit behind the point while they are few.
pub(crate) fn millis(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.1}", micros as f64 / 1e3),
        _ => grouped((micros + 500) / 1000),
    }
}

/// Seconds of microseconds.
pub(crate) fn seconds(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1e6)
}

/// A number with a digit behind the point; a dash for none.
pub(crate) fn tenth(number: Option<f64>) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0_u64, 999, 1000, 28_298, 1_234_567].map(grouped),
            ["0", "999", "1,000", "28,298", "1,234,567"]
        );
        assert_eq!([40_123, 2_929_400].map(millis), ["40.1", "2,929"]);
    }
}
