//! A sample of each form of a message.

use driftless::{
    Counter, Crdt, Document, LwwRegister, MergeMap, MvRegister, OrSet, Replica, ReplicaId, VersionVector,
};

use crate::samples::{AP, EU, NOW_MS, Sending, US, Visitor, regions, replica, sync, write};
use crate::schema::Schema;

pub(super) fn visit(visitor: &mut impl Visitor) {
    nothing(visitor);
    ids_in_short_form(visitor);
    ids_of_one_short_form(visitor);
    complete(visitor);
    chunks(visitor);
    complete_in_chunks(visitor);
    many_replicas(visitor);
    stamps(visitor);
    columns(visitor);
    closed_ids(visitor);
}

fn nothing(visitor: &mut impl Visitor) {
    let [mut eu, ..] = regions::<LwwRegister<i64>>();
    let mut sending = Sending::new();
    sending.send(&eu);
    write(&mut eu, 0, |register| register.set(1));
    sending.send(&eu);
    sending.send(&eu);
    visitor.visit(sending.end(
        "nothing",
        Schema::Register,
        "From one who holds nothing; then what it wrote; then from one whose events are all known.",
    ));
}

fn ids_in_short_form(visitor: &mut impl Visitor) {
    let [mut eu, mut us, mut ap] = regions::<MergeMap<u8, LwwRegister<u32>>>();
    let mut sending = Sending::new();
    for (number, replica) in [&mut eu, &mut us, &mut ap].into_iter().enumerate() {
        let key = number as u8;
        write(replica, 300 * u64::from(key), |map| map.update(&key, |register| register.set(u32::from(key))));
    }
    sync(&us, &mut eu);
    sending.send(&eu);
    write(&mut us, 2_000, |map| map.update(&1, |register| register.set(70_000_u32)));
    sync(&us, &mut ap);
    sending.send(&ap);
    write(&mut ap, 2_100, |map| map.update(&0, |register| register.set(9_u32)));
    sending.send(&ap);
    visitor.visit(sending.end(
        "short-ids",
        Schema::Map(&Schema::Register),
        "Two ids in full; then one in full, one in short form with news and one without; then all three in short form.",
    ));
}

fn ids_of_one_short_form(visitor: &mut impl Visitor) {
    let ids = [5 << 96 | 0xD1F7, 5 << 64 | 0xD1F7].map(ReplicaId::from_u128);
    let [mut first, mut second] = ids.map(replica::<OrSet<u8>>);
    let mut sending = Sending::new();
    write(&mut first, 0, |set| set.add(&1));
    write(&mut second, 1, |set| set.add(&2));
    sync(&second, &mut first);
    sending.send(&first);
    write(&mut first, 2, |set| set.add(&3));
    sending.send(&first);
    visitor.visit(sending.end(
        "twins",
        Schema::Set,
        "Two ids share their short form: both are named in full although the reader knows them.",
    ));
}

type Names = MergeMap<u8, LwwRegister<String>>;

/// A cluster in which something was removed and forgotten, and one member wrote after that.
fn forgetful() -> [Replica<Names>; 3] {
    let mut cluster = regions::<Names>();
    for (number, replica) in cluster.iter_mut().enumerate() {
        write(replica, number as u64, |map| {
            map.update(&(number as u8), |register| register.set(format!("by {number}")));
            map.update(&9, |register| register.set("by all"));
        });
    }
    let [eu, us, ap] = &mut cluster;
    sync(us, eu);
    sync(ap, eu);
    write(eu, 10, |map| {
        map.remove(&1);
        map.update(&9, |register| register.set("by one who had seen all"))
    });
    sync(eu, us);
    sync(eu, ap);
    eu.set_members([EU, US, AP]);
    for (id, vector) in [(US, us.vector()), (AP, ap.vector())] {
        eu.report(NOW_MS, id, &vector).expect("the members' vectors are true");
    }
    let forgotten = eu.forget();
    assert!(forgotten.rows > 0 && forgotten.behind.is_empty());
    // What all have seen is forgotten; this not yet.
    write(ap, 20, |map| map.remove(&0));
    sync(ap, eu);
    cluster
}

