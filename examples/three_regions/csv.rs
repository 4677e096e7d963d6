//! A reader for comma-separated values, as RFC 4180 has them: fields in quotes may hold commas, line breaks and doubled
//! quotes.

/// Where the text is broken, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// The rows of a text, each with the line it begins in. Empty lines are passed over.
pub(crate) fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, Broken> {
    let mut reader = Reader { chars: text.chars().peekable(), line: 1 };
    let mut rows = Vec::new();
    while reader.chars.peek().is_some() {
        let line = reader.line;
        let row = reader.row()?;
        if row != [""] {
            rows.push((line, row));
        }
    }
    Ok(rows)
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn broken<T>(&self, what: impl Into<String>) -> Result<T, Broken> {
        Err(Broken { line: self.line, what: what.into() })
    }

    fn row(&mut self) -> Result<Vec<String>, Broken> {
        let mut row = Vec::new();
        loop {
            row.push(match self.chars.next_if_eq(&'"') {
                Some(_) => self.quoted()?,
                None => self.bare()?,
            });
            self.chars.next_if_eq(&'\r');
            match self.chars.next() {
                Some(',') => {}
                Some('\n') => {
                    self.line += 1;
                    return Ok(row);
                }
                None => return Ok(row),
                Some(other) => return self.broken(format!("{other:?} follows the end of a field")),
            }
        }
    }

    fn bare(&mut self) -> Result<String, Broken> {
        let mut field = String::new();
        while let Some(char) = self.chars.next_if(|char| !matches!(char, ',' | '\r' | '\n')) {
            if char == '"' {
                return self.broken("a quote stands inside of a field that does not begin with one");
            }
            field.push(char);
        }
        Ok(field)
    }

    /// What stands up to the closing quote; the opening one has been read.
    fn quoted(&mut self) -> Result<String, Broken> {
        let begun = self.line;
        let mut field = String::new();
        loop {
            match self.chars.next() {
                Some('"') if self.chars.next_if_eq(&'"').is_some() => field.push('"'),
                Some('"') => return Ok(field),
                Some(char) => {
                    self.line += usize::from(char == '\n');
                    field.push(char);
                }
                None => return self.broken(format!("the quote opened in line {begun} is never closed")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        rows(text).expect("the text is whole").into_iter().map(|(_, row)| row).collect()
    }

    #[test]
    fn quotes_commas_line_breaks_and_empty_fields_are_read() {
        assert_eq!(fields("a,b\n1,2\n"), [["a", "b"], ["1", "2"]]);
        assert_eq!(
            fields("\"a,b\",\"say \"\"hi\"\"\",\r\n\n\"x\ny\",,z"),
            [["a,b", "say \"hi\"", ""], ["x\ny", "", "z"]]
        );
        assert_eq!(rows("\"x\ny\"\nz").map(|rows| rows[1].0), Ok(3));
    }

    #[test]
    fn broken_text_is_named_by_its_line() {
        assert_eq!(rows("a\nb\"c").map_err(|broken| broken.line), Err(2));
        assert_eq!(rows("a\n\"b\nc").map_err(|broken| broken.line), Err(3));
        assert_eq!(rows("\"a\"b").map_err(|broken| broken.line), Err(1));
    }
}
