//! `#[derive(Crdt)]`: what it generates merges, ships, undoes and forgets field by field.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::HashSet;

use driftless::{
    Change, Config, Counter, Crdt, Datum, DecodeError, Flag, LwwRegister, MergeError, MergeMap, MvRegister,
    OrSet, PendingDelta, Replica, ReplicaId, TransactError, Value,
};

#[derive(Crdt, Debug)]
struct User {
    name: LwwRegister<String>,
    tags: OrSet<String>,
    visits: Counter,
    home: Address,
    /// Whether the account is of a person or of a machine.
    r#type: MvRegister<String>,
}

#[derive(Crdt, Debug)]
struct Address {
    city: LwwRegister<String>,
    is_current: Flag,
}

#[derive(Crdt, Debug)]
struct Folder {
    title: LwwRegister<String>,
    folders: MergeMap<String, Self>,
}

type Users = MergeMap<u8, User>;

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config { changes: true, ..Config::default() })
}

/// Brings `to` what it lacks of `from`, over the wire.
fn send<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) -> Vec<Change> {
    let delta = from.delta_since(&to.vector());
    let delta = to.decode(&delta.encode().unwrap()).unwrap();
    to.merge(2_000, delta).unwrap().changes
}

fn exchange<S: Crdt>(a: &mut Replica<S>, b: &mut Replica<S>) {
    send(a, b);
    send(b, a);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.canonical_bytes(), b.canonical_bytes());
}

/// A path as it is shown, and what is read there.
fn shown(changes: &[Change]) -> Vec<(String, Option<Value>)> {
    changes.iter().map(|change| (change.path.to_string(), change.after.clone())).collect()
}

