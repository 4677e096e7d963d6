//! Runs the simulator of testkit/, which is built only for that: all other tasks go without it.

use std::path::Path;
use std::process::Command;

/// Runs the simulator with these arguments. Returns whether all seeds passed.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "driftless-testkit", "--bin", "sim", "--"])
        .args(arguments)
        .current_dir(root)
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            false
        }
    }
}
