//! Messages put together by hand, as `docs/wire-format.md` describes them, with whatever stands in them.

use driftless::ReplicaId;

/// A message of which all ids stand in full.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    pub(crate) ids: Vec<ReplicaId>,
    /// For each id, the stamp up to which the message claims to go.
    pub(crate) to: Vec<u64>,
    /// For each id, the stamp from which it goes on; zero for nothing.
    pub(crate) from: Vec<u64>,
    /// For each id, what was forgotten, if the message claims to be complete.
    pub(crate) cut: Option<Vec<u64>>,
    pub(crate) state: Vec<Part>,
}

/// A part of the state.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// As it stands.
    Bytes(Vec<u8>),
    /// The number of a dot, which the table of events lists: a stamp, and the place of its author.
    Dot(u64, u16),
    /// The code of a cell whose only mark is this dot.
    Cell(u64, u16),
}

/// Bytes as they stand.
pub(crate) fn part(bytes: &[u8]) -> Part {
    Part::Bytes(bytes.to_vec())
}

/// A dot.
pub(crate) fn dot(stamp: u64, place: u16) -> Part {
    Part::Dot(stamp, place)
}

/// A cell of one dot.
pub(crate) fn cell(stamp: u64, place: u16) -> Part {
    Part::Cell(stamp, place)
}

/// A number of 7 bits a byte.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

impl Part {
    fn dot(&self) -> Option<(u64, u16)> {
        match self {
            Self::Bytes(_) => None,
            Self::Dot(stamp, place) | Self::Cell(stamp, place) => Some((*stamp, *place)),
        }
    }

    /// With the author at another place.
    pub(crate) fn moved(&self, moved: impl Fn(u16) -> u16) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Dot(stamp, place) => Self::Dot(*stamp, moved(*place)),
            Self::Cell(stamp, place) => Self::Cell(*stamp, moved(*place)),
        }
    }
}

impl Forged {
    /// The bytes of the message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let ids = self.ids.len();
        let mut out = vec![2 << 3 | u8::from(self.cut.is_some())];
        out.extend(if ids > 0 { [vec![2], varint(ids as u64)].concat() } else { vec![0] });
        self.ids.iter().for_each(|id| out.extend(id.uuid().as_bytes()));
        let mut before = None;
        for (from, to) in self.from.iter().zip(&self.to) {
            let first = if *from == 0 { *to } else { *from };
            let code = match before {
                None => first >> 16,
                Some(before) => zigzag((first >> 16).wrapping_sub(before)),
            };
            write_stamp(&mut out, code, first as u16, Some(*from == 0));
            if *from > 0 {
                write_stamp(&mut out, (to >> 16).wrapping_sub(from >> 16), *to as u16, None);
            }
            before = Some(to >> 16);
        }
        for (cut, to) in self.cut.iter().flatten().zip(&self.to) {
            let code = (to >> 16).wrapping_sub(cut >> 16) << 1 | u64::from(*cut as u16 > 0);
            out.extend(varint(if *cut == 0 { 0 } else { code.wrapping_add(1) }));
            if *cut as u16 > 0 {
                out.extend(varint(cut & 0xFFFF));
            }
        }
        let events = self.write_events(&mut out);
        let number = |dot| events.iter().position(|event| *event == dot).unwrap_or_default() as u64;
        for part in &self.state {
            match part {
                Part::Bytes(bytes) => out.extend(bytes),
                Part::Dot(..) => out.extend(varint(number(self.event(part)))),
                Part::Cell(..) => out.extend(varint(number(self.event(part)) << 1)),
            }
        }
        out
    }

    /// The bits of a place.
    fn width(&self) -> u32 {
        (usize::BITS - self.ids.len().saturating_sub(1).leading_zeros()).max(1)
    }

    /// A dot as the table of events can show it.
    fn event(&self, part: &Part) -> (u64, u16) {
        let (stamp, place) = part.dot().unwrap_or_default();
        (stamp, place & ((1_u32 << self.width()) - 1) as u16)
    }

    /// Writes the table of events: all dots of the state, or, if it has none, the ends of the vectors.
    fn write_events(&self, out: &mut Vec<u8>) -> Vec<(u64, u16)> {
        let dots = self.state.iter().filter(|part| part.dot().is_some());
        let mut events: Vec<_> = dots.map(|part| self.event(part)).collect();
        events.sort_unstable();
        events.dedup();
        let Some((last, _)) = events.last() else {
            out.push(1);
            return events;
        };
        let newest = self.to.iter().max().map_or(0, |stamp| stamp >> 16);
        out.extend(varint(1 + events.len() as u64));
        out.extend(varint(newest.wrapping_sub(last >> 16)));
        let (mut gaps, mut counters) = (Vec::new(), Vec::new());
        for (at, (stamp, _)) in events.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| events[at].0);
            gaps.extend(before.map(|before| (stamp >> 16) - (before >> 16)));
            let counted =
                before.filter(|before| before >> 16 == stamp >> 16).map_or(0, |before| before & 0xFFFF);
            counters.push((stamp & 0xFFFF) - counted);
        }
        for column in [gaps, counters] {
            out.extend(if column.len() > 1 { vec![65] } else { Vec::new() });
            for number in &column {
                out.extend(if column.len() > 1 { vec![0] } else { Vec::new() });
                out.extend(varint(*number));
            }
        }
        let mut places = vec![0; (events.len() * self.width() as usize).div_ceil(8)];
        for (at, (_, place)) in events.iter().enumerate() {
            for bit in 0..self.width() as usize {
                let to = at * self.width() as usize + bit;
                places[to / 8] |= (place >> bit & 1) as u8 * (1 << (to % 8));
            }
        }
        out.extend(places);
        events
    }

    fn dots(&self) -> usize {
        self.state.iter().filter(|part| part.dot().is_some()).count()
    }

    /// How many numbers there are that can be replaced: stamps of vectors and of the cut, stamps and authors of dots.
    pub(crate) fn holes(&self) -> usize {
        self.to.len() + self.from.len() + self.cut.as_ref().map_or(0, Vec::len) + 2 * self.dots()
    }

    /// The message with another number in one of the holes.
    pub(crate) fn with(&self, hole: usize, number: u64) -> Self {
        let mut forged = self.clone();
        let vectors = forged.to.iter_mut().chain(&mut forged.from).chain(forged.cut.iter_mut().flatten());
        let mut stamps: Vec<&mut u64> = vectors.collect();
        let vectors = stamps.len();
        let mut places = Vec::new();
        for part in &mut forged.state {
            if let Part::Dot(stamp, place) | Part::Cell(stamp, place) = part {
                stamps.push(stamp);
                places.push(place);
            }
        }
        let dots = stamps.len() - vectors;
        match hole.checked_sub(vectors + dots) {
            None => *stamps[hole] = number,
            Some(place) => *places[place] = number as u16,
        }
        forged
    }
}

fn zigzag(number: u64) -> u64 {
    number << 1 ^ if number >> 63 == 1 { u64::MAX } else { 0 }
}

/// Writes a stamp of the vectors; of an id in full also whether the delta goes on from nothing.
fn write_stamp(out: &mut Vec<u8>, millis: u64, counter: u16, is_end: Option<bool>) {
    let code = millis << 1 | u64::from(counter > 0);
    out.extend(varint(is_end.map_or(code, |is_end| code << 1 | u64::from(is_end))));
    if counter > 0 {
        out.extend(varint(counter.into()));
    }
}
