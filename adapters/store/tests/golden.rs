//! What release 0.1 wrote is read: a store that was closed, one whose process was killed, and an export.
//!
//! A new format gets files of its own beside these, which stay as they are. `WRITE_GOLDEN=1` writes files that are not there.

#![allow(clippy::unwrap_used)]

mod disk;

use std::path::{Path, PathBuf};

use disk::{Contents, contents};
use driftless_node::store::{Place, Store};
use driftless_store::{Damage, FileStore, export, import};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn record(number: u64) -> Vec<u8> {
    let length = [0, 5, 3_000, 70_000][number as usize % 4];
    let text = format!("record {number}. ").into_bytes();
    text.iter().copied().cycle().take(length).collect()
}

fn expected() -> Contents {
    Contents {
        checkpoint: (100..104).map(record).collect(),
        log: (4..=7).map(|place| (place, record(place))).collect(),
        feed: [3, 5, 7].map(|place| (place, format!("batch {place}").into_bytes())).to_vec(),
    }
}

fn write(path: &Path) -> FileStore {
    let mut store = FileStore::open(path).unwrap();
    for place in 1..=7 {
        let batch = format!("batch {place}").into_bytes();
        store.append(&record(place), (place % 2 == 1).then_some(batch.as_slice())).unwrap();
    }
    (100..104).for_each(|number| store.stage(&record(number)).unwrap());
    store.publish(Place(3)).unwrap();
    store.trim_feed(Place(2)).unwrap();
    store.compact().unwrap();
    store
}

#[test]
fn what_release_0_1_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let [closed, killed, lines] = ["v1.store", "v1-killed.store", "v1.jsonl"].map(golden);
    if std::env::var_os("WRITE_GOLDEN").is_some() && !closed.exists() {
        let path = folder.path().join("new.store");
        let store = write(&path);
        std::fs::copy(&path, &killed).unwrap();
        drop(store);
        std::fs::copy(&path, &closed).unwrap();
        export(&path, Damage::Refuse, &mut std::fs::File::create_new(&lines).unwrap()).unwrap();
    }
    for file in [closed, killed] {
        let copy = folder.path().join(file.file_name().unwrap());
        std::fs::copy(&file, &copy).unwrap();
        let mut store = FileStore::open(&copy).unwrap();
        assert!(contents(&mut store).unwrap() == expected(), "{}", file.display());
        assert_eq!(store.append(b"it goes on", None).unwrap(), Place(8));
    }
    let imported = folder.path().join("imported.store");
    import(&mut std::fs::read(&lines).unwrap().as_slice(), &imported).unwrap();
    assert!(contents(&mut FileStore::open(&imported).unwrap()).unwrap() == expected());

    let mut exported = Vec::new();
    export(&imported, Damage::Refuse, &mut exported).unwrap();
    // The order of the fields of a line depends on what else is built with the program.
    let parsed = |bytes: &[u8]| -> Vec<serde_json::Value> {
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    };
    let (exported, kept) = (parsed(&exported), parsed(&std::fs::read(&lines).unwrap()));
    assert!(!kept.is_empty() && exported == kept, "an export of the same store says the same");
}
