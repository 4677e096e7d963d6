//! The tables: how records become rows, and rows records.
//!
//! A record is kept in pieces, each a row of its own. Pages of the database have sizes of powers of two; a piece with all
//! that goes with it fills one of 64 KiB, where a record of 256 KiB would take up 512.

use std::ops::RangeInclusive;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::fault::Fault;

/// Group, number, piece. In the log and the feed the group is zero and the number is the place; in the checkpoint the group is
/// the generation and the number counts from zero.
pub(crate) type Key = (u64, u64, u32);
type Rows = TableDefinition<'static, Key, &'static [u8]>;

const STATE: TableDefinition<'static, u8, &'static [u8]> = TableDefinition::new("state");

/// The most bytes of a piece, such that it and what goes with it fill a page of 64 KiB.
pub(crate) const PIECE_BYTES: usize = 65_536 - 64;
/// Checksum, and whether it is the last piece.
const OVERHEAD: usize = 9;

/// One of the tables of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Checkpoint,
    Log,
    Feed,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Checkpoint, Self::Log, Self::Feed];

    fn table(self) -> Rows {
        TableDefinition::new(self.name())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Log => "log",
            Self::Feed => "feed",
        }
    }

    fn tag(self) -> u8 {
        match self {
            Self::Checkpoint => 1,
            Self::Log => 2,
            Self::Feed => 3,
        }
    }

    /// How a record is called to humans.
    fn show(self, number: u64) -> String {
        match self {
            Self::Checkpoint => format!("record {number} of the checkpoint"),
            Self::Log => format!("the record at place {number}"),
            Self::Feed => format!("the feed's batch at place {number}"),
        }
    }

    fn checksum(self, key: Key, is_last: u8, bytes: &[u8]) -> u64 {
        let mut named = [0; 22];
        named[0] = self.tag();
        named[1..9].copy_from_slice(&key.0.to_be_bytes());
        named[9..17].copy_from_slice(&key.1.to_be_bytes());
        named[17..21].copy_from_slice(&key.2.to_be_bytes());
        named[21] = is_last;
        xxh3_64_with_seed(bytes, xxh3_64(&named))
    }
}

/// What is in the store, in numbers. It is written with each commit that changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// How often this was written.
    pub(crate) commits: u64,
    /// The place of the newest record that was ever appended.
    pub(crate) last: u64,
    /// All records up to here are in the checkpoint.
    pub(crate) upto: u64,
    /// Which checkpoint counts.
    pub(crate) generation: u64,
    pub(crate) checkpoint_records: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) feed_batches: u64,
    pub(crate) feed_bytes: u64,
}

impl State {
    fn fields(&mut self) -> [&mut u64; 9] {
        [
            &mut self.commits,
            &mut self.last,
            &mut self.upto,
            &mut self.generation,
            &mut self.checkpoint_records,
            &mut self.checkpoint_bytes,
            &mut self.log_bytes,
            &mut self.feed_batches,
            &mut self.feed_bytes,
        ]
    }

    /// Compares it with the number of commits that are known to have been finished.
    pub(crate) fn check(&self, finished: u64) -> Result<(), Fault> {
        if self.commits >= finished {
            return Ok(());
        }
        Err(Fault::Damaged(format!(
            "the newest commits: {finished} were finished, and {} are there",
            self.commits
        )))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.clone().fields().iter().flat_map(|field| field.to_be_bytes()).collect();
        bytes.extend(xxh3_64(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, checksum) = bytes.split_last_chunk::<8>()?;
        let mut state = Self::default();
        let is_whole =
            fields.len() == 8 * state.fields().len() && u64::from_be_bytes(*checksum) == xxh3_64(fields);
        for (field, bytes) in state.fields().into_iter().zip(fields.as_chunks::<8>().0) {
            *field = u64::from_be_bytes(*bytes);
        }
        is_whole.then_some(state)
    }
}

/// The tables, open to be read.
pub(crate) struct Reading {
    tables: [redb::ReadOnlyTable<Key, &'static [u8]>; 3],
    pub(crate) state: State,
}

impl Reading {
    pub(crate) fn of(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let state = transaction.open_table(STATE).map_err(missing)?;
        let row = state.get(0)?.ok_or_else(no_state)?;
        let state = State::decode(row.value()).ok_or_else(no_state)?;
        let open = |kind: Kind| transaction.open_table(kind.table()).map_err(missing);
        let [checkpoint, log, feed] = Kind::ALL.map(open);
        Ok(Self { tables: [checkpoint?, log?, feed?], state })
    }

