//! What the job says in the end.

use crate::job::Done;
use crate::link::CUT;
use crate::measure::{Kept, Lag, Logs, Phase, Traffic, percentile, sorted, staleness_us};
use crate::model::{Difference, differences};
use crate::region::Outcome;
use crate::regions::{CUT_OFF, Cluster, Index, LINKS, REGIONS, delay_ms, pairs};
use crate::schedule::Plan;
use crate::table::{Table, grouped, millis, seconds, tenth};

/// Columns of the picture of lags.
const PICTURE: usize = 60;
/// Differences that are shown.
const DIFFERENCES: usize = 10;
/// Rows of the table of what was kept.
const ROWS_OF_KEPT: u64 = 10;

/// Prints the report. Returns whether all regions agree.
pub(crate) fn print(plan: &Plan, done: &Done) -> bool {
    let logs = done.outcomes.each_ref().map(|outcome| &outcome.log);
    let logs = Logs::new(logs, done.begins_us, done.agreed_us.unwrap_or(u64::MAX));
    println!(
        "Three regions, {} airports, {} s of {} writes/s in each region, seed {}",
        grouped(plan.records),
        plan.seconds,
        grouped(plan.rate),
        plan.seed
    );
    println!("schedule {:016x} (the same records, seconds, rate and seed give the same)", plan.digest());
    load(done, &logs);
    writes(plan, done);
    shipping(&logs);
    lags(done, &logs);
    kept(plan, done);
    agreement(plan, done)
}

fn heading(text: &str) {
    println!("\n{text}");
}

fn load(done: &Done, logs: &Logs<'_>) {
    let mut all = Traffic::default();
    for (from, to) in pairs() {
        all += logs.traffic(from, to, Phase::Load);
    }
    heading("Load: each airport is written in the region nearest to it");
    for (region, count) in REGIONS.iter().zip(done.loaded) {
        println!("  {}  {:<10} {:>7}", region.name, region.place, grouped(count));
    }
    println!(
        "  shipped: {} kB for {} changes, {} B/change; keys and values alone are {} B/change",
        grouped(all.bytes / 1000),
        grouped(all.news.changes),
        tenth(all.bytes_per_change()),
        tenth(all.value_bytes_per_change()),
    );
    println!("  after {} s all regions held all, digest {}", seconds(done.load_us), done.load_digest);
}

fn writes(plan: &Plan, done: &Done) {
    heading("Writes: how long the call of each took, and how late it began because its region was busy");
    let heads = [
        ["", ""],
        ["planned", "writes"],
        ["made", "writes"],
        ["removed", "airports"],
        ["re-created", "airports"],
        ["call p50", "us"],
        ["call p99", "us"],
        ["call max", "us"],
        ["late p50", "ms"],
        ["late p99", "ms"],
        ["late max", "ms"],
        ["concurrent", "cells"],
    ];
    let mut table = Table::new(1, heads);
    for (region, outcome) in REGIONS.iter().zip(&done.outcomes) {
        let log = &outcome.log;
        let (calls, late) = (sorted(log.write_ns.iter().copied()), sorted(log.late_us.iter().copied()));
        let call = |hundredths| tenth(Some(percentile(&calls, hundredths) as f64 / 1e3));
        let late = |hundredths| millis(percentile(&late, hundredths));
        table.row([
            region.name.to_owned(),
            grouped(plan.seconds * plan.rate),
            grouped(log.write_ns.len() - log.without_effect),
            grouped(log.deleted),
            grouped(log.created_again),
            call(50),
            call(99),
            call(100),
            late(50),
            late(99),
            late(100),
            grouped(log.conflicts),
        ]);
    }
    table.print();
    note("planned and not made: removals of what another region had removed before.");
    note("concurrent: cells that a merge left with values of regions that had not seen each other's.");
}

fn shipping(logs: &Logs<'_>) {
    let heads = [
        ["", ""],
        ["frames", "count"],
        ["frames", "kB"],
        ["no news", "kB"],
        ["new there", "changes"],
        ["shipped", "B/change"],
        ["key+value", "B/change"],
    ];
    let shipped = |phase| {
        let mut table = Table::new(1, heads);
        for (from, to) in pairs() {
            let traffic = logs.traffic(from, to, phase);
            if traffic.frames > 0 {
                table.row([
                    pair(from, to),
                    grouped(traffic.frames),
                    tenth(Some(traffic.bytes as f64 / 1e3)),
                    tenth(Some(traffic.other_bytes as f64 / 1e3)),
                    grouped(traffic.news.changes),
                    tenth(traffic.bytes_per_change()),
                    tenth(traffic.value_bytes_per_change()),
                ]);
            }
        }
        table.print();
    };
    heading("Shipped while connected: what changed within 10 ms at a time");
    shipped(Phase::Writing);
    note(
        "no news: frames that brought no change: acknowledgements, heartbeats, what came another way before.",
    );
    note(
        "shipped: the bytes of all frames. key+value: the key and the value that was written, as MessagePack, and",
    );
    note("nothing else.");

    heading(
        "Shipped after the cut, up to the first that was new: all that the other had missed, less what was overwritten",
    );
    shipped(Phase::CatchUp);
    note("what two regions hold is sent by both; it is new from the one from which it comes first.");
}

