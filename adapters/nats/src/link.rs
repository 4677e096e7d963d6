//! A link that is there: frames go both ways until there is a reason to end it. And what comes after: the next one.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use driftless_node::connection::{Connection, DomainName, Grants};
use driftless_node::{Backoff, RegionName};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

use crate::beat::{Beat, Said, farewell};
use crate::config::Timing;
use crate::message::{HEAD_BYTES, Sessions};
use crate::observe::{self, Counted};
use crate::opening::{Opened, Ready, open};
use crate::reason::Reason;
use crate::receiver::Receiver;
use crate::sender::{Sender, Way, Window};
use crate::server::Line;
use crate::settings::InForce;
use crate::shared::{LinkState, Shared, Traffic};
use crate::status::Opening;
use crate::subjects::Subjects;

/// A part of a frame has at least so many bytes where the frame has, whatever the peer says that its server takes.
const LEAST_PART_BYTES: usize = 1024;

/// Keeps a link to a peer, as long as it is listed.
pub(crate) async fn keep_linked(shared: Arc<Shared>, region: RegionName, mut mailbox: mpsc::Receiver<Bytes>) {
    let mut hasher = DefaultHasher::new();
    region.hash(&mut hasher);
    let seed = shared.config.seed ^ hasher.finish();
    let timing = &shared.config.timing;
    let mut backoff = Backoff::new(timing.backoff_least, timing.backoff_most, seed);
    let mut stop = shared.stop.clone();
    loop {
        let opened = tokio::select! {
            biased;
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
            () = shared.sink.closed() => return,
            opened = open(&shared, &region, &mut mailbox, &mut backoff) => opened,
        };
        let began = Instant::now();
        let span = tracing::info_span!("nats_link", peer = region.as_str());
        let reason = run(&shared, &region, &mut mailbox, opened, seed).instrument(span).await;
        shared.with_peer(&region, |state| {
            state.link = None;
            state.opening = Opening { attempts: 0, last: Some(reason.clone()) };
        });
        if reason == Reason::ShuttingDown {
            return;
        }
        if began.elapsed() >= timing.settled {
            backoff.reset();
        }
        let until = Instant::now() + backoff.wait();
        let mut in_force = shared.in_force.subscribe();
        tokio::select! {
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
            () = sleep_until(until) => {}
            () = called(&mut mailbox, timing) => {}
            _ = in_force.changed() => backoff.reset(),
        }
    }
}

/// Waits until the peer calls, but for the least time in any case.
async fn called(mailbox: &mut mpsc::Receiver<Bytes>, timing: &Timing) {
    sleep(timing.backoff_least).await;
    // What it said before is of the session that has ended, or it says it again.
    while mailbox.try_recv().is_ok() {}
    if mailbox.recv().await.is_none() {
        std::future::pending().await
    }
}

