//! What fuzzing starts from: a few messages of each type, as the engine makes them.

use driftless::{Config, MergeMap, ReplicaId, VersionVector};

use crate::fuzz::delivery::{ANY_STAMP, HASH_BEFORE, IN_CHUNKS, RECEIVER_IS_EMPTY};
use crate::fuzz::scene::{self, Scene};
use crate::fuzz::types::{COUNT, Elsewhere, OPEN, of_type};
use crate::subject::Subject;

/// The bit of a message's first byte that says so.
const HAS_SHORT_KEYS: u8 = 4;

/// A flag is turned on at a path of as many names as there may be.
const DEEPEST: [u8; 6] = [0, 0, 200, 0, 146, 6];

/// What the name of a seed ends with that holds keys in short form. They depend on how the platform hashes: there are such seeds
/// where most fuzzing is done.
pub const ANSWER: &str = "-answer";
/// Whether they are made on this platform as they are stored.
pub const MAKES_ANSWERS: bool = cfg!(all(target_pointer_width = "64", target_endian = "little"));

/// The seeds of a target: the name of a file, and the bytes.
#[inline]
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    match target {
        "history" => (0..COUNT).map(|number| (format!("type-{number}"), arbitrary(number, 240))).collect(),
        "document" => {
            let parts = (0..4).map(|number| (format!("part-{number}"), arbitrary(number, 160)));
            parts.chain([("deepest".to_owned(), DEEPEST.to_vec())]).collect()
        }
        "session" => (0..24).map(|number| (format!("how-{number}"), arbitrary(number, 240))).collect(),
        _ => {
            let of_types = (0..COUNT).flat_map(|number| of_type!(number, messages(number)));
            of_types.chain(written::<MergeMap<String, Elsewhere>>(OPEN, "elsewhere-")).collect()
        }
    }
}

/// Bytes that look arbitrary but for the first one, and are always the same.
fn arbitrary(first: u8, len: u8) -> Vec<u8> {
    let rest = (0..len / 6).flat_map(|number| scene::choices(number.wrapping_mul(7) ^ first));
    std::iter::once(first).chain(rest).collect()
}

/// The seed of a type with a name, and how and what its receiver is sent.
fn seed(number: u8, name: &str, how: u8, message: &[u8]) -> (String, Vec<u8>) {
    (format!("type-{number}-{name}"), [&[number, how | ANY_STAMP], message].concat())
}

fn messages<S: Subject>(number: u8) -> Vec<(String, Vec<u8>)> {
    let mut files = written::<S>(number, "");
    let answer = answer::<S>().filter(|_| MAKES_ANSWERS);
    files.extend(answer.map(|answer| seed(number, &ANSWER[1..], 0, &answer)));
    files
}

/// Messages for one who reads them as the type with a number, whoever wrote them.
fn written<S: Subject>(number: u8, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut scene = Scene::<S>::new(&Config::default());
    let received = scene.replicas[2].vector();
    let none = VersionVector::new();
    let mut files = Vec::new();
    let mut add = |name: &str, how: u8, message: &[u8]| {
        files.push(seed(number, &format!("{prefix}{name}"), how, message));
    };
    scene.write(1, 5);
    scene.sync(0, 1);
    let delta = |scene: &Scene<S>, vector: &VersionVector| {
        scene.replicas[1].delta_since(vector).encode().expect("the values are plain")
    };
    add("news", 0, &delta(&scene, &received));
    add("first", RECEIVER_IS_EMPTY, &delta(&scene, &none));
    let mut before = 0;
    let chunks = scene.replicas[1].delta_since(&received).into_chunks(40).map(|chunk| {
        let mut chunk = chunk.expect("the values are plain");
        let hash = xxhash_rust::xxh3::xxh3_64(&chunk);
        let at = chunk.windows(8).position(|window| window == u64::to_be_bytes(before));
        if let Some(at) = at.filter(|_| before != 0) {
            chunk[at..at + 8].copy_from_slice(&HASH_BEFORE);
        }
        before = hash;
        [&(chunk.len() as u16).to_be_bytes()[..], &chunk].concat()
    });
    add("chunks", IN_CHUNKS, &chunks.collect::<Vec<_>>().concat());
    // All that is held, after forgetting: for one who is not a member.
    scene.sync(2, 1);
    scene.sync(1, 0);
    scene.sync(1, 2);
    scene.write(1, 6);
    scene.settle();
    scene.write(1, 7);
    let stranger: VersionVector =
        [(ReplicaId::from_u128(9), driftless::Timestamp::from_bits(1))].into_iter().collect();
    add("complete", 0, &delta(&scene, &stranger));
    files
}

/// An answer with keys in short form to the one who receives: of the first write after which there is one.
fn answer<S: Subject>() -> Option<Vec<u8>> {
    let mut scene = Scene::<S>::new(&Config::default());
    let request = scene::shared_receiver::<S>(ANY_STAMP).request();
    (5..60).find_map(|number| {
        scene.write(1, number);
        let answer = scene.replicas[1].answer(&request).encode().expect("the values are plain");
        (answer[0] & HAS_SHORT_KEYS != 0).then_some(answer)
    })
}
