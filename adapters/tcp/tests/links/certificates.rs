//! Certificates of all kinds, good and bad.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};

/// An authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pair = KeyPair::generate().unwrap();
        let pem = params.self_signed(&pair).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, pair) }
    }

    /// A certificate with these domain names, from an hour ago for so many seconds from now, and its key.
    pub(crate) fn certify(&self, names: &[&str], seconds: i64) -> (String, String) {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - Duration::HOUR, now + Duration::seconds(seconds));
        (params.signed_by(&pair, &self.issuer).unwrap().pem(), pair.serialize_pem())
    }
}