#[test]
fn replicas_that_write_different_fields_keep_both() {
    let (mut eu, mut us) = (replica::<Users>(1), replica::<Users>(2));
    eu.write(1_000, |users| {
        users.update(&7, |user| {
            user.name().set("Ada");
            user.home().city().set("London");
        })
    })
    .unwrap();
    exchange(&mut eu, &mut us);
    eu.write(1_001, |users| {
        users.update(&7, |user| {
            user.name().set("Ada Lovelace");
            user.tags().add("admin");
            user.visits().add(2).unwrap();
        })
    })
    .unwrap();
    us.write(1_002, |users| {
        users.update(&7, |user| {
            user.home().city().set("Paris");
            user.home().is_current().enable();
            user.visits().add(3).unwrap();
            user.r#type().set("person");
        })
    })
    .unwrap();
    exchange(&mut eu, &mut us);
    for replica in [&eu, &us] {
        let user = replica.state().get(&7).unwrap();
        assert_eq!(user.name.latest().unwrap(), "Ada Lovelace");
        assert_eq!(user.home.city.latest().unwrap(), "Paris");
        assert!(user.home.is_current.is_enabled() && user.tags.contains("admin"));
        assert_eq!(user.visits.value(), 5);
        assert_eq!(user.r#type.distinct(), ["person"]);
    }
}

#[test]
fn changes_name_the_field() {
    let (mut eu, mut us) = (replica::<Users>(1), replica::<Users>(2));
    let written = eu.write(1_000, |users| {
        users.update(&7, |user| {
            user.home().is_current().enable();
            user.r#type().set("person");
        })
    });
    let expected = [
        ("7.home.is_current".to_owned(), Some(Value::Bool(true))),
        ("7.type".to_owned(), Some(Value::List(vec![Value::Text("person".into())]))),
    ];
    assert_eq!(shown(&written.unwrap().changes), expected);
    assert_eq!(shown(&send(&eu, &mut us)), expected);
    let gone = expected.map(|(path, _)| (path, None));
    assert_eq!(shown(&us.write(1_001, |users| users.remove(&7)).unwrap().changes), gone);
    assert_eq!(shown(&send(&us, &mut eu)), gone);
}

#[test]
fn a_removal_takes_what_it_has_seen_of_each_field() {
    let (mut eu, mut us) = (replica::<Users>(1), replica::<Users>(2));
    eu.write(1_000, |users| {
        users.update(&7, |user| {
            user.name().set("Ada");
            user.visits().add(40).unwrap();
        })
    })
    .unwrap();
    exchange(&mut eu, &mut us);
    eu.write(1_001, |users| users.remove(&7)).unwrap();
    us.write(1_002, |users| users.update(&7, |user| user.visits().add(2))).unwrap().value.unwrap();
    exchange(&mut eu, &mut us);
    let user = eu.state().get(&7).unwrap();
    assert_eq!((user.visits.value(), user.name.latest()), (2, None));
}

#[test]
fn what_all_have_seen_removed_is_forgotten() {
    let (mut eu, mut us) = (replica::<Users>(1), replica::<Users>(2));
    for replica in [&mut eu, &mut us] {
        replica.set_members([1, 2].map(ReplicaId::from_u128));
    }
    eu.write(1_000, |users| users.update(&7, |user| user.home().city().set("London"))).unwrap();
    exchange(&mut eu, &mut us);
    us.write(1_001, |users| users.remove(&7)).unwrap();
    exchange(&mut eu, &mut us);
    assert_eq!((eu.state().len(), eu.state().rows()), (0, 1));
    eu.report(2_000, us.id(), &us.vector()).unwrap();
    eu.forget();
    assert_eq!(eu.state().rows(), 0);
}

#[test]
fn every_field_is_pruned_whatever_the_others_have_left() {
    let (mut eu, mut us) = (replica::<User>(1), replica::<User>(2));
    eu.set_members([1, 2].map(ReplicaId::from_u128));
    eu.write(1_000, |user| {
        user.name().set("Ada");
        user.home().city().set("London");
    })
    .unwrap();
    eu.write(1_001, |user| user.home().city().clear()).unwrap();
    exchange(&mut eu, &mut us);
    eu.report(2_000, us.id(), &us.vector()).unwrap();
    eu.write(2_001, |user| user.name().clear()).unwrap();
    assert_eq!(eu.forget().marks, 1);
    send(&eu, &mut us);
    eu.report(3_000, us.id(), &us.vector()).unwrap();
    assert_eq!(eu.forget().marks, 1);
}

#[test]
fn an_error_undoes_every_field() {
    let mut eu = replica::<Users>(1);
    eu.write(1_000, |users| {
        users.update(&7, |user| {
            user.name().set("Ada");
            user.tags().add("admin");
            user.visits().add(5).unwrap();
            user.home().city().set("London");
        })
    })
    .unwrap();
    let before = eu.canonical_bytes();
    let refused = eu.transact(1_001, |users| {
        users.update(&7, |user| {
            user.r#type().set("machine");
            user.home().is_current().enable();
            user.home().city().clear();
            user.visits().add(1).unwrap();
            user.tags().remove("admin");
            user.tags().add("staff");
            user.name().set("Bob");
        });
        users.update(&8, |user| user.home().city().set("Rome"));
        users.remove(&7);
        Err::<(), _>("no")
    });
    assert_eq!(refused, Err(TransactError::Aborted("no")));
    assert_eq!(eu.canonical_bytes(), before);
    assert_eq!(eu.state().rows(), 1);
}

#[test]
fn a_handle_reads_and_shows_where_it_is() {
    let mut eu = replica::<User>(1);
    let written = eu.write(1_000, |user| {
        user.name().set("Ada");
        user.home().city().set("London");
        let length =
            user.name.latest().map_or(0, String::len) + user.home.city.latest().map_or(0, String::len);
        (length, [format!("{user:?}"), format!("{:?}", user.home())])
    });
    let (length, debug) = written.unwrap().value;
    assert_eq!(length, 9);
    assert_eq!(debug[0], "UserMut(Writer { path: [], .. })");
    assert_eq!(debug[1], "AddressMut(Writer { path: [Field(\"home\")], .. })");
}

#[test]
fn a_transfer_can_be_cut_between_any_fields() {
    let (mut eu, mut us) = (replica::<User>(1), replica::<User>(2));
    eu.write(1_000, |user| {
        user.name().set("Ada");
        user.tags().add("admin");
        user.visits().add(1).unwrap();
        user.home().city().set("London");
        user.home().is_current().enable();
        user.r#type().set("person");
    })
    .unwrap();
    let chunks: Vec<_> = eu.delta_since(&us.vector()).into_chunks(1).take(10).map(Result::unwrap).collect();
    assert_eq!(chunks.len(), 6);
    let mut pending = PendingDelta::new(&us.config().limits);
    let mut whole = None;
    for chunk in chunks {
        assert!(whole.is_none());
        whole = pending.push(us.decode(&chunk).unwrap()).unwrap();
    }
    us.merge(2_000, whole.unwrap()).unwrap();
    assert_eq!(us.canonical_bytes(), eu.canonical_bytes());
}

#[derive(Crdt, Debug)]
struct Pair<T: Datum, M, const N: usize = 1>
where
    T: Ord,
    M: Crdt,
{
    first: LwwRegister<T>,
    second: LwwRegister<T>,
    extra: M,
    /// A type that mentions the struct itself.
    below: MergeMap<u8, Pair<T, M, N>>,
}

fn set_first<T: Datum + Ord, M: Crdt, const N: usize>(pair: &mut PairMut<'_, T, M, N>, value: T) {
    pair.first().set(value);
}

#[test]
fn parameters_keep_their_bounds() {
    type Pairs = MergeMap<u8, Pair<i64, Address>>;
    let (mut eu, mut us) = (replica::<Pairs>(1), replica::<Pairs>(2));
    eu.write(1_000, |pairs| {
        pairs.update(&1, |pair| {
            pair.second().set(2);
            pair.extra().city().set("Rome");
            pair.below().update(&9, |pair| pair.first().set(3));
        })
    })
    .unwrap();
    us.write(1_000, |pairs| pairs.update(&1, |pair| set_first(pair, 1))).unwrap();
    exchange(&mut eu, &mut us);
    let pair = eu.state().get(&1).unwrap();
    assert_eq!((pair.first.latest(), pair.second.latest()), (Some(&1), Some(&2)));
    assert_eq!(pair.extra.city.latest().unwrap(), "Rome");
    assert_eq!(pair.below.get(&9).unwrap().first.latest(), Some(&3));
}

#[derive(Crdt, Debug)]
struct Borrowed<'writer, T: Datum>
where
    'writer: 'static,
{
    text: LwwRegister<std::borrow::Cow<'writer, str>>,
    value: LwwRegister<T>,
}

#[test]
fn a_struct_may_hold_itself() {
    let (mut eu, mut us) = (replica::<Folder>(1), replica::<Folder>(2));
    eu.write(1_000, |root| {
        root.folders().update("a", |a| a.folders().update("b", |b| b.title().set("deep")));
    })
    .unwrap();
    us.write(1_001, |root| root.folders().update("a", |a| a.title().set("shallow"))).unwrap();
    exchange(&mut eu, &mut us);
    let a = us.state().folders.get("a").unwrap();
    assert_eq!(a.title.latest().unwrap(), "shallow");
    assert_eq!(a.folders.get("b").unwrap().title.latest().unwrap(), "deep");
}

#[test]
fn a_lifetime_may_have_the_name_that_the_handle_uses() {
    let mut eu = replica::<Borrowed<'static, u8>>(1);
    eu.write(1_000, |borrowed: &mut BorrowedMut<'_, 'static, u8>| {
        borrowed.text().set("here".into());
        borrowed.value().set(1);
    })
    .unwrap();
    assert_eq!(eu.state().text.latest().unwrap(), "here");
}

mod account {
    use driftless::{Counter, Crdt, LwwRegister};

    #[derive(Crdt, Debug)]
    pub(super) struct Account {
        pub(super) owner: LwwRegister<String>,
        /// In cents. Written by [`deposit`] alone.
        balance: Counter,
    }

    pub(super) fn deposit(account: &mut AccountMut<'_>, cents: i64) {
        account.balance().add(cents).unwrap();
    }

    impl Account {
        pub(super) fn balance(&self) -> i64 {
            self.balance.value()
        }
    }
}

#[test]
fn a_handle_is_as_visible_as_what_it_writes() {
    let mut eu = replica::<account::Account>(1);
    let write = |account: &mut account::AccountMut<'_>| {
        account.owner().set("Ada");
        account::deposit(account, 250);
    };
    eu.write(1_000, write).unwrap();
    assert_eq!((eu.state().balance(), eu.state().owner.latest().unwrap().as_str()), (250, "Ada"));
}