fn complete(visitor: &mut impl Visitor) {
    let [mut eu, ..] = forgetful();
    let mut sending = Sending::new();
    assert!(eu.delta_since(&VersionVector::new()).is_complete());
    sending.send(&eu);
    write(&mut eu, 30, |map| map.update(&0, |register| register.set("again")));
    sending.send(&eu);
    visitor.visit(sending.end(
        "complete",
        Schema::Map(&Schema::Register),
        "All that is held by one who has forgotten what all had seen, with the cut and one row removed since; then a delta.",
    ));
}

fn chunks(visitor: &mut impl Visitor) {
    let [mut eu, mut us, _] = regions::<MergeMap<u8, OrSet<String>>>();
    let mut sending = Sending::new();
    write(&mut us, 0, |map| map.update(&3, |set| set.add("kept")));
    sync(&us, &mut eu);
    write(&mut eu, 1, |map| {
        map.update(&1, |set| (0..12).for_each(|number| set.add(&format!("element {number}"))));
        map.update(&2, |set| set.add("alone"));
        map.remove(&3);
        map.update(&3, |set| (0..4).for_each(|number| set.add(&format!("again {number}"))));
    });
    sending.send_in_chunks(&eu, 110);
    write(&mut eu, 2, |map| map.remove(&2));
    sending.send_in_chunks(&eu, 1 << 20);
    visitor.visit(sending.end(
        "chunks",
        Schema::Map(&Schema::Set),
        "A transfer in chunks so small that rows are cut, one of them with a floor; then one of a single chunk.",
    ));
}

fn complete_in_chunks(visitor: &mut impl Visitor) {
    let [eu, ..] = forgetful();
    let mut sending = Sending::new();
    sending.send_in_chunks(&eu, 100);
    visitor.visit(sending.end(
        "complete-in-chunks",
        Schema::Map(&Schema::Register),
        "All that is held, with the cut, in chunks.",
    ));
}

fn many_replicas(visitor: &mut impl Visitor) {
    type Votes = MergeMap<String, MvRegister<u16>>;
    const VOTERS: u16 = 130;
    let mut hub: Replica<Votes> = replica(EU);
    let mut sending = Sending::new();
    for voter in 1..=VOTERS {
        // The words of the id add nothing to its short form but the number itself.
        let id = ReplicaId::from_u128(u128::from(voter) << 96 | 0x5eed << 32 | 0x5eed);
        let mut replica: Replica<Votes> = replica(id);
        write(&mut replica, u64::from(voter % 3), |votes| {
            let is_odd = voter % 2 == 1;
            votes.update(if is_odd { "odd" } else { "even" }, |register| register.set(voter));
        });
        sync(&replica, &mut hub);
    }
    sending.send(&hub);
    write(&mut hub, 9, |votes| votes.update("odd", |register| register.set(0_u16)));
    sending.send(&hub);
    visitor.visit(sending.end(
        "many-replicas",
        Schema::Map(&Schema::Register),
        "130 replicas wrote two registers without having seen each other; then one who has seen all writes one of them.",
    ));
}