fn pair(from: Index, to: Index) -> String {
    format!("{} to {}", REGIONS[from].name, REGIONS[to].name)
}

fn note(text: &str) {
    println!("    {text}");
}

fn lags(done: &Done, logs: &Logs<'_>) {
    heading("Replication lag: from each write to the merge that brought it to another region");
    let mut table = Table::new(
        1,
        [
            ["", ""],
            ["distance", "ms"],
            ["connected", "writes"],
            ["lag p50", "ms"],
            ["lag p99", "ms"],
            ["lag max", "ms"],
            ["by the cut", "writes"],
            ["peak", "ms"],
        ],
    );
    let all: Vec<(Index, Index, Vec<Lag>)> =
        pairs().map(|(from, to)| (from, to, logs.lags(from, to))).collect();
    for (from, to, lags) in &all {
        let of = |is_catch_up| {
            let lags = lags.iter().filter(|lag| lag.is_catch_up == is_catch_up);
            sorted(lags.map(|lag| lag.lag_us))
        };
        let (connected, cut) = (of(false), of(true));
        let peak = cut.last().map_or("-".to_owned(), |peak| millis(*peak));
        table.row([
            pair(*from, *to),
            delay_ms(*from, *to).to_string(),
            grouped(connected.len()),
            millis(percentile(&connected, 50)),
            millis(percentile(&connected, 99)),
            millis(percentile(&connected, 100)),
            grouped(cut.len()),
            peak,
        ]);
    }
    table.print();
    note("by the cut: held up by it, and brought by the first that came after it.");
    picture(done, &all);
}

fn picture(done: &Done, all: &[(Index, Index, Vec<Lag>)]) {
    let (start_us, end_us) = (done.begins_us, done.agreed_us.unwrap_or(0).max(done.last_write_us));
    let column_us = (end_us - start_us).div_ceil(PICTURE as u64).max(1);
    let at = |column: usize| start_us + (column as u64 + 1) * column_us;
    let ages: Vec<Vec<u64>> = all
        .iter()
        .map(|(_, _, lags)| (0..PICTURE).map(|column| staleness_us(lags, at(column))).collect())
        .collect();
    let most = ages.iter().flatten().copied().max().unwrap_or(0).max(1);
    println!(
        "\n  age of the oldest write under way; a column is {:.2} s, a full block {} s",
        column_us as f64 / 1e6,
        seconds(most)
    );
    let name = REGIONS[CUT_OFF].name;
    let ruler = (0..PICTURE).map(|column| match at(column) {
        at if at > done.cut_us && at <= done.healed_us => '-',
        _ => ' ',
    });
    println!("            {}  {name} cut off", ruler.collect::<String>().trim_end());
    for ((from, to, _), ages) in all.iter().zip(ages) {
        let blocks = ages.iter().map(|age| {
            const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
            BLOCKS[(age * 8).div_ceil(most).min(8) as usize]
        });
        let blocks: String = blocks.collect();
        println!("  {}  {}", pair(*from, *to), blocks.trim_end());
    }
}

fn kept(plan: &Plan, done: &Done) {
    heading(
        "Kept of what was removed, until all regions were known to have seen it, and who was furthest from that",
    );
    let mut heads = vec![["at".to_owned(), "s".to_owned()]];
    for region in &REGIONS {
        heads.push([region.name.to_owned(), "rows".to_owned()]);
        heads.push([String::new(), "behind, s".to_owned()]);
    }
    let mut table = Table::of(0, heads);
    let step = plan.seconds.div_ceil(ROWS_OF_KEPT) as usize;
    // All regions count at whole seconds after writing began, or a moment later.
    let second_us = |second: usize| done.begins_us + second as u64 * 1_000_000;
    for second in (step..=plan.seconds as usize).step_by(step) {
        let mut cells = vec![second.to_string()];
        for outcome in &done.outcomes {
            let time = outcome.log.kept.iter().find(|time| time.at_us >= second_us(second));
            cells.extend(kept_cells(time));
        }
        table.row(cells);
    }
    let mut cells = vec!["after".to_owned()];
    cells.extend(done.outcomes.iter().flat_map(|outcome| kept_cells(outcome.log.kept.last())));
    table.row(cells);
    table.print();
    let left = REGIONS.iter().zip(&done.outcomes).map(|(region, outcome)| {
        format!("{} {} + {}", region.name, grouped(outcome.left.rows), grouped(outcome.left.marks))
    });
    note(&format!("rows + marks that are left: {}", left.collect::<Vec<_>>().join(", ")));
    if !done.is_all_forgotten {
        note("not all that was held was known to be seen by all when the job ended");
    }
}

