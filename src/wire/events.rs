//! The table of events: each event that a message names stands there once, and the state names it by its number.
//!
//! Many cells are of few events: a transaction is one, however much it wrote. In the order of their stamps events lie close
//! together, and cells that were written one after the other have numbers that do.

use crate::causal::dot::Dot;
use crate::causal::origin::Origin;
use crate::clock::Timestamp;
use crate::wire::column::{self, Flaw, bits, read_packed, read_varint, write_packed, write_varint};

/// A stamp, and its author's place in the message's table of ids. They order as events do.
type Event = (Timestamp, u32);

/// What a message says first of its events.
const NONE: u64 = 0;
/// They are the ends of the message's own vectors.
const ENDS: u64 = 1;

/// The events of a state on its way to become bytes.
///
/// At first it takes note of events; once they are sorted it numbers them.
#[derive(Debug, Default)]
pub struct Events {
    /// The place of each origin in the message's table of ids.
    places: Vec<u32>,
    listed: Vec<Event>,
    is_sorted: bool,
    /// The last of those noted since it was asked for.
    newest: Event,
    /// The number that was looked up last.
    last: usize,
}

impl Events {
    /// For a table of ids in which the origins have `places`.
    pub(crate) fn new(places: Vec<u32>) -> Self {
        Self { places, ..Self::default() }
    }

    #[inline]
    #[expect(
        clippy::expect_used,
        reason = "a delta is made of cells of one replica, whose vector is its table"
    )]
    fn event(&self, dot: Dot) -> Event {
        let place = self.places.get(dot.origin.index()).copied();
        (dot.time, place.expect("a delta's table holds each origin that its cells name"))
    }

    /// Takes note of an event.
    #[inline]
    pub(crate) fn note(&mut self, dot: Dot) {
        let event = self.event(dot);
        self.newest = self.newest.max(event);
        // Nearly always the event of the cell before.
        if !self.is_sorted && self.listed.last() != Some(&event) {
            self.listed.push(event);
        }
    }

    /// The number of the last of the events that `note` notes. Always the same if there is but one.
    #[inline]
    pub(crate) fn newest(&mut self, note: impl FnOnce(&mut Self)) -> u64 {
        if self.listed.len() <= 1 {
            return 0;
        }
        self.newest = Event::default();
        note(self);
        self.number_of(self.newest)
    }

    /// The stamps after `after` of what was noted of one place of the table, in order.
    pub(crate) fn stamps_of(mut self, place: u32, after: Timestamp) -> Vec<Timestamp> {
        self.sort();
        let of_place = self.listed.iter().filter(|(stamp, of)| *of == place && *stamp > after);
        of_place.map(|(stamp, _)| *stamp).collect()
    }

    /// Whether an event of each place was noted.
    pub(crate) fn noted_places(&self) -> Vec<bool> {
        let mut noted = vec![false; self.places.len()];
        for (_, place) in &self.listed {
            if let Some(noted) = noted.get_mut(*place as usize) {
                *noted = true;
            }
        }
        noted
    }

    /// Ends the taking of notes.
    pub(crate) fn sort(&mut self) {
        self.listed.sort_unstable();
        self.listed.dedup();
        self.is_sorted = true;
    }

    /// The number of an event that was noted.
    #[inline]
    pub(crate) fn number(&mut self, dot: Dot) -> u64 {
        let event = self.event(dot);
        self.number_of(event)
    }

    #[inline]
    #[expect(clippy::expect_used, reason = "a state names the same events when it is looked through again")]
    fn number_of(&mut self, event: Event) -> u64 {
        // Columns are in the order of their events, nearly: the event is that of the cell before, or the next one.
        let next = self.last.saturating_add(1);
        if self.listed.get(self.last) == Some(&event) {
            return self.last as u64;
        }
        if self.listed.get(next) == Some(&event) {
            self.last = next;
        } else {
            self.last = self.listed.binary_search(&event).expect("an event that a state names was noted");
        }
        self.last as u64
    }

    /// Writes that there is nothing to name.
    pub(crate) fn write_none(out: &mut Vec<u8>) {
        write_varint(out, NONE);
    }

    /// Writes the table. `ends` are what a message of few events names anyway, sorted; `newest` is the greatest millisecond of
    /// its vectors.
    pub(crate) fn write(&self, out: &mut Vec<u8>, ends: &[(Timestamp, u32)], newest: u64) {
        if self.listed == ends {
            write_varint(out, ENDS);
            return;
        }
        write_varint(out, (self.listed.len() as u64).saturating_add(ENDS));
        let last = self.listed.last().map_or(0, |(stamp, _)| stamp.millis());
        write_varint(out, newest.saturating_sub(last));
        let mut gaps = Vec::with_capacity(self.listed.len());
        let mut counters = Vec::with_capacity(self.listed.len());
        let mut before = None::<Timestamp>;
        for (stamp, _) in &self.listed {
            let same = before.filter(|before| before.millis() == stamp.millis());
            let counted = same.map_or(0, Timestamp::counter);
            counters.push(u64::from(stamp.counter().saturating_sub(counted)));
            gaps.extend(before.map(|before| stamp.millis().saturating_sub(before.millis())));
            before = Some(*stamp);
        }
        column::write(out, &gaps);
        column::write(out, &counters);
        let places = self.listed.iter().map(|(_, place)| u64::from(*place));
        let ids = self.places.iter().filter(|place| **place < u32::MAX).count();
        write_packed(out, place_width(ids), places);
    }
}

