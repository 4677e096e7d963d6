//! Bytes: the same history gives the same ones, and those that are forged or damaged do no harm.

use driftless::{
    ClockError, Config, Counter, Crdt, DecodeError, Delta, Limits, LwwRegister, MergeError, MergeMap,
    MvRegister, OrSet, PendingDelta, PendingError, Replica, ReplicaId, Timestamp, VersionVector, WriteError,
};

use crate::delivery::{Numbers, Records, chunks, copy, fill, observe};
use crate::forged::{Forged, Part, cell, dot, part, varint};
use crate::ingress::{every_way_is_refused, with_honest_data};
use crate::{A, B, C, LATE_MS, NOW_MS, assert_same, every, receive, replica, sync, three};

/// A hash that is written out here, so that it is the same everywhere.
#[derive(Debug, PartialEq)]
struct Fingerprint {
    messages: usize,
    bytes: usize,
    hash: u64,
}

impl Fingerprint {
    fn of(messages: &[Vec<u8>]) -> Self {
        // FNV-1a, over the length of each message and its bytes.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        for message in messages {
            (message.len() as u64).to_le_bytes().into_iter().for_each(&mut take);
            message.iter().copied().for_each(&mut take);
        }
        Self { messages: messages.len(), bytes: messages.iter().map(Vec::len).sum(), hash }
    }
}

/// Keys and values whose size differs from platform to platform, and floats.
#[derive(Crdt)]
struct Native {
    size: LwwRegister<usize>,
    signed: MvRegister<Option<isize>>,
    ratio: LwwRegister<(f32, f64, char)>,
    sizes: OrSet<usize>,
}

#[derive(Crdt)]
struct Everything {
    records: Records,
    native: MergeMap<isize, Native>,
}

fn write_everything(all: &mut <Everything as Crdt>::Mut<'_>, key: u32, number: u32) {
    fill(&mut all.records(), key, number);
    all.native().update(&(key as isize - 4), |native| {
        native.size().set(number as usize);
        native.signed().set((number > 3).then(|| -(number as isize)));
        native.ratio().set((number as f32 / 3.0, f64::from(number) / -7.0, 'é'));
        native.sizes().add(&(number as usize * 1_000_003));
    });
}

