//! A small HTTP server: the status page, metrics, and reading and writing notes. For loopback: it asks nobody who they are.

use std::sync::Arc;
use std::time::Duration;

use driftless::Token;
use driftless_node::{Domain, DomainName, TransactError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::note::{Addition, Note, Notes};
use crate::{Region, page};

/// The most bytes of a request, its head and its body together.
const MOST_BYTES: usize = 1 << 20;

/// How long a request may take to come, and how long a token is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The most keys of a list.
const MOST_KEYS: usize = 1_000;

/// How many requests are answered at once.
const MOST_REQUESTS: usize = 64;

struct Request {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

/// Answers until it is aborted.
pub(crate) async fn serve(listener: TcpListener, region: Arc<Region>) {
    let mut requests = JoinSet::new();
    loop {
        while requests.len() >= MOST_REQUESTS {
            requests.join_next().await;
        }
        while requests.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let region = Arc::clone(&region);
                requests.spawn(async move { timeout(4 * PATIENCE, exchange(stream, &region)).await });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn exchange(mut stream: TcpStream, region: &Region) -> std::io::Result<()> {
    let answer = match timeout(PATIENCE, receive(&mut stream)).await {
        Ok(Some(request)) => answer(region, &request).await,
        Ok(None) => text("400 Bad Request", "this is no request that is understood here\n"),
        Err(_) => text("408 Request Timeout", "the request did not come in time\n"),
    };
    let Answer { status, kind, body } = answer;
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// A request, whole; none if it is none.
async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(body_at) = head.parse(&bytes).ok()? {
            let length =
                head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length: usize = match length {
                Some(header) => std::str::from_utf8(header.value).ok()?.parse().ok()?,
                None => 0,
            };
            let (path, query) = head.path?.split_once('?').unwrap_or((head.path?, ""));
            let (method, path, query) = (head.method?.to_owned(), path.to_owned(), query.to_owned());
            let end = body_at.checked_add(length).filter(|end| *end <= MOST_BYTES)?;
            while bytes.len() < end {
                more(stream, &mut bytes).await?;
            }
            return Some(Request { method, path, query, body: bytes.get(body_at..end)?.to_vec() });
        }
        more(stream, &mut bytes).await?;
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MOST_BYTES).then_some(())
}

async fn answer(region: &Region, request: &Request) -> Answer {
    let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", [""]) => match region.node.status().await {
            Ok(node) => html(page::page(&node, &region.links.status())),
            Err(error) => failed(&error),
        },
        ("GET", ["status"]) => match region.node.status().await {
            Ok(node) => match serde_json::to_string_pretty(&node) {
                Ok(json) => Answer { status: "200 OK", kind: "application/json", body: json },
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        },
        ("GET", ["metrics"]) => text("200 OK", &region.metrics.render()),
        ("GET", ["digests", domain]) => match named(region, domain) {
            Some(domain) => text("200 OK", &format!("{}\n", domain.read().digest())),
            None => no_domain(),
        },
        (method, ["domains", domain, rest @ ..]) => match (named(region, domain), method, rest) {
            (None, ..) => no_domain(),
            (Some(domain), "GET", []) => list(domain),
            (Some(domain), "GET", [key]) => read(domain, key, text_of, &request.query).await,
            (Some(domain), "GET", [key, "tags"]) => read(domain, key, tags_of, &request.query).await,
            (Some(domain), "GET", [key, "count"]) => read(domain, key, count_of, &request.query).await,
            (Some(domain), "PUT", [key]) => put(domain, key, &request.body).await,
            (Some(domain), "POST", [key]) => add(domain, key, &request.body).await,
            (Some(domain), "DELETE", [key]) => delete(domain, key).await,
            _ => text(
                "405 Method Not Allowed",
                "a note is read with GET (its text, or KEY/tags, or KEY/count), its text is written with PUT, \
                 tags and counts are added with POST, and it is removed with DELETE\n",
            ),
        },
        _ => text(
            "404 Not Found",
            "there are /, /status, /metrics, /digests/DOMAIN, /domains/DOMAIN and /domains/DOMAIN/KEY\n",
        ),
    }
}

fn named<'a>(region: &'a Region, domain: &str) -> Option<&'a Domain<Notes>> {
    region.domains.get(&DomainName::new(domain).ok()?)
}

