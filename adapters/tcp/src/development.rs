//! An authority and certificates for trying things out. Keep the key of an authority that matters elsewhere.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use driftless_node::RegionName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::policy::identity_of;

/// How long the authority is valid.
const AUTHORITY_DAYS: u32 = 3650;

/// Why no certificates were made. No file that was there was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevelopmentError {
    /// Caller: a file is there already, and is not written over. Remove it, or name another folder.
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// Caller: no region was named, or one twice.
    Regions,
    /// Operator: of the authority's two files one is missing, or its key is none.
    Authority {
        /// The folder.
        folder: PathBuf,
    },
    /// Operator: a file cannot be written or read.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// Us: a certificate cannot be made.
    Certificate {
        /// Why.
        what: String,
    },
}

/// Makes a certificate for each region in a folder: `REGION.pem` and `REGION.key`, signed by the authority of that folder,
/// `ca.pem` and `ca.key`, which is made if there is none. Only their owner may read the files. None is written over.
///
/// # Example
/// ```
/// use driftless_tcp::development::{DevelopmentError, make};
/// use driftless_tcp::RegionName;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let (eu, us) = (RegionName::new("eu")?, RegionName::new("us")?);
/// make(folder, &[eu.clone()], 30)?;
/// make(folder, &[us], 30)?;                               // of the same authority
/// assert!(folder.join("ca.pem").exists() && folder.join("us.key").exists());
/// assert!(matches!(make(folder, &[eu], 30), Err(DevelopmentError::Exists { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DevelopmentError`]; no file that was there was changed.
pub fn make(folder: &Path, regions: &[RegionName], days: u32) -> Result<(), DevelopmentError> {
    let mut names: Vec<&RegionName> = regions.iter().collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() || names.len() != regions.len() {
        return Err(DevelopmentError::Regions);
    }
    let files = |region: &RegionName| ["pem", "key"].map(|kind| folder.join(format!("{region}.{kind}")));
    for path in regions.iter().flat_map(files) {
        if path.exists() {
            return Err(DevelopmentError::Exists { path });
        }
    }
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let authority = authority(folder)?;
    for region in regions {
        let [certificate, key] = files(region);
        let pair = KeyPair::generate().map_err(certificate_error)?;
        let mut params = CertificateParams::new([identity_of(region)]).map_err(certificate_error)?;
        params.distinguished_name = named(&format!("driftless region {region}"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A region is dialed, and dials.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(days);
        let signed = params.signed_by(&pair, &authority).map_err(certificate_error)?;
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &signed.pem())?;
    }
    Ok(())
}

/// The authority of a folder.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, DevelopmentError> {
    let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    let mut params = CertificateParams::default();
    params.distinguished_name = named("driftless development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(AUTHORITY_DAYS);
    let pair = match (certificate.exists(), key.exists()) {
        (false, false) => {
            let pair = KeyPair::generate().map_err(certificate_error)?;
            let signed = params.self_signed(&pair).map_err(certificate_error)?;
            write(&key, &pair.serialize_pem())?;
            write(&certificate, &signed.pem())?;
            pair
        }
        (true, true) => {
            let pem = fs::read_to_string(&key).map_err(file_error(&key))?;
            KeyPair::from_pem(&pem).map_err(|_| DevelopmentError::Authority { folder: folder.to_owned() })?
        }
        _ => return Err(DevelopmentError::Authority { folder: folder.to_owned() }),
    };
    Ok(Issuer::new(params, pair))
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From yesterday, since clocks differ, for so many days.
fn validity(days: u32) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::DAY, now + Duration::DAY * i32::try_from(days.min(AUTHORITY_DAYS)).unwrap_or_default())
}

/// Writes a file that is not there yet, for its owner alone.
fn write(path: &Path, text: &str) -> Result<(), DevelopmentError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(file_error(path))
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> DevelopmentError {
    let path = path.to_owned();
    move |error| match error.kind() {
        io::ErrorKind::AlreadyExists => DevelopmentError::Exists { path: path.clone() },
        kind => DevelopmentError::File { path: path.clone(), kind },
    }
}

fn certificate_error(error: rcgen::Error) -> DevelopmentError {
    DevelopmentError::Certificate { what: error.to_string() }
}

impl fmt::Display for DevelopmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { path } => {
                write!(
                    f,
                    "{} is there already, and was not changed: remove it, or name another folder",
                    path.display()
                )
            }
            Self::Regions => f.write_str("name one or more regions, each once; nothing was written"),
            Self::Authority { folder } => write!(
                f,
                "the authority in {} lacks ca.pem or ca.key, or its key is none; nothing was written: \
                 name another folder",
                folder.display()
            ),
            Self::File { path, kind } => {
                write!(
                    f,
                    "{} cannot be written or read: {kind}; no file that was there was changed",
                    path.display()
                )
            }
            Self::Certificate { what } => write!(f, "no certificate can be made: {what}; report this"),
        }
    }
}

impl std::error::Error for DevelopmentError {}
