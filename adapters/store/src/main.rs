//! Looks after stores of driftless.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use driftless_node::record::{Identity, Part, parts};
use driftless_node::store::{Store, StoreError};
use driftless_store::{Contents, Damage, Entry, ExportError, FileStore, Summary, export, import};

const HELP: &str = "\
Looks after stores of driftless.

usage: driftless-store COMMAND [OPTIONS] STORE

  inspect STORE            shows what is in the store
  verify STORE             reads all of it, and compares all checksums
  compact STORE            makes the file as small as it can be; not while it is in use
  backup STORE COPY        writes a copy, which can be opened like a store
  export STORE             writes all records as lines of JSON
      --output FILE        to a file, which must not be there
      --until-damage       of a damaged store: as it was before what is damaged was written
      --without-feed       with --until-damage: without the feed of changes; who reads it must begin anew
  import STORE             makes a store of such lines
      --input FILE         from a file

A store may be in use, but for `compact`. Nothing but `compact` changes it; nothing ever replaces a file.

exit codes: 0 all is well, 1 damaged, 2 wrong arguments, 3 anything else
";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Inspect { store: PathBuf },
    Verify { store: PathBuf },
    Compact { store: PathBuf },
    Backup { store: PathBuf, copy: PathBuf },
    Export { store: PathBuf, output: Option<PathBuf>, damage: Damage },
    Import { store: PathBuf, input: Option<PathBuf> },
}

