//! A dynamic document: a thousand maps of four fields.

use driftless::{Document, DocumentError, Replica};

use super::{START_MS, address, name, replica};

pub(crate) const MAPS: usize = 1_000;

/// The names of the maps.
pub(crate) fn names() -> Vec<String> {
    (0..MAPS).map(name).collect()
}

/// A replica of the document.
pub(crate) fn filled(names: &[String]) -> Replica<Document> {
    let mut replica: Replica<Document> = replica(1);
    let written = replica.transact(START_MS, |document| {
        for (number, map) in names.iter().enumerate() {
            document.set(&[map.as_str(), "name"], map.as_str())?;
            document.set(&[map.as_str(), "address"], address(number))?;
            document.set(&[map.as_str(), "balance"], number as i64)?;
            document.set(&[map.as_str(), "active"], true)?;
        }
        Ok::<_, DocumentError>(())
    });
    written.expect("no path is too deep");
    replica
}

/// Overwrites a field of each map, all in one transaction.
pub(crate) fn write(replica: &mut Replica<Document>, now_ms: u64, names: &[String], balance: i64) {
    let written = replica.transact(now_ms, |document| {
        names.iter().try_for_each(|map| document.set(&[map.as_str(), "balance"], balance))
    });
    written.expect("no path is too deep");
}

/// Reads a field of each map. Returns how many there are.
pub(crate) fn read(document: &Document, names: &[String]) -> usize {
    names.iter().filter(|map| document.get(&[map.as_str(), "balance"]).is_some()).count()
}
