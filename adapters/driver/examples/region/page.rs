//! The status page: this region, its peers, how far they are behind, its domains.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use driftless_node::{DomainStatus, LinkStatus, NodeStatus};
use driftless_tcp::{Direction, TcpPeer, TcpStatus};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:70em;color:#222}\
table{border-collapse:collapse;margin:.5em 0 1.5em}th,td{text-align:left;padding:.2em 1.2em .2em 0;vertical-align:top}\
th{color:#666;font-weight:normal;border-bottom:1px solid #ccc}td{border-bottom:1px solid #eee}\
.bad{color:#b00020}.quiet{color:#777}code{font-size:.9em}";

/// The page.
pub(crate) fn page(node: &NodeStatus, links: &TcpStatus) -> String {
    let region = escaped(&node.region);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>{region}</title><style>{STYLE}</style></head><body><h1>Region {region}</h1><p>Cluster <code>{}</code>. ",
        node.cluster
    );
    match links.listening {
        Some(address) => _ = write!(page, "Links are accepted at {address}. "),
        None => page += "No links are accepted; peers are dialed. ",
    }
    match links.certificate_until {
        Some(until) => _ = write!(page, "The certificate is valid for another {}.</p>", left(until)),
        None => page += "<span class=\"bad\">Links are in plain text.</span></p>",
    }
    if let Some(error) = &links.policy_error {
        _ = write!(page, "<p class=\"bad\">Nobody is let in: {}</p>", escaped(&error.to_string()));
    }
    page += "<h2>Peers</h2>";
    let rows = links.peers.iter().map(|peer| peer_row(node, peer));
    table(&mut page, &["Peer", "Connection", "Received", "Sent", "Domains, and how far it is behind"], rows);
    for domain in &node.domains {
        domain_section(&mut page, domain);
    }
    page += "<p class=\"quiet\"><a href=\"/status\">status as JSON</a>, <a href=\"/metrics\">metrics</a></p></body></html>";
    page
}

fn peer_row(node: &NodeStatus, peer: &TcpPeer) -> Vec<String> {
    let name = peer.region.as_str();
    let connections: Vec<String> = match (&peer.connections[..], &peer.dialing) {
        ([], Some(dialing)) => {
            let why = dialing.last.as_ref().map_or("it ended".to_owned(), ToString::to_string);
            let next = dialing.next.duration_since(SystemTime::now()).unwrap_or_default();
            let next = span(next.as_millis());
            vec![format!("<span class=\"bad\">none: {}; dialed again in {next}</span>", escaped(&why))]
        }
        ([], None) => vec!["<span class=\"bad\">none</span>".to_owned()],
        (connections, _) => connections
            .iter()
            .map(|connection| {
                let since = connection.since.elapsed().unwrap_or_default();
                let direction = match connection.direction {
                    Direction::Dialed => "dialed",
                    Direction::Accepted => "accepted from",
                };
                format!("{direction} {}, up for {}", connection.address, span(since.as_millis()))
            })
            .collect(),
    };
    let received = peer.connections.iter().map(|connection| connection.received_bytes).sum();
    let sent = peer.connections.iter().map(|connection| connection.sent_bytes).sum();
    let domains: Vec<String> = node
        .domains
        .iter()
        .flat_map(|domain| domain.links.iter().map(move |link| (domain, link)))
        .filter(|(_, link)| link.region.as_deref().or(link.principal.as_deref()) == Some(name))
        .map(|(domain, link)| format!("{}: {}", escaped(&domain.name), lag(link)))
        .collect();
    vec![escaped(name), connections.join("<br>"), bytes(received), bytes(sent), domains.join("<br>")]
}

fn lag(link: &LinkStatus) -> String {
    let may = if link.may_write { "" } else { " (it may only read)" };
    match link.lag_ms {
        _ if link.state != "open" => format!("<span class=\"bad\">{}</span>", escaped(&link.state)),
        None => format!("has all{may}"),
        Some(lag_ms) => format!(
            "behind by {}, up to {} commits of ours; {} under way{may}",
            span(u128::from(lag_ms)),
            link.lag_commits,
            bytes(link.bytes_under_way as u64)
        ),
    }
}

fn domain_section(page: &mut String, domain: &DomainStatus) {
    let store = &domain.store;
    _ = write!(page, "<h2>Domain {}</h2><p>", escaped(&domain.name));
    _ = write!(
        page,
        "Store: {} on disk (checkpoint {}, log {}, feed {}); {} changes are on their way to it. ",
        bytes(store.disk_bytes),
        bytes(store.checkpoint_bytes),
        bytes(store.log_bytes),
        bytes(store.feed_bytes),
        store.unstored
    );
    if let Some(failure) = &store.failure {
        _ = write!(page, "<span class=\"bad\">It fails: {}</span> ", escaped(&failure.error.to_string()));
    }
    if let Some(ahead_ms) = domain.clock_ahead_ms {
        let ahead = span(u128::from(ahead_ms));
        _ = write!(page, "<span class=\"bad\">What is held is {ahead} ahead of the clock.</span>");
    }
    *page += "</p>";
    let members = domain.members.iter().map(|member| {
        let own = if member.member == domain.member { " (this one)" } else { "" };
        vec![
            format!("{}{own}", escaped(&member.region)),
            format!("<code>{}</code>", member.member),
            format!("<code>{}</code>", member.id),
        ]
    });
    if domain.members.is_empty() {
        *page += "<p class=\"quiet\">No members yet: the first peer that comes makes two of them.</p>";
    } else {
        table(page, &["Member in", "Store", "Writes as"], members);
    }
    if !domain.blocking.is_empty() {
        let blocking = domain.blocking.iter().map(|blocking| {
            let since = SystemTime::UNIX_EPOCH + Duration::from_millis(blocking.since_ms);
            vec![
                format!("<code>{}</code>", blocking.member),
                span(since.elapsed().unwrap_or_default().as_millis()),
                blocking.rows.to_string(),
                bytes(blocking.bytes as u64),
                bytes(blocking.bytes_alone as u64),
            ]
        });
        table(page, &["Keeps us from forgetting", "For", "Removed rows", "Bytes", "For it alone"], blocking);
    }
    if !domain.notices.is_empty() {
        let notices = domain.notices.iter().rev().map(|notice| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(notice.at_ms);
            vec![format!("{} ago", span(at.elapsed().unwrap_or_default().as_millis())), escaped(&notice.text)]
        });
        table(page, &["Noticed", ""], notices);
    }
}

/// A table; its cells are HTML.
fn table(page: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    *page += "<table><tr>";
    for head in heads {
        _ = write!(page, "<th>{head}</th>");
    }
    *page += "</tr>";
    for row in rows {
        *page += "<tr>";
        for cell in row {
            _ = write!(page, "<td>{cell}</td>");
        }
        *page += "</tr>";
    }
    *page += "</table>";
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn left(until: SystemTime) -> String {
    match until.duration_since(SystemTime::now()) {
        Ok(left) => span(left.as_millis()),
        Err(_) => "<span class=\"bad\">no time at all</span>".to_owned(),
    }
}

/// A span of time, for people.
fn span(ms: u128) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// So many bytes, for people.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
