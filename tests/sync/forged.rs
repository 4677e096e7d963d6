//! Frames of each kind that say too much, with the right checks: they are taken or refused within bounds of memory, and what is
//! held stays as it is.

use std::num::NonZeroU16;

use allocation_counter::measure;
use driftless::{
    Access, Admission, Config, Endpoint, LinkId, LinkState, LwwRegister, MergeMap, Replica, ReplicaId,
    Request, SyncConfig, SyncError, Timestamp, VersionVector,
};
use serde::Serialize;
use serde::de::IgnoredAny;
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::forge::{HEAD, HELLO, varint};
use crate::net::{CLUSTER, Fate, Net, START_MS, id, member};

type Names = MergeMap<u32, LwwRegister<String>>;
type Victim = Endpoint<Names>;
/// What a forged heartbeat says of others.
type Table = Vec<(ReplicaId, VersionVector)>;
/// The fields of a heartbeat, as they are written.
type Beat = (u64, u64, Option<VersionVector>, Option<Table>, Option<Vec<ReplicaId>>, bool);
/// A forged hello of a schema, and whether it is taken.
type Greeting = (&'static str, fn(u64) -> Vec<u8>, bool);
/// A gathered transfer of a hello.
type Pending = (ReplicaId, (u64, u64));

const LINK: LinkId = LinkId(7);
const NONCE: u64 = 0x1234_5678_9abc_def0;
const OUR_NONCE: u64 = 0x0fed_cba9_8765_4321;
const SEAL: u64 = (NONCE ^ OUR_NONCE).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
/// What is taken for a frame of any size.
const FIXED: u64 = 128 << 10;
/// What is taken for each byte of a frame.
const PER_BYTE: u64 = 8;

const DELTA: u8 = 2;
const ACK: u8 = 3;
const GAP: u8 = 4;
const BEAT: u8 = 5;
const ASK_POINTS: u8 = 6;
const POINTS: u8 = 7;
const REFUSE: u8 = 8;
const AUDIT: u8 = 9;

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let seal = if matches!(kind, HELLO | REFUSE) { 0 } else { SEAL };
    let check = xxh3_64_with_seed(body, seal ^ u64::from(kind)).to_be_bytes();
    [&[kind], &check[..4], body].concat()
}

fn packed(kind: u8, body: &impl Serialize) -> Vec<u8> {
    frame(kind, &rmp_serde::to_vec(body).expect("it can be written"))
}

fn stranger(number: usize) -> ReplicaId {
    ReplicaId::from_u128((number as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834) | 1)
}

fn strangers(count: usize) -> Vec<ReplicaId> {
    (0..count).map(stranger).collect()
}

fn stamp(number: u64) -> Timestamp {
    Timestamp::from_bits(((START_MS - 1_000_000) << 16) + number)
}

fn vector(count: usize) -> VersionVector {
    (0..count).map(|number| (stranger(number), stamp(number as u64))).collect()
}

fn hash(vector: &VersionVector) -> u64 {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|(id, stamp)| [&id.uuid().as_bytes()[..], &stamp.bits().to_be_bytes()].concat())
        .collect();
    xxh3_64(&bytes)
}

/// An endpoint that holds something, and has a link up.
fn fresh() -> Victim {
    let mut replica: Replica<Names> = Replica::new(id(0), Config::default());
    for key in 0..50 {
        replica.write(START_MS, |names| names.update(&key, |name| name.set("kept"))).expect("legal");
    }
    let mut victim = Endpoint::new(replica, SyncConfig::new(CLUSTER, member(0), "victim"));
    victim.link_up(START_MS, LINK, None, NONCE);
    victim
}

/// What the victim sends now.
fn drain(victim: &mut Victim) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut out = Vec::new();
    while victim.transmit(START_MS, &mut out).is_some() {
        frames.push(std::mem::take(&mut out));
        assert!(frames.len() < 1_000, "it sends without end");
    }
    while victim.next_event().is_some() {}
    frames
}

/// The fields of a hello, as they are written.
type Hello<L, P, V> =
    ((u16, u16), Uuid, u64, ReplicaId, String, ReplicaId, u64, u64, u64, Request, u64, L, P, V);