    fn table(&self, kind: Kind) -> &redb::ReadOnlyTable<Key, &'static [u8]> {
        let [checkpoint, log, feed] = &self.tables;
        match kind {
            Kind::Checkpoint => checkpoint,
            Kind::Log => log,
            Kind::Feed => feed,
        }
    }

    fn group(&self, kind: Kind) -> u64 {
        if kind == Kind::Checkpoint { self.state.generation } else { 0 }
    }

    /// Gives the records with numbers from `first` on to `take`, with their numbers, until it says that it has enough.
    fn read(
        &self,
        kind: Kind,
        first: u64,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let group = self.group(kind);
        let damaged = |number: u64, why: &str| Fault::Damaged(format!("{} ({why})", kind.show(number)));
        let mut pending: Option<(u64, u32, Vec<u8>)> = None;
        for row in self.table(kind).range((group, first, 0)..=(group, u64::MAX, u32::MAX))? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let (number, piece) = (key.1, key.2);
            let (expected, mut bytes) = match pending.take() {
                Some((other, ..)) if other != number => return Err(damaged(other, "its end is missing")),
                Some((_, next, bytes)) => (next, bytes),
                None => (0, Vec::new()),
            };
            if piece != expected {
                return Err(damaged(number, "a piece of it is missing"));
            }
            let Some((checksum, [is_last, part @ ..])) = value.split_first_chunk::<8>() else {
                return Err(damaged(number, "a piece of it is cut off"));
            };
            if u64::from_be_bytes(*checksum) != kind.checksum(key, *is_last, part) {
                return Err(damaged(number, "its checksum is wrong"));
            }
            bytes.extend_from_slice(part);
            if *is_last == 0 {
                pending = Some((number, piece + 1, bytes));
            } else if !take(number, bytes)? {
                return Ok(());
            }
        }
        pending.map_or(Ok(()), |(number, ..)| Err(damaged(number, "its end is missing")))
    }

