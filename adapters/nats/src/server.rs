//! The connection to the server, and whether the server can be used.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::AccountErrorKind;
use async_nats::jetstream::{Context, ContextBuilder, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use driftless_node::Backoff;
use tokio::sync::watch;

use crate::config::{Credentials, NatsConfig, Security, TlsFiles};
use crate::observe::Observer;
use crate::settings::StartError;
use crate::subjects::Subjects;

/// The oldest server that does what is needed. Older ones take settings that they do not know, and do not heed them.
const OLDEST: (u64, u64) = (2, 10);

/// How a server says that JetStream is switched off, for itself or for the account.
const NOT_ENABLED: [ErrorCode; 2] =
    [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];

/// How many messages may wait in a subscription. Beats are repeated; of the inbox no more is fetched than is borne.
const SUBSCRIPTION_MESSAGES: usize = 4096;

/// Why a region cannot use its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// Operator: it does not let this region in, or TLS cannot be agreed on.
    Refused {
        /// Why, as the client library says it.
        what: String,
    },
    /// Operator: it is too old.
    TooOld {
        /// Its version.
        found: String,
    },
    /// Operator: JetStream is not switched on, at the server or for this region's account.
    NoJetStream {
        /// How that was said.
        what: String,
    },
    /// Operator: the inbox is not set up as it must be, and could not be changed.
    Inbox {
        /// Which setting of the stream or of the consumer.
        field: &'static str,
        /// What it must be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Server, or operator: JetStream did not do what it was asked for.
    Request {
        /// For what.
        request: &'static str,
        /// Why not.
        what: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { what } => {
                write!(f, "the server does not let this region in ({what}); look at credentials and TLS")
            }
            Self::TooOld { found } => {
                let (major, minor) = OLDEST;
                write!(
                    f,
                    "the server's version is {found}, and it must be {major}.{minor} or newer, \
                     as older ones pass over settings of streams without a word; upgrade it"
                )
            }
            Self::NoJetStream { what } => {
                write!(
                    f,
                    "JetStream is not switched on ({what}); switch it on at the server and for the account"
                )
            }
            Self::Inbox { field, wanted, found } => {
                write!(
                    f,
                    "the inbox has {field} = {found}, and must have {wanted}; \
                     change the stream, or delete it so that it is made anew"
                )
            }
            Self::Request { request, what } => {
                write!(
                    f,
                    "JetStream did not {request}: {what}; look at the permissions, the limits and the server"
                )
            }
        }
    }
}

impl std::error::Error for ServerError {}

/// How the connection to the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) is_up: bool,
    /// How often it broke.
    pub(crate) breaks: u64,
}

