//! Clocks that are not right, within the bound and beyond.

use driftless::{Config, LinkState, LwwRegister, MergeMap, SyncEvent};

use crate::net::{Net, id};

type Names = MergeMap<u8, LwwRegister<i64>>;

/// Two, of which the second one's clock is ahead by half a second, under a bound.
fn half_a_second_ahead(max_ahead_ms: u64) -> Net<Names> {
    let mut net: Net<Names> =
        Net::with(2, &Config { max_ahead_ms, ..Config::default() }, |_, config| config.heartbeat_ms = 100);
    net.skew_ms[1] = 500;
    net.connect(0, 1);
    net.run(1_000);
    for at in [1, 0] {
        net.write(at, |names| names.update(&7, |name| name.set(at as i64)));
    }
    net.run(1_000);
    net
}

fn apart(net: &Net<Names>, at: usize) -> Vec<u64> {
    let events = net.events[at].iter();
    events
        .filter_map(|event| match event {
            SyncEvent::ClocksApart { ahead, by_ms, .. } if *ahead == id(1) => Some(*by_ms),
            _ => None,
        })
        .collect()
}

#[test]
fn b32_a_skew_within_the_bound_is_shown_and_data_flows() {
    let net = half_a_second_ahead(2_000);
    assert!(net.is_converged());
    // Each sees how far the other is ahead, but for the time that a frame is under way.
    let shown = [0, 1].map(|at| net.ends[at].peers()[0].ahead_ms);
    assert!((460..=500).contains(&shown[0]) && (-540..=-500).contains(&shown[1]), "{shown:?}");
    assert_eq!([0, 1].map(|at| net.ends[at].peers()[0].state.clone()), [LinkState::Open, LinkState::Open]);
    assert_eq!(apart(&net, 0), [0; 0]);
    // What it costs: the later write loses against the clock that is ahead.
    assert_eq!(net.ends[0].replica().state().get(&7).and_then(LwwRegister::latest), Some(&1));
}

#[test]
fn b32_a_skew_beyond_the_bound_is_shown_and_nothing_flows_until_it_is_gone() {
    let mut net = half_a_second_ahead(300);
    for at in 0..2 {
        assert_eq!(net.ends[at].replica().vector().len(), 1, "nothing passed");
        let LinkState::ClocksApart { ahead, by_ms } = net.ends[at].peers()[0].state else {
            panic!("{:?}", net.ends[at].peers());
        };
        assert!(ahead == id(1) && (460..=540).contains(&by_ms), "{by_ms}");
        assert_eq!(apart(&net, at).len(), 1, "it is told once");
    }
    net.skew_ms[1] = 0;
    net.run(3_000);
    assert!(net.is_converged());
    for at in 0..2 {
        assert_eq!(net.ends[at].peers()[0].state, LinkState::Open);
        assert!(net.events[at].iter().any(|event| matches!(event, SyncEvent::ClocksRight { .. })));
    }
}