/// All that is shipped in one history of four replicas: as messages, in chunks, as complete deltas after forgetting, and the
/// canonical bytes of each replica in the end. Before it begins, replicas hear of each other in the given order.
fn shipped(introduction: &[usize]) -> Vec<Vec<u8>> {
    const IDS: [u128; 4] = [0x1111 << 96 | 7, u128::MAX / 3, 0xF0 << 120 | 1, 5];
    let mut replicas = IDS.map(|id| replica::<Everything>(ReplicaId::from_u128(id)));
    let mut numbers = Numbers::new(46);
    // More rows than a list holds, so that the order of rows is that in which they were last touched.
    let first = |all: &mut <Everything as Crdt>::Mut<'_>| {
        (0..24).chain(101..104).for_each(|key| write_everything(all, key, 1));
    };
    replicas[0].write(NOW_MS, first).unwrap();
    for at in 1..4 {
        let all = replicas[0].delta_since(&VersionVector::new());
        replicas[at].merge(LATE_MS, all).unwrap();
        replicas[at].write(NOW_MS + 1, |all| fill(&mut all.records(), 100 + at as u32, 1)).unwrap();
    }
    let introductions: Vec<_> = replicas.iter().map(Replica::snapshot).collect();
    for replica in &mut replicas {
        for other in introduction {
            replica.merge(LATE_MS, introductions[*other].delta_since(&replica.vector())).unwrap();
        }
    }
    let again = |all: &mut <Everything as Crdt>::Mut<'_>| {
        (0..24).for_each(|key| write_everything(all, key, 2));
        (101..104).for_each(|key| fill(&mut all.records(), key, 2));
    };
    replicas[0].write(NOW_MS + 2, again).unwrap();
    for at in 1..4 {
        let all = replicas[0].delta_since(&replicas[at].vector());
        replicas[at].merge(LATE_MS, all).unwrap();
    }
    let ids = replicas.each_ref().map(Replica::id);
    let mut shipped = Vec::new();
    let mut complete = 0;
    for step in 0..600_u64 {
        let (at, other) = (numbers.place(4), numbers.place(4));
        let (key, number) = (numbers.below(24) as u32, numbers.below(9) as u32);
        let now_ms = NOW_MS + 10 + step * step / 50;
        match numbers.below(9) {
            0 | 1 => drop(replicas[at].write(now_ms, |all| write_everything(all, key, number)).unwrap()),
            2 => drop(
                replicas[at]
                    .write(now_ms, |all| {
                        all.records().remove(&key);
                        all.native().update(&(key as isize), |native| native.sizes().clear());
                    })
                    .unwrap(),
            ),
            3 => drop(
                replicas[at]
                    .write(now_ms, |all| {
                        all.records().update(&key, |record| {
                            record.visits().reset();
                            record.active().disable();
                            record.free().delete(&["a"]).unwrap();
                            record.tags().remove(&number);
                            record.name().clear();
                        });
                    })
                    .unwrap(),
            ),
            4..=6 => {
                let vector = replicas[other].vector();
                let delta = replicas[at].delta_since(&vector);
                complete += usize::from(delta.is_complete());
                let bytes = delta.encode().unwrap();
                let delta = replicas[other].decode(&bytes).unwrap();
                shipped.push(bytes);
                replicas[other].merge(LATE_MS * 2, delta).unwrap();
            }
            7 => {
                let mut pending = PendingDelta::new(&Limits::default());
                for bytes in
                    chunks(replicas[at].delta_since(&replicas[other].vector()), 50 + key as usize * 20)
                {
                    let chunk = replicas[other].decode(&bytes).unwrap();
                    if let Some(delta) = pending.push(chunk).unwrap() {
                        replicas[other].merge(LATE_MS * 2, delta).unwrap();
                    }
                    shipped.push(bytes);
                }
            }
            _ => {
                // Now and then without waiting for the others, who are sent all there is when they return.
                let waited = ids.into_iter().filter(|id| number > 2 || *id == ids[at]);
                replicas[at].set_members(waited);
                for from in 0..4 {
                    let vector = replicas[from].vector();
                    replicas[at].report(LATE_MS * 2, ids[from], &vector).unwrap();
                }
                replicas[at].forget();
            }
        }
    }
    assert!(complete > 5 && shipped.len() > 300, "{complete} {}", shipped.len());
    shipped.extend(replicas.iter().map(Replica::canonical_bytes));
    shipped
}

/// The bytes are the same on every platform: 32 or 64 bits, little- or big-endian. They change with the wire version and with the
/// canonical bytes only.
#[test]
fn t46_a_history_gives_the_same_bytes_every_time_on_every_platform() {
    let first = shipped(&[0, 1, 2, 3]);
    let expected = Fingerprint { messages: 1_000, bytes: 304_867, hash: 11_637_205_569_022_020_116 };
    assert_eq!(Fingerprint::of(&first), expected);
    assert_eq!(shipped(&[0, 1, 2, 3]), first, "the second time in one process");
}

/// Nor do they depend on the local numbers of the ids, which follow the order in which they became known.
#[test]
fn t46_bytes_do_not_depend_on_the_order_in_which_ids_became_known() {
    let first = shipped(&[0, 1, 2, 3]);
    for introduction in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let other = shipped(&introduction);
        let differs = first.iter().zip(&other).position(|(one, other)| one != other);
        assert_eq!((differs, other.len()), (None, first.len()), "{introduction:?}");
    }
}

/// A message, a complete one and a transfer, to a replica that holds some of it.
fn samples() -> (Replica<Records>, Vec<Vec<Vec<u8>>>) {
    let [mut a, mut b, mut us] = three::<Records>();
    a.write(NOW_MS, |records| (0..3).for_each(|key| fill(records, key, 1))).unwrap();
    sync(&a, &mut us);
    us.write(NOW_MS + 1, |records| fill(records, 1, 2)).unwrap();
    b.write(NOW_MS + 1, |records| fill(records, 1, 3)).unwrap();
    sync(&b, &mut a);
    a.write(NOW_MS + 2, |records| {
        assert!(records.remove(&0));
        records.update(&2, |record| record.visits().reset());
        fill(records, 4, 4);
    })
    .unwrap();
    let mut samples =
        vec![vec![a.delta_since(&us.vector()).encode().unwrap()], chunks(a.delta_since(&us.vector()), 120)];
    a.set_members([A]);
    assert!(a.forget().rows > 0);
    a.write(NOW_MS + 3, |records| records.remove(&1)).unwrap();
    let complete = a.delta_since(&us.vector());
    assert!(complete.is_complete());
    samples.push(vec![complete.encode().unwrap()]);
    samples.push(chunks(complete, 120));
    (us, samples)
}