/// Connects. A server that is not there is waited for by the client, in the background; one that refuses is an error.
pub(crate) async fn connect(
    config: &NatsConfig,
    subjects: &Subjects,
    line: &watch::Sender<Line>,
    observer: &Arc<Observer>,
) -> Result<Client, StartError> {
    let mut addresses = Vec::new();
    for server in &config.servers {
        let address = server.parse::<ServerAddr>().map_err(|_| StartError::Setting {
            what: "a server whose address is not of the form `nats://host:port`",
        })?;
        addresses.push(address);
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The client takes that of the process, and without one it could not say so but by a panic.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let options = options(config, subjects, line, observer).await?;
    let error = match options.clone().connect(addresses.clone()).await {
        Ok(client) => {
            line.send_if_modified(|line| !std::mem::replace(&mut line.is_up, true));
            return Ok(client);
        }
        Err(error) => error,
    };
    match error.kind() {
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => {}
        _ => return Err(StartError::Server(ServerError::Refused { what: error.to_string() })),
    }
    tracing::warn!("no server can be reached: {error}; it is tried again and again");
    let client = options.retry_on_initial_connect().connect(addresses).await;
    client.map_err(|error| StartError::Server(ServerError::Refused { what: error.to_string() }))
}

async fn options(
    config: &NatsConfig,
    subjects: &Subjects,
    line: &watch::Sender<Line>,
    observer: &Arc<Observer>,
) -> Result<ConnectOptions, StartError> {
    let (least, most, seed) =
        (config.timing.backoff_least, config.timing.backoff_most.min(Duration::from_secs(4)), config.seed);
    let mut options = ConnectOptions::new()
        .name(format!("driftless {}", config.region))
        .custom_inbox_prefix(subjects.answers())
        .connection_timeout(config.timing.connect)
        .request_timeout(Some(config.timing.answer))
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .reconnect_delay_callback(move |attempts| Backoff::nth(least, most, seed, attempts))
        .event_callback({
            let (line, observer) = (line.clone(), Arc::clone(observer));
            move |event| {
                heed(&line, &observer, &event);
                std::future::ready(())
            }
        });
    if let Security::Tls(TlsFiles { authority, certificate, is_first }) = &config.security {
        options = options.require_tls(true);
        if let Some(authority) = authority {
            options = options.add_root_certificates(readable(authority)?.to_owned());
        }
        if let Some((certificate, key)) = certificate {
            options =
                options.add_client_certificate(readable(certificate)?.to_owned(), readable(key)?.to_owned());
        }
        if *is_first {
            options = options.tls_first();
        }
    }
    Ok(match &config.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::Seed(seed) => options.nkey(seed.clone()),
        Credentials::File(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|error| StartError::Unreadable { path: path.clone(), kind: error.kind() })?
        }
    })
}

fn readable(path: &Path) -> Result<&Path, StartError> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(path),
        Err(error) => Err(StartError::Unreadable { path: path.to_owned(), kind: error.kind() }),
    }
}

fn heed(line: &watch::Sender<Line>, observer: &Observer, event: &Event) {
    match event {
        Event::Connected => {
            metrics::gauge!("driftless_nats_server_connected").set(1.0);
            line.send_if_modified(|line| !std::mem::replace(&mut line.is_up, true));
            tracing::info!("connected to the server");
        }
        Event::Disconnected | Event::Closed => {
            metrics::gauge!("driftless_nats_server_connected").set(0.0);
            line.send_modify(|line| *line = Line { is_up: false, breaks: line.breaks + 1 });
            tracing::warn!("the connection to the server broke; it is tried again and again");
        }
        Event::ServerError(error) => observer.server_says(&error.to_string()),
        Event::ClientError(error) => observer.server_says(&error.to_string()),
        Event::SlowConsumer(_) => observer.server_says("a subscription is not read quickly enough"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

/// JetStream, as one link uses it.
pub(crate) fn jetstream(config: &NatsConfig, client: &Client) -> Context {
    let answer = config.timing.answer;
    let builder = ContextBuilder::new().timeout(answer).ack_timeout(answer).backpressure_on_inflight(true);
    match &config.jetstream_domain {
        Some(domain) => builder.domain(domain.clone()).build(client.clone()),
        None => builder.build(client.clone()),
    }
}

/// Whether the server that the client is connected to now is new enough. Other servers of the same cluster may not be.
pub(crate) fn check_version(client: &Client) -> Result<(), ServerError> {
    let Some(info) = client.try_server_info() else {
        return Err(ServerError::Request { request: "say what it is", what: "it has not yet".to_owned() });
    };
    let found = info.version;
    let mut numbers = found.split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        _ => Err(ServerError::TooOld { found }),
    }
}

/// Whether JetStream is there.
pub(crate) async fn check_jetstream(jetstream: &Context) -> Result<(), ServerError> {
    let Err(error) = jetstream.query_account().await else {
        return Ok(());
    };
    let what = error.to_string();
    Err(match error.kind() {
        AccountErrorKind::JetStreamUnavailable => ServerError::NoJetStream { what },
        // A cluster that has no leader yet is unavailable, too, and will be there.
        AccountErrorKind::JetStream(error) if NOT_ENABLED.contains(&error.error_code()) => {
            ServerError::NoJetStream { what }
        }
        _ => ServerError::Request { request: "say how it is", what },
    })
}