fn stamps(visitor: &mut impl Visitor) {
    type Stamped = MergeMap<u8, Counter>;
    const LATE_MS: u64 = driftless::Timestamp::MAX_MILLIS - 1;
    let [mut early, mut late, _] = regions::<Stamped>();
    let mut sending = Sending::new();
    let add = |replica: &mut Replica<Stamped>, now_ms, key: u8| {
        let add = |map: &mut <Stamped as Crdt>::Mut<'_>| {
            map.update(&key, |count| count.add(1).expect("the sum is small"));
        };
        replica.write(now_ms, add).expect("the time of a sample can be told");
    };
    // Each key is written anew at the end of the lists: what is left are steps of every size, forwards and backwards.
    let first = (0..7).map(|key| (key, 1));
    let last = [(3, 2), (6, 3), (5, 3), (1, 70_000), (2, 70_000), (0, 70_000), (6, 70_000), (4, 70_001)];
    for (key, now_ms) in first.chain(last) {
        add(&mut early, now_ms, key);
    }
    for (key, now_ms) in [(7, LATE_MS), (7, LATE_MS), (8, LATE_MS)] {
        add(&mut late, now_ms, key);
    }
    sync(&early, &mut late);
    sending.send(&late);
    add(&mut late, LATE_MS + 1, 0);
    sending.send(&late);
    visitor.visit(sending.end(
        "stamps",
        Schema::Map(&Schema::Counter),
        "Stamps from one end of time to the other, forwards and backwards, and with counters.",
    ));
}

fn closed_ids(visitor: &mut impl Visitor) {
    type Labels = MergeMap<u8, OrSet<String>>;
    let [mut first, mut us, _] = regions::<Labels>();
    let mut second: Replica<Labels> =
        replica(ReplicaId::from_u128(0x0eee_1f2d_3c4b_4a69_8877_96a5_b4c3_0002));
    let close = |replica: &mut Replica<Labels>, after_ms, id| {
        replica.close(NOW_MS + after_ms, id).expect("the time of a sample can be told");
    };
    let add = |replica: &mut Replica<Labels>, after_ms, key: u8, label: &str| {
        write(replica, after_ms, |labels| labels.update(&key, |set| set.add(label)));
    };
    let mut sending = Sending::new();
    add(&mut first, 0, 1, "old");
    add(&mut us, 5, 2, "of others");
    sync(&first, &mut second);
    close(&mut second, 100, EU);
    sending.send(&second);
    add(&mut second, 150, 3, "new");
    sending.send(&second);
    write(&mut second, 200, |labels| labels.update(&1, |set| (set.add("old"), set.add("new"))));
    sending.send(&second);
    sync(&us, &mut second);
    close(&mut us, 250, EU);
    // It holds nothing of the id that it closes.
    sync(&us, &mut second);
    sync(&first, &mut us);
    close(&mut us, 300, EU);
    sync(&us, &mut second);
    sending.send_in_chunks(&second, 30);
    close(&mut second, 400, US);
    write(&mut second, 500, |labels| labels.remove(&3));
    second.set_members([second.id()]);
    second.forget();
    sending.send(&second);
    sending.send(&second);
    visitor.visit(sending.end(
        "closed-ids",
        Schema::Map(&Schema::Set),
        "An id is closed; it is left out; a cell names it; two have closed it; all, with another one closed; nothing more.",
    ));
}

fn columns(visitor: &mut impl Visitor) {
    type Books = MergeMap<u16, Document>;
    let [mut eu, mut us, _] = regions::<Books>();
    let mut sending = Sending::new();
    for batch in 0..6_u16 {
        let replica = if batch % 3 == 2 { &mut us } else { &mut eu };
        write(replica, 10 * u64::from(batch).pow(3), |books| {
            for number in 12 * batch..12 * batch + 12 {
                books.update(&number, |book| {
                    book.set(&["title"], format!("title {number}")).expect("the path is short");
                    book.set(&["year"], 1990 + i64::from(number)).expect("the path is short");
                    if number % 4 == 0 {
                        book.increment(&["lent"], 1).expect("the count is small");
                    }
                });
            }
        });
    }
    sync(&us, &mut eu);
    sending.send(&eu);
    for round in 1..9_u16 {
        write(&mut eu, 10_000 + u64::from(round), |books| {
            for number in (0..72).filter(|number| number % 9 == round) {
                books.update(&number, |book| book.set(&["year"], 2100).expect("the path is short"));
            }
        });
    }
    sending.send(&eu);
    visitor.visit(sending.end(
        "columns",
        Schema::Map(&Schema::Document),
        "Documents with the same names, written in a few transactions: a dictionary, runs and steps; then one field of most.",
    ));
}
