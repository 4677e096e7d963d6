//! A small HTTP server: the status page, metrics, and reading and writing texts. For loopback: it asks nobody who they are.

use std::sync::Arc;
use std::time::Duration;

use driftless::Token;
use driftless_node::{Domain, DomainName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Region, Texts, page};

/// The most bytes of a request, its head and its body together.
const MOST_BYTES: usize = 1 << 20;

/// How long a request may take to come, and how long a token is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

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
        (_, ["domains", domain, rest @ ..]) => {
            let domain = DomainName::new(domain).ok().and_then(|name| region.domains.get(&name));
            match (domain, request.method.as_str(), rest) {
                (None, ..) => text("404 Not Found", "there is no such domain here\n"),
                (Some(domain), "GET", []) => list(domain),
                (Some(domain), "GET", [key]) => read(domain, key, &request.query).await,
                (Some(domain), "PUT", [key]) => put(domain, key, &request.body).await,
                (Some(domain), "DELETE", [key]) => delete(domain, key).await,
                _ => text(
                    "405 Method Not Allowed",
                    "a text is read with GET, written with PUT, removed with DELETE\n",
                ),
            }
        }
        _ => {
            text("404 Not Found", "there are /, /status, /metrics, /domains/DOMAIN and /domains/DOMAIN/KEY\n")
        }
    }
}

fn list(domain: &Domain<Texts>) -> Answer {
    let texts = domain.read();
    let mut keys: Vec<&str> = texts.keys().map(String::as_str).collect();
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
async fn read(domain: &Domain<Texts>, key: &str, query: &str) -> Answer {
    let texts = match query.split('&').find_map(|part| part.strip_prefix("token=")) {
        None => domain.read(),
        Some(token) => {
            let Ok(token) = token.parse::<Token>() else {
                return text("400 Bad Request", "this is no token\n");
            };
            match domain.wait_for(&token, PATIENCE).await {
                Ok(texts) => texts,
                Err(error) => return text("504 Gateway Timeout", &format!("{error}\n")),
            }
        }
    };
    match texts.get(key).and_then(|register| register.latest()) {
        Some(found) => text("200 OK", found),
        None => text("404 Not Found", "there is no such key\n"),
    }
}

/// Answers once it is on disk, with the token of the write.
async fn put(domain: &Domain<Texts>, key: &str, body: &[u8]) -> Answer {
    let Ok(body) = String::from_utf8(body.to_vec()) else {
        return text("400 Bad Request", "a text is UTF-8\n");
    };
    let key = key.to_owned();
    match domain.write(move |texts| texts.update(&key, |register| register.set(body))).await {
        Ok(written) => text("200 OK", &format!("{}\n", written.token)),
        Err(error) => failed(&error),
    }
}

async fn delete(domain: &Domain<Texts>, key: &str) -> Answer {
    let key = key.to_owned();
    match domain.write(move |texts| texts.remove(&key)).await {
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
