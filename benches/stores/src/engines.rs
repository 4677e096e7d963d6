//! The contestants. All keep a checksum with each record, and wait for the disk.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use driftless_node::store::{Place, Store};
use driftless_store::FileStore;
use fjall::{KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable};
use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) type Opened = Box<dyn Engine>;

/// What a store does.
pub(crate) trait Engine {
    /// Adds a record, and waits until it is on disk.
    fn append(&mut self, number: u64, record: &[u8]);
    /// Puts so many records in the place of all.
    fn checkpoint(&mut self, part: &[u8], parts: u64);
    /// Reads all, and says how many bytes it is.
    fn load(&mut self) -> u64;
}

fn sealed(record: &[u8]) -> Vec<u8> {
    [&xxh3_64(record).to_be_bytes()[..], record].concat()
}

fn unsealed(value: &[u8]) -> u64 {
    let (checksum, record) = value.split_first_chunk::<8>().expect("a checksum");
    assert_eq!(u64::from_be_bytes(*checksum), xxh3_64(record));
    record.len() as u64
}

/// What no database can be faster than: one file, written at its end.
pub(crate) struct Bare {
    folder: PathBuf,
    file: File,
}

impl Bare {
    pub(crate) fn open(folder: &Path) -> Opened {
        let file = File::options().create(true).append(true).open(folder.join("log")).expect("a file");
        Box::new(Self { folder: folder.to_owned(), file })
    }

    fn write(file: &mut File, record: &[u8]) {
        let head = (record.len() as u64).to_be_bytes();
        file.write_all(&[&head[..], &sealed(record)].concat()).expect("room");
    }
}

impl Engine for Bare {
    fn append(&mut self, _: u64, record: &[u8]) {
        Self::write(&mut self.file, record);
        self.file.sync_data().expect("a disk");
    }

    fn checkpoint(&mut self, part: &[u8], parts: u64) {
        let draft = self.folder.join("draft");
        let mut file = File::create(&draft).expect("a file");
        (0..parts).for_each(|_| Self::write(&mut file, part));
        file.sync_all().expect("a disk");
        std::fs::rename(draft, self.folder.join("log")).expect("a name");
        File::open(&self.folder).and_then(|folder| folder.sync_all()).expect("a folder");
        self.file = file;
    }

    fn load(&mut self) -> u64 {
        let mut file = std::io::BufReader::new(File::open(self.folder.join("log")).expect("it is there"));
        let (mut head, mut bytes) = ([0; 8], 0);
        while file.read_exact(&mut head).is_ok() {
            let mut value = vec![0; u64::from_be_bytes(head) as usize + 8];
            file.read_exact(&mut value).expect("it is whole");
            bytes += unsealed(&value);
        }
        bytes
    }
}

const ROWS: TableDefinition<'static, (u64, u64), &'static [u8]> = TableDefinition::new("rows");

/// redb, each record a row. The log is generation zero.
pub(crate) struct Redb {
    database: Database,
    is_two_phase: bool,
    generation: u64,
}

impl Redb {
    pub(crate) fn open(folder: &Path, is_two_phase: bool, is_shared: bool) -> Opened {
        let mut builder = Database::builder();
        builder.set_cache_size(64 << 20);
        if is_shared {
            builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
        }
        let database = builder.create(folder.join("redb")).expect("a database");
        Box::new(Self { database, is_two_phase, generation: 0 })
    }

    fn write(&self, change: impl FnOnce(&mut redb::Table<'_, (u64, u64), &'static [u8]>)) {
        let mut transaction = self.database.begin_write().expect("a transaction");
        transaction.set_two_phase_commit(self.is_two_phase);
        change(&mut transaction.open_table(ROWS).expect("a table"));
        transaction.commit().expect("a disk");
    }
}

impl Engine for Redb {
    fn append(&mut self, number: u64, record: &[u8]) {
        self.write(|table| {
            table.insert((0, number), sealed(record).as_slice()).expect("room");
        });
    }

    fn checkpoint(&mut self, part: &[u8], parts: u64) {
        let generation = self.generation + 1;
        let numbers: Vec<u64> = (0..parts).collect();
        for numbers in numbers.chunks(16) {
            self.write(|table| {
                for number in numbers {
                    table.insert((generation, *number), sealed(part).as_slice()).expect("room");
                }
            });
        }
        self.write(|table| table.retain_in(..(generation, 0), |_, _| false).expect("room"));
        self.generation = generation;
    }

