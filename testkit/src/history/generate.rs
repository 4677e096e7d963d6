//! Histories as proptest makes them.

use proptest::bits;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::cluster::MOST;
use crate::history::{Clock, Group, History, Ops, Part, Rest, Route, Since, Step};
use crate::subject::Fuse;

/// What a history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Everything there is.
    All,
    /// Replicas never forget, so that the joins can be compared in full.
    NoForgetting,
    /// Mostly writing apart, forgetting, eviction and return.
    Eviction,
    /// Mostly messages that are lost, late, repeated and misdirected, and transfers that are interrupted.
    Transfers,
    /// Mostly equal stamps, and clocks that step back.
    Clocks,
}

fn at() -> impl Strategy<Value = u8> {
    0..MOST as u8
}

/// Mostly one, at times several.
fn some() -> impl Strategy<Value = Group> {
    prop_oneof![2 => at().prop_map(|at| 1 << at), 1 => bits::u8::ANY]
}

/// Mostly all, at times a few.
fn by() -> impl Strategy<Value = Group> {
    prop_oneof![3 => Just(Group::MAX), 1 => bits::u8::ANY]
}

fn ops() -> impl Strategy<Value = Ops> {
    vec(vec(any::<u8>(), 1..12), 1..=5)
}

fn fuse() -> impl Strategy<Value = Option<(Fuse, u8)>> {
    let kind = prop_oneof![Just(Fuse::Error), Just(Fuse::Panic), Just(Fuse::CaughtPanic)];
    prop_oneof![7 => Just(None), 1 => (kind, 0..4_u8).prop_map(Some)]
}

fn route(theme: Theme) -> impl Strategy<Value = Route> {
    let cut = if theme == Theme::Transfers { 8 } else { 2 };
    prop_oneof![
        5 => Just(Route::Message),
        1 => Just(Route::Direct),
        cut => (1..150_u16).prop_map(Route::Chunks),
    ]
}

/// Mostly right, at times behind, rarely further ahead than anyone accepts.
fn clock(theme: Theme) -> impl Strategy<Value = Clock> {
    let wrong = if theme == Theme::Clocks { 6 } else { 1 };
    prop_oneof![
        20 => Just(Clock::Right),
        4 * wrong => (1..50_u8).prop_map(Clock::Behind),
        wrong => Just(Clock::YearsBehind),
        wrong => Just(Clock::AtZero),
        wrong => Just(Clock::TooFarAhead),
    ]
}

fn since() -> impl Strategy<Value = Since> {
    prop_oneof![
        4 => Just(Since::Asked),
        4 => Just(Since::Believed),
        3 => Just(Since::Stale),
        1 => Just(Since::Nothing),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        6 => Just(Part::Next),
        1 => Just(Part::Again),
        1 => Just(Part::ButNext),
        1 => Just(Part::First),
    ]
}

fn rest() -> impl Strategy<Value = Rest> {
    prop_oneof![
        2 => Just(Rest::Resumes),
        1 => Just(Rest::Restarts),
        2 => at().prop_map(Rest::ComesFrom),
        2 => Just(Rest::IsMixed),
        1 => Just(Rest::IsLost),
    ]
}

/// Mostly one of the last, at times a much older one.
fn message() -> impl Strategy<Value = u8> {
    prop_oneof![3 => 0..4_u8, 3 => 0..12_u8, 1 => any::<u8>()]
}

fn write(theme: Theme) -> impl Strategy<Value = Step> {
    let write = (at(), clock(theme), ops(), fuse());
    write.prop_map(|(at, clock, ops, fuse)| Step::Write { at, clock, ops, fuse })
}

fn twins() -> impl Strategy<Value = Step> {
    (at(), at(), ops()).prop_map(|(at, and, ops)| Step::Twins { at, and, ops })
}

fn pass() -> impl Strategy<Value = Step> {
    prop_oneof![9 => 1..40_u32, 1 => Just(100_000)].prop_map(|ms| Step::Pass { ms })
}

fn sync(theme: Theme) -> impl Strategy<Value = Step> {
    (at(), at(), route(theme)).prop_map(|(from, to, route)| Step::Sync { from, to, route })
}