/// Hands the link to the node, and serves it until it ends.
async fn run(
    shared: &Shared,
    region: &RegionName,
    mailbox: &mut mpsc::Receiver<Bytes>,
    opened: Opened,
    seed: u64,
) -> Reason {
    let Opened { ours, theirs, ready, in_force, line } = opened;
    let Ready { grants, breaks, jetstream, consumer, .. } = ready;
    let both: Vec<&str> = ours
        .domains
        .iter()
        .filter(|domain| theirs.domains.contains(domain))
        .map(DomainName::as_str)
        .collect();
    observe::linked(region, &both);
    let traffic = Arc::new(Traffic::default());
    shared.with_peer(region, |state| {
        state.link = Some(LinkState { since: SystemTime::now(), traffic: Arc::clone(&traffic) });
        state.opening = Opening::default();
    });

    let config = &shared.config;
    let (to_node, incoming) = mpsc::channel(config.limits.queue_frames);
    let (outgoing, from_node) = mpsc::channel(config.limits.queue_frames);
    let connection = Connection {
        principal: config.is_name_believed.then(|| region.to_string()),
        grants: grants.clone(),
        offered: theirs.domains.clone(),
        incoming,
        outgoing,
    };
    let (close, closing) = watch::channel(None);
    let (stored_there, stored_here) = (watch::Sender::new(theirs.stored), AtomicU64::new(0));
    let message_bytes = usize::try_from(ours.message_bytes.min(theirs.message_bytes)).unwrap_or(usize::MAX);
    let sender = Sender {
        region,
        limits: &config.limits,
        timing: &config.timing,
        way: Way {
            jetstream,
            subject: shared.subjects.frames_to(region).into(),
            inbox: Subjects::new(&config.prefix, config.cluster, region.clone()).inbox(),
        },
        sessions: Sessions { from: ours.ours, to: theirs.ours },
        indexes: indexes(&ours, &theirs),
        most: theirs.frame_bytes,
        part_bytes: message_bytes.saturating_sub(HEAD_BYTES).max(LEAST_PART_BYTES),
        from_node,
        closing,
        stored: &stored_here,
        traffic: &traffic,
        counted: Counted::new("driftless_nats_sent", region),
        window: Window::default(),
        backoff: Sender::backoff(&config.timing, seed),
    };
    let receiver = Receiver {
        region,
        limits: &config.limits,
        timing: &config.timing,
        observer: &shared.observer,
        sessions: Sessions { from: theirs.ours, to: ours.ours },
        theirs: &theirs.domains,
        ours: &ours.domains,
        to_node,
        stored: stored_there.subscribe(),
        traffic: &traffic,
        counted: Counted::new("driftless_nats_received", region),
        order: Default::default(),
    };
    let watch = Watch { shared, region, ours: &ours, theirs: &theirs, grants: &grants };
    let reason = serve(
        &watch,
        mailbox,
        connection,
        sender,
        receiver,
        &consumer,
        Ends { close, stored_there, stored_here: &stored_here, in_force, line, breaks },
    )
    .await;
    observe::closed(&reason, region);
    reason
}

/// What is told to, and heard from, the two directions.
struct Ends<'a> {
    close: watch::Sender<Option<Reason>>,
    stored_there: watch::Sender<u64>,
    stored_here: &'a AtomicU64,
    in_force: watch::Receiver<InForce>,
    line: watch::Receiver<Line>,
    /// How often the connection to the server had broken.
    breaks: u64,
}

async fn serve(
    watch: &Watch<'_>,
    mailbox: &mut mpsc::Receiver<Bytes>,
    connection: Connection,
    sender: Sender<'_>,
    receiver: Receiver<'_>,
    consumer: &async_nats::jetstream::consumer::PullConsumer,
    ends: Ends<'_>,
) -> Reason {
    let Ends { close, stored_there, stored_here, mut in_force, mut line, breaks } = ends;
    let shared = watch.shared;
    let mut stop = shared.stop.clone();
    let ended = async {
        tokio::select! {
            biased;
            reason = watch.list(&mut in_force) => reason,
            reason = watch.peer(mailbox, &stored_there, stored_here) => reason,
            _ = line.wait_for(|line| line.breaks != breaks) => Reason::Disconnected,
            _ = stop.wait_for(|is_stopped| *is_stopped) => Reason::ShuttingDown,
        }
    };
    let mut ended = std::pin::pin!(ended);
    let handed_over = tokio::select! {
        biased;
        // The node may take its time, and meanwhile much may change.
        reason = &mut ended => Some(reason),
        sent = shared.sink.send(connection) => match sent {
            Ok(()) => None,
            Err(_) => Some(Reason::ByNode),
        },
    };
    if let Some(reason) = handed_over {
        watch.part(&reason).await;
        return reason;
    }
    let mut writing = std::pin::pin!(sender.run());
    let mut is_written = false;
    let reason = tokio::select! {
        biased;
        reason = &mut ended => reason,
        // Neither of the two keeps the other from its turn.
        reason = async {
            tokio::select! {
                reason = receiver.run(consumer) => reason,
                reason = &mut writing => {
                    is_written = true;
                    reason
                }
            }
        } => reason,
    };
    // The node hears of it now, since the receiving side is gone, whatever the peer does.
    if reason.is_orderly() {
        if !is_written {
            close.send_replace(Some(reason.clone()));
            // What is not stored in time is not sent.
            let _ = timeout(shared.config.timing.farewell, writing).await;
        }
    } else {
        watch.part(&reason).await;
    }
    reason
}