/// Names that generated code might have used for itself.
#[derive(Crdt, Debug)]
#[allow(non_snake_case, reason = "a name that is not usual")]
struct Names {
    path: Flag,
    writer: Flag,
    deref: Flag,
    fmt: Flag,
    bitmap: Flag,
    into_this: Flag,
    Other: Flag,
}

#[test]
fn any_name_of_a_field_will_do() {
    let mut eu = replica::<Names>(1);
    eu.write(1_000, |names| {
        names.path().enable();
        names.writer().enable();
        names.deref().enable();
        names.fmt().enable();
        names.bitmap().enable();
        names.into_this().enable();
        names.Other().enable();
        assert!(names.writer.is_enabled());
    })
    .unwrap();
    let mut us = replica::<Names>(2);
    let changes = send(&eu, &mut us);
    let names: Vec<_> = changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(names, ["path", "writer", "deref", "fmt", "bitmap", "into_this", "Other"]);
}

macro_rules! wide {
    ($($name:ident)*) => {
        #[derive(Crdt, Debug)]
        struct Wide { $($name: Flag),* }

        const WIDE: &[(&str, fn(&mut WideMut<'_>), fn(&Wide) -> bool)] =
            &[$((stringify!($name), |wide| wide.$name().enable(), |wide| wide.$name.is_enabled())),*];
    };
}

wide! {
    a0 a1 a2 a3 a4 a5 a6 a7 b0 b1 b2 b3 b4 b5 b6 b7 c0 c1 c2 c3 c4 c5 c6 c7 d0 d1 d2 d3 d4 d5 d6 d7
    e0 e1 e2 e3 e4 e5 e6 e7 f0 f1 f2 f3 f4 f5 f6 f7 g0 g1 g2 g3 g4 g5 g6 g7 h0 h1 h2 h3 h4 h5 h6 h7
}

#[test]
fn sixty_four_fields_are_told_apart() {
    assert_eq!(WIDE.len(), 64);
    let mut eu = replica::<Wide>(1);
    let mut us = replica::<Wide>(2);
    let mut digests = HashSet::from([eu.digest()]);
    for (index, (name, enable, _)) in WIDE.iter().enumerate() {
        eu.write(1_000, enable).unwrap();
        assert!(digests.insert(eu.digest()));
        assert_eq!(shown(&send(&eu, &mut us)), [((*name).to_owned(), Some(Value::Bool(true)))]);
        for (other, (_, _, is_enabled)) in WIDE.iter().enumerate() {
            assert_eq!(is_enabled(us.state()), other <= index);
        }
    }
    let mut late = replica::<Wide>(3);
    assert_eq!(send(&eu, &mut late).len(), 64);
    assert_eq!(late.digest(), eu.digest());
}

mod newer {
    use driftless::{Crdt, Flag, LwwRegister};

    /// [`Address`](super::Address) with a field renamed and one appended.
    #[derive(Crdt, Debug)]
    pub(super) struct Address {
        pub(super) town: LwwRegister<String>,
        pub(super) is_current: Flag,
        pub(super) is_checked: Flag,
    }
}

#[test]
fn a_field_can_be_renamed_and_one_appended() {
    let mut old = replica::<Address>(1);
    let mut new = replica::<newer::Address>(2);
    old.write(1_000, |address| {
        address.city().set("London");
        address.is_current().enable();
    })
    .unwrap();
    let bytes = old.delta_since(&new.vector()).encode().unwrap();
    new.merge(2_000, new.decode(&bytes).unwrap()).unwrap();
    assert_eq!(new.state().town.latest().unwrap(), "London");
    assert!(new.state().is_current.is_enabled() && !new.state().is_checked.is_enabled());

    new.write(1_001, |address| address.town().set("Paris")).unwrap();
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    old.merge(2_000, old.decode(&bytes).unwrap()).unwrap();
    assert_eq!(old.state().city.latest().unwrap(), "Paris");

    new.write(1_002, |address| address.is_checked().enable()).unwrap();
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    let refused = old.decode(&bytes).unwrap_err();
    assert!(matches!(refused, MergeError::Decode(DecodeError::UnknownField { field: 2, .. })), "{refused:?}");
}

/// A replica, the bytes of a message to it, and where in them a struct of two fields begins.
fn message() -> (Replica<Address>, Vec<u8>, usize) {
    let mut eu = replica::<Address>(1);
    eu.write(1_000, |address| address.city().set("London")).unwrap();
    let bytes = eu.delta_since(&replica::<Address>(2).vector()).encode().unwrap();
    // The event is that of the head; then the bitmap of the first field, and the event of that.
    let at = bytes.windows(3).position(|bytes| bytes == [1, 0b1, 0]).unwrap() + 1;
    (eu, bytes, at)
}

#[test]
fn a_bitmap_that_does_not_fit_is_refused() {
    let (eu, bytes, at) = message();
    let refusal = |bitmap: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = bitmap;
        match eu.decode(&bytes).unwrap_err() {
            MergeError::Decode(error) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(0b1101), DecodeError::UnknownField { field: 2, at });
    assert_eq!(refusal(0b11), DecodeError::Truncated { at: bytes.len() });
    assert_eq!(refusal(0b10), DecodeError::Trailing { at: at + 2 });
    assert_eq!(refusal(0b0), DecodeError::Trailing { at: at + 1 });
}
