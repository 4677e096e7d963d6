//! The job from start to end: load, write, cut, heal, wait until all agree.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use driftless::Digest;

use crate::airports::Source;
use crate::board::{Board, Status};
use crate::clock::Clock;
use crate::link::Link;
use crate::mail::Mail;
use crate::progress::Progress;
use crate::random::Random;
use crate::region::{Fault, Outcome, Region, Setup};
use crate::regions::{COUNT, CUT_OFF, Cluster, LINKS, REGIONS, nearest};
use crate::schedule::Plan;
use crate::table::{grouped, seconds};

/// How long the regions may take to come to hold the same: after the load, and after the last write.
const LOAD_LIMIT_US: u64 = 60_000_000;
const LIMIT_US: u64 = 30_000_000;
/// How long they may take after that to forget what all have seen. Nothing depends on it but the report.
const FORGET_LIMIT_US: u64 = 5_000_000;
/// How often the conductor looks at how far they are. Times are taken by the regions themselves.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What came of a job. Times are in microseconds since it began.
pub(crate) struct Done {
    pub(crate) outcomes: [Outcome; COUNT],
    /// How many records each region loaded, and the time from the first of it until all held all.
    pub(crate) loaded: [usize; COUNT],
    pub(crate) load_us: u64,
    pub(crate) load_digest: Digest,
    pub(crate) begins_us: u64,
    pub(crate) cut_us: u64,
    pub(crate) healed_us: u64,
    /// The time of the last write.
    pub(crate) last_write_us: u64,
    /// When the version vectors of all regions became equal; `None` if they did not in time.
    pub(crate) agreed_us: Option<u64>,
    pub(crate) is_all_forgotten: bool,
}

struct Conductor {
    clock: Clock,
    board: Arc<Board>,
    mail: [Sender<Mail>; COUNT],
    threads: Vec<JoinHandle<Result<Outcome, Fault>>>,
    links: Vec<Link>,
    progress: Progress,
}

/// Runs the job.
pub(crate) fn run(plan: &Plan, sources: Vec<Source>) -> Result<Done, Fault> {
    let mut own_sources: [Vec<usize>; COUNT] = Default::default();
    for (record, source) in sources.iter().enumerate() {
        own_sources[nearest(source.lat, source.lon)].push(record);
    }
    let loaded = own_sources.each_ref().map(Vec::len);
    let records = sources.len();
    let mut conductor = Conductor::start(plan, sources, own_sources)?;

    let load_began_us = conductor.clock.micros();
    conductor.tell(|| Mail::Load)?;
    let held = conductor.wait(LOAD_LIMIT_US, |status, progress| {
        let held = status.iter().map(|status| status.records).min().unwrap_or(0);
        let of = format!("{} of {} records in all regions", grouped(held), grouped(records));
        progress.bar("loading", held as u64, records as u64, &of);
        held == records && is_equal(status)
    })?;
    let Some(held) = held else {
        let held = conductor.board.read().map(|status| status.records);
        return Err(format!(
            "not all regions came to hold all {records} airports in time, but {held:?} of them"
        )
        .into());
    };
    let load_us = changed_us(&held) - load_began_us;
    let digests = conductor.digests()?;
    if digests.windows(2).any(|two| two[0] != two[1]) {
        return Err(format!("the regions disagree on the airports they loaded: {digests:?}").into());
    }
    conductor.progress.line(&format!("loaded: all regions hold all airports after {} s", seconds(load_us)));

    // A moment ahead, so that all begin at once.
    let begins_us = conductor.clock.micros() + 50_000;
    let second_us = 1_000_000;
    let (cut_us, heal_us) =
        (begins_us + plan.seconds * second_us / 3, begins_us + plan.seconds * second_us * 2 / 3);
    conductor.progress.line(&format!(
        "writing for {} s: {} writes/s in each region",
        plan.seconds,
        grouped(plan.rate)
    ));
    conductor.tell(|| Mail::Write(begins_us))?;
    let cut_off = REGIONS[CUT_OFF].name;
    conductor.writing_until(cut_us, begins_us, plan, "")?;
    conductor.links.iter_mut().filter(|link| link.touches(CUT_OFF)).for_each(Link::cut);
    let cut_us = conductor.clock.micros();
    conductor.progress.line(&format!("{cut_off} is cut off and goes on writing"));
    conductor.writing_until(heal_us, begins_us, plan, &format!(", {cut_off} cut off"))?;
    conductor.links.iter_mut().filter(|link| link.touches(CUT_OFF)).try_for_each(Link::open)?;
    let healed_us = conductor.clock.micros();
    conductor.progress.line(&format!("{cut_off} is back"));
    conductor.writing_until(begins_us + plan.seconds * second_us, begins_us, plan, "")?;

    // A region that the machine kept from writing in time has some left to do, however long that takes.
    let written = conductor.wait(u64::MAX, |status, progress| {
        progress.bar("writing", 1, 1, "the last writes are late");
        status.iter().all(|status| status.is_written)
    })?;
    let agreed = conductor.wait(LIMIT_US, |status, progress| {
        progress.bar("waiting", 0, 1, "for all regions to hold the same");
        is_equal(status)
    })?;
    let agreed_us = agreed.as_ref().map(changed_us);
    match agreed_us {
        Some(_) => conductor.progress.line("all regions hold the same events"),
        None => conductor.progress.line("the regions do not hold the same events, and time is up"),
    }
    let limit_us = if agreed_us.is_some() && written.is_some() { FORGET_LIMIT_US } else { 0 };
    let forgotten =
        conductor.wait(limit_us, |status, _| status.iter().all(|status| status.is_all_forgotten))?;
    let outcomes = conductor.finish()?;
    let last_writes = outcomes.iter().filter_map(|outcome| outcome.log.transactions.last());
    let last_write_us = last_writes.map(|transaction| transaction.at_us).max().unwrap_or(0);
    Ok(Done {
        outcomes,
        loaded,
        load_us,
        load_digest: digests[0],
        begins_us,
        cut_us,
        healed_us,
        last_write_us,
        agreed_us,
        is_all_forgotten: forgotten.is_some(),
    })
}

