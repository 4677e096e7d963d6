//! How two regions come to know of each other: each calls until both have named the session of the other.

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use driftless_node::connection::{DomainName, Grants};
use driftless_node::{Backoff, RegionName};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::beat::{Beat, Said, farewell};
use crate::inbox;
use crate::observe;
use crate::reason::Reason;
use crate::server::{self, Line, ServerError};
use crate::settings::InForce;
use crate::shared::Shared;

/// A session with a peer that both sides have named.
pub(crate) struct Opened {
    /// What this side says of itself.
    pub(crate) ours: Beat,
    /// What the peer said.
    pub(crate) theirs: Beat,
    pub(crate) ready: Ready,
    /// As they were when it was opened; changes of them wake.
    pub(crate) in_force: watch::Receiver<InForce>,
    pub(crate) line: watch::Receiver<Line>,
}

/// What must stay as it is while a peer is called.
pub(crate) struct Ready {
    pub(crate) grants: Grants,
    /// How often the connection to the server had broken.
    pub(crate) breaks: u64,
    pub(crate) jetstream: Context,
    pub(crate) consumer: PullConsumer,
    message_bytes: u32,
}

/// Calls a peer until it answers.
pub(crate) async fn open(
    shared: &Shared,
    region: &RegionName,
    mailbox: &mut mpsc::Receiver<Bytes>,
    backoff: &mut Backoff,
) -> Opened {
    let (mut in_force, mut line) = (shared.in_force.subscribe(), shared.line.subscribe());
    loop {
        let policy = in_force.borrow_and_update().clone();
        let Ok(grants) = shared.listed(&policy, region) else {
            // It waits for another list. The sender is in `shared`.
            let _ = in_force.changed().await;
            continue;
        };
        let breaks = line.wait_for(|line| line.is_up).await.map_or(0, |line| line.breaks);
        match prepare(shared, region, grants, breaks).await {
            Ok(ready) => {
                let called = call(shared, region, mailbox, &ready, &mut in_force, &mut line).await;
                if let Some((ours, theirs)) = called {
                    return Opened { ours, theirs, ready, in_force, line };
                }
                backoff.reset();
            }
            Err(error) => {
                let pause = backoff.wait();
                let reason = Reason::Unfit(error);
                let news = shared.with_peer(region, |state| {
                    state.opening.attempts += 1;
                    let is_news = state.opening.last.as_ref() != Some(&reason);
                    state.opening.last = Some(reason.clone());
                    (state.opening.attempts, is_news)
                });
                let (attempts, is_news) = news.unwrap_or((1, true));
                observe::opening_failed(&reason, region, attempts, pause, is_news);
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = in_force.changed() => backoff.reset(),
                    _ = line.changed() => {}
                }
            }
        }
    }
}

/// Looks at the server, and makes the inbox ready for a new session.
async fn prepare(
    shared: &Shared,
    region: &RegionName,
    grants: Grants,
    breaks: u64,
) -> Result<Ready, ServerError> {
    server::check_version(&shared.client)?;
    let jetstream = server::jetstream(&shared.config, &shared.client);
    server::check_jetstream(&jetstream).await?;
    let stream = {
        let _alone = shared.inbox.lock().await;
        // The newest list, as the others use it.
        let policy = shared.in_force.borrow().clone();
        match policy {
            Ok(policy) => inbox::stream(&jetstream, &shared.config, &shared.subjects, &policy).await?,
            Err(_) => {
                return Err(ServerError::Request {
                    request: "look after the inbox",
                    what: "the peer list is gone".to_owned(),
                });
            }
        }
    };
    let consumer = inbox::consumer(&stream, &shared.config, &shared.subjects, region).await?;
    let payload = u32::try_from(shared.client.server_info().max_payload).unwrap_or(u32::MAX);
    let message_bytes = inbox::message_bytes(&shared.config.limits).min(payload);
    Ok(Ready { grants, breaks, jetstream, consumer, message_bytes })
}

/// Says that this side is there, and hears whether the peer is. None: what it says is not so any more.
async fn call(
    shared: &Shared,
    region: &RegionName,
    mailbox: &mut mpsc::Receiver<Bytes>,
    ready: &Ready,
    in_force: &mut watch::Receiver<InForce>,
    line: &mut watch::Receiver<Line>,
) -> Option<(Beat, Beat)> {
    let domains: Vec<DomainName> = shared.offered(&ready.grants);
    let mut ours = Beat {
        ours: Uuid::new_v4(),
        yours: Uuid::nil(),
        stored: 0,
        silence_ms: u32::try_from(shared.config.timing.silence.as_millis()).unwrap_or(u32::MAX),
        frame_bytes: shared.config.limits.frame_bytes,
        message_bytes: ready.message_bytes,
        domains,
    };
    // Of the beats alone: how often links are opened that do not last is another matter.
    let timing = &shared.config.timing;
    let seed = shared.config.seed ^ ours.ours.as_u64_pair().0;
    let mut backoff = Backoff::new(timing.backoff_least, timing.backoff_most, seed);
    loop {
        shared.with_peer(region, |state| state.opening.attempts += 1);
        shared.say(region, ours.encode()).await;
        let due = Instant::now() + backoff.wait();
        loop {
            let said = tokio::select! {
                () = sleep_until(due) => break,
                _ = in_force.changed() => {
                    let now = in_force.borrow_and_update().clone();
                    if shared.listed(&now, region).as_ref() == Ok(&ready.grants) {
                        continue;
                    }
                    return None;
                }
                _ = line.wait_for(|line| line.breaks != ready.breaks) => return None,
                said = mailbox.recv() => said?,
            };
            match Said::decode(&said) {
                Ok(Said::Beat(theirs)) => {
                    // Somebody is there.
                    backoff.reset();
                    ours.yours = theirs.ours;
                    shared.say(region, ours.encode()).await;
                    if theirs.yours == ours.ours {
                        return Some((ours, theirs));
                    }
                }
                Ok(Said::Farewell { yours, farewell }) => {
                    if yours == ours.ours || yours.is_nil() {
                        note(shared, region, Reason::ByPeer(farewell));
                    }
                }
                Err(reason) => {
                    if shared.observer.refused(&reason, region.as_str()) {
                        shared.say(region, farewell(Uuid::nil(), reason.farewell())).await;
                    }
                    note(shared, region, reason);
                }
            }
        }
    }
}

/// What stands in the way of a link. It is logged when it is news.
fn note(shared: &Shared, region: &RegionName, reason: Reason) {
    let is_news = shared.with_peer(region, |state| {
        let is_news = state.opening.last.as_ref() != Some(&reason);
        state.opening.last = Some(reason.clone());
        is_news
    });
    if is_news == Some(true) {
        tracing::warn!(reason = reason.label(), peer = region.as_str(), "opening a link failed: {reason}");
    }
}
