//! Two that should hold the same, and do not.

use driftless::{Config, Endpoint, LwwRegister, MergeMap, Replica, SyncConfig, SyncEvent, VersionVector};

use crate::net::{CLUSTER, Net, START_MS, id, member};

type Texts = MergeMap<u8, LwwRegister<String>>;

/// Two endpoints with equal vectors, of which the second holds one byte that was flipped.
fn flipped() -> Net<Texts> {
    let mut origin: Replica<Texts> = Replica::new(id(7), Config::default());
    for key in 0..100 {
        let write =
            origin.write(START_MS, |texts| texts.update(&key, |text| text.set(format!("the text of {key}"))));
        write.expect("it is legal");
    }
    let whole = origin.delta_since(&VersionVector::new()).encode().expect("it can be encoded");
    let mut broken = whole.clone();
    let place = broken.windows(14).position(|bytes| bytes == b"the text of 42").expect("it is there");
    broken[place] ^= 1;
    let mut net: Net<Texts> = Net::new(0, |_, _| {});
    for (number, bytes) in [whole, broken].iter().enumerate() {
        let mut replica = Replica::new(id(number), Config::default());
        let delta = replica.decode(bytes).expect("the transport did not see it, and neither can we");
        replica.merge(START_MS, delta).expect("it is merged");
        net.add(Endpoint::new(replica, SyncConfig::new(CLUSTER, member(number), "eu")));
    }
    net
}

fn diverged(net: &Net<Texts>, at: usize) -> Vec<Vec<String>> {
    let events = net.events[at].iter();
    events
        .filter_map(|event| match event {
            SyncEvent::Diverged { rows, .. } => Some(rows.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn t52_one_flipped_byte_is_found_named_and_repaired() {
    let mut net = flipped();
    assert_eq!(net.ends[0].replica().vector(), net.ends[1].replica().vector());
    assert_ne!(net.ends[0].replica().digest(), net.ends[1].replica().digest());
    net.connect(0, 1);
    net.run(50_000);
    assert_eq!(diverged(&net, 0), Vec::<Vec<String>>::new());
    net.run(20_000);
    assert!(net.is_converged());
    for at in 0..2 {
        assert_eq!(diverged(&net, at), [["42".to_owned()]], "at {at}");
    }
}

#[test]
fn t52_an_audit_during_writes_is_no_false_alarm() {
    let mut net: Net<Texts> = Net::new(3, |_, config| config.audit_ms = 50);
    net.mesh();
    for round in 0..400_u64 {
        let at = (round % 3) as usize;
        net.write(at, |texts| texts.update(&((round % 17) as u8), |text| text.set(format!("round {round}"))));
        net.run(round * 13 % 71);
    }
    net.run(5_000);
    assert!(net.is_converged());
    let audits = net.log.iter().filter(|(_, _, bytes)| bytes[0] == 9).count();
    assert!(audits > 3, "{audits}");
    for at in 0..3 {
        assert_eq!(diverged(&net, at), Vec::<Vec<String>>::new());
    }
}
