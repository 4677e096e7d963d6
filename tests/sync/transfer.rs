//! Large deltas: in chunks, with an end that is fixed, resumed after a break.

use std::ops::Range;

use driftless::{Config, Crdt, Held, LwwRegister, MergeMap, Need, SyncEvent, Timestamp};

use crate::net::{DELAY_MS, DELTA, Fate, GAP, Net, id};

type Texts = MergeMap<u64, LwwRegister<String>>;

/// What a peer is told of what came from it.
const ACK: u8 = 3;
const ROWS: u64 = 2_000;
const CHUNK_BYTES: usize = 4_096;
const WINDOW_BYTES: usize = 16_384;

/// One that holds much, and one that holds nothing.
fn net() -> Net<Texts> {
    let mut net: Net<Texts> = Net::new(2, |_, config| {
        config.chunk_bytes = CHUNK_BYTES;
        config.window_bytes = WINDOW_BYTES;
    });
    for key in 0..ROWS {
        net.write(0, |texts| {
            texts
                .update(&key, |text| text.set(format!("the text of the row {key}, which is some bytes long")))
        });
    }
    net
}

fn deltas(net: &Net<Texts>) -> Vec<usize> {
    net.log
        .iter()
        .filter(|(from, _, bytes)| *from == 0 && bytes[0] == 2)
        .map(|(_, _, bytes)| bytes.len())
        .collect()
}

#[test]
fn a_joiner_is_sent_chunks_within_its_window_and_sees_how_far_it_is() {
    let mut net = net();
    net.connect(0, 1);
    net.run(DELAY_MS);
    assert!(
        deltas(&net).iter().sum::<usize>() <= WINDOW_BYTES + CHUNK_BYTES + 512,
        "no more than the window is under way"
    );
    net.run(5_000);
    assert!(net.is_converged());
    let sizes = deltas(&net);
    assert!(sizes.len() > 20 && sizes.iter().all(|size| *size <= CHUNK_BYTES + 64), "{sizes:?}");
    let progress: Vec<(u64, u64)> = net.events[1]
        .iter()
        .filter_map(|event| match event {
            SyncEvent::Progress { rows, of, .. } => Some((*rows, *of)),
            _ => None,
        })
        .collect();
    assert!(progress.is_sorted() && progress.len() + 1 == sizes.len(), "{progress:?}");
    assert!(progress.iter().all(|(rows, of)| *of == ROWS && (1..ROWS).contains(rows)), "{progress:?}");
}

#[test]
fn t35_a_transfer_that_breaks_off_is_resumed_and_costs_no_more_than_what_was_under_way() {
    let mut net = net();
    net.connect(0, 1);
    net.run(5_000);
    let whole = deltas(&net).len();
    for gathered in 0..whole {
        let mut net = self::net();
        let mut came = 0;
        net.fate = Box::new(move |from, _, bytes| {
            came += usize::from((from, bytes[0]) == (0, DELTA));
            if came > gathered { Fate::Lost } else { Fate::Arrives }
        });
        net.connect(0, 1);
        net.run(400);
        net.cut(0, 1);
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        assert_eq!(net.ends[1].replica().state().len(), 0, "nothing is seen of what is not whole");
        // What is written meanwhile is not part of it: its end is fixed.
        net.write(0, |texts| texts.update(&7, |text| text.set("newer".to_owned())));
        net.run(3_000);
        net.connect(0, 1);
        net.run(5_000);
        assert!(net.is_converged(), "{gathered}");
        let again = deltas(&net).len() - whole;
        let under_way = WINDOW_BYTES / CHUNK_BYTES + 1;
        assert!(again <= under_way + 1, "after {gathered} chunks {again} more than {whole} were sent");
        if gathered > under_way + 1 {
            assert!(again < gathered);
        }
    }
}

#[test]
fn what_is_kept_for_who_does_not_return_is_dropped_after_ten_minutes_whatever_the_clock_does() {
    for skew_ms in [0, -3_600_000] {
        let mut net = net();
        net.connect(0, 1);
        net.run(60);
        net.cut(0, 1);
        net.skew_ms[0] = skew_ms;
        net.pump(0);
        let kept = |net: &Net<Texts>| format!("{:?}", net.ends[0]).matches("Transfer {").count();
        net.run(599_000);
        assert_eq!(kept(&net), 1, "{skew_ms}");
        net.run(3_000);
        assert_eq!(kept(&net), 0, "{skew_ms}");
        net.skew_ms[0] = 0;
        net.connect(0, 1);
        net.run(5_000);
        assert!(net.is_converged(), "{skew_ms}");
    }
}