fn no_domain() -> Answer {
    text("404 Not Found", "there is no such domain here\n")
}

fn list(domain: &Domain<Notes>) -> Answer {
    let notes = domain.read();
    let mut keys: Vec<&str> = notes.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut body = String::new();
    for key in keys.iter().take(MOST_KEYS) {
        body += key;
        body.push('\n');
    }
    if keys.len() > MOST_KEYS {
        body += &format!("... and {} more\n", keys.len() - MOST_KEYS);
    }
    text("200 OK", &body)
}

/// What is read once a token is reached, if one is given: what a user wrote in one region it finds in another.
async fn read(
    domain: &Domain<Notes>,
    key: &str,
    part: impl Fn(&Note) -> Option<String>,
    query: &str,
) -> Answer {
    let notes = match query.split('&').find_map(|part| part.strip_prefix("token=")) {
        None => domain.read(),
        Some(token) => {
            let Ok(token) = token.parse::<Token>() else {
                return text("400 Bad Request", "this is no token\n");
            };
            match domain.wait_for(&token, PATIENCE).await {
                Ok(notes) => notes,
                Err(error) => return text("504 Gateway Timeout", &format!("{error}\n")),
            }
        }
    };
    match notes.get(key).and_then(part) {
        Some(found) => text("200 OK", &found),
        None => text("404 Not Found", "there is no such key, or no text of it\n"),
    }
}

fn text_of(note: &Note) -> Option<String> {
    note.text.latest().cloned()
}

fn tags_of(note: &Note) -> Option<String> {
    let mut tags: Vec<&str> = note.tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    Some(tags.into_iter().flat_map(|tag| [tag, "\n"]).collect())
}

fn count_of(note: &Note) -> Option<String> {
    Some(format!("{}\n", note.count.value()))
}

/// Answers once it is on disk, with the token of the write.
async fn put(domain: &Domain<Notes>, key: &str, body: &[u8]) -> Answer {
    let Ok(body) = String::from_utf8(body.to_vec()) else {
        return text("400 Bad Request", "a text is UTF-8\n");
    };
    let key = key.to_owned();
    match domain.write(move |notes| notes.update(&key, |note| note.text().set(body))).await {
        Ok(written) => text("200 OK", &format!("{}\n", written.token)),
        Err(error) => failed(&error),
    }
}

/// Likewise.
async fn add(domain: &Domain<Notes>, key: &str, body: &[u8]) -> Answer {
    let Some(addition) = std::str::from_utf8(body).ok().and_then(Addition::parse) else {
        return text(
            "400 Bad Request",
            "what is added is `tag=polite&count=2`; a tag has a-z, 0-9, -, ., _, ~\n",
        );
    };
    let key = key.to_owned();
    match domain.transact(move |notes| addition.apply(notes, &key)).await {
        Ok(written) => text("200 OK", &format!("{}\n", written.token)),
        Err(TransactError::Aborted(overflow)) => text("409 Conflict", &format!("{overflow}\n")),
        Err(error) => failed(&error),
    }
}

async fn delete(domain: &Domain<Notes>, key: &str) -> Answer {
    let key = key.to_owned();
    match domain.write(move |notes| notes.remove(&key)).await {
        Ok(written) if written.value => text("200 OK", &format!("{}\n", written.token)),
        Ok(_) => text("404 Not Found", "there is no such key\n"),
        Err(error) => failed(&error),
    }
}

fn text(status: &'static str, body: &str) -> Answer {
    Answer { status, kind: "text/plain", body: body.to_owned() }
}

fn html(body: String) -> Answer {
    Answer { status: "200 OK", kind: "text/html", body }
}

fn failed(error: &dyn std::error::Error) -> Answer {
    text("503 Service Unavailable", &format!("{error}\n"))
}