fn send(theme: Theme) -> impl Strategy<Value = Step> {
    let send = (at(), at(), route(theme), since());
    send.prop_map(|(from, to, route, since)| Step::Send { from, to, route, since })
}

fn deliver() -> impl Strategy<Value = Step> {
    let elsewhere = prop_oneof![3 => Just(None), 1 => at().prop_map(Some)];
    let deliver = (message(), elsewhere, part(), prop_oneof![1..5_u8, Just(u8::MAX)]);
    deliver.prop_map(|(message, elsewhere, part, chunks)| Step::Deliver { message, elsewhere, part, chunks })
}

fn report() -> impl Strategy<Value = Step> {
    (at(), at(), any::<bool>()).prop_map(|(about, to, is_old)| Step::Report { about, to, is_old })
}

fn interrupted(theme: Theme) -> impl Strategy<Value = Step> {
    let forgets = any::<bool>().prop_map(move |forgets| forgets && theme != Theme::NoForgetting);
    let interrupted = (at(), at(), 1..100_u16, ops(), forgets, rest());
    interrupted.prop_map(|(from, to, bytes, ops, forgets, rest)| Step::Interrupted {
        from,
        to,
        bytes,
        ops,
        forgets,
        rest,
    })
}

fn step(theme: Theme) -> impl Strategy<Value = Step> {
    let forgets = u32::from(theme != Theme::NoForgetting);
    let evicts = forgets * if theme == Theme::Eviction { 3 } else { 1 };
    let travels = if theme == Theme::Transfers { 3 } else { 1 };
    let (twin, passes) = if theme == Theme::Clocks { (30, 3) } else { (4, 12) };
    let absence = (some(), any::<bool>()).prop_map(|(who, is_mutual)| Step::Absence { who, is_mutual });
    let back = (at(), at(), any::<bool>());
    let back = back.prop_map(|(who, with, is_asking)| Step::Return { who, with, is_asking });
    // What comes earlier is simpler, and shrinking prefers it.
    let steps = [
        (60, write(theme).boxed()),
        (30, sync(theme).boxed()),
        (passes, pass().boxed()),
        (twin, twins().boxed()),
        (24 * travels, send(theme).boxed()),
        (40 * travels, deliver().boxed()),
        (3 * travels, message().prop_map(|message| Step::Lose { message }).boxed()),
        (10, at().prop_map(|at| Step::Snapshot { at }).boxed()),
        (8, report().boxed()),
        (6, (at(), at()).prop_map(|(from, to)| Step::Relay { from, to }).boxed()),
        (24 * forgets, (at(), at()).prop_map(|(from, to)| Step::Settle { from, to }).boxed()),
        (12 * forgets, at().prop_map(|at| Step::Forget { at }).boxed()),
        (3 * evicts, (some(), by()).prop_map(|(who, by)| Step::Evict { who, by }).boxed()),
        (2 * evicts, (some(), by()).prop_map(|(who, by)| Step::Readmit { who, by }).boxed()),
        (4 * evicts, absence.boxed()),
        (3 * evicts, back.boxed()),
        (6 * travels, interrupted(theme).boxed()),
        (2, by().prop_map(|known_by| Step::Join { known_by }).boxed()),
        (3, (at(), by()).prop_map(|(who, known_by)| Step::Restart { who, known_by }).boxed()),
        (2, (at(), at()).prop_map(|(at, who)| Step::Close { at, who }).boxed()),
    ];
    Union::new_weighted(steps.into_iter().filter(|(weight, _)| *weight > 0).collect())
}

/// Histories of at most `steps` steps.
pub fn histories(theme: Theme, steps: usize) -> impl Strategy<Value = History> {
    let keys = prop_oneof![3 => Just(2_u8), 3 => Just(5), 1 => Just(40)];
    // Mostly few, so that what one does meets what others did.
    let replicas = prop_oneof![4 => 2..=4_u8, 2 => 5..=6_u8, 1 => 7..=MOST as u8];
    let history = (replicas, keys, vec(step(theme), 0..=steps));
    history.prop_map(|(replicas, keys, steps)| History { replicas, keys, steps })
}