fn schema(victim: &mut Victim) -> u64 {
    let hello = drain(victim).into_iter().find(|frame| frame[0] == HELLO).expect("it says hello first");
    let body: Hello<IgnoredAny, IgnoredAny, IgnoredAny> =
        rmp_serde::from_slice(&hello[HEAD..]).expect("fourteen fields");
    body.2
}

fn hello(
    schema: u64,
    region: &str,
    held: VersionVector,
    pending: &[Pending],
    peers: &[ReplicaId],
) -> Vec<u8> {
    hello_to(schema, region, held, pending, peers, &VersionVector::new())
}

/// A hello to who is said to have held something.
fn hello_to(
    schema: u64,
    region: &str,
    held: VersionVector,
    pending: &[Pending],
    peers: &[ReplicaId],
    lost: &VersionVector,
) -> Vec<u8> {
    let request = Request::from(held);
    let (versions, peer) = ((1_u16, 1_u16), id(1));
    let body = (
        versions,
        CLUSTER,
        schema,
        member(1),
        region,
        peer,
        START_MS,
        OUR_NONCE,
        NONCE,
        request,
        0_u64,
        pending,
        peers,
        lost,
    );
    packed(HELLO, &body)
}

/// An endpoint that has been greeted.
fn greeted() -> Victim {
    let mut victim = fresh();
    let schema = schema(&mut victim);
    let hello = hello(schema, "forger", VersionVector::new(), &[], &[]);
    assert_eq!(victim.receive(START_MS, LINK, &hello), Ok(()));
    drain(&mut victim);
    victim
}

/// Lets a frame come in: it takes no more memory than it may, what is held stays, and the victim goes on.
fn attack(what: &str, victim: &mut Victim, frame: &[u8]) -> Result<(), SyncError> {
    attack_within(FIXED, what, victim, frame)
}

/// The same, where what came before is kept and may have to be moved.
fn attack_within(fixed: u64, what: &str, victim: &mut Victim, frame: &[u8]) -> Result<(), SyncError> {
    let digest = victim.replica().digest();
    let mut received = Ok(());
    let used = measure(|| received = victim.receive(START_MS, LINK, frame));
    let most = fixed + PER_BYTE * frame.len() as u64;
    assert!(used.bytes_max <= most, "{what}: {} bytes for a frame of {}", used.bytes_max, frame.len());
    drain(victim);
    assert_eq!(victim.replica().digest(), digest, "{what}");
    received
}

#[test]
fn hellos_with_endless_lists_are_taken_or_refused_within_bounds() {
    let cases: [Greeting; 7] = [
        (
            "a long region",
            |schema| hello(schema, &"r".repeat(1 << 20), VersionVector::new(), &[], &[]),
            false,
        ),
        (
            "a region that is just short enough",
            |schema| hello(schema, &"r".repeat(256), VersionVector::new(), &[], &[]),
            true,
        ),
        ("many that it holds events of", |schema| hello(schema, "", vector(100_000), &[], &[]), false),
        (
            "many whom it is connected to",
            |schema| hello(schema, "", VersionVector::new(), &[], &strangers(100_000)),
            true,
        ),
        (
            "many transfers",
            |schema| {
                let pending: Vec<Pending> = strangers(100_000).into_iter().map(|id| (id, (1, 2))).collect();
                hello(schema, "", VersionVector::new(), &pending, &[])
            },
            true,
        ),
        (
            "much that we held once",
            |schema| hello_to(schema, "", VersionVector::new(), &[], &[], &vector(100_000)),
            true,
        ),
        // It is answered with ours, and is nobody's before the peer's is known.
        ("another schema", |schema| hello(schema ^ 1, "", VersionVector::new(), &[], &[]), true),
    ];
    for (what, forged, is_taken) in cases {
        let mut victim = fresh();
        let schema = schema(&mut victim);
        let received = attack(what, &mut victim, &forged(schema));
        assert_eq!(received.is_ok(), is_taken, "{what}: {received:?}");
    }
}

#[test]
fn who_speaks_no_version_that_is_spoken_here_is_refused() {
    for (oldest, newest, is_spoken) in [(0, 0, false), (0, 1, true), (1, 7, true), (2, 3, false)] {
        let mut victim = fresh();
        let schema = schema(&mut victim);
        let mut body = hello(schema, "forger", VersionVector::new(), &[], &[]).split_off(HEAD);
        // A list of fields, of which the first is a list of two small numbers.
        assert_eq!(body[1..4], [0x92, 1, 1]);
        (body[2], body[3]) = (oldest, newest);
        let theirs = (oldest.into(), newest.into());
        let expected = if is_spoken { Ok(()) } else { Err(SyncError::Version { theirs }) };
        assert_eq!(victim.receive(START_MS, LINK, &frame(HELLO, &body)), expected);
    }
}

