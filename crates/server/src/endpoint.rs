//! What GetMessagingSessionEndpoint answers: the bare `host[:port]` to which clients open their
//! WebSocket.
//!
//! Invariant: the answer is an address that a client can reach and sign. It is lower case, never a
//! wildcard (`0.0.0.0`, `[::]`), and never ends with `:443`, because browsers leave that port out
//! of the Host header and the signature would not match.

use std::net::{IpAddr, SocketAddr};

/// The port that `wss` implies.
const WSS_PORT: u16 = 443;
const HOST_CHARS_MAX: usize = 253;

/// The value of `--public-endpoint`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicEndpoint(String);

impl PublicEndpoint {
    /// Accepts a bare `host` or `host:port`; schemes and paths would end up inside the host that
    /// clients sign.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text} is not a bare host or host:port");
        let Authority { host, port } = Authority::parse(text).ok_or_else(refuse)?;
        if is_wildcard(&host) {
            return Err(format!("{text} is not an address that clients can open"));
        }
        Ok(Self(join(&host, port)))
    }

    /// Returns the host, which the certificate of the TLS listener is to name.
    pub(crate) fn host(&self) -> &str {
        match self.0.rsplit_once(':') {
            // The last colon of an address without a port stands inside its brackets.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.0,
        }
    }
}

/// Where a request came in, as far as the rule needs it.
pub(crate) struct Arrival<'a> {
    /// The Host header as received.
    pub(crate) host: Option<&'a str>,
    /// The address that the listener was bound to.
    pub(crate) listener: SocketAddr,
    /// The server's side of this connection: never a wildcard.
    pub(crate) local: SocketAddr,
    /// The port of the TLS listener, when there is one.
    pub(crate) tls_port: Option<u16>,
}

/// Returns what to hand out: the configured endpoint; else the requested host with the port of the
/// TLS listener; else the listener's own address, for which a wildcard listener takes the host
/// that the client asked for, and without one the address that the client reached.
pub(crate) fn messaging_endpoint(public: Option<&PublicEndpoint>, arrival: &Arrival<'_>) -> String {
    if let Some(PublicEndpoint(text)) = public {
        return text.clone();
    }
    let asked = arrival.host.and_then(Authority::parse).filter(|asked| !is_wildcard(&asked.host));
    let reached = || ip_host(arrival.local.ip().to_canonical());
    if let Some(port) = arrival.tls_port {
        return join(&asked.map_or_else(reached, |asked| asked.host), Some(port));
    }
    let own_port = arrival.listener.port();
    if !arrival.listener.ip().to_canonical().is_unspecified() {
        return join(&ip_host(arrival.listener.ip()), Some(own_port));
    }
    match asked {
        // Behind a published port the client's own port is the one that leads here. Some clients
        // send Host without it; then ours is the better guess.
        Some(Authority { host, port }) => join(&host, port.or(Some(own_port))),
        None => join(&reached(), Some(own_port)),
    }
}

/// A host in the form of a URL (IPv6 in brackets), lower case, and its port.
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                let IpAddr::V6(_) = address.parse().ok()? else { return None };
                (format!("[{address}]"), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (text[..end].to_owned(), &text[end..])
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_name = !host.is_empty() && host.len() <= HOST_CHARS_MAX && host.chars().all(plain);
        (is_name || host.starts_with('[')).then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

fn is_wildcard(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_unspecified())
}

fn ip_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn join(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if port != WSS_PORT => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(host: Option<&str>, listener: &str, tls_port: Option<u16>) -> String {
        let arrival = Arrival {
            host,
            listener: listener.parse().unwrap(),
            local: "127.0.0.1:8080".parse().unwrap(),
            tls_port,
        };
        messaging_endpoint(None, &arrival)
    }

    #[test]
    fn the_public_endpoint_beats_everything() {
        let public = PublicEndpoint::parse("Chat.Example.org:8443").unwrap();
        let arrival = Arrival {
            host: Some("other"),
            listener: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:1".parse().unwrap(),
            tls_port: Some(2),
        };
        assert_eq!(messaging_endpoint(Some(&public), &arrival), "chat.example.org:8443");
    }

    #[test]
    fn with_tls_the_requested_host_gets_the_tls_port() {
        let listener = "127.0.0.1:8080";
        assert_eq!(given(Some("localhost:8080"), listener, Some(8443)), "localhost:8443");
        assert_eq!(given(Some("Chat.Example.ORG"), listener, Some(443)), "chat.example.org");
        assert_eq!(given(Some("[::1]:8080"), listener, Some(8443)), "[::1]:8443");
        assert_eq!(given(None, listener, Some(8443)), "127.0.0.1:8443");
    }

    #[test]
    fn without_tls_the_listener_itself_is_handed_out() {
        assert_eq!(given(Some("other:1"), "127.0.0.1:8080", None), "127.0.0.1:8080");
        assert_eq!(given(Some("other:1"), "[::1]:8080", None), "[::1]:8080");
        assert_eq!(given(None, "192.0.2.7:443", None), "192.0.2.7");
    }

    #[test]
    fn a_wildcard_is_never_handed_out() {
        for wildcard in ["0.0.0.0:8080", "[::]:8080", "[::ffff:0.0.0.0]:8080"] {
            assert_eq!(given(Some("chat.local:9000"), wildcard, None), "chat.local:9000");
            assert_eq!(given(Some("chat.local"), wildcard, None), "chat.local:8080");
            assert_eq!(given(Some("chat.local:443"), wildcard, None), "chat.local");
            assert_eq!(given(Some("[FE80::1]:9000"), wildcard, None), "[fe80::1]:9000");
            assert_eq!(given(None, wildcard, None), "127.0.0.1:8080");
            assert_eq!(given(Some("0.0.0.0:8080"), wildcard, None), "127.0.0.1:8080");
            assert_eq!(given(Some("[::]:8080"), wildcard, None), "127.0.0.1:8080");
            assert_eq!(given(Some("[::]"), wildcard, Some(8443)), "127.0.0.1:8443");
        }
    }

    #[test]
    fn a_host_that_is_no_host_counts_as_none() {
        for host in ["", ":8080", "a b", "a/b", "a:b", "a:99999", "[::1", "[1.2.3.4]", "::1", "é"]
        {
            assert_eq!(given(Some(host), "0.0.0.0:8080", None), "127.0.0.1:8080", "{host}");
        }
    }

    #[test]
    fn a_public_endpoint_is_a_bare_host_with_or_without_port() {
        let parse = |text| PublicEndpoint::parse(text).map(|endpoint| endpoint.0);
        assert_eq!(parse("chat.example.org:443").unwrap(), "chat.example.org");
        assert_eq!(parse("[2001:DB8::1]:8443").unwrap(), "[2001:db8::1]:8443");
        for (text, host) in [("a:1", "a"), ("a", "a"), ("[::1]:2", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(PublicEndpoint::parse(text).unwrap().host(), host);
        }
        for text in ["wss://chat", "chat/", "chat:8443/connect", "0.0.0.0", "[::]:1", "", "a b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
