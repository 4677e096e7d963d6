//! The programs, and the processes that run them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::processes::folder::Folder;
use crate::region::Fault;
use crate::regions::REGIONS;

/// How long a region may take until it can be asked, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is run: the example `region` of `driftless-node`, and `driftless-cert` of `driftless-tcp`.
#[derive(Debug)]
pub(crate) struct Programs {
    region: PathBuf,
    cert: PathBuf,
}

impl Programs {
    /// Builds them where they are not built yet, with a profile: if none is named, with that of this program.
    pub(crate) fn build(profile: Option<&str>) -> Result<Self, Fault> {
        let profile = profile.map_or_else(own_profile, str::to_owned);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // `cargo run` tells this program which package it is of. Passed on to build scripts, that has them run again.
        let told = std::env::vars_os().map(|(name, _)| name);
        for name in told.filter(|name| name.to_str().is_some_and(is_of_this_package)) {
            command.env_remove(name);
        }
        let output = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--message-format", "json-render-diagnostics", "--profile", &profile])
            // With the features of the whole workspace, so that what its tests are made of is not built once more.
            .args(["--workspace", "--example", "region", "--bin", "driftless-cert"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo, which builds the regions, cannot be run: {error}"))?;
        if !output.status.success() {
            return Err("the regions cannot be built".into());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let find =
            |name| executable(&said, name).ok_or_else(|| format!("cargo does not say where `{name}` is"));
        Ok(Self { region: find("region")?, cert: find("driftless-cert")? })
    }

    /// Makes an authority, and a certificate for each region.
    pub(crate) fn make_certificates(&self, folder: &Folder) -> Result<(), Fault> {
        let made = Command::new(&self.cert)
            .arg("--out")
            .arg(folder.path().join("certificates"))
            .args(REGIONS.iter().map(|region| region.name))
            .output()?;
        match made.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&made.stderr).into_owned().into()),
        }
    }
}

/// Whether a variable is one that cargo sets for the package that it runs, and not a setting of cargo's.
fn is_of_this_package(name: &str) -> bool {
    let names = ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || names.contains(&name)
}

/// The profile that this program was built with, by where it lies: `target/PROFILE/examples`.
fn own_profile() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let folder = path.parent().and_then(Path::parent).and_then(Path::file_name);
    match folder.and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Where cargo says that it put a program.
fn executable(said: &str, name: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = messages.filter(|message| message["target"]["name"] == name);
    found.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// A region's process. It ends with this one: it is killed when this is dropped; and if this process is killed its standard
/// input ends, and it stops by itself.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where it is asked.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a region, and waits until it can be asked.
    pub(crate) fn start(programs: &Programs, folder: &Folder, region: &str) -> Result<Self, Fault> {
        let log = File::options().create(true).append(true).open(folder.file(region, "log"))?;
        let mut child = Command::new(&programs.region)
            .arg("--config")
            .arg(folder.file(region, "toml"))
            .arg("--until-eof")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take();
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        match stdout.and_then(first_line).as_deref().and_then(address) {
            Some(address) => process.address = address,
            None => return Err(format!("{region} does not start; it said\n{}", folder.tail(region)).into()),
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it: with SIGKILL, where there are signals. It has no time to do anything.
    pub(crate) fn kill(mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Has it stop, and waits until it has. Returns whether it stopped in time and was content.
    pub(crate) fn stop(mut self) -> bool {
        drop(self.child.stdin.take());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(status)) => return status.success(),
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line of what a process says, if it comes in time.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        // Nobody may be waiting any more.
        let _ = sender.send(lines.next());
        // What else it says is taken, so that it never waits.
        lines.for_each(drop);
    });
    receiver.recv_timeout(PATIENCE).ok()??.ok()
}

/// The address in `region eu runs at http://127.0.0.1:7480/`.
fn address(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("http://")?;
    address.trim_end_matches('/').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_understood() {
        assert_eq!(address("region eu runs at http://127.0.0.1:7480/"), "127.0.0.1:7480".parse().ok());
        assert_eq!(address("region: there is no such file"), None);
        let said = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"serde\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"region\"},\"executable\":\"/t/region\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(said, "region"), Some(PathBuf::from("/t/region")));
        assert_eq!(executable(said, "serde"), None);
    }
}
