//! Pieces of work whose instructions are counted: `cargo run -p xtask -- instructions` runs each of them under callgrind.
//!
//! Given the name of a piece it is done once, without one all are listed. Only what runs within [`counted`] counts, so the
//! work is set up and checked outside of it. Nothing depends on the machine's time, addresses or environment.

mod exchanging;
mod forgetting;
mod sessions;
mod types;
#[path = "../workload/mod.rs"]
mod workload;
mod writing;

use std::hint::black_box;
use std::process::ExitCode;

/// Documents of four registers in a map.
const DOCUMENTS: usize = 10_000;

/// How often work of some hundred instructions is done: what the allocator finds the first time would show.
const REPEATS: usize = 100;

/// A piece of work.
struct Piece {
    name: &'static str,
    what: &'static str,
    /// What the work consists of, counted.
    operations: usize,
    run: fn(),
}

const PIECES: [&[Piece]; 5] =
    [writing::PIECES, exchanging::PIECES, types::PIECES, forgetting::PIECES, sessions::PIECES];

/// Does what is counted. Its name is what callgrind is told to look for.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // With nothing to do after it the call would be a jump, and the function be left before the work begins.
    black_box(&work);
}

/// Does work that is counted, once or more often in a piece, and returns its result.
fn count<R>(work: impl FnOnce() -> R) -> R {
    let (mut work, mut result) = (Some(work), None);
    counted(&mut || result = work.take().map(|work| work()));
    result.expect("the work was done")
}

/// Does short work again and again, all of it counted, and returns its last result.
fn count_repeated<R>(mut work: impl FnMut() -> R) -> R {
    count(|| (1..REPEATS).for_each(|_| drop(black_box(work()))));
    count(work)
}

fn main() -> ExitCode {
    // `cargo bench` passes an option.
    let name = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut pieces = PIECES.iter().copied().flatten();
    let Some(name) = name else {
        pieces.for_each(|piece| println!("{}\t{}\t{}", piece.name, piece.operations, piece.what));
        return ExitCode::SUCCESS;
    };
    let Some(piece) = pieces.find(|piece| piece.name == name) else {
        eprintln!("there is no work named `{name}`");
        return ExitCode::FAILURE;
    };
    // The stack of the first thread begins below the environment, so its addresses depend on what that holds. Those of
    // another thread do not.
    match std::thread::spawn(piece.run).join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
