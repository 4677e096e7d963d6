//! What no tracked file may hold. The forbidden words are put together from halves, so that this file holds none of them.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::report::{Report, Violation};

/// Folders of one machine. The last may be followed by a variable.
const FOLDERS: [&str; 4] = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), TEMPORARY];
const TEMPORARY: &str = concat!("/t", "mp/");

/// Marks of unfinished work, as whole words.
const MARKS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
];

const IGNORED_TEST: &str = concat!("#[ig", "nore");

/// The most columns and lines of a Rust file.
const COLUMNS: usize = 130;
const LINES: usize = 900;

/// Looks at all tracked files that are text.
pub(crate) fn check(root: &Path) -> io::Result<Report> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
    if !listed.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr)));
    }
    let listed = String::from_utf8_lossy(&listed.stdout);
    let mut files = 0;
    let mut violations = Vec::new();
    for file in listed.split_terminator('\0') {
        let path = root.join(file);
        // A link or a submodule is tracked but is no file; one that was deleted is none any more.
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = std::fs::read(path)?;
        if let Some(text) = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0')) {
            files += 1;
            violations.extend(check_text(file, text));
        }
    }
    Ok(Report { summary: format!("{files} files"), violations })
}

fn check_text(file: &str, text: &str) -> Vec<Violation> {
    let is_rust = file.ends_with(".rs");
    let mut violations = Vec::new();
    let mut refuse = |line, reason| violations.push(Violation { file: file.to_owned(), line, reason });
    for (line, number) in text.lines().zip(1..) {
        if let Some(folder) = FOLDERS.iter().find(|folder| holds_folder(line, folder)) {
            refuse(number, format!("a path of one machine: `{folder}`"));
        }
        if let Some(mark) = MARKS.iter().find(|mark| holds_word(line, mark)) {
            refuse(number, format!("unfinished: `{mark}`"));
        }
        if line.contains(IGNORED_TEST) {
            refuse(number, "a test that never runs".to_owned());
        }
        let columns = line.chars().count();
        if is_rust && columns > COLUMNS {
            refuse(number, format!("{columns} columns, {COLUMNS} are allowed"));
        }
    }
    let lines = text.lines().count();
    if is_rust && lines > LINES {
        refuse(LINES + 1, format!("{lines} lines, {LINES} are allowed: does it still hold one thing?"));
    }
    violations
}

fn holds_folder(line: &str, folder: &str) -> bool {
    let mut ends = line.match_indices(folder).map(|(start, _)| &line[start + folder.len()..]);
    ends.any(|end| folder != TEMPORARY || !end.starts_with('$'))
}

fn holds_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        let is_open = word.ends_with('!') || !after.starts_with(is_part);
        !before.ends_with(is_part) && is_open
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(file: &str, text: &str) -> Vec<(usize, String)> {
        check_text(file, text).into_iter().map(|violation| (violation.line, violation.reason)).collect()
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        for folder in FOLDERS {
            let found = reasons("notes.md", &format!("fine\nsee {folder}x and {folder}y\n"));
            assert_eq!(found, [(2, format!("a path of one machine: `{folder}`"))]);
        }
        assert_eq!(reasons("run", &format!("out={TEMPORARY}$USER")), []);
        assert_eq!(reasons("run", &format!("out={TEMPORARY}$USER:{TEMPORARY}x")).len(), 1);
        assert_eq!(reasons("run", "cd target/release/ && ls \"$HOME\""), []);
    }

    #[test]
    fn unfinished_work_is_found_as_whole_words() {
        for mark in MARKS {
            let found = reasons("a.rs", &format!("// {mark}(later)"));
            assert_eq!(found, [(1, format!("unfinished: `{mark}`"))]);
            assert_eq!(reasons("a.rs", &format!("let my_{mark} = 1;")), []);
        }
        let template = format!("mktemp name.{}X", MARKS[2]);
        assert_eq!(reasons("run", &template), []);
    }

    #[test]
    fn ignored_tests_are_found() {
        for end in ["]", " = \"slow\"]"] {
            let found = reasons("a.rs", &format!("#[test]\n{IGNORED_TEST}{end}\nfn f() {{}}"));
            assert_eq!(found, [(2, "a test that never runs".to_owned())]);
        }
    }

    #[test]
    fn long_lines_and_long_files_of_rust_are_found() {
        let wide = "ä".repeat(COLUMNS);
        assert_eq!(reasons("a.rs", &wide), []);
        assert_eq!(reasons("a.rs", &format!("{wide}ä")), [(1, "131 columns, 130 are allowed".to_owned())]);
        assert_eq!(reasons("a.md", &format!("{wide}ä")), []);
        assert_eq!(reasons("a.rs", &"\n".repeat(LINES)), []);
        let found = reasons("a.rs", &"\n".repeat(LINES + 1));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, LINES + 1);
        assert!(found[0].1.starts_with("901 lines"));
        assert_eq!(reasons("a.txt", &"\n".repeat(LINES + 1)), []);
    }

    #[test]
    fn this_file_holds_nothing_of_what_it_forbids() {
        assert_eq!(reasons("tidy.rs", include_str!("tidy.rs")), []);
    }
}
