//! Planted faults: each patch of `tests/faults` must be seen by the test that it names.
//!
//! A patch begins with what it does wrong, in words, and a line `Seen by:` with the arguments of `cargo test` that fail.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::{Report, Violation};

const FOLDER: &str = "tests/faults";
const SEEN_BY: &str = "Seen by: ";

/// Whether each patch still applies: cheap, so that no change of `src/` leaves a fault behind.
pub(crate) fn check(root: &Path) -> io::Result<Report> {
    let patches = patches(root, "")?;
    let mut violations = Vec::new();
    for patch in &patches {
        if arguments(patch).is_err() {
            violations.push(violation(root, patch, format!("no line `{SEEN_BY}`")));
        }
        if !apply(root, patch, &["--check"])? {
            violations.push(violation(root, patch, "does not apply any more".to_owned()));
        }
    }
    Ok(Report { summary: format!("{} patches apply", patches.len()), violations })
}

/// Plants the faults whose names contain `name`, one after the other, in a copy, and runs the test that must see each.
pub(crate) fn replay(root: &Path, name: &str) -> io::Result<Report> {
    let patches = patches(root, name)?;
    let copy = root.join("target/faults");
    copy_tracked(root, &copy)?;
    let mut violations = Vec::new();
    for patch in &patches {
        let arguments = arguments(patch)?;
        if !apply(&copy, patch, &[])? {
            violations.push(violation(root, patch, "does not apply".to_owned()));
            continue;
        }
        let compiles = test(&copy, &arguments, &["--no-run"])?;
        let passes = compiles && test(&copy, &arguments, &[])?;
        let verdict = if !compiles {
            "does not compile"
        } else if passes {
            "not seen"
        } else {
            "seen"
        };
        println!("{}: {verdict} by {}", name_of(patch), arguments.join(" "));
        if verdict != "seen" {
            violations.push(violation(root, patch, format!("{verdict} by {}", arguments.join(" "))));
        }
        if !apply(&copy, patch, &["--reverse"])? {
            return Err(io::Error::other(format!("{} cannot be taken back", name_of(patch))));
        }
    }
    Ok(Report { summary: format!("{} faults, each seen", patches.len()), violations })
}

fn patches(root: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root.join(FOLDER))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "patch") && name_of(path).contains(name));
    paths.sort();
    if paths.is_empty() {
        return Err(io::Error::other(format!("no fault in {FOLDER} is named `{name}`")));
    }
    Ok(paths)
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn violation(root: &Path, patch: &Path, reason: String) -> Violation {
    let file = patch.strip_prefix(root).unwrap_or(patch).display().to_string();
    Violation { file, line: 1, reason }
}

/// The arguments of `cargo test` after `Seen by:`.
fn arguments(patch: &Path) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(patch)?;
    let line = text.lines().find_map(|line| line.strip_prefix(SEEN_BY));
    let line = line.ok_or_else(|| io::Error::other(format!("{}: no line `{SEEN_BY}`", name_of(patch))))?;
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

fn apply(folder: &Path, patch: &Path, options: &[&str]) -> io::Result<bool> {
    let folder = folder.canonicalize()?;
    let mut git = Command::new("git");
    git.arg("apply").args(options).arg(patch.canonicalize()?).current_dir(&folder);
    // The copy lies within the repository and is none of it: paths are relative to the copy.
    git.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(&folder));
    Ok(git.status()?.success())
}

fn test(copy: &Path, arguments: &[String], options: &[&str]) -> io::Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--quiet"]).args(options).args(arguments).current_dir(copy);
    command.env("CARGO_TARGET_DIR", copy.join("target"));
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}

/// Copies what git tracks; files that are as they were keep their time, so that little is built anew.
fn copy_tracked(root: &Path, copy: &Path) -> io::Result<()> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output()?;
    for file in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let (from, to) = (root.join(file), copy.join(file));
        let Ok(bytes) = std::fs::read(&from) else {
            continue;
        };
        if std::fs::read(&to).ok().as_ref() != Some(&bytes) {
            std::fs::create_dir_all(to.parent().unwrap_or(copy))?;
            std::fs::write(to, bytes)?;
        }
    }
    Ok(())
}
