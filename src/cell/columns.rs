//! Cells on the wire, column by column.

use smallvec::smallvec;

use crate::causal::dot::{Dot, Marks};
use crate::cell::payload::Payload;
use crate::cell::{Cell, Live, LiveDots, Lives, Many};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;

/// What a column of cells says beside the payloads. See `docs/wire-format.md`, "Cells".
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// For each cell its event, if it has one live payload and no mark but that, or the number of its live payloads.
    codes: Vec<u64>,
    /// For each other cell, how many marks it has that are no live payload's.
    marks: Vec<u64>,
    /// For each other cell, how many records its type keeps beside it.
    records: Vec<u64>,
    /// The events of all other cells.
    events: Vec<u64>,
}

impl Columns {
    pub(crate) fn with_capacity(cells: usize) -> Self {
        Self { codes: Vec::with_capacity(cells), ..Self::default() }
    }

    /// Adds a cell, and the events of the records that its type keeps beside it, in the order of their numbers.
    #[inline]
    pub(crate) fn push<T>(&mut self, cell: &Cell<T>, records: &[Dot], encoder: &mut Encoder) {
        let alone = match cell {
            Cell::One { time, origin, .. } => Some(Dot { origin: *origin, time: *time }),
            Cell::Other(many) => many.as_ref().and_then(|many| many.alone()),
        };
        match alone.filter(|_| records.is_empty()) {
            Some(dot) => self.codes.push(encoder.number(dot) << 1),
            None => self.push_general(cell, records, encoder),
        }
    }

    fn push_general<T>(&mut self, cell: &Cell<T>, records: &[Dot], encoder: &mut Encoder) {
        let before = self.events.len();
        self.events.extend(cell.payloads().map(|(dot, _)| encoder.number(dot)));
        let others = self.events.len();
        self.codes.push(((others - before) as u64) << 1 | 1);
        if let Cell::Other(Some(many)) = cell {
            let live = LiveDots::of(&many.live);
            let marks = many.seen.iter().filter(|mark| !live.hold(*mark));
            self.events.extend(marks.map(|mark| encoder.number(mark)));
        }
        self.events[others..].sort_unstable();
        self.marks.push((self.events.len() - others) as u64);
        self.records.push(records.len() as u64);
        self.events.extend(records.iter().map(|record| encoder.number(*record)));
    }

    pub(crate) fn write(self, has_records: bool, encoder: &mut Encoder) {
        encoder.ints(&self.codes);
        encoder.ints(&self.marks);
        if has_records {
            encoder.ints(&self.records);
        }
        encoder.ints(&self.events);
    }

    /// Reads what [`write`](Self::write) wrote of `count` cells, and takes note of the memory for cells of `T`.
    pub(crate) fn read<T>(
        count: usize,
        has_records: bool,
        decoder: &mut Decoder<'_>,
    ) -> Result<Self, DecodeError> {
        decoder.elements(count)?;
        let codes = decoder.ints(count)?;
        let general = || codes.iter().filter(|code| *code & 1 == 1).map(|code| code >> 1);
        let others = general().count();
        if others == 0 {
            return Ok(Self { codes, ..Self::default() });
        }
        // The entries of a counter are one for each replica that counts: the limit of replicas bounds them.
        let siblings = decoder.limits().siblings;
        if !has_records && general().any(|live| live > siblings as u64) {
            return Err(DecodeError::Limit { limit: "siblings", allowed: siblings });
        }
        let at = decoder.at();
        let marks = decoder.ints(others)?;
        let records = if has_records { decoder.ints(others)? } else { Vec::new() };
        let mut parts = records.iter().chain(std::iter::repeat(&0)).zip(&marks).zip(general());
        if parts.any(|((records, marks), live)| (*records, *marks, live) == (0, 0, 0)) {
            return Err(DecodeError::Expected { what: "a cell of which something is known", at });
        }
        let seen = general().zip(&marks).map(|(live, marks)| live.saturating_add(*marks));
        let all = decoder.lists(seen.chain(records.iter().copied()))?;
        let live = decoder.sum(general())?;
        decoder.room::<Many<T>>(others)?;
        decoder.room::<Live<T>>(live)?;
        let events = decoder.ints(all)?;
        Ok(Self { codes, marks, records, events })
    }

    /// How many payloads follow.
    pub(crate) fn payloads(&self) -> usize {
        let payloads = self.codes.iter().map(|code| if code & 1 == 1 { code >> 1 } else { 1 });
        payloads.fold(0, u64::saturating_add) as usize
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> usize {
        self.records.iter().fold(0, |sum, records| u64::saturating_add(sum, *records)) as usize
    }

    /// Puts the cells together. `payload` reads the next payload, `record` is given each record, with the place of its cell.
    pub(crate) fn cells<T>(
        self,
        decoder: &mut Decoder<'_>,
        mut payload: impl FnMut(&mut Decoder<'_>, Dot) -> Result<Payload<T>, DecodeError>,
        mut record: impl FnMut(usize, Dot) -> Result<(), DecodeError>,
    ) -> Result<Vec<Cell<T>>, DecodeError> {
        let mut cells = Vec::with_capacity(self.codes.len());
        let mut general = self.marks.iter().zip(self.records.iter().chain(std::iter::repeat(&0)));
        let mut events = self.events.iter();
        for (place, code) in self.codes.iter().enumerate() {
            if code & 1 == 0 {
                let dot = decoder.event(code >> 1)?;
                cells.push(match payload(decoder, dot)? {
                    Payload::Typed(value) => Cell::One { time: dot.time, origin: dot.origin, value },
                    as_came => {
                        decoder.room::<Many<T>>(1)?;
                        let live = Live { dot, payload: as_came };
                        Cell::Other(Some(Box::new(Many { live: smallvec![live], seen: Marks::of(dot) })))
                    }
                });
                continue;
            }
            let at = decoder.at();
            let (marks, records) = general.next().map_or((0, 0), |(marks, records)| (*marks, *records));
            let len = (code >> 1) as usize;
            let mut live = Lives::with_capacity(len);
            let mut seen = Vec::with_capacity(len.saturating_add(marks as usize));
            for number in events.by_ref().take(len) {
                seen.push(decoder.event(*number)?);
            }
            for dot in &seen {
                live.push(Live { dot: *dot, payload: payload(decoder, *dot)? });
            }
            for number in events.by_ref().take(marks as usize) {
                seen.push(decoder.event(*number)?);
            }
            for number in events.by_ref().take(records as usize) {
                record(place, decoder.event(*number)?)?;
            }
            let distinct = Marks::of_distinct(seen).ok_or_else(|| {
                let is_live = Marks::of_distinct(live.iter().map(|live| live.dot).collect()).is_none();
                let what = if is_live { "a live entry of one replica" } else { "a mark" };
                DecodeError::Repeated { what, at }
            });
            let seen = distinct?;
            let mut cell = Cell::default();
            cell.put(Many { live, seen });
            cells.push(cell);
        }
        Ok(cells)
    }
}
