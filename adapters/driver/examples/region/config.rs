//! The file that says what a region is. `eu.toml` beside this one explains each line.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use driftless_node::DomainName;
use driftless_tcp::{CertificateFiles, RegionName, Security};
use serde::Deserialize;
use uuid::Uuid;

/// What a region is. Paths are as seen from where the program runs.
pub(crate) struct RegionConfig {
    pub(crate) region: RegionName,
    pub(crate) cluster: Uuid,
    pub(crate) data: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) domains: BTreeMap<DomainName, DomainTable>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) peers: PathBuf,
    pub(crate) security: Security,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    region: String,
    cluster: Uuid,
    data: PathBuf,
    http: SocketAddr,
    domains: BTreeMap<String, DomainTable>,
    links: LinksTable,
}

/// A domain.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DomainTable {
    pub(crate) feed_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksTable {
    listen: Option<SocketAddr>,
    peers: PathBuf,
    certificates: Option<PathBuf>,
    #[serde(default)]
    plain_text: bool,
}

impl RegionConfig {
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: File = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let region = RegionName::new(&file.region)?;
        // Paths in the file are as seen from where it is.
        let folder = path.parent().unwrap_or(Path::new(""));
        let security = match (file.links.certificates, file.links.plain_text) {
            (Some(certificates), false) => {
                Security::Tls(CertificateFiles::in_folder(folder.join(certificates), &region))
            }
            (None, true) => Security::PlainText { is_name_believed: true },
            _ => return Err("[links] needs either `certificates` or `plain_text = true`".into()),
        };
        if !file.http.ip().is_loopback() {
            // It asks nobody who they are.
            return Err("`http` must be a loopback address, such as 127.0.0.1:7480".into());
        }
        let mut domains = BTreeMap::new();
        for (name, table) in file.domains {
            domains.insert(DomainName::new(&name)?, table);
        }
        Ok(Self {
            region,
            cluster: file.cluster,
            data: folder.join(file.data),
            http: file.http,
            domains,
            listen: file.links.listen,
            peers: folder.join(file.links.peers),
            security,
        })
    }
}