fn kept_cells(time: Option<&Kept>) -> [String; 2] {
    let Some(Kept { rows, furthest, .. }) = time else {
        return ["-".to_owned(), "-".to_owned()];
    };
    let behind = furthest
        .map_or("-".to_owned(), |(region, ms)| format!("{} {:.1}", REGIONS[region].name, ms as f64 / 1e3));
    [grouped(*rows), behind]
}

/// Prints whether all regions agree, and what they do not agree on.
fn agreement(plan: &Plan, done: &Done) -> bool {
    heading("Agreement");
    for (region, outcome) in REGIONS.iter().zip(&done.outcomes) {
        println!(
            "  {}  digest {}  {} airports, {} canonical bytes",
            region.name,
            outcome.digest,
            grouped(outcome.snapshot.len()),
            grouped(outcome.canonical_bytes.len()),
        );
    }
    let is_same_events = match done.agreed_us {
        Some(agreed_us) => {
            println!(
                "  {} ms from the last write until all held the same events; the longest link takes {} ms",
                millis(agreed_us.saturating_sub(done.last_write_us)),
                LINKS.iter().map(|(_, _, delay)| delay).max().unwrap_or(&0),
            );
            true
        }
        None => {
            println!("  when time was up, not all regions held the same events:");
            lacking(plan, done);
            false
        }
    };
    for (region, outcome) in REGIONS.iter().zip(&done.outcomes) {
        // That the links of who is cut off break is what the job is about.
        let unexpected = outcome.log.downs.iter().filter(|reason| *reason != CUT);
        unexpected.for_each(|reason| println!("  a link of {} broke: {reason}", region.name));
    }
    let is_one_cluster = members(done);
    let is_copied = done.outcomes.iter().all(|outcome| outcome.copy_digest == outcome.digest);
    match is_copied {
        true => println!("  a new replica that is sent all holds the same"),
        false => println!("  NOT THE SAME is what a new replica holds that is sent all"),
    }
    let [first, others @ ..] = &done.outcomes;
    let is_same =
        |other: &Outcome| first.digest == other.digest && first.canonical_bytes == other.canonical_bytes;
    let is_agreed = is_same_events && others.iter().all(is_same);
    match is_agreed {
        true => println!("  converged: all regions hold the same, to the byte"),
        false => disagreement(done),
    }
    is_agreed && is_copied && is_one_cluster
}

/// Prints who the members are. Returns whether all regions say the same.
fn members(done: &Done) -> bool {
    let memberships = done.outcomes.each_ref().map(|outcome| (&outcome.members, outcome.epoch));
    let is_same = memberships.windows(2).all(|two| two[0] == two[1]);
    let shown: &[_] = if is_same { &memberships[..1] } else { &memberships };
    for (members, epoch) in shown {
        let names: Vec<&str> = members.iter().map(|member| member.region.as_str()).collect();
        println!("  members of epoch {}: {}", epoch.number, names.join(", "));
    }
    if !is_same {
        println!("  NOT THE SAME are the members in all regions");
    }
    is_same
}

/// Prints which region lacks how much of another's writes.
fn lacking(plan: &Plan, done: &Done) {
    let ids = Cluster::of(plan.seed).ids;
    let vectors = done.outcomes.each_ref().map(|outcome| outcome.snapshot.vector());
    for (author, region) in pairs() {
        let stamp = |holder: Index| vectors[holder].get(&ids[author]);
        if stamp(region) < stamp(author) {
            let lacks_ms = stamp(author).millis() - stamp(region).millis();
            println!(
                "    {} lacks the last {:.3} s of what {} wrote",
                REGIONS[region].name,
                lacks_ms as f64 / 1e3,
                REGIONS[author].name
            );
        }
    }
}

/// Prints which fields of which airports differ.
fn disagreement(done: &Done) {
    println!("  NOT CONVERGED");
    let snapshots = done.outcomes.each_ref().map(|outcome| outcome.snapshot.clone());
    let (count, found) = differences(&snapshots, DIFFERENCES);
    match count {
        0 => println!("  all fields read the same; additions to counters or sets differ in their stamps"),
        _ => println!(
            "  {} fields differ; the first of them, each value with the stamp of its write:",
            grouped(count)
        ),
    }
    for Difference { key, field, readings } in found {
        println!("  {key} {field}");
        for (region, reading) in REGIONS.iter().zip(readings) {
            println!("    {}  {reading}", region.name);
        }
    }
}
