//! Builds the work and runs it under valgrind.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "instructions";

/// The function within which is counted, as its symbol is written by either of rustc's schemes and as valgrind shows it.
const SYMBOLS: [&str; 2] = ["*12instructions7counted*", "instructions::counted*"];

/// A piece of work.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) operations: u64,
    pub(super) what: String,
}

/// The compiled work, and what counts.
pub(super) struct Counter {
    valgrind: PathBuf,
    executable: PathBuf,
    /// For what callgrind writes of each piece.
    profiles: PathBuf,
}

impl Counter {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let valgrind = valgrind().ok_or_else(|| {
            io::Error::other(
                "valgrind is not installed, or not in PATH. Where it exists (Linux, FreeBSD) it is in the package \
                 `valgrind`: `apt-get install valgrind`, `dnf install valgrind`",
            )
        })?;
        let executable = build(root)?;
        let profiles = root.join("target").join(TARGET);
        std::fs::create_dir_all(&profiles)?;
        Ok(Self { valgrind, executable, profiles })
    }

    /// All pieces of work, as the program lists them.
    pub(super) fn pieces(&self) -> io::Result<Vec<Piece>> {
        let output = Command::new(&self.executable).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let pieces: Option<Vec<_>> = text.lines().map(piece).collect();
        pieces.ok_or_else(|| io::Error::other(format!("no list of work: {text}")))
    }

    /// The instructions of a piece.
    pub(super) fn count(&self, name: &str) -> io::Result<u64> {
        let profile = self.profiles.join(format!("{name}.out"));
        // Nothing that the environment holds may reach the work.
        let mut command = Command::new(&self.valgrind);
        command.env_clear().args(["--tool=callgrind", "--collect-atstart=no"]);
        command.args(SYMBOLS.map(|symbol| format!("--toggle-collect={symbol}")));
        command.arg(format!("--callgrind-out-file={}", profile.display()));
        let output = command.arg(&self.executable).arg(name).output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{name} failed under valgrind:\n{error}")));
        }
        let text = std::fs::read_to_string(&profile)?;
        match total(&text) {
            Some(total) if total > 0 => Ok(total),
            _ => Err(io::Error::other(format!(
                "nothing was counted in {}: is there a function named like {SYMBOLS:?}?",
                profile.display()
            ))),
        }
    }
}

fn valgrind() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("valgrind")).find(|file| file.is_file())
}

/// Builds the work as `cargo bench` does. Returns its program.
fn build(root: &Path) -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--bench", TARGET, "--no-run", "--message-format=json-render-diagnostics"]);
    let output = command.current_dir(root).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other("the work could not be built"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages.lines().find_map(executable);
    path.map(PathBuf::from).ok_or_else(|| io::Error::other("cargo names no program"))
}

/// The program of which a message of cargo says that it was built.
fn executable(message: &str) -> Option<&OsStr> {
    let (before, rest) = message.split_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    before.contains(&format!(r#""name":"{TARGET}""#)).then_some(OsStr::new(path))
}

/// A line of the list: name, operations and description.
fn piece(line: &str) -> Option<Piece> {
    let mut parts = line.split('\t');
    let (name, operations, what) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Piece { name: name.to_owned(), operations: operations.parse().ok()?, what: what.to_owned() })
}

/// What was counted in all, from the profile that callgrind wrote.
fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages_of_cargo() {
        let message = |name: &str, path: &str| {
            let target = format!(r#"{{"kind":["bench"],"name":"{name}","edition":"2024"}}"#);
            format!(
                r#"{{"reason":"compiler-artifact","target":{target},"filenames":[],"executable":{path},"fresh":true}}"#
            )
        };
        let found = message("instructions", r#""target/release/deps/instructions-0a""#);
        assert_eq!(executable(&found), Some(OsStr::new("target/release/deps/instructions-0a")));
        assert_eq!(executable(&message("instructions", "null")), None);
        assert_eq!(executable(&message("engine", r#""target/release/deps/engine-0a""#)), None);
    }

    #[test]
    fn the_list_of_work_is_read() {
        let read = Piece { name: "read".to_owned(), operations: 10, what: "read 10 fields".to_owned() };
        assert_eq!(piece("read\t10\tread 10 fields"), Some(read));
        assert_eq!(piece("read\tmany\tread them"), None);
        assert_eq!(piece("read"), None);
    }

    #[test]
    fn the_total_of_a_profile_is_read() {
        let profile = "events: Ir\nsummary: 12\n\nfn=(1) main\n7 5\ncalls=1 0\n8 7\n\ntotals: 12\n";
        assert_eq!(total(profile), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