#[test]
fn only_who_may_write_can_bring_an_id_into_doubt_by_what_it_says_was_lost() {
    let lost: VersionVector = [(id(0), Timestamp::from_bits((START_MS + 1) << 16))].into_iter().collect();
    for access in [Access::ReadWrite, Access::Read] {
        let mut victim = fresh();
        victim.grant(START_MS, LINK, access);
        let schema = schema(&mut victim);
        let hello = hello_to(schema, "forger", VersionVector::new(), &[], &[], &lost);
        assert_eq!(victim.receive(START_MS, LINK, &hello), Ok(()));
        let written = victim.write(START_MS, |names| names.update(&1, |name| name.set("after")));
        assert_eq!(written.is_ok(), access == Access::Read);
    }
}

#[test]
fn what_comes_before_a_hello_is_not_answered() {
    let mut victim = fresh();
    drain(&mut victim);
    let body = rmp_serde::to_vec(&id(0)).expect("it can be written");
    let seal = NONCE.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let check = xxh3_64_with_seed(&body, seal ^ u64::from(ASK_POINTS)).to_be_bytes();
    let ask = [&[ASK_POINTS], &check[..4], &body[..]].concat();
    assert_eq!(victim.receive(START_MS, LINK, &ask), Ok(()));
    assert_eq!(drain(&mut victim), Vec::<Vec<u8>>::new());
}

#[test]
fn beats_with_endless_lists_are_taken_or_refused_within_bounds() {
    let nothing = VersionVector::new();
    let one_each = |count| strangers(count).into_iter().map(|id| (id, vector(1))).collect::<Table>();
    let cases: [(&str, Beat, bool); 5] = [
        ("many that it holds events of", (START_MS, 1, Some(vector(100_000)), None, None, false), false),
        (
            "many whom it knows",
            (START_MS, hash(&nothing), Some(nothing.clone()), Some(one_each(100_000)), None, false),
            false,
        ),
        (
            "one who holds much",
            (
                START_MS,
                hash(&nothing),
                Some(nothing.clone()),
                Some(vec![(stranger(1), vector(100_000))]),
                None,
                false,
            ),
            false,
        ),
        ("many whom it is connected to", (START_MS, 1, None, None, Some(strangers(100_000)), false), true),
        ("a time beyond all", (u64::MAX, u64::MAX, None, None, None, true), true),
    ];
    for (what, beat, is_taken) in cases {
        let mut victim = greeted();
        let received = attack(what, &mut victim, &packed(BEAT, &beat));
        assert_eq!(received.is_ok(), is_taken, "{what}: {received:?}");
    }
}