/// The bits of a place in a table of `ids` ids. At least one: so there are no more events than bits.
fn place_width(ids: usize) -> u32 {
    bits(ids.saturating_sub(1) as u64).max(1)
}

/// How many events a table says it has.
pub(crate) enum Count {
    None,
    Ends,
    Listed(usize),
}

impl Count {
    pub(crate) fn read(rest: &mut &[u8]) -> Result<Self, Flaw> {
        let count = read_varint(rest)?;
        Ok(match count {
            NONE => Self::None,
            ENDS => Self::Ends,
            _ => {
                let count = usize::try_from(count.saturating_sub(ENDS)).map_err(|_| Flaw::Truncated)?;
                // Each takes a bit at least.
                if count.div_ceil(8) > rest.len() {
                    return Err(Flaw::Truncated);
                }
                Self::Listed(count)
            }
        })
    }
}

/// Reads `count` events, which must have been counted, against `newest`, the greatest millisecond of the vectors. They come in
/// order, none twice, if they are what the format allows.
pub(crate) fn read(rest: &mut &[u8], count: usize, ids: usize, newest: u64) -> Result<Vec<Dot>, Flaw> {
    let behind = read_varint(rest)?;
    let gaps = column::read(rest, count.saturating_sub(1))?;
    let counters = column::read(rest, count)?;
    let total = gaps.iter().try_fold(behind, |total, gap| total.checked_add(*gap));
    let mut millis = total.and_then(|total| newest.checked_sub(total)).ok_or(Flaw::Malformed)?;
    let mut events = Vec::with_capacity(count);
    let mut gaps = std::iter::once(0).chain(gaps);
    let (mut before, mut is_wrong) = (None::<Timestamp>, false);
    let mut counters = counters.into_iter();
    let mut places_before = 0;
    read_packed(rest, count, place_width(ids), |place| {
        millis = millis.saturating_add(gaps.next().unwrap_or_default());
        let same = before.filter(|before| before.millis() == millis);
        let counted = u64::from(same.map_or(0, Timestamp::counter));
        let counter = counters.next().unwrap_or_default().saturating_add(counted);
        let stamp = u16::try_from(counter).ok().and_then(|counter| Timestamp::new(millis, counter).ok());
        let stamp = stamp.unwrap_or_default();
        is_wrong |= place >= ids as u64 || stamp == Timestamp::ZERO;
        is_wrong |= before.is_some_and(|before| (before, places_before) >= (stamp, place));
        if !is_wrong {
            events.push(Dot { origin: Origin::from_index(place as usize), time: stamp });
        }
        (before, places_before) = (Some(stamp), place);
    })?;
    if is_wrong { Err(Flaw::Malformed) } else { Ok(events) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn dot(place: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(place), time: Timestamp::from_bits(time) }
    }

    const NEWEST: u64 = 1 << 41;

    fn table(ids: usize, dots: &[Dot]) -> Events {
        let mut events = Events::new((0..ids as u32).collect());
        dots.iter().for_each(|dot| events.note(*dot));
        events.sort();
        events
    }

    fn written(events: &Events) -> Vec<u8> {
        let mut out = Vec::new();
        events.write(&mut out, &[], NEWEST);
        out
    }

    fn read_back(bytes: &[u8], ids: usize) -> Result<Vec<Dot>, Flaw> {
        let mut rest = bytes;
        let Count::Listed(count) = Count::read(&mut rest)? else {
            return Err(Flaw::Malformed);
        };
        let events = read(&mut rest, count, ids, NEWEST)?;
        if rest.is_empty() { Ok(events) } else { Err(Flaw::Malformed) }
    }

    fn dots(ids: usize) -> impl Strategy<Value = Vec<Dot>> {
        let millis = prop_oneof![0..NEWEST, NEWEST - 9..=NEWEST];
        let counter = prop_oneof![Just(0), 0..4_u16, any::<u16>()];
        let dot = (0..ids, millis, counter).prop_filter_map("not zero", |(place, millis, counter)| {
            let time = Timestamp::new(millis, counter).ok()?;
            (time > Timestamp::ZERO).then(|| Dot { origin: Origin::from_index(place), time })
        });
        vec(dot, 1..50)
    }

    proptest! {
        #[test]
        fn events_are_numbered_in_order_and_read_as_they_were_written(dots in dots(5)) {
            let mut events = table(5, &dots);
            let bytes = written(&events);
            let read = read_back(&bytes, 5).unwrap();
            prop_assert!(read.is_sorted_by(|a, b| (a.time, a.origin) < (b.time, b.origin)));
            for dot in &dots {
                prop_assert_eq!(read[events.number(*dot) as usize], *dot);
            }
            prop_assert!(read.iter().all(|event| dots.contains(event)));
            for end in 0..bytes.len() {
                prop_assert!(read_back(&bytes[..end], 5).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..40), count in 0_usize..300, ids in 0_usize..9) {
            if let Ok(events) = read(&mut &bytes[..], count, ids, NEWEST) {
                prop_assert_eq!(events.len(), count);
                let is_sound = |dot: &Dot| dot.origin.index() < ids && dot.time > Timestamp::ZERO;
                prop_assert!(events.iter().all(is_sound));
            }
            let _ = Count::read(&mut &bytes[..]);
        }
    }

    #[test]
    fn events_of_steady_writes_take_a_bit_or_few_each() {
        // A transaction each, all of one millisecond; then one every ten milliseconds or so.
        let loaded: Vec<_> = (1..=1_000).map(|counter| dot(0, NEWEST << 16 | counter)).collect();
        assert!(written(&table(1, &loaded)).len() <= 125 + 12);
        let steady: Vec<_> = (0..1_000).map(|n| dot(0, (NEWEST - 10 * n - n % 4) << 16)).collect();
        assert!(written(&table(1, &steady)).len() <= 125 + 3 * 125 + 16);
    }

    #[test]
    fn the_ends_of_the_vectors_are_not_named_again() {
        let (a, b) = (dot(0, 7 << 16), dot(1, 5 << 16));
        let ends = [(b.time, 1), (a.time, 0)];
        let mut out = Vec::new();
        table(2, &[a, b]).write(&mut out, &ends, 7);
        assert_eq!(out, [1]);
        out.clear();
        table(2, &[a]).write(&mut out, &ends, 7);
        assert_eq!(out, [2, 0, 0, 0]);
    }

    #[test]
    fn events_that_are_out_of_order_repeated_or_of_nobody_are_refused() {
        let listed =
            |counters: [u8; 2], places: u8| vec![3, 0, 0, 2, 0, counters[0] | counters[1] << 2, places];
        assert_eq!(read_back(&listed([1, 0], 0b10), 2).map(|events| events.len()), Ok(2));
        assert_eq!(read_back(&listed([1, 0], 0b01), 2), Err(Flaw::Malformed), "out of order");
        assert_eq!(read_back(&listed([1, 0], 0b11), 2), Err(Flaw::Malformed), "twice");
        assert_eq!(read_back(&listed([1, 1], 0b10), 1), Err(Flaw::Malformed), "of nobody");
        // Further back than time goes.
        let mut bytes = vec![2];
        write_varint(&mut bytes, NEWEST + 1);
        bytes.extend([0, 0]);
        assert_eq!(read_back(&bytes, 1), Err(Flaw::Malformed));
        // Zero is no event.
        let mut bytes = vec![2];
        write_varint(&mut bytes, NEWEST);
        bytes.extend([0, 0]);
        assert_eq!(read_back(&bytes, 1), Err(Flaw::Malformed));
        *bytes.iter_mut().rev().nth(1).unwrap() = 1;
        assert_eq!(read_back(&bytes, 1), Ok(vec![dot(0, 1)]));
    }

    #[test]
    fn more_events_than_bits_are_not_believed() {
        assert!(matches!(Count::read(&mut &[0x80, 1, 0, 0, 0][..]), Err(Flaw::Truncated)));
        assert!(matches!(Count::read(&mut &[25, 0, 0, 0][..]), Ok(Count::Listed(24))));
    }
}
