//! Counters over sessions that repeat what they carry.

use driftless::{Counter, MergeMap};

use crate::dice::Dice;
use crate::net::{DELTA, Fate, Net};

type Counts = MergeMap<u8, Counter>;
type Rights = MergeMap<u8, Counter>;

#[test]
fn b41_two_that_number_each_other_alike_count_two() {
    // Each numbers itself first, and the others in the order in which it meets them.
    for order in [[(0, 1), (1, 2), (0, 2)], [(0, 2), (0, 1), (1, 2)], [(1, 2), (0, 2), (0, 1)]] {
        let mut net: Net<Counts> = Net::new(3, |_, _| {});
        for at in 0..3 {
            net.write(at, |counts| counts.update(&7, |count| count.add(1)).expect("it is little"));
        }
        for (a, b) in order {
            net.connect(a, b);
            net.run(1_000);
        }
        for at in 0..3 {
            net.write(at, |counts| counts.update(&7, |count| count.add(1)).expect("it is little"));
        }
        net.run(1_000);
        let counts = [0, 1, 2].map(|at| net.ends[at].replica().state().get(&7).map(Counter::value));
        assert_eq!(counts, [Some(6); 3], "{order:?}");
    }
}

#[test]
fn what_a_member_wrote_before_it_took_a_removal_and_sends_after_it_counts_once() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    let add = |net: &mut Net<Counts>, at: usize, by: i64| {
        net.write(at, |counts| counts.update(&7, |count| count.add(by)).expect("it is little"));
    };
    net.mesh();
    add(&mut net, 1, 3);
    net.run(3_000);
    // It counts on, and that is long under way; meanwhile it takes a removal of what it counted before, and says so.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (1, DELTA) { Fate::Held } else { Fate::Arrives });
    add(&mut net, 1, 5);
    assert!(net.write(0, |counts| counts.remove(&7)), "it is there");
    net.run(5_000);
    let value = |net: &Net<Counts>, at: usize| net.ends[at].replica().state().get(&7).map(Counter::value);
    assert_eq!([0, 1].map(|at| value(&net, at)), [None, Some(5)]);
    // How much of the count the removal took must be known until the rest has come.
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.release();
    assert_eq!([0, 1].map(|at| value(&net, at)), [Some(5); 2]);
    net.run(10_000);
    assert!(net.is_converged());
    assert!(net.ends[0].blocking().is_empty());
    assert_eq!([0, 1].map(|at| value(&net, at)), [Some(5); 2]);
}

const MEMBERS: u8 = 4;
const GRANTED: i64 = 100;
/// The row that counts what was spent.
const SPENT: u8 = 255;

fn rights(net: &Net<Rights>, at: usize, of: u8) -> i64 {
    net.ends[at].replica().state().get(&of).map_or(0, Counter::value)
}

/// Each may spend what it has been given of a common stock, and gives some of it to others. Who gives takes from its own row and
/// adds to another's in one transaction; who spends takes from its own row. So no row is ever taken from but by its owner.
#[test]
fn t41_no_more_is_spent_than_was_granted_however_often_a_transfer_is_repeated() {
    let (mut given, mut refused) = (0, 0);
    for seed in 0..10 {
        let mut dice = Dice::new(seed);
        let mut net: Net<Rights> = Net::new(usize::from(MEMBERS), |_, _| {});
        let mut fates = Dice::new(seed + 100);
        net.fate = Box::new(move |_, _, bytes| match (bytes[0], fates.roll(4)) {
            (DELTA, 0) => Fate::Late(400),
            (DELTA, 1) => Fate::Lost,
            _ => Fate::Twice,
        });
        net.mesh();
        net.write(0, |rights| rights.update(&0, |count| count.add(GRANTED)).expect("it is little"));
        net.run(2_000);
        let mut spent = 0;
        for _ in 0..120 {
            let own = dice.roll(usize::from(MEMBERS)) as u8;
            let (at, amount) = (usize::from(own), 1 + dice.roll(15) as i64);
            let has = rights(&net, at, own);
            assert!(has >= 0, "{own} has {has}");
            if amount > has {
                refused += 1;
            } else if dice.roll(2) == 0 {
                spent += amount;
                net.write(at, |rights| {
                    rights.update(&own, |count| count.add(-amount)).expect("it is little");
                    rights.update(&SPENT, |count| count.add(amount)).expect("it is little");
                });
            } else {
                given += 1;
                let other = (own + 1 + dice.roll(usize::from(MEMBERS) - 1) as u8) % MEMBERS;
                net.write(at, |rights| {
                    rights.update(&own, |count| count.add(-amount)).expect("it is little");
                    rights.update(&other, |count| count.add(amount)).expect("it is little");
                });
            }
            if dice.roll(6) == 0 {
                let (a, b) = dice.pair(usize::from(MEMBERS));
                net.cut(a, b);
                net.connect(a, b);
            }
            net.run(dice.roll(200) as u64);
            // What was sent before comes once more, on the links there are.
            let again = dice.roll(net.log.len());
            let (from, to, bytes) = net.log[again].clone();
            net.deliver(from, to, &bytes).expect("it is an honest frame");
            assert!(spent <= GRANTED);
            for at in 0..usize::from(MEMBERS) {
                // A transfer is seen whole or not at all, and once.
                let sum: i64 =
                    (0..MEMBERS).map(|of| rights(&net, at, of)).sum::<i64>() + rights(&net, at, SPENT);
                assert!(
                    sum == GRANTED || net.ends[at].replica().state().is_empty(),
                    "{sum} at {at}, with seed {seed}"
                );
            }
        }
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.mesh();
        net.run(200_000);
        assert!(net.is_converged());
        assert_eq!(rights(&net, 3, SPENT), spent);
    }
    assert!(given > 100 && refused > 100, "{given} {refused}");
}
