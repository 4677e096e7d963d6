//! A region's inbox: a stream, and in it a consumer for each peer.

use std::fmt::Debug;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};
use driftless_node::RegionName;

use crate::config::{Limits, NatsConfig};
use crate::policy::Policy;
use crate::server::ServerError;
use crate::subjects::Subjects;

/// The stream with the peers' messages. It is made, or changed, if need be.
pub(crate) async fn stream(
    jetstream: &Context,
    config: &NatsConfig,
    subjects: &Subjects,
    policy: &Policy,
) -> Result<Stream, ServerError> {
    let wanted = stream_config(config, subjects, policy);
    let failed =
        |request, what: &dyn std::fmt::Display| ServerError::Request { request, what: what.to_string() };
    match jetstream.get_stream(&wanted.name).await {
        Ok(stream) if check_stream(&wanted, &stream.cached_info().config).is_ok() => return Ok(stream),
        Ok(stream) => {
            if let Err(error) = jetstream.update_stream(&wanted).await {
                tracing::warn!("the inbox cannot be changed: {error}");
                return check_stream(&wanted, &stream.cached_info().config).map(|()| stream);
            }
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                let made = jetstream.create_stream(&wanted).await;
                made.map_err(|error| failed("make the inbox", &error))?;
            }
            _ => return Err(failed("look at the inbox", &error)),
        },
    }
    // What the server does not know it may pass over without a word.
    let stream =
        jetstream.get_stream(&wanted.name).await.map_err(|error| failed("look at the inbox", &error))?;
    check_stream(&wanted, &stream.cached_info().config)?;
    Ok(stream)
}

