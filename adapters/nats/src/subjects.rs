//! The subjects and names of a cluster at the servers. `docs/nats.md` lists them.

use driftless_node::RegionName;
use uuid::Uuid;

/// The subjects and names of a cluster, as seen by one of its regions.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    prefix: String,
    cluster: String,
    own: RegionName,
}

impl Subjects {
    pub(crate) fn new(prefix: &str, cluster: Uuid, own: RegionName) -> Self {
        Self { prefix: prefix.to_owned(), cluster: cluster.simple().to_string(), own }
    }

    fn subject(&self, from: &str, to: &str, what: &str) -> String {
        format!("{}.{}.{to}.{from}.{what}", self.prefix, self.cluster)
    }

    /// Where this region's beats to a peer go.
    pub(crate) fn beats_to(&self, peer: &RegionName) -> String {
        self.subject(self.own.as_str(), peer.as_str(), "beat")
    }

    /// Where all beats to this region come in.
    pub(crate) fn beats(&self) -> String {
        self.subject("*", self.own.as_str(), "beat")
    }

    /// Where this region's frames to a peer go.
    pub(crate) fn frames_to(&self, peer: &RegionName) -> String {
        self.subject(self.own.as_str(), peer.as_str(), "frames")
    }

    /// Where a peer's frames to this region come in.
    pub(crate) fn frames_from(&self, peer: &RegionName) -> String {
        self.subject(peer.as_str(), self.own.as_str(), "frames")
    }

    /// Who has sent to such a subject, if it is one of those.
    pub(crate) fn sender<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.split('.').nth(3)
    }

    /// The name of this region's inbox.
    pub(crate) fn inbox(&self) -> String {
        format!("{}_{}_{}", self.prefix, self.cluster, self.own)
    }

    /// Where answers to this region's requests come in. No region has such a name.
    pub(crate) fn answers(&self) -> String {
        format!("{}.{}.{}._answers", self.prefix, self.cluster, self.own)
    }
}

/// Whether a text may stand in a subject and in the name of a stream.
pub(crate) fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_names_the_receiver_and_then_the_sender() {
        let [eu, us] = ["eu", "us"].map(|name| RegionName::new(name).unwrap());
        let cluster = Uuid::from_u128(0xc1);
        let at_eu = Subjects::new("driftless", cluster, eu.clone());
        let at_us = Subjects::new("driftless", cluster, us.clone());
        let frames = "driftless.000000000000000000000000000000c1.us.eu.frames";
        assert_eq!((at_eu.frames_to(&us).as_str(), at_us.frames_from(&eu).as_str()), (frames, frames));
        assert_eq!(at_us.beats(), at_eu.beats_to(&us).replace(".eu.", ".*."));
        assert_eq!(at_us.sender(&at_eu.beats_to(&us)), Some("eu"));
        assert_eq!(at_us.sender("driftless.x"), None);
        assert!(
            is_token("driftless") && !is_token("") && !is_token("a.b") && !is_token("*") && !is_token("ü")
        );
    }
}
