//! Makes an authority and a certificate for each region, for trying things out.

use std::path::PathBuf;
use std::process::ExitCode;

use driftless_tcp::RegionName;
use driftless_tcp::development::make;

const USAGE: &str = "\
Makes a certificate and a key for each region, signed by the authority of the folder,
which is made if there is none. For development: the authority's key lies beside them.

    driftless-cert [--out FOLDER] [--days DAYS] REGION...

    --out FOLDER   where the files go: ca.pem, ca.key, REGION.pem, REGION.key [certificates]
    --days DAYS    how long a region's certificate is valid [365]

Files that are there already are not written over.";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("driftless-cert: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<String, Box<dyn std::error::Error>> {
    let (mut folder, mut days, mut regions) = (PathBuf::from("certificates"), 365, Vec::new());
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(USAGE.to_owned()),
            "--out" => folder = value()?.into(),
            "--days" => days = value()?.parse().map_err(|_| "--days needs a number of days")?,
            option if option.starts_with("--") => return Err(format!("no option {option}\n\n{USAGE}").into()),
            region => regions.push(RegionName::new(region)?),
        }
    }
    if regions.is_empty() {
        return Err(USAGE.into());
    }
    make(&folder, &regions, days)?;
    let names: Vec<&str> = regions.iter().map(RegionName::as_str).collect();
    Ok(format!("{}: certificates of {}", folder.display(), names.join(", ")))
}