/// The consumer of a peer's messages, made anew. What was there before is thrown away: it is of sessions that are over.
///
/// Requests of those stand at the server for a while. They would take messages, which come late then, after others: at leaf nodes
/// a server does not notice that nobody waits for the answers any more.
pub(crate) async fn consumer(
    stream: &Stream,
    config: &NatsConfig,
    subjects: &Subjects,
    peer: &RegionName,
) -> Result<PullConsumer, ServerError> {
    let wanted = consumer::pull::Config {
        durable_name: Some(peer.to_string()),
        name: Some(peer.to_string()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: config.timing.redelivery,
        max_deliver: -1,
        max_ack_pending: 2 * i64::from(config.limits.fetch_messages),
        filter_subject: subjects.frames_from(peer),
        ..Default::default()
    };
    let failed =
        |request, what: &dyn std::fmt::Display| ServerError::Request { request, what: what.to_string() };
    forget(stream, subjects, peer).await?;
    let made: PullConsumer = stream
        .create_consumer(wanted.clone())
        .await
        .map_err(|error| failed("make the consumer of the inbox", &error))?;
    let found = &made.cached_info().config;
    same("ack_policy", &wanted.ack_policy, &found.ack_policy)?;
    same("deliver_policy", &wanted.deliver_policy, &found.deliver_policy)?;
    same("filter_subject", &wanted.filter_subject, &found.filter_subject)?;
    same("ack_wait", &wanted.ack_wait, &found.ack_wait)?;
    same("max_deliver", &wanted.max_deliver, &found.max_deliver)?;
    same("max_ack_pending", &wanted.max_ack_pending, &found.max_ack_pending)?;
    same("durable_name", &wanted.durable_name, &found.durable_name)?;
    Ok(made)
}

/// What the server may add to a message: its subject, among others.
const OVERHEAD_BYTES: u64 = 512;

/// The least bytes that a message may have, whatever the limits are.
const LEAST_MESSAGE_BYTES: u64 = 2048;

/// The most bytes of a message in the inbox: so many of them as one peer may have there take no more than its part of it.
pub(crate) fn message_bytes(limits: &Limits) -> u32 {
    let bytes = limits.inbox_bytes / u64::from(limits.inbox_messages).max(1);
    u32::try_from(bytes.clamp(LEAST_MESSAGE_BYTES, i32::MAX as u64)).unwrap_or(u32::MAX)
}

/// Throws away what is of a peer that is not listed any more.
pub(crate) async fn forget(
    stream: &Stream,
    subjects: &Subjects,
    peer: &RegionName,
) -> Result<(), ServerError> {
    let failed =
        |request, what: &dyn std::fmt::Display| ServerError::Request { request, what: what.to_string() };
    match stream.delete_consumer(peer.as_str()).await.map_err(|error| (error.kind(), error)) {
        Ok(_) => {}
        Err((ConsumerErrorKind::JetStream(inner), _))
            if inner.error_code() == ErrorCode::CONSUMER_NOT_FOUND => {}
        Err((_, error)) => return Err(failed("take the consumer of the inbox away", &error)),
    }
    let purged = stream.purge().filter(subjects.frames_from(peer)).await;
    purged.map(drop).map_err(|error| failed("empty the inbox of what is over", &error))
}

fn stream_config(config: &NatsConfig, subjects: &Subjects, policy: &Policy) -> Config {
    let peers = policy.peers().map(|(peer, _)| peer).filter(|peer| **peer != config.region);
    let peers: Vec<String> = peers.map(|peer| subjects.frames_from(peer)).collect();
    let limits = &config.limits;
    let messages = u64::from(limits.inbox_messages);
    let of_one = messages.saturating_mul(u64::from(message_bytes(limits)) + OVERHEAD_BYTES);
    let of_all = of_one.saturating_mul(peers.len().max(1) as u64);
    Config {
        name: subjects.inbox(),
        // Nobody else's messages are stored.
        subjects: peers,
        // What is acknowledged is gone.
        retention: RetentionPolicy::WorkQueue,
        // What does not fit is refused, so that its sender waits; and no peer takes the place of another.
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_bytes: i64::try_from(of_all).unwrap_or(i64::MAX),
        max_message_size: i32::try_from(message_bytes(limits)).unwrap_or(i32::MAX),
        max_messages_per_subject: i64::from(limits.inbox_messages),
        max_age: config.timing.inbox_age,
        storage: StorageType::File,
        num_replicas: config.replicas,
        ..Default::default()
    }
}

/// Whether a stream does what is needed.
fn check_stream(wanted: &Config, found: &Config) -> Result<(), ServerError> {
    let sorted = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort_unstable();
        subjects
    };
    same("subjects", &sorted(wanted), &sorted(found))?;
    same("retention", &wanted.retention, &found.retention)?;
    same("discard", &wanted.discard, &found.discard)?;
    same("discard_new_per_subject", &wanted.discard_new_per_subject, &found.discard_new_per_subject)?;
    same("max_bytes", &wanted.max_bytes, &found.max_bytes)?;
    same("max_msgs_per_subject", &wanted.max_messages_per_subject, &found.max_messages_per_subject)?;
    same("max_msg_size", &wanted.max_message_size, &found.max_message_size)?;
    same("max_msgs", &-1, &if found.max_messages <= 0 { -1 } else { found.max_messages })?;
    same("republish", &false, &found.republish.is_some())?;
    same("max_age", &wanted.max_age, &found.max_age)?;
    same("storage", &wanted.storage, &found.storage)?;
    same("num_replicas", &wanted.num_replicas, &found.num_replicas)?;
    same("no_ack", &false, &found.no_ack)?;
    same("sealed", &false, &found.sealed)?;
    same("mirror", &false, &found.mirror.is_some())?;
    same("sources", &false, &found.sources.as_ref().is_some_and(|sources| !sources.is_empty()))?;
    same("subject_transform", &false, &found.subject_transform.is_some())
}

fn same<T: Debug + PartialEq>(field: &'static str, wanted: &T, found: &T) -> Result<(), ServerError> {
    if wanted == found {
        Ok(())
    } else {
        Err(ServerError::Inbox { field, wanted: format!("{wanted:?}"), found: format!("{found:?}") })
    }
}