#[test]
fn what_is_gathered_of_transfers_that_broke_off_is_bounded_for_all_of_them_together() {
    let mut config = Config::default();
    config.limits.transfer_bytes = 20_000;
    let mut net: Net<Texts> = Net::with(4, &config, |_, config| {
        config.chunk_bytes = CHUNK_BYTES;
        config.window_bytes = 3 * CHUNK_BYTES;
    });
    for at in 1..4 {
        net.write(at, |texts| {
            (0..1_000)
                .for_each(|key| texts.update(&key, |text| text.set(format!("a text of some bytes, {key}"))));
        });
        net.connect(0, at);
        net.run(70);
        net.cut(0, at);
    }
    let kept = |net: &Net<Texts>| format!("{:?}", net.ends[0]).matches("PendingDelta {").count();
    assert_eq!(kept(&net), 3, "it looks after that once a heartbeat");
    net.run(3_000);
    assert_eq!(kept(&net), 1, "there is no room for two");
}

#[test]
fn a_few_long_rows_are_cut_into_chunks_too() {
    let mut net: Net<Texts> = Net::new(2, |_, config| config.chunk_bytes = CHUNK_BYTES);
    net.connect(0, 1);
    net.run(3_000);
    net.log.clear();
    net.write(0, |texts| (0..3).for_each(|key| texts.update(&key, |text| text.set("long ".repeat(500)))));
    net.run(1_000);
    assert!(net.is_converged());
    let sizes = deltas(&net);
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= CHUNK_BYTES + 64), "{sizes:?}");
}

#[test]
fn chunks_that_are_lost_are_sent_again_and_no_others() {
    let mut net = net();
    let mut count = 0;
    net.fate = Box::new(move |from, _, bytes| {
        count += usize::from(from == 0 && bytes[0] == 2);
        if from == 0 && bytes[0] == 2 && count % 7 == 3 { Fate::Lost } else { Fate::Arrives }
    });
    net.connect(0, 1);
    net.run(60_000);
    assert!(net.is_converged());
}

#[test]
fn chunks_that_overtake_each_other_or_come_twice_cost_little_more() {
    let sent = |fate: fn(usize) -> Fate, receiver_bytes: usize| {
        let mut net: Net<Texts> = Net::new(2, |number, config| {
            config.chunk_bytes = 200;
            config.window_bytes = if number == 0 { 64_000 } else { receiver_bytes };
        });
        for key in 0..500 {
            net.write(0, |texts| texts.update(&key, |text| text.set(format!("the text of the row {key}"))));
        }
        let mut count = 0;
        net.fate = Box::new(move |from, _, bytes| {
            let is_delta = from == 0 && bytes[0] == 2;
            count += usize::from(is_delta);
            if is_delta { fate(count) } else { Fate::Arrives }
        });
        net.connect(0, 1);
        net.run(120_000);
        assert!(net.is_converged());
        deltas(&net).len()
    };
    let whole = sent(|_| Fate::Arrives, 64_000);
    assert!(whole > 90, "{whole}");
    // None is missing for long: each is sent once.
    assert_eq!(sent(|count| if count % 3 == 1 { Fate::Late(30) } else { Fate::Arrives }, 64_000), whole);
    assert_eq!(sent(|count| if count % 3 == 1 { Fate::Twice } else { Fate::Arrives }, 64_000), whole);
    // One is lost, and the receiver has little room for those behind it: they are sent again once, not once for each of them.
    let again = sent(|count| if count == 10 { Fate::Lost } else { Fate::Arrives }, 2_000);
    assert!(again <= 3 * whole, "{again}, not {whole}");
}

#[test]
fn chunks_that_come_once_more_while_others_are_under_way_are_not_asked_for() {
    let sent = |fate: Fate| {
        let mut net = net();
        let mut count = 0;
        net.fate = Box::new(move |from, _, bytes| {
            count += usize::from(from == 0 && bytes[0] == DELTA);
            if from == 0 && bytes[0] == DELTA && count % 3 == 2 { fate } else { Fate::Arrives }
        });
        net.connect(0, 1);
        // They are sent a few at a time, as others are acknowledged.
        net.run(10_000);
        assert!(net.is_converged());
        (deltas(&net).len(), net.logged(GAP, 1, 0))
    };
    assert_eq!(sent(Fate::Twice), sent(Fate::Arrives));
}