#[test]
fn what_is_said_of_commits_is_bounded_however_often_it_is_said() {
    // Of our own id: it is in doubt after the first, and what is known of it must not grow without end.
    let mut victim = greeted();
    for round in 0..200_u64 {
        let told: Vec<Timestamp> = (0..2_000).map(|number| stamp(round * 2_000 + number)).collect();
        let frame = packed(POINTS, &(id(0), told, true));
        attack_within(1 << 20, "commits of the victim", &mut victim, &frame).expect("it may be true");
    }
    assert!(heap(victim) < 2 << 20, "what was said of commits is kept");
    // Of many others, with deltas that bring nothing.
    let mut victim = greeted();
    let message = empty();
    let before = victim.replica().vector();
    for round in 0..50 {
        let mut body = vec![1, 0, 0];
        let count = 100_usize;
        body.push(count as u8);
        for number in 0..count {
            body.extend_from_slice(stranger(round * count + number).uuid().as_bytes());
            body.push(0);
        }
        body.extend_from_slice(&message);
        attack("commits of nobody", &mut victim, &frame(DELTA, &body)).expect("it is well formed");
    }
    assert_eq!(victim.replica().vector(), before);
    assert!(heap(victim) < 100 << 10, "what was said of nobody is kept");
    // With deltas that wait for what never comes, and are small themselves.
    let mut victim = greeted();
    let message = waiting();
    for _ in 0..2_000 {
        let mut body = vec![1, 0, 0, 1];
        body.extend_from_slice(stranger(1).uuid().as_bytes());
        body.extend(varint(1_000));
        body.extend_from_slice(&STEPS_OF_ONE);
        body.extend_from_slice(&message);
        attack("commits with what waits", &mut victim, &frame(DELTA, &body)).expect("it is well formed");
    }
    let held = heap(victim);
    assert!(held < 2 << 20, "{held} bytes wait");
    // More than one frame may bring, in few bytes: a run of zeros.
    let mut victim = greeted();
    for count in [1_025_u64, 1 << 40, u64::MAX] {
        let mut body = vec![1, 0, 0, 1];
        body.extend_from_slice(stranger(1).uuid().as_bytes());
        body.extend(varint(count));
        body.extend_from_slice(&[0; 64]);
        let received = attack("a run of commits", &mut victim, &frame(DELTA, &body));
        assert!(matches!(received, Err(SyncError::Broken { .. })), "{received:?}");
    }
    let ask = packed(ASK_POINTS, &stranger(9));
    attack("commits of nobody are asked for", &mut victim, &ask).expect("it may ask");
}

#[test]
fn answers_that_cannot_leave_are_not_heaped_up() {
    let mut victim = greeted();
    let ask = packed(ASK_POINTS, &id(0));
    let used = measure(|| {
        for _ in 0..20_000 {
            assert_eq!(victim.receive(START_MS, LINK, &ask), Ok(()));
        }
    });
    assert!(used.bytes_current < 100 << 10, "{} bytes wait to be sent", used.bytes_current);
    let answers = drain(&mut victim).iter().filter(|frame| frame[0] == POINTS).count();
    assert!((1..100).contains(&answers), "{answers} answers");
}

/// A message that goes on from what nobody has.
fn waiting() -> Vec<u8> {
    let mut replica: Replica<Names> = Replica::new(stranger(2), Config::default());
    let mut write = |now_ms| {
        replica.write(now_ms, |names| names.update(&1, |name| name.set("first"))).expect("legal");
        replica.vector()
    };
    let before = write(START_MS - 10);
    write(START_MS - 9);
    replica.delta_since(&before).encode().expect("plain")
}

/// A column of any number of steps of one.
const STEPS_OF_ONE: [u8; 2] = [0, 1];

/// A message of nothing.
fn empty() -> Vec<u8> {
    let empty: Replica<Names> = Replica::new(id(1), Config::default());
    empty.delta_since(&VersionVector::new()).encode().expect("it is empty")
}

/// How many bytes an endpoint holds.
fn heap(victim: Victim) -> i64 {
    -measure(|| drop(victim)).bytes_current
}

/// The steps of an audit, as they are written.
#[derive(Serialize)]
enum Audit {
    Prints { vector: u64, sums: Vec<u64> },
    Rows { vector: u64, buckets: Vec<u16>, rows: Vec<(u64, u64)> },
    Repair { vector: u64, ids: Vec<u64>, message: Vec<u8>, is_answer: bool },
}

/// An endpoint of which a peer says that it holds the same: an audit is between two such.
fn equal() -> Victim {
    let mut victim = greeted();
    let held = victim.replica().vector();
    let beat: Beat = (START_MS, hash(&held), Some(held), None, None, false);
    attack("a claim", &mut victim, &packed(BEAT, &beat)).expect("it may hold the same");
    victim
}

