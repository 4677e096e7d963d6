//! The process that is killed. It tells its parent, a line each, what it was told itself.

use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftless::{Token, Value};
use driftless_node::{Cursor, Domain, FeedChange, FeedStep};
use driftless_store::FileStore;
use tokio::sync::mpsc;

use crate::ledger::{Ledger, OURS, PEERS, check, config, keep_writing, last, name, node};
use crate::line::carry;
use crate::marked::Marked;

/// Where the child is told what to do: the store, the port of the peer, and what is known of earlier runs.
pub(crate) const STORE: &str = "DRIFTLESS_KILL_STORE";
pub(crate) const PORT: &str = "DRIFTLESS_KILL_PORT";
pub(crate) const KNOWN: &str = "DRIFTLESS_KILL_KNOWN";

/// Tells the parent a line, at once.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let told = out.write_all(format!("@{line}\n").as_bytes()).and_then(|()| out.flush());
    if told.is_err() {
        std::process::exit(3);
    }
}

/// Says what is wrong, and ends. The parent fails then.
fn wrong(what: &str) -> ! {
    say(&format!("wrong {}", what.replace('\n', " ")));
    std::process::exit(1);
}

fn require(it: Result<(), String>) {
    if let Err(what) = it {
        wrong(&what);
    }
}

/// What the parent says: a line each. Without a parent there is nothing to do.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (tell, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
        std::process::exit(2);
    });
    orders
}

fn numbers(ledger: &Ledger) -> String {
    let numbers = OURS.iter().chain(&PEERS).map(|task| format!("{task}:{}", last(ledger, task)));
    numbers.collect::<Vec<_>>().join(" ")
}

pub(crate) fn run() {
    std::panic::set_hook(Box::new(|panic| wrong(&panic.to_string())));
    // What the test harness has begun to say ends here.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.unwrap().block_on(serve());
}

async fn serve() {
    let [store, port, known] = [STORE, PORT, KNOWN].map(|name| std::env::var(name).unwrap());
    let mut orders = orders();
    let (node, known) = (node("eu"), std::fs::read_to_string(known).unwrap());
    say("opening");
    let store = FileStore::open(Path::new(&store)).unwrap_or_else(|error| wrong(&error.to_string()));
    let opened = node.open(name(), Marked(store), config()).await;
    let ledger: Domain<Ledger> = opened.unwrap_or_else(|error| wrong(&error.to_string()));
    require(check(&ledger.read()));
    let mut cursor = None;
    for line in known.lines() {
        match line.split_once(' ') {
            Some(("token", token)) => {
                let token: Token = token.parse().unwrap();
                if let Err(error) = ledger.reached(&token).await {
                    wrong(&format!("the token of a durable write is not reached: {error}"));
                }
            }
            Some(("cursor", known)) => cursor = Some(known.parse().unwrap()),
            _ => wrong("the parent says what is not understood"),
        }
    }
    say(&format!("open {}", numbers(&ledger.read())));
    if orders.recv().await.as_deref() != Some("go") {
        return;
    }

    carry(&node, TcpStream::connect(format!("127.0.0.1:{port}")).unwrap());
    let is_over = Arc::new(AtomicBool::new(false));
    let over = |is_over: &Arc<AtomicBool>| {
        let is_over = Arc::clone(is_over);
        move || is_over.load(Ordering::Relaxed)
    };
    let following = tokio::spawn(follow(ledger.clone(), cursor));
    let writing = OURS.map(|task| {
        let acknowledge = move |number, token| say(&format!("ack {task} {number} {token}"));
        tokio::spawn(keep_writing(ledger.clone(), task, Duration::ZERO, over(&is_over), acknowledge))
    });
    let looking = tokio::spawn(look(ledger.clone(), over(&is_over)));
    if orders.recv().await.as_deref() != Some("settle") {
        return;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in writing {
        task.await.unwrap();
    }
    looking.await.unwrap();
    say("settled");
    // Once both hold the same the parent says so.
    while orders.try_recv().is_err() {
        let snapshot = ledger.read_durable();
        require(check(&snapshot));
        say(&format!("digest {:?}", snapshot.digest()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    following.abort();
    node.shutdown().await.unwrap();
    say(&format!("closed {}", numbers(&ledger.read())));
}

/// Compacts, and looks whether what is read is whole, now and again.
async fn look(ledger: Domain<Ledger>, is_over: impl Fn() -> bool) {
    while !is_over() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        require(check(&ledger.read()));
        require(check(&ledger.read_durable()));
        ledger.compact().await.unwrap();
    }
}

/// Follows the feed from where the parent has it.
async fn follow(ledger: Domain<Ledger>, cursor: Option<Cursor>) {
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => {
            let (snapshot, cursor) = ledger.feed_start().await.unwrap();
            say(&format!("from {cursor} {}", numbers(&snapshot)));
            cursor
        }
    };
    let mut feed = ledger.feed(cursor);
    loop {
        let batch = feed.next().await.unwrap_or_else(|error| wrong(&format!("the feed: {error}")));
        let changes = batch.commits.iter().flat_map(|commit| &commit.changes);
        let news: Vec<String> = changes.filter_map(numbered).collect();
        say(&format!("feed {} {}", batch.cursor, news.join(" ")));
    }
}

/// The task and the number, if it is the change of a task's last number.
fn numbered(change: &FeedChange) -> Option<String> {
    match (change.path.as_slice(), &change.after) {
        (
            [FeedStep::Field(logs), FeedStep::Key(Value::Text(task)), FeedStep::Field(field)],
            Some(Value::Int(number)),
        ) if logs == "logs" && field == "last" => Some(format!("{task}:{number}")),
        _ => None,
    }
}
