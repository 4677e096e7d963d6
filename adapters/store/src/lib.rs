//! Keeps a replication domain of driftless on disk: an embedded store, and what a tool needs to look after it.
//!
//! [`FileStore`] is a [`Store`](driftless_node::store::Store) in one file. `docs/store.md` describes the file, what is checked
//! when, and what was measured. The program `driftless-store` looks after such files; so can an application, with [`Contents`],
//! [`export`] and [`import`].

mod contents;
mod export;
mod fault;
mod file;
mod header;
mod live;
#[doc(hidden)]
pub mod medium;
mod rows;

pub use contents::{Contents, Entry, Summary};
pub use export::{Damage, ExportError, Exported, export, import};
pub use file::FileStore;
pub use live::LiveError;