#[test]
fn audits_with_forged_ids_change_nothing() {
    let vector = hash(&equal().replica().vector());
    let rows =
        |count: u64| (0..count).map(|number| (number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number)).collect();
    let ids = |count: u64| (0..count).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let cases = [
        ("no sums", Audit::Prints { vector, sums: Vec::new() }, true),
        ("wrong sums", Audit::Prints { vector, sums: (0..256).collect() }, true),
        ("too many sums", Audit::Prints { vector, sums: (0..100_000).collect() }, true),
        ("rows of nobody", Audit::Rows { vector, buckets: vec![7, 7, 700], rows: rows(100_000) }, true),
        ("too many buckets", Audit::Rows { vector, buckets: (0..9).collect(), rows: rows(1) }, false),
        ("of another vector", Audit::Rows { vector: vector ^ 1, buckets: vec![1], rows: rows(9) }, true),
        (
            "a repair of too many rows",
            Audit::Repair { vector, ids: ids(257), message: empty(), is_answer: true },
            false,
        ),
        (
            "a repair that is no message",
            Audit::Repair { vector, ids: ids(9), message: vec![0xc1; 1_000], is_answer: false },
            false,
        ),
        (
            "a repair of another vector",
            Audit::Repair { vector, ids: ids(9), message: empty(), is_answer: false },
            false,
        ),
    ];
    for (what, audit, is_taken) in cases {
        let mut victim = equal();
        let received = attack(what, &mut victim, &packed(AUDIT, &audit));
        assert_eq!(received.is_ok(), is_taken, "{what}: {received:?}");
        // It goes on.
        victim.write(START_MS + 1, |names| names.update(&1, |name| name.set("after"))).expect("legal");
    }
}

/// A bucket of a victim that is not empty, a row that is in it, and that row as a message.
fn row(victim: &Victim) -> (u16, u64, Vec<u8>) {
    let rows = |bucket: &u16| victim.replica().rows_of(NonZeroU16::new(256).expect("some"), &[*bucket]);
    let bucket = (0..256).find(|bucket| !rows(bucket).is_empty()).expect("there are rows");
    let id = rows(&bucket)[0].id;
    (bucket, id, victim.replica().rows(&[id]).encode().expect("it is small"))
}

#[test]
fn an_audit_of_another_vector_than_the_peer_says_to_hold_is_left_alone() {
    let victim = equal();
    let vector = hash(&victim.replica().vector());
    let (bucket, id, message) = row(&victim);
    let audits = |vector| {
        [
            Audit::Prints { vector, sums: vec![7; 256] },
            Audit::Rows { vector, buckets: vec![bucket], rows: Vec::new() },
            Audit::Repair { vector, ids: vec![id], message: message.clone(), is_answer: false },
        ]
    };
    for (of, answers) in [(vector, 1), (vector ^ 1, 0)] {
        for (number, audit) in audits(of).iter().enumerate() {
            let mut victim = equal();
            assert_eq!(victim.receive(START_MS, LINK, &packed(AUDIT, audit)), Ok(()));
            let sent = drain(&mut victim);
            assert_eq!(sent.iter().filter(|frame| frame[0] == AUDIT).count(), answers, "{number}");
        }
    }
}

#[test]
fn who_waits_to_be_let_in_is_shown_no_rows_whatever_it_says_to_hold() {
    for (admission, answers) in [(Admission::Anyone, 1), (Admission::Invited, 0)] {
        let member_of = |victim: Victim| {
            let config = SyncConfig { admission, ..victim.config().clone() };
            let message = victim.replica().delta_since(&VersionVector::new()).encode().expect("plain");
            let mut replica: Replica<Names> = Replica::new(id(5), Config::default());
            let delta = replica.decode(&message).expect("a message");
            replica.merge(START_MS, delta).expect("it is complete");
            Endpoint::new(replica, config)
        };
        let mut victim = member_of(fresh());
        victim.found(START_MS).expect("it is legal");
        victim.link_up(START_MS, LINK, None, NONCE);
        let schema = schema(&mut victim);
        let hello = hello(schema, "forger", VersionVector::new(), &[], &[]);
        assert_eq!(victim.receive(START_MS, LINK, &hello), Ok(()));
        drain(&mut victim);
        assert_eq!(victim.peers()[0].state == LinkState::Waiting, admission == Admission::Invited);
        let own = victim.replica().vector();
        let beat: Beat = (START_MS, hash(&own), Some(own.clone()), None, None, false);
        assert_eq!(victim.receive(START_MS, LINK, &packed(BEAT, &beat)), Ok(()));
        drain(&mut victim);
        let (bucket, ..) = row(&victim);
        let audit = Audit::Rows { vector: hash(&own), buckets: vec![bucket], rows: Vec::new() };
        assert_eq!(victim.receive(START_MS, LINK, &packed(AUDIT, &audit)), Ok(()));
        let sent = drain(&mut victim);
        assert_eq!(sent.iter().filter(|frame| frame[0] == AUDIT).count(), answers, "{admission:?}");
    }
}