#[test]
fn t47_every_truncation_of_every_message_is_an_error_and_changes_nothing() {
    let (us, samples) = samples();
    let before = observe(&us);
    for bytes in samples.iter().flatten() {
        assert!(us.decode(bytes).is_ok());
        for len in 0..bytes.len() {
            let refused = us.decode(&bytes[..len]).unwrap_err();
            assert!(matches!(refused, MergeError::Decode(_) | MergeError::Gap { .. }), "{refused}");
        }
    }
    assert_eq!(observe(&us), before);
}

/// Merges what damaged or forged bytes were read as into a copy: all of it or nothing, and what comes of it can be shipped
/// and forgotten like anything else. Returns whether it was merged.
fn merged_or_refused<S: Crdt>(us: &Replica<S>, delta: Delta<S>) -> bool {
    let mut to = copy(us, ReplicaId::from_u128(77));
    let (held, digest) = (to.vector(), to.digest());
    if to.merge(LATE_MS, delta).is_err() {
        assert_eq!((to.vector(), to.digest()), (held, digest));
        return false;
    }
    assert!(held.is_within(&to.vector()));
    assert_same(&to, &copy(&to, ReplicaId::from_u128(78)));
    let digest = to.digest();
    to.set_members([to.id()]);
    to.forget();
    assert_eq!(to.digest(), digest);
    true
}

fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

/// What is read all the same after a bit was flipped is a delta of other events.
#[test]
fn t47_no_flipped_bit_of_any_message_panics_or_takes_effect_in_part() {
    let (us, samples) = samples();
    let before = observe(&us);
    let (mut refused, mut merged) = (0, 0);
    for bytes in samples.iter().filter(|transfer| transfer.len() == 1).flatten() {
        for bytes in flipped(bytes) {
            let is_merged = us.decode(&bytes).is_ok_and(|delta| merged_or_refused(&us, delta));
            *(if is_merged { &mut merged } else { &mut refused }) += 1;
        }
    }
    assert_eq!(observe(&us), before);
    assert!(refused > 2_000 && merged > 200, "{refused} {merged}");
}

#[test]
fn t47_after_a_flipped_bit_no_later_chunk_of_a_transfer_is_taken() {
    let (us, samples) = samples();
    let before = observe(&us);
    let (mut read, mut early) = (0, 0);
    for transfer in samples.iter().filter(|transfer| transfer.len() > 1) {
        for (number, bytes) in transfer.iter().enumerate() {
            for bytes in flipped(bytes) {
                let Ok(chunk) = us.decode(&bytes) else {
                    continue;
                };
                read += 1;
                let mut pending = PendingDelta::new(&Limits::default());
                for bytes in &transfer[..number] {
                    assert!(pending.push(us.decode(bytes).unwrap()).unwrap().is_none());
                }
                match pending.push(chunk) {
                    // It says that it is the last, or no chunk at all.
                    Ok(Some(delta)) => {
                        early += usize::from(number + 1 < transfer.len());
                        merged_or_refused(&us, delta);
                    }
                    Ok(None) => {
                        for bytes in &transfer[number + 1..] {
                            let refused = pending.push(us.decode(bytes).unwrap()).unwrap_err();
                            let is_known = matches!(
                                refused,
                                PendingError::OtherTransfer | PendingError::OutOfOrder { .. }
                            );
                            assert!(is_known, "{refused}");
                        }
                    }
                    // What was gathered before is kept, and the transfer goes on with the chunk as it was sent.
                    Err(_) if number > 0 => {
                        for bytes in &transfer[number..] {
                            pending.push(us.decode(bytes).unwrap()).unwrap();
                        }
                    }
                    Err(_) => {}
                }
            }
        }
    }
    assert_eq!(observe(&us), before);
    let chunks: usize = samples.iter().map(Vec::len).filter(|len| *len > 1).sum();
    assert!(read > 1_000 && early <= 2 * chunks, "{read} {early} {chunks}");
}

