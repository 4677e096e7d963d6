//! The process that kills, and keeps the log of what was reported.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use driftless_node::{Domain, MemoryStore};
use driftless_store::FileStore;

use crate::child::{KNOWN, PORT, STORE};
use crate::ledger::{Ledger, OURS, PEERS, check, config, keep_writing, last, name, node};
use crate::line::carry;

/// No step takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which kills there are: at a moment, or in the middle of something that the store does.
const MOMENTS: [&str; 8] = ["any", "any", "any", "append", "stage", "publish", "compact", "load"];

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// A number that is set from outside, or this.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What was reported by processes that are gone.
#[derive(Default)]
struct Reported {
    /// By task, the last write that was reported durable, and its token.
    acknowledged: BTreeMap<String, (i64, String)>,
    /// By task, the last write that the feed gave; and the cursor after it.
    fed: BTreeMap<String, i64>,
    cursor: Option<String>,
    /// What the store was doing, if the last process did not say that it was done.
    doing: Option<String>,
    acknowledgements: u64,
    done: BTreeMap<String, u64>,
}

fn numbers(text: &str) -> impl Iterator<Item = (&str, i64)> {
    text.split_whitespace().map(|item| {
        let (task, number) = item.split_once(':').unwrap();
        (task, number.parse().unwrap())
    })
}

impl Reported {
    fn hear(&mut self, line: &str) {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "in" => self.doing = Some(rest.to_owned()),
            "out" => *self.done.entry(self.doing.take().unwrap()).or_default() += 1,
            "ack" => {
                let [task, number, token] = rest.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let reported = (number.parse().unwrap(), token.to_owned());
                self.acknowledgements += 1;
                self.acknowledged.insert(task.to_owned(), reported);
            }
            "from" | "feed" => {
                let (cursor, news) = rest.split_once(' ').unwrap();
                for (task, number) in numbers(news) {
                    let before = self.fed.insert(task.to_owned(), number).unwrap_or(0);
                    // What came from the peer may have come at once; what is written here comes one by one.
                    let is_next = if PEERS.contains(&task) { number > before } else { number == before + 1 };
                    assert!(what == "from" || is_next, "after {task}:{before} the feed gave {number}");
                }
                self.cursor = Some(cursor.to_owned());
            }
            "wrong" => panic!("the process that was opened again found: {rest}"),
            _ => {}
        }
    }

    /// Whether the feed has yet to give something that was reported durable.
    fn is_feed_behind(&self) -> bool {
        self.acknowledged.iter().any(|(task, (number, _))| self.fed.get(task).is_none_or(|fed| fed < number))
    }

    /// What the next process is to find.
    fn known(&self) -> String {
        let mut known = String::new();
        for (_, token) in self.acknowledged.values() {
            writeln!(known, "token {token}").unwrap();
        }
        if let Some(cursor) = &self.cursor {
            writeln!(known, "cursor {cursor}").unwrap();
        }
        known
    }

    /// Compares what a process holds that was opened again with what was reported, and with what its peer holds.
    fn compare(&self, held: &str, peer: &Ledger) {
        for (task, number) in numbers(held) {
            let acknowledged = self.acknowledged.get(task).map_or(0, |(number, _)| *number);
            assert!(
                number >= acknowledged,
                "{task}:{acknowledged} was reported durable, and {number} is there"
            );
            let fed = self.fed.get(task).copied().unwrap_or(0);
            assert!(number >= fed, "{task}:{fed} was in the feed, and {number} is there");
            let is_ours = OURS.contains(&task);
            assert!(
                !is_ours || number >= last(peer, task),
                "the peer has {task}:{}, we {number}",
                last(peer, task)
            );
        }
    }
}

/// A process that is to be killed.
struct Running {
    process: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
}

impl Running {
    fn start(store: &Path, known: &Path, port: u16) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "what_was_reported_durable_survives_being_killed";
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(STORE, store).env(KNOWN, known).env(PORT, port.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, out) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|length| length > 0) {
                // A line that was cut off was not reported.
                if let Some(said) = line.strip_suffix('\n').and_then(|line| line.strip_prefix('@'))
                    && tell.send(said.to_owned()).is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        Self { process, orders, lines }
    }

    /// Hears what is said until a line that begins so. None if it is not said by then.
    fn until(&self, reported: &mut Reported, wanted: &str, at: Instant) -> Option<String> {
        loop {
            match self.lines.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    reported.hear(&line);
                    if let Some(rest) = line.strip_prefix(wanted) {
                        return Some(rest.trim_start().to_owned());
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the process ended by itself"),
            }
        }
    }

    fn expect(&self, reported: &mut Reported, wanted: &str) -> String {
        let said = self.until(reported, wanted, Instant::now() + PATIENCE);
        said.unwrap_or_else(|| panic!("{wanted:?} was not said"))
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Kills it, and hears what it had said. Returns what its store was doing.
    fn kill(mut self, reported: &mut Reported) -> Option<String> {
        self.process.kill().unwrap();
        let _ = self.process.wait().unwrap();
        for line in &self.lines {
            reported.hear(&line);
        }
        reported.doing.take()
    }
}

