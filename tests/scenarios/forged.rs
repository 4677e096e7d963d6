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
    /// A dot, in its absolute form: a stamp, and the place of its author.
    Dot(u64, u16),
}

/// Bytes as they stand.
pub(crate) fn part(bytes: &[u8]) -> Part {
    Part::Bytes(bytes.to_vec())
}

/// A dot.
pub(crate) fn dot(stamp: u64, place: u16) -> Part {
    Part::Dot(stamp, place)
}

impl Part {
    /// With the author at another place.
    pub(crate) fn moved(&self, moved: impl Fn(u16) -> u16) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Dot(stamp, place) => Self::Dot(*stamp, moved(*place)),
        }
    }
}

impl Forged {
    /// The bytes of the message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let ids = self.ids.len();
        let mut out = Vec::new();
        let elements = 3 + ids.max(1) + ids + usize::from(self.cut.is_some()) + 1;
        rmp::encode::write_array_len(&mut out, elements as u32).unwrap();
        rmp::encode::write_uint(&mut out, 1 << 3 | u64::from(self.cut.is_some())).unwrap();
        rmp::encode::write_uint(&mut out, (ids as u64) << 13).unwrap();
        let table: Vec<u8> = self.ids.iter().flat_map(|id| *id.uuid().as_bytes()).collect();
        rmp::encode::write_bin(&mut out, &table).unwrap();
        rmp::encode::write_uint(&mut out, self.to.first().copied().unwrap_or(0)).unwrap();
        for place in 0..ids {
            if place > 0 {
                write_dot(&mut out, self.to[place], 0);
            }
            match self.from[place] {
                0 => out.push(0xC0),
                from => write_dot(&mut out, from, 0),
            }
        }
        if let Some(cut) = &self.cut {
            rmp::encode::write_array_len(&mut out, cut.len() as u32).unwrap();
            cut.iter().for_each(|stamp| write_dot(&mut out, *stamp, 0));
        }
        for part in &self.state {
            match part {
                Part::Bytes(bytes) => out.extend(bytes),
                Part::Dot(stamp, place) => write_dot(&mut out, *stamp, *place),
            }
        }
        out
    }

    fn dots(&self) -> usize {
        self.state.iter().filter(|part| matches!(part, Part::Dot(..))).count()
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
            if let Part::Dot(stamp, place) = part {
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

fn write_dot(out: &mut Vec<u8>, stamp: u64, place: u16) {
    out.extend([0xC4, 10]);
    out.extend(stamp.to_be_bytes());
    out.extend(place.to_be_bytes());
}