/// The times that a forged message uses: what is honest, and what is at the edges.
const BASE: u64 = NOW_MS << 16;

fn extremes() -> [u64; 12] {
    [
        0,
        1,
        BASE - 1,
        BASE,
        BASE + 1,
        BASE + 2,
        BASE + 3,
        BASE + 0xFFFF,
        1 << 63,
        (1 << 48) - 1,
        u64::MAX - 1,
        u64::MAX,
    ]
}

/// A forged message for a counter, in which everything stands that may: two counts, other marks, records of removed counts.
fn forged_counter() -> Forged {
    let next = || part(&[0]);
    let state = vec![
        // Two live counts, one other mark and one record; then their events, in runs of one.
        part(&[5, 1, 1, 65, 0]),
        dot(BASE + 2, 0),
        next(),
        dot(BASE + 3, 1),
        next(),
        dot(BASE + 1, 2),
        next(),
        dot(BASE + 1, 1),
        // Seven each, since their own stamps, and of one seven were removed.
        part(&[65, 0, 14, 0, 14]),
        part(&[65, 0, 0, 0, 0]),
        part(&[14]),
    ];
    Forged {
        ids: vec![A, B, C],
        to: vec![BASE + 2, BASE + 3, BASE + 1],
        from: vec![0, 0, 0],
        cut: None,
        state,
    }
}

/// The same for a map: a row with a floor, of which something is live, one that is gone, and one without.
fn forged_map() -> Forged {
    let next = || part(&[0]);
    let state = vec![
        // Three rows, two of them with floors: of two marks and with a value, and of one mark.
        part(&[3 << 2 | 1, 2, 65, 0, 1 << 1 | 1, 0, 0, 65, 0]),
        dot(BASE + 1, 0),
        next(),
        dot(BASE + 2, 1),
        next(),
        dot(BASE + 1, 2),
        // Two registers: one value, and two with another mark.
        part(&[65, 0]),
        cell(BASE + 3, 1),
        part(&[0, 2 << 1 | 1, 1, 65, 0]),
        dot(BASE + 2, 0),
        next(),
        dot(BASE + 3, 1),
        next(),
        dot(BASE + 1, 2),
        // The values, then the keys.
        part(&[5, 6, 7, 1, 2, 3]),
    ];
    Forged {
        ids: vec![A, B, C],
        to: vec![BASE + 2, BASE + 3, BASE + 1],
        from: vec![0, 0, 0],
        cut: None,
        state,
    }
}

type Registers = MergeMap<u8, LwwRegister<u8>>;