fn is_equal(status: &[Status; COUNT]) -> bool {
    status.windows(2).all(|two| two[0].vector == two[1].vector)
}

/// When the last of the vectors became what it is.
fn changed_us(status: &[Status; COUNT]) -> u64 {
    status.iter().map(|status| status.changed_us).max().unwrap_or(0)
}

impl Conductor {
    /// Starts the regions, connects them, and waits until they have come to know each other.
    fn start(plan: &Plan, sources: Vec<Source>, own_sources: [Vec<usize>; COUNT]) -> Result<Self, Fault> {
        let (clock, board, sources) = (Clock::start(), Arc::new(Board::default()), Arc::new(sources));
        let cluster = Cluster::of(plan.seed);
        let channels: [(Sender<Mail>, Receiver<Mail>); COUNT] = std::array::from_fn(|_| channel());
        let mail = channels.each_ref().map(|(sender, _)| sender.clone());
        let mut threads = Vec::new();
        for (index, ((_, inbox), own_sources)) in channels.into_iter().zip(own_sources).enumerate() {
            let setup = Setup {
                index,
                cluster: cluster.clone(),
                clock,
                random: Random::new(plan.seed, 0x2a00 + index as u64),
                sources: Arc::clone(&sources),
                own_sources,
                plan: plan.of(index),
                board: Arc::clone(&board),
            };
            let thread = thread::Builder::new().name(REGIONS[index].name.to_owned());
            threads.push(thread.spawn(move || Region::new(setup)?.run(&inbox))?);
        }
        let mut links = Vec::new();
        for place in 0..LINKS.len() {
            let mut link = Link::new(place, &mail, clock)?;
            link.open()?;
            links.push(link);
        }
        let mut conductor = Self { clock, board, mail, threads, links, progress: Progress::new() };
        let is_met = |status: &Status| status.open == COUNT - 1 && status.members == COUNT;
        let met = conductor.wait(LIMIT_US, |status, _| status.iter().all(is_met))?;
        met.ok_or("the regions did not come to know each other in time")?;
        Ok(conductor)
    }

    fn tell(&mut self, mail: impl Fn() -> Mail) -> Result<(), Fault> {
        let told = self.mail.iter().all(|region| region.send(mail()).is_ok());
        if told { Ok(()) } else { Err(self.fault()) }
    }

    /// Looks at the regions until they are as asked for; `None` if they are not in time.
    fn wait(
        &mut self,
        limit_us: u64,
        is_so: impl Fn(&[Status; COUNT], &mut Progress) -> bool,
    ) -> Result<Option<[Status; COUNT]>, Fault> {
        let until_us = self.clock.micros().saturating_add(limit_us);
        loop {
            let status = self.board.read();
            if is_so(&status, &mut self.progress) {
                return Ok(Some(status));
            }
            if self.clock.micros() > until_us {
                return Ok(None);
            }
            if self.threads.iter().any(JoinHandle::is_finished) {
                return Err(self.fault());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets the regions write until a time.
    fn writing_until(&mut self, until_us: u64, begins_us: u64, plan: &Plan, note: &str) -> Result<(), Fault> {
        let clock = self.clock;
        let all_us = plan.seconds * 1_000_000;
        self.wait(until_us.saturating_sub(clock.micros()), |_, progress| {
            let done_us = clock.micros().saturating_sub(begins_us).min(all_us);
            let of = format!("{:.1} of {} s{note}", done_us as f64 / 1e6, plan.seconds);
            progress.bar("writing", done_us, all_us, &of);
            clock.micros() >= until_us
        })?;
        Ok(())
    }

    fn digests(&self) -> Result<[Digest; COUNT], Fault> {
        let mut digests = [Digest::from_bits(0); COUNT];
        for (digest, mail) in digests.iter_mut().zip(&self.mail) {
            let (sender, answer) = channel();
            mail.send(Mail::Digest(sender)).map_err(|_| "a region has ended")?;
            *digest = answer.recv().map_err(|_| "a region has ended")?;
        }
        Ok(digests)
    }

    /// Why a region ended before its time.
    fn fault(&mut self) -> Fault {
        let place = self.threads.iter().position(JoinHandle::is_finished);
        let ended = place.map(|place| self.threads.remove(place));
        let Some(thread) = ended else {
            return "a region has ended".into();
        };
        let name = thread.thread().name().unwrap_or("a region").to_owned();
        match thread.join() {
            Ok(Ok(_)) => format!("{name} ended before its time").into(),
            Ok(Err(error)) => format!("{name}: {error}").into(),
            Err(_) => format!("{name} panicked").into(),
        }
    }

    fn finish(&mut self) -> Result<[Outcome; COUNT], Fault> {
        self.tell(|| Mail::Finish)?;
        let mut outcomes = Vec::new();
        for thread in self.threads.drain(..) {
            outcomes.push(thread.join().map_err(|_| "a region panicked")??);
        }
        outcomes.try_into().map_err(|_| "a region is missing".into())
    }
}