struct Run {
    dice: Dice,
    store: PathBuf,
    known: PathBuf,
    port: u16,
    peer: Domain<Ledger>,
    reported: Reported,
}

impl Run {
    fn start(&mut self) -> Running {
        std::fs::write(&self.known, self.reported.known()).unwrap();
        Running::start(&self.store, &self.known, self.port)
    }

    /// Waits until the process is open, compares, and lets it write.
    fn release(&mut self, running: &mut Running) {
        let held = running.expect(&mut self.reported, "open ");
        self.reported.compare(&held, &self.peer.read());
        running.order("go");
    }

    /// Starts a process, and kills it at some moment. Returns what its store was doing.
    fn kill_one(&mut self) -> Option<String> {
        let mut running = self.start();
        let moment = MOMENTS[usize::try_from(self.dice.below(MOMENTS.len() as u64)).unwrap()];
        if moment == "load" {
            // While it is being opened, what is read is merged, and the new id is stored.
            running.expect(&mut self.reported, "opening");
            let at = Instant::now() + Duration::from_micros(self.dice.below(20_000));
            running.until(&mut self.reported, "open ", at);
            return running.kill(&mut self.reported);
        }
        self.release(&mut running);
        let at = Instant::now() + Duration::from_micros(1_000 + self.dice.below(39_000));
        assert!(running.until(&mut self.reported, "nothing", at).is_none());
        if moment != "any" {
            running.expect(&mut self.reported, &format!("in {moment}"));
            std::thread::sleep(Duration::from_micros(self.dice.below(400)));
        }
        running.kill(&mut self.reported)
    }

    /// Lets a last process and the peer exchange all they have.
    fn settle(&mut self) {
        let mut running = self.start();
        self.release(&mut running);
        for _ in 0..50 {
            running.expect(&mut self.reported, "ack ");
        }
        running.order("settle");
        running.expect(&mut self.reported, "settled");
        let until = Instant::now() + PATIENCE;
        while running.expect(&mut self.reported, "digest ") != format!("{:?}", self.peer.read().digest()) {
            assert!(Instant::now() < until, "they did not converge");
        }
        while self.reported.is_feed_behind() {
            running.expect(&mut self.reported, "feed ");
        }
        running.order("close");
        let held = running.expect(&mut self.reported, "closed ");
        for (task, number) in numbers(&held).filter(|(task, _)| OURS.contains(task)) {
            assert_eq!(self.reported.acknowledged[task].0, number, "all of {task} was reported durable");
            assert_eq!(self.reported.fed[task], number, "the feed gave all of {task}");
        }
        assert!(running.process.wait().unwrap().success());
    }
}

pub(crate) fn run() {
    let (kills, seed) = (setting("DRIFTLESS_KILLS", 200), setting("DRIFTLESS_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let begun = Instant::now();
    let node = node("us");
    let peer: Domain<Ledger> = runtime.block_on(node.open(name(), MemoryStore::new(), config())).unwrap();
    let (joining, handle) = (node.clone(), runtime.handle().clone());
    std::thread::spawn(move || {
        let _entered = handle.enter();
        for stream in listener.incoming() {
            carry(&joining, stream.unwrap());
        }
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = PEERS.map(|task| {
        let is_over = Arc::clone(&is_over);
        let over = move || is_over.load(Ordering::Relaxed);
        runtime.spawn(keep_writing(peer.clone(), task, Duration::from_millis(2), over, |_, _| {}))
    });

    let [store, known] = ["ledger.store", "known"].map(|name| folder.path().join(name));
    let (dice, reported) = (Dice(seed), Reported::default());
    let mut run = Run { dice, store, known, port, peer, reported };
    let mut interrupted = BTreeMap::<String, u64>::new();
    for kill in 0..kills {
        let doing = run.kill_one();
        *interrupted.entry(doing.unwrap_or_else(|| "nothing".to_owned())).or_default() += 1;
        check(&run.peer.read()).unwrap_or_else(|what| panic!("seed {seed}, kill {kill}: the peer: {what}"));
    }
    is_over.store(true, Ordering::Relaxed);
    for task in writing {
        runtime.block_on(task).unwrap();
    }
    run.settle();

    // The peer, which nobody killed, has written what it has; and the file holds what both do.
    let held = run.peer.read();
    check(&held).unwrap();
    let last_node = crate::ledger::node("eu");
    let store = FileStore::open(&run.store).unwrap();
    let reopened: Domain<Ledger> = runtime.block_on(last_node.open(name(), store, config())).unwrap();
    assert_eq!(reopened.read().digest(), held.digest());
    check(&reopened.read()).unwrap();
    let rows: usize = held.logs.iter().map(|(_, log)| log.recent.rows()).sum();
    let writes = held.total.value();
    assert!((rows as i64) < writes / 2, "{rows} rows are kept of {writes} writes: nothing is forgotten");
    runtime.block_on(async {
        last_node.shutdown().await.unwrap();
        node.shutdown().await.unwrap();
    });
    println!(
        "seed {seed}: {kills} kills in {:.0} s; {} writes reported durable, {writes} in all, {rows} rows left of their numbers; \
         killed in {interrupted:?}; done {:?}",
        begun.elapsed().as_secs_f64(),
        run.reported.acknowledgements,
        run.reported.done
    );
}