/// The domains that may go over a link: those that both sides offered. Each has its place in what this side offered.
fn indexes(ours: &Beat, theirs: &Beat) -> BTreeMap<DomainName, u8> {
    let numbered = ours.domains.iter().cloned().zip(0..=u8::MAX);
    numbered.filter(|(domain, _)| theirs.domains.contains(domain)).collect()
}

/// What must stay true of a link.
struct Watch<'a> {
    shared: &'a Shared,
    region: &'a RegionName,
    ours: &'a Beat,
    theirs: &'a Beat,
    grants: &'a Grants,
}

impl Watch<'_> {
    /// Says that this side is there, and ends when the peer is not.
    async fn peer(
        &self,
        mailbox: &mut mpsc::Receiver<Bytes>,
        stored_there: &watch::Sender<u64>,
        stored_here: &AtomicU64,
    ) -> Reason {
        let timing = &self.shared.config.timing;
        let every = beat_every(timing, self.theirs.silence_ms);
        let mut silent = Instant::now() + timing.silence;
        let mut due = Instant::now() + every;
        loop {
            tokio::select! {
                biased;
                said = mailbox.recv() => match said.as_deref().map(Said::decode) {
                    Some(Ok(Said::Beat(beat))) => {
                        if (beat.ours, beat.yours) != (self.theirs.ours, self.ours.ours) {
                            return Reason::Restarted;
                        }
                        silent = Instant::now() + timing.silence;
                        stored_there.send_replace(beat.stored);
                    }
                    Some(Ok(Said::Farewell { yours, farewell })) if yours == self.ours.ours => {
                        return Reason::ByPeer(farewell);
                    }
                    // It is not for this session.
                    Some(Ok(Said::Farewell { .. })) => {}
                    Some(Err(reason)) => {
                        self.shared.observer.refused(&reason, self.region.as_str());
                    }
                    None => return Reason::ShuttingDown,
                },
                () = sleep_until(due) => {
                    let stored = stored_here.load(Ordering::Relaxed);
                    let beat = Beat { stored, yours: self.theirs.ours, ..self.ours.clone() };
                    self.shared.say(self.region, beat.encode()).await;
                    due = Instant::now() + every;
                }
                () = sleep_until(silent) => return Reason::Silent,
            }
        }
    }

    /// Ends when the peer list says something else of the peer.
    async fn list(&self, in_force: &mut watch::Receiver<InForce>) -> Reason {
        loop {
            let now = in_force.borrow_and_update().clone();
            match self.shared.listed(&now, self.region) {
                Err(reason) => return reason,
                Ok(grants) if grants != *self.grants => return Reason::PolicyChanged,
                Ok(_) => {}
            }
            if in_force.changed().await.is_err() {
                return Reason::ShuttingDown;
            }
        }
    }

    /// Tells the peer that the session has ended.
    async fn part(&self, reason: &Reason) {
        if !matches!(reason, Reason::Disconnected | Reason::Restarted | Reason::ByPeer(_)) {
            self.shared.say(self.region, farewell(self.theirs.ours, reason.farewell())).await;
        }
    }
}

/// How often a beat is sent, if the peer gives up after so many milliseconds: in time for two to be lost.
fn beat_every(timing: &Timing, silence_ms: u32) -> Duration {
    let demanded = Duration::from_millis(u64::from(silence_ms)) / 3;
    timing.keep_alive.min(demanded).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_come_as_often_as_the_peer_demands_within_reason() {
        let every = |silence_ms| beat_every(&Timing::default(), silence_ms).as_millis();
        assert_eq!([every(60_000), every(3_000), every(0)], [5_000, 1_000, 50]);
    }
}
