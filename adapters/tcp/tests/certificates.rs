//! The program that makes certificates for development.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]
#![cfg(feature = "development")]

use std::path::Path;
use std::process::{Command, Output};

use driftless_tcp::{CertificateFiles, Policy, PolicySource, RegionName, Security, TcpConfig, Transport};
use tokio::sync::mpsc;
use uuid::Uuid;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftless-cert"));
    command.arg("--out").arg(folder).args(arguments).output().unwrap()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn one_command_makes_what_regions_need() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("certificates");
    let made = run(&folder, &["eu", "us"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(names(&folder), ["ca.key", "ca.pem", "eu.key", "eu.pem", "us.key", "us.pem"]);
    #[cfg(unix)]
    for name in names(&folder) {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&folder.join(&name).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Another region later, by the same authority.
    assert!(run(&folder, &["--days", "7", "ap"]).status.success());
    for name in ["eu", "us", "ap"] {
        let region = RegionName::new(name).unwrap();
        let security = Security::Tls(CertificateFiles::in_folder(&folder, &region));
        let policy = PolicySource::Given(Policy::default());
        let config = TcpConfig::new(region, Uuid::from_u128(1), vec![], security, policy);
        let links = Transport::start(config, mpsc::channel(1).0).await.unwrap();
        let until = links.status().certificate_until.unwrap();
        let hours = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs() / 3600;
        assert_eq!((hours + 1) / 24, if name == "ap" { 7 } else { 365 }, "{name}");
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(run(folder, &["eu"]).status.success());
    let before = files(folder);
    for arguments in
        [&["eu"][..], &["us", "eu"], &["us", "us"], &[], &["US"], &["--days", "x", "us"], &["--force", "us"]]
    {
        let refused = run(folder, arguments);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(String::from_utf8(refused.stderr).unwrap().starts_with("driftless-cert: "));
        assert_eq!(files(folder), before, "{arguments:?}");
    }
    std::fs::remove_file(folder.join("ca.key")).unwrap();
    let refused = run(folder, &["us"]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("lacks ca.pem or ca.key"));
    assert_eq!(names(folder), ["ca.pem", "eu.key", "eu.pem"]);
    let help = run(folder, &["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--days DAYS"));
}