/// Any stamp or author of a forged message, and any two of them, replaced by what is at the edges: refused, and nothing
/// moved, or merged into a state that is sound. That it ends at all says that no range is walked through one by one.
fn every_edge<S: Crdt>(forged: &Forged, write: impl Fn(&mut S::Mut<'_>)) -> [usize; 2] {
    let mut us = replica::<S>(ReplicaId::from_u128(0x0e << 64));
    us.write(NOW_MS - 1, &write).unwrap();
    let before = observe(&us);
    let mut counts = [0, 0];
    let mut attempt = |forged: &Forged| {
        let is_merged = us.decode(&forged.message()).is_ok_and(|delta| merged_or_refused(&us, delta));
        counts[usize::from(!is_merged)] += 1;
    };
    for cut in [None, Some(vec![0, BASE + 1, BASE + 1])] {
        let forged = Forged { cut, ..forged.clone() };
        attempt(&forged);
        for one in 0..forged.holes() {
            for (at, value) in extremes().into_iter().enumerate() {
                let once = forged.with(one, value);
                attempt(&once);
                // A second one, some of all.
                for other in one + 1..forged.holes() {
                    attempt(&once.with(other, extremes()[(at + other) % extremes().len()]));
                }
            }
        }
    }
    assert_eq!(observe(&us), before);
    counts
}

#[test]
fn b59_forged_stamps_and_authors_are_refused_or_merged_into_a_sound_state() {
    let [merged, refused] = every_edge::<Counter>(&forged_counter(), |counter| counter.add(3).unwrap());
    assert!(merged > 100 && refused > 1_000, "{merged} {refused}");
    let [merged, refused] = every_edge::<Registers>(&forged_map(), |map| {
        (1..4).for_each(|key| map.update(&key, |value| value.set(9)));
    });
    assert!(merged > 100 && refused > 1_000, "{merged} {refused}");
}

fn error_of<S: Crdt>(forged: &Forged) -> DecodeError {
    let us = replica::<S>(ReplicaId::from_u128(0x0e << 64));
    match us.decode(&forged.message()) {
        Err(MergeError::Decode(error)) => error,
        other => panic!("{other:?} of {forged:?}"),
    }
}

#[test]
fn b59_what_a_constructor_would_refuse_the_decoder_refuses_by_name() {
    let counter = forged_counter;
    let map = forged_map;
    assert!(replica::<Counter>(B).decode(&counter().message()).is_ok());
    assert!(replica::<Registers>(B).decode(&map().message()).is_ok());
    let repeated = |error: DecodeError| match error {
        DecodeError::Repeated { what, .. } => what,
        other => panic!("{other}"),
    };
    // Intervals: their start beyond their end, empty, from nothing to nothing, and what was dropped beyond what was seen.
    let backwards = Forged { from: vec![BASE + 3, 0, 0], ..counter() };
    let zero = Forged { to: vec![BASE + 2, 0, BASE + 1], ..counter() };
    let cut_beyond = Forged { cut: Some(vec![0, BASE + 4, 0]), ..counter() };
    let cut_and_from = Forged { from: vec![1, 0, 0], cut: Some(vec![0, 0, 0]), ..counter() };
    for forged in [backwards, zero, cut_beyond, cut_and_from] {
        assert!(matches!(error_of::<Counter>(&forged), DecodeError::Stamp { .. }));
    }
    // Overlapping: one replica twice, in the table, among the live, the marks, the records and the floors.
    assert_eq!(repeated(error_of::<Counter>(&Forged { ids: vec![A, B, A], ..counter() })), "a replica id");
    let at = |forged: Forged, place: usize, with: Part| {
        let mut state = forged.state.clone();
        state[place] = with;
        Forged { state, ..forged }
    };
    let entry_twice = at(counter(), 3, dot(BASE + 1, 0));
    assert_eq!(repeated(error_of::<Counter>(&entry_twice)), "a live entry of one replica");
    let mark_of_entry = at(counter(), 5, dot(BASE + 1, 1));
    assert_eq!(repeated(error_of::<Counter>(&mark_of_entry)), "a mark");
    let mut records = counter().state;
    records[0] = part(&[5, 1, 2, 65, 0]);
    records[10] = part(&[0, 14]);
    records.splice(8..8, [part(&[0]), dot(BASE, 1)]);
    let record_twice = Forged { state: records, ..counter() };
    assert_eq!(repeated(error_of::<Counter>(&record_twice)), "the record of a removed count");
    assert_eq!(repeated(error_of::<Registers>(&at(map(), 3, dot(BASE, 0)))), "a mark");
    let key_twice = at(map(), 14, part(&[5, 6, 7, 1, 1, 3]));
    assert_eq!(repeated(error_of::<Registers>(&key_twice)), "a key");
    let expected = |error: DecodeError| match error {
        DecodeError::Expected { what, .. } => what,
        other => panic!("{other}"),
    };
    // A cell of which nothing is known, more floors than rows, and none where there should be some.
    let nothing = Forged { state: vec![part(&[1, 0, 0])], ..counter() };
    assert_eq!(expected(error_of::<Counter>(&nothing)), "a cell of which something is known");
    for (rows, what) in [
        ([1 << 2 | 1, 2], "the numbers of rows of maps"),
        ([1 << 2 | 1, 0], "the numbers of rows of maps"),
        // Short forms in a message that says it has none.
        ([1 << 2 | 2, 1], "keys in full"),
    ] {
        let rows = Forged { state: vec![part(&rows)], ..map() };
        assert_eq!(expected(error_of::<Registers>(&rows)), what);
    }
    // A run that began after its count, or never.
    for back in [BASE + 2, BASE + 3, u64::MAX] {
        let ages = [&[65, 0][..], &varint(back), &[0, 0]].concat();
        let run = error_of::<Counter>(&at(counter(), 9, part(&ages)));
        assert!(matches!(run, DecodeError::Stamp { .. }));
    }
    // Dots that are none, beyond what the message claims, or of nobody.
    for (stamp, place) in [(0, 1), (BASE + 4, 1), (u64::MAX, 1), (BASE, 3), (BASE, u16::MAX)] {
        for hole in [1, 3, 5, 7] {
            let error = error_of::<Counter>(&at(counter(), hole, dot(stamp, place)));
            assert!(matches!(error, DecodeError::Stamp { .. }), "{error}");
        }
    }
    // Dots that the message does not list.
    let error = error_of::<Counter>(&at(counter(), 7, part(&[4])));
    assert!(matches!(error, DecodeError::Stamp { .. }), "{error}");
}

#[test]
fn b59_what_is_only_out_of_order_means_the_same() {
    let merged = |forged: &Forged| {
        let mut us = replica::<Counter>(ReplicaId::from_u128(0x0e << 64));
        us.write(NOW_MS - 1, |counter| counter.add(1).unwrap()).unwrap();
        receive(&mut us, &forged.message()).unwrap();
        us
    };
    let expected = merged(&forged_counter());
    for order in every::order(3) {
        // The table of ids in another order: places mean other ids.
        let forged = forged_counter();
        let moved = |place: u16| order.iter().position(|at| *at == usize::from(place)).unwrap() as u16;
        let state = forged.state.iter().map(|part| part.moved(moved)).collect();
        let by = |list: &[u64]| order.iter().map(|at| list[*at]).collect::<Vec<_>>();
        let ids = order.iter().map(|at| forged.ids[*at]).collect();
        let forged = Forged { ids, to: by(&forged.to), from: by(&forged.from), cut: None, state };
        assert_same(&merged(&forged), &expected);
        // The live entries the other way round, the newest first.
        let mut state = forged.state.clone();
        state.swap(1, 3);
        assert_same(&merged(&Forged { state, ..forged }), &expected);
    }
}

/// The widest intervals there are, from one who accepts any stamp: taken in at once, and after that no stamp is left.
#[test]
fn b59_the_widest_interval_costs_no_more_than_the_narrowest() {
    let config = Config { max_ahead_ms: u64::MAX, ..Config::default() };
    let mut us = Replica::<Counter>::new(ReplicaId::from_u128(0x0e << 64), config);
    us.write(NOW_MS - 1, |counter| counter.add(1).unwrap()).unwrap();
    let mut state = forged_counter().state;
    state[3] = dot(u64::MAX, 1);
    let forged = Forged { to: vec![BASE + 2, u64::MAX, u64::MAX], state, ..forged_counter() };
    let delta = us.decode(&forged.message()).unwrap();
    assert!(us.merge(NOW_MS, delta).unwrap().is_news);
    assert_eq!(us.state().value(), 1 + 7 + 7);
    // From one to the end is no news, and beyond what is held it is a gap.
    let from_one = Forged { from: vec![1, 1, 1], ..forged.clone() };
    assert!(!us.merge(NOW_MS, us.decode(&from_one.message()).unwrap()).unwrap().is_news);
    let beyond = Forged { from: vec![BASE + 3, u64::MAX, 0], to: vec![u64::MAX; 3], ..forged };
    let gap = us.merge(NOW_MS, us.decode(&beyond.message()).unwrap()).unwrap_err();
    assert_eq!(gap, MergeError::Gap { vector: us.vector() });
    us.set_members([us.id()]);
    us.forget();
    let exhausted = us.write(NOW_MS, |counter| counter.add(1).unwrap()).unwrap_err();
    assert_eq!(exhausted, WriteError::Clock(ClockError::Exhausted));
    let mut other = Replica::<Counter>::new(ReplicaId::from_u128(3), us.config().clone());
    other
        .merge(NOW_MS, other.decode(&us.delta_since(&VersionVector::new()).encode().unwrap()).unwrap())
        .unwrap();
    assert_same(&us, &other);
}

type Siblings = MergeMap<u16, MvRegister<u8>>;

/// A message of so many rows, each with a value of each of so many authors, who had not seen each other: three bytes each.
fn crowd(rows: u16, authors: usize, salt: u128, later: u64) -> Vec<u8> {
    let ids =
        (0..authors as u128).map(|number| ReplicaId::from_u128(salt << 64 | (number * 0x9E37 + 1))).collect();
    let column = |number: u64| if rows > 1 { [vec![0], varint(number)].concat() } else { varint(number) };
    // So many live values in each row, no other marks; the events are the ends of the vectors, two bytes each.
    let mut state = varint(u64::from(rows) << 2);
    state.extend(column((authors as u64) << 1 | 1));
    state.extend(column(0));
    state.extend([16, 0]);
    (0..rows).for_each(|_| (0..authors as u16).for_each(|place| state.extend(place.to_le_bytes())));
    (0..rows).for_each(|_| (0..authors).for_each(|place| state.push((place % 100) as u8)));
    (0..rows).for_each(|row| rmp::encode::write_uint(&mut state, row.into()).map(drop).unwrap());
    let times = vec![BASE + later; authors];
    Forged { ids, to: times, from: vec![0; authors], cut: None, state: vec![part(&state)] }.message()
}

#[test]
fn b61_very_many_concurrent_values_are_capped_and_a_frame_full_of_them_is_merged() {
    let siblings = Limits::default().siblings;
    // One more than allowed is refused by name, whatever is in the frame beside it.
    let us = replica::<Siblings>(A);
    assert!(us.decode(&crowd(1, siblings, 1, 0)).is_ok());
    let too_many = MergeError::Decode(DecodeError::Limit { limit: "siblings", allowed: siblings });
    for authors in [siblings + 1, Limits::MAX_REPLICAS] {
        assert_eq!(us.decode(&crowd(3, authors, 1, 0)).unwrap_err(), too_many);
    }
    // A frame of 442 KiB, full of registers that are as crowded as is allowed; then another one by others, and the first
    // authors again.
    let rows = (442 * 1024 - 20 * siblings) / (3 * siblings);
    let mut us = replica::<Siblings>(A);
    for (salt, later) in [(1, 0), (2, 1), (1, 2)] {
        let frame = crowd(rows as u16, siblings, salt, later);
        assert!((350 * 1024..442 * 1024).contains(&frame.len()), "{}", frame.len());
        assert!(receive(&mut us, &frame).unwrap().is_news);
        assert!(!receive(&mut us, &frame).unwrap().is_news);
    }
    assert_eq!(us.state().get(&0).unwrap().all().count(), 2 * siblings);
    // What has become too crowded by several messages is refused by those it is sent to, who say why, until somebody
    // writes it; then it is one value again.
    let mut other = replica::<Siblings>(B);
    assert_eq!(
        receive(&mut other, &us.delta_since(&VersionVector::new()).encode().unwrap()).unwrap_err(),
        too_many
    );
    assert!(other.vector().is_empty());
    us.write(LATE_MS, |map| (0..rows as u16).for_each(|row| map.update(&row, |value| value.set(1)))).unwrap();
    sync(&us, &mut other);
    assert!(other.state().iter().all(|(_, value)| value.all().eq([&1])));
    assert_same(&us, &other);
}

/// A counter has an entry for each replica that counts: as many as there may be replicas, and no more.
#[test]
fn b61_a_counter_is_capped_by_the_number_of_replicas() {
    let crowd = |authors: u128| {
        let ids: Vec<_> = (1..=authors).map(|number| ReplicaId::from_u128(number << 64)).collect();
        let len = ids.len();
        // So many live counts, no other marks, as many records: a removal has seen a part of each count.
        let mut state = [varint(2 * len as u64 + 1), varint(0), varint(len as u64), vec![16, 0]].concat();
        let places = 0..len as u16;
        places.clone().rev().chain(places).for_each(|place| state.extend(place.to_le_bytes()));
        state.extend([0, 5 << 1, 0, 0, 0, 2 << 1]);
        Forged { ids, to: vec![BASE; len], from: vec![0; len], cut: None, state: vec![part(&state)] }
            .message()
    };
    let most = Limits::MAX_REPLICAS as u128;
    let mut us = replica::<Counter>(ReplicaId::from_u128(1));
    let too_many =
        MergeError::Decode(DecodeError::Limit { limit: "replicas", allowed: Limits::MAX_REPLICAS });
    assert_eq!(us.decode(&crowd(most + 1)).unwrap_err(), too_many);
    receive(&mut us, &crowd(most)).unwrap();
    assert_eq!(us.state().value(), 3 * most as i64);
    // One more than a message can name cannot come in, by whatever messages.
    let mut one_more = replica::<Counter>(ReplicaId::from_u128(2));
    one_more.write(NOW_MS, |counter| counter.add(1).unwrap()).unwrap();
    let refused = us.merge(LATE_MS, one_more.delta_since(&us.vector())).unwrap_err();
    assert_eq!(refused, MergeError::TooManyReplicas { count: Limits::MAX_REPLICAS + 1 });
    assert_eq!(us.state().value(), 3 * most as i64);
}

/// A peer that claims to have seen, and removed, what its author has not issued yet.
#[test]
fn b62_a_claim_to_have_removed_what_its_author_has_not_issued_is_refused_by_the_author_on_every_way_in() {
    let mut us = with_honest_data(A, B);
    let own = us.vector().get(&A);
    let claim = |stamp: Timestamp| {
        // Of element 20, which we added, and of those that we may add yet: removed, with all of ours up to the stamp.
        let floor = || dot(stamp.bits(), 0);
        let state = vec![part(&[2 << 2 | 1, 2, 0, 0, 65, 0]), floor(), part(&[0]), floor(), part(&[20, 21])];
        let forged = Forged { ids: vec![A], to: vec![stamp.bits()], from: vec![0], cut: None, state };
        let mut liar = replica::<OrSet<u32>>(C);
        receive(&mut liar, &forged.message()).unwrap();
        liar
    };
    for stamp in [own.bits() + 1, own.bits() + (5 << 16)].map(Timestamp::from_bits) {
        let expected = MergeError::NotIssued { stamp, own };
        every_way_is_refused(&mut us, &claim(stamp), LATE_MS, |error| *error == expected);
    }
    // Within what was issued it is a removal, as any peer may make it.
    let peer = claim(own);
    us.merge(LATE_MS, peer.delta_since(&VersionVector::new())).unwrap();
    // It has seen what it removed, and claims no news: what is held stays held.
    assert!(us.state().contains(&20));
    // Marks, floors, cuts and records cannot say more than the vector of their message: see b59.
}

/// Others cannot tell such a claim from the truth. The author can: it hears of it with the next vector or delta, goes on under
/// a new id, and writes there again what was kept from the others.
#[test]
fn b62_what_others_were_kept_from_seeing_by_a_false_claim_comes_to_light_and_can_be_written_again() {
    for heard_in_time in [true, false] {
        let [mut author, mut other, _] = three::<OrSet<u32>>();
        author.write(NOW_MS, |set| set.add(&1)).unwrap();
        sync(&author, &mut other);
        let claimed = Timestamp::new(NOW_MS + 1_000, 0).unwrap();
        let state = vec![part(&[1 << 2 | 1, 1, 0]), dot(claimed.bits(), 0), part(&[2])];
        let forged = Forged { ids: vec![A], to: vec![claimed.bits()], from: vec![0], cut: None, state };
        receive(&mut other, &forged.message()).unwrap();
        assert!(other.state().contains(&1), "it removes nothing but what it names");
        // Now the author adds what it is said to have seen removed.
        author.write(NOW_MS + 500, |set| set.add(&2)).unwrap();
        assert!(!other.merge(LATE_MS, author.delta_since(&other.vector())).unwrap().is_news);
        let own = author.vector().get(&A);
        if heard_in_time {
            let expected = MergeError::NotIssued { stamp: claimed, own };
            assert_eq!(author.report(LATE_MS, B, &other.vector()).unwrap_err(), expected);
            assert_eq!(author.merge(LATE_MS, other.delta_since(&author.vector())).unwrap_err(), expected);
        } else {
            // Once it has issued more than was claimed, the vectors agree and the digests tell.
            author.write(NOW_MS + 2_000, |set| set.add(&3)).unwrap();
            sync(&author, &mut other);
            assert_eq!(author.vector(), other.vector());
            assert_ne!(author.digest(), other.digest());
        }
        assert!(!other.state().contains(&2));
        let mut reborn = copy(&author, ReplicaId::from_u128(0xAA << 64));
        let held: Vec<u32> = reborn.state().iter().copied().collect();
        reborn.write(NOW_MS + 3_000, |set| held.iter().for_each(|element| set.add(element))).unwrap();
        other.merge(LATE_MS, reborn.delta_since(&other.vector())).unwrap();
        reborn.merge(LATE_MS, other.delta_since(&reborn.vector())).unwrap();
        assert_same(&reborn, &other);
        assert!(held.iter().all(|element| other.state().contains(element)) && held.contains(&2));
    }
}