#[test]
fn an_audit_is_of_eight_buckets_and_of_256_rows_at_most() {
    let victim = equal();
    let vector = hash(&victim.replica().vector());
    let (_, _, message) = row(&victim);
    let rows = |count: u16| Audit::Rows { vector, buckets: (0..count).collect(), rows: Vec::new() };
    let repair = |count: u64| Audit::Repair {
        vector,
        ids: (0..count).collect(),
        message: message.clone(),
        is_answer: true,
    };
    let broken = |what| Err(SyncError::Broken { what });
    for (audit, expected) in [
        (rows(8), Ok(())),
        (rows(9), broken("at most 8 buckets")),
        (repair(256), Ok(())),
        (repair(257), broken("at most 256 rows")),
    ] {
        assert_eq!(equal().receive(START_MS, LINK, &packed(AUDIT, &audit)), expected);
    }
}

#[test]
fn acknowledgements_and_gaps_of_what_was_never_sent_do_no_harm() {
    let mut victim = greeted();
    for seq in [0, 1, 2, 1_000, u64::MAX] {
        for is_merged in [0, 1, 2] {
            let mut body = Vec::new();
            body.extend(varint(seq));
            body.push(is_merged);
            let received = attack("an acknowledgement", &mut victim, &frame(ACK, &body));
            assert_eq!(received.is_ok(), is_merged < 2, "{received:?}");
        }
    }
    let gathered = [None, Some((0_u64, 0_u64)), Some((u64::MAX, u64::MAX)), Some((1, 1))];
    for pending in gathered {
        let gap = packed(GAP, &(Request::from(VersionVector::new()), pending));
        attack("a gap", &mut victim, &gap).expect("it may lack anything");
    }
    let gap = packed(GAP, &(Request::from(vector(100_000)), None::<(u64, u64)>));
    attack("a gap of many", &mut victim, &gap).expect_err("more replicas than there can be");
    let places: Vec<String> = (0..10_000).map(|place| format!(".{place}")).collect();
    let refusal = packed(REFUSE, &(NONCE, OUR_NONCE, "because ".repeat(10_000), places));
    attack("a refusal", &mut victim, &refusal).expect_err("nobody has such a schema");
}

#[test]
fn chunks_in_any_order_are_gathered_in_none_but_the_right_one() {
    // The chunks of an honest transfer, as they go over a wire.
    let mut net: Net<Names> =
        Net::new(2, |_, config| (config.chunk_bytes, config.window_bytes) = (200, 1 << 20));
    net.write(0, |names| {
        (0..200).for_each(|key| names.update(&key, |name| name.set("a row of a long transfer")))
    });
    net.fate =
        Box::new(|from, _, bytes| if from == 0 && bytes[0] == DELTA { Fate::Lost } else { Fate::Arrives });
    net.connect(0, 1);
    net.run(500);
    let frames: Vec<Vec<u8>> = net
        .log
        .iter()
        .filter(|(from, _, bytes)| *from == 0 && bytes[0] == DELTA)
        .map(|(_, _, bytes)| bytes.clone())
        .collect();
    assert!(frames.len() > 20, "{} chunks", frames.len());
    let link = LinkId(2);
    for stride in [7, 11, frames.len() - 1] {
        for place in (0..frames.len()).map(|place| place * stride % frames.len()) {
            let received = net.ends[1].receive(net.now_ms, link, &frames[place]);
            assert_eq!(received, Ok(()), "a chunk that does not come next is as if it were lost");
        }
        let mut out = Vec::new();
        while net.ends[1].transmit(net.now_ms, &mut out).is_some() {}
        if net.ends[1].replica().vector().is_empty() {
            assert_eq!(net.ends[1].replica().state().rows(), 0, "a part of a transfer took effect");
        }
    }
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(30_000);
    assert!(net.is_converged());
}

#[test]
fn frames_of_any_bytes_are_refused_or_do_nothing() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let mut victim = greeted();
    for _ in 0..2_000 {
        let len = usize::from(next()) % 60;
        let body: Vec<u8> = (0..len).map(|_| next()).collect();
        let forged = frame(1 + next() % 9, &body);
        let _ = attack("any bytes", &mut victim, &forged);
        let _ = attack("any bytes, cut", &mut victim, &forged[..forged.len() / 2]);
    }
}
