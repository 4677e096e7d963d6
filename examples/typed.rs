//! A struct whose fields merge each in their own way, one of them by a rule of the application.
//!
//! Two regions sell the same kettle. While they cannot reach each other both change it; then they exchange what they wrote,
//! and must read the same. The title is the application's to decide: it keeps the fullest of the titles that were written
//! concurrently, not the last.
//!
//! ```text
//! cargo run --example typed
//! ```
//!
//! Exit code: 0 both read the same, 1 they do not.

use std::error::Error;
use std::process::ExitCode;

use driftless::{Config, Counter, Crdt, LwwRegister, MergeMap, OrSet, Replica, ReplicaId};

/// What the shops hold: products by the code on their shelf.
type Shop = MergeMap<String, Product>;

#[derive(Debug, Crdt)]
struct Product {
    title: LwwRegister<String>,
    price_cents: LwwRegister<i64>,
    stock: Counter,
    tags: OrSet<String>,
}

impl Product {
    /// The fullest title, and of equally long ones the first in the alphabet.
    ///
    /// The rule is a pure function of the titles, so each replica comes to the same one. It is applied on reading: the
    /// titles themselves are kept until someone who has seen them all writes another.
    fn fullest_title(&self) -> Option<&String> {
        self.title
            .resolve(|titles| titles.max_by_key(|title| (title.chars().count(), std::cmp::Reverse(*title))))
    }
}

/// All that a shop shows of a product.
#[derive(Debug, PartialEq)]
struct Shown {
    title: Option<String>,
    last_title: Option<String>,
    price_cents: Option<i64>,
    stock: i64,
    tags: Vec<String>,
}

fn show(shop: &Shop, key: &str) -> Option<Shown> {
    let product = shop.get(key)?;
    let mut tags: Vec<String> = product.tags.iter().cloned().collect();
    tags.sort_unstable();
    Some(Shown {
        title: product.fullest_title().cloned(),
        last_title: product.title.latest().cloned(),
        price_cents: product.price_cents.latest().copied(),
        stock: product.stock.value(),
        tags,
    })
}

fn print(when: &str, eu: &Replica<Shop>, us: &Replica<Shop>) {
    println!("{when}");
    for (name, replica) in [("eu", eu), ("us", us)] {
        match show(replica.state(), KEY) {
            Some(Shown { title, last_title, price_cents, stock, tags }) => {
                println!("  {name}  title        {:?}", title.unwrap_or_default());
                println!("      written last {:?}", last_title.unwrap_or_default());
                println!("      price        {} cents", price_cents.unwrap_or_default());
                println!("      stock        {stock}");
                println!("      tags         {}", tags.join(", "));
            }
            None => println!("  {name}  no such product"),
        }
    }
}

const KEY: &str = "KET-17";

/// Sends one replica what it lacks of another.
fn send(from: &Replica<Shop>, to: &mut Replica<Shop>, now_ms: u64) -> Result<(), Box<dyn Error>> {
    let bytes = from.delta_since(&to.vector()).encode()?;
    to.merge(now_ms, to.decode(&bytes)?)?;
    Ok(())
}

fn run() -> Result<bool, Box<dyn Error>> {
    let now_ms = 1_700_000_000_000;
    let mut eu: Replica<Shop> = Replica::new(ReplicaId::from_u128(0xe0), Config::default());
    let mut us: Replica<Shop> = Replica::new(ReplicaId::from_u128(0x05), Config::default());

    eu.transact(now_ms, |shop| {
        shop.update(KEY, |kettle| {
            kettle.title().set("Kettle");
            kettle.price_cents().set(2_900);
            kettle.tags().add("new");
            kettle.stock().add(20)
        })
    })?;
    send(&eu, &mut us, now_ms + 50)?;

    // Neither sees what the other does.
    eu.transact(now_ms + 100, |shop| {
        shop.update(KEY, |kettle| {
            kettle.title().set("Kettle, 1.7 litres, stainless steel");
            kettle.tags().add("kitchen");
            kettle.tags().remove("new");
            kettle.stock().add(-3)
        })
    })?;
    us.transact(now_ms + 101, |shop| {
        shop.update(KEY, |kettle| {
            kettle.title().set("Steel kettle");
            kettle.price_cents().set(3_200);
            kettle.tags().add("new");
            kettle.stock().add(-5)
        })
    })?;
    print("apart:", &eu, &us);

    send(&eu, &mut us, now_ms + 200)?;
    send(&us, &mut eu, now_ms + 200)?;
    print("together:", &eu, &us);

    let is_same = show(eu.state(), KEY) == show(us.state(), KEY) && eu.digest() == us.digest();
    println!("{}", if is_same { "both hold the same" } else { "THEY DIFFER" });
    Ok(is_same)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
