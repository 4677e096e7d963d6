//! Measures driftless beside a plain map, a map of registers written by hand, and other engines that merge, all on the same
//! work. It writes a table, as Markdown and as JSON; it fails if any contestant reads anything but what it must.

mod automerge;
mod contestant;
mod crdts;
mod data;
mod driftless;
mod dson;
mod loro;
mod lww;
mod measure;
mod plain;
mod report;
mod rows;
#[cfg(test)]
mod tests;
mod yrs;

use std::path::PathBuf;
use std::process::ExitCode;

use contestant::Contestant;
use report::Report;
use rows::{Plan, Row};

const CONTESTANTS: [&dyn Contestant; 8] = [
    &driftless::Driftless,
    &plain::Plain,
    &lww::Lww,
    &crdts::Crdts,
    &yrs::Yrs,
    &loro::Loro,
    &automerge::Automerge,
    &dson::Dson,
];

const USAGE: &str = "\
Options, all with a value:
  --documents    how many documents; 100000 unless given
  --contestants  some of driftless,plain,lww,crdts,yrs,loro,automerge,dson
  --rows         some of write,overwrite,full,changes,pair,regions,set,load,read,snapshot,churn
  --markdown     where the table is written; target/peers.md unless given
  --json         where all figures are written; target/peers.json unless given";

struct Options {
    plan: Plan,
    markdown: PathBuf,
    json: PathBuf,
}

/// Those of `all` whose names are listed, in the order of `all`.
fn chosen<T: Copy>(all: &[T], list: &str, name: impl Fn(&T) -> &'static str) -> Result<Vec<T>, String> {
    let listed: Vec<&str> = list.split(',').collect();
    match listed.iter().find(|wanted| !all.iter().any(|one| name(one) == **wanted)) {
        Some(unknown) => Err(format!("there is no {unknown:?}")),
        None => Ok(all.iter().copied().filter(|one| listed.contains(&name(one))).collect()),
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let plan = Plan { documents: 100_000, contestants: CONTESTANTS.to_vec(), rows: Row::ALL.to_vec() };
    let (markdown, json) = ("target/peers.md".into(), "target/peers.json".into());
    let mut options = Options { plan, markdown, json };
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--documents" => {
                let count = value.parse().ok().filter(|count| *count >= 200);
                options.plan.documents = count.ok_or("the documents must be 200 or more")?;
            }
            "--contestants" => {
                options.plan.contestants = chosen(&CONTESTANTS, &value, |contestant| contestant.name())?;
            }
            "--rows" => options.plan.rows = chosen(&Row::ALL, &value, |row| row.name())?,
            "--markdown" => options.markdown = value.into(),
            "--json" => options.json = value.into(),
            unknown => return Err(format!("there is no option {unknown}")),
        }
    }
    Ok(options)
}

fn write(path: &PathBuf, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new();
    options.plan.run(&mut report);
    let markdown = report.markdown(&options.plan);
    print!("{markdown}");
    let json = format!("{:#}\n", report.json(&options.plan));
    if let Err(error) = write(&options.markdown, &markdown).and_then(|()| write(&options.json, &json)) {
        eprintln!("the figures could not be written: {error}");
        return ExitCode::FAILURE;
    }
    if report.failed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