/// Why it was not done.
#[derive(Debug)]
enum Failure {
    Export(ExportError),
    Io(io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Export(error.into())
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::Export(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const DAMAGED: u8 = 1;
const WRONG_ARGUMENTS: u8 = 2;
const FAILED: u8 = 3;

fn main() -> ExitCode {
    // What panics below is told as damage, and is not to be told twice.
    std::panic::set_hook(Box::new(|_| {}));
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("driftless-store: {error}; `driftless-store --help` says what there is");
            return ExitCode::from(WRONG_ARGUMENTS);
        }
    };
    match run(&command, &mut io::stdout().lock()) {
        Ok(code) => ExitCode::from(code),
        // Who reads has enough.
        Err(Failure::Io(error) | Failure::Export(ExportError::Io(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(Failure::Io(error)) => {
            eprintln!("driftless-store: {error}");
            ExitCode::from(FAILED)
        }
        Err(Failure::Export(error)) => {
            eprintln!("driftless-store: {error}");
            let is_damage =
                matches!(error, ExportError::Store(StoreError::Damaged { .. }) | ExportError::Line { .. });
            ExitCode::from(if is_damage { DAMAGED } else { FAILED })
        }
    }
}

fn parse(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let mut words: Vec<std::ffi::OsString> = Vec::new();
    let (mut output, mut input, mut until_damage, mut without_feed) = (None, None, false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('o') | Long("output") => output = Some(PathBuf::from(arguments.value()?)),
            Short('i') | Long("input") => input = Some(PathBuf::from(arguments.value()?)),
            Long("until-damage") => until_damage = true,
            Long("without-feed") => without_feed = true,
            Value(word) => words.push(word),
            other => return Err(other.unexpected()),
        }
    }
    let mut words = words.into_iter();
    let name = words.next().ok_or("a command is missing")?.string()?;
    let mut path = |what: &str| words.next().map(PathBuf::from).ok_or(format!("{what} is missing"));
    let damage = match (until_damage, without_feed) {
        (false, false) => Damage::Refuse,
        (true, false) => Damage::Until,
        (true, true) => Damage::UntilWithoutFeed,
        (false, true) => return Err("`--without-feed` goes with `--until-damage` only".into()),
    };
    let is_plain = output.is_none() && damage == Damage::Refuse;
    let store = path("the path of a store")?;
    let command = match (name.as_str(), is_plain, input.is_none()) {
        ("inspect", true, true) => Command::Inspect { store },
        ("verify", true, true) => Command::Verify { store },
        ("compact", true, true) => Command::Compact { store },
        ("backup", true, true) => Command::Backup { store, copy: path("the path of the copy")? },
        ("export", _, true) => Command::Export { store, output, damage },
        ("import", true, _) => Command::Import { store, input },
        ("inspect" | "verify" | "compact" | "backup" | "export" | "import", ..) => {
            return Err(format!("`{name}` does not have these options").into());
        }
        _ => return Err(format!("there is no command `{name}`").into()),
    };
    match words.next() {
        Some(word) => Err(Value(word).unexpected()),
        None => Ok(command),
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<u8, Failure> {
    match command {
        Command::Help => write!(out, "{HELP}")?,
        Command::Inspect { store } => {
            let contents = Contents::open(store)?;
            inspect(&contents, out)?;
            identity(&contents, out)?;
        }
        Command::Verify { store } => {
            let contents = Contents::open(store)?;
            contents.read(&mut |_| Ok(()))?;
            let Summary { checkpoint, log, feed, is_in_use, .. } = contents.summary();
            writeln!(out, "whole: {} records, {} batches of the feed", checkpoint.0 + log.0, feed.0)?;
            if *is_in_use {
                writeln!(out, "It is in use: what the database keeps for itself was not checked.")?;
            }
        }
        Command::Compact { store } => {
            let mut opened = FileStore::open_existing(store)?;
            let before = opened.size()?.disk_bytes;
            opened.compact()?;
            drop(opened);
            writeln!(out, "{} before, {} now", bytes(before), bytes(store.metadata()?.len()))?;
        }
        Command::Backup { store, copy } => {
            Contents::open(store)?.copy_to(copy)?;
            writeln!(out, "{} in {}", bytes(copy.metadata()?.len()), copy.display())?;
        }
        Command::Export { store, output, damage } => {
            let exported = match output {
                None => export(store, *damage, &mut BufWriter::new(out))?,
                Some(path) => export(store, *damage, &mut BufWriter::new(File::create_new(path)?))?,
            };
            if let Some(damage) = exported.damage {
                eprintln!("driftless-store: {damage}");
                eprintln!("saved: the store as it was at place {}", exported.last.0);
                return Ok(DAMAGED);
            }
        }
        Command::Import { store, input } => {
            match input {
                None => import(&mut io::stdin().lock(), store)?,
                Some(path) => import(&mut BufReader::new(File::open(path)?), store)?,
            }
            writeln!(out, "{} in {}", bytes(store.metadata()?.len()), store.display())?;
        }
    }
    Ok(0)
}

fn inspect(contents: &Contents, out: &mut dyn Write) -> io::Result<()> {
    let summary = contents.summary();
    let row = |out: &mut dyn Write, name: &str, value: String| writeln!(out, "{name:<12}{value}");
    let counted = |(number, size): (u64, u64), of: &str| format!("{number} {of}, {}", bytes(size));
    row(out, "format", summary.format.to_string())?;
    row(out, "in use", if summary.is_in_use { "yes" } else { "no" }.to_owned())?;
    row(out, "checkpoint", counted(summary.checkpoint, "records"))?;
    row(
        out,
        "log",
        format!("{}, places {} to {}", counted(summary.log, "records"), summary.upto.0 + 1, summary.last.0),
    )?;
    let range = summary.feed_range.map(|(first, last)| format!(", places {} to {}", first.0, last.0));
    row(out, "feed", counted(summary.feed, "batches") + &range.unwrap_or_default())?;
    row(out, "checkpoints", summary.generation.to_string())?;
    row(out, "commits", summary.commits.to_string())?;
    row(out, "file", bytes(summary.disk_bytes))
}

/// What the records of a node say, if they are a node's: whose store it is.
fn identity(contents: &Contents, out: &mut dyn Write) -> Result<(), Failure> {
    let (mut identity, mut messages) = (None, 0_u64);
    let mut is_of_node = true;
    contents.read(&mut |entry| {
        if let Entry::Checkpoint { bytes, .. } | Entry::Log { bytes, .. } = entry {
            match parts(&bytes) {
                Ok(parts) => parts.into_iter().for_each(|part| match part {
                    Part::Identity(found) => identity = Some(found),
                    Part::Message(_) => messages += 1,
                    _ => {}
                }),
                Err(_) => is_of_node = false,
            }
        }
        Ok(())
    })?;
    let row = |out: &mut dyn Write, name: &str, value: String| writeln!(out, "{name:<12}{value}");
    match identity {
        Some(Identity { cluster, domain, member, id, opened, .. }) if is_of_node => {
            row(out, "domain", format!("{domain} of the cluster {cluster}"))?;
            row(out, "member", member.uuid().to_string())?;
            row(out, "written as", id.uuid().to_string())?;
            row(out, "opened", format!("{opened} times"))?;
            row(out, "messages", messages.to_string())?;
        }
        _ => row(out, "records", "not those of a node of this release".to_owned())?,
    }
    Ok(())
}

/// Bytes, as humans read them.
fn bytes(number: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = (number as f64, "bytes");
    for unit in units {
        if shown.0 >= 1024.0 {
            shown = (shown.0 / 1024.0, unit);
        }
    }
    if shown.1 == "bytes" { format!("{number} bytes") } else { format!("{:.1} {}", shown.0, shown.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = ["driftless-store"].into_iter().chain(line.split_whitespace());
        parse(lexopt::Parser::from_iter(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_read_and_wrong_ones_refused() {
        let store = || PathBuf::from("a");
        assert_eq!(parsed("verify a"), Ok(Command::Verify { store: store() }));
        assert_eq!(parsed("backup a b"), Ok(Command::Backup { store: store(), copy: PathBuf::from("b") }));
        let output = Some(PathBuf::from("x"));
        assert_eq!(
            parsed("export -o x --until-damage a"),
            Ok(Command::Export { store: store(), output, damage: Damage::Until })
        );
        assert_eq!(parsed("--help"), Ok(Command::Help));
        for wrong in [
            "",
            "inspect",
            "backup a",
            "mend a",
            "verify a b",
            "verify --output x a",
            "export --without-feed a",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_shown_with_their_unit() {
        assert_eq!([0, 1023, 1024, 1_572_864].map(bytes), ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB"]);
    }
}
