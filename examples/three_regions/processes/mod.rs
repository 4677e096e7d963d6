//! The same three regions as processes, each with a store of its own, joined by TLS: all are written, one is killed in the
//! middle of it and started again, and in the end all hold what any of them reported durable.
//!
//! A region's process is the example `region` of `driftless-node`. It is asked over HTTP, as an application would: this
//! program has no part in replication, and keeps its own account of what was written.

mod ask;
mod folder;
mod ledger;
mod program;
mod report;
mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::measure::sorted;
use crate::processes::ask::{Answer, ask};
use crate::processes::folder::{DOMAIN, Folder};
use crate::processes::ledger::{Findings, Held, Ledger, NOTES, check};
use crate::processes::program::{Process, Programs};
use crate::processes::users::{Desk, Writer, probe, wait_for};
use crate::progress::Progress;
use crate::random::Random;
use crate::region::Fault;
use crate::regions::{COUNT, CUT_OFF, Cluster, Index, REGIONS, pairs};
use crate::table::grouped;

/// Users who write at once in each region.
const WRITERS: usize = 4;
/// How long the regions may take to come to hold the same, and the one that was killed to catch up.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    /// The writes per second in each region, at most.
    pub(crate) rate: u64,
    /// What the processes are built with; none: what this program was built with.
    pub(crate) profile: Option<String>,
}

/// What came of it. Times are since writing began.
struct Done {
    ledgers: Vec<Ledger>,
    /// From the acknowledgement in another region until it was read in this one, in microseconds; in order.
    lags_us: [Vec<u64>; COUNT],
    killed: Duration,
    started: Duration,
    back: Duration,
    caught_up: Option<Duration>,
    /// From the last write until each region held all; none if that was not in time.
    settled: [Option<Duration>; COUNT],
    digests: [String; COUNT],
    findings: [Findings; COUNT],
    /// What should not have happened besides.
    faults: Vec<String>,
}

/// Runs it, and prints the report. Returns whether all is as it should be.
pub(crate) fn run(plan: &Plan) -> Result<bool, Fault> {
    let mut progress = Progress::new();
    progress.line("building the regions");
    let programs = Programs::build(plan.profile.as_deref())?;
    let mut folder = Folder::new(&Cluster::of(plan.seed).id)?;
    let done = Run::start(programs, &folder, progress).and_then(|run| run.finish(plan));
    let is_good = done.as_ref().is_ok_and(|done| report::print(plan, done));
    if !is_good {
        folder.keep();
        eprintln!("the stores, and what the regions said, are in {}", folder.path().display());
    }
    done.map(|_| is_good)
}

/// The processes, and who uses them. All of it ends with this.
struct Run<'a> {
    programs: Programs,
    folder: &'a Folder,
    progress: Progress,
    processes: [Option<Process>; COUNT],
    desks: [Arc<Desk>; COUNT],
    faults: Vec<String>,
}

type Probes = Vec<(Index, JoinHandle<Vec<Duration>>)>;

impl<'a> Run<'a> {
    fn start(programs: Programs, folder: &'a Folder, progress: Progress) -> Result<Self, Fault> {
        programs.make_certificates(folder)?;
        let mut run = Self {
            programs,
            folder,
            progress,
            processes: Default::default(),
            desks: Default::default(),
            faults: Vec::new(),
        };
        for region in 0..COUNT {
            run.open(region)?;
        }
        Ok(run)
    }