#[test]
fn a_transfer_that_is_refused_for_now_is_not_asked_for_again_and_again() {
    const CHUNKS: usize = 90;
    let mut net: Net<Texts> = Net::new(2, |_, config| {
        config.chunk_bytes = 200;
        config.window_bytes = 64_000;
    });
    // It was written while the clock was two minutes ahead: nobody takes that before then.
    net.skew_ms[0] = 120_000;
    for key in 0..500 {
        net.write(0, |texts| texts.update(&key, |text| text.set(format!("the text of the row {key}"))));
    }
    net.skew_ms[0] = 0;
    let mut count = 0;
    net.fate = Box::new(move |from, _, bytes| {
        let is_delta = from == 0 && bytes[0] == 2;
        count += usize::from(is_delta);
        // So many overtake each other, and for so long, that there seem to be gaps.
        if is_delta && count % 3 == 1 { Fate::Late(400) } else { Fate::Arrives }
    });
    net.connect(0, 1);
    net.run(40_000);
    let sent = deltas(&net).len();
    assert!(sent > CHUNKS && net.ends[1].replica().state().is_empty());
    assert!(sent < 40 * CHUNKS, "{sent} chunks in 40 s");
    let apart = net.events[1].iter().filter_map(|event| match event {
        SyncEvent::ClocksApart { ahead, by_ms, .. } => Some((*ahead, by_ms / 1_000)),
        _ => None,
    });
    assert_eq!(apart.collect::<Vec<_>>(), [(id(0), 119)], "that is said once");
    net.run(200_000);
    assert!(net.is_converged());
}

#[test]
fn t27_writers_run_on_while_a_snapshot_is_sent() {
    let mut net = net();
    net.connect(0, 1);
    for round in 0..100 {
        net.write(0, |texts| texts.update(&round, |text| text.set(format!("round {round}"))));
        net.write(1, |texts| texts.update(&(ROWS + round), |text| text.set(format!("joiner {round}"))));
        net.run(7);
        let joiner = net.ends[1].replica();
        let claims = joiner.vector().get(&id(0)) > Timestamp::ZERO;
        assert_eq!(claims, joiner.state().len() as u64 > ROWS, "it claims what it does not hold");
    }
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[0].replica().state().len() as u64, ROWS + 100);
}

#[test]
fn what_is_written_behind_a_transfer_does_not_wait_until_it_is_confirmed() {
    let mut wide = Net::<Texts>::new(2, |_, config| config.chunk_bytes = CHUNK_BYTES);
    for key in 0..ROWS {
        wide.write(0, |texts| texts.update(&key, |text| text.set(format!("the text of the row {key}"))));
    }
    wide.connect(0, 1);
    // The hellos, and what they are answered by.
    wide.run(2 * DELAY_MS);
    let chunks = deltas(&wide).len();
    assert!(chunks > 10, "all of the transfer is under way");
    wide.run(1);
    wide.write(0, |texts| texts.update(&7, |text| text.set("newer".to_owned())));
    assert_eq!(deltas(&wide).len(), chunks + 1);
    wide.run(DELAY_MS);
    assert!(wide.is_converged(), "nothing has been confirmed yet");
    wide.run(5_000);
    assert_eq!(deltas(&wide).len(), chunks + 1, "nothing is sent twice");
    wide.write(0, |texts| texts.update(&8, |text| text.set("newest".to_owned())));
    wide.run(DELAY_MS);
    assert!(wide.is_converged());
}

#[test]
fn a_delta_behind_a_transfer_of_which_a_chunk_is_lost_arrives_after_all() {
    for lost in [1, 7, 16] {
        let mut net = Net::<Texts>::new(2, |_, config| config.chunk_bytes = CHUNK_BYTES);
        for key in 0..ROWS {
            net.write(0, |texts| texts.update(&key, |text| text.set(format!("the text of the row {key}"))));
        }
        let mut count = 0;
        net.fate = Box::new(move |from, _, bytes| {
            count += usize::from(from == 0 && bytes[0] == 2);
            if from == 0 && bytes[0] == 2 && count == lost { Fate::Lost } else { Fate::Arrives }
        });
        net.connect(0, 1);
        net.run(DELAY_MS + 1);
        net.write(0, |texts| texts.update(&7, |text| text.set("newer".to_owned())));
        net.run(20_000);
        assert!(net.is_converged(), "chunk {lost} lost");
        let sent = deltas(&net).len();
        net.run(20_000);
        assert_eq!(deltas(&net).len(), sent, "chunk {lost} lost: it ends");
    }
}