    fn load(&mut self) -> u64 {
        let transaction = self.database.begin_read().expect("a transaction");
        let table = transaction.open_table(ROWS).expect("a table");
        table.iter().expect("rows").map(|row| unsealed(row.expect("a row").1.value())).sum()
    }
}

/// This store.
pub(crate) struct Ours {
    store: FileStore,
    last: Place,
}

impl Ours {
    pub(crate) fn open(folder: &Path) -> Opened {
        Box::new(Self { store: FileStore::open(folder.join("store")).expect("a store"), last: Place(0) })
    }
}

impl Engine for Ours {
    fn append(&mut self, _: u64, record: &[u8]) {
        self.last = self.store.append(record, None).expect("a disk");
    }

    fn checkpoint(&mut self, part: &[u8], parts: u64) {
        (0..parts).for_each(|_| self.store.stage(part).expect("room"));
        self.store.publish(self.last).expect("a disk");
    }

    fn load(&mut self) -> u64 {
        let mut bytes = 0;
        let read = self.store.load(&mut |record| {
            bytes += record.bytes.len() as u64;
            Ok(())
        });
        read.expect("it is whole");
        bytes
    }
}

/// fjall, with values kept apart from keys, as its documentation advises for large ones.
pub(crate) struct Fjall {
    database: fjall::Database,
    rows: fjall::Keyspace,
    generation: u64,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Opened {
        let database = fjall::Database::builder(folder.join("fjall")).open().expect("a database");
        let options =
            || KeyspaceCreateOptions::default().with_kv_separation(Some(KvSeparationOptions::default()));
        let rows = database.keyspace("rows", options).expect("a keyspace");
        Box::new(Self { database, rows, generation: 0 })
    }

    fn key(generation: u64, number: u64) -> Vec<u8> {
        [generation.to_be_bytes(), number.to_be_bytes()].concat()
    }
}

impl Engine for Fjall {
    fn append(&mut self, number: u64, record: &[u8]) {
        self.rows.insert(Self::key(0, number), sealed(record)).expect("room");
        self.database.persist(PersistMode::SyncAll).expect("a disk");
    }

    fn checkpoint(&mut self, part: &[u8], parts: u64) {
        let generation = self.generation + 1;
        for number in 0..parts {
            self.rows.insert(Self::key(generation, number), sealed(part)).expect("room");
        }
        let mut batch = self.database.batch();
        for row in self.rows.range(..Self::key(generation, 0)) {
            batch.remove(&self.rows, row.key().expect("a key"));
        }
        batch.commit().expect("room");
        self.database.persist(PersistMode::SyncAll).expect("a disk");
        self.generation = generation;
    }

    fn load(&mut self) -> u64 {
        let snapshot = self.database.snapshot();
        snapshot.iter(&self.rows).map(|row| unsealed(&row.value().expect("a value"))).sum()
    }
}

/// SQLite with a write-ahead log, which is synced at each commit.
pub(crate) struct Sqlite {
    connection: rusqlite::Connection,
    generation: u64,
}

impl Sqlite {
    pub(crate) fn open(folder: &Path) -> Opened {
        let connection = rusqlite::Connection::open(folder.join("sqlite")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS rows (generation INTEGER, number INTEGER, value BLOB,
                     PRIMARY KEY (generation, number));",
            )
            .expect("tables");
        Box::new(Self { connection, generation: 0 })
    }

    fn insert(&self, generation: u64, number: u64, record: &[u8]) {
        let mut insert = self.connection.prepare_cached("INSERT INTO rows VALUES (?, ?, ?)").expect("SQL");
        insert.execute((generation as i64, number as i64, sealed(record))).expect("room");
    }
}

impl Engine for Sqlite {
    fn append(&mut self, number: u64, record: &[u8]) {
        self.insert(0, number, record);
    }

    fn checkpoint(&mut self, part: &[u8], parts: u64) {
        let generation = self.generation + 1;
        let numbers: Vec<u64> = (0..parts).collect();
        for numbers in numbers.chunks(16) {
            self.connection.execute_batch("BEGIN").expect("SQL");
            numbers.iter().for_each(|number| self.insert(generation, *number, part));
            self.connection.execute_batch("COMMIT").expect("a disk");
        }
        let delete = "DELETE FROM rows WHERE generation < ?";
        self.connection.execute(delete, [generation as i64]).expect("room");
        self.generation = generation;
    }

    fn load(&mut self) -> u64 {
        let mut select =
            self.connection.prepare("SELECT value FROM rows ORDER BY generation, number").expect("SQL");
        let rows = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
        rows.map(|row| unsealed(&row.expect("a row"))).sum()
    }
}