    /// Gives the records of the checkpoint and then those of the log to `take`, until it says that it has enough, and makes sure
    /// that none is missing.
    pub(crate) fn records(
        &self,
        take: &mut dyn FnMut(Kind, u64, Vec<u8>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let ranges = [
            (Kind::Checkpoint, 0, self.state.checkpoint_records),
            (Kind::Log, self.state.upto + 1, self.state.last + 1),
        ];
        let sums = [self.state.checkpoint_bytes, self.state.log_bytes];
        for ((kind, first, end), sum) in ranges.into_iter().zip(sums) {
            let (mut next, mut bytes, mut is_enough) = (first, 0, false);
            let missing = |number| Fault::Damaged(format!("{} (it is missing)", kind.show(number)));
            self.read(kind, 0, &mut |number, record| {
                if number != next {
                    return Err(missing(next.min(number)));
                }
                next += 1;
                bytes += record.len() as u64;
                is_enough = !take(kind, number, record)?;
                Ok(!is_enough)
            })?;
            if is_enough {
                return Ok(());
            }
            if next != end {
                return Err(missing(next.min(end)));
            }
            if bytes != sum {
                return Err(Fault::Damaged(format!(
                    "the {} ({bytes} bytes where {sum} were written)",
                    kind.name()
                )));
            }
        }
        Ok(())
    }

    /// The first and the last place of the feed.
    pub(crate) fn feed_range(&self) -> Result<Option<(u64, u64)>, Fault> {
        let table = self.table(Kind::Feed);
        let place = |row: Option<(redb::AccessGuard<'_, Key>, redb::AccessGuard<'_, &[u8]>)>| {
            row.map(|row| row.0.value().1)
        };
        Ok(place(table.first()?).zip(place(table.last()?)))
    }

    /// The batches of the feed after `after`.
    pub(crate) fn feed(
        &self,
        after: u64,
        take: &mut dyn FnMut(u64, Vec<u8>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        match after.checked_add(1) {
            Some(first) => self.read(Kind::Feed, first, take),
            None => Ok(()),
        }
    }

    /// Reads all, and gives each record to `take`; what is missing is damage.
    pub(crate) fn all(
        &self,
        take: &mut dyn FnMut(Kind, u64, Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.records(&mut |kind, number, record| take(kind, number, record).map(|()| true))?;
        let (mut batches, mut bytes) = (0, 0);
        self.feed(0, &mut |number, batch| {
            batches += 1;
            bytes += batch.len() as u64;
            take(Kind::Feed, number, batch).map(|()| true)
        })?;
        let State { feed_batches, feed_bytes, .. } = self.state;
        if (batches, bytes) != (feed_batches, feed_bytes) {
            let what = format!(
                "the feed ({batches} batches, {bytes} bytes, where {feed_batches}, {feed_bytes} were written)"
            );
            return Err(Fault::Damaged(what));
        }
        Ok(())
    }
}

fn missing(error: TableError) -> Fault {
    match error {
        TableError::TableDoesNotExist(name) => Fault::Damaged(format!("the table {name:?} (it is missing)")),
        other => other.into(),
    }
}

fn no_state() -> Fault {
    Fault::Damaged("the row of the store's state (it is missing or its checksum is wrong)".to_owned())
}

/// A transaction that writes.
pub(crate) struct Writing<'a>(pub(crate) &'a WriteTransaction);

impl Writing<'_> {
    /// Makes the tables of a new store.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        for kind in Kind::ALL {
            self.0.open_table(kind.table())?;
        }
        self.state(&State::default())
    }

    pub(crate) fn state(&self, state: &State) -> Result<(), Fault> {
        self.0.open_table(STATE)?.insert(0, state.encode().as_slice())?;
        Ok(())
    }

    /// Adds records to a table.
    pub(crate) fn add<'r>(
        &self,
        kind: Kind,
        group: u64,
        records: impl IntoIterator<Item = (u64, &'r [u8])>,
    ) -> Result<(), Fault> {
        let mut table = self.0.open_table(kind.table())?;
        records.into_iter().try_for_each(|(number, record)| add(&mut table, kind, group, number, record))
    }

    /// Removes the records of a group up to and including `upto`. Returns how many there were, and their bytes.
    pub(crate) fn remove(&self, kind: Kind, group: u64, upto: u64) -> Result<(u64, u64), Fault> {
        self.remove_range(kind, (group, 0, 0)..=(group, upto, u32::MAX))
    }

    /// Removes one record of the log or the feed, if it is there.
    pub(crate) fn remove_one(&self, kind: Kind, number: u64) -> Result<(u64, u64), Fault> {
        self.remove_range(kind, (0, number, 0)..=(0, number, u32::MAX))
    }

    fn remove_range(&self, kind: Kind, range: RangeInclusive<Key>) -> Result<(u64, u64), Fault> {
        let mut table = self.0.open_table(kind.table())?;
        let (mut records, mut bytes) = (0, 0);
        table.retain_in(range, |key, value| {
            records += u64::from(key.2 == 0);
            bytes += value.len().saturating_sub(OVERHEAD) as u64;
            false
        })?;
        Ok((records, bytes))
    }

    /// Removes what is in the table of the checkpoint and of another generation. Returns whether there was any.
    pub(crate) fn remove_other_generations(&self, generation: u64) -> Result<bool, Fault> {
        let mut table = self.0.open_table(Kind::Checkpoint.table())?;
        let before = redb::ReadableTableMetadata::len(&table)?;
        table.retain_in(..(generation, 0, 0), |_, _| false)?;
        table.retain_in((generation, u64::MAX, u32::MAX).., |_, _| false)?;
        Ok(before != redb::ReadableTableMetadata::len(&table)?)
    }
}

fn add(
    table: &mut Table<'_, Key, &'static [u8]>,
    kind: Kind,
    group: u64,
    number: u64,
    record: &[u8],
) -> Result<(), Fault> {
    // An empty record has one piece, too.
    let pieces = record.len().div_ceil(PIECE_BYTES).max(1);
    for piece in 0..pieces {
        let rest = &record[piece * PIECE_BYTES..];
        let part = &rest[..rest.len().min(PIECE_BYTES)];
        let too_long = || Fault::Io(std::io::ErrorKind::FileTooLarge.into());
        let key = (group, number, u32::try_from(piece).map_err(|_| too_long())?);
        let is_last = u8::from(piece + 1 == pieces);
        let mut row = table.insert_reserve(key, OVERHEAD + part.len())?;
        let value = row.as_mut();
        value[..8].copy_from_slice(&kind.checksum(key, is_last, part).to_be_bytes());
        value[8] = is_last;
        value[OVERHEAD..].copy_from_slice(part);
    }
    Ok(())
}