#[test]
fn an_acknowledgement_that_comes_late_is_not_taken_for_one_of_the_next_transfer() {
    let mut net: Net<Texts> = Net::new(2, |_, config| config.chunk_bytes = 100);
    net.connect(0, 1);
    net.run(5_000);
    let write = |net: &mut Net<Texts>, key: u64| {
        let before = net.logged(DELTA, 0, 1);
        net.write(0, |texts| texts.update(&key, |text| text.set("a text for a chunk of its own ".repeat(5))));
        assert_eq!(net.logged(DELTA, 0, 1), before + 1, "a transfer of one chunk");
    };
    let holds = |net: &Net<Texts>, key: u64| net.ends[1].replica().state().get(&key).is_some();
    let is_confirmed =
        |net: &Net<Texts>| net.events[0].iter().any(|event| matches!(event, SyncEvent::Confirmed { .. }));
    // That the first one has come is known by a heartbeat.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (1, ACK) { Fate::Held } else { Fate::Arrives });
    let acknowledged = net.logged(ACK, 1, 0);
    write(&mut net, 1);
    net.run(1_500);
    assert!(holds(&net, 1) && net.logged(ACK, 1, 0) == acknowledged + 1);
    // The next one is lost.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (0, DELTA) { Fate::Lost } else { Fate::Arrives });
    write(&mut net, 2);
    let (clock, stamp) = (net.clock(0), net.ends[0].replica().clock().last());
    net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Applied, clock + 60_000);
    net.run(DELAY_MS);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    let sent = net.logged(DELTA, 0, 1);
    net.release();
    net.run(1_000);
    assert!(!is_confirmed(&net), "nobody else holds it");
    assert_eq!((net.logged(DELTA, 0, 1), holds(&net, 2)), (sent, false), "it has patience");
    net.run(2_000);
    assert_eq!((net.logged(DELTA, 0, 1), holds(&net, 2)), (sent + 1, true));
    assert!(is_confirmed(&net) && net.is_converged());
}

#[test]
fn a_transfer_is_over_when_what_goes_on_from_it_is_merged() {
    let mut net: Net<Texts> = Net::new(3, |_, config| config.chunk_bytes = 600);
    net.connect(0, 1);
    net.run(2_000);
    // The id before is closed, and not all members know that: what is sent to who holds nothing names it.
    let image = net.save(0);
    net.isolate(0);
    net.restart(0, &image);
    for key in 0..20 {
        net.write(0, |texts| texts.update(&key, |text| text.set(format!("the text of the row {key}"))));
    }
    net.run(2_000);
    // All that is sent back is lost until something small has gone on from the end of the transfer.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (2, ACK) { Fate::Lost } else { Fate::Arrives });
    net.connect(0, 2);
    net.run(10 * DELAY_MS);
    assert!(net.logged(DELTA, 0, 2) > 1, "it is sent in chunks");
    assert_eq!(net.ends[2].replica().state().iter().count(), 20);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.write(0, |texts| texts.update(&20, |text| text.set("small".to_owned())));
    net.run(2 * DELAY_MS);
    net.write(0, |texts| texts.update(&21, |text| text.set("long ".repeat(300))));
    net.run(5_000);
    assert_eq!(net.ends[2].replica().state().iter().count(), 22);
    assert!(net.agree(&[0, 2]));
}

#[test]
fn a_transfer_that_names_in_short_form_what_its_receiver_forgot_begins_anew_and_names_it_in_full() {
    type Lists = MergeMap<String, MergeMap<u64, LwwRegister<String>>>;
    let mut net: Net<Lists> = Net::new(2, |_, config| config.chunk_bytes = 100);
    let names = |lists: Range<u64>| lists.map(|list| format!("a list of which the name is long, {list}"));
    let put = |net: &mut Net<Lists>, at: usize, lists: Range<u64>, item: u64| {
        for name in names(lists) {
            net.write(at, |lists| {
                lists.update(&name, |list| list.update(&item, |text| text.set(format!("item {item}"))));
            });
        }
    };
    net.connect(0, 1);
    put(&mut net, 0, 0..20, 1);
    net.run(3_000);
    assert!(net.is_converged());
    // 0 removes all lists and forgets that there were any. 1 does not hear of it, and adds to each of them.
    net.cut(0, 1);
    net.evict(&[0], 1);
    names(0..20).for_each(|name| assert!(net.write(0, |lists| lists.remove(&name))));
    net.run(3_000);
    assert!(net.ends[0].replica().state().is_bottom());
    // What it has to say first is of others.
    put(&mut net, 1, 20..30, 2);
    put(&mut net, 1, 0..20, 2);
    net.connect(0, 1);
    net.run(20_000);
    assert!(net.is_converged());
    let lists = net.ends[0].replica().state();
    assert!(names(0..30).all(|name| lists.get(&name).is_some_and(|list| list.keys().eq([&2]))));
    assert_eq!(net.logged(GAP, 0, 1), 1, "it is told so once");
}
