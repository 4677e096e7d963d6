//! What can go wrong below, before it is told to the caller.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use driftless_node::store::StoreError;

/// Why something did not work.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    /// What is damaged.
    Damaged(String),
    Format {
        found: u32,
        readable: (u32, u32),
    },
    Locked,
    /// Another process reads a state that what was asked for would overwrite.
    IsRead,
    /// The file was not closed, and the caller may not mend it.
    NotClosed,
    /// What the caller's own function gave.
    Caller(StoreError),
}

impl Fault {
    pub(crate) fn io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("the end of the file: it was cut off".to_owned()),
            // So says redb of what does not begin like a database.
            io::ErrorKind::InvalidData => Self::Damaged(format!("the database ({error})")),
            _ => Self::Io(error),
        }
    }

    /// As the caller is told of it. `file` names the store.
    pub(crate) fn tell(self, doing: &'static str, file: &str) -> StoreError {
        match self {
            Self::Io(error) => StoreError::Io { doing, error },
            Self::Damaged(what) => StoreError::Damaged {
                what: format!("{file}: {what}"),
                remedy: format!(
                    "restore a backup, or save the records before the damage with \
                     `driftless-store export --until-damage {file}`, and `import` them"
                ),
            },
            Self::Format { found, readable } => StoreError::Format { found, readable },
            Self::Locked => StoreError::Locked { what: file.to_owned() },
            Self::IsRead => StoreError::Unsupported { what: "be compacted while another process reads it" },
            Self::NotClosed => StoreError::Io {
                doing,
                error: io::Error::other(
                    "the process that had it open did not close it; open it to mend that",
                ),
            },
            Self::Caller(error) => error,
        }
    }
}

/// Runs `task`; what panics in it is damage. The database is to be dropped after a fault: nothing of it is used again.
///
/// redb promises errors instead of panics only for files that it has checked, and in debug builds its assertions come first.
pub(crate) fn guarded<R>(task: impl FnOnce() -> Result<R, Fault>) -> Result<R, Fault> {
    catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(|panic| {
        Err(Fault::Damaged(format!("the database, which is not as it was written ({})", message(&*panic))))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                of_redb(error.into())
            }
        }
    )*};
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::CompactionError
);

fn of_redb(error: redb::Error) -> Fault {
    match error {
        redb::Error::Io(error) => Fault::io(error),
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Fault::Locked,
        redb::Error::RepairAborted => Fault::NotClosed,
        redb::Error::TransactionInProgress => Fault::IsRead,
        redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::Unsupported => {
            Fault::Io(io::Error::other(error.to_string()))
        }
        other => Fault::Damaged(format!("the database ({other})")),
    }
}
