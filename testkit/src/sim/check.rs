//! Whether a process holds what the oracle says.

use std::collections::HashMap;

use driftless::{Replica, VersionVector};

use crate::oracle::Live;
use crate::sim::truth::{Truth, View};
use crate::subject::{Canonical, Readings, Subject, readings, show};

/// What is right for who holds the events of one view.
#[derive(Debug)]
struct Right {
    canonical: Vec<u8>,
    readings: Readings,
}

/// For each set of events that any process ever held.
#[derive(Debug, Default)]
pub(super) struct Checks {
    right: HashMap<VersionVector, Right>,
}

impl Checks {
    /// Compares a replica with what the oracle says of its view, and with all that ever held the same events. Returns
    /// whether it is the
    /// first that does.
    ///
    /// # Errors
    /// What differs.
    pub(super) fn check<S: Subject>(
        &mut self,
        truth: &Truth,
        view: &View,
        replica: &Replica<S>,
    ) -> Result<bool, String> {
        let canonical = replica.canonical_bytes();
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        if let Some(right) = self.right.get(&view.ids) {
            equal("what is read, by those that hold the same events,", &read, &right.readings)?;
            if canonical != right.canonical {
                return Err("those that hold the same events have other canonical bytes".to_owned());
            }
            return Ok(false);
        }
        let live = truth.live(view);
        compare(&Canonical::live::<S>(&canonical)?, &live)?;
        equal("what is read", &read, &readings(&live))?;
        self.right.insert(view.ids.clone(), Right { canonical, readings: read });
        Ok(true)
    }
}

fn compare(found: &Live, expected: &Live) -> Result<(), String> {
    let places = found.keys().chain(expected.keys());
    let differs = |place: &&_| found.get(*place) != expected.get(*place);
    match places.into_iter().find(differs) {
        None => Ok(()),
        Some(place) => Err(format!(
            "at {} there is {:?} instead of {:?}",
            show(place),
            found.get(place),
            expected.get(place)
        )),
    }
}

fn equal(what: &str, found: &Readings, expected: &Readings) -> Result<(), String> {
    let places = found.keys().chain(expected.keys());
    match places.into_iter().find(|place| found.get(*place) != expected.get(*place)) {
        None => Ok(()),
        Some(place) => Err(format!(
            "{what} at {} is {:?} instead of {:?}",
            show(place),
            found.get(place),
            expected.get(place)
        )),
    }
}
