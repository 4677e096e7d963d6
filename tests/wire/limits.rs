//! The limits of the decoder, each by its name.

use std::collections::BTreeMap;

use driftless::{Config, DecodeError, Document, Limits, LwwRegister, MergeError, Replica, ReplicaId, Value};

use crate::{NOW_MS, merge, message, replica};

/// The least value of a limit with which a message is accepted; with all below it is refused by the name of the limit.
fn least(bytes: &[u8], name: &'static str, set: impl Fn(&mut Limits, usize)) -> usize {
    for allowed in 0.. {
        let mut limits = Limits::default();
        set(&mut limits, allowed);
        let config = Config { limits, ..Config::default() };
        let reader: Replica<Document> = Replica::new(ReplicaId::from_u128(99), config);
        match reader.decode(bytes) {
            Ok(_) => return allowed,
            Err(error) => {
                assert_eq!(error, MergeError::Decode(DecodeError::Limit { limit: name, allowed }), "{name}");
            }
        }
    }
    unreachable!("no limit is large enough")
}

/// Three replicas wrote one register without having seen each other; the values are nested, and one text is long.
fn sample() -> Vec<u8> {
    let mut writers: [Replica<Document>; 3] = [replica(1), replica(2), replica(3)];
    let nested =
        Value::List(vec![Value::List(vec![Value::Map(BTreeMap::from([("a".to_owned(), Value::Null)]))])]);
    for writer in &mut writers {
        writer.write(NOW_MS, |doc| doc.set(&["a", "b"], nested.clone()).unwrap()).unwrap();
    }
    writers[0].write(NOW_MS, |doc| doc.assign(&["c"], "x".repeat(1000)).unwrap()).unwrap();
    let [first, others @ ..] = &mut writers;
    for other in others {
        let bytes = message(other, first);
        merge(first, &bytes);
    }
    message(first, &replica(9))
}

#[test]
fn each_limit_is_kept_and_named() {
    let bytes = sample();
    assert_eq!(least(&bytes, "message_bytes", |limits, n| limits.message_bytes = n), bytes.len());
    // The document, the map at "a", and three levels of the value.
    assert_eq!(least(&bytes, "depth", |limits, n| limits.depth = n), 5);
    assert_eq!(least(&bytes, "siblings", |limits, n| limits.siblings = n), 3);
    assert_eq!(least(&bytes, "text_bytes", |limits, n| limits.text_bytes = n), 1000);
    assert_eq!(least(&bytes, "replicas", |limits, n| limits.replicas = n), 3);
    let memory = least(&bytes, "memory_bytes", |limits, n| limits.memory_bytes = n);
    assert!((4 * size_of::<Value>()..4 * bytes.len()).contains(&(memory - 3 * 640)), "{memory}");
    let elements = least(&bytes, "elements", |limits, n| limits.elements = n);
    assert!((20..bytes.len()).contains(&elements), "{elements}");
}

#[test]
fn a_length_that_the_bytes_cannot_hold_is_refused_before_memory_is_taken() {
    let mut writer: Replica<LwwRegister<Vec<u8>>> = replica(1);
    writer.write(NOW_MS, |register| register.set(vec![0; 5])).unwrap();
    let bytes = message(&writer, &replica(2));
    let reader: Replica<LwwRegister<Vec<u8>>> = replica(2);
    assert!(reader.decode(&bytes).is_ok());
    let place = bytes.len() - 6;
    assert_eq!(bytes[place], 0x95);
    for head in
        [[0xDD, 0xFF, 0xFF, 0xFF, 0xFF], [0xDF, 0xFF, 0xFF, 0xFF, 0xFF], [0xC6, 0x7F, 0xFF, 0xFF, 0xFF]]
    {
        let mut bytes = bytes[..place].to_vec();
        bytes.extend(head);
        let refused = reader.decode(&bytes).unwrap_err();
        assert!(matches!(
            refused,
            MergeError::Decode(DecodeError::Truncated { .. } | DecodeError::Limit { .. })
        ));
    }
}

#[test]
fn what_a_document_can_hold_all_can_receive() {
    let mut writer: Replica<Document> = replica(1);
    let path: Vec<String> = (0..Document::MAX_DEPTH).map(|level| format!("level {level}")).collect();
    writer.write(NOW_MS, |doc| doc.set(&path, 1).unwrap()).unwrap();
    let nested = (1..Document::MAX_DEPTH).fold(Value::Null, |value, _| Value::List(vec![value]));
    writer.write(NOW_MS, |doc| doc.set(&["a"], nested).unwrap()).unwrap();
    let mut reader: Replica<Document> = replica(2);
    let bytes = message(&writer, &reader);
    merge(&mut reader, &bytes);
    assert_eq!(reader.digest(), writer.digest());
}
