//! What one replica sends another: whatever the receiver holds beyond where a delta goes on from, it is worth the full merge,
//! and once both have sent what the other lacks there is nothing left to send.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use driftless_testkit::wire::Message;

use crate::{LATE_MS, copy, for_each_type, full, merge, prove, same, same_in_full, whole};

/// Since any vector that the receiver has reached, one that no replica ever had among them.
fn since_anything<S: Subject>(theme: Theme) {
    prove(30, histories(theme, 30), |history| {
        let cluster = Cluster::<S>::run(&history)?;
        let count = cluster.nodes.len();
        for number in 0..count {
            let at = |place: usize| &cluster.nodes[(number + place) % count].replica;
            let (from, to) = (at(0), at(1));
            let mut expected = copy(to);
            merge(&mut expected, &whole(from)).map_err(|error| error.to_string())?;
            let mut lower = to.vector();
            lower.meet(&at(2).vector());
            for since in [to.vector(), lower, VersionVector::new()] {
                let mut found = copy(to);
                let delta = from.delta_since(&since).encode().map_err(|error| error.to_string())?;
                merge(&mut found, &delta).map_err(|error| error.to_string())?;
                match theme {
                    Theme::NoForgetting => same_in_full("a delta and the full merge", &found, &expected)?,
                    _ => same("a delta and the full merge", &found, &expected)?,
                }
            }
        }
        Ok(())
    });
}

fn nothing_left<S: Subject>(theme: Theme) {
    prove(30, histories(theme, 30), |history| {
        let mut cluster = Cluster::<S>::run(&history)?;
        let count = cluster.nodes.len();
        let ids = Cluster::<S>::every_id();
        for number in 0..count {
            let ends = [number, (number + 1) % count];
            for [from, to] in [ends, [ends[1], ends[0]]] {
                let delta = cluster.nodes[from].replica.delta_since(&cluster.nodes[to].replica.vector());
                let merged = cluster.nodes[to].replica.merge(LATE_MS, delta);
                merged.map_err(|error| error.to_string())?;
            }
            let [one, other] = ends.map(|at| &cluster.nodes[at].replica);
            same("who sent each other what they lacked", one, other)?;
            for (from, to) in [(one, other), (other, one)] {
                let delta = from.delta_since(&to.vector());
                let message = delta.encode().map_err(|error| error.to_string())?;
                let read = Message::read::<S>(&message, ids)?;
                let is_nothing = delta.is_empty() && !delta.is_complete() && read.parts.is_empty();
                if !is_nothing {
                    return Err(format!("there is something left: {read:#?}"));
                }
                let mut copy = copy(to);
                let before = full(&copy);
                if merge(&mut copy, &message).map_err(|error| error.to_string())? || full(&copy) != before {
                    return Err("nothing was news".to_owned());
                }
            }
        }
        Ok(())
    });
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn a_delta_since_anything_that_the_receiver_holds_is_the_full_merge() {
                since_anything::<$type>(Theme::NoForgetting);
                since_anything::<$type>(Theme::Eviction);
            }

            #[test]
            fn after_an_exchange_there_is_nothing_left_to_send() {
                nothing_left::<$type>(Theme::All);
            }
        }
    )+};
}

for_each_type!(laws);
