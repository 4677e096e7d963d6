//! What is said in the end.

use std::time::Duration;

use crate::measure::percentile;
use crate::processes::ledger::{Change, Ledger};
use crate::processes::{Done, Plan};
use crate::regions::{CUT_OFF, REGIONS};
use crate::table::{Table, grouped, millis, seconds};

/// Of what is wrong so many are shown.
const SHOWN: usize = 10;

/// Prints the report. Returns whether all is as it should be.
pub(crate) fn print(plan: &Plan, done: &Done) -> bool {
    println!(
        "Three regions as processes, {} s of up to {} writes/s in each, seed {}\n",
        plan.seconds,
        grouped(plan.rate),
        plan.seed
    );
    table(done);
    println!(
        "  acknowledged: on disk, and answered. killed and started: s after writing began; the next two: s after it was started."
    );
    println!("  lag: from the acknowledgement in another region until it is read in this one.\n");
    let Done { ledgers, findings, faults, digests, settled, .. } = done;
    let of_regions = findings.iter().zip(&REGIONS).flat_map(|(findings, region)| {
        findings.wrong.iter().map(move |wrong| format!("in {}: {wrong}", region.name))
    });
    let wrong: Vec<String> = of_regions.chain(faults.iter().cloned()).collect();
    let all = ledgers.iter().flat_map(|ledger| &ledger.writes);
    let acknowledged = all.filter(|write| write.is_acknowledged);
    let texts = acknowledged.clone().filter(|write| write.change == Change::Text).count();
    let tags = acknowledged.count() - texts;
    let is_same = digests.windows(2).all(|two| two[0] == two[1]) && !digests[0].is_empty();
    let is_settled = settled.iter().all(Option::is_some) && done.caught_up.is_some();
    if wrong.is_empty() {
        println!(
            "  all {} tags that were reported durable are in each region, once, with what was added to counts; \
             so are the last of {} texts",
            grouped(tags),
            grouped(texts)
        );
    }
    if let [first, ..] = &findings[..] {
        println!(
            "  {} writes were under way at the kill and not answered: {} of them are there, whole",
            first.unanswered, first.unanswered_there
        );
    }
    match is_same {
        true => println!("  all regions hold the same: digest {}", digests[0]),
        false => println!("  THE REGIONS DO NOT HOLD THE SAME"),
    }
    if !is_settled {
        println!("  NOT ALL CAME IN TIME");
    }
    if !wrong.is_empty() {
        println!("  {} THINGS ARE WRONG, the first of them:", wrong.len());
        wrong.iter().take(SHOWN).for_each(|wrong| println!("    {wrong}"));
    }
    is_same && is_settled && wrong.is_empty()
}

fn table(done: &Done) {
    let heads = [
        ["", ""],
        ["", ""],
        ["writes", "acknowledged"],
        ["not", "answered"],
        ["killed", "s"],
        ["started", "s"],
        ["back", "s"],
        ["caught up", "s"],
        ["lag p50", "ms"],
        ["lag p99", "ms"],
        ["lag max", "ms"],
        ["held all", "s"],
        ["digest", ""],
    ];
    let mut table = Table::new(2, heads);
    let dash = || "-".to_owned();
    let shown = |time: Duration| seconds(time.as_micros() as u64);
    for (index, region) in REGIONS.iter().enumerate() {
        let own: Vec<&Ledger> =
            done.ledgers.iter().filter(|ledger| ledger.writer.starts_with(region.name)).collect();
        let acknowledged: usize = own.iter().map(|ledger| ledger.acknowledged()).sum();
        let sent: usize = own.iter().map(|ledger| ledger.writes.len()).sum();
        let of_killed = |time: Option<Duration>| match time {
            Some(time) if index == CUT_OFF => shown(time),
            _ => dash(),
        };
        let lag = |hundredths| millis(percentile(&done.lags_us[index], hundredths));
        table.row([
            region.name.to_owned(),
            region.place.to_owned(),
            grouped(acknowledged),
            grouped(sent - acknowledged),
            of_killed(Some(done.killed)),
            of_killed(Some(done.started)),
            of_killed(Some(done.back - done.started)),
            of_killed(done.caught_up.map(|caught_up| caught_up - done.started)),
            lag(50),
            lag(99),
            lag(100),
            done.settled[index].map_or_else(dash, shown),
            done.digests[index].chars().take(8).collect(),
        ]);
    }
    table.print();
}
