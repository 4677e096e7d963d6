//! Keeps a connection to each peer that has an address.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use driftless_node::{Backoff, RegionName};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use crate::handshake::dial;
use crate::link::Link;
use crate::observe;
use crate::shared::Shared;
use crate::status::Dialing;

/// Dials the peers of the list that is in force, whatever that is.
pub(crate) async fn dial_all(shared: Arc<Shared>) {
    let mut settings = shared.settings.subscribe();
    let mut tasks = JoinSet::new();
    let mut dialers = BTreeMap::new();
    loop {
        let now = settings.borrow_and_update().clone();
        let policy = now.policy.as_deref().ok();
        let addresses = |region: &RegionName| {
            let peer = policy.and_then(|policy| policy.peer(region)).filter(|_| *region != shared.region);
            peer.map(|peer| &peer.addresses[..]).unwrap_or_default()
        };
        dialers.retain(|region, dialer: &mut tokio::task::AbortHandle| {
            let stays = !addresses(region).is_empty();
            if !stays {
                dialer.abort();
                shared.set_dialing(region, None);
            }
            stays
        });
        for (region, _) in policy.into_iter().flat_map(|policy| policy.peers()) {
            if !addresses(region).is_empty() && !dialers.contains_key(region) {
                let dialer = tasks.spawn(keep_connected(Arc::clone(&shared), region.clone()));
                dialers.insert(region.clone(), dialer);
            }
        }
        // Those that were aborted are done with.
        while tasks.try_join_next().is_some() {}
        if settings.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_connected(shared: Arc<Shared>, region: RegionName) {
    let mut hasher = DefaultHasher::new();
    region.hash(&mut hasher);
    let seed = shared.seed ^ hasher.finish();
    let mut backoff = Backoff::new(shared.timing.backoff_least, shared.timing.backoff_most, seed);
    let mut settings = shared.settings.subscribe();
    let mut failures = 0;
    loop {
        // Whoever dialed: one connection is enough.
        shared.registry.disconnected(&region).await;
        let now = settings.borrow_and_update().clone();
        let Some(peer) = now.policy.as_ref().ok().and_then(|policy| policy.peer(&region)) else {
            // This task is about to be aborted.
            return;
        };
        let dialed = dial(&shared, &region, &peer.addresses).await;
        let last = match dialed {
            Ok(link) => {
                failures = 0;
                shared.set_dialing(&region, None);
                let began = Instant::now();
                spawn(&shared, link);
                shared.registry.disconnected(&region).await;
                if began.elapsed() >= shared.timing.settled {
                    backoff.reset();
                }
                None
            }
            Err(reason) => {
                failures += 1;
                Some(reason)
            }
        };
        let pause = backoff.wait();
        if let Some(reason) = &last {
            observe::dial_failed(reason, &region, failures, pause);
        }
        shared.set_dialing(&region, Some(Dialing { failures, last, next: SystemTime::now() + pause }));
        tokio::select! {
            () = sleep(pause) => {}
            // Another address, another certificate: it may go well now.
            _ = settings.changed() => backoff.reset(),
        }
    }
}

/// Serves a connection in a task of its own.
pub(crate) fn spawn(shared: &Arc<Shared>, link: Link) {
    let span = tracing::info_span!(
        "tcp_connection",
        peer = link.region.as_str(),
        direction = link.direction.label(),
        address = %link.address,
    );
    tokio::spawn(link.run(Arc::clone(shared)).instrument(span));
}