    fn finish(mut self, plan: &Plan) -> Result<Done, Fault> {
        let second = Duration::from_secs(1);
        let all = Duration::from_secs(plan.seconds);
        self.progress.line(&format!(
            "writing for {} s: up to {} writes/s in each region",
            plan.seconds,
            grouped(plan.rate)
        ));
        let begin = Instant::now();
        let is_over = Arc::new(AtomicBool::new(false));
        let writers = self.write(plan, begin + all);
        let probes = self.probe(&is_over);
        let name = REGIONS[CUT_OFF].name;

        self.writing_until(begin, all / 3, all)?;
        let killed = self.kill(CUT_OFF, begin)?;
        self.progress.line(&format!("{name} is killed, and the others go on writing"));
        self.writing_until(begin, all / 2, all)?;
        let started = begin.elapsed();
        self.open(CUT_OFF)?;
        let back = begin.elapsed();
        self.progress.line(&format!("{name} is back"));
        let caught_up = self.catch_up(CUT_OFF)?.then(|| begin.elapsed());
        if caught_up.is_some() {
            self.progress.line(&format!("{name} has what the others wrote"));
        }
        self.writing_until(begin, all, all)?;

        let mut ledgers = Vec::new();
        for writer in writers {
            ledgers.push(writer.join().map_err(|_| "a writer panicked")?);
        }
        let (last, until) = (Instant::now(), Instant::now() + LIMIT);
        let mut settled = [None; COUNT];
        for (region, settled) in settled.iter_mut().enumerate() {
            *settled = self.settle(region, until)?.then(|| last.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        let mut lags: [Vec<Duration>; COUNT] = Default::default();
        for (to, probe) in probes {
            lags[to].extend(probe.join().map_err(|_| "a probe panicked")?);
        }
        let lags_us = lags.map(|lags| sorted(lags.iter().map(|lag| lag.as_micros() as u64)));
        let digests = self.digests(until.max(Instant::now() + second))?;
        let mut findings: [Findings; COUNT] = Default::default();
        for (region, findings) in findings.iter_mut().enumerate() {
            *findings = check(&ledgers, &self.held(region, &ledgers)?);
        }
        self.look_for_faults(&ledgers);
        self.stop();
        let faults = self.faults;
        Ok(Done { ledgers, lags_us, killed, started, back, caught_up, settled, digests, findings, faults })
    }

    /// Starts a region.
    fn open(&mut self, region: Index) -> Result<(), Fault> {
        let Self { programs, folder, .. } = &self;
        let process = Process::start(programs, folder, REGIONS[region].name)?;
        self.progress.line(&format!(
            "{} runs as process {}, at http://{}/",
            REGIONS[region].name,
            process.id(),
            process.address
        ));
        self.desks[region].set_address(Some(process.address));
        self.processes[region] = Some(process);
        Ok(())
    }

    /// Kills a region while a write is under way, and returns when that was.
    fn kill(&mut self, region: Index, begin: Instant) -> Result<Duration, Fault> {
        let desk = &self.desks[region];
        let process = self.processes[region].take().ok_or("it is down already")?;
        // A write is under way nearly always: this waits for the next one.
        let patience = Instant::now() + LIMIT;
        while !desk.is_busy() && Instant::now() < patience {
            thread::yield_now();
        }
        process.kill()?;
        let killed = begin.elapsed();
        desk.set_address(None);
        Ok(killed)
    }

    fn write(&self, plan: &Plan, until: Instant) -> Vec<JoinHandle<Ledger>> {
        let period = Duration::from_secs(1) * WRITERS as u32 / plan.rate.max(1) as u32;
        let all = (0..COUNT).flat_map(|region| (0..WRITERS).map(move |place| (region, place)));
        let spawned = all.map(|(region, place)| {
            let writer = Writer {
                name: format!("{}-{place}", REGIONS[region].name),
                random: Random::new(plan.seed, (region * WRITERS + place) as u64),
                period,
            };
            let desk = Arc::clone(&self.desks[region]);
            thread::spawn(move || writer.run(&desk, until))
        });
        spawned.collect()
    }

    fn probe(&self, is_over: &Arc<AtomicBool>) -> Probes {
        let spawned = pairs().map(|(from, to)| {
            let [from, desk] = [from, to].map(|region| Arc::clone(&self.desks[region]));
            let is_over = Arc::clone(is_over);
            (to, thread::spawn(move || probe(&from, &desk, &is_over)))
        });
        spawned.collect()
    }

    /// Waits while all write.
    fn writing_until(&mut self, begin: Instant, until: Duration, all: Duration) -> Result<(), Fault> {
        while begin.elapsed() < until {
            self.look_at_processes()?;
            let written = self.desks.iter().zip(&REGIONS).map(|(desk, region)| match desk.address() {
                Some(_) => format!("{} {}", region.name, grouped(desk.acknowledged())),
                None => format!("{} down", region.name),
            });
            let written: Vec<String> = written.collect();
            let done = begin.elapsed().min(all).as_millis() as u64;
            self.progress.bar("writing", done, all.as_millis() as u64, &written.join(", "));
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// None may end by itself.
    fn look_at_processes(&mut self) -> Result<(), Fault> {
        for (process, region) in self.processes.iter_mut().zip(&REGIONS) {
            if process.as_mut().is_some_and(Process::is_ended) {
                let tail = self.folder.tail(region.name);
                return Err(format!("{} ended by itself; it said\n{tail}", region.name).into());
            }
        }
        Ok(())
    }

    fn address(&self, region: Index) -> Result<SocketAddr, Fault> {
        self.desks[region].address().ok_or_else(|| format!("{} is down", REGIONS[region].name).into())
    }

    /// Waits until a region holds what the others have acknowledged by now. Returns whether it does, in time.
    fn catch_up(&self, region: Index) -> Result<bool, Fault> {
        let mut session = driftless::Token::default();
        let others = self.desks.iter().enumerate().filter(|(other, _)| *other != region);
        others.for_each(|(_, desk)| session.join(&desk.session()));
        wait_for(self.address(region)?, &session, Instant::now() + LIMIT)
    }

    /// Waits until a region holds all that any has acknowledged.
    fn settle(&mut self, region: Index, until: Instant) -> Result<bool, Fault> {
        self.progress.line(&format!("waiting for {} to hold all", REGIONS[region].name));
        let mut session = driftless::Token::default();
        self.desks.iter().for_each(|desk| session.join(&desk.session()));
        wait_for(self.address(region)?, &session, until)
    }

    /// The digests of what the regions hold, once they are the same, or when it is time. Writes that were not acknowledged may
    /// still be on their way.
    fn digests(&self, until: Instant) -> Result<[String; COUNT], Fault> {
        loop {
            let mut digests: [String; COUNT] = Default::default();
            for (region, digest) in digests.iter_mut().enumerate() {
                *digest = self.get(region, &format!("/digests/{DOMAIN}"))?.unwrap_or_default();
            }
            if digests.windows(2).all(|two| two[0] == two[1]) || Instant::now() > until {
                return Ok(digests);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What a region holds.
    fn held(&self, region: Index, ledgers: &[Ledger]) -> Result<Held, Fault> {
        let mut held = Held::default();
        for note in 0..NOTES {
            let path = format!("/domains/{DOMAIN}/{}", Ledger::note(note));
            let tags = self.get(region, &format!("{path}/tags"))?.unwrap_or_default();
            let count = self.get(region, &format!("{path}/count"))?.unwrap_or_else(|| "0".to_owned());
            held.notes.push((tags.lines().map(str::to_owned).collect(), count.parse()?));
        }
        let mut texts = BTreeMap::new();
        for Ledger { writer, .. } in ledgers {
            let text = self.get(region, &format!("/domains/{DOMAIN}/{writer}"))?;
            texts.extend(text.map(|text| (writer.clone(), text)));
        }
        held.texts = texts;
        Ok(held)
    }

    /// What is read at a path; none if there is nothing.
    fn get(&self, region: Index, path: &str) -> Result<Option<String>, Fault> {
        let name = REGIONS[region].name;
        match ask(self.address(region)?, "GET", path, "") {
            Ok(Answer { status: 200, body }) => Ok(Some(body.trim_end().to_owned())),
            Ok(Answer { status: 404, .. }) => Ok(None),
            Ok(Answer { status, body }) => Err(format!("{name}, {path}: {status} {}", body.trim()).into()),
            Err(error) => Err(format!("{name}, {path}: {error:?}").into()),
        }
    }

    /// A region that was not killed answers each write, and none refuses one.
    fn look_for_faults(&mut self, ledgers: &[Ledger]) {
        for (index, (desk, region)) in self.desks.iter().zip(&REGIONS).enumerate() {
            let refusals = desk.refusals();
            self.faults.extend(refusals.first().map(|first| {
                format!("{} refused {} writes, the first: {first}", region.name, refusals.len())
            }));
            let own = ledgers.iter().filter(|ledger| ledger.writer.starts_with(region.name));
            let unanswered: usize = own.map(|ledger| ledger.writes.len() - ledger.acknowledged()).sum();
            if index != CUT_OFF && unanswered > 0 {
                self.faults.push(format!("{} left {unanswered} writes without an answer", region.name));
            }
        }
    }

    /// Stops all, as they are stopped in service.
    fn stop(&mut self) {
        for (process, region) in self.processes.iter_mut().zip(&REGIONS) {
            if process.take().is_some_and(|process| !process.stop()) {
                let tail = self.folder.tail(region.name);
                self.faults.push(format!("{} did not stop as it should; it said\n{tail}", region.name));
            }
        }
    }
}
