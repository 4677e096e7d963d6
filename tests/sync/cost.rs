//! What sessions cost, counted: bytes on the wire, bytes in memory.

use allocation_counter::measure;
use driftless::{Config, Endpoint, LwwRegister, MergeMap, Replica, VersionVector};

use crate::net::{Fate, Net, member};

type Names = MergeMap<u32, LwwRegister<String>>;

const MEMBERS: usize = 50;
/// What a session takes beside what it knows.
const SESSION: i64 = 3_000;

fn heap(endpoint: Endpoint<Names>) -> i64 {
    -measure(|| drop(endpoint)).bytes_current
}

/// A star of members, each of which has written; it has been quiet for a while.
fn quiet_star(members: usize) -> Net<Names> {
    let mut net: Net<Names> = Net::new(members, |_, _| {});
    (1..members).for_each(|leaf| net.connect(0, leaf));
    for at in 0..members {
        net.write(at, |names| names.update(&(at as u32), |name| name.set("of this member")));
    }
    net.run(10_000);
    assert!(net.is_converged());
    assert!(net.ends.iter().all(|end| end.members().len() == members || members == 2), "all are members");
    net
}

#[test]
fn a_heartbeat_on_a_quiet_link_is_small_however_many_members_there_are() {
    let mut net = quiet_star(MEMBERS);
    net.log.clear();
    net.take_sent();
    net.run(5_000);
    let (frames, bytes) = net.take_sent();
    let largest = net.log.iter().map(|(_, _, bytes)| bytes.len()).max();
    assert!(largest <= Some(64), "{largest:?} bytes");
    assert_eq!(frames, 5 * 2 * (MEMBERS as u64 - 1), "one a heartbeat and direction, {bytes} bytes in all");
}

#[test]
fn what_is_known_of_fifty_members_fits_into_fifty_kilobytes() {
    let mut net = quiet_star(MEMBERS);
    let (leaf, middle) = (net.ends.pop().expect("there is a leaf"), net.ends.swap_remove(0));
    // The same state, by one that knows nothing of who else holds it.
    let message = leaf.replica().delta_since(&VersionVector::new()).encode().expect("plain");
    let mut alone: Replica<Names> = Replica::new(member(9), Config::default());
    let delta = alone.decode(&message).expect("a message");
    alone.merge(net.now_ms, delta).expect("it is complete");
    let state = -measure(|| drop(alone)).bytes_current;
    for (end, sessions) in [(leaf, 1), (middle, MEMBERS as i64 - 1)] {
        let all = heap(end);
        // A session has its place, and room for what may be under way, whatever is known.
        let most = 50_000 + sessions * SESSION;
        assert!(
            all - state <= most,
            "{all} bytes, of which {state} are of the state: {most} may be of the rest"
        );
    }
}

/// A server whose three peers answered once, and not since. Returns what it sends, and what it keeps of that.
fn push_to_the_deaf(at_once: u32) -> (Net<Names>, usize, i64) {
    let mut net: Net<Names> =
        Net::new(4, |_, config| (config.window_bytes, config.chunk_bytes) = (WINDOW, 16 << 10));
    (1..4).for_each(|peer| net.connect(0, peer));
    net.run(3_000);
    // From now on nobody hears of anything.
    net.fate = Box::new(|_, _, _| Fate::Lost);
    let now_ms = net.now_ms;
    let (mut sent, mut kept) = (0, 0);
    for first in (0..ROWS).step_by(at_once as usize) {
        for number in first..first + at_once {
            let row = |names: &mut <Names as driftless::Crdt>::Mut<'_>| {
                names.update(&number, |name| name.set(format!("the name of {number}, which is not short")));
            };
            net.ends[0].write(now_ms, row).expect("legal");
        }
        kept += measure(|| {
            let mut out = Vec::new();
            while net.ends[0].transmit(now_ms, &mut out).is_some() {
                sent += out.len();
                out.clear();
            }
        })
        .bytes_current;
    }
    (net, sent, kept)
}

const ROWS: u32 = 10_000;
const WINDOW: usize = 64 << 10;

#[test]
fn a_session_keeps_no_copy_of_what_it_pushed() {
    let (net, sent, kept) = push_to_the_deaf(1);
    let window = WINDOW as i64;
    let all = net.ends[0].replica().delta_since(&VersionVector::new()).encode().expect("plain").len();
    assert!(sent >= WINDOW && all > 3 * WINDOW, "{sent} bytes were sent of 3 times {all}");
    // What is kept of a delta is a vector, of which the window counts what is used.
    let most = 3 * 2 * window;
    assert!(kept <= most, "{kept} bytes are kept of what was sent to three, {most} may be");
}

#[test]
fn a_transfer_keeps_a_copy_of_what_it_has_yet_to_send_and_a_window_and_no_more() {
    let (net, sent, kept) = push_to_the_deaf(ROWS);
    assert!(sent >= 3 * WINDOW, "{sent} bytes were sent");
    // What a replica takes that holds just these rows, and the chunks that are under way.
    let message = net.ends[0].replica().delta_since(&VersionVector::new()).encode().expect("plain");
    let mut copy: Replica<Names> = Replica::new(member(9), Config::default());
    let delta = copy.decode(&message).expect("a message");
    copy.merge(net.now_ms, delta).expect("it is complete");
    let rows = -measure(|| drop(copy)).bytes_current;
    let most = 3 * (rows + WINDOW as i64 + (32 << 10));
    assert!(kept <= most, "{kept} bytes are kept, {most} may be");
}
